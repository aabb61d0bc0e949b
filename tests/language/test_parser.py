"""The where and steer languages: precedence, quoting, limits, and errors that point at the column."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saeindex import Steer
from saeindex.config import MAX_STRENGTH
from saeindex.errors import InvalidInputError, QuerySyntaxError
from saeindex.language.ast import MAX_DEPTH, And, Expression, FeatureTerm, Not, Or, Phrase
from saeindex.language.parser import MAX_CHARS, parse_steer, parse_where
from saeindex.language.to_text import quoted

A, B, C = FeatureTerm(feature=1), FeatureTerm(feature=2), FeatureTerm(feature=3)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("#1", A),
        ("  #1\n", A),
        ("((#1))", A),
        ('"dark matter"', Phrase(text="dark matter")),
        ("NOT #1 AND #2", And(parts=(Not(part=A), B))),
        ("NOT (#1 AND #2)", Not(part=And(parts=(A, B)))),
        ("NOT NOT #1", Not(part=Not(part=A))),
        ("#1 OR #2 AND #3", Or(parts=(A, And(parts=(B, C))))),
        ("#1 AND #2 OR #3", Or(parts=(And(parts=(A, B)), C))),
        ("(#1 OR #2) AND #3", And(parts=(Or(parts=(A, B)), C))),
        ("#1 OR #2 OR #3", Or(parts=(A, B, C))),
        ("#1 and not #2 Or #3", Or(parts=(And(parts=(A, Not(part=B))), C))),
        ('#1AND(NOT"x")', And(parts=(A, Not(part=Phrase(text="x"))))),
        ('"a AND b"', Phrase(text="a AND b")),
    ],
)
def test_not_binds_tighter_than_and_and_and_tighter_than_or(text: str, expected: Expression) -> None:
    assert parse_where(text) == expected


phrases = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)


@settings(max_examples=100, deadline=None)
@given(phrases, st.floats(-MAX_STRENGTH, MAX_STRENGTH))
def test_a_steer_survives_being_written_and_parsed(phrase: str, strength: float) -> None:
    sign = "-" if math.copysign(1, strength) < 0 else "+"
    (steer,) = parse_steer(f"{sign}{quoted(phrase)}:{abs(strength):.6f}")
    assert steer.target == phrase
    assert steer.strength == pytest.approx(strength, abs=1e-6)


fragments = st.sampled_from(
    [
        "AND",
        "or",
        "NOT",
        "(",
        ")",
        "#",
        "#12",
        '"',
        '"a"',
        "\\",
        ":",
        "+",
        "-",
        ".5",
        "x",
        "AT LEAST 1 OF",
        "strong",
        "family",
        "EXISTS",
        "metadata.a",
        "record_id",
        ">=",
        "=",
        "IN",
        "BETWEEN",
        "2015-03-01",
        "AGAINST",
        ",",
        "\n",
        " ",
        "²",
        "\0",
    ]
)
queries = st.one_of(st.text(max_size=40), st.lists(fragments, max_size=14).map(" ".join))


@settings(max_examples=300, deadline=None)
@given(queries)
def test_any_where_text_parses_or_is_a_syntax_error(text: str) -> None:
    try:
        parse_where(text)
    except QuerySyntaxError as error:
        assert error.found


@settings(max_examples=300, deadline=None)
@given(queries)
def test_any_steer_text_parses_or_is_a_syntax_error_or_too_strong(text: str) -> None:
    try:
        parse_steer(text)
    except QuerySyntaxError as error:
        assert error.found
    except InvalidInputError as error:
        assert "strengths go from" in error.found


@pytest.mark.parametrize(
    ("text", "column", "expected"),
    [
        ("", 1, 'a "quoted phrase"'),
        ("#1 AND", 7, "#id"),
        ("#1 #2", 4, "AND or OR"),
        ("dark matter", 1, 'a "quoted phrase"'),
        ('#1 AND "open', 8, 'a "quoted phrase"'),
        ("(#1 OR #2", 10, ")"),
        ("#1 AND\n#2 XOR #3", 11, "AND or OR"),
        ("#1)", 3, "the end"),
    ],
)
def test_a_syntax_error_names_the_column_and_the_expected_tokens(
    text: str, column: int, expected: str
) -> None:
    with pytest.raises(QuerySyntaxError) as caught:
        parse_where(text)
    assert f"at column {column} " in caught.value.found
    assert expected in caught.value.found
    if column <= len(text):
        assert repr(text[column - 1 : column + 14]) in caught.value.found


@pytest.mark.parametrize(
    "text",
    [
        "#1 OR " * 2_000 + "#1",
        "(" * (MAX_DEPTH + 1) + "#1" + ")" * (MAX_DEPTH + 1),
        "NOT " * (MAX_DEPTH + 1) + "#1",
        "#1234567890",
        '"' + "x" * 1_001 + '"',
        '"half a pair \ud800"',
        '""',
    ],
)
def test_text_above_the_limits_is_a_syntax_error(text: str) -> None:
    with pytest.raises(QuerySyntaxError):
        parse_where(text)


def test_text_within_the_limits_is_accepted() -> None:
    assert parse_where("(" * MAX_DEPTH + "#1" + ")" * MAX_DEPTH) == A
    parse_where("NOT " * MAX_DEPTH + "#1")
    parse_where(" OR ".join(["#1"] * (MAX_CHARS // 6)))


def test_words_and_parentheses_within_quotes_do_not_count_as_nesting() -> None:
    parsed = parse_where(" OR ".join(['"nothing (to note) \\" ("'] * (MAX_DEPTH + 10)))
    assert isinstance(parsed, Or)
    assert len(parsed.parts) == MAX_DEPTH + 10


# Steering ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steer", "expected"),
    [
        ("", ()),
        ("+theory", (Steer("theory", 1.0),)),
        ("-astronomy", (Steer("astronomy", -1.0),)),
        ("+theory:0.5-#1041:2", (Steer("theory", 0.5), Steer("#1041", -2.0))),
        ('+"dark \\"matter\\"":.3 -well-being:1', (Steer('dark "matter"', 0.3), Steer("well-being", -1.0))),
        (["+a", "  ", "-b:0"], (Steer("a"), Steer("b", -0.0))),
        ([Steer("a", 0.25), Steer("#3", -1)], (Steer("a", 0.25), Steer("#3", -1))),
        ("+family:stars:0.5 -family:#3", (Steer("family:stars", 0.5), Steer("family:#3", -1.0))),
        (
            '+family:"dark stars" -"family:old stars"',
            (Steer("family:dark stars"), Steer("family:old stars", -1.0)),
        ),
        ("+profile:my-voice:2", (Steer("profile:my-voice", 2.0),)),
        ("+family:0.5 +profile", (Steer("family", 0.5), Steer("profile", 1.0))),
        (
            '+"sad" AGAINST ("happy", "an \\"angry\\" one", neutral):0.5 -#3',
            (Steer("sad", 0.5, against=("happy", 'an "angry" one', "neutral")), Steer("#3", -1.0)),
        ),
        ("-formal against(casual)", (Steer("formal", -1.0, against=("casual",)),)),
    ],
)
def test_steers_are_read_from_text_texts_and_objects(steer: list[str], expected: tuple[Steer, ...]) -> None:
    assert parse_steer(steer) == expected


@pytest.mark.parametrize(
    "text",
    [
        "theory",
        "+",
        "+theory:",
        "+theory:-1",
        "+ #1 :x",
        "+dark matter",
        "++a",
        '+""',
        "+a AGAINST",
        "+a AGAINST ()",
        "+a AGAINST (b:1)",
        '+a AGAINST ("")',
        "+a:1 AGAINST (b)",
        "+family:",
    ],
)
def test_a_steer_that_does_not_parse_is_a_syntax_error(text: str) -> None:
    with pytest.raises(QuerySyntaxError, match="at column"):
        parse_steer(text)


@pytest.mark.parametrize("strength", [math.nan, math.inf, -math.inf, MAX_STRENGTH * 1.01, -101.0])
def test_an_invalid_strength_is_refused(strength: float) -> None:
    with pytest.raises(InvalidInputError, match="strengths go from -100 to 100"):
        parse_steer([Steer("#1", strength)])


def test_a_strength_in_text_beyond_the_limit_is_refused() -> None:
    assert parse_steer(f"+a:{MAX_STRENGTH}")[0].strength == MAX_STRENGTH
    for strength in ("100.1", "9" * 400):
        with pytest.raises(InvalidInputError, match="strengths go from"):
            parse_steer(f"+a:{strength}")
