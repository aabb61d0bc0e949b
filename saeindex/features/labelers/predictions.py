"""How well a predictor that sees the label alone finds the feature in texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from saeindex.features.contrast_sets import auroc
from saeindex.features.trust import f1

if TYPE_CHECKING:
    from numpy.typing import NDArray

FIGURES = ("auroc", "f1", "pearson")
KINDS = ("random", "weak", "near")


def prediction_scores(
    likelihood: NDArray[np.float64], kinds: Sequence[str], activation: NDArray[np.float64]
) -> dict[str, Any]:
    """Return AUROC, F1 at a likelihood of 0.5 and Pearson correlation of ``likelihood`` (r,).

    AUROC and F1 ask whether the text is of the kind ``active``, typical for the feature; ``auroc_against``
    does for each kind of negative alone. Pearson's is with the ``activation`` (r,). The texts are chosen to
    be hard, so none of these is the figure over a corpus. None where something does not vary.
    """
    kind = np.array(kinds)
    is_active = kind == "active"
    against = {name: _auroc(likelihood, is_active, is_active | (kind == name)) for name in KINDS}
    return {
        "auroc": _auroc(likelihood, is_active, np.ones(len(kind), bool)),
        "f1": f1(likelihood >= 0.5, is_active),
        "pearson": _pearson(likelihood, activation),
        "auroc_against": against,
        "texts": len(kind),
    }


def mean_scores(evidence: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the mean of each figure over features, None where no feature has it."""
    found: dict[str, Any] = {name: _mean([scores[name] for scores in evidence]) for name in FIGURES}
    against = [scores["auroc_against"] for scores in evidence]
    found["auroc_against"] = {name: _mean([scores[name] for scores in against]) for name in KINDS}
    return found


def _auroc(
    likelihood: NDArray[np.float64], is_active: NDArray[np.bool_], is_compared: NDArray[np.bool_]
) -> float | None:
    truth = is_active[is_compared]
    if truth.all() or not truth.any():
        return None
    return float(auroc(likelihood[is_compared, None].astype(np.float32), truth)[0])


def _pearson(a: NDArray[np.float64], b: NDArray[np.float64]) -> float | None:
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale > 1e-12 else None


def _mean(scores: Sequence[float | None]) -> float | None:
    known = [score for score in scores if score is not None]
    return float(np.mean(known)) if known else None
