"""Evidence of a comparison: concepts, words, and clusters of the compared records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from saeindex.analysis.stats.choices import FAMILIES, Family
from saeindex.analysis.stats.group_names import group_names
from saeindex.analysis.stats.stratified import one_hot
from saeindex.errors import InvalidInputError
from saeindex.features.function_words import is_function_word
from saeindex.types import LevelName, shown_label

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    from saeindex.collection.snapshot import Snapshot

# Clusters at three resolutions; chosen on the fit and choose parts of six corpora, see docs/analysis.md.
CLUSTERS = (30, 60, 120)
# The minimum mean number of records per cluster; the maximum number of records to fit the centres on.
MIN_PER_CLUSTER, MAX_FITTED = 12, 10_000
# A random start and ten rounds fit better than a careful start and minibatches, in a fifth of the time.
ROUNDS = 10


@dataclass(frozen=True, eq=False)
class Evidence:
    """A family of evidence: ``has`` (m, f) is 1 where a record has the concept, word or cluster of a column.

    ``keys`` are feature ids, words, or numbers of clusters; ``labels`` are their names in reports.
    """

    family: Family
    keys: tuple[int | str, ...]
    labels: tuple[str, ...]
    has: csr_matrix

    def take(self, columns: NDArray[np.int64]) -> Evidence:
        """Return some of the columns."""
        chosen = columns.tolist()
        keys, labels = (tuple(every[i] for i in chosen) for every in (self.keys, self.labels))
        return Evidence(self.family, keys, labels, self.has[:, columns])


def evidence_of(
    snapshot: Snapshot,
    rows: NDArray[np.int64],
    family: Family,
    level: LevelName,
    min_support: int,
    seed: int = 0,
) -> Evidence:
    """Return a family of evidence on some records, without columns that fewer than ``min_support`` have.

    The support is counted over all groups together, so tests between the groups stay valid.
    """
    if family == "concepts":
        found = _concepts(snapshot, rows, level)
    elif family in ("words", "style"):
        found = _words(snapshot, rows, family)
    elif family == "clusters":
        found = _clusters(snapshot, rows, seed)
    else:
        raise InvalidInputError(
            f"evidence {family!r}", "no such family", f"Use {', '.join((*FAMILIES, 'style'))}."
        )
    support = np.asarray(found.has.sum(0)).ravel()
    return found.take(np.flatnonzero((support >= min_support) & (support <= len(rows) - min_support)))


def _concepts(snapshot: Snapshot, rows: NDArray[np.int64], level: LevelName) -> Evidence:
    keys, own = tuple(snapshot.listed.tolist()), snapshot.space.labels
    labels = tuple(shown_label(own[key].text, own[key].is_weak) for key in keys)
    return Evidence("concepts", keys, labels, snapshot.at(level)[rows][:, snapshot.listed])


def _words(snapshot: Snapshot, rows: NDArray[np.int64], family: Literal["words", "style"]) -> Evidence:
    """Return the words that say what a text is about, or those that do not."""
    is_style = np.array([is_function_word(word) for word in snapshot.vocabulary], bool)
    columns = np.flatnonzero(is_style == (family == "style"))
    names = tuple(snapshot.vocabulary[column] for column in columns.tolist())
    return Evidence(family, names, names, snapshot.words[rows][:, columns])


def _clusters(snapshot: Snapshot, rows: NDArray[np.int64], seed: int) -> Evidence:
    """Cluster records by their embeddings, all groups together; a cluster is named by its words."""
    from scipy.sparse import hstack
    from sklearn.cluster import KMeans

    # In the order of the snapshot: which group is named first makes no difference.
    order = np.argsort(rows, kind="stable")
    x = np.asarray(snapshot.vectors[rows[order]])
    rng = np.random.default_rng(seed)
    fitted = x if len(x) <= MAX_FITTED else x[np.sort(rng.choice(len(x), MAX_FITTED, replace=False))]
    different = len(np.unique(np.round(fitted[:, :8], 5), axis=0))
    max_clusters = max(1, different // MIN_PER_CLUSTER)
    sizes = [k for k in CLUSTERS if k <= max_clusters] or [max_clusters]
    placed = []
    for k in sizes:
        model = KMeans(k, init="random", n_init=1, max_iter=ROUNDS, random_state=seed).fit(fitted)
        placed.append(one_hot(nearest_centre(x, model.cluster_centers_), k))
    has = hstack(placed, "csr")[np.argsort(order, kind="stable")]
    return Evidence("clusters", tuple(range(has.shape[1])), group_names(snapshot, rows, has), has)


def nearest_centre(x: NDArray[np.float32], centres: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the nearest of ``centres`` (k, d) for each row of ``x`` (m, d) (m,)."""
    own = centres.astype(np.float32)
    half = (own**2).sum(1) / 2
    found = [np.argmax(x[i : i + 8_192] @ own.T - half, axis=1) for i in range(0, len(x), 8_192)]
    return np.concatenate(found)
