"""The activation levels of each feature, present, typical and strong, measured on a corpus."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from saeindex.config import LEVEL_STRIDE, LEVELS

if TYPE_CHECKING:
    from saeindex.types import Doubles, FloatArray, IntArray, Ints, SparseCode

ARRAYS = ("density", "median", "p90")
# Activations that a feature needs for a reliable median and p90.
MIN_ACTIVE = 10
# Upper bound of an activation's loudness, as a multiple of the feature's p90.
LOUDEST = 1.5


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """Per feature: ``density`` (share of records where active), ``median`` and ``p90`` of its activations.

    All (n,) float32. A feature that was never active has infinite thresholds: where it appears it is
    present, never typical. ``mean`` (d,) float32 is the mean embedding, the x̄ of NMSE; None if the
    embeddings were not given.
    """

    records: int
    density: FloatArray
    median: FloatArray
    p90: FloatArray
    mean: FloatArray | None = None

    @classmethod
    def measure(
        cls,
        code: SparseCode,
        vectors: FloatArray | None = None,
        quantiles: tuple[float, float] = (0.5, 0.9),
    ) -> Calibration:
        """Measure a batch of codes, and the mean of their embeddings (m, d).

        ``quantiles`` of a feature's activations are those from which on it is typical, and strong. For a
        corpus that arrives in parts, use :class:`CalibrationMeter`.
        """
        meter = CalibrationMeter(code.n_features)
        meter.add(code, vectors)
        return meter.measured(quantiles)

    def levels(self, indices: IntArray, values: FloatArray) -> Ints:
        """Return the level (0 present, 1 typical, 2 strong) of each active feature."""
        return (values >= self.median[indices]).astype(np.int64) + (values >= self.p90[indices])

    def loudness(self, indices: IntArray, values: FloatArray) -> FloatArray:
        """Return activations divided by each feature's p90, at most 1.5, so that no single one dominates.

        A feature that was never active on the calibration texts has no p90: it counts as typical.
        """
        loud = self.p90[indices]
        parts = np.where(np.isfinite(loud), values / np.maximum(loud, 1e-6), 1.0)
        return np.minimum(parts, LOUDEST).astype(np.float32)

    def concept_codes(self, indices: IntArray, values: FloatArray, offsets: Ints | int = 0) -> Ints:
        """Return the sorted level codes: ``feature * 4 + level`` for every level that a feature reaches.

        ``offsets`` (k,) are added to the features: those of the texts of a batch can be told apart by them.
        """
        levels, features = self.levels(indices, values), indices + np.int64(offsets)
        codes = [features[levels >= level] * LEVEL_STRIDE + level for level in range(LEVELS)]
        return np.sort(np.concatenate(codes))

    def with_rare_levels_of(self, other: Calibration, min_count: int = MIN_ACTIVE) -> Calibration:
        """Return a copy with the levels of ``other`` for features active fewer than ``min_count`` times."""
        is_rare = np.rint(self.density.astype(np.float64) * self.records) < min_count
        levels = (self.median, other.median), (self.p90, other.p90)
        median, p90 = (np.where(is_rare, theirs, ours).astype(np.float32) for ours, theirs in levels)
        return replace(self, median=median, p90=p90)

    def extended(self, count: int) -> Calibration:
        """Return a copy with so many further features, which are never active."""
        never = np.full(count, np.inf, np.float32)
        return self.beside(Calibration(0, np.zeros(count, np.float32), never, never))

    def beside(self, other: Calibration) -> Calibration:
        """Return a copy with the features of ``other`` after its own."""
        both: dict[str, Any] = {name: np.append(getattr(self, name), getattr(other, name)) for name in ARRAYS}
        return replace(self, **both)

    def first(self, count: int) -> Calibration:
        """Return a copy with the first features only."""
        return replace(self, **{name: getattr(self, name)[:count] for name in ARRAYS})

    def digest(self) -> str:
        """Return a hash of the thresholds, which determine the level codes."""
        return hashlib.sha256(self.median.tobytes() + self.p90.tobytes()).hexdigest()

    def save(self, path: Path) -> None:
        """Write as safetensors."""
        from safetensors.numpy import save_file

        arrays = {name: getattr(self, name) for name in ARRAYS}
        if self.mean is not None:
            arrays["mean"] = self.mean
        save_file(arrays, path, metadata={"records": str(self.records)})

    @classmethod
    def load(cls, path: Path) -> Calibration:
        """Read a file written by :meth:`save`."""
        from safetensors import safe_open

        with safe_open(path, framework="numpy") as file:
            names = [*ARRAYS, *({"mean"} & set(file.keys()))]
            arrays = {name: file.get_tensor(name) for name in names}
            return cls(int((file.metadata() or {})["records"]), **arrays)


class CalibrationMeter:
    """Measures a corpus part by part; keeps the activations (8 bytes each), not the embeddings.

    The result does not depend on the order of the records or on their division into parts.
    """

    def __init__(self, n_features: int) -> None:
        self.n_features, self.records = n_features, 0
        self._indices: list[IntArray] = [np.zeros(0, np.int32)]
        self._values: list[FloatArray] = [np.zeros(0, np.float32)]
        self._total: Doubles | float = 0.0
        self._summed = 0

    def add(self, code: SparseCode, vectors: FloatArray | None = None) -> None:
        """Add a batch of codes, and optionally their embeddings (m, d)."""
        self.records += len(code)
        self._indices.append(code.indices)
        self._values.append(code.values)
        if vectors is not None and len(vectors):
            self._total = self._total + vectors.sum(0, dtype=np.float64)
            self._summed += len(vectors)

    def measured(self, quantiles: tuple[float, float] = (0.5, 0.9)) -> Calibration:
        """Return the calibration; its mean is None unless every record came with its embedding."""
        indices, values = np.concatenate(self._indices), np.concatenate(self._values)
        counts = np.bincount(indices, minlength=self.n_features)
        columns = np.split(values[np.argsort(indices, kind="stable")], np.cumsum(counts)[:-1])
        levels = np.full((2, self.n_features), np.inf, np.float32)
        for feature in np.flatnonzero(counts).tolist():
            levels[:, feature] = np.quantile(columns[feature], quantiles)
        has_mean = 0 < self._summed == self.records
        mean = np.asarray(self._total / self.records, np.float32) if has_mean else None
        density = (counts / max(1, self.records)).astype(np.float32)
        return Calibration(self.records, density, levels[0], levels[1], mean)
