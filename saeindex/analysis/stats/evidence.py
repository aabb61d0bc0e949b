"""Evidence of a comparison: concepts, words, and clusters of the compared records.

A cluster is named by the words and phrases of the collection that its records have and others do not; the
given concept of the space that is nearest to it stands behind its words, where it is near.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from saeindex.analysis.stats.options import FAMILIES, Family
from saeindex.analysis.stats.stratified import one_hot
from saeindex.collection.sample import WORD
from saeindex.errors import InvalidInputError
from saeindex.features.function_words import is_function_word
from saeindex.sae.metrics import unit_rows
from saeindex.types import LevelName, shown_label

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    from saeindex.collection.snapshot import Snapshot
    from saeindex.types import Doubles, FloatArray, Ints

# Clusters at three resolutions; chosen on the fit and choose parts of six corpora, see docs/analysis.md.
CLUSTERS = (30, 60, 120)
# The minimum mean number of records per cluster; the most records to fit the centres on, and to name them.
MIN_PER_CLUSTER, MAX_FITTED, MAX_NAMED = 12, 10_000, 50_000
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

    def take(self, columns: Ints) -> Evidence:
        """Return some of the columns."""
        chosen = columns.tolist()
        keys, labels = (tuple(every[i] for i in chosen) for every in (self.keys, self.labels))
        return Evidence(self.family, keys, labels, self.has[:, columns])


def evidence_of(
    snapshot: Snapshot, rows: Ints, family: Family, level: LevelName, min_support: int, seed: int = 0
) -> Evidence:
    """Return a family of evidence on some records, without columns that fewer than ``min_support`` have.

    The support is counted over all groups together, so tests between the groups stay valid.
    """
    keys: Sequence[int | str]
    if family == "concepts":
        keys, columns, has = range(snapshot.space.n_features), snapshot.listed, snapshot.at(level)[rows]
        names: Sequence[str] = [shown_label(one.text, one.is_weak) for one in snapshot.space.labels]
    elif family in ("words", "style"):  # what a text is about, or not
        keys = names = snapshot.vocabulary
        is_style = np.array([is_function_word(word) for word in keys], bool)
        columns, has = np.flatnonzero(is_style == (family == "style")), snapshot.words[rows]
    elif family == "clusters":
        names, has = _clusters_of(snapshot, rows, seed)
        keys, columns = range(len(names)), np.arange(len(names))
    else:
        do = f"Use {', '.join((*FAMILIES, 'style'))}."
        raise InvalidInputError(f"evidence {family!r}", "no such family", do)
    support = np.asarray(has.sum(0)).ravel()[columns]
    kept = columns[(support >= min_support) & (support <= len(rows) - min_support)].tolist()
    if family in ("words", "style"):  # else their order, which decides on equal ones, is that of writing
        kept = sorted(kept, key=names.__getitem__)
    shown = tuple(keys[i] for i in kept), tuple(names[i] for i in kept)
    return Evidence(family, *shown, has[:, np.array(kept, np.int64)])


def _clusters_of(snapshot: Snapshot, rows: Ints, seed: int) -> tuple[Sequence[str], csr_matrix]:
    """Return :func:`_clusters` of some records, or of all, which are kept."""
    if len(rows) < len(snapshot):
        return _clusters(snapshot, rows, seed)
    if seed not in snapshot.clusters:
        snapshot.clusters[seed] = _clusters(snapshot, np.arange(len(rows)), seed)
    names, has = snapshot.clusters[seed]
    return names, has[rows]


def _clusters(snapshot: Snapshot, rows: Ints, seed: int) -> tuple[Sequence[str], csr_matrix]:
    """Cluster records by their embeddings, all groups together; return the names of clusters by their words.

    And which records each has (m, k).
    """
    from scipy.sparse import hstack
    from sklearn.cluster import KMeans

    # In the order of the snapshot: which group is named first makes no difference.
    order = np.argsort(rows, kind="stable")
    own, rng = rows[order], np.random.default_rng(seed)
    drawn = own if len(own) <= MAX_FITTED else own[np.sort(rng.choice(len(own), MAX_FITTED, replace=False))]
    fitted = np.asarray(snapshot.vectors[drawn])
    different = len(np.unique(np.round(fitted[:, :8], 5), axis=0))
    max_clusters = max(1, different // MIN_PER_CLUSTER)
    sizes = [k for k in CLUSTERS if k <= max_clusters] or [max_clusters]
    models = [KMeans(k, init="random", n_init=1, max_iter=ROUNDS, random_state=seed) for k in sizes]
    centres = [model.fit(fitted).cluster_centers_ for model in models]
    nearest = nearest_centres(snapshot.vectors, own, centres)[np.argsort(order, kind="stable")]
    has = hstack([one_hot(each, k) for each, k in zip(nearest.T, sizes, strict=True)], "csr")
    has = has[:, :1] if has.shape[1] == 2 else has  # the second of two is what the first is not
    step = -(-len(rows) // MAX_NAMED)
    return group_names(snapshot, rows[::step], has[::step]), has


def nearest_centres(vectors: FloatArray, rows: Ints, centres: Sequence[Doubles]) -> Ints:
    """Return the nearest of each group of ``centres`` (k, d) to the rows (m,) of ``vectors`` (m, groups)."""
    each = np.concatenate(centres).astype(np.float32)
    half, ends = (each**2).sum(1) / 2, np.cumsum([len(own) for own in centres])[:-1]
    found = []
    for i in range(0, len(rows), 8_192):
        near = np.split(vectors[rows[i : i + 8_192]] @ each.T - half, ends, axis=1)
        found.append(np.stack([own.argmax(1) for own in near], axis=1))
    return np.concatenate(found)


# Parts of a name, and its parts where another group has the same; the words that they are chosen from.
PARTS, MOST_PARTS, CONSIDERED = 3, 6, 12
# Records of a group that are read for phrases; two words are a phrase where they are neighbours in so many
# records, and in this share of those that have both.
READ, MIN_TEXTS, MIN_TOGETHER = 16, 3, 0.5
# The cosine from which a given concept is near to a group, both less their means.
NEAR = 0.5
# Records that a word must be in; its letters; and the letters by which two words are forms of one.
MIN_RECORDS, MIN_LETTERS, STEM = 3, 3, 5


def group_names(snapshot: Snapshot, rows: Ints, has: csr_matrix) -> tuple[str, ...]:
    """Name groups (columns of ``has``) of records by what they say more often than all ``rows``.

    No two groups have the same name; "school · teachers (education)" adds the nearest given concept.
    """
    every = snapshot.words[rows]
    often = np.asarray(every.sum(0)).ravel() >= MIN_RECORDS
    telling = np.flatnonzero(often & _telling(snapshot.vocabulary)).tolist()
    columns = np.array(sorted(telling, key=snapshot.vocabulary.__getitem__), np.int64)
    words = every[:, columns]
    usual, sizes = np.asarray(words.mean(0)).ravel(), np.asarray(has.sum(0)).ravel()
    chosen = []
    counts = (has.T @ words).tocsr()
    for group, size in enumerate(sizes.tolist()):
        share = counts[[group]].toarray().ravel() / max(1.0, size)
        worth = share * np.log(np.maximum(share, 1e-9) / usual)
        best = np.argsort(-worth, kind="stable")[:CONSIDERED]
        chosen.append(columns[best[worth[best] > 0]].tolist())
    texts = _read(snapshot, rows, has, chosen)
    named = [[snapshot.vocabulary[word] for word in own] for own in chosen]
    names = _distinct([_parts(own, found) for own, found in zip(named, texts, strict=True)])
    near = _near_concepts(snapshot, rows, has)
    return tuple(_with_concept(name, concept) for name, concept in zip(names, near, strict=True))


def _near_concepts(snapshot: Snapshot, rows: Ints, has: csr_matrix) -> list[str]:
    """Return the given concept that each group is near to, "" for none."""
    space = snapshot.space
    given = [feature for feature, label in enumerate(space.labels) if label.is_given]
    if not given:
        return [""] * has.shape[1]
    sizes = np.maximum(np.asarray(has.sum(0)).ravel(), 1.0)
    x = np.asarray(snapshot.vectors[rows], np.float32)
    groups = unit_rows(np.asarray(has.T @ x, np.float32) / sizes[:, None].astype(np.float32) - x.mean(0))
    names = np.asarray(space.label_vectors[given], np.float32)
    near = groups @ unit_rows(names - names.mean(0)).T
    best = near.argmax(1)
    texts = [space.labels[given[place]].text for place in best.tolist()]
    return [text if cosine >= NEAR else "" for text, cosine in zip(texts, near.max(1).tolist(), strict=True)]


def _with_concept(name: str, concept: str) -> str:
    """Return a name with a concept that it does not say."""
    known = {word[:STEM] for word in WORD.findall(name.lower())}
    says = known.issuperset(word[:STEM] for word in WORD.findall(concept.lower()))
    return name if says else f"{name} ({concept})"


def _telling(vocabulary: Sequence[str]) -> NDArray[np.bool_]:
    """Return which words say what a text is about (v,)."""
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    tells = (
        len(one) >= MIN_LETTERS and one.isalpha() and one not in ENGLISH_STOP_WORDS for one in vocabulary
    )
    return np.array([*tells], bool)


def _read(
    snapshot: Snapshot, rows: Ints, has: csr_matrix, chosen: Sequence[Sequence[int]]
) -> list[list[str]]:
    """Return texts of each group, of the records with most of its words."""
    members = has.tocsc()
    picked = []
    for group, own in enumerate(chosen):
        inside = rows[members.indices[members.indptr[group] : members.indptr[group + 1]]]
        hits = np.asarray(snapshot.words[inside][:, list(own)].sum(1)).ravel()
        picked.append(inside[np.argsort(-hits, kind="stable")[:READ]].tolist())
    known = sorted({row for group in picked for row in group})
    texts = dict(zip(known, snapshot.texts(known), strict=True))
    return [[texts[row] for row in group] for group in picked]


def _parts(words: Sequence[str], texts: Sequence[str]) -> list[str]:
    """Return a group's words and phrases, the most telling first, without other forms of the same words."""
    phrases = _phrases(words, texts)
    found: list[str] = []
    taken: set[str] = set()
    for word in words:
        part = phrases.get(word, word)
        stems = {one[:STEM] for one in part.split()}
        if taken.isdisjoint(stems):
            found.append(part)
        taken |= stems
    return found[:MOST_PARTS]


