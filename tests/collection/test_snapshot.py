"""A snapshot equals the content of the index, and is read again when that changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from saeindex import FeatureIndex, Record
from saeindex.collection.sample import tokens
from saeindex.config import DENSE, SAE
from saeindex.errors import InvalidInputError, NotFoundError
from saeindex.indexing.points import numbers_in, point_id

if TYPE_CHECKING:
    from saeindex import FeatureSpace
    from saeindex.types import LevelName
    from tests.samples import RecordingEncoder


def test_rows_are_the_records_of_the_index(any_papers: FeatureIndex, records: list[Record]) -> None:
    snapshot = any_papers.state.snapshot()
    assert sorted(snapshot.ids) == sorted(record.id for record in records)
    by_id = {record.id: record for record in records}
    points = any_papers.state.store.get([point_id(one) for one in snapshot.ids[:40]], True, [DENSE, SAE])
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
    snapshot = papers.state.snapshot()
    levels: tuple[LevelName, ...] = ("present", "typical", "strong", "possible")
    for number, level in enumerate(levels):
        present = snapshot.at(level)
        for row, point in enumerate(papers.state.store.get([point_id(one) for one in snapshot.ids[:20]])):
            numbers = {number, 0} if level == "possible" else {number}  # free ones are present or absent
            codes = {code // 4 for code in point.payload["concepts"] if code % 4 in numbers}
            assert set(present[row].indices.tolist()) == codes
    with pytest.raises(InvalidInputError, match="no such level"):
        snapshot.at("loud")  # type: ignore[arg-type]


def test_columns_have_values_and_mark_missing_ones(papers: FeatureIndex, records: list[Record]) -> None:
    snapshot = papers.state.snapshot()
    years = snapshot.column("metadata.year")
    assert list(years.values) == sorted(years.values)
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
        values, member = index.state.snapshot().membership("metadata.colour")
        rows = index.state.snapshot().rows_of(["a", "b", "c"])
        assert values == ("blue", "red")
        assert member[rows].toarray().tolist() == [[1, 1], [0, 1], [0, 0]]


def test_a_write_invalidates_the_snapshot(
    space: FeatureSpace, tmp_path: Path, encoder: RecordingEncoder
) -> None:
    path = tmp_path / "x.idx"
    with FeatureIndex.create(path, space, encoder=encoder) as index:
        with pytest.raises(InvalidInputError, match="empty"):
            index.state.snapshot()
        index.upsert([Record("a", "a violin concerto"), Record("b", "tax reform")])
        first = index.state.snapshot()
        assert index.state.snapshot() is first
        index.upsert([Record("a", "a violin concerto")])
        assert index.state.snapshot() is first  # nothing changed
        index.upsert([Record("a", "a broken guitar string", {"year": 3})])
        assert index.state.snapshot().texts(index.state.snapshot().rows_of(["a"])) == [
            "a broken guitar string"
        ]
        index.delete(["b"])
        assert tuple(index.state.snapshot().ids) == ("a",)
    kept = (path / "cache" / "snapshot" / "vectors.bin").stat().st_mtime_ns
    with FeatureIndex.open(path, encoder=encoder) as index:
        assert tuple(index.state.snapshot().ids) == ("a",)
    assert (path / "cache" / "snapshot" / "vectors.bin").stat().st_mtime_ns == kept  # not written again
    assert not list((path / "cache").glob("*.part"))


def test_records_know_their_document_and_documents_are_units(
    space: FeatureSpace, tmp_path: Path, encoder: RecordingEncoder
) -> None:
    long = "Dark matter halos and spiral galaxies. " * 3 + "A lentil soup with roasted peppers. " * 3
    with FeatureIndex.create(tmp_path / "x.idx", space, encoder=encoder) as index:
        index.upsert([Record("long", long), Record("other", long + " Again.")], split=16)
        index.upsert([Record("short", "tax reform")])
        snapshot = index.state.snapshot()
        assert len(snapshot) == index.count() > 6
        assert snapshot.has_documents
        of = dict(zip(snapshot.ids, snapshot.documents, strict=True))
        assert of["short"] is None and of["long#0"] == of["long#1"] == "long"
        column = snapshot.column("document")
        assert column.values == ("long", "other")
        assert column.codes[snapshot.rows_of(["short"])].tolist() == [-1]
        pieces = sorted((one for one in snapshot.ids if of[one] == "long"), key=lambda one: int(one[5:]))
        assert "".join(snapshot.texts(snapshot.rows_of(pieces))) == long
    with FeatureIndex.open(tmp_path / "x.idx", encoder=encoder) as index:
        assert list(index.state.snapshot().documents) == list(snapshot.documents)


def test_a_snapshot_stays_what_it_is_while_records_change(
    space: FeatureSpace, tmp_path: Path, encoder: RecordingEncoder
) -> None:
    with FeatureIndex.create(tmp_path / "x.idx", space, encoder=encoder) as index:
        index.upsert([Record("a", "a violin concerto"), Record("b", "tax reform 🎻")])
        first = index.state.snapshot()
        index.upsert([Record("b", "something else")])
        index.delete(["a"])
        assert first.texts(first.rows_of(["b", "a"])) == ["tax reform 🎻", "a violin concerto"]


def test_mentions_are_those_of_the_payload(any_papers: FeatureIndex) -> None:
    snapshot = any_papers.state.snapshot()
    assert snapshot.has_evidence
    points = any_papers.state.store.get([point_id(one) for one in snapshot.ids])
    later = 0
    for row, point in enumerate(points):
        codes = point.payload["concepts"]
        features = [code // 4 for code in codes if code % 4 == 3]
        mentions = snapshot.mentions(row)
        assert [one.feature for one in mentions] == features
        assert [round(100 * one.p) for one in mentions] == numbers_in([point.payload["evidence"]]).tolist()
        assert [one.sentence for one in mentions] == numbers_in([point.payload["speaking"]]).tolist()
        later += sum(one.sentence > 0 for one in mentions)
    assert later > 50
    taken = snapshot.take(np.array([7, 3]))
    assert [taken.mentions(row) for row in (0, 1)] == [snapshot.mentions(7), snapshot.mentions(3)]


def test_the_strength_of_a_named_concept_is_its_evidence_and_that_of_another_feature_its_activation(
    papers: FeatureIndex, papers_without_sentences: FeatureIndex
) -> None:
    snapshot, rows = papers.state.snapshot(), np.arange(240)
    assert papers.space.evidence is not None
    named = papers.space.evidence.features
    said = {feature: [0] * 240 for feature in named.tolist()}
    for row in rows.tolist():
        for one in snapshot.mentions(row):
            said[one.feature][row] = round(100 * one.p)
    common = sorted(said, key=lambda feature: -sum(said[feature]))[:5]
    for feature in common:
        assert snapshot.strength(rows, feature).tolist() == said[feature]
    free = papers.space.sae.n_features - 1
    plain = papers_without_sentences.state.snapshot()
    for each, feature in ((snapshot, free), (plain, free), (plain, common[0])):
        expected = each.activations[:, [feature]].toarray().ravel()
        assert each.strength(rows, feature).tolist() == expected.tolist()
    assert not plain.has_evidence and plain.mentions(0) == []


def test_a_further_text_has_mentions_of_its_own(
    space: FeatureSpace, tmp_path: Path, encoder: RecordingEncoder
) -> None:
    asked = Record(
        "a", "The galaxies collide.", {}, {"prompt": "A good morning to you. Tell me about heavy rain."}
    )
    with FeatureIndex.create(tmp_path / "x.idx", space, encoder=encoder, fields=("prompt",)) as index:
        index.upsert([asked, Record("b", "Only a text.")])
        both = [index.state.snapshot(field) for field in ("", "prompt")]
        names = []
        for snapshot in both:
            (row,) = snapshot.rows_of(["a"]).tolist()
            names.append({space.labels[one.feature].text: one for one in snapshot.mentions(row)})
        (empty,) = both[1].rows_of(["b"]).tolist()
        assert both[1].mentions(empty) == []
    assert "galaxy" in names[0] and "galaxy" not in names[1]
    assert names[1]["rain"].sentence == 1 and "rain" not in names[0]
