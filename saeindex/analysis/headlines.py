"""Findings that are one thing: features of one family, or features that point the same way."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from saeindex.analysis.findings import Finding
    from saeindex.features import FeatureSpace

# Cosine of two features' decoder directions from which they are told as one.
SAME = 0.6


def headlines(found: Sequence[Finding], space: FeatureSpace) -> tuple[Finding, ...]:
    """Return one finding for each family of features and group, with the others of it as ``related``.

    The first, which has the largest difference, is the headline; words and clusters stay as they are.
    """
    family_of = {feature: family.id for family in reversed(space.families) for feature in family.features}
    rows: list[tuple[Finding, list[Finding]]] = []
    for one in found:
        near = next((row for row in rows if _is_same(one, row[0], family_of, space)), None)
        if near is None:
            rows.append((one, []))
        else:
            near[1].append(one)
    return tuple(replace(first, related=tuple(others)) for first, others in rows)


def _is_same(one: Finding, first: Finding, family_of: dict[int, int], space: FeatureSpace) -> bool:
    if one.family != "concepts" or one.group != first.group:
        return False
    a, b = int(one.key), int(first.key)
    if a in family_of and family_of[a] == family_of.get(b):
        return True
    return bool(space.sae.directions[a] @ space.sae.directions[b] >= SAME)
