"""Errors of a where text: the column, the expected input, the suggestion; and the limits."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from saeindex.errors import InvalidInputError, QuerySyntaxError
from saeindex.language.ast import (
    MAX_DEPTH,
    MAX_NODES,
    MAX_VALUES,
    And,
    Compare,
    Expression,
    FeatureTerm,
    Not,
    OneOf,
    Or,
    Phrase,
)
from saeindex.language.evaluate import clauses
from saeindex.language.parser import MAX_CHARS, parse_steer, parse_where
from saeindex.language.to_filter import compile_where
from saeindex.language.to_text import to_text

A, B = FeatureTerm(feature=1), FeatureTerm(feature=2)


def refusal(where: Any) -> QuerySyntaxError:
    with pytest.raises(QuerySyntaxError) as caught:
        parse_where(where)
    return caught.value


@pytest.mark.parametrize(
    ("text", "column", "suggestion"),
    [
        ("#1 ADN #2", 4, "Did you mean AND?"),
        ("#1 Andd #2", 4, "Did you mean AND?"),
        ('strogn("x")', 1, "Did you mean strong?"),
        ('#1 AND tipical("x")', 8, "Did you mean typical?"),
        ('famly("x")', 1, "Did you mean family?"),
        ("exist(metadata.x)", 1, "Did you mean EXISTS?"),
        ("AT LEAT 1 OF (#1)", 4, "Did you mean LEAST?"),
        ("metadata.y BETWEN 1 AND 2", 12, "Did you mean BETWEEN?"),
        ("metadata.y = flase", 14, "Did you mean false?"),
        ("dark matter", 1, 'Quote the phrase: "dark matter".'),
        ('"a" AND dark matter AND "b"', 9, 'Quote the phrase: "dark matter".'),
        ("family(galaxies)", 8, 'Quote the phrase: "galaxies".'),
        ("metadata.a = hello", 14, 'Quote the phrase: "hello".'),
        ("year >= 2015", 1, "Did you mean metadata.year?"),
        ('Kind = "delivery"', 1, "Did you mean metadata.Kind?"),
        ('"a" AND Pick-up Station != "Old Mill"', 9, 'Did you mean metadata."Pick-up Station"?'),
        ("metadata.rating = four", 19, 'Quote the phrase: "four".'),
        ("metadata.d >= 01/15/2024", 17, "Write dates as 2015-03-01."),
        ("metadata.d >= 15.1.2024", 15, "Write dates as 2015-03-01."),
        ("#1 OR year IN (1, 2)", 7, "Did you mean metadata.year?"),
        ("Metadata.year > 2", 1, "Write metadata.name"),
        ("EXISTS(metadata)", 8, "Write metadata.name"),
        ("metadata. > 2", 1, "Write metadata.name"),
        ("#1 #2", 4, "Put AND or OR between."),
        ('"a" "b"', 5, "Put AND or OR between."),
        ('#1 AND "open', 8, "Close the quotation mark."),
        ("#1)", 3, "Remove the extra parenthesis."),
        ("metadata.year => 3", 16, "Did you mean >=?"),
        ("metadata.year <> 3", 16, "Did you mean !=?"),
        ("#1 && #2", 4, "Did you mean AND?"),
        ("#1 || #2", 4, "Did you mean OR?"),
        ("!#1", 1, "Did you mean NOT?"),
        ("'dark matter'", 1, 'Use double quotes: "so".'),
        ("“dark matter”", 1, 'Use straight quotes: "so".'),
        ("#1 XOR #2", 4, "Write (a OR b) AND NOT (a AND b)."),
        ("metadata.d > 2015-1-3", 18, "Write dates as 2015-03-01."),
        ("metadata.d > today - 3h", 14, "For example"),
        ("metadata.d > now - 30", 18, "For example"),
        ("metadata.d = null", 14, "Use NOT EXISTS(metadata.name)."),
        ('strong("a" OR "b")', 12, 'A level takes one concept: strong("a") OR strong("b").'),
    ],
)
def test_a_near_miss_is_answered_with_a_suggestion(text: str, column: int, suggestion: str) -> None:
    error = refusal(text)
    assert f"at column {column} " in error.found
    assert suggestion in error.do


@pytest.mark.parametrize(
    ("text", "column", "expected"),
    [
        ("AT LEAST two OF (#1)", 10, "expected a number"),
        ("AT LEAST 1 (#1)", 12, "expected OF"),
        ("AT LEAST 1 OF #1", 15, "expected ("),
        ("AT LEAST 1 OF (#1", 18, ")"),
        ("metadata.x IN 3", 15, "expected ("),
        ('metadata.x IN ("a"', 19, ") or ,"),
        ("metadata.x", 11, "a comparison, STARTS WITH, BETWEEN, CONTAINS, IN or NOT"),
        ("metadata.x BETWEEN 1", 21, "expected AND"),
        ("metadata.year >= ", 18, "a number, a date"),
        ("strong(strong(#1))", 8, 'a "quoted phrase", #id or family(…)'),
        ("(#1", 4, "), AND or OR"),
        ("#1234567890", 1, "#id"),
    ],
)
def test_an_error_lists_only_the_expected_tokens(text: str, column: int, expected: str) -> None:
    error = refusal(text)
    assert f"at column {column} " in error.found
    assert expected in error.found


@pytest.mark.parametrize(
    ("text", "column", "fault"),
    [
        ("#1 AND AT LEAST 3 OF (#1, #2)", 8, "can never be true: write a number from 1 to 2"),
        ("AT LEAST 0 OF (#1)", 1, "AT LEAST 0 is always true: write a number from 1 to 1"),
        ('#1 OR metadata.year > "abc"', 7, "only numbers and dates have an order"),
        ("metadata.x > true", 1, "true and false have no order"),
        ("metadata.d > 2015-13-03", 14, "month must be in 1..12"),
        ("metadata.d > 0001-01-01", 14, "year 2 to 9998"),
        ("metadata.x = 1e400", 1, "a number must be finite"),
        ("metadata.x = " + "9" * 5_000, 1, "within 64 bits"),
        ("metadata.x = 9223372036854775808", 1, "within 64 bits"),
        ("metadata.y BETWEEN 1 AND 2015-01-01", 1, "two numbers or two dates"),
        ("metadata.y BETWEEN 2 AND 1", 1, "the first end is above the second"),
        ('record_id > "x"', 1, "record_id is compared by"),
        ("record_id = 3", 1, "record_id is compared by"),
        ("record_id BETWEEN 1 AND 2", 1, "record_id has no order"),
        ("EXISTS(record_id)", 1, "every record has a record_id"),
        ('""', 1, "is empty"),
        ('metadata.x = "\ud800"', 1, "surrogates not allowed"),
        (f'metadata.x = "{"y" * 1_001}"', 1, "a text of 1001 characters"),
    ],
)
def test_valid_syntax_without_a_meaning_is_an_error_with_its_column(
    text: str, column: int, fault: str
) -> None:
    error = refusal(text)
    assert f"at column {column} " in error.found
    assert fault in error.found


def test_an_error_shows_the_start_of_a_long_text_only() -> None:
    assert len(str(refusal("x" * MAX_CHARS))) < 1_000
    assert len(str(refusal('"' + "y" * 5_000 + '"'))) < 1_000


# Limits -----------------------------------------------------------------------------------------------


def nested(depth: int) -> Expression:
    expression: Expression = A
    for level in range(depth):
        expression = Or(parts=(expression, B)) if level % 2 else And(parts=(expression, B))
    return expression


def nested_json(depth: int) -> dict[str, Any]:
    node: dict[str, Any] = A.model_dump()
    for _ in range(depth):
        node = {"kind": "not", "part": node}
    return node


def test_depth_is_limited_in_text_in_objects_and_in_json() -> None:
    for depth in (MAX_DEPTH + 1, 5_000):
        for where in (nested(depth), nested_json(depth)):
            assert "deep" in refusal(where).found
    for text in ("(" * (MAX_DEPTH + 1) + "#1" + ")" * (MAX_DEPTH + 1), "NOT " * 2_000 + "#1"):
        refusal(text)
    assert parse_where(nested_json(MAX_DEPTH)) == parse_where("NOT " * MAX_DEPTH + "#1")
    assert parse_where(to_text(nested(MAX_DEPTH))) == nested(MAX_DEPTH)


def test_size_is_limited_in_objects_and_in_json() -> None:
    assert parse_where(Or(parts=(A,) * (MAX_NODES - 1)))
    with pytest.raises(ValueError, match=f"more than {MAX_NODES}"):
        Or(parts=(A,) * (MAX_NODES + 1))
    many = OneOf(field="metadata.f", values=tuple(range(MAX_VALUES)))
    assert parse_where(Or(parts=(many, A)))
    assert f"more than {MAX_NODES} parts" in refusal(And(parts=(Not(part=many), many, A))).found
    with pytest.raises(ValueError, match=f"at most {MAX_VALUES}"):
        OneOf(field="metadata.f", values=tuple(range(MAX_VALUES + 1)))
    refusal({"kind": "or", "parts": [A.model_dump()] * 10**6})


def test_shared_parts_that_expand_into_millions_are_refused_quickly() -> None:
    expression: Expression = A
    shared: dict[str, Any] = A.model_dump()
    for level in range(40):
        kind = Or if level % 2 else And
        expression = kind(parts=(expression, expression))
        shared = {"kind": "or" if level % 2 else "and", "parts": [shared, shared]}
    started = time.perf_counter()
    refusal(expression)
    refusal(shared)
    assert time.perf_counter() - started < 5


def test_an_expression_that_contains_itself_is_refused() -> None:
    loop: dict[str, Any] = {"kind": "not"}
    loop["part"] = loop
    refusal(loop)


def test_a_million_characters_are_refused_quickly() -> None:
    started = time.perf_counter()
    for text in ("(" * 10**6, "#1 OR " * 170_000, '"' + "x" * 10**6, "\\" * 10**6):
        assert "1,0" in refusal(text).asked or "characters" in refusal(text).asked
    with pytest.raises(QuerySyntaxError):
        parse_steer("+a " * 400_000)
    assert time.perf_counter() - started < 1


def test_every_use_of_an_expression_checks_the_limits() -> None:
    deep = nested(5_000)
    for use in (to_text, clauses, lambda one: compile_where(one, lambda _: [1])):
        with pytest.raises(QuerySyntaxError, match="deep"):
            use(deep)


@pytest.mark.parametrize("where", [3, b"#1", ["#1"], None, object(), Phrase])
def test_an_object_that_is_not_an_expression_is_an_error(where: Any) -> None:
    with pytest.raises(InvalidInputError, match="Give a text"):
        parse_where(where)


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ({}, "kind"),
        ({"kind": "exists"}, "exists.field is missing"),
        ({"kind": "feature", "feature": 1, "x": 2}, "feature.x is not known here"),
        ({"kind": "xor"}, "does not match any of the expected tags"),
        ({"kind": "and", "parts": [{"kind": "feature", "feature": 1}]}, "at least 2"),
        ({"kind": "feature", "feature": "1"}, "feature.feature should be a valid integer"),
        ({"kind": "feature", "feature": True}, "valid integer"),
        ({"kind": "compare", "field": "year", "op": "=", "value": 1}, "'year' is not a field"),
        ({"kind": "compare", "field": "metadata.y", "op": "=", "value": [1]}, "a value is a number"),
        ({"kind": "compare", "field": "metadata.y", "op": "=", "value": {"day": "x"}}, "a date is"),
        ({"kind": "compare", "field": "metadata.y", "op": "<", "value": float("nan")}, "must be finite"),
        ({"kind": "compare", "field": "metadata.y", "op": "~", "value": 1}, "compare.op should be '='"),
        ({"kind": "in", "field": "metadata.y", "values": []}, "at least 1"),
        ({"kind": "in", "field": "metadata.y", "values": [None]}, r"\(at in.values.0\)"),
        ({1: 2}, "kind"),
    ],
)
def test_an_error_in_json_has_its_path(where: Any, found: str) -> None:
    with pytest.raises(QuerySyntaxError, match=found):
        parse_where(where)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["kind", "part", "parts", "field", "op", "value", "date"]), inner)
    ),
    max_leaves=6,
)
entries = st.sampled_from(["part", "parts", "field", "op", "value", "values"])
kinds = st.sampled_from(["feature", "phrase", "not", "and", "at_least", "compare", "in", "between", "exists"])


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["part", "parts", "field", "op", "value", "values"]), json_values), kinds
)
@example({"field": "metadata.x", "op": "=", "value": 10**400}, "compare")
def test_any_json_is_parsed_or_a_syntax_error(where: dict[str, Any], kind: str) -> None:
    try:
        parse_where({"kind": kind, **where})
    except QuerySyntaxError as error:
        assert error.found


def test_a_field_that_engines_would_misread_is_refused() -> None:
    for field in ("year", "metadata", "metadata.", "metadata..a", 'metadata."a', "metadata.a[0]", "concepts"):
        with pytest.raises(ValueError, match="is not a field"):
            Compare(field=field, op="=", value=1)
