"""Questions on the names of clusters: which of five groups of records does a name stand for?

The records of a corpus are clustered by their embeddings, and the same clusters are named by this package and
by BERTopic (0.17.4, with its recommended list of stop words; it has to be installed to write the quiz).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.snapshots import labelled
from saeindex.analysis.stats.evidence import group_names
from saeindex.analysis.stats.stratified import one_hot

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.collection.snapshot import Snapshot

SEED = 0
# Clusters of a corpus, those that are asked about, groups among which a reader chooses, and their records.
CLUSTERS, ASKED, CHOICES, SHOWN, MAX_CHARS = 12, 5, 5, 3, 240


@dataclass(frozen=True, slots=True)
class ClusterQuestion:
    """The clusters (CHOICES) among which a reader finds that of a name; the ``answer`` is a place from 1."""

    namer: str
    corpus: str
    choices: tuple[int, ...]
    answer: int


def cluster_questions(corpora: Sequence[str]) -> Iterator[tuple[ClusterQuestion, str, list[list[str]]]]:
    """Yield the questions, each with the name and the records of its groups."""
    for corpus in corpora:
        rng = np.random.default_rng([SEED, *corpus.encode()])
        snapshot = labelled(corpus)
        codes, central = clustered(snapshot)
        asked = rng.permutation(len(central))[:ASKED].tolist()
        others = {
            one: rng.permutation([c for c in range(len(central)) if c != one])[: CHOICES - 1] for one in asked
        }
        for namer, names in named(snapshot, codes).items():
            for one in asked:
                choices = rng.permutation([one, *others[one].tolist()]).tolist()
                question = ClusterQuestion(namer, corpus, tuple(choices), choices.index(one) + 1)
                yield question, names[one], [central[choice] for choice in choices]


def clustered(snapshot: Snapshot) -> tuple[NDArray[np.int64], list[list[str]]]:
    """Return the cluster of each record (m,), and for each cluster the texts of its most central records."""
    from sklearn.cluster import KMeans

    model = KMeans(CLUSTERS, n_init=3, random_state=SEED).fit(snapshot.vectors)
    codes = model.labels_.astype(np.int64)
    central = []
    for cluster, centre in enumerate(model.cluster_centers_):
        inside = np.flatnonzero(codes == cluster)
        nearest = inside[np.argsort(-(snapshot.vectors[inside] @ centre))][:SHOWN]
        central.append([" ".join(text.split())[:MAX_CHARS] for text in snapshot.texts(nearest.tolist())])
    return codes, central


def named(snapshot: Snapshot, codes: NDArray[np.int64]) -> dict[str, Sequence[str]]:
    """Return the names of clusters by who named them."""
    rows = np.arange(len(snapshot))
    return {
        "saeindex": group_names(snapshot, rows, one_hot(codes, CLUSTERS)),
        "bertopic": names_of_bertopic(snapshot, codes),
    }


def names_of_bertopic(snapshot: Snapshot, codes: NDArray[np.int64]) -> list[str]:
    """Return BERTopic's names of given clusters: its four leading words."""
    from bertopic import BERTopic  # type: ignore[import-not-found]
    from bertopic.cluster import BaseCluster  # type: ignore[import-not-found]
    from bertopic.dimensionality import BaseDimensionalityReduction  # type: ignore[import-not-found]
    from bertopic.vectorizers import ClassTfidfTransformer  # type: ignore[import-not-found]
    from sklearn.feature_extraction.text import CountVectorizer

    model = BERTopic(
        embedding_model=None,
        umap_model=BaseDimensionalityReduction(),
        hdbscan_model=BaseCluster(),
        vectorizer_model=CountVectorizer(stop_words="english"),
        ctfidf_model=ClassTfidfTransformer(),
    )
    texts = snapshot.texts(range(len(snapshot)))
    topics, _ = model.fit_transform(texts, np.asarray(snapshot.vectors), y=codes)
    # BERTopic numbers topics anew, the largest first.
    number = {int(code): topic for code, topic in zip(codes, topics, strict=True)}
    return [", ".join(word for word, _ in model.get_topic(number[code])[:4]) for code in range(CLUSTERS)]
