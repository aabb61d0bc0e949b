"""What safety costs a search: an engine in a process of its own."""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks import data, mixture
from benchmarks.corpora import CachedEncoder
from benchmarks.outcome import Figure, Outcome
from saeindex import FeatureIndex, FeatureSpace

# Kinds of search of which the costs are measured.
KINDS: dict[str, dict[str, object]] = {
    "plain": {},
    "where": {"where": '"galaxies" OR metadata.year >= 2015'},
    "steered": {"steer": "+theory:0.4"},
    "fused": {"using": "fused"},
    "explained": {"explain": True},
}
TURNS = 5
Options = Mapping[str, object]
# The milliseconds of one search.
Search = Callable[[str, Options], float]


def measure_isolation(outcome: Outcome, folder: Path, records: int, space: FeatureSpace) -> None:
    """Add what isolation adds to a search's time: in turn with it and without, on the same files."""
    texts = [str(one.metadata["title"]) for one in data.read("arxiv_heldout", "test", 40)]
    path, copy = folder / "cost.idx", folder / "isolated.idx"
    with FeatureIndex.create(path, space, encoder=CachedEncoder()) as index:
        index.upsert(mixture.abstracts(records))
    shutil.copytree(path, copy)
    with (
        FeatureIndex.open(path, encoder=CachedEncoder()) as index,
        FeatureIndex.open(copy, encoder=CachedEncoder(), isolated=True) as other,
    ):

        def here(text: str, options: Options) -> float:
            return _timed(index, text, options)

        def isolated(text: str, options: Options) -> float:
            return _timed(other, text, options)

        rows = {kind: _medians(texts, options, (here, isolated)) for kind, options in KINDS.items()}
    added = statistics.mean(after - before for before, after in rows.values())
    outcome.figures["query_isolation_ms"] = Figure(added, "ms more a query, mean of five kinds")
    outcome.tables["isolation_cost"] = _table(rows, "in this process", "isolated")


def _table(rows: Mapping[str, tuple[float, float]], before: str, after: str) -> list[dict[str, object]]:
    return [{"search": kind, f"ms {before}": a, f"ms {after}": b} for kind, (a, b) in rows.items()]


def _medians(texts: Sequence[str], options: Options, two: tuple[Search, Search]) -> tuple[float, float]:
    """Return the median times of two searches over texts, in turn."""
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(-1, TURNS):  # the first turn warms up
        for text in texts:
            for which in (0, 1) if turn % 2 else (1, 0):
                ms = two[which](text, options)
                if turn >= 0:
                    times[which].append(ms)
    return statistics.median(times[0]), statistics.median(times[1])


def _timed(index: FeatureIndex, text: str, options: Options) -> float:
    started = time.perf_counter()
    index.search(text, **options)  # type: ignore[call-overload]
    return (time.perf_counter() - started) * 1e3
