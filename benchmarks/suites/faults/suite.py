"""Nothing sharp: random conditions are answered or refused, and damage to an index is seen.

Conditions of all forms (where texts, where objects, native filters; whole and mutilated) are parsed,
validated and compiled; 20,000 that are accepted are executed on 2,000 records. Then the files of an index of
300 records are damaged one by one. Last, the time that checksums take of a search is measured. Nothing is
fitted or chosen.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from unittest.mock import patch

from benchmarks import data, mixture
from benchmarks.corpora import CachedEncoder
from benchmarks.outcome import Figure, Outcome, at_most
from benchmarks.suites.faults.damage import Trial, trials
from benchmarks.suites.faults.fuzz import Fuzzed, executed, parsed
from saeindex import FeatureIndex, FeatureSpace, Record
from saeindex.config import DEFAULT_SPACE
from saeindex.protocols import Point
from saeindex.stores.base import BaseStore
from saeindex.stores.engine import Fetch

SEED = 7
# Why damage that nobody saw is harmless, by the beginning of a file's path.
HARMLESS = {
    "cache/": "derived: its checksum does not match, so it is made again",
    "manifest.copy.json": "read by a repair only; the next write replaces it",
    "points/wal/": "the engine's log: all that it holds was applied when the index was closed",
    "points/": "the bit is in space that holds no record",
}


# Kinds of search of which the cost of checksums is measured.
KINDS: dict[str, dict[str, object]] = {
    "plain": {},
    "where": {"where": '"galaxies" OR metadata.year >= 2015'},
    "steered": {"steer": "+theory:0.4"},
    "fused": {"using": "fused"},
    "explained": {"explain": True},
}


def run(quick: bool) -> Outcome:
    """Run; ``quick`` takes 10,000 conditions, 300 executed, 12 damaged files and 1,000 records."""
    inputs, run_on_edge, damaged, records = (
        (10_000, 300, 12, 1_000) if quick else (10**6, 20_000, 200, 10_000)
    )
    outcome = Outcome("faults", quick, SEED)
    space = FeatureSpace.load(DEFAULT_SPACE)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fuzz(outcome, folder, inputs, run_on_edge, space)
        damage(outcome, folder, damaged)
        checksum_cost(outcome, folder, records, space)
    return outcome


def fuzz(outcome: Outcome, folder: Path, inputs: int, run_on_edge: int, space: FeatureSpace) -> None:
    """Add the figures of random conditions."""
    path = folder / "fuzz.idx"
    with FeatureIndex.create(path, space, encoder=CachedEncoder()) as index:
        index.add(mixture.abstracts(2_000))
    compiled = parsed(inputs, SEED, space.n_features)
    on_edge = executed(path, run_on_edge, SEED + 1, space.n_features)
    untyped = [*compiled.untyped, *on_edge.untyped]
    outcome.figures["fuzz_inputs"] = Figure(sum(compiled.inputs.values()), "conditions")
    outcome.figures["fuzz_executed"] = Figure(sum(on_edge.accepted.values()), "conditions")
    outcome.figures["fuzz_untyped"] = at_most(len(untyped), 0, "errors that are not ours, or deaths")
    outcome.figures["fuzz_growth_mib"] = at_most(max(compiled.growth_mib, on_edge.growth_mib), 256, "MiB")
    outcome.figures["fuzz_worst_ratio"] = at_most(on_edge.worst_ratio, 20, "times a filter of one clause")
    outcome.tables["fuzz"] = {
        "compiled": _described(compiled),
        "executed": _described(on_edge),
        "untyped": untyped[:20],
    }


def _described(found: Fuzzed) -> dict[str, object]:
    return {
        "inputs": dict(found.inputs),
        "accepted": dict(found.accepted),
        "growth_mib": found.growth_mib,
        "reference_ms": found.reference_ms,
        "slowest_ms": found.slowest,
    }


def damage(outcome: Outcome, folder: Path, count: int) -> None:
    """Add the fault table."""
    path = folder / "damage.idx"
    with FeatureIndex.create(path, encoder=CachedEncoder()) as index:
        rows = enumerate(data.read("product_reviews", limit=300))
        index.add([Record(f"r{n}", row.text, dict(row.metadata)) for n, row in rows])
    with FeatureIndex.open(path) as index:  # with a cached snapshot
        index.profile(where='metadata.polarity = "positive"')
    found = [*trials(path, folder, count, SEED)]
    silent = [one for one in found if one.seen.startswith("SILENT")]
    untyped = [one for one in found if one.seen.split(":")[0] in ("UNTYPED", "DIED", "HUNG")]
    seen = Counter(one.seen.split(":")[0] for one in found)
    mended = [one for one in found if one.repaired]
    sound = sum(one.repaired.startswith("sound") for one in mended)
    outcome.figures["damage_tried"] = Figure(len(found), "damaged files")
    outcome.figures["damage_silent"] = at_most(len(silent), 0, "wrong answers without an error", len(found))
    outcome.figures["damage_untyped"] = at_most(len(untyped), 0, "errors not ours, or deaths", len(found))
    outcome.figures["damage_harmless"] = Figure(
        seen["nothing"], "that change no answer", None, None, len(found)
    )
    outcome.figures["repaired_share"] = Figure(
        sound / max(1, len(mended)), "of those seen", None, None, len(mended)
    )
    outcome.tables["damage"] = [_row(one) for one in found]


def _row(trial: Trial) -> dict[str, str]:
    why = next((why for start, why in HARMLESS.items() if trial.file.startswith(start)), "")
    return asdict(trial) | ({"harmless": why} if trial.seen == "nothing" else {})


def checksum_cost(outcome: Outcome, folder: Path, records: int, space: FeatureSpace) -> None:
    """Add the share of a search's time that checksums take: in turn with and without them."""
    with FeatureIndex.create(folder / "cost.idx", space, encoder=CachedEncoder()) as index:
        index.add(mixture.abstracts(records))
        texts = [str(one.metadata["title"]) for one in data.read("arxiv_heldout", "test", 40)]
        rows = {name: _cost(index, texts, options) for name, options in KINDS.items()}
    outcome.tables["checksum_cost"] = {name: {"ratio": ratio, "ms": ms} for name, (ratio, ms) in rows.items()}
    cost = statistics.mean(ratio for ratio, _ in rows.values()) - 1
    outcome.figures["query_checksum_cost"] = at_most(cost, 0.05, "of a query's time, mean of five kinds")
    worst = max(ratio for ratio, _ in rows.values()) - 1
    outcome.figures["query_checksum_cost_worst"] = Figure(worst, "of a query's time, worst kind")


