"""How far a corpus lies from the one that a space was calibrated on: densities and levels.

Shares are compared by Fisher's exact test (two-sided by doubling the smaller tail), which holds for an index
of ten records as for a million; the false discovery rate over all features is kept at 5 % (Benjamini and
Hochberg 1995). On a large index every small change is significant, so that a change counts only where it is
also large.
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
# By the definition of the levels, on the corpus that they were measured on.
TYPICAL_SHARE, STRONG_SHARE = 0.5, 0.1
# A feature's levels are off where it is typical in fewer or more of its records than this.
TYPICAL_RANGE = (0.25, 0.75)
# Over 15 labelled corpora the share of activations with levels off is .01 to .16 (and .38 for one made of
# templates): beyond this, levels measured on the corpus itself are worth a new fingerprint.
OFF_SHARE = 0.2
MIN_ACTIVATIONS = 1_000


@dataclass(frozen=True, slots=True, eq=False)
class LevelDrift:
    """A corpus against the calibration of its space.

    ``density_ratio`` (n,) is a feature's density here over that of the fit corpus, half a record added to
    both counts, and ``density_q`` (n,) its false discovery rate. ``typical`` (n,) is the share of a feature's
    ``present`` (n,) records in which it is typical, and ``typical_q`` (n,) the false discovery rate of its
    not being one half; only features that are present ten times or more are tested.
    ``typical_share`` and ``strong_share`` are of all ``activations`` of those features: .5 and .1 mean that
    the levels fit. They are None where there are no such.
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
        """How many features are at least twice as dense here, at a false discovery rate of 5 %."""
        return int(((self.density_q < FDR) & (self.density_ratio >= CHANGED)).sum())

    @property
    def rarer(self) -> int:
        """How many features are at most half as dense here, at a false discovery rate of 5 %."""
        return int(((self.density_q < FDR) & (self.density_ratio <= 1 / CHANGED)).sum())

    @property
    def is_off(self) -> NDArray[np.bool_]:
        """Features (n,) that are typical in under a quarter or over three quarters of their records."""
        low, high = TYPICAL_RANGE
        is_off: NDArray[np.bool_] = (self.typical_q < FDR) & ((self.typical < low) | (self.typical > high))
        return is_off

    @property
    def off_share(self) -> float:
        """The share of activations that belong to such features."""
        return float(self.present[self.is_off].sum() / max(1, self.activations))

    @property
    def levels_are_off(self) -> bool:
        """Say whether "typical" and "strong" mean something else here; False where too little is known."""
        return self.activations >= MIN_ACTIVATIONS and self.off_share > OFF_SHARE

    def summary(self) -> str:
        """Say it in a sentence or two."""
        if not self.fit_records:
            return "the space is not calibrated: no concept is ever typical or strong"
        if not self.records:
            return "nothing is stored yet"
        if self.typical_share is None or self.strong_share is None or self.activations < MIN_ACTIVATIONS:
            return "too few records to tell"
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

    ``level_counts`` (n, 3) says in how many of its ``records`` each feature is present, typical and strong
    by that calibration.
    """
    present, typical, strong = level_counts.T
    fit = np.rint(calibration.density.astype(np.float64) * calibration.records).astype(np.int64)
    ratio = ((present + 0.5) / (records + 1)) / ((fit + 0.5) / (calibration.records + 1))
    density_q = _discovery_rates(fit, calibration.records, present, records, fit + present > 0)
    is_measurable = (present >= MIN_ACTIVE) & (fit > 0)
    # In the fit corpus a feature is typical in half of its records, that of the median itself included.
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
    """Return the counts (n, 3) of an index's level codes as its engine counted them."""
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
    """Return the q (n,) of Fisher's exact test of ``fit`` in ``fit_of`` and ``here`` in ``here_of``."""
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
