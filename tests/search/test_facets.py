"""Concept facets compared with loops, and suggested exclusions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from saeindex import FeatureIndex
from saeindex.search.facets import FACET_RESULTS, MIN_Z, concept_facets, merged, result_set
from tests.evidence_reference import present_in

TEXT = "the senate election and tax reform"


@pytest.fixture(scope="module")
def present(papers_codes: dict[str, set[int]]) -> dict[str, set[int]]:
    """The features of each record, by id: named ones that it speaks of, and others that are active."""
    return {record_id: present_in(codes) for record_id, codes in papers_codes.items()}


@pytest.fixture(scope="module")
def named(papers: FeatureIndex) -> set[int]:
    """The features that have a name to show."""
    return set(np.flatnonzero(papers.space.is_named).tolist())


def brute_force(records: dict[str, set[int]], ids: list[str]) -> dict[int, tuple[int, float]]:
    """Return (count, z) by feature, one feature at a time."""
    found = {}
    for feature in set().union(*(records[i] for i in ids)):
        count = sum(feature in records[i] for i in ids)
        share = sum(feature in active for active in records.values()) / len(records)
        spread = np.sqrt(len(ids) * share * (1 - share) + 1)
        found[feature] = (count, float((count - len(ids) * share) / spread))
    return found


def test_facets_are_the_most_over_represented_concepts(
    any_papers: FeatureIndex, present: dict[str, set[int]], named: set[int]
) -> None:
    ids = [hit.id for hit in any_papers.search(TEXT, limit=FACET_RESULTS)]
    wanted = brute_force(present, ids)
    facets = any_papers.concepts.facets(TEXT, limit=500)
    assert len(facets) > 5
    for facet in facets:
        count, z = wanted[facet.features[0]]
        assert (facet.count, facet.share) == (count, count / FACET_RESULTS)
        assert facet.z == pytest.approx(z, abs=1e-5)
        assert facet.label == any_papers.space.labels[facet.features[0]].text
    listed = {feature for facet in facets for feature in facet.features}
    assert listed == {
        f for f, (count, z) in wanted.items() if z >= MIN_Z + 1e-9 and count >= 2 and f in named
    }
    strengths = [facet.z for facet in facets]
    assert strengths == sorted(strengths, reverse=True)
    assert any_papers.concepts.facets(TEXT, limit=3) == facets[:3]


def test_facets_of_a_selection_count_all_matching_records(
    any_papers: FeatureIndex, present: dict[str, set[int]], named: set[int]
) -> None:
    counts = np.bincount([feature for features in present.values() for feature in features & named])
    feature = int(np.argmin(np.abs(counts - 80)))
    matching = [i for i, features in present.items() if feature in features]
    assert len(matching) > FACET_RESULTS
    first = any_papers.concepts.facets(where=f"#{feature}")[0]
    assert (first.count, first.share, first.features[0]) == (len(matching), 1.0, feature)
    wanted = brute_force(present, matching)
    for facet in any_papers.concepts.facets(where=f"#{feature}", limit=100):
        assert facet.z == pytest.approx(wanted[facet.features[0]][1], abs=1e-5)


def test_features_with_the_same_records_are_one_facet() -> None:
    rows = np.zeros((10, 5), np.float32)
    rows[:9, 0], rows[:8, 1], rows[:5, 2], rows[5:, 3] = 1, 1, 1, 1  # 0 and 1 overlap by 8 / 9
    assert merged([0, 1, 2, 3], csr_matrix(rows)) == [(0, 1), (2,), (3,)]
    assert merged([2, 1, 0, 3], csr_matrix(rows)) == [(2,), (1, 0), (3,)]
    assert merged([], csr_matrix(rows)) == []


def test_an_empty_result_has_no_facets(papers: FeatureIndex) -> None:
    assert papers.concepts.facets(where="#7 AND NOT #7") == []
    assert papers.concepts.facets(TEXT, where="#7 AND NOT #7") == []
    nothing = result_set([], papers.space.n_features)
    counts = np.zeros(papers.space.n_features, np.int64)
    assert concept_facets(nothing, counts, 0, papers.space, 10) == []


def test_a_suggested_exclusion_removes_its_count_and_no_queried_concept(any_papers: FeatureIndex) -> None:
    hits = any_papers.search(TEXT, limit=FACET_RESULTS)
    code, _ = any_papers.space.sae.encode(any_papers.encoder.encode_query([TEXT])).row(0)
    suggestions = any_papers.concepts.exclusions(TEXT)
    assert 0 < len(suggestions) <= 10
    for suggestion in suggestions:
        kept = {hit.id for hit in any_papers.search(TEXT, where=suggestion.clause, limit=240)}
        assert sum(hit.id not in kept for hit in hits) == suggestion.removes
        assert 0.15 * len(hits) <= suggestion.removes <= 0.6 * len(hits)
        assert not set(suggestion.facet.features) & set(code.tolist())
        assert not suggestion.facet.is_weak
    assert any_papers.concepts.exclusions(TEXT, limit=1) == suggestions[:1]
