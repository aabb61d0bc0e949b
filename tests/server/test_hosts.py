"""Parts of an index for keys with a filter: made again behind the requests, and never too old."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from saeindex_server import hosts
from saeindex_server.hosts import HostedIndex
from saeindex_server.keys import mandatory_filter
from saeindex_server.logs import LOGGER

from saeindex import FeatureIndex, FeatureSpace, Record
from tests.samples import sample_records
from tests.server.conftest import DocumentsOnce, made_index

SECONDS = 30.0
OWN = mandatory_filter('metadata.topic = "music"', None) or ""
NEW = "An organ plays a fugue."


class Building:
    """Stands for ``FeatureIndex.part``: waits until it is let go, or fails, and notes its threads."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.threads: list[str] = []
        self.has_begun, self.may_go = threading.Event(), threading.Event()
        self.error: Exception | None = None
        original = FeatureIndex.part

        def part(index: FeatureIndex, **given: Any) -> FeatureIndex:
            self.threads.append(threading.current_thread().name)
            self.has_begun.set()
            assert self.may_go.wait(SECONDS)
            if self.error is not None:
                raise self.error
            return original(index, **given)

        patch.setattr(FeatureIndex, "part", part)


@pytest.fixture
def hosted(tmp_path: Path, space: FeatureSpace, documents_once: DocumentsOnce) -> Iterator[HostedIndex]:
    place = made_index(tmp_path / "papers.idx", space, documents_once, sample_records(120))
    hosted = HostedIndex(str(place), None, lambda _: documents_once)
    try:
        yield hosted
    finally:
        hosted.close()


@pytest.fixture
def building(hosted: HostedIndex, monkeypatch: pytest.MonkeyPatch) -> Iterator[Building]:
    """A part is there; then the next ones are made when it is said."""
    hosted.index(OWN)
    building = Building(monkeypatch)
    yield building
    building.may_go.set()


@contextmanager
def logged() -> Iterator[list[str]]:
    lines: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    handler, level = Kept(), LOGGER.level
    LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.INFO)
    try:
        yield lines
    finally:
        LOGGER.removeHandler(handler)
        LOGGER.setLevel(level)


def add(hosted: HostedIndex, identity: str) -> None:
    record = Record(identity, f"{NEW} {identity}", {"topic": "music"})
    hosted.call(None, lambda index: index.upsert([record]))


def found(hosted: HostedIndex) -> list[str]:
    return hosted.call(OWN, lambda index: [hit.id for hit in index.search(NEW, limit=3)])


def count(hosted: HostedIndex) -> int:
    return hosted.call(OWN, lambda index: index.count())


def started(call: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=call, name="a request")
    thread.start()
    return thread


def test_requests_after_a_write_use_the_part_that_is_there(hosted: HostedIndex, building: Building) -> None:
    old, before = hosted.index(OWN), count(hosted)
    assert building.threads == []
    add(hosted, "new")
    for _ in "ab":
        assert found(hosted)[0] == "new"
        assert count(hosted) == before + 1
        assert hosted.index(OWN) is old
    assert building.has_begun.wait(SECONDS)
    assert not building.may_go.is_set()
    building.may_go.set()
    hosted.settle()
    assert len(building.threads) == 1
    assert building.threads[0].startswith("saeindex-parts")
    new = hosted.index(OWN)
    assert new is not old
    assert new.state.manifest.counts.records == before + 1
    assert found(hosted)[0] == "new"
    hosted.settle()
    assert len(building.threads) == 1


def test_what_is_written_while_a_part_is_made_makes_it_once_more(
    hosted: HostedIndex, building: Building
) -> None:
    before = count(hosted)
    add(hosted, "new")
    hosted.index(OWN)
    assert building.has_begun.wait(SECONDS)
    add(hosted, "newer")
    hosted.index(OWN)
    building.may_go.set()
    hosted.settle()
    hosted.index(OWN)
    hosted.settle()
    assert hosted.index(OWN).state.manifest.counts.records == before + 2


def test_a_request_waits_for_a_part_that_is_too_old(
    hosted: HostedIndex, building: Building, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = hosted.index(OWN)
    add(hosted, "new")
    monkeypatch.setattr(hosts, "LAG", 0.0)
    got: list[FeatureIndex] = []
    waiting = [started(lambda: got.append(hosted.index(OWN))) for _ in range(3)]
    assert building.has_begun.wait(SECONDS)
    assert got == []
    building.may_go.set()
    for thread in waiting:
        thread.join(SECONDS)
    assert building.threads == ["a request"]
    assert len(got) == 3
    assert len(set(map(id, got))) == 1
    assert got[0] is not old


def test_the_age_of_a_part_begins_when_its_revision_was_last_seen(
    hosted: HostedIndex, building: Building, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1_000.0
    monkeypatch.setattr(hosts, "time", SimpleNamespace(monotonic=lambda: now))
    building.may_go.set()
    old = hosted.index(OWN)
    now += 10 * hosts.LAG
    assert hosted.index(OWN) is old  # without a write it is as good as new
    add(hosted, "new")
    now += hosts.LAG
    assert hosted.index(OWN) is old
    hosted.settle()
    assert hosted.index(OWN) is not old
    add(hosted, "newer")
    now += hosts.LAG + 1
    hosted.index(OWN)
    assert [name.startswith("saeindex-parts") for name in building.threads] == [True, False]


def test_a_part_that_cannot_be_made_is_logged_and_made_by_a_request_when_it_is_too_old(
    hosted: HostedIndex, building: Building, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = hosted.index(OWN)
    add(hosted, "new")
    building.error = ZeroDivisionError()
    building.may_go.set()
    with logged() as lines:
        for _ in range(3):
            assert hosted.index(OWN) is old
            hosted.settle()
    assert lines == ["failed"]
    assert len(building.threads) == 1
    building.error = None
    monkeypatch.setattr(hosts, "LAG", 0.0)
    assert hosted.index(OWN) is not old
    assert building.threads[-1] == threading.current_thread().name


def test_a_part_of_a_dead_engine_is_not_used(hosted: HostedIndex, building: Building) -> None:
    add(hosted, "new")
    dead = hosted.whole()
    hosted.index(OWN)
    assert building.has_begun.wait(SECONDS)
    with logged() as lines:
        hosted._mark_dead(dead)
        building.may_go.set()
        hosted.settle()
    assert lines == ["the engine of an index died"]
    assert hosted.whole() is not dead
    assert found(hosted)[0] == "new"


def test_an_index_is_closed_while_a_part_is_made(hosted: HostedIndex, building: Building) -> None:
    add(hosted, "new")
    hosted.index(OWN)
    assert building.has_begun.wait(SECONDS)
    (making,) = [one for one in threading.enumerate() if one.name.startswith("saeindex-parts")]
    with logged() as lines:
        hosted.close()
        building.may_go.set()
        making.join(SECONDS)
    assert not making.is_alive()
    assert lines == []
