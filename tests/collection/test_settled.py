"""What is written in bulk is made files by the engine: the index opens at once, and nothing else changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from saeindex import FeatureIndex, FeatureSpace, Record
from saeindex.collection import current
from saeindex.stores import edge
from tests.samples import RecordingEncoder, sample_records


def stored(index: FeatureIndex) -> dict[object, object]:
    """Return all that is stored, bit for bit."""
    names = ("dense", "sentences")
    points = index.state.store.scroll(limit=1_000, with_vectors=names).points
    return {p.id: (p.payload, *(np.asarray(p.vectors[one]).tobytes() for one in names)) for p in points}


def test_a_large_write_is_made_files_and_small_ones_are_not(
    tmp_path: Path, space: FeatureSpace, encoder: RecordingEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(current, "SETTLED", 50)
    monkeypatch.setattr(current, "MANY_UNSETTLED", 100)
    monkeypatch.setattr(edge, "INDEXING_THRESHOLD_KB", 1)
    records = sample_records(160)

    def segments(index: FeatureIndex) -> int:
        found: int = index.state.store._shard.info().segments_count  # type: ignore[attr-defined]
        return found

    with FeatureIndex.create(tmp_path / "bulk.idx", space, encoder=encoder) as index:
        for start in range(0, 60, 20):
            index.upsert(records[start : start + 20], learn_terms=False)
        assert segments(index) == 1
        before = stored(index)
        index.upsert(records[60:], batch_size=30, learn_terms=False)
        assert segments(index) > 1
        after, facets = stored(index), index.state.store.facet("concepts", limit=10_000)
        assert {one: after[one] for one in before} == before
        hits = index.search("dark matter", where='NOT "galaxies"', limit=20)
    with FeatureIndex.open(tmp_path / "bulk.idx", encoder=encoder) as index:
        assert stored(index) == after
        assert index.state.store.facet("concepts", limit=10_000) == facets
        assert list(index.search("dark matter", where='NOT "galaxies"', limit=20)) == list(hits)
        index.upsert([Record(records[0].id, "Copper wire.")])
        index.delete([records[1].id])
        assert index.count() == 159
        assert index.get([records[0].id])[0].text == "Copper wire."
        assert not index.count('"dark matter" AND NOT "dark matter"')


def test_what_was_written_bit_by_bit_is_made_files_at_closing(
    tmp_path: Path, space: FeatureSpace, encoder: RecordingEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(current.CurrentState.settle, "__defaults__", (50, 0))
    monkeypatch.setattr(edge, "INDEXING_THRESHOLD_KB", 1)
    records, made = sample_records(60), list[edge.EdgeStore]()
    optimize = edge.EdgeStore.optimize

    def counted(store: edge.EdgeStore) -> bool:
        made.append(store)
        return optimize(store)

    monkeypatch.setattr(edge.EdgeStore, "optimize", counted)
    with FeatureIndex.create(tmp_path / "bits.idx", space, encoder=encoder) as index:
        for start in range(0, 60, 20):
            index.upsert(records[start : start + 20], learn_terms=False)
        before = stored(index)
        assert not made
    assert len(made) == 1
    with pytest.raises(RuntimeError), FeatureIndex.open(tmp_path / "bits.idx", encoder=encoder) as index:
        assert stored(index) == before
        index.upsert([Record(one.id, f"{one.text} Again.") for one in records], learn_terms=False)
        raise RuntimeError  # who interrupts does not wait
    with FeatureIndex.open(tmp_path / "bits.idx", encoder=encoder) as index:
        assert index.count() == 60
    assert len(made) == 1
