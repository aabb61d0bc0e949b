"""Where labels stand so that none covers another: in plots, and in graphs, whose nodes may move."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Box: TypeAlias = tuple[float, float, float, float]
# Pixels: the height of a label, the width of a letter, and how far a label keeps from its mark.
LINE, LETTER, GAP = 13.0, 6.2, 7.0
# Rounds in which boxes step apart, and how much of their overlap each of two goes in one.
ROUNDS, STEP = 600, 0.3


def free_sides(
    spots: Sequence[tuple[float, float]], labels: Sequence[str], order: Sequence[int], width: float
) -> list[str]:
    """Return for each mark the side where its label covers nothing: right, left, above, or "" for nowhere.

    ``spots`` are pixels in a frame of this ``width``, from its top left; marks first in ``order`` choose
    first.
    """
    taken = [(left - 4, top - 4, left + 4, top + 4) for left, top in spots]
    sides = [""] * len(spots)
    for place in order:
        others = [box for other, box in enumerate(taken) if other != place]
        for side, box in _boxes(spots[place], LETTER * len(labels[place])).items():
            if box[0] >= 0 and box[2] <= width and not any(_overlap(box, other) for other in others):
                sides[place] = side
                taken.append(box)
                break
    return sides


def _boxes(spot: tuple[float, float], wide: float) -> dict[str, Box]:
    left, top = spot
    up, down = top - LINE / 2, top + LINE / 2
    return {
        "right": (left + GAP, up, left + GAP + wide, down),
        "left": (left - GAP - wide, up, left - GAP, down),
        "above": (left - wide / 2, top - GAP - LINE, left + wide / 2, top - GAP),
    }


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def spread(places: NDArray[np.float64], widths: NDArray[np.float64], height: float) -> NDArray[np.float64]:
    """Return places (n, 2) moved as little as boxes of these ``widths`` (n,) and ``height`` need to part.

    Boxes that overlap step apart along the way that is shorter, all at once, until none does.
    """
    found = places.astype(np.float64).copy()
    wide = (widths[:, None] + widths) / 2
    place = np.arange(len(found))
    others = place[:, None] != place
    for _ in range(ROUNDS):
        apart = found[:, None] - found
        over_x, over_y = wide - np.abs(apart[..., 0]), height - np.abs(apart[..., 1])
        meets = (over_x > 0) & (over_y > 0) & others
        if not meets.any():
            break
        # Two in one place part by their order.
        way = np.where(apart == 0, np.sign(place[:, None] - place)[..., None], np.sign(apart))
        is_across = over_x <= over_y
        found[:, 0] += STEP * (way[..., 0] * over_x * (meets & is_across)).sum(1)
        found[:, 1] += STEP * (way[..., 1] * over_y * (meets & ~is_across)).sum(1)
    return found
