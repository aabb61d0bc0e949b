"""Days and moments at their bounds: midnight belongs to the day that it begins, and no zone means UTC.

Each expression is compared on the evaluator and on both engines with the records' moments, which are written
down, on machines in three time zones.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator
from operator import eq, ge, gt, le, lt, ne
from typing import Any

import pytest
from qdrant_client import QdrantClient
from qdrant_client.models import DatetimeRange, FieldCondition, Filter

from saeindex import FeatureIndex, FeatureSpace, Record
from saeindex.language.ast import Date, moment_in
from saeindex.language.evaluate import matches
from saeindex.language.parser import parse_where
from tests.samples import RecordingEncoder

SECOND, MICROSECOND = dt.timedelta(seconds=1), dt.timedelta(microseconds=1)
MIDNIGHT = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
NEXT = dt.datetime(2020, 1, 2, tzinfo=dt.UTC)
# A payload's text, and its moment.
STORED = {
    "2019-12-31": dt.datetime(2019, 12, 31, tzinfo=dt.UTC),
    "2019-12-31T23:59:59.999999Z": MIDNIGHT - MICROSECOND,
    "2019-12-31T23:59:59": MIDNIGHT - SECOND,
    "2020-01-01": MIDNIGHT,
    "2020-01-01T00:00:00Z": MIDNIGHT,
    "2020-01-01T00:00:00": MIDNIGHT,
    "2019-12-31T19:00:00-05:00": MIDNIGHT,
    "2020-01-01T00:00:00.000001Z": MIDNIGHT + MICROSECOND,
    "2020-01-01T12:00:00": dt.datetime(2020, 1, 1, 12, tzinfo=dt.UTC),
    "2020-01-01T23:59:59.999999Z": NEXT - MICROSECOND,
    "2020-01-02": NEXT,
    "2020-01-02T00:00:00Z": NEXT,
    "2020-01-02T00:00:00": NEXT,
    "2020-01-02T05:45:00+05:45": NEXT,
    "2020-01-02T00:00:00.000001Z": NEXT + MICROSECOND,
    "2020-01-02T06:00:00": dt.datetime(2020, 1, 2, 6, tzinfo=dt.UTC),
}
RECORDS = [Record(f"r{n}", f"note {n}", {"date": text}) for n, text in enumerate(STORED)]
# A bound, its first moment and the first moment after it.
BOUNDS = {
    "2020-01-01": (MIDNIGHT, NEXT),
    "2020-01-01T00:00:00Z": (MIDNIGHT, MIDNIGHT + MICROSECOND),
    "2020-01-01T00:00:00": (MIDNIGHT, MIDNIGHT + MICROSECOND),
    "2020-01-01 00:00": (MIDNIGHT, MIDNIGHT + MICROSECOND),
    "2020-01-02T00:00": (NEXT, NEXT + MICROSECOND),
    "2020-01-02T02:00:00+02:00": (NEXT, NEXT + MICROSECOND),
    "2020-01-01T12:00": (STORED["2020-01-01T12:00:00"], STORED["2020-01-01T12:00:00"] + MICROSECOND),
}


def wanted(operator: str, bound: str) -> set[str]:
    """Return the texts whose moments the comparison selects."""
    first, after = BOUNDS[bound]

    def holds(moment: dt.datetime) -> bool:
        place = -1 if moment < first else int(moment >= after)  # before, in, after
        return bool({"<": lt, "<=": le, ">": gt, ">=": ge, "=": eq, "!=": ne}[operator](place, 0))

    return {text for text, moment in STORED.items() if holds(moment)}


def evaluated(where: str) -> set[str]:
    expression = parse_where(where)
    return {text for text in STORED if matches(expression, {"metadata": {"date": text}}, lambda _: [])}


@pytest.fixture(params=["UTC0", "Auckland-12", "Honolulu10"])
def time_zone(request: pytest.FixtureRequest) -> Iterator[str]:
    """A machine in a time zone; of POSIX form, so that no database of zones is needed."""
    if not hasattr(time, "tzset"):
        pytest.skip("this system has no time.tzset")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", request.param)
        time.tzset()
        yield request.param
    time.tzset()


@pytest.fixture(scope="module")
def indexes(
    tmp_path_factory: pytest.TempPathFactory, space: FeatureSpace, session_encoder: RecordingEncoder
) -> Iterator[dict[str, FeatureIndex]]:
    path = tmp_path_factory.mktemp("dates") / "dates.idx"
    with (
        FeatureIndex.create(path, space, encoder=session_encoder) as on_edge,
        FeatureIndex.create(
            "dates", space, client=QdrantClient(":memory:"), encoder=session_encoder
        ) as local,
    ):
        for index in (on_edge, local):
            index.upsert(RECORDS)
        yield {"Edge": on_edge, "local mode": local}


def found_by(index: FeatureIndex, **options: Any) -> set[str]:
    return {hit.metadata["date"] for hit in index.search(limit=len(RECORDS), **options)}


@pytest.mark.parametrize("operator", ["<", "<=", ">", ">=", "=", "!="])
@pytest.mark.parametrize("bound", BOUNDS)
def test_a_bound_is_the_same_in_the_evaluator_and_in_the_engines(
    indexes: dict[str, FeatureIndex], time_zone: str, operator: str, bound: str
) -> None:
    where = f"metadata.date {operator} {bound.replace(' ', 'T')}"
    expected = wanted(operator, bound)
    assert evaluated(where) == expected
    for name, index in indexes.items():
        assert found_by(index, where=where) == expected, name


def test_a_period_of_days_has_the_midnight_that_begins_it_and_not_the_one_that_ends_it(
    indexes: dict[str, FeatureIndex], time_zone: str
) -> None:
    where = "metadata.date BETWEEN 2020-01-01 AND 2020-01-01"
    expected = wanted("=", "2020-01-01")
    assert {"2020-01-01T00:00:00Z", "2020-01-01"} < expected
    assert not any(text.startswith("2020-01-02") for text in expected)
    assert evaluated(where) == expected
    for name, index in indexes.items():
        assert found_by(index, where=where) == expected, name


def test_a_date_without_a_zone_is_utc_wherever_the_machine_is(time_zone: str) -> None:
    for text, moment in STORED.items():
        assert moment_in(text) == moment
    for text, (first, after) in BOUNDS.items():
        date = Date(date=text)
        assert date.start == first
        assert date.end == (after if text == "2020-01-01" else None)


@pytest.mark.parametrize(
    ("given", "moment"),
    [
        (dt.datetime(2020, 1, 1), MIDNIGHT),
        (dt.date(2020, 1, 1), MIDNIGHT),
        (dt.datetime(2020, 1, 2, 2, tzinfo=dt.timezone(dt.timedelta(hours=2))), NEXT),
    ],
)
def test_a_filter_of_dates_reads_no_zone_as_utc(
    indexes: dict[str, FeatureIndex], time_zone: str, given: Any, moment: dt.datetime
) -> None:
    for name, holds in (("lte", le), ("lt", lt), ("gte", ge), ("gt", gt)):
        bounds = DatetimeRange(**{name: given})
        only = Filter(must=[FieldCondition(key="metadata.date", range=bounds)])
        expected = {text for text, stored in STORED.items() if holds(stored, moment)}
        for index in indexes.values():
            assert found_by(index, query_filter=only) == expected, name
