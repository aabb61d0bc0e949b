"""Concept filters against brute force over what records say and over their codes, on every store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from qdrant_client.models import FieldCondition, Filter, HasIdCondition, MatchValue, Range

from saeindex import FeatureIndex, Query, Record
from saeindex.errors import InvalidInputError, UnknownConceptError
from tests.evidence_reference import present_in

# Local mode evaluates filters in Python, record by record.
EXPRESSIONS = {"EdgeStore": 100, "QdrantStore": 30}
Condition = Callable[[set[int]], bool]


@dataclass(frozen=True)
class Term:
    """A where text and the same condition on the features that a record has."""

    text: str
    holds: Condition


def atom(feature_sets: dict[str, set[int]], rng: np.random.Generator) -> Term:
    text = list(feature_sets)[int(rng.integers(len(feature_sets)))]
    wanted = feature_sets[text]
    return Term(text, lambda active: bool(wanted & active))


def expression(feature_sets: dict[str, set[int]], rng: np.random.Generator, depth: int) -> Term:
    """Return a random expression; parentheses are around every part that needs them, and some others."""
    kind = rng.integers(4) if depth else 0
    if kind == 0:
        return atom(feature_sets, rng)
    if kind == 1:
        part = expression(feature_sets, rng, depth - 1)
        return Term(f"NOT ({part.text})", lambda active: not part.holds(active))
    parts = [expression(feature_sets, rng, depth - 1) for _ in range(rng.integers(2, 5))]
    word, combine = ("AND", all) if kind == 2 else ("or", any)
    joined = f" {word} ".join(f"({part.text})" for part in parts)
    return Term(joined, lambda active: combine([part.holds(active) for part in parts]))


def random_filter(rng: np.random.Generator) -> tuple[Filter, Callable[[dict[str, object]], bool]]:
    """Return a metadata filter and the same condition in Python."""
    topic = ["astronomy", "medicine", "cooking", "music"][int(rng.integers(4))]
    year = int(rng.integers(1995, 2020))
    of_topic = FieldCondition(key="metadata.topic", match=MatchValue(value=topic))
    since = FieldCondition(key="metadata.year", range=Range(gte=year))
    if rng.random() < 0.5:
        return Filter(must=[since], must_not=[of_topic]), lambda m: m["year"] >= year and m["topic"] != topic
    return Filter(should=[since, of_topic]), lambda m: m["year"] >= year or m["topic"] == topic


@pytest.fixture(scope="module")
def present(papers_codes: dict[str, set[int]]) -> dict[str, set[int]]:
    """The features of each record, by id."""
    return {record_id: present_in(codes) for record_id, codes in papers_codes.items()}


@pytest.fixture(scope="module")
def feature_sets(papers: FeatureIndex, present: dict[str, set[int]]) -> dict[str, set[int]]:
    """Atoms of the where language, and the features of each."""
    frequency = Counter(feature for features in present.values() for feature in features)
    assert papers.space.evidence is not None
    named = set(papers.space.evidence.features.tolist())
    ordered = [feature for feature, _ in frequency.most_common()]
    common = [one for one in ordered if one in named][:40] + [one for one in ordered if one not in named][:20]
    atoms = {f"#{feature}": {feature} for feature in common}
    atoms["#0"] = {0}
    for feature in common:
        label = papers.space.labels[feature].text
        try:
            concept = papers.concepts.resolve(label)
        except UnknownConceptError:
            continue
        if concept.records is not None:
            continue
        atoms['"' + label.replace("\\", "\\\\").replace('"', '\\"') + '"'] = {m.id for m in concept.features}
    return atoms


def test_clauses_accept_ids_and_quoted_labels(feature_sets: dict[str, set[int]]) -> None:
    assert sum(text.startswith("#") for text in feature_sets) >= 30
    assert sum(text.startswith('"') for text in feature_sets) >= 10


def test_filters_select_exactly_the_brute_force_set(
    any_papers: FeatureIndex,
    feature_sets: dict[str, set[int]],
    present: dict[str, set[int]],
    records: list[Record],
) -> None:
    active, metadata = present, {record.id: dict(record.metadata) for record in records}
    rng = np.random.default_rng(5)
    sizes = []
    for number in range(EXPRESSIONS[type(any_papers.state.store).__name__]):
        term = expression(feature_sets, rng, depth=3)
        query_filter, holds = random_filter(rng) if number % 3 == 0 else (None, lambda _: True)
        expected = {key for key in active if term.holds(active[key]) and holds(metadata[key])}
        query = Query("anything at all", where=term.text, query_filter=query_filter, limit=len(active))
        found = [hit.id for hit in any_papers.search(query)]
        assert len(found) == len(set(found))
        assert set(found) == expected, term.text
        assert any_papers.count(term.text, query_filter) == len(expected)
        sizes.append(len(expected))
    assert len(set(sizes)) > 15, "the expressions should be neither all empty nor all full"


def test_a_plan_s_estimate_fits_the_matching_records(
    papers: FeatureIndex, feature_sets: dict[str, set[int]]
) -> None:
    text = next(iter(feature_sets))
    plan = papers.plan("anything", where=f"NOT {text}")
    assert plan.estimate.points == papers.count(f"NOT {text}") < plan.total == papers.count()
    assert f"{plan.estimate} of {plan.total:,}" in str(plan)
    assert plan.to_json()["matching_points"] is None


def test_a_feature_that_the_space_does_not_have_is_an_error(papers: FeatureIndex) -> None:
    with pytest.raises(UnknownConceptError, match=f"#0 to #{papers.space.n_features - 1}"):
        papers.count(f"#{papers.space.n_features}")


def test_excluded_records_are_no_hits_and_the_others_keep_their_order(papers: FeatureIndex) -> None:
    modes: list[dict[str, Any]] = [{}, {"where": "metadata.year > 1990"}, {"using": "sae"}]
    for options in modes:
        every = papers.search("copper", limit=50, explain=True, **options)
        seen = [every[0].id, every[3].id, "no such record"]
        rest = papers.search("copper", limit=48, explain=True, exclude=seen, **options)
        assert [hit.id for hit in rest] == [hit.id for hit in every if hit.id not in seen]
    first = papers.search("copper", limit=1)[0].id
    assert first not in [hit.id for hit in papers.search("copper", using="fused", exclude=[first])]
    assert papers.plan("copper", exclude=[first], analyze=True).matching == len(papers) - 1
    nothing = Filter(must=[HasIdCondition(has_id=[])])
    assert not papers.search("copper", exclude=[first], query_filter=nothing)
    with pytest.raises(InvalidInputError, match="Give a list"):
        papers.search("copper", exclude=first)
