"""Counts of values and sizes of numbers and dates, against pandas."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from qdrant_client import QdrantClient

from saeindex import FeatureIndex, FeatureSpace, Record
from saeindex.errors import NotFoundError
from tests.samples import RandomEncoder

RNG = random.Random(0)
ROWS: list[dict[str, Any]] = [
    {
        "brand": RNG.choice(["Acme", "Beta", "Ünal", None]),
        "price": RNG.choice([RNG.randint(1, 90), round(RNG.uniform(1, 90), 2)]),
        "sold": RNG.random() < 0.4,
        "day": f"20{RNG.randint(15, 19)}-{RNG.randint(1, 12):02}-{RNG.randint(1, 28):02}",
        "tags": RNG.choices(["new", "used", "old"], k=RNG.randint(0, 3)),
        "my group": {"size": RNG.randint(0, 5)},
    }
    for _ in range(300)
]


@pytest.fixture(params=["edge", "memory"], scope="module")
def index(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, space: FeatureSpace
) -> Iterator[FeatureIndex]:
    client = QdrantClient(":memory:") if request.param == "memory" else None
    place: str | Path = "shop" if client else tmp_path_factory.mktemp("facets") / "shop.idx"
    with FeatureIndex.create(place, space, client=client, encoder=RandomEncoder(space.encoder)) as made:
        made.upsert(Record(f"r{n}", f"An offer of {n}.", row) for n, row in enumerate(ROWS))
        yield made


CONDITIONS: dict[str | None, Callable[[dict[str, Any]], bool]] = {
    None: lambda row: True,
    "metadata.sold = true": lambda row: row["sold"],
    "metadata.price >= 30": lambda row: row["price"] >= 30,
    'metadata.brand = "Beta" AND metadata.price < 50': lambda row: (
        row["brand"] == "Beta" and row["price"] < 50
    ),
}


@pytest.mark.parametrize("where", CONDITIONS)
@pytest.mark.parametrize("field", ["brand", "price", "sold", "day", "tags", 'metadata."my group".size'])
def test_counts_and_sizes_are_those_of_pandas(index: FeatureIndex, field: str, where: str | None) -> None:
    found = index.facets(field, where, limit=1_000)
    rows = [row for row in ROWS if CONDITIONS[where](row)]
    own: Any = pd.Series([row["my group"]["size"] if "group" in field else row[field] for row in rows])
    each = own.explode().dropna()
    once = each.groupby(level=0).unique().explode() if len(each) else each
    counts = once.value_counts()
    assert (found.records, found.present) == (len(rows), each.index.nunique())
    assert found.distinct == len(counts) == len(found.values)
    assert {one.value: one.records for one in found.values} == counts.to_dict()
    assert [one.records for one in found.values] == sorted(counts, reverse=True)
    if field in {"brand", "tags", "sold"}:
        assert found.minimum is found.mean is None and not found.bins
    elif field == "day":
        assert (found.minimum, found.maximum, found.sum) == (each.min(), each.max(), None)
        years = each.str[:4].value_counts().sort_index()
        assert [(one.low, one.count) for one in found.bins] == list(years.items())
    else:
        numbers = each.astype(float)
        assert (found.minimum, found.maximum) == (numbers.min(), numbers.max())
        assert found.sum == pytest.approx(numbers.sum()) and found.mean == pytest.approx(numbers.mean())
        assert [one.count for one in found.bins] == np.histogram(numbers, 10)[0].tolist()


def test_dates_are_counted_by_the_finest_period_that_fits(index: FeatureIndex) -> None:
    of_years = index.facets("day", bins=2)
    assert [(one.low, one.high) for one in of_years.bins] == [("2015", "2017"), ("2018", "2020")]
    assert [one.low for one in index.facets("day").bins] == [str(year) for year in range(2015, 2020)]
    of_months = index.facets("day", bins=60).bins
    assert of_months[0].low == of_months[0].high == "2015-01" and len(of_months) == 60
    assert sum(one.count for one in of_months) == 300 and not index.facets("day", bins=0).bins


def test_what_is_written_is_counted_and_an_unknown_field_is_said(index: FeatureIndex) -> None:
    before = {one.value: one.records for one in index.facets("brand").values}
    index.update(["r0"], set={"brand": "Other"})
    assert {one.value: one.records for one in index.facets("brand").values} != before
    index.update(["r0"], remove=["brand"])  # as it was
    assert {one.value: one.records for one in index.facets("brand").values} == before
    with pytest.raises(NotFoundError, match=r"Did you mean metadata\.brand"):
        index.facets("metadata.brnd")
    assert index.facets("brand", "metadata.price > 1000").values == ()


def test_large_numbers_have_a_mean_and_lists_within_lists_no_values(index: FeatureIndex) -> None:
    index.update(each={"r0": {"size": 1.7e308}, "r1": {"size": 1e308}, "r2": {"size": [[7], 1e308]}})
    found = index.facets("size")
    assert (found.maximum, found.sum) == (1.7e308, None)
    assert found.mean == pytest.approx(1e308 + 0.7e308 / 3)
    assert [(one.value, one.records) for one in found.values] == [(1e308, 2), (1.7e308, 1)]
    index.update(["r0", "r1", "r2"], remove=["size"])
