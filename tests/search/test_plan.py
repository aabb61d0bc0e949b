"""A plan: its tree, its JSON, its warnings, its choices, and their analysis."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from saeindex import FeatureIndex, Query
from saeindex.errors import InvalidInputError
from saeindex.operations.search import searcher_of
from saeindex.search.plan import Choices, Estimate, Plan, choose
from saeindex.stores.tracing import watched
from tests.samples import prepared

WHERE = "NOT #5 AND metadata.year >= 2000"


def lines(plan: object) -> list[str]:
    return str(plan).splitlines()


def chosen(query: Query, points: float, total: int, has_graph: bool = False, **others: Any) -> Choices:
    estimate = Estimate(points, points, points, "")
    return choose(query, estimate, total, has_graph, False, False, not has_graph, **others)


# Text and JSON --------------------------------------------------------------------------------------------


def test_a_plan_prints_as_a_tree_from_the_filter_to_the_page(papers: FeatureIndex) -> None:
    plan = papers.plan("spiral galaxies", using="dense", where=WHERE, steer="+#7:0.5", limit=5, offset=10)
    count = papers.count(WHERE)
    heads = [line.partition(":")[0] for line in lines(plan)]
    assert lines(plan)[0] == "Search 'dense' for 'spiral galaxies', limit 5, offset 10"
    assert lines(plan)[1].startswith(f"  Filter: {count} of 240 points match, {count / 240:.1%} [")
    assert lines(plan)[2] == "    NOT #5 AND metadata.year >= 2000"
    order = ["  Filter", "  Drift", "  Scan exactly", "  Filter within the scan", "  Page", "    1 request"]
    assert [head for head in heads if head in order] == order
    assert lines(plan)[-1] == "    1 request: search dense"


def test_a_fused_plan_lists_what_it_prefetches(papers: FeatureIndex) -> None:
    text = str(papers.plan("spiral galaxies", using="fused", diversity=0.3))
    scored = "  Score the first 512 by dense and the first 512 by words: 1 dense + 0.5 sentences + "
    places = [text.index(f"\n{line}") for line in (scored, "  Diversify by")]
    assert places == sorted(places)
    assert (
        "search dense; search words; search sentences; get the codes of the first 500; get the page" in text
    )


def test_a_property_s_plan_shows_what_it_inferred_and_rescores(papers: FeatureIndex) -> None:
    plan = papers.plan(property="about food", group_by="metadata.topic")
    text = str(plan)
    assert "Inferred from 'about food'" in text
    assert (
        text.index("Prefetch sae") < text.index("Rescore up to 1,000") < text.index("Group by metadata.topic")
    )


def test_a_plan_without_a_filter_matches_everything_and_prints_no_filter(papers: FeatureIndex) -> None:
    plan = papers.plan("galaxies")
    assert (plan.matching, plan.estimate.points) == (240, 240)
    assert "Filter" not in str(plan)


@pytest.mark.parametrize(
    "query",
    [
        Query("galaxies", where=WHERE),
        Query(where=WHERE, offset=3),
        Query("galaxies", using="fused", explain=True, steer="-#5:1"),
        Query(property="about food", where="#5 OR #7"),
        Query("galaxies", group_by="metadata.topic", diversity=0.2),
    ],
)
def test_a_plan_and_its_analysis_are_json(papers: FeatureIndex, query: Query) -> None:
    plan = papers.plan(query)
    described = plan.to_json()
    assert json.loads(json.dumps(described, allow_nan=False)) == json.loads(json.dumps(described))
    assert described["estimated_points"]["points"] == plan.estimate.points
    assert (described["exact"], described["total_points"]) == (True, 240)
    assert described["requests"] == list(plan.requests)
    assert described["steps"]["kind"] == "search"
    analysis = papers.plan(query, analyze=True)
    again = Plan.from_json(json.loads(json.dumps(analysis.to_json(), allow_nan=False)))
    assert again.matching is not None and str(again) == str(analysis)


# Warnings -------------------------------------------------------------------------------------------------


def test_a_missing_field_is_reported_with_the_nearest_existing_one(papers: FeatureIndex) -> None:
    plan = papers.plan("galaxies", where="metadata.yaer >= 2000")
    assert plan.warnings[0] == "no record has metadata.yaer; did you mean metadata.year?"
    assert plan.warnings[1:] == ("no point matches",)
    assert f"Warning: {plan.warnings[0]}" in lines(plan)
    assert plan.to_json()["warnings"] == list(plan.warnings)
    assert papers.plan("galaxies", where="metadata.q >= 1").warnings[0] == "no record has metadata.q"


def test_a_filter_that_matches_nothing_gives_a_warning(papers: FeatureIndex) -> None:
    assert papers.plan("galaxies", where="metadata.year > 2100").warnings == ("no point matches",)
    assert not papers.plan("galaxies", where=WHERE).warnings


# Choices --------------------------------------------------------------------------------------------------


def test_a_graph_is_searched_only_if_it_exists_and_many_points_match() -> None:
    query = Query("galaxies", where="#1")
    assert chosen(query, 900_000, 1_000_000).exact.value
    assert not chosen(query, 900_000, 1_000_000, has_graph=True).exact.value
    assert chosen(query, 90_000, 1_000_000, has_graph=True).exact.value
    assert chosen(query, 90_000, 100_000, has_graph=True).exact.value
    sparse = Query("galaxies", using="sae")
    assert chosen(sparse, 900_000, 1_000_000, has_graph=True).exact.value


@pytest.mark.parametrize("exact", [True, False])
def test_exact_overrides_the_choice_if_there_is_a_graph(exact: bool) -> None:
    for points in (10, 900_000):
        found = chosen(Query("galaxies", exact=exact), points, 1_000_000, has_graph=True)
        assert found.exact.value is exact
        assert found.exact.why == "as requested"
    assert chosen(Query("galaxies", exact=exact), 10, 100).exact.value


def test_the_choice_reaches_the_engine_on_every_path(
    papers: FeatureIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    rows = type(papers.state.store)._rows  # type: ignore[attr-defined]

    def recorded(self: Any, search: Any) -> Any:
        asked.append(search.exact)
        return rows(self, search)

    monkeypatch.setattr(type(papers.state.store), "_rows", recorded)
    monkeypatch.setattr(type(papers.state.store), "has_graph", True)
    queries = [Query("galaxies"), Query("galaxies", using="dense"), Query(property="about food")]
    for query in queries:
        papers.plan(query)  # requests of the planner are not counted
        asked.clear()
        searcher_of(papers.state).executor.run(
            searcher_of(papers.state).prepare(replace(query, exact=False)), _deadline()
        )
        assert asked
        assert not any(asked)


def _deadline() -> Any:
    from saeindex.stores.tracing import Deadline

    return Deadline(None)


def test_a_value_of_exact_that_is_not_a_boolean_is_refused(papers: FeatureIndex) -> None:
    with pytest.raises(InvalidInputError, match="exact='yes'"):
        papers.plan("galaxies", exact="yes")  # type: ignore[call-overload]


def test_a_filter_that_matches_many_points_is_applied_after_the_scan() -> None:
    query = Query("galaxies", using="dense", where="NOT #1")
    assert chosen(query, 50_000, 100_000).after.value == 0.5
    assert chosen(query, 2_500, 100_000).after.value is None
    assert chosen(query, 2_500, 100_000, is_indexed=False).after.value == 0.025
    assert chosen(query, 500, 1_000).after.value is None
    assert chosen(query, 50_000, 100_000, has_graph=True).after.value is None
    assert chosen(Query("galaxies"), 100_000, 100_000).after.value is None


# Analysis -------------------------------------------------------------------------------------------------


def test_an_analysis_and_the_store_give_equal_counts(papers: FeatureIndex) -> None:
    analysis = papers.plan("galaxies", using="dense", where=WHERE, limit=7, analyze=True)
    stages = {stage.name: stage for stage in analysis.stages}
    assert analysis.matching == stages["filter, counted"].actual == papers.count(WHERE)
    assert stages["filter, counted"].ratio == pytest.approx(1.0)
    assert stages["search dense 8"].actual == 8
    assert (stages["hits"].expected, stages["hits"].actual) == (7, 7)
    assert f"{analysis.matching} of 240 points match" in str(analysis)
    assert all(stage.ms >= 0 for stage in analysis.stages)


def test_an_analysis_separates_candidates_rescored_and_returned_points(papers: FeatureIndex) -> None:
    analysis = papers.plan(property="about food", where="metadata.year >= 2000", limit=4, analyze=True)
    matching = papers.count("metadata.year >= 2000")
    named = {stage.name: stage for stage in analysis.stages}
    assert named["search dense 1,065"].actual == matching
    assert named["search dense 1,065"].expected == pytest.approx(matching)
    rescored = next(stage for stage in analysis.stages if stage.name.startswith("rescore"))
    assert rescored.actual == matching
    assert named["hits"].actual == 4


@pytest.mark.parametrize(
    "options",
    [
        {"where": WHERE},
        {"using": "fused"},
        {"using": "dense"},
        {"using": "sentences"},
        {"using": "words"},
        {"property": "about food"},
        {"diversity": 0.4},
        {"using": "fused", "diversity": 0.4},
        {"group_by": {"field": "metadata.topic", "size": 1}, "limit": 1},
        {"steer": "+#7:1", "explain": True},
    ],
)
def test_a_plan_names_the_requests_that_the_engine_gets(
    papers: FeatureIndex, options: dict[str, Any]
) -> None:
    plan = prepared(papers, "galaxies", **options)
    with watched() as notes:
        searcher_of(papers.state).executor.run(plan, _deadline())
    asked = [note.action for note in notes if note.action in {"search", "get", "scroll", "facet"}]
    assert asked == [request.partition(" ")[0] for request in plan.plan.requests]


def test_a_watcher_records_only_its_own_queries(papers: FeatureIndex) -> None:
    with watched() as outer:
        papers.search("galaxies")
        with watched() as inner:
            papers.search("galaxies")
    assert len(outer) == len(inner) > 0
    papers.search("galaxies")
    assert len(outer) == len(inner)
