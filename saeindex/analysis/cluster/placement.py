"""Placing records in clusters that others made: a linear readout of what the views show of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from saeindex.analysis.cluster.anchored_em import soft, standardised
from saeindex.analysis.cluster.views import Views, concept_parts, read_rows
from saeindex.collection.rows import Rows, tokens, word_matrix
from saeindex.errors import InvalidInputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.collection.sample import CollectionSample
    from saeindex.collection.snapshot import Snapshot
    from saeindex.concepts.weighting import Doubles
    from saeindex.types import FloatArray

RIDGE = 1.0
BLOCK = 4_096


@dataclass(frozen=True, eq=False)
class Placer:
    """Scores records by ``readout`` (c, J) of what ``views`` show, as those of a sample; ``offset`` (J,)."""

    sample: CollectionSample
    views: Views
    readout: Doubles
    offset: Doubles

    @classmethod
    def of(cls, views: Views, seen: Doubles, scores: Doubles, sample: CollectionSample) -> Placer:
        """Fit the ``scores`` (m, J) of records of which views show ``seen`` (m, c), by ridge regression."""
        shrink = views.variances + RIDGE * views.total / len(views.mean)
        scaled = standardised(scores)
        readout = (seen.T @ scaled) / len(seen) / shrink[:, None]
        # Weak fits are drawn to 0: on one scale again, every cluster has its say.
        fitted = seen @ readout
        readout *= scaled.std(0) / np.maximum(fitted.std(0), 1e-9)
        scale = np.where(scores.std(0) > 0, scores.std(0), 1.0)
        return cls(sample, views, readout * scale, scores.mean(0))

    @classmethod
    def fitted(cls, sample: CollectionSample, scores: Doubles) -> Placer:
        """Fit ``scores`` (m, J) of a sample whose views are not known yet."""
        views, seen = Views.of(sample.rows)
        return cls.of(views, seen, scores, sample)

    def scores(self, rows: Rows, has_words: bool = True) -> Doubles:
        """Return the scores of records (m, J)."""
        found: Doubles = self.views(rows, has_words) @ self.readout + self.offset
        return found

    def new(self, vectors: FloatArray, texts: Sequence[str] | None = None) -> NDArray[np.int64]:
        """Return the cluster of each record by its unit embedding (m, d), and by its text where given."""
        x = np.atleast_2d(np.asarray(vectors, np.float32))
        if texts is not None and len(texts) != len(x):
            raise InvalidInputError("assign", f"{len(texts)} texts, {len(x)} vectors", "Give one text each.")
        words = word_matrix([tokens(text) for text in texts or [""] * len(x)], self.sample.places)
        concepts = concept_parts(self.sample.space.sae.encode(x).to_csr(), self.sample.space)
        rows = Rows(tuple(range(len(x))), x, concepts, words)
        placed: NDArray[np.int64] = self.scores(rows, texts is not None).argmax(1)
        return placed

    def of_snapshot(self, snapshot: Snapshot, rows: NDArray[np.int64]) -> Doubles:
        """Return how far rows of a snapshot belong to each cluster (m, J), block by block."""
        column = {word: place for place, word in enumerate(snapshot.vocabulary)}
        columns = np.array([column[word] for word in self.sample.places], np.int64)
        blocks = np.split(rows, range(BLOCK, len(rows), BLOCK)) if len(rows) else []
        found = [soft(self.scores(read_rows(snapshot, block, columns))) for block in blocks]
        return np.concatenate([np.zeros((0, len(self.offset))), *found])
