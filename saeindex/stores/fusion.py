"""Merging ranked lists, with the formulas and constants of Qdrant 1.x.

Both engines can fuse by themselves, but they cut ties inside the prefetched lists arbitrarily, so the same
points got different ranks (and scores) on Edge and on a server. Fusing lists whose ties are ordered by id
gives one answer everywhere. Measured: same scores as the engines to 1e-6 where there are no ties.
"""

from __future__ import annotations

from collections.abc import Sequence

from saeindex.protocols import PointId

RRF_K = 2

Scored = tuple[PointId, float]


def reciprocal_rank_fusion(lists: Sequence[Sequence[Scored]]) -> dict[PointId, float]:
    """Return Σ 1 / (k + rank) per id, with ranks from 0 and k = 2 (Cormack et al. 2009 has k = 60)."""
    fused: dict[PointId, float] = {}
    for ranked in lists:
        for rank, (point_id, _) in enumerate(ranked):
            fused[point_id] = fused.get(point_id, 0.0) + 1.0 / (RRF_K + rank)
    return fused


def distribution_based_fusion(lists: Sequence[Sequence[Scored]]) -> dict[PointId, float]:
    """Return the sum per id of each list's scores, scaled so that mean ± 3 standard deviations is 0…1."""
    fused: dict[PointId, float] = {}
    for ranked in lists:
        for (point_id, _), value in zip(
            ranked, distribution_scaled([score for _, score in ranked]), strict=True
        ):
            fused[point_id] = fused.get(point_id, 0.0) + value
    return fused


def distribution_scaled(scores: Sequence[float]) -> list[float]:
    """Return scores scaled so that mean ± 3 standard deviations is 0…1; 0.5 where they do not differ."""
    if len(scores) < 2:
        return [0.5] * len(scores)
    mean = sum(scores) / len(scores)
    deviation = (sum((score - mean) ** 2 for score in scores) / (len(scores) - 1)) ** 0.5
    if deviation == 0.0:
        return [0.5] * len(scores)
    return [(score - mean + 3 * deviation) / (6 * deviation) for score in scores]
