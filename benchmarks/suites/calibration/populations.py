"""Populations that null runs draw from: corpora with their evidence, pooled corpora, and few documents."""

from __future__ import annotations

from functools import lru_cache, reduce
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import data
from benchmarks.snapshots import as_indexed, labelled
from benchmarks.suites.diff.calibration import Prepared
from benchmarks.suites.drift.chance import prepared_of
from saeindex.analysis.diff.diff import joined
from saeindex.collection.snapshot import Snapshot

if TYPE_CHECKING:
    from numpy.typing import NDArray

POOLED = ("goemotions", "stackoverflow_titles", "clinc150")
PROMPTED, PROMPT = "alpaca_eval", "metadata.instruction_id"


@lru_cache(maxsize=6)
def population(name: str, unit: str | None = None, units: int | None = None) -> Prepared:
    """Return a corpus, or the records of its first so many units, with the evidence on all its records.

    Clusters are made once, on all records; a comparison makes them on the records that it compares.
    """
    snapshot = snapshot_of(name)
    if unit is None or units is None:
        return prepared_of(snapshot)
    return prepared_of(snapshot.take(np.flatnonzero(of_first(snapshot, unit, units))))


def of_first(snapshot: Snapshot, unit: str, units: int) -> NDArray[np.bool_]:
    """Return which records (m,) are of the first so many units, in a random order."""
    column = snapshot.column(unit)
    order = np.random.default_rng(0).permutation(len(column.values))[:units]
    chosen: NDArray[np.bool_] = np.isin(column.codes, order)
    return chosen


@lru_cache(maxsize=6)
def snapshot_of(name: str) -> Snapshot:
    """Return the test part of a corpus, or of several as one ("pooled")."""
    if name != "pooled":
        return labelled(name)
    first, *others = (labelled(one) for one in POOLED)
    return reduce(lambda both, other: joined(both, other)[0], others, first)


def shuffled_rows(snapshot: Snapshot, count: int) -> NDArray[np.int64]:
    """Return so many rows of a snapshot, at random and always the same."""
    return np.random.default_rng(1).permutation(len(snapshot))[:count]


@lru_cache(maxsize=1)
def prompts() -> tuple[Snapshot, NDArray[np.int64]]:
    """Return the distinct prompts of the responses as a snapshot, and the prompt of each response (m,)."""
    responses = labelled(PROMPTED)
    records = data.read(PROMPTED, "test")
    texts = {one.metadata["instruction_id"]: str(one.metadata["instruction"]) for one in records}
    column = responses.column(PROMPT)
    asked = as_indexed([texts[value] for value in column.values], field="prompt")
    return asked, column.codes.astype(np.int64)
