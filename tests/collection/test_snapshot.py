"""A snapshot equals the content of the index, and is read again when that changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from saeindex.indexing.passages import PassageOptions

from saeindex import FeatureIndex, Record
from saeindex.collection.rows import tokens
from saeindex.config import DENSE, SAE
from saeindex.errors import InvalidInputError, NotFoundError
from saeindex.indexing.points import point_id

if TYPE_CHECKING:
    from saeindex import FeatureSpace
    from saeindex.types import LevelName
    from tests.samples import RecordingEncoder


def test_rows_are_the_records_of_the_index(any_papers: FeatureIndex, records: list[Record]) -> None:
    snapshot = any_papers.snapshot()
    assert sorted(snapshot.ids) == sorted(record.id for record in records)
    by_id = {record.id: record for record in records}
    points = any_papers.store.get([point_id(one) for one in snapshot.ids[:40]], True, [DENSE, SAE])
    for row, point in enumerate(points):
        record = by_id[snapshot.ids[row]]
        assert snapshot.vectors[row] == pytest.approx(np.asarray(point.vectors[DENSE]), abs=1e-6)
        code = snapshot.activations[row]
        assert sorted(code.indices.tolist()) == point.vectors[SAE].indices.tolist()  # type: ignore[union-attr]
        words = {snapshot.vocabulary[column] for column in snapshot.words[row].indices}
        assert words == tokens(record.text)
        assert snapshot.lengths[row] == len(record.text.split())
        kept = json.loads(snapshot.metadata[row])  # engines keep numbers to sixteen digits
        assert kept["score"] == pytest.approx(record.metadata["score"])
        assert {**kept, "score": 0} == {**record.metadata, "score": 0}
    assert snapshot.texts([3, 0]) == [by_id[snapshot.ids[row]].text for row in (3, 0)]


def test_levels_are_the_codes_that_filters_use(papers: FeatureIndex) -> None:
    snapshot = papers.snapshot()
    levels: tuple[LevelName, ...] = ("present", "typical", "strong")
    for number, level in enumerate(levels):
        present = snapshot.at(level)
        for row, point in enumerate(papers.store.get([point_id(one) for one in snapshot.ids[:20]])):
            codes = {code // 4 for code in point.payload["concepts"] if code % 4 == number}
            assert set(present[row].indices.tolist()) == codes
    with pytest.raises(InvalidInputError, match="no such level"):
        snapshot.at("loud")  # type: ignore[arg-type]


def test_columns_have_values_and_mark_missing_ones(papers: FeatureIndex, records: list[Record]) -> None:
    snapshot = papers.snapshot()
    years = snapshot.column("metadata.year")
    assert years.is_numeric and list(years.values) == sorted(years.values)
    by_id = {record.id: record.metadata for record in records}
    assert [years.values[code] for code in years.codes] == [by_id[one]["year"] for one in snapshot.ids]
    with pytest.raises(NotFoundError, match=r"metadata\.topic"):
        snapshot.column("metadata.nothing")


def test_lists_count_as_their_elements(
    space: FeatureSpace, tmp_path: Path, encoder: RecordingEncoder
) -> None:
    records = [
        Record("a", "red and blue", {"colour": ["red", "blue"]}),
        Record("b", "red", {"colour": "red"}),
    ]
    records.append(Record("c", "none"))
    with FeatureIndex.create(tmp_path / "x.idx", space, encoder=encoder) as index:
        index.upsert(records)
        values, member = index.snapshot().membership("metadata.colour")
        rows = index.snapshot().rows_of(["a", "b", "c"])
        assert values == ("blue", "red")
        assert member[rows].toarray().tolist() == [[1, 1], [0, 1], [0, 0]]


def test_a_write_invalidates_the_snapshot(
    space: FeatureSpace, tmp_path: Path, encoder: RecordingEncoder
) -> None:
    path = tmp_path / "x.idx"
    with FeatureIndex.create(path, space, encoder=encoder) as index:
        with pytest.raises(InvalidInputError, match="empty"):
            index.snapshot()
        index.upsert([Record("a", "a violin concerto"), Record("b", "tax reform")])
        first = index.snapshot()
        assert index.snapshot() is first
        index.upsert([Record("a", "a violin concerto")])
        assert index.snapshot() is first  # nothing changed
        index.upsert([Record("a", "a broken guitar string", {"year": 3})])
        assert index.snapshot().texts(index.snapshot().rows_of(["a"])) == ["a broken guitar string"]
        index.delete(["b"])
        assert tuple(index.snapshot().ids) == ("a",)
    kept = (path / "cache" / "snapshot" / "vectors.bin").stat().st_mtime_ns
    with FeatureIndex.open(path, encoder=encoder) as index:
        assert tuple(index.snapshot().ids) == ("a",)
    assert (path / "cache" / "snapshot" / "vectors.bin").stat().st_mtime_ns == kept  # not written again
    assert not list((path / "cache").glob("*.part"))


def test_the_passages_of_a_record_are_one_row(
    space: FeatureSpace, tmp_path: Path, encoder: RecordingEncoder
) -> None:
    long = "Dark matter halos and spiral galaxies. " * 3 + "A lentil soup with roasted peppers. " * 3
    with FeatureIndex.create(
        tmp_path / "x.idx", space, encoder=encoder, passages=PassageOptions(16, 0)
    ) as index:
        index.upsert([Record("long", long), Record("short", "tax reform")])
        assert index.store.count() > 3
        snapshot = index.snapshot()
        assert sorted(snapshot.ids) == ["long", "short"]
        row = int(snapshot.rows_of(["long"])[0])
        points = [
            p for p in index.store.scroll(with_vectors=[SAE]).points if p.payload["record_id"] == "long"
        ]
        strongest: dict[int, float] = {}
        for point in points:
            code = point.vectors[SAE]
            for feature, value in zip(code.indices.tolist(), code.values.tolist(), strict=True):  # type: ignore[union-attr]
                strongest[feature] = max(value, strongest.get(feature, 0.0))
        found = snapshot.activations[row]
        assert dict(zip(found.indices.tolist(), found.data.tolist(), strict=True)) == pytest.approx(strongest)
        assert np.linalg.norm(snapshot.vectors[row]) == pytest.approx(1.0, abs=1e-5)
        assert {"galaxies", "soup"} <= {snapshot.vocabulary[i] for i in snapshot.words[row].indices}
