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
from saeindex.indexing.points import content_hash, point_id
from saeindex.protocols import Point
from tests.samples import RandomEncoder, RecordingEncoder, all_points, code_of, dense

LONG = " ".join(f"Sentence {n} is about {topic}." for n, topic in enumerate(["stars", "bread", "tax"] * 8))
PLAIN_KEYS = {"record_id", "text", "metadata", "content_hash", "concepts"}


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory, space: FeatureSpace) -> Iterator[dict[str, list[Point]]]:
    """The points of a short record and of a long text, in order."""
    path = tmp_path_factory.mktemp("points") / "points.idx"
    encoder = RandomEncoder(space.encoder)
    with FeatureIndex.create(path, space, encoder=encoder) as index:
        index.upsert([Record("short", "One line.", {"year": 2020})])
        index.upsert([Record("long", LONG, {"tags": ["a", "b"]})], split=20)
        points = {point.payload["record_id"]: point for point in all_points(index)}
    yield {"short": [points.pop("short")], "long": [points[f"long#{n}"] for n in range(len(points))]}


def expected_codes(space: FeatureSpace, point: Point) -> list[int]:
    """Return feature * 4 + level for each level that is reached, in plain Python."""
    codes = []
    for feature, value in zip(code_of(point).indices.tolist(), code_of(point).values.tolist(), strict=True):
        reached = [True, value >= space.calibration.median[feature], value >= space.calibration.p90[feature]]
        codes += [feature * 4 + level for level in range(3) if reached[level]]
    return sorted(codes)


def test_a_short_record_is_one_point_with_exactly_the_fields_of_the_layout(
    stored: dict[str, list[Point]], space: FeatureSpace
) -> None:
    (point,) = stored["short"]
    assert set(point.payload) == PLAIN_KEYS
    assert point.payload["text"] == "One line."
    assert point.payload["metadata"] == {"year": 2020}
    assert set(point.vectors) == {"dense", "sae"}
    assert point.payload["concepts"] == expected_codes(space, point)


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
        assert point.payload["concepts"] == expected_codes(space, point)
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


def test_a_content_hash_depends_on_text_and_metadata_but_not_on_id_or_key_order() -> None:
    base = content_hash(Record("a", "text", {"x": 1, "y": [2]}))
    assert content_hash(Record("b", "text", {"y": [2], "x": 1})) == base
    assert content_hash(Record("a", "text ", {"x": 1, "y": [2]})) != base
    assert content_hash(Record("a", "text", {"x": 1, "y": [3]})) != base
    assert content_hash(Record("a", "text", {"x": "1", "y": [2]})) != base
    assert content_hash(Record("a", "text", {"x": 1, "y": [2]}, {}, "book")) != base
    splits = {content_hash(Record("a", "text", {"x": 1, "y": [2]}), split) for split in (None, 20, 30)}
    assert len(splits) == 3


def test_a_content_hash_survives_the_last_bits_of_floats_that_engines_change() -> None:
    value = 0.1234567890123456
    base = content_hash(Record("a", "text", {"x": [{"y": value}]}))
    assert content_hash(Record("a", "text", {"x": [{"y": np.nextafter(value, 1)}]})) == base
    assert content_hash(Record("a", "text", {"x": [{"y": value + 1e-9}]})) != base


def test_an_index_on_disk_has_the_layout_that_the_manifest_names(
    tmp_path: Path, space: FeatureSpace, encoder: RecordingEncoder
) -> None:
    path = tmp_path / "notes.idx"
    FeatureIndex.create(path, space, encoder=encoder, payload_indexes={"metadata.year": "float"}).close()
    manifest = json.loads((path / "manifest.json").read_text())
    assert manifest["dense"] == {"dense": space.encoder.dimension}
    assert manifest["sparse"] == ["sae"]
    assert manifest["payload_indexes"] == {
        "record_id": "keyword",
        "document": "keyword",
        "truncated": "bool",
        "concepts": "integer",
        "metadata.year": "float",
    }
    assert manifest["space"]["fingerprint"] == space.fingerprint
    assert (manifest["format_version"], manifest["sentences"]) == (2, "off")
    with FeatureIndex.open(path) as index:
        assert index.state.store.layout == index.state.manifest.layout
