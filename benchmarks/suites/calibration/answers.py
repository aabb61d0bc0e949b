"""Null runs of hypotheses: judges answer at random.

A run is the part of the call that follows the answers of the judge.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from benchmarks.suites.calibration.cells import ALPHA, Regime, Trial
from saeindex.analysis.diff.hypotheses import JUDGED, MAX_HYPOTHESES, WrittenHypothesis, _hypotheses

GROUPS = ("a", "b")


def regimes() -> list[Regime]:
    """Return the regimes of hypotheses, by the judge."""
    return [
        Regime("aa_hypotheses", "one, fits half of the records", judged(1, 0.5, JUDGED, 0.0)),
        Regime("aa_hypotheses", "ten, fit half of the records", judged(MAX_HYPOTHESES, 0.5, JUDGED, 0.0)),
        Regime("aa_hypotheses", "ten, fit a tenth", judged(MAX_HYPOTHESES, 0.1, JUDGED, 0.0)),
        Regime("aa_hypotheses", "ten alike, fit half", judged(MAX_HYPOTHESES, 0.5, JUDGED, 3.0)),
        Regime("aa_hypotheses", "ten, fit half of 200 records", judged(MAX_HYPOTHESES, 0.5, 200, 0.0)),
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
