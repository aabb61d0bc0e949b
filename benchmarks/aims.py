"""Aims: what every free feature of the default space should come to mean, and the features that begin anew.

A feature is drawn towards the label that it has. One that answers to spelling, or whose label does not
predict it, is given up: in its place stands a common word of WordNet that no other feature is near to.

On `choose` parts (error of arXiv and of the others; hidden share of the code mass of general texts; from the
space that had .208, .206 and .366):

| recipe | arXiv | others | hidden |
| --- | --- | --- | --- |
| aims are labels, weight .1, none given up | .218 | .217 | .261 |
| aims are single words where these are as near, .1 | .221 | .221 | .313 |
| the same, and features given up without a successor | .232 | .232 | .286 |
| aims are single words for all, .2 | .245 | .249 | .442 |
| aims are labels, .1, given up without a successor, 48 active | .222 | .222 | .209 |
| aims are labels, .1, given up for words, 48 active | .216 | .217 | .224 |
| the same, .15, more given up | .223 | .224 | .211 |

Hidden are features whose label, kept from before, does not predict them; of the first two rows also those
that answered to spelling before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from saeindex.sae.metrics import unit_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.features import FeatureSpace
    from saeindex.protocols import TextEncoder
    from saeindex.types import FloatArray

# Trust below which a feature is given up: somewhat below the floor, since the training raises it.
GIVEN_UP = 0.7
# Cosines to all labels and words below which a word is new: the strangest are taken first.
NEW = (0.55, 0.65, 0.75, 0.85)


@dataclass(frozen=True, slots=True, eq=False)
class Aims:
    """A unit direction for each feature (n, d), and the features that begin anew."""

    directions: FloatArray
    anew: list[int]


def aims(
    space: FeatureSpace, is_spelling: NDArray[np.bool_], words: Sequence[str], encoder: TextEncoder
) -> Aims:
    """Return the aims of a labelled space; ``is_spelling`` (n,) are features that answer to spelling."""
    trust = np.array([label.trust or 0.0 for label in space.labels])
    is_free = np.arange(space.n_features) >= space.sae.n_named
    anew = np.flatnonzero(is_free & (is_spelling | (trust < GIVEN_UP)))
    directions = unit_rows(space.label_vectors - space.label_vectors.mean(0))
    known = {label.text.lower() for label in space.labels}
    words = [word for word in words if word not in known]
    towards = encoder.encode_query(list(words))
    towards = unit_rows(towards - towards.mean(0))
    taken = _farthest(towards, np.delete(directions, anew, axis=0), len(anew))
    given_up = anew[: len(taken)].tolist()
    for feature, word in zip(given_up, taken, strict=True):
        directions[feature] = towards[word]
    return Aims(directions, given_up)


def _farthest(towards: FloatArray, known: FloatArray, count: int) -> list[int]:
    """Return up to ``count`` rows of ``towards`` (w, d), common ones first, far from what is ``known``."""
    nearness = (towards @ known.T).max(1)
    taken: list[int] = []
    for limit in NEW:
        for i in range(len(towards)):
            if len(taken) == count:
                return taken
            if nearness[i] < limit and i not in taken:
                taken.append(i)
                nearness = np.maximum(nearness, towards @ towards[i])
    return taken