def _phrases(words: Sequence[str], texts: Sequence[str]) -> dict[str, str]:
    """Return the phrase of two words that each word usually stands in."""
    wanted, read = set(words), [WORD.findall(text.lower()) for text in texts]
    present = [wanted.intersection(tokens) for tokens in read]
    together: Counter[tuple[str, str]] = Counter()
    for tokens in read:
        pairs = ((a, b) for a, b in pairwise(tokens) if a in wanted and b in wanted and a != b)
        together.update([*dict.fromkeys(pairs)])  # in the order of the text: a set's differs by process
    found: dict[str, str] = {}
    for (a, b), count in together.most_common():
        is_new = count >= MIN_TEXTS and not {a, b} & found.keys()
        if is_new and count >= MIN_TOGETHER * sum(a in own and b in own for own in present):
            found[a] = found[b] = f"{a} {b}"
    return found


def _distinct(parts: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Return names of as few parts as keep them apart, in whatever order; a number where no part does."""
    lengths = [PARTS] * len(parts)

    def words(group: int) -> frozenset[str]:
        return frozenset(parts[group][: lengths[group]])

    for length in range(PARTS + 1, MOST_PARTS + 1):
        counts = Counter(map(words, range(len(parts))))
        lengths = [length if counts[words(group)] > 1 else lengths[group] for group in range(len(parts))]
    counts = Counter(map(words, range(len(parts))))
    names = []
    seen: Counter[frozenset[str]] = Counter()
    for group, own in enumerate(parts):
        same = words(group)
        seen[same] += 1
        number = f" ({seen[same]})" if counts[same] > 1 else ""
        names.append((" · ".join(own[: lengths[group]]) or "other") + number)
    return tuple(names)
