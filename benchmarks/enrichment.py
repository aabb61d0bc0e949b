"""Ontology enrichment: kinds of WordNet that are over-represented where a feature is typical.

A feature's synsets are tested against every subtree by the hypergeometric distribution; the discoveries over
all features and subtrees have a false discovery rate of 1 %. Synsets of the `fit` part only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_matrix
from scipy.stats import hypergeom

from benchmarks.suites.legibility.conceptuality import typical_in
from saeindex.types import visible

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.vocabulary import WordNet
    from saeindex.features import FeatureSpace
    from saeindex.types import FloatArray

MAX_FDR = 0.01
# Synsets of a subtree, and of a subtree that a feature has; names of a feature.
MIN_MEMBERS, MIN_SHARED, NAMES = 5, 3, 5
# F1 of a feature and a subtree from which on the subtree's name may be that of the feature.
MIN_F1 = 0.1


@dataclass(frozen=True, slots=True)
class Enriched:
    """A subtree that is over-represented in a feature: its synset, its name, F1 and the adjusted p."""

    synset: str
    name: str
    f1: float
    p: float


def enriched(
    space: FeatureSpace, wordnet: WordNet, vectors: FloatArray, ids: list[str]
) -> dict[int, list[Enriched]]:
    """Return for each feature the over-represented subtrees, best F1 first; ``vectors`` (m, d) of synsets."""
    has = typical_in(space.sae, space.calibration.median, vectors)
    row = {synset: i for i, synset in enumerate(ids)}
    subtrees = {
        synset: rows
        for synset in wordnet.below
        if synset in wordnet.synsets
        and len(rows := [row[one] for one in wordnet.narrower(synset) if one in row]) >= MIN_MEMBERS
    }
    names = list(subtrees)
    columns = np.repeat(np.arange(len(names)), [len(subtrees[name]) for name in names])
    below = np.concatenate([np.array(subtrees[name]) for name in names])
    members = csr_matrix((np.ones(len(below)), (below, columns)), (len(ids), len(names)))
    shared = (has.T @ members).tocoo()
    of_feature, of_subtree = (np.asarray(matrix.sum(0)).ravel() for matrix in (has, members))
    f1 = 2 * shared.data / (of_feature[shared.row] + of_subtree[shared.col])
    # Pairs that could give no name count as tests, with a p of 1.
    kept = (shared.data >= MIN_SHARED) & (f1 >= MIN_F1)
    feature, subtree, both, f1 = shared.row[kept], shared.col[kept], shared.data[kept], f1[kept]
    p = hypergeom.sf(both - 1, len(ids), of_subtree[subtree], of_feature[feature])
    tested = space.n_features * len(names)
    adjusted = _adjusted(p, tested)
    found: dict[int, list[Enriched]] = {}
    for i in np.lexsort((-f1, feature)).tolist():
        if adjusted[i] <= MAX_FDR:
            own = found.setdefault(int(feature[i]), [])
            if len(own) < NAMES:
                synset = names[subtree[i]]
                own.append(Enriched(synset, visible(wordnet.lemma(synset)), float(f1[i]), float(adjusted[i])))
    return found


def _adjusted(p: NDArray[np.float64], tested: int) -> NDArray[np.float64]:
    """Return p adjusted for a false discovery rate (Benjamini & Hochberg); pairs not given have a p of 1."""
    order = np.argsort(p)
    steps = p[order] * tested / np.arange(1, len(p) + 1)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.minimum.accumulate(steps[::-1])[::-1], 1)
    return adjusted
