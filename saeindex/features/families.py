"""Families: trees of features that are active together, with general features above specific ones.

The method follows saerch (arXiv 2408.00657, "feature families"): co-occurrence, threshold, maximum spanning
forest, edges from denser to sparser features, three rounds, each without the roots of the rounds before, and
no near-duplicate families. It differs in these points:

- An edge must be significant: more common than in random codes with the same number of records per feature
  and of features per record, at a false discovery rate of 5 % over all pairs.
- saerch's weight P(parent | child) makes a few of the densest features the parents of hundreds. Here
P(parent | child) only has to reach saerch's threshold; the weight is NPMI (Bouma 2009), which corrects for
the frequency of both features.
- Concepts that were given with a hierarchy keep it: their trees come first.
- The forest does not depend on the order of the input: equal weights are ordered by feature id, no weight
stands for an absent edge, and a child keeps only its strongest parent.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np

from saeindex.features.labels import FeatureLabel, stems

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.types import Doubles, IntArray, Ints, SparseCode


# The parent of each feature of a tree: the root first (its parent is None), then depth first.
Tree: TypeAlias = dict[int, int | None]

FALSE_DISCOVERIES = 0.05
# Thresholds of an edge: P(parent | child) as in saerch; NPMI, chosen on one half of the default space's
# mixture; and the number of records with both features, since with fewer an edge is easily strong by chance.
MIN_SHARE, MIN_NPMI, MIN_RECORDS = 0.1, 0.25, 20
ROUNDS, SAME = 3, 0.6
MIN_FEATURES, MAX_FEATURES = 3, 32
NAMED = 3
BLOCK = 256


@dataclass(frozen=True, slots=True)
class Family:
    """A tree of ``features``, root first; ``parents[i]`` is the parent of ``features[i]``, None for the root.

    ``coherence`` is the mean NPMI of its edges (0: as by chance, 1: always together), ``density`` the share
    of the corpus's records in which any of its features is active.
    """

    id: int
    label: str
    features: tuple[int, ...]
    parents: tuple[int | None, ...]
    coherence: float
    density: float

    __pydantic_config__: ClassVar = {"extra": "forbid"}  # for families read from a file

    @property
    def size(self) -> int:
        """Number of features."""
        return len(self.features)

    @property
    def depths(self) -> tuple[int, ...]:
        """Number of steps from the root to each feature."""
        depths: dict[int | None, int] = {None: -1}
        for feature, parent in zip(self.features, self.parents, strict=True):
            depths[feature] = depths[parent] + 1
        return tuple(depths[feature] for feature in self.features)


@dataclass(frozen=True, slots=True, eq=False)
class Cooccurrence:
    """``counts`` (n, n) int32: records in which both features are active; diagonal: records per feature.

    ``chance`` times n_i n_j, the record numbers of two features, is their expected count in random codes
    with the same n_i and the same features per record k_r (configuration model). The sum of all counts is
    the same in such codes, so ``chance`` is sum_r k_r (k_r - 1) / ((sum_i n_i)² - sum_i n_i²).
    """

    records: int
    counts: IntArray
    chance: float

    @classmethod
    def measure(cls, code: SparseCode) -> Cooccurrence:
        """Count a batch of codes; memory is one (n, n) matrix beside the codes."""
        from scipy.sparse import csr_matrix

        n = code.n_features
        counted = np.ones(len(code.indices), np.int32)
        active = csr_matrix((counted, code.indices, code.indptr), shape=(len(code), n))
        columns = active.T.tocsr()
        counts = np.empty((n, n), np.int32)
        for start in range(0, n, BLOCK):
            counts[start : start + BLOCK] = (columns[start : start + BLOCK] @ active).toarray()
        k, degrees = np.diff(code.indptr).astype(np.float64), counts.diagonal().astype(np.float64)
        pairs = degrees.sum() ** 2 - (degrees**2).sum()
        return cls(len(code), counts, float((k * (k - 1)).sum() / max(1.0, pairs)))

    @property
    def degrees(self) -> IntArray:
        """Number of records in which each feature is active (n,)."""
        return self.counts.diagonal()

    def expected(self, i: Ints, j: Ints) -> Doubles:
        """Return the expected count of each pair by chance (m,)."""
        degrees = self.degrees.astype(np.float64)
        return self.chance * degrees[i] * degrees[j]

    def p_values(self, i: Ints, j: Ints) -> Doubles:
        """Return the probability by chance of each pair's count or a higher count (m,).

        It uses a Poisson distribution with the expected count. Its upper tail bounds that of a sum of
        independent records with different probabilities (Hoeffding 1956; Anderson and Samuels 1967), so the
        test is conservative.
        """
        from scipy.special import pdtrc

        counts = self.counts[i, j]
        tail: Doubles = pdtrc(np.maximum(counts, 1) - 1, self.expected(i, j))
        return np.where(counts, tail, 1.0)

    def npmi(self, i: Ints, j: Ints) -> Doubles:
        """Return log(count / expected) / -log(count / records) (m,), at most 1; -1 for a count of 0."""
        counts = self.counts[i, j].astype(np.float64)
        npmi = np.full(len(counts), -1.0)
        met = np.flatnonzero(counts)
        lift = np.log(counts[met] / self.expected(i[met], j[met]))
        npmi[met] = np.minimum(1.0, lift / np.maximum(-np.log(counts[met] / self.records), 1e-12))
        return npmi


@dataclass(frozen=True, slots=True, eq=False)
class Edges:
    """Weighted edges from ``parent`` (m,) to the sparser ``child`` (m,)."""

    parent: Ints
    child: Ints
    weight: Doubles

    def take(self, which: NDArray[Any]) -> Edges:
        """Return the edges at these positions, in this order, or where the mask is true."""
        return Edges(self.parent[which], self.child[which], self.weight[which])


def find_families(code: SparseCode, labels: Sequence[FeatureLabel]) -> tuple[Family, ...]:
    """Return the families in the codes of a corpus, largest first; their ids are their positions.

    Concepts that have a broader one are families as they were given.
    """
    together = Cooccurrence.measure(code)
    edges, density = candidate_edges(together), together.degrees
    remains = np.ones(code.n_features, bool)
    trees = given_trees(labels, density)
    for _ in range(ROUNDS):
        grown = grow_trees(edges.take(remains[edges.parent] & remains[edges.child]), density)
        for tree in grown:
            remains[next(iter(tree))] = False
            if all(len(tree.keys() & other) < SAME * len(tree.keys() | other) for other in trees):
                trees.append(tree)
    trees.sort(key=lambda tree: (-len(tree), next(iter(tree))))
    codes = code.to_csr().tocsc()
    families: list[Family] = []
    for tree in trees:
        child, parent = np.array([(c, p) for c, p in tree.items() if p is not None]).T
        coherence = round(float(together.npmi(parent, child).mean()), 4)
        density_of_any = round(float((codes[:, list(tree)].getnnz(1) > 0).mean()), 6)
        label, parents = family_label(tree, labels, density), tuple(tree.values())
        families.append(Family(len(families), label, tuple(tree), parents, coherence, density_of_any))
    return tuple(families)


def children_of(parents: Sequence[int | None], order: Iterable[int]) -> dict[int, list[int]]:
    """Return the features below each feature that has some, given the parent of each, in this order."""
    children: dict[int, list[int]] = {}
    for feature in order:
        if (parent := parents[feature]) is not None:
            children.setdefault(parent, []).append(feature)
    return children


def given_trees(labels: Sequence[FeatureLabel], density: IntArray) -> list[Tree]:
    """Return the trees of 3 to 32 features that the concepts' hierarchy makes.

    Of a larger one, the root and what is directly below it is a tree, and so is each branch.
    """
    children = children_of([label.broader for label in labels], _densest_first(density))
    trees = []
    roots = [feature for feature in children if labels[feature].broader is None]
    for root in roots:  # it grows
        tree = grown(root, children)
        if len(tree) > MAX_FEATURES:
            roots += [child for child in children[root] if child in children]
            tree = {root: None} | dict.fromkeys(children[root][: MAX_FEATURES - 1], root)
        trees.append(tree)
    return [tree for tree in trees if len(tree) >= MIN_FEATURES]


def _densest_first(density: IntArray) -> list[int]:
    return list(np.argsort(-density, kind="stable").tolist())


def grown(root: int, children: Mapping[int, Sequence[int]]) -> Tree:
    """Return the tree below a root, depth first."""
    tree: Tree = {root: None}
    ahead = [(child, root) for child in reversed(children.get(root, ()))]
    while ahead:
        feature, parent = ahead.pop()
        tree[feature] = parent
        below = (child for child in reversed(children.get(feature, ())) if child not in tree)
        ahead.extend((child, feature) for child in below)
    return tree


def candidate_edges(together: Cooccurrence) -> Edges:
    """Return the edges for the forest: significant, strong enough, and from denser to sparser features.

    Features of equal density have no edge, since neither is more general.
    """
    from scipy.stats import false_discovery_control

    live = np.flatnonzero(together.degrees)
    i, j = (live[side] for side in np.triu_indices(len(live), 1))
    if len(i):
        is_kept = false_discovery_control(together.p_values(i, j)) <= FALSE_DISCOVERIES
        i, j = i[is_kept], j[is_kept]
    degrees = together.degrees
    parent = np.where(degrees[i] > degrees[j], i, j)
    child = i + j - parent
    npmi = together.npmi(parent, child)
    is_kept = (degrees[parent] > degrees[child]) & (npmi >= MIN_NPMI)
    is_kept &= together.counts[parent, child] >= np.maximum(MIN_RECORDS, MIN_SHARE * degrees[child])
    return Edges(parent, child, npmi).take(is_kept)


def grow_trees(edges: Edges, density: IntArray) -> list[Tree]:
    """Return the trees of 3 to 32 features in the maximum spanning forest."""
    forest = single_parents(spanning_forest(edges, len(density)))
    parents = _cut(forest, density)
    children = children_of(parents, _densest_first(density))
    trees = [grown(root, children) for root in children if parents[root] is None]
    return [tree for tree in trees if len(tree) >= MIN_FEATURES]


def spanning_forest(edges: Edges, n_features: int) -> Edges:
    """Return the maximum spanning forest, strongest edge first; directions are ignored.

    The weights are replaced by their ranks: these are all different, so the forest is unique, and never 0,
    which a sparse graph would read as an absent edge.
    """
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import minimum_spanning_tree

    strongest_first = np.lexsort((edges.child, edges.parent, -edges.weight))
    rank = np.empty(len(edges.weight))
    rank[strongest_first] = np.arange(1, len(rank) + 1)
    graph = csr_matrix((rank, (edges.parent, edges.child)), shape=(n_features, n_features))
    kept = np.sort(minimum_spanning_tree(graph).data).astype(np.int64)
    return edges.take(strongest_first[kept - 1])


def single_parents(forest: Edges) -> Edges:
    """Return each child's strongest edge in a forest that is sorted by strength."""
    _, strongest = np.unique(forest.child, return_index=True)
    return forest.take(np.sort(strongest))


