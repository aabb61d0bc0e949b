"""What is made anew in part after a write is what is made of all points."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from saeindex import FeatureIndex, Record
from saeindex.collection import sample as samples
from saeindex.collection.sample import read_sample
from saeindex.collection.snapshot_files import take_snapshot
from saeindex.errors import InvalidInputError
from saeindex.stores import base
from saeindex.stores.base import Changes
from tests.samples import RecordingEncoder, sample_records

if TYPE_CHECKING:
    from collections.abc import Callable

    from saeindex import FeatureSpace

RECORDS = sample_records(130, seed=3)
WRITES: dict[str, Callable[[FeatureIndex], object]] = {
    "new": lambda index: index.upsert([Record("new", "Hydrogène? It's a comet's tail!", {"year": 2030})]),
    "nothing": lambda index: index.upsert([Record("new", "Hydrogène? It's a comet's tail!", {"year": 2030})]),
    "changed": lambda index: index.upsert([Record(one.id, one.text[:40], {}) for one in RECORDS[3:30:4]]),
    "deleted": lambda index: index.delete([one.id for one in RECORDS[40:50]]),
    "deleted by condition": lambda index: index.delete(where="metadata.year >= 2019"),
    "both": lambda index: (index.upsert(RECORDS[120:]), index.delete(["new", RECORDS[125].id])),
    "all": lambda index: index.upsert(RECORDS[:110]),
    "renamed": lambda index: index.concepts.rename(3, "what comes from afar"),
}  # fmt: skip


@pytest.fixture
def notes(tmp_path: Path, space: FeatureSpace, session_encoder: RecordingEncoder) -> FeatureIndex:
    index = FeatureIndex.create(tmp_path / "notes.idx", space, encoder=session_encoder)
    index.upsert(RECORDS[:100])
    return index


@pytest.mark.parametrize("many", [50, 4_096])
def test_samples_and_snapshots_follow_writes(
    notes: FeatureIndex, monkeypatch: pytest.MonkeyPatch, many: int
) -> None:
    monkeypatch.setattr(samples, "SAMPLE", many)
    monkeypatch.setattr(samples, "PAGE", 10)
    with notes as index:
        for name, write in WRITES.items():
            index.state.sample()
            index.state.snapshot()
            write(index)
            state = index.state
            sample, whole = state.sample(), read_sample(state.store, state.space, state.total)
            assert sample.rows.ids == whole.rows.ids, name
            assert (sample.total, sample.places) == (whole.total, whole.places), name
            assert np.array_equal(sample.rows.x, whole.rows.x)
            assert (sample.rows.concepts != whole.rows.concepts).nnz == 0
            assert np.array_equal(sample.rows.words.toarray(), whole.rows.words.toarray())
            part = state.snapshot()
            read = take_snapshot(state.store, state.space, ("", None), None)
            assert part.ids == read.ids, name
            assert (part.metadata, part.documents) == (read.metadata, read.documents)
            assert part.texts(range(len(part))) == read.texts(range(len(read)))
            for one in ("vectors", "lengths"):
                assert np.array_equal(getattr(part, one), getattr(read, one))
            for one in ("activations", "reached"):
                assert (getattr(part, one) != getattr(read, one)).nnz == 0
            assert words_of(part) == words_of(read)


def words_of(snapshot: Any) -> list[set[str]]:
    rows = (snapshot.words[row].indices for row in range(len(snapshot)))
    return [{snapshot.vocabulary[column] for column in columns} for columns in rows]


def test_of_no_records_there_is_nothing_to_analyse(notes: FeatureIndex) -> None:
    with notes as index:
        index.state.snapshot()
        index.delete([one.id for one in RECORDS[:100]])
        with pytest.raises(InvalidInputError, match="the index is empty"):
            index.state.snapshot()


@pytest.mark.parametrize("name", ["vectors.bin", "vocabulary.json", "ids.jsonl"])
def test_a_damaged_snapshot_is_no_part_of_the_next(notes: FeatureIndex, name: str) -> None:
    with notes as index:
        whole = index.state.snapshot()
        path = Path(str(index.state.cache), "snapshot", name)
        path.write_bytes(bytes(len(path.read_bytes())))
        index.upsert([Record("new", "A comet.", {})])
        assert set(whole.ids) < set(index.state.snapshot().ids)
        assert np.linalg.norm(index.state.snapshot().vectors, axis=1) == pytest.approx(1, abs=1e-3)


def test_only_what_changed_is_read(notes: FeatureIndex) -> None:
    with notes as index:
        index.state.sample()
        index.state.snapshot()
        index.upsert([Record("new", "A comet.", {})])
        store = index.state.store
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(store), "scroll", lambda *_, **__: pytest.fail("all points were read"))
            assert len(index.state.sample().rows) == len(index.state.snapshot()) == 101
        index.refresh()  # whatever another program has changed
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(store), "get", lambda *_, **__: pytest.fail("not all points were read"))
            assert len(index.state.sample().rows) == len(index.state.snapshot()) == 101


def test_changes_are_known_as_far_as_there_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "MAX_CHANGES", 5)
    monkeypatch.setattr(base, "MAX_CALLS", 3)
    changes = Changes()
    assert changes.since(0) == frozenset()
    changes.note([1, 2])
    changes.note(["a"])
    assert changes.since(0) == frozenset({1, 2, "a"})
    assert changes.since(1) == frozenset({"a"})
    assert changes.since(2) == frozenset()
    changes.note([3, 4, 5])
    assert changes.since(0) is None
    assert changes.since(1) == frozenset({"a", 3, 4, 5})
    changes.note(None)
    assert changes.since(3) is None
    assert changes.since(4) == frozenset()
    for number in range(4):
        changes.note([number])
    assert changes.since(4) is None
    assert changes.since(5) == frozenset({1, 2, 3})
