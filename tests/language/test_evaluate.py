"""The clauses of an expression that a record satisfies, and the features that match."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings

from saeindex import FeatureIndex
from saeindex.config import LEVEL_STRIDE
from saeindex.language.ast import Expression, FeatureTerm, Not, TextTerm
from saeindex.language.evaluate import Clause, clauses, condition_holds, matched_clauses, matches, predicate
from saeindex.language.parser import parse_where
from saeindex.language.to_filter import compile_where
from saeindex.language.to_text import to_text
from tests.language.random_expressions import expressions
from tests.samples import all_points

# A record with feature 1 present, feature 2 strong; "music" means features 2 and 5, everything else 9.
PAYLOAD: dict[str, Any] = {
    "record_id": "doc-1",
    "concepts": [4, 8, 9, 10],
    "metadata": {
        "year": 2015,
        "tags": ["a", "b"],
        "day": "2015-03-01T10:00:00Z",
        "empty": [],
        "null": [None],
    },
}


def features_of(node: TextTerm) -> Sequence[int]:
    if isinstance(node, FeatureTerm):
        return [node.feature]
    return [2, 5, 2] if to_text(node).endswith('"music"') or 'strong("music")' in to_text(node) else [9]


def matched(text: str, level: Any = None) -> list[Clause]:
    return matched_clauses(parse_where(text), PAYLOAD, features_of, level)


def test_each_leaf_is_a_clause_with_its_matching_features() -> None:
    text = (
        '(#1 OR strong(#1)) AND "music" AND metadata.year >= 2010 AND AT LEAST 1 OF (EXISTS(metadata.x), #3)'
    )
    assert matched(text) == [
        Clause("#1", True, (1,)),
        Clause("strong(#1)", False),
        Clause('"music"', True, (2,)),
        Clause("metadata.year >= 2010", True),
        Clause("EXISTS(metadata.x)", False),
        Clause("#3", False),
    ]


def test_a_leaf_under_not_is_negated_and_under_two_nots_is_not() -> None:
    text = 'NOT (#1 AND NOT metadata.year = 2015) AND NOT metadata.tags IN ("c") AND NOT "music"'
    assert matched(text) == [
        Clause("NOT #1", False, (1,)),
        Clause("metadata.year = 2015", True),
        Clause('metadata.tags NOT IN ("c")', True),
        Clause('NOT "music"', False, (2,)),
    ]


def test_a_repeated_clause_is_listed_once() -> None:
    assert [clause.text for clause in matched("#1 AND #2 OR #1 AND NOT #1")] == ["#1", "#2", "NOT #1"]
    assert clauses(parse_where("NOT #1")) == (Not(part=FeatureTerm(feature=1)),)


def test_bare_concepts_have_the_level_of_the_query() -> None:
    assert [clause.matched for clause in matched("#1 AND #2 AND present(#1)", "strong")] == [
        False,
        True,
        True,
    ]


@pytest.mark.parametrize(
    ("text", "is_match"),
    [
        ('metadata.tags = "a"', True),
        ('metadata.tags != "a"', False),
        ('metadata.nowhere != "a"', True),
        ("metadata.year = 2015.0", True),
        ("metadata.year = 2015 AND metadata.year < 2015.5", True),
        ('metadata.year IN (true, "2015")', False),
        ("metadata.day = 2015-03-01 AND metadata.day <= 2015-03-01", True),
        ("metadata.day > 2015-03-01 OR metadata.day < 2015-03-01", False),
        ("metadata.day BETWEEN 2015-03-01T11:00+01:00 AND 2015-03-01", True),
        ("metadata.year > 2010-01-01 OR metadata.day > 3", False),
        ("EXISTS(metadata.empty) OR EXISTS(metadata.year.x)", False),
        ("EXISTS(metadata.null) AND EXISTS(metadata.tags)", True),
        ('record_id = "doc-1"', True),
        ("AT LEAST 2 OF (#1, #3, #2)", True),
        ("AT LEAST 3 OF (#1, #3, #2)", False),
    ],
)
def test_an_expression_is_evaluated_on_one_record(text: str, is_match: bool) -> None:
    assert matches(parse_where(text), PAYLOAD, features_of) is is_match
    assert matches(Not(part=parse_where(text)), PAYLOAD, features_of) is not is_match


@settings(max_examples=150, deadline=None)
@given(expressions)
def test_any_expression_can_be_evaluated_on_any_payload(expression: Expression) -> None:
    for payload in ({}, PAYLOAD):
        listed = matched_clauses(expression, payload, features_of)
        assert listed
        assert all(clause.text for clause in listed)
        assert isinstance(matches(expression, payload, features_of), bool)


def test_a_store_finds_the_matching_records(any_papers: FeatureIndex) -> None:
    points = all_points(any_papers)
    active = [code // LEVEL_STRIDE for code in points[0].payload["concepts"]]
    text = f"typical(#{active[0]}) OR AT LEAST 2 OF (#{active[0]}, #{active[-1]}, metadata.year > 2000)"
    wanted = {
        point.payload["record_id"]
        for point in points
        if matches(parse_where(text), point.payload, features_of)
    }
    assert {hit.id for hit in any_papers.search("a note", where=text, limit=len(points))} == wanted
    assert 0 < len(wanted) < len(points)


@pytest.mark.parametrize(
    "text", ['metadata.x IN (1, "a", true)', "metadata.x IN (1, 2.5)", "metadata.x >= 1", 'metadata.x != "a"']
)
def test_lists_of_values_are_evaluated_like_single_values(text: str) -> None:
    node: Any = parse_where(text)
    values: list[Any] = [1, True, 1.0, 2.5, "a", "1", None, [], ["b", "a"], [1, 7], {"a": 1}, [[1]], [{}]]
    for found in values:
        assert predicate(node)(found) == condition_holds(node, found)


@pytest.mark.parametrize(
    ("hours", "where", "is_true"),
    [
        (1, "metadata.t > now - 2h", True), (3, "metadata.t > now - 2h", False),
        (-1, "metadata.t > now", True), (0, "metadata.t = today OR metadata.t = today + 1d", True),
        (24 * 8, "metadata.t >= today - 1w", False), (0.1, "metadata.t < now - 15min", False),
        (24 * 6, "metadata.t BETWEEN today - 7d AND now", True),
    ],
)  # fmt: skip
def test_dates_go_with_the_clock(hours: float, where: str, is_true: bool) -> None:
    moment = dt.datetime.now(dt.UTC) - dt.timedelta(hours=hours)
    payload = {"metadata": {"t": moment.isoformat()}}
    assert matches(parse_where(where), payload, features_of) == is_true
    bound = compile_where(parse_where("metadata.t > now - 2h"), features_of)
    assert bound is not None and str(moment.year) in bound.model_dump_json()
