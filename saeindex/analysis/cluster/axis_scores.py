"""What there is to go by before clustering: the values' scores of every record, its neighbours, its views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from saeindex.analysis.cluster.anchored_em import EXAMPLES, Whitened, example_scores, standardised
from saeindex.analysis.cluster.axis import Encodes
from saeindex.analysis.cluster.views import Views, common_words
from saeindex.collection.sample import MAX_WORDS, MIN_RECORDS, CollectionSample
from saeindex.collection.snapshot import rows_of_snapshot
from saeindex.concepts.inference import Asked, Recipe, infer, pool_of
from saeindex.concepts.scorer import Scorer
from saeindex.concepts.weighting import units

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.analysis.cluster.axis import Axis
    from saeindex.collection.snapshot import Snapshot
    from saeindex.concepts.weighting import Doubles
    from saeindex.types import FloatArray

# What examples alone say is whitened more: few of them lie together by chance.
EXAMPLE_RIDGE = 30.0


@dataclass(frozen=True, eq=False)
class AxisEvidence:
    """Records as they are clustered: a ``sample`` of them all, their ``views`` and what these show (m, c).

    ``start`` (m, J) are standardised scores of the values, ``vectors`` (J, d) those of their texts, None
    without; ``known`` (m,) says -1 or the value of an example.
    """

    sample: CollectionSample
    views: Views
    seen: Doubles
    whitened: Whitened
    start: Doubles
    vectors: FloatArray | None
    known: NDArray[np.int64] | None

    @property
    def literal(self) -> NDArray[np.int64]:
        """The value (m,) that each embedding is nearest to: by the texts, without them by the examples."""
        x = self.sample.rows.x
        means = self.vectors
        if means is None:
            assert self.known is not None  # noqa: S101
            means = np.array([x[self.known == value].mean(0) for value in range(self.start.shape[1])])
        nearest: NDArray[np.int64] = ((x - x.mean(0)) @ units(means - means.mean(0)).T).argmax(1)
        return nearest


def axis_evidence(snapshot: Snapshot, rows: NDArray[np.int64], cache: Path | None = None) -> CollectionSample:
    """Return rows of a snapshot as the collection that inference looks at."""
    columns = common_words(snapshot.words[rows], MIN_RECORDS, MAX_WORDS)
    places = {snapshot.vocabulary[column]: place for place, column in enumerate(columns.tolist())}
    return CollectionSample(
        snapshot.space, rows_of_snapshot(snapshot, rows, columns), places, len(rows), cache
    )


def gather(
    collection: Encodes,
    sample: CollectionSample,
    axis: Axis,
    known: NDArray[np.int64] | None = None,
    viewed: tuple[Views, Doubles] | None = None,
) -> AxisEvidence:
    """Return the evidence of an axis with values; ``known`` (m,) says -1 or the value of an example.

    ``viewed`` are the views of the sample's rows, if known from another axis.
    """
    views, seen = viewed or Views.of(sample.rows)
    vectors = text_vectors(collection, axis) if axis.has_texts else None
    start = np.zeros((len(seen), len(axis.values)))
    if vectors is not None:
        start += described_scores(collection, sample, vectors)
    if known is not None:
        wide = Whitened.of(seen, views, EXAMPLE_RIDGE)
        start += EXAMPLES * example_scores(wide, known, len(axis.values), sample.neighbours)
    return AxisEvidence(sample, views, seen, Whitened.of(seen, views), standardised(start), vectors, known)


def described_scores(collection: Encodes, sample: CollectionSample, vectors: FloatArray) -> Doubles:
    """Return standardised scores (m, J) by descriptions (J, d), as a property search with siblings does."""
    recipe = Recipe()
    inferred = infer(sample, pool_of(sample), Asked(vectors), collection.encoder, recipe)
    scorer = Scorer(inferred, sample, recipe.neighbours)
    own = scorer.sampled
    if sample.neighbours.shape[1]:
        around = np.mean([own[column] for column in sample.neighbours.T], axis=0)
        own = own + recipe.neighbours * scorer.near(around)
    return standardised(own)


def text_vectors(collection: Encodes, axis: Axis) -> FloatArray:
    """Return the mean direction of each value's texts (J, d)."""
    means = [np.mean([collection.encode(text) for text in value.texts], axis=0) for value in axis.values]
    return units(np.array(means)).astype(np.float32)


def known_values(axis: Axis, snapshot: Snapshot) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows of the axis's examples, and the value of each."""
    ids = [record for value in axis.values for record in value.examples]
    counts: Sequence[int] = [len(value.examples) for value in axis.values]
    return snapshot.rows_of(ids), np.repeat(np.arange(len(axis.values)), counts)
