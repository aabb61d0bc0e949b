"""The storage layout, field by field, which other programs may rely on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid5

import numpy as np
import pytest
from saeindex.indexing.passages import PassageOptions

from saeindex import FeatureIndex, FeatureSpace, Record
from saeindex.config import POINT_NAMESPACE
from saeindex.indexing.points import content_hash, point_id
from saeindex.protocols import Point
from tests.samples import RandomEncoder, RecordingEncoder, all_points, code_of, dense

LONG = " ".join(f"Sentence {n} is about {topic}." for n, topic in enumerate(["stars", "bread", "tax"] * 8))
PLAIN_KEYS = {"record_id", "passage", "text", "metadata", "content_hash", "concepts"}


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory, space: FeatureSpace) -> Iterator[dict[str, list[Point]]]:
    """The points of a short and of a long record, passages in order."""
    path = tmp_path_factory.mktemp("points") / "points.idx"
    encoder = RandomEncoder(space.encoder)
    with FeatureIndex.create(path, space, encoder=encoder, passages=PassageOptions(20)) as index:
        index.upsert([Record("short", "One line.", {"year": 2020}), Record("long", LONG, {"tags": ["a", "b"]})])
        points = sorted(all_points(index), key=lambda point: int(point.payload["passage"]))
    yield {key: [p for p in points if p.payload["record_id"] == key] for key in ("short", "long")}


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
    assert point.payload["passage"] == 0
    assert point.payload["text"] == "One line."
    assert point.payload["metadata"] == {"year": 2020}
    assert set(point.vectors) == {"dense", "sae"}
    assert point.payload["concepts"] == expected_codes(space, point)


def test_only_the_first_passage_has_the_passage_count_and_the_concept_union(
    stored: dict[str, list[Point]], space: FeatureSpace
) -> None:
    first, *others = stored["long"]
    assert others
    assert set(first.payload) == PLAIN_KEYS | {"passages", "record_concepts"}
    assert all(set(point.payload) == PLAIN_KEYS for point in others)
    assert first.payload["passages"] == len(stored["long"])
    union = {code for point in stored["long"] for code in expected_codes(space, point)}
    assert first.payload["record_concepts"] == sorted(union)
    assert [point.payload["passage"] for point in stored["long"]] == list(range(len(stored["long"])))
    assert all(point.payload["metadata"] == {"tags": ["a", "b"]} for point in stored["long"])
    assert all(point.payload["text"] in LONG for point in stored["long"])


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


def test_ids_are_uuid5_of_record_and_passage_and_never_change() -> None:
    assert str(POINT_NAMESPACE) == "6f1d7c1e-52a5-5a0b-9c8e-3d1f0a5e7b42"
    assert point_id("doc-1") == str(uuid5(POINT_NAMESPACE, "doc-1\n0"))
    assert point_id("doc-1", 12) == str(uuid5(POINT_NAMESPACE, "doc-1\n12"))
    assert UUID(point_id("ключ", 3)).version == 5
    assert len({point_id("a", 1), point_id("a\n1", 0), point_id("a", 11), point_id("a1", 1)}) == 4


def test_stored_ids_are_those_of_record_and_passage(stored: dict[str, list[Point]]) -> None:
    for record_id, points in stored.items():
        assert [point.id for point in points] == [point_id(record_id, n) for n in range(len(points))]


def test_a_content_hash_depends_on_text_and_metadata_but_not_on_id_or_key_order() -> None:
    base = content_hash(Record("a", "text", {"x": 1, "y": [2]}))
    assert content_hash(Record("b", "text", {"y": [2], "x": 1})) == base
    assert content_hash(Record("a", "text ", {"x": 1, "y": [2]})) != base
    assert content_hash(Record("a", "text", {"x": 1, "y": [3]})) != base
    assert content_hash(Record("a", "text", {"x": "1", "y": [2]})) != base


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
        "passage": "integer-range",
        "concepts": "integer",
        "record_concepts": "integer",
        "metadata.year": "float",
    }
    assert manifest["space"]["fingerprint"] == space.fingerprint
    with FeatureIndex.open(path) as index:
        assert index.store.layout == index.manifest.layout
