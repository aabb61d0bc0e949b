"""Nothing sharp: random conditions are answered or refused, and damage to an artefact is seen.

Conditions of all forms (where texts, where objects, native filters; whole and mutilated) are parsed,
validated and compiled; 20,000 that are accepted are executed on 2,000 records. Then the artefacts of an index
of 300 records are damaged one by one. Last, the time that an engine in a process of its own takes of a search
is measured. Nothing is fitted or chosen.
"""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path

from benchmarks import data, mixture
from benchmarks.corpora import CachedEncoder
from benchmarks.outcome import Figure, Outcome, at_most
from benchmarks.suites.faults.costs import measure_isolation
from benchmarks.suites.faults.damage import Trial, trials
from benchmarks.suites.faults.fuzz import Fuzzed, executed, parsed
from saeindex import FeatureIndex, FeatureSpace, Record
from saeindex.config import DEFAULT_SPACE

SEED = 7
# Why damage that nobody saw is harmless, by the beginning of a file's path.
HARMLESS = {"cache/": "derived: its checksum does not match, so it is made again"}


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
        measure_isolation(outcome, folder, records, space)
    return outcome


def fuzz(outcome: Outcome, folder: Path, inputs: int, run_on_edge: int, space: FeatureSpace) -> None:
    """Add the figures of random conditions."""
    path = folder / "fuzz.idx"
    with FeatureIndex.create(path, space, encoder=CachedEncoder()) as index:
        index.upsert(mixture.abstracts(2_000))
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
    """Add the figures of damaged artefacts."""
    path = folder / "damage.idx"
    with FeatureIndex.create(path, encoder=CachedEncoder()) as index:
        rows = enumerate(data.read("product_reviews", limit=300))
        index.upsert([Record(f"r{n}", row.text, dict(row.metadata)) for n, row in rows])
    with FeatureIndex.open(path) as index:  # with a cached snapshot
        index.describe('metadata.polarity = "positive"')
    found = [*trials(path, folder, count, SEED)]
    silent = [one for one in found if one.seen.startswith("SILENT")]
    untyped = [one for one in found if one.seen.split(":")[0] in ("UNTYPED", "DIED", "HUNG")]
    harmless, n = sum(one.seen == "nothing" for one in found), len(found)
    outcome.figures["artefact_damage_tried"] = Figure(n, "damaged files")
    outcome.figures["artefact_damage_silent"] = at_most(len(silent), 0, "wrong answers without an error", n)
    outcome.figures["artefact_damage_untyped"] = at_most(len(untyped), 0, "errors not ours, or deaths", n)
    outcome.figures["artefact_damage_harmless"] = Figure(harmless, "that change no answer", n=n)
    outcome.tables["artefact_damage"] = [_row(one) for one in found]


def _row(trial: Trial) -> dict[str, str]:
    why = next((why for start, why in HARMLESS.items() if trial.file.startswith(start)), "")
    return asdict(trial) | ({"harmless": why} if trial.seen == "nothing" else {})