def _cut(forest: Edges, density: IntArray) -> list[int | None]:
    """Return each feature's parent (n,).

    A tree that grows beyond 32 features loses its largest branches, which become trees of their own.
    """
    parents: list[int | None] = [None] * len(density)
    edges = zip(forest.parent.tolist(), forest.child.tolist(), forest.weight.tolist(), strict=True)
    edge_of = {child: (parent, weight) for parent, child, weight in edges}
    branches: dict[int, list[tuple[int, float, int]]] = {}
    for feature in np.argsort(density, kind="stable").tolist():  # children come before their parents
        below = sorted(branches.pop(feature, []))
        while 1 + sum(size for size, _, _ in below) > MAX_FEATURES:
            parents[below.pop()[2]] = None
        if feature in edge_of:
            parent, weight = edge_of[feature]
            parents[feature] = parent
            size = 1 + sum(size for size, _, _ in below)
            branches.setdefault(parent, []).append((size, -weight, feature))
    return parents


def family_label(tree: Tree, labels: Sequence[FeatureLabel], density: IntArray) -> str:
    """Return ``term: term, term, term``: terms of trusted labels whose words occur in most features' labels.

    Among equals the terms of the densest feature come first: the root, where no word recurs. No word is
    named twice. A tree of given concepts has their names, the root's first.
    """
    root, *others = tree
    if any(labels[feature].broader == tree[feature] for feature in others):
        below = sorted(others, key=lambda feature: -density[feature])[:NAMED]
        return f"{labels[root].text}: {', '.join(labels[feature].text for feature in below)}"
    trusted = [feature for feature in tree if not labels[feature].is_weak] or list(tree)
    texts = [labels[feature].text for feature in sorted(trusted, key=lambda feature: -density[feature])]
    votes = Counter(stem for text in texts for stem in stems(text))
    terms = [term.strip() for text in texts for term in text.split(",") if term.strip()]
    named: list[str] = []
    for term in sorted(terms, key=lambda term: -min(votes[stem] for stem in stems(term))):
        if all(stems(term).isdisjoint(stems(other)) for other in named[: 1 + NAMED]):
            named.append(term)
    return f"{named[0]}: {', '.join(named[1 : 1 + NAMED])}" if named[1:] else named[0]


def is_weak_family(family: Family, labels: Sequence[FeatureLabel]) -> bool:
    """Return whether a family's name comes from weak labels: none of its features has a trusted label."""
    return all(labels[feature].is_weak for feature in family.features)


def save_families(families: Sequence[Family], path: Path) -> None:
    """Write the families as JSON, one per line."""
    lines = ",\n".join(json.dumps(asdict(family)) for family in families)
    path.write_text(f"[\n{lines}\n]\n")


def load_families(path: Path, n_features: int) -> tuple[Family, ...]:
    """Read a file written by :func:`save_families`; return () if there is none, as in early spaces.

    The format's version is that of the space. Raises ValueError or KeyError for invalid families.
    """
    from pydantic import TypeAdapter

    if not path.is_file():
        return ()
    families = TypeAdapter(tuple[Family, ...]).validate_json(path.read_bytes(), strict=True)
    all_features = set(range(n_features))
    for position, family in enumerate(families):
        known = all_features.intersection(family.features)
        if family.id != position or len(known) != family.size or family.depths.count(0) != 1:
            raise ValueError(f"families.json: entry {position} is not a tree of the space's features")
    return families
