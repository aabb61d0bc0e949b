"""Clustering along an axis: by described values, by examples, or by both, and nothing else.

Every record is scored for each value against the other values, as in a property search (``axis``).
Anchored expectation-maximisation adapts the clusters to the records (``anchored_em``). The result is measured
and judged (``quality``). Of very many records, a random part is clustered, and the others are
assigned by a linear model that is fitted on this part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from saeindex.analysis.cluster.anchored_em import Views, settle, soft, standardised
from saeindex.analysis.cluster.axis import Axis, gather, known_values, text_vectors, with_values
from saeindex.analysis.cluster.quality import UNJUDGED, described_clusters, judge, leakage, signs_of
from saeindex.analysis.cluster.results import Clustering, Verdict
from saeindex.analysis.stats.evidence import group_names
from saeindex.analysis.stats.stratified import memberships, one_hot
from saeindex.collection.sample import CollectionSample, Rows, concept_parts, tokens, word_matrix
from saeindex.collection.snapshot import Snapshot, columns_of, rows_of_snapshot, sample_of
from saeindex.errors import InvalidInputError
from saeindex.language.speech import says_something

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from saeindex.collection.state import IndexState
    from saeindex.features import FeatureSpace
    from saeindex.types import Doubles, FloatArray, Ints

Method: TypeAlias = Literal["anchored", "interpembed"]
# The maximum and minimum number of records that are clustered together; the others are placed afterwards.
MAX_RECORDS = 12_000
MIN_RECORDS = 10
# The maximum number of records whose embeddings are kept for a map.
MAX_DRAWN = 3_000
RIDGE = 1.0
BLOCK = 4_096
LABELLED = 100
# The maximum records of a dense similarity matrix; the others join the cluster of similar records.
MAX_DIVIDED = 3_000
SEED = 0


def cluster(
    state: IndexState,
    snapshot: Snapshot,
    axis: Axis | str | Mapping[str, object],
    rows: Ints | None = None,
    method: Method = "anchored",
    examples: Mapping[str, Sequence[str]] | None = None,
    shown: int = 5,
    cache: Path | None = None,
    assign: Sequence[str] = (),
) -> Clustering:
    """Cluster rows of a snapshot (all of them by default) along an axis.

    ``examples`` gives record ids by value; ``shown`` is how many central and borderline records each cluster
    lists. Records without content ("n/a") are left out. ``method`` "interpembed" is that paper's. ``assign``
    are texts whose clusters are found, too. ``cache`` is the folder that remembers embeddings.
    InvalidInputError where records are too few.
    """
    asked = Axis.of(axis)
    asked = asked.with_examples(examples) if examples else asked
    asked.check_described()
    given = np.arange(len(snapshot), dtype=np.int64) if rows is None else np.asarray(rows, np.int64)
    rows = given[[says_something(text) for text in snapshot.texts(given.tolist())]]
    if len(rows) < max(MIN_RECORDS, 2 * len(asked.values)):
        found = f"{len(rows)} records for {len(asked.values) or 'open'} values"
        raise InvalidInputError(f"clusters along {asked.name!r}", found, "Cluster more records.")
    taken, known = _taken(asked, snapshot, rows)
    sample = sample_of(snapshot, taken, cache)
    if not asked.values:
        asked = with_values(asked, sample, state)
    grouped = _grouped(state, sample, asked, known, method)
    clustering = _reported(snapshot, rows, taken, asked, method, grouped, shown)
    assigned: tuple[str, ...] = ()
    if assign:
        codes = grouped.placer.new(state.encoder.encode_document(list(assign)), assign)
        assigned = tuple(clustering.names[code] for code in codes.tolist())
    return replace(clustering, left_out=len(given) - len(rows), assigned=assigned)


def _taken(axis: Axis, snapshot: Snapshot, rows: Ints) -> tuple[Ints, Ints | None]:
    """Return the rows to cluster, all examples and the first others, which are in random order.

    And for each the value of an example, else -1; None without examples.
    """
    if not any(value.examples for value in axis.values):
        return rows[:MAX_RECORDS], None
    examples, values = known_values(axis, snapshot)
    others = rows[~np.isin(rows, examples)][:MAX_RECORDS]
    return np.concatenate([examples, others]), np.concatenate([values, np.full(len(others), -1)])


@dataclass(frozen=True, eq=False)
class _Grouped:
    """``scores`` (m, J) by which records are in clusters, their ``verdict``, and what places new ones."""

    scores: Doubles
    verdict: Verdict
    placer: Placer


def _grouped(
    state: IndexState, sample: CollectionSample, axis: Axis, known: Ints | None, method: Method
) -> _Grouped:
    if method == "anchored":
        evidence = gather(state, sample, axis, known)
        settled = settle(evidence.whitened, evidence.start, known)
        verdict = judge(signs_of(evidence.whitened, settled, evidence.literal))
        placer = Placer.of(evidence.views, evidence.seen, settled.logits, sample)
        return _Grouped(settled.shares, verdict, placer)
    if not axis.has_texts:
        raise InvalidInputError("method 'interpembed'", "values without texts", "Describe every value.")
    vectors, count = text_vectors(state, axis), len(axis.values)
    scores = memberships(interpembed_clusters(sample.present, sample.space, vectors, count), count)
    views, seen = Views.of(sample.rows)
    return _Grouped(scores, UNJUDGED, Placer.of(views, seen, scores, sample))


def _reported(
    snapshot: Snapshot, rows: Ints, taken: Ints, axis: Axis, method: Method, grouped: _Grouped, shown: int
) -> Clustering:
    """Measure the clusters, and place the rows that were not clustered."""
    sample_codes = grouped.scores.argmax(1)
    count = len(axis.values)
    is_named = method == "anchored"
    names = axis.names if is_named else group_names(snapshot, taken, one_hot(sample_codes, count))
    rest = rows[~np.isin(rows, taken)]
    shares = np.concatenate([grouped.scores, grouped.placer.of_snapshot(snapshot, rest)])
    place = {row: number for number, row in enumerate([*taken.tolist(), *rest.tolist()])}
    shares = shares[[place[row] for row in rows.tolist()]]
    codes = shares.argmax(1).astype(np.int64)
    asked = np.where(np.isin(taken, rows), taken, -1)
    sizes = np.bincount(codes, minlength=count).tolist()
    sample = grouped.placer.sample
    return Clustering(
        axis,
        method,
        grouped.verdict,
        described_clusters(snapshot, sample, asked, grouped.scores, names, sizes, shown),
        leakage(snapshot, taken, sample, sample_codes, count),
        [snapshot.ids[row] for row in rows.tolist()],
        codes,
        shares.max(1),
        vectors=np.asarray(snapshot.vectors[rows[:MAX_DRAWN]]),
    )


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
        # Weak fits are near 0; the scores are standardised so that every cluster has the same weight.
        fitted = seen @ readout
        readout *= scaled.std(0) / np.maximum(fitted.std(0), 1e-9)
        scale = np.where(scores.std(0) > 0, scores.std(0), 1.0)
        return cls(sample, views, readout * scale, scores.mean(0))

    def scores(self, rows: Rows) -> Doubles:
        """Return the scores of records (m, J)."""
        return self.views(rows) @ self.readout + self.offset

    def new(self, x: FloatArray, texts: Sequence[str]) -> Ints:
        """Return the cluster of each text, with its unit embedding (m, d)."""
        words = word_matrix([tokens(text) for text in texts], self.sample.places)
        concepts = concept_parts(self.sample.space.encode(x).to_csr(), self.sample.space)
        return np.asarray(self.scores(Rows(tuple(range(len(x))), x, concepts, words)).argmax(1))

    def of_snapshot(self, snapshot: Snapshot, rows: Ints) -> Doubles:
        """Return how far rows of a snapshot belong to each cluster (m, J), block by block."""
        columns = columns_of(snapshot, self.sample)
        blocks = np.split(rows, range(BLOCK, len(rows), BLOCK)) if len(rows) else []
        found = [soft(self.scores(rows_of_snapshot(snapshot, block, columns))) for block in blocks]
        return np.concatenate([np.zeros((0, len(self.offset))), *found])


# InterpEmbed's method (arXiv 2512.10092), a baseline: only the features whose labels are most similar to the
# axis are used; the similarity of records is the Jaccard index of these features, and spectral clustering
# divides the records.
def interpembed_clusters(present: csr_matrix, space: FeatureSpace, vectors: FloatArray, count: int) -> Ints:
    """Divide records (m, n) into ``count`` clusters by features with labels like ``vectors`` (J, d)."""
    from sklearn.cluster import SpectralClustering

    nearness = (space.label_vectors @ vectors.T).max(1)
    nearness[~np.isfinite(space.calibration.p90)] = -1.0
    active = present[:, np.sort(np.argsort(-nearness, kind="stable")[:LABELLED])]
    divided = min(active.shape[0], MAX_DIVIDED)
    similarity = jaccard(active[:divided], active[:divided])
    found = SpectralClustering(count, affinity="precomputed", random_state=SEED, assign_labels="kmeans")
    codes = np.zeros(active.shape[0], np.int64)
    codes[:divided] = found.fit_predict(similarity + 1e-6)
    if divided < active.shape[0]:
        centres = memberships(codes[:divided], count) / np.maximum(
            np.bincount(codes[:divided], minlength=count), 1
        )
        codes[divided:] = (jaccard(active[divided:], active[:divided]) @ centres).argmax(1)
    return codes


def jaccard(a: csr_matrix, b: csr_matrix) -> Doubles:
    """Return the Jaccard index of rows of ones (m, n) and (l, n): shared over either, else 0."""
    shared = np.asarray((a @ b.T).todense(), np.float64)
    either = np.asarray(a.sum(1)) + np.asarray(b.sum(1)).T - shared
    return np.asarray(shared / np.maximum(either, 1.0))
