"""The storage layout, field by field, which other programs may rely on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid5

import numpy as np
import pytest

from saeindex import FeatureIndex, FeatureSpace, Record
from saeindex.config import POINT_NAMESPACE
from saeindex.indexing.points import content_hash, numbers_in, point_id, same_metadata
from saeindex.protocols import Point
from tests.evidence_reference import evidence_of, expected_codes
from tests.samples import RandomEncoder, RecordingEncoder, all_points, code_of, dense

LONG = " ".join(f"Sentence {n} is about {topic}." for n, topic in enumerate(["stars", "bread", "tax"] * 8))
SHORT = "The galaxies were sad."
PLAIN_KEYS = {
    "record_id", "text", "metadata", "content_hash", "concepts", "evidence", "speaking", "spans",
}  # fmt: skip


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory, space: FeatureSpace) -> Iterator[dict[str, list[Point]]]:
    """The points of a short record and of a long text, in order."""
    path = tmp_path_factory.mktemp("points") / "points.idx"
    encoder = RandomEncoder(space.encoder)
    with FeatureIndex.create(path, space, encoder=encoder) as index:
        index.upsert([Record("short", SHORT, {"year": 2020})])
        index.upsert([Record("long", LONG, {"tags": ["a", "b"]})], split=20)
        points = {point.payload["record_id"]: point for point in all_points(index)}
    yield {"short": [points.pop("short")], "long": [points[f"long#{n}"] for n in range(len(points))]}


def assert_says(space: FeatureSpace, point: Point) -> None:
    """Compare a point's codes, its evidence and its sentences with those of the reference."""
    said = evidence_of(space, RandomEncoder(space.encoder), point)
    assert len(said) > 1
    possible = [code // 4 for code in point.payload["concepts"] if code % 4 == 3]
    assert possible == list(said)
    assert numbers_in([point.payload["evidence"]]).tolist() == [round(100 * one.p) for one in said.values()]
    assert numbers_in([point.payload["speaking"]]).tolist() == [one.sentence for one in said.values()]
    assert point.payload["concepts"] == expected_codes(space, point, said)


def test_a_short_record_is_one_point_with_exactly_the_fields_of_the_layout(
    stored: dict[str, list[Point]], space: FeatureSpace
) -> None:
    (point,) = stored["short"]
    assert set(point.payload) == PLAIN_KEYS
    assert point.payload["text"] == SHORT
    assert point.payload["metadata"] == {"year": 2020}
    assert set(point.vectors) == {"dense", "sae", "words", "sentences"}
    assert point.payload["spans"] == [0, len(SHORT)]
    assert_says(space, point)


def test_a_record_of_a_document_has_its_name_and_a_hash_of_the_whole_and_of_the_split(
    stored: dict[str, list[Point]], space: FeatureSpace
) -> None:
    points = stored["long"]
    assert len(points) > 5
    whole = f"{content_hash(Record('long', LONG, {'tags': ['a', 'b']}), 20)}:{len(points)}"
    for point in points:
        assert set(point.payload) == PLAIN_KEYS | {"document", "document_hash"}
        assert (point.payload["document"], point.payload["document_hash"]) == ("long", whole)
        assert point.payload["metadata"] == {"tags": ["a", "b"]}
        assert_says(space, point)
    assert max(max(numbers_in([point.payload["speaking"]]).tolist()) for point in points) > 0, (
        "some speak in a later sentence"
    )
    assert "".join(point.payload["text"] for point in points) == LONG


def test_vectors_are_the_encoder_s_and_codes_the_autoencoder_s(
    stored: dict[str, list[Point]], space: FeatureSpace
) -> None:
    points = [*stored["short"], *stored["long"]]
    vectors = RandomEncoder(space.encoder).encode_document([point.payload["text"] for point in points])
    code = space.sae.encode(vectors)
    for row, point in enumerate(points):
        np.testing.assert_allclose(dense(point), vectors[row], atol=1e-6)
        np.testing.assert_array_equal(code_of(point).indices, code.row(row)[0])
        np.testing.assert_allclose(code_of(point).values, code.row(row)[1], atol=1e-6)


def test_ids_are_uuid5_of_the_record_s_id_and_never_change(stored: dict[str, list[Point]]) -> None:
    assert str(POINT_NAMESPACE) == "6f1d7c1e-52a5-5a0b-9c8e-3d1f0a5e7b42"
    assert point_id("doc-1") == str(uuid5(POINT_NAMESPACE, "doc-1"))
    assert UUID(point_id("ключ")).version == 5
    for points in stored.values():
        assert all(point.id == point_id(point.payload["record_id"]) for point in points)


def test_a_content_hash_depends_on_what_is_encoded_alone() -> None:
    base = content_hash(Record("a", "text", {"x": 1, "y": [2]}))
    assert content_hash(Record("b", "text", {"y": [2], "x": 1})) == base
    assert content_hash(Record("a", "text ", {"x": 1, "y": [2]})) != base
    assert content_hash(Record("a", "text", {"x": 1})) == base
    assert content_hash(Record("a", "text", {"x": 1, "y": [2]}, {}, "book")) != base
    splits = {content_hash(Record("a", "text", {"x": 1, "y": [2]}), split) for split in (None, 20, 30)}
    assert len(splits) == 3


def test_metadata_are_the_same_up_to_the_last_bits_of_floats_that_engines_change() -> None:
    value = 0.1234567890123456
    base = {"x": [{"y": value}], "n": 1}
    assert same_metadata({"n": 1.0, "x": [{"y": np.nextafter(value, 1)}]}, base)
    assert not same_metadata({"x": [{"y": value + 1e-9}], "n": 1}, base)
    assert not same_metadata({**base, "n": "1"}, base) and not same_metadata({}, base)


def test_without_vectors_of_sentences_the_codes_are_the_same_and_without_sentences_those_of_activations(
    tmp_path: Path, space: FeatureSpace
) -> None:
    encoder = RandomEncoder(space.encoder)
    for storage, keys in (("codes", PLAIN_KEYS), ("off", PLAIN_KEYS - {"evidence", "speaking", "spans"})):
        with FeatureIndex.create(
            tmp_path / storage,
            space,
            encoder=encoder,
            sentences=storage,  # type: ignore[arg-type]
        ) as index:
            index.upsert([Record("one", "A dog barked. Then it rained all day.")])
            (point,) = all_points(index)
        assert set(point.payload) == keys
        assert set(point.vectors) == {"dense", "sae", "words"}
        if storage == "codes":
            assert_says(space, point)
        else:
            code = code_of(point)
            expected = space.calibration.concept_codes(code.indices, code.values).tolist()
            assert point.payload["concepts"] == expected


def test_an_index_on_disk_has_the_layout_that_the_manifest_names(
    tmp_path: Path, space: FeatureSpace, encoder: RecordingEncoder
) -> None:
    path = tmp_path / "notes.idx"
    FeatureIndex.create(path, space, encoder=encoder, payload_indexes={"metadata.year": "float"}).close()
    manifest = json.loads((path / "manifest.json").read_text())
    assert manifest["dense"] == {"dense": space.encoder.dimension}
    assert manifest["sparse"] == ["sae", "words"]
    assert manifest["payload_indexes"] == {
        "record_id": "keyword",
        "document": "keyword",
        "truncated": "bool",
        "unspaced": "bool",
        "concepts": "integer",
        "text": "text",
        "metadata.year": "float",
    }
    assert manifest["space"]["fingerprint"] == space.fingerprint
    assert (manifest["format_version"], manifest["sentences"]) == (2, "stored")
    with FeatureIndex.open(path) as index:
        assert index.state.store.layout == index.state.manifest.layout
        assert index.state.store.layout.multi == {"sentences": space.encoder.dimension}
