"""The set of features that covers the records that a phrase means: which they are, and the best union.

The constants were chosen on the ``choose`` parts of 13 corpora by F1 against true labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from scipy.sparse import csc_matrix, csr_matrix

    from saeindex.concepts.weighting import Doubles

# Records above and below the threshold differ most there, where fewer count a little more (1.0: equally); the
# largest share of records above it. The slope of the probability at the threshold.
FEWER, MOST, STEEPNESS = 0.9, 0.6, 4.0
# The share of a named feature's records that must be meant.
MOSTLY = 0.5
# The number of best single features among which the set is chosen.
CONSIDERED = 150
# The minimum relative gain in expected F1 of a further feature, and its minimum number of sampled records.
MIN_GAIN, MIN_RECORDS = 0.01, 5


@dataclass(frozen=True, slots=True)
class Cover:
    """A set of features, in the order of choice, with the expected precision and recall of their union.

    ``shares`` are the shares of each feature's records that match.
    """

    features: tuple[int, ...]
    shares: tuple[float, ...]
    precision: float
    recall: float


def meant_from(scores: Doubles) -> float:
    """Return the score (in deviations above the mean of all (m,)) from which records are meant.

    There the variance between the records above and below is largest, as in Otsu 1979 (IEEE Trans. SMC), with
    the odds of being above to the power ``FEWER``: a phrase means a group that stands apart, of any size.
    """
    order = np.sort(scores)[::-1]
    above = np.arange(1, len(order))
    mean = np.cumsum(order)[:-1] / np.maximum(above, 1)
    apart = np.maximum(mean, 0.0) ** 2 * (above / (len(order) - above)) ** FEWER
    apart[(above < MIN_RECORDS) | (above > MOST * len(order))] = 0.0
    if not apart.any():
        return float(order[0])
    last = int(apart.argmax())
    return float(order[last] + order[last + 1]) / 2


def likely(scores: Doubles, floor: float) -> Doubles:
    """Return the probability that each record matches (m,): one half at a score of ``floor``."""
    probability: Doubles = 1.0 / (1.0 + np.exp(-STEEPNESS * (scores - floor)))
    return probability


def cover(
    meant: Doubles, present: csr_matrix, allowed: NDArray[np.int64], limit: int, named: Sequence[int] = ()
) -> Cover:
    """Return up to ``limit`` features with the best expected F1: ``named`` ones, and some of the ``allowed``.

    First come the named features most of whose records are meant.

    ``meant`` (m,) is the probability that each record matches, ``present`` (m, n) which features it has.
    Greedy: each step adds the feature that increases 2 |union ∩ meant| / (|union| + |meant|) most.
    """
    total = float(meant.sum())
    shares = _shares(named, present, meant)
    chosen = [f for f, share in zip(named, shares, strict=True) if share >= MOSTLY][:limit]
    inside = np.asarray(present[:, chosen].sum(1)).ravel() > 0
    best = 2 * float(meant[inside].sum()) / (float(inside.sum()) + total)
    columns: csc_matrix = present.tocsc()[:, allowed]
    sizes = np.asarray(columns.sum(0)).ravel()
    alone = 2 * np.asarray(meant @ columns).ravel() / (sizes + total)
    alone[sizes < MIN_RECORDS] = 0.0
    tried = np.argsort(-alone, kind="stable")[:CONSIDERED]
    tried = tried[alone[tried] > 0]
    columns = columns[:, tried]
    while len(chosen) < limit and len(tried):
        left = np.where(inside, 0.0, 1.0)
        hits = np.asarray((meant * left) @ columns).ravel() + meant[inside].sum()
        f1 = 2 * hits / (np.asarray(left @ columns).ravel() + inside.sum() + total)
        winner = int(f1.argmax())
        if f1[winner] <= best * (1 + MIN_GAIN):
            break
        best = float(f1[winner])
        chosen.append(int(allowed[tried[winner]]))
        inside |= columns[:, [winner]].toarray().ravel() > 0
    return _described(chosen, present, meant, inside)


def _described(
    chosen: Sequence[int], present: csr_matrix, meant: Doubles, inside: NDArray[np.bool_]
) -> Cover:
    met = float(meant[inside].sum())
    precision, recall = met / max(1, int(inside.sum())), met / max(float(meant.sum()), 1e-9)
    return Cover(tuple(chosen), _shares(chosen, present, meant), precision, recall)


def _shares(features: Sequence[int], present: csr_matrix, meant: Doubles) -> tuple[float, ...]:
    """Return the share of each feature's records that are meant."""
    having = present[:, list(features)].tocsc()
    sizes = np.maximum(np.asarray(having.sum(0)).ravel(), 1)
    return tuple((np.asarray(meant @ having).ravel() / sizes).tolist())
