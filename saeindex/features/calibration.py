"""What counts as typical and as strong for each feature, measured on a corpus."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from saeindex.config import LEVEL_STRIDE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.types import FloatArray, IntArray, SparseCode


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """Per feature: ``density`` (share of records where active), ``median`` and ``p90`` of its non-zeros.

    All (n,) float32. A feature that was never active has infinite levels: where it appears it is present,
    never typical.
    """

    records: int
    density: FloatArray
    median: FloatArray
    p90: FloatArray

    @classmethod
    def measure(cls, code: SparseCode) -> Calibration:
        """Measure a batch of codes."""
        columns = code.to_csr().tocsc()
        median = np.full(code.n_features, np.inf, np.float32)
        p90 = median.copy()
        for feature in range(code.n_features):
            values = columns.data[columns.indptr[feature] : columns.indptr[feature + 1]]
            if len(values):
                median[feature], p90[feature] = np.quantile(values, (0.5, 0.9))
        density = np.diff(columns.indptr) / max(1, len(code))
        return cls(len(code), density.astype(np.float32), median, p90)

    def levels(self, indices: IntArray, values: FloatArray) -> NDArray[np.int64]:
        """Return the level (0 present, 1 typical, 2 strong) of each active feature."""
        return (values >= self.median[indices]).astype(np.int64) + (values >= self.p90[indices])

    def concept_codes(self, indices: IntArray, values: FloatArray) -> NDArray[np.int64]:
        """Return the sorted level codes: ``feature * 4 + level`` for every level that is reached."""
        levels = self.levels(indices, values)
        codes = [indices[levels >= level] * LEVEL_STRIDE + level for level in range(3)]
        return np.sort(np.concatenate(codes).astype(np.int64))

    def digest(self) -> str:
        """Return a hash of the thresholds, which decide the level codes."""
        return hashlib.sha256(self.median.tobytes() + self.p90.tobytes()).hexdigest()

    def save(self, path: Path) -> None:
        """Write as safetensors."""
        from safetensors.numpy import save_file

        arrays = {"density": self.density, "median": self.median, "p90": self.p90}
        save_file(arrays, path, metadata={"records": str(self.records)})

    @classmethod
    def load(cls, path: Path) -> Calibration:
        """Read what :meth:`save` wrote."""
        from safetensors import safe_open

        with safe_open(path, framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in ("density", "median", "p90")}
            return cls(int((file.metadata() or {})["records"]), **arrays)
