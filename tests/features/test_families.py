"""Families compared with brute force, networkx, explicit randomisation, and planted families."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from benchmarks.suites.families import curveball
from saeindex.features import FeatureLabel
from saeindex.features import families as module
from saeindex.features.families import (
    Cooccurrence,
    Edges,
    candidate_edges,
    find_families,
    grow_trees,
    single_parents,
    spanning_forest,
)
from saeindex.types import SparseCode

seeds = st.integers(0, 10**6)
NOUNS = ["apple", "bread", "cloud", "dog", "engine", "forest", "galaxy", "house", "island", "jungle"]


def sparse(is_active: NDArray[np.bool_]) -> SparseCode:
    """Return a dense matrix (m, n) as a sparse code."""
    rows, indices = np.nonzero(is_active)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(is_active)))]).astype(np.int64)
    return SparseCode(indptr, indices.astype(np.int32), np.ones(len(indices), np.float32), is_active.shape[1])


def background(rng: np.random.Generator, records: int, features: int) -> NDArray[np.bool_]:
    """Return independent features of very different densities."""
    return rng.random((records, features)) < rng.uniform(0.01, 0.15, features)


def planted(
    seed: int = 0, records: int = 6_000, features: int = 60
) -> tuple[NDArray[np.bool_], list[set[int]]]:
    """Return codes with three families of five: a root, two children, and two below the first of them."""
    rng = np.random.default_rng(seed)
    z = background(rng, records, features)
    ids = rng.permutation(features)[:15].reshape(3, 5)
    for root, a, b, aa, ab in ids:
        z[:, [root, a, b, aa, ab]] = False
        z[:, root] = rng.random(records) < 0.2
        z[:, a] = z[:, root] & (rng.random(records) < 0.5)
        z[:, b] = z[:, root] & (rng.random(records) < 0.3)
        z[:, aa] = z[:, a] & (rng.random(records) < 0.4)
        z[:, ab] = z[:, a] & (rng.random(records) < 0.2)
    return z, [set(family.tolist()) for family in ids]


def named(count: int) -> list[FeatureLabel]:
    return [FeatureLabel(f"{NOUNS[i % 10]}{i}, more", trust=0.9) for i in range(count)]


def random_edges(seed: int, features: int = 14, share: float = 0.4) -> tuple[Edges, NDArray[np.int32]]:
    """Return edges of distinct weights from denser to sparser, and the densities, all different."""
    rng = np.random.default_rng(seed)
    density = rng.permutation(np.arange(1, features + 1)).astype(np.int32)
    pairs = [pair for pair in combinations(range(features), 2) if rng.random() < share]
    pairs = [(i, j) if density[i] > density[j] else (j, i) for i, j in pairs]
    parent, child = np.array(pairs, np.int64).reshape(-1, 2).T
    return Edges(parent, child, rng.permutation(len(pairs)) / max(1, len(pairs))), density


def as_set(edges: Edges) -> set[tuple[int, int]]:
    return set(zip(edges.parent.tolist(), edges.child.tolist(), strict=True))


# Co-occurrence and its null ------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(seed=seeds)
def test_counts_equal_those_of_a_loop_over_records(seed: int) -> None:
    z = background(np.random.default_rng(seed), 80, 12)
    together = Cooccurrence.measure(sparse(z))
    for i in range(12):
        for j in range(12):
            assert together.counts[i, j] == sum(bool(row[i] and row[j]) for row in z)
    np.testing.assert_array_equal(together.degrees, z.sum(0))


def test_the_block_size_does_not_change_the_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    code = sparse(background(np.random.default_rng(1), 300, 50))
    whole = Cooccurrence.measure(code)
    monkeypatch.setattr(module, "BLOCK", 7)
    np.testing.assert_array_equal(Cooccurrence.measure(code).counts, whole.counts)


def test_the_null_distribution_agrees_with_curveball_randomisation() -> None:
    """The mean count of all pairs to 1e-9, of each within 15 %; tails no heavier than expected."""
    rng = np.random.default_rng(2)
    z, _ = planted(2, records=600, features=24)
    code = sparse(z | (rng.random(z.shape) < 0.1))
    together = Cooccurrence.measure(code)
    i, j = np.triu_indices(24, 1)
    draws = np.array([Cooccurrence.measure(curveball(code, 3_000, seed)).counts[i, j] for seed in range(60)])
    randomised = curveball(code, 3_000, 0)
    np.testing.assert_array_equal(np.diff(randomised.indptr), np.diff(code.indptr))
    np.testing.assert_array_equal(Cooccurrence.measure(randomised).degrees, together.degrees)
    expected = together.expected(i, j)
    assert draws.mean() == pytest.approx(expected.mean(), rel=1e-9)
    enough = expected > 10
    np.testing.assert_allclose(draws.mean(0)[enough], expected[enough], rtol=0.15)
    p = np.array([replace(together, counts=_symmetric(draw, together)).p_values(i, j) for draw in draws])
    for level in (0.01, 0.05, 0.2):
        assert (p <= level).mean() <= 1.1 * level


def _symmetric(counts: NDArray[np.int32], together: Cooccurrence) -> NDArray[np.int32]:
    full = np.diag(together.degrees)
    i, j = np.triu_indices(len(full), 1)
    full[i, j] = full[j, i] = counts
    return full


@settings(max_examples=20, deadline=None)
@given(seed=seeds)
def test_p_values_are_the_poisson_tail(seed: int) -> None:
    together = Cooccurrence.measure(sparse(background(np.random.default_rng(seed), 200, 8)))
    i, j = np.triu_indices(8, 1)
    expected, p = together.expected(i, j), together.p_values(i, j)
    for mean, count, found in zip(expected, together.counts[i, j], p, strict=True):
        below = sum(np.exp(-mean) * mean**c / np.prod(np.arange(1, c + 1, dtype=float)) for c in range(count))
        assert found == pytest.approx(1 - below, abs=1e-9)


def test_codes_without_structure_have_no_edges() -> None:
    for seed in range(5):
        z, _ = planted(seed, records=1_500, features=40)
        assert len(candidate_edges(Cooccurrence.measure(sparse(z))).parent) >= 9
        randomised = Cooccurrence.measure(curveball(sparse(z), 8_000, seed))
        assert len(candidate_edges(randomised).parent) == 0


def test_npmi_is_1_for_inseparable_and_minus_1_for_exclusive_features() -> None:
    z = np.zeros((1_000, 14), bool)
    z[:50, :2] = True
    z[50:100, 2] = True
    z[np.arange(1_000), 4 + np.arange(1_000) % 10] = True
    together = Cooccurrence.measure(sparse(z))
    npmi = together.npmi(np.array([0, 0, 0]), np.array([1, 2, 4]))
    assert npmi[0] == pytest.approx(1.0)
    assert npmi[1] == -1.0
    expected = np.log(5 / (together.chance * 50 * 100)) / -np.log(5 / 1_000)
    assert npmi[2] == pytest.approx(expected)


# Forest and trees ----------------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(seed=seeds, share=st.floats(0.05, 1))
def test_the_forest_equals_that_of_networkx(seed: int, share: float) -> None:
    edges, density = random_edges(seed, share=share)
    graph = nx.Graph()
    graph.add_weighted_edges_from(zip(edges.parent, edges.child, edges.weight, strict=True))
    expected = {frozenset(edge) for edge in nx.maximum_spanning_tree(graph).edges}
    forest = spanning_forest(edges, len(density))
    assert {frozenset(edge) for edge in as_set(forest)} == expected
    assert forest.weight.tolist() == sorted(forest.weight, reverse=True)


def test_weights_may_be_zero_or_negative_and_ties_are_broken_by_feature_id() -> None:
    for weight in (0.0, 0.3, -1.0):
        edges = Edges(np.array([3, 3, 1]), np.array([0, 1, 0]), np.full(3, weight))
        for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
            forest = spanning_forest(edges.take(np.array(order)), 4)
            assert as_set(forest) == {(1, 0), (3, 0)}


@settings(max_examples=100, deadline=None)
@given(seed=seeds, most=st.integers(3, 8))
def test_trees_are_disjoint_acyclic_bounded_and_have_general_parents(seed: int, most: int) -> None:
    edges, density = random_edges(seed, features=20)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MAX_FEATURES", most)
        trees = grow_trees(edges, density)
    members = [feature for tree in trees for feature in tree]
    assert len(members) == len(set(members))
    for tree in trees:
        assert 3 <= len(tree) <= most
        root, *others = tree
        assert tree[root] is None
        graph = nx.DiGraph([(tree[feature], feature) for feature in others])
        assert nx.is_arborescence(graph)
        assert all(density[parent] > density[feature] for parent, feature in graph.edges)
        assert {(p, c) for p, c in graph.edges} <= as_set(edges)


@settings(max_examples=50, deadline=None)
@given(seed=seeds)
def test_trees_do_not_depend_on_order_or_numbering(seed: int) -> None:
    edges, density = random_edges(seed, features=18)
    rng = np.random.default_rng(seed)
    trees = {frozenset(tree.items()) for tree in grow_trees(edges, density)}
    shuffled = edges.take(rng.permutation(len(edges.parent)))
    assert {frozenset(tree.items()) for tree in grow_trees(shuffled, density)} == trees
    new = rng.permutation(18)
    renumbered = np.empty_like(density)
    renumbered[new] = density
    moved = grow_trees(Edges(new[edges.parent], new[edges.child], edges.weight), renumbered)
    old = {int(number): feature for feature, number in enumerate(new)} | {None: None}
    assert {frozenset((old[f], old[p]) for f, p in tree.items()) for tree in moved} == trees


def test_a_feature_keeps_its_strongest_parent() -> None:
    edges = Edges(np.array([0, 1, 0]), np.array([2, 2, 3]), np.array([0.5, 0.9, 0.7]))
    assert as_set(single_parents(spanning_forest(edges, 4))) == {(1, 2), (0, 3)}


# Families ------------------------------------------------------------------------------------------------


def test_planted_families_are_found_with_their_trees() -> None:
    for seed in range(5):
        z, truth = planted(seed)
        found = find_families(sparse(z), named(60))
        whole = [set(family.features) for family in found if family.size == 5]
        assert sorted(map(sorted, whole)) == sorted(map(sorted, truth))
        density = z.sum(0)
        for family in found:
            assert max(density[list(family.features)]) == density[family.features[0]]
            assert any(set(family.features) <= planted_one for planted_one in truth)
            any_active = z[:, list(family.features)].any(1).mean()
            assert family.density == pytest.approx(any_active, abs=1e-6)
            assert 0.25 <= family.coherence <= 1


def test_families_do_not_depend_on_the_order_of_records() -> None:
    z, _ = planted(3)
    shuffled = z[np.random.default_rng(0).permutation(len(z))]
    assert find_families(sparse(z), named(60)) == find_families(sparse(shuffled), named(60))


def test_later_rounds_continue_below_the_roots_and_repeat_no_family() -> None:
    z, _ = planted(4, features=40)
    rng = np.random.default_rng(9)
    for parent in np.argsort(-z.sum(0))[:3]:
        for child in range(34, 40):
            z[:, child] |= z[:, parent] & (rng.random(len(z)) < 0.1)
    found = find_families(sparse(z), named(40))
    assert [family.id for family in found] == list(range(len(found)))
    assert [family.size for family in found] == sorted((f.size for f in found), reverse=True)
    for one, other in combinations(found, 2):
        shared = len(set(one.features) & set(other.features))
        assert shared / (one.size + other.size - shared) < 0.6


def test_empty_codes_have_no_families() -> None:
    for z in (np.zeros((0, 5), bool), np.zeros((9, 5), bool), np.eye(5, dtype=bool), np.ones((9, 1), bool)):
        assert find_families(sparse(z), named(z.shape[1])) == ()


def test_a_given_hierarchy_makes_the_families_of_its_concepts() -> None:
    z, _ = planted(0)
    above = {1: 0, 2: 0, 3: 1, 5: 4} | dict.fromkeys(range(11, 50), 10) | {50: 11, 51: 11}
    labels = [replace(label, broader=above.get(i)) for i, label in enumerate(named(60))]
    found = find_families(sparse(z), labels)
    given = {family.features[0]: family for family in found if family.features[0] in {0, 4, 10, 11}}
    assert set(given[0].features) == {0, 1, 2, 3}
    assert given[0].depths[given[0].features.index(3)] == 2
    assert given[0].parents[given[0].features.index(3)] == 1
    assert given[0].label.startswith(f"{labels[0].text}: ")
    assert given[10].size == module.MAX_FEATURES  # of 42: the root and what is directly below it
    assert set(given[10].depths) == {0, 1}
    assert set(given[11].features) == {11, 50, 51}
    assert 4 not in given or given[4].size >= module.MIN_FEATURES
    assert [family.id for family in found] == list(range(len(found)))
    circle = [replace(label, broader={0: 1, 1: 0}.get(i)) for i, label in enumerate(named(60))]
    assert module.given_trees(circle, np.ones(60, np.int32)) == []


def test_a_family_label_prefers_trusted_words_then_the_root_then_dense_members() -> None:
    tree: module.Tree = {0: None, 1: 0, 2: 0, 3: 0, 4: 3, 5: 3}
    density = np.array([90, 80, 70, 60, 10, 50], np.int32)
    texts = ["sky, night", "dwarf", "galaxy, halo", "dust", "spiral galaxies", "redshift"]
    labels = [FeatureLabel(text, trust=0.9) for text in texts]
    assert module.family_label(tree, labels, density) == "galaxy: sky, night, dwarf"
    labels[2] = FeatureLabel("galaxy, halo", trust=0.4)
    assert module.family_label(tree, labels, density) == "sky: night, dwarf, dust"
    weak = [FeatureLabel("unclear") for _ in texts]
    assert module.family_label(tree, weak, density) == "unclear"
