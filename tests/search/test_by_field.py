"""Lists in the order of a field, and boosts of scores by a number or a date."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from saeindex import Boost, FeatureIndex, FeatureSpace, Query, Record
from saeindex.errors import InvalidInputError
from saeindex.search import by_field
from tests.cli.test_cli import call
from tests.samples import RecordingEncoder, sample_records
from tests.search.sampled_indexes import edge_index, memory_index

COUNT = 120
NOW = dt.datetime.now(dt.UTC)


def days_ago(days: float) -> str:
    return (NOW - dt.timedelta(days=days)).isoformat()


def with_fields(number: int, record: Record) -> Record:
    metadata: dict[str, Any] = {
        "topic": record.metadata["topic"],
        "n": number % 11,
        "name": "BaCb"[number % 4],
    }
    if number % 3:
        metadata["views"] = [number * 7 % 101, [3, number], 2.5][number % 3]
    if number % 5:
        metadata["day"] = days_ago(number % 17)
    return Record(record.id, record.text, metadata)


RECORDS = [with_fields(number, record) for number, record in enumerate(sample_records(COUNT))]


@pytest.fixture(scope="module", params=["edge", "memory"])
def index(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    space: FeatureSpace,
    session_encoder: RecordingEncoder,
) -> FeatureIndex:
    if request.param == "memory":
        return memory_index(RECORDS, space, session_encoder)
    return edge_index(tmp_path_factory.mktemp("fields") / "a.idx", RECORDS, space, session_encoder)


@pytest.mark.parametrize(
    "order",
    [
        "metadata.n",
        "metadata.n DESC",
        "metadata.views desc",
        "metadata.views asc",
        "metadata.day desc",
        "metadata.name",
        "record_id desc",
    ],
)
def test_a_list_is_in_the_order_of_a_field(index: FeatureIndex, order: str) -> None:
    field, _, way = order.partition(" ")
    is_descending = way.lower() == "desc"
    hits = index.search(where='metadata.topic != "music"', order_by=order, limit=1_000)
    assert len(hits) == sum(one.metadata["topic"] != "music" for one in RECORDS)

    def value(hit: Any) -> Any:
        found = hit.id if field == "record_id" else hit.metadata.get(field.removeprefix("metadata."))
        found = (max if is_descending else min)(found) if isinstance(found, list) else found
        return found.casefold() if isinstance(found, str) and "T" not in found else found

    values = [value(hit) for hit in hits]
    known = [one for one in values if one is not None]
    assert values[len(known) :] == [None] * (len(values) - len(known))
    assert known == sorted(known, reverse=is_descending)
    pages = [
        hit.id
        for start in range(0, 60, 7)
        for hit in index.search(where='metadata.topic != "music"', order_by=order, limit=7, offset=start)
    ]
    assert pages == [hit.id for hit in hits][: len(pages)]


def test_the_order_follows_a_write_and_needs_a_list(
    tmp_path: Path, space: FeatureSpace, session_encoder: RecordingEncoder
) -> None:
    with FeatureIndex.create(tmp_path / "a.idx", space, encoder=session_encoder) as index:
        index.upsert(RECORDS[:10], learn_terms=False)
        assert (
            index.search(where="metadata.n >= 0", order_by="metadata.n desc", limit=1)[0].metadata["n"] == 9
        )
        index.upsert([Record("new", RECORDS[0].text, {"n": 99})])
        assert index.search(where="metadata.n >= 0", order_by="metadata.n desc", limit=1)[0].id == "new"
        with pytest.raises(InvalidInputError, match="order of their scores"):
            index.search("rain", order_by="metadata.n")
        plan = index.plan(where="metadata.n >= 0", order_by="metadata.m desc")
        assert "no record has metadata.m" in plan.warnings
        assert "List by metadata.m desc" in str(plan)
    done = call(
        "search", "a.idx", "--where", "metadata.n >= 0", "--order-by", "metadata.n desc", cwd=tmp_path
    )
    assert "new" in done.stdout.splitlines()[2]


@pytest.mark.parametrize("using", ["fused", "dense", "words"])
@pytest.mark.parametrize(
    ("boost", "share"),
    [
        (Boost("metadata.n", half=4, weight=0.5), lambda m: m["n"] / (m["n"] + 4)),
        (
            Boost("metadata.day", half="3d"),
            lambda m: (
                0.5
                ** ((dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(m["day"])) / dt.timedelta(days=3))
                if "day" in m
                else 0.0
            ),
        ),
    ],
)
def test_a_boost_is_a_part_of_the_score(index: FeatureIndex, using: Any, boost: Boost, share: Any) -> None:
    text = "the rotation of galaxies"
    plain = {hit.id: hit for hit in index.search(text, using=using, limit=COUNT)}
    hits = index.search(text, using=using, boost=boost, limit=COUNT, explain=True)
    assert [hit.id for hit in hits] != [*plain] and {hit.id for hit in hits} == {*plain}
    for hit in hits:
        wanted = (plain[hit.id].score + boost.weight * share(hit.metadata)) / (1 + boost.weight)
        assert hit.score == pytest.approx(wanted, abs=1e-4)
        assert hit.explanation is not None
        assert sum(part.value for part in hit.explanation.parts) == pytest.approx(hit.score, abs=1e-5)
        assert "boost" in {part.kind for part in hit.explanation.parts}
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    least = hits[len(hits) // 2].score - 1e-4
    kept = index.search(text, using=using, boost=boost, limit=COUNT, score_threshold=least)
    assert [hit.id for hit in kept] == [hit.id for hit in hits if hit.score >= least]
    compared = index.compare(text, hits[0].id, hits[-1].id, using=using, boost=boost)
    assert compared.score_a == pytest.approx(hits[0].score, abs=1e-4)


def test_pages_of_boosted_hits_go_on_beyond_the_first_candidates(
    index: FeatureIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(by_field, "POOL", 10)
    every = [hit.id for hit in index.search("galaxies", boost="metadata.day", limit=COUNT)]
    assert len({*every}) == COUNT
    pages = [
        hit.id for start in range(0, COUNT, 9)
        for hit in index.search("galaxies", boost="metadata.day", limit=9, offset=start)
    ]  # fmt: skip
    assert pages == every


def test_a_field_that_orders_or_boosts_nothing_is_said(index: FeatureIndex) -> None:
    for query in (Query(order_by="year desc"), Query("rain", boost="year")):
        with pytest.raises(InvalidInputError, match=r"Use metadata\.year"):
            index.search(query)
    every = [hit.id for hit in index.search(order_by="record_id", limit=COUNT)]  # without any condition
    assert every == sorted(one.id for one in RECORDS)
    plan = index.plan("rain", boost=Boost("metadata.day", half=5))
    assert any("metadata.day boosts nothing with half=5" in one for one in plan.warnings)


def test_what_boosts_nothing_is_an_error(index: FeatureIndex) -> None:
    for half in ("soon", "0", "-3", "30 y", "1e999"):
        with pytest.raises(InvalidInputError, match=r"boost\.half"):
            index.search("rain", boost=Boost("metadata.day", half=half))
    with pytest.raises(InvalidInputError, match="nothing ranks"):
        index.search(where="metadata.n > 1", boost="metadata.day")
    assert "no record has metadata.year" in index.plan("rain", boost="metadata.year").warnings
    for query in (Query("rain", boost="metadata.Created At"), Query(order_by="metadata.Created At")):
        assert index.plan(query).warnings == ('no record has metadata."Created At"',)
    assert np.isfinite(
        [hit.score for hit in index.search("rain", boost=Boost("metadata.topic", half=3))]
    ).all()
