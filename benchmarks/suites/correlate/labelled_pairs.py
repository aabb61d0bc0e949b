"""Correlations of pairs of labels, and how well named and open concepts reproduce them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression

from benchmarks import data
from benchmarks.data import properties
from benchmarks.snapshots import as_indexed
from benchmarks.suites.correlate.planted_pairs import correlation
from saeindex import FeatureSpace
from saeindex.analysis.correlate.named_pairs import z_scores
from saeindex.concepts.named_concept import ConceptReader, Membership, NamedConcept

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.corpora import CachedEncoder
    from saeindex.collection.snapshot import Snapshot

    Doubles = NDArray[np.float64]

# The fields whose values are the labels; with two fields, only pairs across them count.
FIELDS = {
    "nlupp": ("intent",),
    "goemotions": ("emotion",),
    "medquad": ("question_type", "source"),
    "product_reviews": ("aspect", "polarity"),
    "arxiv_heldout": ("categories",),
}
# The described field of a corpus, where it is not the field of its labels.
DESCRIBED = {"arxiv_heldout": "primary_cat"}
MIN_RECORDS, EXAMPLES, HALVES = 20, 10, 10


@dataclass(frozen=True, eq=False)
class Labelled:
    """Records, their labels (names, fields, ``having`` (m, l)), and the pairs of labels that count."""

    name: str
    snapshot: Snapshot
    labels: Sequence[str]
    fields: Sequence[str]
    having: NDArray[np.bool_]
    pairs: Sequence[tuple[int, int]]

    def z(self, rows: NDArray[np.int64] | None = None) -> Doubles:
        """Return the labels' own z of each pair, on all records or some."""
        having = self.having if rows is None else self.having[rows]
        return z_scores([Membership.exact(column) for column in having.T], self.pairs)

    def ceiling(self) -> float:
        """Return the Spearman correlation of z on one half of the records with z on the other, over draws."""
        found, m = [], len(self.snapshot)
        for draw in range(HALVES):
            rows = np.random.default_rng(draw).permutation(m)
            found.append(spearman(self.z(rows[: m // 2]), self.z(rows[m // 2 :])))
        return float(np.mean(found))


def open_labelled(name: str, part: str, space: FeatureSpace, limit: int | None) -> Labelled:
    """Read a part of a corpus with its labels of enough records."""
    records = list(data.read(name, part, limit))
    order = np.random.default_rng(0).permutation(len(records))
    records = [records[i] for i in order]
    texts = [record.text for record in records]
    ids, metadata = [record.id for record in records], [record.metadata for record in records]
    snapshot = as_indexed(texts, ids, metadata, space)
    labels, fields, columns = [], [], []
    for field in FIELDS[name]:
        values, membership = snapshot.membership(f"metadata.{field}")
        for value, column in zip(values, membership.toarray().T > 0, strict=True):
            if column.sum() >= MIN_RECORDS:
                labels.append(str(value))
                fields.append(field)
                columns.append(column)
    is_crossed = len(FIELDS[name]) > 1
    label_pairs = combinations(range(len(labels)), 2)
    pairs = [(i, j) for i, j in label_pairs if not is_crossed or fields[i] != fields[j]]
    return Labelled(name, snapshot, labels, fields, np.array(columns).T, pairs)


def by_examples(corpus: Labelled, draw: int) -> list[NamedConcept]:
    """Return each label as ten records with it, ten without it, and its true share."""
    ids = np.array(corpus.snapshot.ids)
    concepts = []
    for number, column in enumerate(corpus.having.T):
        rng = np.random.default_rng([draw, number])
        like, unlike = (rng.permutation(np.flatnonzero(which))[:EXAMPLES] for which in (column, ~column))
        share = float(column.mean())
        name = corpus.labels[number]
        concepts.append(NamedConcept(name, like=ids[like].tolist(), unlike=ids[unlike].tolist(), share=share))
    return concepts


def named_spearman(
    corpus: Labelled, draws: int, change: Callable[[NamedConcept], NamedConcept] = lambda concept: concept
) -> float:
    """Return the correlation of z of ten-example concepts with z of the labels, over draws of examples."""
    reader, truth = ConceptReader(corpus.snapshot), corpus.z()
    found = []
    for draw in range(draws):
        concepts = [change(concept) for concept in by_examples(corpus, draw)]
        found.append(spearman(z_scores([reader.membership(one) for one in concepts], corpus.pairs), truth))
    return float(np.mean(found))


def logistic_spearman(corpus: Labelled, draws: int) -> float:
    """Return the same for logistic regression on the examples' embeddings, cut at the label's true share."""
    x, truth, found = np.asarray(corpus.snapshot.vectors), corpus.z(), []
    for draw in range(draws):
        members = []
        for concept in by_examples(corpus, draw):
            like, unlike = (corpus.snapshot.rows_of(ids) for ids in (concept.like, concept.unlike))
            y = np.repeat([1, 0], [len(like), len(unlike)])
            fitted = LogisticRegression(max_iter=300).fit(x[np.concatenate([like, unlike])], y)
            scores = x @ fitted.coef_[0]
            count = round((concept.share or 0.0) * len(scores))
            is_member = np.zeros(len(scores), bool)
            is_member[np.argsort(-scores, kind="stable")[:count]] = True
            is_member[like], is_member[unlike] = True, False
            members.append(Membership.exact(is_member))
        found.append(spearman(z_scores(members, corpus.pairs), truth))
    return float(np.mean(found))


def described_spearman(corpus: Labelled, encoder: CachedEncoder, with_siblings: bool) -> tuple[float, int]:
    """Return the same for the labels that have a description, and the number of their pairs.

    A label's siblings are the other described values of its field. Fields without descriptions are exact.
    """
    texts = {(q["field"], str(q["value"])): q["query"] for q in properties().get(corpus.name, [])}
    keys = [(DESCRIBED.get(corpus.name, f), v) for f, v in zip(corpus.fields, corpus.labels, strict=True)]
    reader = ConceptReader(corpus.snapshot, encoder)
    members: dict[int, Membership] = {}
    for number, key in enumerate(keys):
        column = corpus.having[:, number]
        if key in texts:
            others = [texts[k] for k in keys if k in texts and k != key and k[0] == key[0]]
            concept = NamedConcept(
                key[1], texts[key], others if with_siblings else (), share=float(column.mean())
            )
            members[number] = reader.membership(concept)
        elif not any(field == key[0] for field, _ in texts):
            members[number] = Membership.exact(column)
    kept = [row for row, (i, j) in enumerate(corpus.pairs) if i in members and j in members]
    place = {number: at for at, number in enumerate(members)}
    pairs = [(place[corpus.pairs[row][0]], place[corpus.pairs[row][1]]) for row in kept]
    return spearman(z_scores(list(members.values()), pairs), corpus.z()[kept]), len(pairs)


def open_spearman(corpus: Labelled, chosen: Labelled | None) -> float:
    """Return the same for each label's best single feature at the typical level.

    It is chosen on ``chosen``, or without that on one half of the records and measured on the other.
    """
    m = len(corpus.snapshot)
    rows = np.arange(m) if chosen is not None else np.arange(m // 2, m)
    own = chosen or corpus
    choosing = np.arange(len(own.snapshot)) if chosen is not None else np.arange(m // 2)
    known = {key: number for number, key in enumerate(zip(own.fields, own.labels, strict=True))}
    present, active = corpus.snapshot.at("typical")[rows], own.snapshot.at("typical")[choosing]
    members: dict[int, Membership] = {}
    for number, key in enumerate(zip(corpus.fields, corpus.labels, strict=True)):
        if key in known:
            phi = correlation(active, own.having[choosing, known[key]])
            members[number] = Membership.exact(present[:, [int(phi.argmax())]].toarray().ravel() > 0)
    kept = [row for row, (i, j) in enumerate(corpus.pairs) if i in members and j in members]
    place = {number: at for at, number in enumerate(members)}
    pairs = [(place[corpus.pairs[row][0]], place[corpus.pairs[row][1]]) for row in kept]
    return spearman(z_scores(list(members.values()), pairs), corpus.z(rows)[kept])


def spearman(a: Doubles, b: Doubles) -> float:
    """Return the rank correlation."""
    return float(spearmanr(a, b).statistic)
