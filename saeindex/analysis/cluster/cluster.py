"""Clustering along an axis: by described values, by examples, or by both, and nothing else.

A property search with the values as each other's siblings scores every record (``cluster_evidence``),
anchored expectation-maximisation lets the records themselves say where the values part (``cluster_em``), and
the result is measured (``cluster_measures``) and judged (``cluster_verdict``). Of very many records a random
part is clustered so; the others are placed by a linear readout of where that part settled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from saeindex.analysis.cluster.anchored_em import settle
from saeindex.analysis.cluster.axis import Axis
from saeindex.analysis.cluster.axis_scores import Evidence, gather, known_values, read, text_vectors
from saeindex.analysis.cluster.axis_values import with_values
from saeindex.analysis.cluster.description import described_clusters, leaks, sized
from saeindex.analysis.cluster.interpembed import interpembed_clusters
from saeindex.analysis.cluster.placement import Placer
from saeindex.analysis.cluster.quality import free_clusters
from saeindex.analysis.cluster.results import Clustering
from saeindex.analysis.cluster.verdict import UNJUDGED, judge, signs_of
from saeindex.errors import InvalidInputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.analysis.cluster.anchored_em import Settled
    from saeindex.analysis.cluster.axis_scores import Encodes
    from saeindex.analysis.cluster.verdict import Verdict
    from saeindex.collection.sample import CollectionSample
    from saeindex.collection.snapshot import Snapshot
    from saeindex.concepts.weighting import Doubles

Method: TypeAlias = Literal["anchored", "interpembed", "free"]
METHODS: tuple[Method, ...] = ("anchored", "interpembed", "free")
# Records that are clustered together; the others are placed.
MOST = 12_000
LEAST = 10
# Records whose embeddings the result keeps for a map.
MOST_DRAWN = 3_000


def cluster(
    collection: Encodes,
    snapshot: Snapshot,
    axis: Axis | str | Mapping[str, object],
    rows: NDArray[np.int64] | None = None,
    method: Method = "anchored",
    examples: Mapping[str, Sequence[str]] | None = None,
    shown: int = 5,
    cache: Path | None = None,
) -> Clustering:
    """Cluster rows of a snapshot (all of them by default) along an axis.

    ``examples`` gives record ids by value; ``shown`` is how many central and borderline records each cluster
    lists. ``method`` "interpembed" is that paper's, "free" k-means of the embeddings, which asks nothing.
    ``cache`` is the folder that remembers embeddings. InvalidInputError where records are too few.
    """
    if method not in METHODS:
        raise InvalidInputError(f"method {method!r}", "no such method", f"Use one of {', '.join(METHODS)}.")
    asked = Axis.of(axis)
    asked = asked.with_examples(examples) if examples else asked
    asked.check_told()
    rows = np.arange(len(snapshot), dtype=np.int64) if rows is None else np.asarray(rows, np.int64)
    if len(rows) < max(LEAST, 2 * len(asked.values)):
        found = f"{len(rows)} records for {len(asked.values) or 'open'} values"
        raise InvalidInputError(f"clusters along {asked.name!r}", found, "Cluster more records.")
    taken = _Taken.of(asked, snapshot, rows)
    sample = read(snapshot, taken.rows, cache)
    if not asked.values:
        asked = with_values(asked, sample, collection)
    grouped = METHOD[method](collection, sample, asked, taken)
    return _reported(snapshot, rows, taken, asked, method, grouped, shown)


@dataclass(frozen=True, eq=False)
class _Taken:
    """The ``rows`` clustered together, examples among them; ``known`` (m,) says -1 or their value."""

    rows: NDArray[np.int64]
    known: NDArray[np.int64] | None

    @classmethod
    def of(cls, axis: Axis, snapshot: Snapshot, rows: NDArray[np.int64]) -> _Taken:
        """Take the examples, wherever they are, and the first of the rows, which stand in random order."""
        if not any(value.examples for value in axis.values):
            return cls(rows[:MOST], None)
        examples, values = known_values(axis, snapshot)
        others = rows[~np.isin(rows, examples)][:MOST]
        known = np.concatenate([values, np.full(len(others), -1)])
        return cls(np.concatenate([examples, others]), known)


@dataclass(frozen=True, eq=False)
class _Grouped:
    """``scores`` (m, J) by which records are in clusters, their ``verdict``, and what places new ones."""

    scores: Doubles
    verdict: Verdict
    placer: Placer


def _anchored(collection: Encodes, sample: CollectionSample, axis: Axis, taken: _Taken) -> _Grouped:
    evidence: Evidence = gather(collection, sample, axis, taken.known)
    settled: Settled = settle(evidence.whitened, evidence.start, taken.known)
    verdict = judge(signs_of(evidence.whitened, settled, evidence.literal))
    placer = Placer.of(evidence.views, evidence.seen, settled.logits, sample)
    return _Grouped(settled.shares, verdict, placer)


def _interpembed(collection: Encodes, sample: CollectionSample, axis: Axis, taken: _Taken) -> _Grouped:
    if not axis.has_texts:
        raise InvalidInputError("method 'interpembed'", "values without texts", "Describe every value.")
    vectors = text_vectors(collection, axis)
    codes = interpembed_clusters(sample.present, sample.space, vectors, len(axis.values))
    return _grouped(codes, sample, len(axis.values))


def _free(collection: Encodes, sample: CollectionSample, axis: Axis, taken: _Taken) -> _Grouped:
    return _grouped(free_clusters(sample.rows.x, len(axis.values)), sample, len(axis.values))


METHOD = {"anchored": _anchored, "interpembed": _interpembed, "free": _free}


def _grouped(codes: NDArray[np.int64], sample: CollectionSample, count: int) -> _Grouped:
    scores = np.eye(count)[codes]
    return _Grouped(scores, UNJUDGED, Placer.fitted(sample, scores))


def _reported(
    snapshot: Snapshot,
    rows: NDArray[np.int64],
    taken: _Taken,
    axis: Axis,
    method: Method,
    grouped: _Grouped,
    shown: int,
) -> Clustering:
    """Measure the clusters, and place the rows that were not clustered."""
    is_asked = np.isin(taken.rows, rows).tolist()
    names = axis.names if method == "anchored" else ("",) * len(axis.values)
    ids = [
        snapshot.ids[row] if asked else "" for row, asked in zip(taken.rows.tolist(), is_asked, strict=True)
    ]
    sample_codes = grouped.scores.argmax(1)
    clusters = described_clusters(grouped.placer.sample, ids, grouped.scores, names, shown)
    rest = rows[~np.isin(rows, taken.rows)]
    shares = np.concatenate([grouped.scores, grouped.placer.of_snapshot(snapshot, rest)])
    place = {row: number for number, row in enumerate([*taken.rows.tolist(), *rest.tolist()])}
    shares = shares[[place[row] for row in rows.tolist()]]
    codes = shares.argmax(1).astype(np.int64)
    return Clustering(
        axis,
        method,
        grouped.verdict,
        sized(clusters, codes),
        leaks(snapshot, taken.rows, grouped.placer.sample, sample_codes, len(names)),
        [snapshot.ids[row] for row in rows.tolist()],
        codes,
        shares.max(1),
        grouped.placer.new,
        np.asarray(snapshot.vectors[rows[:MOST_DRAWN]]),
    )
