"""Checksums of points: which changes they see, and which differences of engines they forgive."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qdrant_client import QdrantClient, models

from saeindex.errors import DamageError
from saeindex.protocols import Damage, Layout, Point, SearchRequest, SparseVector
from saeindex.stores import checksums
from saeindex.stores import edge_engine as engine
from saeindex.stores.checksums import CHECKSUMS, MISSING
from saeindex.stores.edge import EdgeStore
from saeindex.stores.qdrant import QdrantStore

LAYOUT = Layout({"dense": 4}, ("sae",), {"tag": "keyword"})
PAYLOAD: dict[str, Any] = {
    "record_id": "r1",
    "text": "dark matter",
    "metadata": {"price": 0.1 + 0.2, "tags": ["a", "b"], "years": [1999, 2001], "none": None, "ok": True},
    "tag": "a",
}


@pytest.fixture
def store(tmp_path: Path) -> EdgeStore:
    made = EdgeStore.create(tmp_path / "it.idx", LAYOUT)
    made.upsert([Point(n, _vectors(n), {**PAYLOAD, "record_id": f"r{n}"}) for n in range(1, 4)])
    return made


def _vectors(n: int) -> dict[str, Any]:
    sparse = SparseVector(np.array([n, n + 9], np.int32), np.array([0.5, 0.25], np.float32))
    return {"dense": np.array([n, 1, 0, 0], np.float32), "sae": sparse}


def _written(store: EdgeStore, number: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the payload and vectors of a point as the engine has them, checksums included."""
    (row,) = store._shard.retrieve([number], True, ["dense", "sae"])
    return dict(row.payload), {"dense": row.vector["dense"], "sae": _plain(row.vector["sae"])}


def _plain(vector: Any) -> tuple[list[int], list[float]]:
    return list(vector.indices), list(vector.values)


def _overwrite(store: EdgeStore, number: int, payload: dict[str, Any], vectors: dict[str, Any]) -> None:
    """Change what the engine has, behind the store's back."""
    from saeindex.stores.point_checks import CheckedPoint

    engine.upsert(store._shard, [CheckedPoint(number, vectors, payload, 0)])


