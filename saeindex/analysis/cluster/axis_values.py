"""The values of an axis of which only the name is known: what the collection has that is named alike.

The weakest way to ask: the words and concept labels nearest in meaning to the name are grouped, and each
group's most central one becomes a value. They are shown, so that a person can do better.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from saeindex.analysis.cluster.axis import Axis, AxisValue
from saeindex.concepts.weighting import units
from saeindex.errors import InvalidInputError

if TYPE_CHECKING:
    from saeindex.analysis.cluster.axis_scores import Encodes
    from saeindex.collection.sample import CollectionSample
    from saeindex.concepts.weighting import Doubles

VALUES, CANDIDATES, TEXTS = 4, 48, 3
# A concept is in use where so many records have it.
LEAST_SHARE = 0.005
SEED = 0


def with_values(axis: Axis, sample: CollectionSample, collection: Encodes) -> Axis:
    """Return the axis with values inferred from a sample; InvalidInputError where there is too little."""
    from sklearn.cluster import KMeans

    texts, vectors = _candidates(axis.name, sample, collection)
    if len(texts) < 2 * VALUES:
        raise InvalidInputError(
            f"values of {axis.name!r}", f"{len(texts)} names to choose from", "Give the values yourself."
        )
    found = KMeans(VALUES, n_init=5, random_state=SEED).fit(vectors)
    values = []
    for group, centre in enumerate(found.cluster_centers_):
        inside = np.flatnonzero(found.labels_ == group)
        nearest = inside[np.argsort(-(vectors[inside] @ centre), kind="stable")][:TEXTS]
        values.append(AxisValue(texts[nearest[0]], tuple(texts[i] for i in nearest)))
    return Axis(axis.name, tuple(values), is_inferred=True)


def _candidates(name: str, sample: CollectionSample, collection: Encodes) -> tuple[list[str], Doubles]:
    """Return the names nearest in meaning, and where they lie beside all names (n, d)."""
    space, words = sample.space, sample.named_words(collection.encoder)
    in_use = np.flatnonzero(sample.concept_share >= LEAST_SHARE)
    texts = [sample.words[column] for column in words.columns.tolist()]
    texts += [space.labels[feature].text for feature in in_use.tolist()]
    labels = units(space.label_vectors[in_use] - sample.background)
    every = np.concatenate([np.asarray(words.vectors, np.float64).reshape(len(words.columns), -1), labels])
    asked = collection.encode(name)
    near = np.concatenate(
        [words.vectors @ units(asked - words.mean), labels @ units(asked - sample.background)]
    )
    kept: dict[str, int] = {}
    for place in np.argsort(-near, kind="stable").tolist():
        text = texts[place].strip().lower()
        if text and text != name.strip().lower() and text not in kept and len(kept) < CANDIDATES:
            kept[text] = place
    return list(kept), every[list(kept.values())]
