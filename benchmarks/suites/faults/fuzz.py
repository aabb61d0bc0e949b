"""Random conditions through parsing, validation and compilation, and executed on Qdrant Edge.

Both run in children with a limit on their memory. An error that is not one of ours, and a child that dies, is
*untyped*. The time of a condition is compared with a filter of one clause that is run beside it.
"""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.suites.faults.expressions import Conditions
from saeindex.errors import SaeIndexError
from saeindex.language.parser import parse_where
from saeindex.language.to_filter import compile_where
from saeindex.language.to_text import to_text
from saeindex.stores.engine_process import limit_memory
from saeindex.stores.filters import as_filter, check_filter, to_edge

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from saeindex.language.ast import TextTerm

MEMORY = 4 * 2**30
# A reference filter is run before each so many conditions.
REFERENCE_EVERY = 25
SHOWN = 5
_PROCESSES = multiprocessing.get_context("spawn")


@dataclass(slots=True)
class Fuzzed:
    """What became of a stream of conditions."""

    inputs: Counter[str] = field(default_factory=Counter)
    accepted: Counter[str] = field(default_factory=Counter)
    untyped: list[str] = field(default_factory=list)
    growth_mib: float = 0.0
    slowest: list[tuple[float, str]] = field(default_factory=list)
    reference_ms: float = 0.0

    @property
    def worst_ratio(self) -> float:
        """The longest time over the median time of the reference filter."""
        return 0.0 if not self.slowest else self.slowest[0][0] / self.reference_ms


def compiled(kind: str, form: Any, n_features: int) -> Any:
    """Return a form as a filter, checked as a search does; a phrase means features given by its text."""

    def features_of(node: TextTerm) -> list[int]:
        text = to_text(node)
        return [sum(text.encode("utf-8", "replace")) * step % n_features for step in (1, 7, 31)]

    if kind.endswith("filter"):
        found = as_filter(form)
    else:
        found = compile_where(parse_where(form), features_of, None, None, lambda _: [])
    check_filter(found)
    return found


def parsed(count: int, seed: int, n_features: int) -> Fuzzed:
    """Parse, validate and compile ``count`` conditions in a child."""
    return _in_child(_parse, count, seed, n_features)


def executed(index: Path, count: int, seed: int, n_features: int) -> Fuzzed:
    """Count the records of an index that match ``count`` conditions, in a child."""
    return _in_child(_execute, index, count, seed, n_features)


def _in_child(work: Any, *arguments: Any) -> Fuzzed:
    ours, theirs = _PROCESSES.Pipe()
    child = _PROCESSES.Process(target=_limited, args=(theirs, work, *arguments))
    child.start()
    theirs.close()
    try:
        found: Fuzzed = ours.recv()
    except EOFError:
        child.join()
        return Fuzzed(untyped=[f"the process died with {child.exitcode}"])
    child.join()
    return found


def _limited(out: Connection, work: Any, *arguments: Any) -> None:
    limit_memory(MEMORY)
    out.send(work(*arguments))


def _parse(count: int, seed: int, n_features: int) -> Fuzzed:
    found, conditions = Fuzzed(), Conditions(seed, n_features)
    compiled("filter", {"must": []}, n_features)  # imports what is slow to import
    before = _peak_from_here_mib()
    for _ in range(count):
        kind, form = conditions.next()
        found.inputs[kind] += 1
        started = time.perf_counter()
        query_filter = _tried(found, kind, form, lambda: compiled(kind, form, n_features))  # noqa: B023
        if query_filter is not None and _tried(found, kind, form, lambda: (to_edge([query_filter]),)):  # noqa: B023
            found.accepted[kind] += 1
        _note_time(found, started, kind, form)
    found.growth_mib = _status_mib("VmHWM") - before
    found.reference_ms = 1.0
    return found


def _execute(index: Path, count: int, seed: int, n_features: int) -> Fuzzed:
    from saeindex.stores import open_store

    found, conditions, references = Fuzzed(), Conditions(seed, n_features), []
    with open_store(index) as store:
        # Like most random conditions, it tests a field without an index: the engine reads payloads.
        reference = compile_where(parse_where("metadata.year >= 2010"), lambda _: [5])
        for _ in range(200):
            store.count(reference)
        before = _peak_from_here_mib()
        while sum(found.accepted.values()) < count:
            if sum(found.inputs.values()) % REFERENCE_EVERY == 0:
                started = time.perf_counter()
                store.count(reference)
                references.append((time.perf_counter() - started) * 1e3)
            kind, form = conditions.next()
            found.inputs[kind] += 1
            query_filter = _tried(found, kind, form, lambda: compiled(kind, form, n_features))  # noqa: B023
            if query_filter is None:
                continue
            started = time.perf_counter()
            if _tried(found, kind, form, lambda: (store.count(query_filter),)):  # noqa: B023
                found.accepted[kind] += 1
                _note_time(found, started, kind, form)
    found.growth_mib = _status_mib("VmHWM") - before
    found.reference_ms = statistics.median(references)
    return found


def _tried(found: Fuzzed, kind: str, form: Any, call: Any) -> Any:
    """Return what ``call`` returns; None for an error of ours; any other error is noted."""
    try:
        return call()
    except SaeIndexError:
        return None
    except BaseException as error:
        if len(found.untyped) < 1_000:
            found.untyped.append(f"{type(error).__name__}: {error!s:.100} | {kind}: {_shown(form)}")
        return None


def _note_time(found: Fuzzed, started: float, kind: str, form: Any) -> None:
    taken = (time.perf_counter() - started) * 1e3
    if len(found.slowest) < SHOWN or taken > found.slowest[-1][0]:
        found.slowest = sorted([*found.slowest, (taken, f"{kind}: {_shown(form)}")], reverse=True)[:SHOWN]


def _shown(form: Any) -> str:
    try:
        return repr(form)[:300]
    except RecursionError:
        return "(too deep to print)"


def _peak_from_here_mib() -> float:
    """Return the resident memory, and let the peak begin here: a child inherits that of its parent."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status_mib("VmRSS")


def _status_mib(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))
