"""An index that nothing refers to any more is closed at once and leaves nothing in memory."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from saeindex import FeatureIndex, FeatureSpace
from saeindex.errors import IndexLockedError, RejectedError, SaeIndexError
from tests.samples import RecordingEncoder, sample_records

TEXT = "It rains on the hills, and the river rises."


@pytest.fixture
def opened(
    tmp_path: Path, space: FeatureSpace, session_encoder: RecordingEncoder, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], FeatureIndex]]:
    """Return what opens an index of 80 records again and again, while no garbage is collected."""

    def again() -> FeatureIndex:
        return FeatureIndex(tmp_path / "notes.idx", space=space, encoder=session_encoder)

    with again() as index:
        index.upsert(sample_records(80))
    gc.collect()
    gc.disable()
    monkeypatch.setattr(gc, "collect", lambda: 0)
    yield again
    gc.enable()


@pytest.mark.parametrize(
    "use",
    [
        len,
        lambda index: index.search("rain", where="NOT #1", explain=True),
        lambda index: index.search("rain", property="sad"),
        lambda index: index.plan("rain", where='"rain"'),
        lambda index: index.diff("metadata.year > 2010", "metadata.year < 2005"),
        lambda index: index.correlate(),
        lambda index: index.upsert([{"id": "new", "text": TEXT}]),
        lambda index: index.delete(["new"]),
        lambda index: index.concepts.find("rain"),
        lambda index: index.part("metadata.year > 2000").search("rain"),
        lambda index: index.metadata_fields(),
        repr,
    ],
)
def test_an_index_that_was_dropped_is_not_locked_and_leaves_nothing(
    opened: Callable[[], FeatureIndex], use: Callable[[FeatureIndex], object]
) -> None:
    for _ in range(2):
        index = opened()
        use(index)
        state = weakref.ref(index.state)
        del index
        assert state() is None


def test_an_index_that_was_dropped_after_an_error_is_not_locked(opened: Callable[[], FeatureIndex]) -> None:
    def fails(index: FeatureIndex) -> None:
        raise ValueError(TEXT)

    def stopped(_: int) -> None:
        raise RuntimeError(TEXT)

    uses: list[Callable[[FeatureIndex], object]] = [
        lambda index: index.search("rain", where="metadata."),
        lambda index: index.search("rain", limit=-1),
        lambda index: index.triggers("rain"),
        lambda index: index.get(["a"], documents=["b"]),
        lambda index: index.upsert([{"id": 1, "text": ""}]),
        lambda index: index.upsert([{"id": 1, "text": TEXT}], progress=stopped),
        lambda index: index.upsert("nowhere.csv"),
        lambda index: index.delete(query_filter={}),
        lambda index: index.diff("#1", "metadata.x ="),
        fails,
    ]
    for use in uses:
        index = opened()
        with pytest.raises((SaeIndexError, ValueError, RuntimeError)):
            use(index)
        state = weakref.ref(index.state)
        del index
        assert state() is None, use


def test_what_garbage_holds_is_let_go_of(
    opened: Callable[[], FeatureIndex], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    ring: list[object] = [opened()]
    ring.append(ring)
    del ring
    assert len(opened()) == 80


def test_a_part_keeps_the_whole_open(opened: Callable[[], FeatureIndex]) -> None:
    part = opened().part("metadata.year > 2000")
    assert len(part) > 0
    with pytest.raises(IndexLockedError, match=r"`close\(\)`, or a `with` block"):
        opened()
    del part
    assert len(opened()) == 80


def test_a_report_of_rejects_holds_nothing(opened: Callable[[], FeatureIndex]) -> None:
    try:
        opened().upsert([{"id": 1, "text": ""}])
    except RejectedError as error:
        report = error.report
    assert report.rejected == 1 and len(opened()) == 80