def _cost(index: FeatureIndex, texts: list[str], options: dict[str, object]) -> tuple[float, float]:
    """Return the median over texts of the time with over without checksums, and the time with them in ms."""
    times: dict[bool, list[float]] = {True: [], False: []}
    for text in texts:
        index.search(text, **options)  # type: ignore[arg-type]
    for turn in range(5):
        for text in texts:
            for is_checked in (True, False) if turn % 2 else (False, True):
                times[is_checked].append(_time(index, text, options, is_checked))
    return statistics.median(times[True]) / statistics.median(times[False]), statistics.median(times[True])


def _time(index: FeatureIndex, text: str, options: dict[str, object], is_checked: bool) -> float:
    if is_checked:
        return _timed(index, text, options)
    with patch.object(BaseStore, "_sound", _unchecked), patch.object(Fetch, "with_checksums", _same):
        return _timed(index, text, options)


def _timed(index: FeatureIndex, text: str, options: dict[str, object]) -> float:
    started = time.perf_counter()
    index.search(text, **options)  # type: ignore[arg-type]
    return (time.perf_counter() - started) * 1e3


def _unchecked(_: BaseStore, points: list[Point], fetch: Fetch) -> list[Point]:
    return points


def _same(fetch: Fetch) -> Fetch:
    return fetch
