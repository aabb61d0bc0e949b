"""Null runs of hypotheses and level drift: judges answer at random, and one corpus is split at random.

A run of hypotheses is the part of the call that follows the answers of the judge. A run of level drift
calibrates the space on random records and compares others of the same corpus, as ``doctor`` does; it counts
every significant feature, also where its change is too small to be reported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from saeindex.features.level_drift import FDR, level_drift

from benchmarks.suites.calibration.cells import ALPHA, Regime, Trial
from benchmarks.suites.calibration.populations import snapshot_of
from saeindex.analysis.diff.hypotheses import JUDGED, MAX_HYPOTHESES, WrittenHypothesis, _hypotheses
from saeindex.features.calibration import Calibration
from saeindex.types import SparseCode

GROUPS = ("a", "b")


def regimes() -> list[Regime]:
    """Return the regimes of hypotheses, by the judge, and of level drift, by the sizes of both corpora."""
    drift = partial(Regime, "aa_level_drift")
    return [
        Regime("aa_hypotheses", "one, fits half of the records", judged(1, 0.5, JUDGED, 0.0)),
        Regime("aa_hypotheses", "ten, fit half of the records", judged(MAX_HYPOTHESES, 0.5, JUDGED, 0.0)),
        Regime("aa_hypotheses", "ten, fit a tenth", judged(MAX_HYPOTHESES, 0.1, JUDGED, 0.0)),
        Regime("aa_hypotheses", "ten alike, fit half", judged(MAX_HYPOTHESES, 0.5, JUDGED, 3.0)),
        Regime("aa_hypotheses", "ten, fit half of 200 records", judged(MAX_HYPOTHESES, 0.5, 200, 0.0)),
        drift("2,400 calibrated, 2,400 here, goemotions", levels("goemotions", 2_400, 2_400)),
        drift("4,000 calibrated, 300 here, clinc150", levels("clinc150", 4_000, 300)),
        drift("1,000 calibrated, 10,000 here, three corpora", levels("pooled", 1_000, 10_000)),
    ]  # fmt: skip


def judged(hypotheses: int, fits: float, records: int, alike: float) -> Callable[[], Trial]:
    """Return null runs of hypotheses that each record fits with a probability of about ``fits``.

    ``alike`` is the standard deviation of the records' own log odds, which all hypotheses share. A q-value
    is a finding in the family "either group"; one "holds" if the named group has it more.
    """
    logit = np.log(fits / (1 - fits))

    def trial(run: int, rng: np.random.Generator) -> Mapping[str, int]:
        own = rng.normal(0, alike, (2, records)) if alike else np.zeros((2, records))
        chance = 1 / (1 + np.exp(-(logit + own)))
        counts = (rng.random((hypotheses, 2, records)) < chance).sum(2)
        written = [
            WrittenHypothesis(group=int(group), hypothesis=f"hypothesis {number}")
            for number, group in enumerate(rng.integers(1, 3, hypotheses))
        ]
        found = _hypotheses(written, counts, (records, records), GROUPS, ALPHA)
        return {
            "holds": sum(one.holds for one in found),
            "either group": sum(one.q <= ALPHA for one in found),
        }

    return lambda: trial


def levels(name: str, calibrated: int, here: int) -> Callable[[], Trial]:
    """Return null runs of level drift between random records of one corpus."""

    def opened() -> Trial:
        activations = snapshot_of(name).activations

        def trial(run: int, rng: np.random.Generator) -> Mapping[str, int]:
            order = rng.permutation(activations.shape[0])
            first, second = activations[order[:calibrated]], activations[order[calibrated:][:here]]
            n = int(first.shape[1])
            code = SparseCode(first.indptr.astype(np.int64), first.indices, first.data, n)
            calibration = Calibration.measure(code)
            reached = calibration.levels(second.indices, second.data)
            counts = np.stack([np.bincount(second.indices[reached >= i], minlength=n) for i in range(3)], 1)
            drift = level_drift(calibration, counts, second.shape[0])
            return {
                "density": int((drift.density_q < FDR).sum()),
                "levels": int((drift.typical_q < FDR).sum()),
            }

        return trial

    return opened
