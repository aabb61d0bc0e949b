"""Families of the default space: found in one half of the mixture's records, evaluated on the other."""

from __future__ import annotations

import random
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import false_discovery_control

from benchmarks import mixture
from benchmarks.outcome import Figure, Outcome, at_least, at_most
from saeindex import FeatureSpace, open_encoder
from saeindex.config import DEFAULT_SPACE
from saeindex.features.families import (
    FALSE_DISCOVERIES,
    MIN_SHARE,
    Cooccurrence,
    Edges,
    Family,
    candidate_edges,
    find_families,
    single_parents,
    spanning_forest,
)
from saeindex.types import SparseCode

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.types import FloatArray

    Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]

SEED = 0
SHOWN = 20


def run(quick: bool) -> Outcome:
    """Measure; ``quick`` uses a tenth of the records."""
    space = FeatureSpace.load(DEFAULT_SPACE)
    build, unseen = halves(space, 20_000 if quick else None)
    found = find_families(build, space.labels)
    train, test = Cooccurrence.measure(build), Cooccurrence.measure(unseen)
    outcome = Outcome("families", quick, SEED)
    outcome.figures.update(edge_figures(found, train, test))
    outcome.figures.update(size_figures(found, space))
    outcome.figures.update(coherence_figures(found, test, space))
    tested, significant = pairs_in_random_codes(build.take(np.arange(2_000 if quick else 20_000)))
    outcome.figures["significant_pairs_in_random_codes"] = at_most(significant, 0, "pairs", tested)
    outcome.tables["weights"] = weights_table(train, test, space)
    outcome.tables["largest"] = [outline(family, space) for family in found[:SHOWN]]
    return outcome


def halves(space: FeatureSpace, limit: int | None) -> tuple[SparseCode, SparseCode]:
    """Return the codes of two random halves of the mixture.

    Only one view of each text is used, because a split could separate two views.
    """
    corpus = mixture.load()
    x = corpus.embed(open_encoder())
    _, first = np.unique(corpus.groups, return_index=True)
    order = np.random.default_rng(SEED).permutation(first)[:limit]
    build, unseen = np.array_split(order, 2)
    return space.sae.encode(x[build]), space.sae.encode(x[unseen])


def edge_figures(found: tuple[Family, ...], train: Cooccurrence, test: Cooccurrence) -> dict[str, Figure]:
    """Return the share of the edges that is significant on held-out records."""
    parent, child = edges_of(found)
    degrees = test.degrees
    return {
        "edges_significant_share": at_least(
            significant_share(test, parent, child), 0.8, "share", len(parent)
        ),
        "parents_denser_share": at_least(
            float((train.degrees[parent] > train.degrees[child]).mean()), 1.0, "share", len(parent)
        ),
        "parents_denser_held_out_share": Figure(
            float((degrees[parent] > degrees[child]).mean()), "share", n=len(parent)
        ),
    }


def edges_of(families: tuple[Family, ...]) -> Pairs:
    """Return parents (m,) and children (m,) of all different edges."""
    edges = {(p, c) for f in families for c, p in zip(f.features, f.parents, strict=True) if p is not None}
    parent, child = np.array(sorted(edges)).T
    return parent, child


def significant_share(together: Cooccurrence, parent: NDArray[np.int64], child: NDArray[np.int64]) -> float:
    """Return the share of edges that are significant at 5 % over these edges alone."""
    q = false_discovery_control(together.p_values(parent, child))
    return float((q <= FALSE_DISCOVERIES).mean())


def size_figures(found: tuple[Family, ...], space: FeatureSpace) -> dict[str, Figure]:
    """Return how many families there are, how large, and how many features they cover."""
    sizes = [family.size for family in found]
    covered = len({feature for family in found for feature in family.features})
    return {
        "families": Figure(len(found), "families"),
        "features_in_families_share": Figure(covered / space.n_features, "share", n=space.n_features),
        "size_median": Figure(float(np.median(sizes)), "features", n=len(found)),
        "size_largest": Figure(max(sizes), "features", n=len(found)),
        "depth_largest": Figure(max(max(family.depths) for family in found), "steps", n=len(found)),
    }


