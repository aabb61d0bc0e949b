"""The part of the conformance suite that writes, reads back, and checks that bad points are refused."""

# ruff: noqa: S101, D102 - a suite of tests: asserts are its point, and names tell the behaviour

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from qdrant_client import models

from saeindex.errors import InvalidInputError, InvalidPointError, StorageError
from saeindex.protocols import Point, SearchRequest
from saeindex.testing.comparison import MakeStore, Reopen, all_points, assert_same_points
from saeindex.testing.reference_store import ReferenceStore
from saeindex.testing.sample_points import (
    AXIS,
    DIMENSION,
    LAYOUT,
    ONES,
    bad_points,
    sample_id,
    sample_points,
    sparse_vector,
)


class WriteConformance:
    """Writing, reading back and refusing; ``make_store`` and ``reopen`` come from the subclass."""

    def test_an_empty_store_answers_everything(self, make_store: MakeStore) -> None:
        store = make_store(LAYOUT)
        assert store.layout == LAYOUT
        assert store.count() == 0
        assert store.get([1, sample_id(1)]) == []
        assert store.facet("tag") == []
        assert list(store.scroll().points) == []
        assert store.scroll().cursor is None
        assert store.search(SearchRequest(ONES)) == []
        assert store.search(SearchRequest(sparse_vector([1], [1.0]), using="sae")) == []
        store.delete([1, sample_id(1)])
        store.upsert([])

    def test_what_was_written_is_read_back(self, make_store: MakeStore, reopen: Reopen) -> None:
        store, reference = make_store(LAYOUT), ReferenceStore(LAYOUT)
        points = sample_points(1, 60)
        for target in (store, reference):
            target.upsert(points)
        assert_same_points(all_points(store), all_points(reference))
        store.flush()
        assert_same_points(all_points(reopen(store)), all_points(reference))

    def test_an_upsert_replaces_the_whole_point(self, make_store: MakeStore) -> None:
        store = make_store(LAYOUT)
        old = {"dense": AXIS[0], "sae": sparse_vector([1], [1.0]), "reader": sparse_vector([1], [1.0])}
        store.upsert([Point(1, old, {"tag": "a", "year": 1990})])
        store.upsert([Point(1, {"sae": sparse_vector([2], [2.0])}, {"tag": "b"})])
        (point,) = store.get([1], with_vectors=True)
        assert set(point.vectors) == {"sae"}
        assert point.payload == {"tag": "b"}
        assert store.count() == 1
        assert store.facet("tag") == [("b", 1)]
        assert store.search(SearchRequest(AXIS[0])) == []
        assert store.search(SearchRequest(sparse_vector([1], [1.0]), using="sae")) == []

    def test_keys_of_payloads_are_replaced_and_nothing_else(
        self, make_store: MakeStore, reopen: Reopen
    ) -> None:
        store, same = make_store(LAYOUT), str(sample_id(1))
        first = Point(1, {"dense": AXIS[0]}, {"tag": "a", "year": 1990})
        store.upsert([first, Point(same, {}, {"tag": "a"})])
        store.set_payload({1: {"tag": "b"}, same.upper(): {"year": 7}, 99: {"tag": "c"}})
        store.set_payload({})
        inner = {"m": 1, "k": {"z": 2}, "a.b": 3}
        assert store.set_payload({1: inner, same: inner, 99: inner}, "own") == {1, same}
        store.set_payload({1: {"m": None, "k": {"y": 4}}, same: {"a.b": 5}}, within="own")
        store = reopen(store)
        one, other = store.get([1, same, 99], with_vectors=True)
        changed = {"tag": "b", "year": 1990, "own": {"k": {"y": 4}, "a.b": 3}}
        assert (one.payload, list(one.vectors)) == (changed, ["dense"])
        assert other.payload == {"tag": "a", "year": 7, "own": {**inner, "a.b": 5}}
        assert dict(store.facet("tag")) == {"a": 1, "b": 1}

    def test_the_last_of_an_id_in_a_batch_wins(self, make_store: MakeStore) -> None:
        store, same = make_store(LAYOUT), str(sample_id(1))
        store.upsert([Point(same, {}, {"tag": "a"}), Point(same.upper(), {}, {"tag": "b"})])
        assert [(p.id, p.payload) for p in store.get([same])] == [(same, {"tag": "b"})]

    def test_payload_indexes_come_and_go(self, make_store: MakeStore, reopen: Reopen) -> None:
        store = make_store(LAYOUT)
        store.upsert([Point(n, {}, {"size": n % 3}) for n in range(9)])
        with pytest.raises(InvalidInputError, match="no index"):
            store.facet("size")
        store.index_payload("size", "integer")
        store = reopen(store)
        store.upsert([Point(9, {}, {"size": 0})])
        assert store.facet("size") == [(0, 4), (1, 3), (2, 3)]
        store.index_payload("size", "keyword")
        assert (store.layout.payload_indexes["size"], store.facet("size")) == ("keyword", [])
        store.index_payload("size", None)
        store.index_payload("size", None)
        store = reopen(store)
        assert store.layout == LAYOUT
        with pytest.raises(InvalidInputError):
            store.index_payload("size", "number")  # type: ignore[arg-type]

    def test_get_returns_the_parts_asked_for(self, make_store: MakeStore) -> None:
        store = make_store(LAYOUT)
        store.upsert(
            [Point(1, {"dense": AXIS[0], "sae": sparse_vector([1], [1.0])}, {"tag": "a", "b": {"c": 1}})]
        )
        assert store.get([1])[0] == Point(1, {}, {"tag": "a", "b": {"c": 1}})
        assert store.get([1], with_payload=False)[0] == Point(1)
        assert store.get([1], with_payload=["tag", "absent"])[0].payload == {"tag": "a"}
        assert store.get([1], with_payload=[])[0].payload == {}
        assert set(store.get([1], with_vectors=True)[0].vectors) == {"dense", "sae"}
        assert set(store.get([1], with_vectors=["sae", "reader"])[0].vectors) == {"sae"}
        assert store.get([1], with_vectors=[])[0].vectors == {}
        with pytest.raises(InvalidInputError, match="other"):
            store.get([1], with_vectors=["other"])

    def test_unicode_comes_back_unchanged(self, make_store: MakeStore, reopen: Reopen) -> None:
        texts = [
            "",
            "naïve",
            "nai\u0308ve",
            "שלום עולם",
            "👩🏽‍🚀",
            "a\0b",
            "\u2028\ufeff\U0010ffff",
            "'\"\\/\n\t",
        ]
        payload = {"texts": texts, "": "empty key", "ключ": {"👋🏽": ["\0"]}}
        store = make_store(LAYOUT)
        store.upsert([Point(1, {"dense": ONES}, payload)])
        store.upsert([Point(n + 2, {}, {"tag": text}) for n, text in enumerate(texts)])
        assert store.get([1])[0].payload == payload
        assert store.facet("tag", limit=20) == [(text, 1) for text in sorted(texts)]
        assert reopen(store).get([1])[0].payload == payload

    def test_json_values_keep_their_types(self, make_store: MakeStore) -> None:
        payload = {
            "values": [None, True, False, 0, -1, 2**63 - 1, -(2**63), 0.5, -0.25, 1e300, 1.0, "1"],
            "nested": {"empty": {}, "list": [], "rows": [[1, [2]], {"a": None}]},
        }
        store = make_store(LAYOUT)
        store.upsert([Point(1, {}, payload)])
        found = store.get([1])[0].payload
        assert found == payload
        assert [type(value) for value in found["values"]] == [type(value) for value in payload["values"]]

    def test_dense_vectors_are_kept_at_unit_length(self, make_store: MakeStore) -> None:
        store = make_store(LAYOUT)
        lengths = [1e-30, 1e-5, 1.0, 1e5, 1e30]
        store.upsert([Point(n, {"dense": ONES * length}) for n, length in enumerate(lengths)])
        for point in store.search(SearchRequest(ONES * 1e-20, with_vectors=True)):
            assert point.score == pytest.approx(1.0, abs=1e-6)
            np.testing.assert_allclose(point.vectors["dense"], ONES / np.sqrt(DIMENSION), atol=1e-6)  # type: ignore[arg-type]

    def test_an_empty_sparse_vector_is_no_vector(self, make_store: MakeStore) -> None:
        store = make_store(LAYOUT)
        store.upsert([Point(1, {"sae": sparse_vector([], [])}), Point(2, {"sae": sparse_vector([0], [1])})])
        has = models.Filter(must=[models.HasVectorCondition(has_vector="sae")])
        assert [point.id for point in store.scroll(has).points] == [2]
        assert store.get([1], with_vectors=True)[0].vectors == {}

    def test_a_delete_needs_ids_or_a_filter(self, make_store: MakeStore) -> None:
        store = make_store(LAYOUT)
        store.upsert([Point(1)])
        with pytest.raises(InvalidInputError, match="neither"):
            store.delete()
        with pytest.raises(InvalidInputError, match="both"):
            store.delete([1], models.Filter())
        with pytest.raises(InvalidInputError, match="bool"):
            store.delete([True])
        store.delete([])
        assert store.count() == 1

    def test_the_manifest_is_replaced_whole(self, make_store: MakeStore, reopen: Reopen) -> None:
        store = make_store(LAYOUT)
        assert store.read_manifest() == {}
        store.write_manifest({"a": 1, "b": {"c": [1, None], "d": "👋🏽"}})
        store.write_manifest({"b": {"e": None}, "n": 0.5})
        assert store.read_manifest() == {"b": {"e": None}, "n": 0.5}
        assert reopen(store).read_manifest() == {"b": {"e": None}, "n": 0.5}

    def test_bad_points_are_refused_and_do_no_harm(self, make_store: MakeStore, reopen: Reopen) -> None:
        store, reference = make_store(LAYOUT), ReferenceStore(LAYOUT)
        for target in (store, reference):
            target.upsert(sample_points(4, 12))
        for name, bad in bad_points().items():
            good = Point(10**6, {"dense": ONES}, {"tag": "must not be written"})
            with pytest.raises(InvalidPointError):
                store.upsert([good, bad])
                pytest.fail(f"accepted: {name}")
        assert_same_points(all_points(store), all_points(reference))
        assert_same_points(all_points(reopen(store)), all_points(reference))

    def test_bad_queries_are_refused(self, make_store: MakeStore) -> None:
        store = make_store(LAYOUT)
        store.upsert(sample_points(5, 12))
        for name, bad in bad_points().items():
            if not name.startswith("vector:"):
                continue
            ((using, vector),) = list(bad.vectors.items())[-1:]
            with pytest.raises(InvalidInputError):
                store.search(SearchRequest(vector, using=using))
        assert store.count() == 12

    def test_a_closed_store_says_so(self, make_store: MakeStore) -> None:
        store = make_store(LAYOUT)
        store.close()
        store.close()
        calls: list[Callable[[], object]] = [
            store.count,
            store.flush,
            store.scroll,
            store.read_manifest,
            lambda: store.write_manifest({}),
            lambda: store.get([1]),
            lambda: store.delete([1]),
            lambda: store.upsert([Point(1)]),
            lambda: store.set_payload({1: {"tag": "a"}}),
            lambda: store.facet("tag"),
            lambda: store.search(SearchRequest(ONES)),
        ]
        for call in calls:
            with pytest.raises(StorageError, match="closed"):
                call()