DAMAGES: dict[str, Any] = {
    "text": lambda payload, vectors: payload.update(text="dark master"),
    "metadata": lambda payload, vectors: payload["metadata"].update(price=0.300001),
    "metadata: ": lambda payload, vectors: payload["metadata"].update(ok=1),
    "metadata: lost": lambda payload, vectors: payload.pop("metadata"),
    "tag": lambda payload, vectors: payload.update(tag="b"),
    "extra": lambda payload, vectors: payload.update(extra=1),
    "vector dense": lambda payload, vectors: vectors.update(dense=[0.0, 1.0, 0.0, 0.0]),
    "vector dense: lost": lambda payload, vectors: vectors.pop("dense"),
    "vector sae": lambda payload, vectors: vectors.update(sae=([2, 11], [0.5, 0.250001])),
    "vector sae: index": lambda payload, vectors: vectors.update(sae=([2, 12], [0.5, 0.25])),
    "vector sae: lost": lambda payload, vectors: vectors.pop("sae"),
    MISSING: lambda payload, vectors: payload.pop(CHECKSUMS),
    f"{MISSING}: ": lambda payload, vectors: payload.update({CHECKSUMS: {"payload": 7}}),
    f"{MISSING}:  ": lambda payload, vectors: payload.update({CHECKSUMS: [1]}),
    "vector dense, vector sae": lambda payload, vectors: payload[CHECKSUMS].update(vectors=7),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_every_changed_part_is_seen_and_named(store: EdgeStore, name: str) -> None:
    payload, vectors = _written(store, 2)
    DAMAGES[name](payload, vectors)
    _overwrite(store, 2, payload, vectors)
    part = name.partition(":")[0]
    with pytest.raises(DamageError, match=rf"record 'r2' \({part}\).*doctor .*it.idx --repair"):
        store.get([1, 2, 3], True, True)
    with pytest.raises(DamageError):
        store.scroll(with_vectors=True)
    if name != "vector dense: lost":  # a search cannot find it; `doctor` does
        with pytest.raises(DamageError):
            store.search(SearchRequest(np.array([0, 1, 0, 0], np.float32), with_vectors=True))
    (damage,) = [one for one in store.examine([1, 2, 3]) if isinstance(one, Damage)]
    assert (damage.point.id, ", ".join(damage.parts)) == (2, part)


def test_what_other_programs_do_to_a_collection_on_a_server_is_seen_or_allowed() -> None:
    client, ones = QdrantClient(":memory:"), np.ones(4, np.float32)
    QdrantStore.create(client, "shared", LAYOUT).upsert([Point(1, {"dense": ones}, {"record_id": "r1"})])
    store = QdrantStore.open(client, "shared")
    client.set_payload("shared", {"reviewed_by": "ann"}, points=[1])
    assert store.get([1])[0].payload == {"record_id": "r1", "reviewed_by": "ann"}
    client.upsert("shared", [models.PointStruct(id=2, vector={"dense": [0.5] * 4}, payload={"a": 1})])
    with pytest.raises(DamageError, match=r"point 2 \(no checksums.*doctor shared --url URL --repair"):
        store.search(SearchRequest(ones))


def test_only_what_is_read_is_checked(store: EdgeStore) -> None:
    payload, vectors = _written(store, 2)
    _overwrite(store, 2, {**payload, "text": "other"}, vectors)
    assert store.get([2], ["tag"], ["sae"])[0].payload == {"tag": "a"}
    assert store.get([2], False) == [Point(2)]
    with pytest.raises(DamageError):
        store.get([2], ["text"])


def test_a_payload_under_another_id_is_seen(store: EdgeStore) -> None:
    _overwrite(store, 3, *_written(store, 2))
    with pytest.raises(DamageError, match="record 'r2'"):
        store.get([3], ["text"])


def test_what_is_read_has_no_checksums_and_sound_points_pass(store: EdgeStore) -> None:
    (point,) = store.get([1], True, True)
    assert point.payload == {**PAYLOAD, "record_id": "r1"}
    assert store.scroll(with_payload=["text"]).points[0].payload == {"text": "dark matter"}
    assert store.scroll(with_payload=False, with_vectors=["sae"]).points[0].payload == {}
    assert all(isinstance(one, Point) for one in store.examine([1, 2, 3]))


def test_the_last_bits_of_a_float_may_differ(store: EdgeStore) -> None:
    payload, vectors = _written(store, 1)
    for moved in (np.nextafter(0.1 + 0.2, 1), np.nextafter(0.1 + 0.2, 0)):
        payload["metadata"] = {**payload["metadata"], "price": float(moved)}
        _overwrite(store, 1, payload, vectors)
        assert store.get([1])[0].id == 1


def test_a_float_at_the_limit_of_two_roundings_may_differ_in_its_last_bits(tmp_path: Path) -> None:
    limit = 0.1234567890125  # 12 digits: …012 or …013
    store = EdgeStore.create(tmp_path / "it.idx", LAYOUT)
    for price in (limit, float(np.nextafter(limit, 1)), float(np.nextafter(limit, 0))):
        store.upsert([Point(1, _vectors(1), {"metadata": {"price": price}})])
        payload, vectors = _written(store, 1)
        for moved in (np.nextafter(price, 1), np.nextafter(price, 0)):
            _overwrite(store, 1, {**payload, "metadata": {"price": float(moved)}}, vectors)
            assert store.get([1])[0].id == 1


def test_replaced_fields_have_new_checksums(store: EdgeStore) -> None:
    store.set_payload({1: {"tag": "z", "new": [1, 2]}})
    assert store.get([1])[0].payload == {**PAYLOAD, "record_id": "r1", "tag": "z", "new": [1, 2]}
    assert store.get([1], ["tag"])[0].payload == {"tag": "z"}
    payload, vectors = _written(store, 1)
    _overwrite(store, 1, {**payload, "tag": "a"}, vectors)
    with pytest.raises(DamageError, match="tag"):
        store.get([1])
    store.upsert([Point(1, _vectors(1), PAYLOAD)])
    assert store.get([1])[0].payload == PAYLOAD


def test_points_of_earlier_versions_have_no_checksums(tmp_path: Path) -> None:
    EdgeStore.create(tmp_path / "it.idx", LAYOUT).close()
    layout = tmp_path / "it.idx" / "layout.json"
    kept = {key: value for key, value in json.loads(layout.read_text()).items() if "checksum" not in key}
    layout.write_text(json.dumps(kept))
    with EdgeStore.open(tmp_path / "it.idx") as store:
        _overwrite(store, 1, {"text": "old"}, {"dense": [1.0, 0.0, 0.0, 0.0]})
        assert store.get([1])[0].payload == {"text": "old"}


def test_the_encoder_that_is_made_once_writes_what_json_does() -> None:
    value = {"b": [1, 2.5, None, True, "ü\u2028\ud800"], "a": {"z": {}, "y": -0.0}, "": 10**17}
    assert checksums._as_json(value) == json.dumps(value, sort_keys=True, separators=(",", ":"))
    assert checksums._as_json(value) == checksums._as_json(value)