def coherence_figures(
    found: tuple[Family, ...], test: Cooccurrence, space: FeatureSpace
) -> dict[str, Figure]:
    """Return how similar a family's features are, compared with random families of the same sizes.

    NPMI is that of a tree's edges in held-out records, the cosines are those of all its pairs; labels and
    directions are not used to find families.
    """
    live = np.flatnonzero(test.degrees)
    rng = np.random.default_rng(SEED)
    ours = [np.array(family.features) for family in found]
    at_random = [rng.choice(live, family.size, replace=False) for family in found]
    figures = {}
    for name, groups in (("", ours), ("_random", at_random)):
        figures[f"coherence_held_out{name}"] = np.mean(
            [edge_npmi(test, family, group) for family, group in zip(found, groups, strict=True)]
        )
        figures[f"label_cosine{name}"] = np.mean([pair_cosine(space.label_vectors, g) for g in groups])
        figures[f"direction_cosine{name}"] = np.mean([pair_cosine(space.sae.directions, g) for g in groups])
    return {name: Figure(float(value), "mean", n=len(found)) for name, value in figures.items()}


def edge_npmi(together: Cooccurrence, family: Family, group: NDArray[np.int64]) -> float:
    """Return the mean NPMI of the edges of a tree of the family's shape over the features of ``group``."""
    place = {feature: position for position, feature in enumerate(family.features)}
    parents = [place[parent] for parent in family.parents if parent is not None]
    return float(together.npmi(group[parents], group[1:]).mean())


def pair_cosine(vectors: FloatArray, group: NDArray[np.int64]) -> float:
    """Return the mean cosine of all pairs of rows."""
    first, second = np.array(list(combinations(group.tolist(), 2))).T
    return float(np.einsum("md,md->m", vectors[first], vectors[second]).mean())


def weights_table(train: Cooccurrence, test: Cooccurrence, space: FeatureSpace) -> dict[str, dict[str, Any]]:
    """Return statistics of the forest of the first round, with our edges and with saerch's."""
    table = {}
    for name, edges in (("ours", candidate_edges(train)), ("saerch", saerch_edges(train))):
        forest = single_parents(spanning_forest(edges, space.n_features))
        cosines = np.einsum("md,md->m", space.label_vectors[forest.parent], space.label_vectors[forest.child])
        table[name] = {
            "edges": len(forest.parent),
            "significant_held_out": significant_share(test, forest.parent, forest.child),
            "most_children": int(np.bincount(forest.parent).max()),
            "largest_tree": int(largest_tree(forest, space.n_features)),
            "label_cosine_of_edges": float(cosines.mean()),
        }
    return table


def saerch_edges(together: Cooccurrence) -> Edges:
    """Return saerch's edges: weight P(parent | child), at least 0.1, without a test against chance."""
    live = np.flatnonzero(together.degrees)
    i, j = (live[side] for side in np.triu_indices(len(live), 1))
    degrees = together.degrees
    parent = np.where(degrees[i] >= degrees[j], i, j)
    child = i + j - parent
    share = together.counts[parent, child] / degrees[child]
    return Edges(parent, child, share).take(share >= MIN_SHARE)


def largest_tree(forest: Edges, n_features: int) -> int:
    """Return the number of features of the largest tree, before any is cut."""
    root = np.arange(n_features)
    root[forest.child] = forest.parent
    while (root != root[root]).any():
        root = root[root]
    return int(np.bincount(root).max())


def pairs_in_random_codes(code: SparseCode) -> tuple[int, int]:
    """Return how many pairs were tested in randomised codes, and how many were significant."""
    together = Cooccurrence.measure(curveball(code, 5 * len(code), SEED))
    live = np.flatnonzero(together.degrees)
    i, j = (live[side] for side in np.triu_indices(len(live), 1))
    q = false_discovery_control(together.p_values(i, j))
    return len(q), int((q <= FALSE_DISCOVERIES).sum())


def curveball(code: SparseCode, trades: int, seed: int) -> SparseCode:
    """Return random codes with every feature's number of records and every record's number of features.

    Two records at a time trade what only one of them has (Strona et al. 2014, Nature Communications 5:4114).
    """
    rng = random.Random(seed)
    rows = [set(indices.tolist()) for indices, _ in code.rows()]
    for _ in range(trades):
        a, b = rng.sample(range(len(rows)), 2)
        shared = rows[a] & rows[b]
        pool = sorted(rows[a] ^ rows[b])
        rng.shuffle(pool)
        cut = len(rows[a]) - len(shared)
        rows[a], rows[b] = shared.union(pool[:cut]), shared.union(pool[cut:])
    indices = np.concatenate([np.array(sorted(row), np.int32) for row in rows])
    return SparseCode(code.indptr, indices, np.ones(len(indices), np.float32), code.n_features)


def outline(family: Family, space: FeatureSpace) -> dict[str, Any]:
    """Return a family with its tree as text, indented by depth."""
    members = zip(family.depths, family.features, strict=True)
    tree = [f"{'  ' * depth}{space.labels[feature].text}" for depth, feature in members]
    return {"label": family.label, "size": family.size, "coherence": family.coherence, "tree": tree}
