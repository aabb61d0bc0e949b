"""Drift of a corpus from the calibration corpus of its space: densities and levels of the features.

Shares are compared by Fisher's exact test (two-sided by doubling the smaller tail), which is valid for an
index of ten records as well as a million; the false discovery rate over all features is controlled at 5 %
(Benjamini and Hochberg 1995). On a large index every small change is significant, so a change counts only if
it is also large.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from saeindex.config import LEVEL_STRIDE, LEVELS
from saeindex.features.calibration import MIN_ACTIVE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from saeindex.features.calibration import Calibration

FDR = 0.05
CHANGED = 2.0
# Share of activations at each level on the calibration corpus, by definition of the levels.
TYPICAL_SHARE, STRONG_SHARE = 0.5, 0.1
# A feature's levels are off where its share of typical records is outside this range.
TYPICAL_RANGE = (0.25, 0.75)
# Share of activations with levels off from which a recalibration is recommended. Over 15 labelled corpora it
# is .01 to .16, and .38 for a corpus made of templates.
OFF_SHARE = 0.2
MIN_ACTIVATIONS = 1_000


@dataclass(frozen=True, slots=True, eq=False)
class LevelDrift:
    """A corpus compared with the calibration of its space.

    ``density_ratio`` (n,) is a feature's density here over its density in the fit corpus, with half a record
    added to both counts, and ``density_q`` (n,) its false discovery rate. ``typical`` (n,) is the share of a
    feature's ``present`` (n,) records in which it is typical, and ``typical_q`` (n,) the false discovery rate
    of a difference from one half; only features with at least ten present records are tested.
    ``typical_share`` and ``strong_share`` are shares of all ``activations`` of these features: .5 and .1
    mean that the levels fit. They are None where no feature was tested.
    """

    fit_records: int
    records: int
    present: NDArray[np.int64]
    density_ratio: NDArray[np.float64]
    density_q: NDArray[np.float64]
    typical: NDArray[np.float64]
    typical_q: NDArray[np.float64]
    activations: int
    typical_share: float | None
    strong_share: float | None

    @property
    def denser(self) -> int:
        """Number of features at least twice as dense here, at a false discovery rate of 5 %."""
        return int(((self.density_q < FDR) & (self.density_ratio >= CHANGED)).sum())

    @property
    def rarer(self) -> int:
        """Number of features at most half as dense here, at a false discovery rate of 5 %."""
        return int(((self.density_q < FDR) & (self.density_ratio <= 1 / CHANGED)).sum())

    @property
    def is_off(self) -> NDArray[np.bool_]:
        """Features (n,) typical in less than a quarter or more than three quarters of their records."""
        low, high = TYPICAL_RANGE
        is_off: NDArray[np.bool_] = (self.typical_q < FDR) & ((self.typical < low) | (self.typical > high))
        return is_off

    @property
    def off_share(self) -> float:
        """The share of activations that belong to features whose levels are off."""
        return float(self.present[self.is_off].sum() / max(1, self.activations))

    @property
    def levels_are_off(self) -> bool:
        """Return whether "typical" and "strong" have another meaning here; False for too few records."""
        return self.activations >= MIN_ACTIVATIONS and self.off_share > OFF_SHARE

    def summary(self) -> str:
        """Return the result as a sentence or two."""
        if not self.fit_records:
            return "the space is not calibrated: no concept is typical or strong anywhere"
        if not self.records:
            return "nothing is stored yet"
        if self.typical_share is None or self.strong_share is None or self.activations < MIN_ACTIVATIONS:
            return "too few records for a comparison"
        return (
            f"{self.typical_share:.0%} of activations are typical and {self.strong_share:.0%} strong "
            f"(in the fit corpus {TYPICAL_SHARE:.0%} and {STRONG_SHARE:.0%}); the levels of "
            f"{int(self.is_off.sum()):,} concepts are off, {self.off_share:.0%} of activations; "
            f"{self.denser:,} concepts are twice as frequent or more, {self.rarer:,} half or less"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the figures, without the arrays."""
        return {
            "fit_records": self.fit_records,
            "records": self.records,
            "activations": self.activations,
            "typical_share": self.typical_share,
            "strong_share": self.strong_share,
            "levels_off": int(self.is_off.sum()),
            "levels_off_share": self.off_share,
            "levels_are_off": self.levels_are_off,
            "denser": self.denser,
            "rarer": self.rarer,
            "fdr": FDR,
        }


def level_drift(calibration: Calibration, level_counts: NDArray[np.int64], records: int) -> LevelDrift:
    """Compare a corpus with the calibration of its space.

    ``level_counts`` (n, 3) are the numbers of its ``records`` in which each feature is present, typical and
    strong by that calibration.
    """
    present, typical, strong = level_counts.T
    fit = np.rint(calibration.density.astype(np.float64) * calibration.records).astype(np.int64)
    ratio = ((present + 0.5) / (records + 1)) / ((fit + 0.5) / (calibration.records + 1))
    density_q = _discovery_rates(fit, calibration.records, present, records, fit + present > 0)
    is_measurable = (present >= MIN_ACTIVE) & (fit > 0)
    # In the fit corpus a feature is typical in half of its records, including the record at the median.
    typical_q = _discovery_rates((fit + 1) // 2, fit, typical, present, is_measurable)
    activations = int(present[is_measurable].sum())
    shares = [
        float(each[is_measurable].sum() / activations) if activations else None for each in (typical, strong)
    ]
    return LevelDrift(
        fit_records=calibration.records,
        records=records,
        present=np.where(is_measurable, present, 0),
        density_ratio=ratio,
        density_q=density_q,
        typical=typical / np.maximum(present, 1),
        typical_q=typical_q,
        activations=activations,
        typical_share=shares[0],
        strong_share=shares[1],
    )


def counts_by_level(facet: Iterable[tuple[str | int | bool, int]], n_features: int) -> NDArray[np.int64]:
    """Return the counts (n, 3) per feature and level from an engine's facet of level codes."""
    counts = np.zeros((n_features, LEVEL_STRIDE), np.int64)
    for code, count in facet:
        counts[divmod(int(code), LEVEL_STRIDE)] = count
    return counts[:, :LEVELS]


def _discovery_rates(
    fit: NDArray[np.int64],
    fit_of: NDArray[np.int64] | int,
    here: NDArray[np.int64],
    here_of: NDArray[np.int64] | int,
    is_tested: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Return the q values (n,) of Fisher's exact tests: ``fit`` of ``fit_of``, ``here`` of ``here_of``."""
    from scipy.stats import false_discovery_control, hypergeom

    q = np.ones(len(fit))
    if not np.any(fit_of) or not np.any(here_of) or not is_tested.any():
        return q
    fit_of, here_of = (np.broadcast_to(each, fit.shape)[is_tested] for each in (fit_of, here_of))
    here, both = here[is_tested], (fit + here)[is_tested]
    table = (fit_of + here_of, both, here_of)
    below, above = hypergeom.cdf(here, *table), hypergeom.sf(here - 1, *table)
    q[is_tested] = false_discovery_control(np.clip(2 * np.minimum(below, above), 0, 1))
    return q
