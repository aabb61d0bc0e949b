"""Findings that are one thing: features of one family, or features that point the same way."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from saeindex.analysis.diff.results import Finding
    from saeindex.features import FeatureSpace

# Cosine of two features' decoder directions from which they are told as one.
SAME = 0.6


def headlines(found: Sequence[Finding], space: FeatureSpace) -> tuple[Finding, ...]:
    """Return one finding for each family of features and group, with the others of it as ``related``.

    The first, which has the largest difference, is the headline; words and clusters stay as they are.
    """
    if not found or found[0].family != "concepts":
        return tuple(found)
    same = alike(space, [int(one.key) for one in found])
    rows: dict[int, list[Finding]] = {}
    for place, one in enumerate(found):
        near = (first for first in rows if same[first, place] and found[first].group == one.group)
        rows.setdefault(next(near, place), []).append(one)
    return tuple(replace(first, related=tuple(others)) for first, *others in rows.values())


def alike(space: FeatureSpace, features: Sequence[int]) -> NDArray[np.bool_]:
    """Return which features (f, f) are of one family, or point nearly the same way."""
    family_of = {feature: family.id for family in reversed(space.families) for feature in family.features}
    families = np.array([family_of.get(feature, -1 - place) for place, feature in enumerate(features)])
    directions = space.sae.directions[list(features)]
    same: NDArray[np.bool_] = (families[:, None] == families) | (directions @ directions.T >= SAME)
    return same
