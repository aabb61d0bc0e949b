"""The verdict whether a space can express an axis, from signs of failure that need no true labels.

The signs measure whether the records divide along the axis. They cannot measure whether the division has the
meaning of the axis: an axis that is confused with another one, such as topic, passes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from saeindex.analysis.cluster.anchored_em import standardised
from saeindex.analysis.cluster.quality import agreement

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.analysis.cluster.anchored_em import Settled, Whitened

FAILS_FROM = 0.5
# Logistic regression of "the ARI with the truth is below .1" on the signs of clusterings of the ``choose``
# parts of 13 corpora, whose truth is known (the benchmark ``cluster`` measures it on other parts).
BIAS, KEPT, LITERAL = 1.91, -2.26, -3.37
LOW_KEPT, LOW_LITERAL, LOW_TOLD = 0.5, 0.2, 0.7
# A cluster with less than this fraction of an equal share counts as empty.
EMPTY = 0.02


@dataclass(frozen=True, slots=True)
class Signs:
    """Signs of the quality of a clustering.

    ``kept`` is the agreement (ARI) of the final clusters with the starting clusters, ``literal`` that with
    the nearest text by embedding only. ``told`` is the correlation of each record's starting scores with its
    prediction from all other records. ``smallest`` is the share of the smallest cluster, times their number.
    """

    kept: float
    literal: float
    told: float
    smallest: float

    @property
    def failure_score(self) -> float:
        """The estimated probability that the clusters have little to do with the axis."""
        logit = BIAS + KEPT * self.kept + LITERAL * self.literal
        return 1 / (1 + math.exp(-logit))


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the space expresses the axis on these records, why not, and by which signs."""

    expressible: bool
    reason: str
    failure_score: float | None
    signs: Signs | None = None

    def __str__(self) -> str:
        score = "" if self.failure_score is None else f" (failure score {self.failure_score:.2f})"
        return f"{'expressible' if self.expressible else 'NOT EXPRESSIBLE'}{score}: {self.reason}"


UNJUDGED = Verdict(True, "not judged: this method has no start to compare its end with", None)


def signs_of(whitened: Whitened, settled: Settled, literal: NDArray[np.int64]) -> Signs:
    """Measure the signs; ``literal`` (m,) is the value that each record is nearest to as it stands."""
    began, codes, count = settled.began, settled.codes, settled.shares.shape[1]
    fit = whitened.fit(began, np.ones(len(began)))
    return Signs(
        agreement(began.argmax(1), codes)["ari"],
        agreement(literal, codes)["ari"],
        float((standardised(fit) * standardised(began)).mean(0).mean()),
        float(np.bincount(codes, minlength=count).min() / len(codes) * count),
    )


def judge(signs: Signs) -> Verdict:
    """Return the verdict on a clustering with these signs."""
    score = signs.failure_score
    if score < FAILS_FROM:
        return Verdict(
            True, "records stay where the axis put them, and agree with similar records", score, signs
        )
    reasons = []
    if signs.kept < LOW_KEPT:
        reasons.append(f"records drifted from where the axis put them (agreement {signs.kept:.2f})")
    if signs.literal < LOW_LITERAL:
        reasons.append(f"they are not where the words alone put them (agreement {signs.literal:.2f})")
    if signs.told < LOW_TOLD:
        reasons.append(f"similar records differ on the axis (correlation {signs.told:.2f})")
    if signs.smallest < EMPTY:
        reasons.append("a value has next to no records")
    usual = (
        f"such agreement of start and end ({signs.kept:.2f}) and words ({signs.literal:.2f}) mostly failed"
    )
    return Verdict(False, "; ".join(reasons) or usual, score, signs)
