"""Expressions as text and as JSON: printing and parsing is lossless, without extra parentheses."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from pydantic import TypeAdapter, ValidationError

from saeindex.errors import QuerySyntaxError
from saeindex.language.ast import (
    And,
    Compare,
    Date,
    Expression,
    FamilyTerm,
    FeatureTerm,
    Not,
    OneOf,
    Or,
    Phrase,
)
from saeindex.language.parser import parse_where
from saeindex.language.to_text import to_text
from tests.language.random_expressions import expressions

A, B, C = FeatureTerm(feature=1), FeatureTerm(feature=2), FeatureTerm(feature=3)


@settings(max_examples=400, deadline=None)
@given(expressions)
def test_an_expression_survives_being_printed_and_parsed(expression: Expression) -> None:
    text = to_text(expression)
    parsed = parse_where(text)
    assert parsed == expression
    # == treats 1, 1.0 and true as equal, the text does not.
    assert to_text(parsed) == text


@settings(max_examples=200, deadline=None)
@given(expressions)
def test_an_expression_survives_json(expression: Expression) -> None:
    as_json = json.loads(json.dumps(expression.model_dump(mode="json")))
    parsed = parse_where(as_json)
    assert parsed == expression
    assert to_text(parsed) == to_text(expression)


@pytest.mark.parametrize(
    "text",
    [
        "#1 OR #2 AND NOT #3",
        "(#1 OR #2) AND #3",
        "NOT (#1 AND #2)",
        "NOT NOT #1",
        'AT LEAST 2 OF ("bayesian", "mcmc" OR "gibbs", #1041 AND #3)',
        "NOT AT LEAST 1 OF (#1, #2)",
        'strong("theory") AND typical(#4) AND present(family("dark stars"))',
        "family(#3)",
        "metadata.year >= 2015",
        'metadata.a."odd name"."b.c" = "x\\"y\\\\"',
        'metadata.f IN ("a", 3, -2.5, true, 2015-03-01)',
        'metadata.f NOT IN ("a")',
        "NOT metadata.f NOT IN (1)",
        "metadata.y BETWEEN 1 AND 2 AND #3",
        "metadata.d NOT BETWEEN 2015-01-01 AND 2016-01-01T00:00:00.5+02:00",
        "metadata.x != 1e-07",
        "EXISTS(metadata.f)",
        'record_id IN ("x", "y") OR record_id != "z"',
    ],
)
def test_a_text_in_its_shortest_form_is_printed_unchanged(text: str) -> None:
    assert to_text(parse_where(text)) == text


@pytest.mark.parametrize(
    ("text", "shortest"),
    [
        ("((#1)) and (#2 and #3)", "#1 AND #2 AND #3"),
        ("(#1 AND #2) OR (#3 OR #4)", "#1 AND #2 OR #3 OR #4"),
        ("not(not(#1))", "NOT NOT #1"),
        ("NOT metadata.f IN (1)", "metadata.f NOT IN (1)"),
        ("at Least 1 oF(#1)", "AT LEAST 1 OF (#1)"),
        ("STRONG(#1)", "strong(#1)"),
        ('Family("#3")', "family(#3)"),
        ("metadata.a==TRUE", "metadata.a = true"),
        ("metadata.`a b`.`c` = 1", 'metadata."a b".c = 1'),
        ("metadata.größe > .5", 'metadata."größe" > 0.5'),
        ("metadata.2nd = +3", 'metadata."2nd" = 3'),
        ('metadata.d < "2015-03-01 10:00z"', "metadata.d < 2015-03-01T10:00Z"),
        ("metadata.d > NOW -036H", "metadata.d > now - 36h"),
        ('metadata.d BETWEEN "today - 2w" AND Today', "metadata.d BETWEEN today - 2w AND today"),
        ('metadata.d BETWEEN "2015-01-01" AND 2015-12-31', "metadata.d BETWEEN 2015-01-01 AND 2015-12-31"),
        ('metadata.d = "2015-01-01"', 'metadata.d = "2015-01-01"'),
    ],
)
def test_other_spellings_are_printed_in_the_shortest_form(text: str, shortest: str) -> None:
    assert to_text(parse_where(text)) == shortest


def test_nested_ands_become_one() -> None:
    assert And(parts=(A, And(parts=(B, C)))) == And(parts=(And(parts=(A, B)), C)) == And(parts=(A, B, C))
    assert Or(parts=(Or(parts=(A, B)), C)) == Or(parts=(A, B, C))
    assert Or(parts=(And(parts=(A, B)), C)) != Or(parts=(A, B, C))


def test_a_quoted_date_is_a_date_in_an_order_and_a_text_in_an_equality() -> None:
    assert parse_where('metadata.d > "2015-03-01"') == Compare(
        field="metadata.d", op=">", value=Date(date="2015-03-01")
    )
    assert parse_where('metadata.d = "2015-03-01"') == Compare(field="metadata.d", op="=", value="2015-03-01")
    assert parse_where("metadata.d = 2015-03-01") == Compare(
        field="metadata.d", op="=", value=Date(date="2015-03-01")
    )


def test_integers_floats_and_booleans_keep_their_type() -> None:
    node = parse_where('metadata.f IN (1, 1.0, true, "1")')
    assert isinstance(node, OneOf)
    assert [type(value) for value in node.values] == [int, float, bool, str]


def test_an_expression_is_accepted_as_text_json_and_object() -> None:
    expression = And(parts=(Phrase(text="dark matter", level="strong"), Not(part=FamilyTerm(name="stars"))))
    as_json = {
        "kind": "and",
        "parts": [
            {"kind": "phrase", "text": "dark matter", "level": "strong"},
            {"kind": "not", "part": {"kind": "family", "name": "stars"}},
        ],
    }
    text = 'strong("dark matter") AND NOT family("stars")'
    assert parse_where(text) == parse_where(as_json) == parse_where(expression) == expression
    assert parse_where(expression) is expression


def test_the_json_of_expressions_has_a_schema() -> None:
    schema = TypeAdapter[Expression](Expression).json_schema()
    assert {"Compare", "OneOf", "AtLeast", "FamilyTerm"} <= schema["$defs"].keys()


def test_nodes_are_immutable_and_refuse_unknown_fields() -> None:
    with pytest.raises(ValidationError):
        A.feature = 2
    with pytest.raises(QuerySyntaxError, match="colour is not known here"):
        parse_where({"kind": "feature", "feature": 1, "colour": "red"})
