"""An axis is given as text, lists or mappings; an empty one is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saeindex.analysis.cluster.axis import MAX_VALUES, Axis, AxisValue
from saeindex.errors import InvalidInputError

NAME = st.text("abcdefgh ", min_size=1, max_size=8).map(str.strip).filter(bool)


@given(NAME, st.lists(NAME, min_size=2, max_size=6, unique=True))
def test_a_printed_axis_can_be_parsed(name: str, values: list[str]) -> None:
    axis = Axis.of({name: values})
    assert Axis.parse(str(axis)) == axis
    assert axis.names == tuple(values)


@pytest.mark.parametrize(
    "asked",
    [
        "tone: angry = furious, mad; calm = at ease",
        {"tone": {"angry": "furious, mad", "calm": ["at ease"]}},
        Axis("tone", (AxisValue("angry", ("furious, mad",)), AxisValue("calm", ("at ease",)))),
    ],
)
def test_every_form_gives_the_same_descriptions(asked: Any) -> None:
    axis = Axis.of(asked)
    assert [(value.name, value.texts) for value in axis.values] == [
        ("angry", ("furious, mad",)),
        ("calm", ("at ease",)),
    ]


def test_an_axis_by_name_has_no_values() -> None:
    assert Axis.parse("tone") == Axis("tone")


def test_examples_are_added_to_those_of_the_axis_once() -> None:
    axis = Axis("tone", (AxisValue("angry", (), ("a",)), AxisValue("calm", (), ("b",))))
    extended = axis.with_examples({"angry": ["a", "c"], "calm": ["d"]})
    assert [value.examples for value in extended.values] == [("a", "c"), ("b", "d")]
    assert extended.has_examples and not extended.has_texts


def test_values_are_taken_from_examples_if_the_axis_has_none() -> None:
    extended = Axis.parse("tone").with_examples({"angry": ["a"], "calm": ["b"]})
    assert extended.names == ("angry", "calm")
    assert extended.has_texts and extended.has_examples


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("", "no name"),
        ("tone: angry", "1 values"),
        ("tone: angry, angry", "angry, angry"),
        ("tone: angry,, calm", "an empty value"),
        ("tone: angry = ; calm = quiet", "an empty description"),
        ({"tone": [str(i) for i in range(MAX_VALUES + 1)]}, "201 values"),
        ({"tone": 3}, "3"),
        ({"tone": {"angry": 3, "calm": "x"}}, "3"),
        ({"tone": ["a", "b"], "topic": ["c", "d"]}, "dict"),
        (["tone"], "list"),
    ],
)
def test_an_empty_axis_is_refused(asked: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        Axis.of(asked)


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        ({"calm": ["a"], "cold": ["b"]}, "cold"),
        ({"calm": "a"}, "one text"),
        ({"calm": ["a"], "angry": ["a"]}, "two values"),
    ],
)
def test_examples_that_do_not_fit_the_axis_are_refused(examples: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        Axis.parse("tone: angry, calm").with_examples(examples)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((AxisValue("angry", ("mad",)), AxisValue("calm")), "'calm' has neither texts"),
        ((AxisValue("angry", ("mad",)), AxisValue("calm", (), ("b",))), "some have texts"),
    ],
)
def test_a_mix_of_described_and_undescribed_values_is_refused(
    values: tuple[AxisValue, ...], message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        Axis("tone", values).check_described()


@pytest.mark.parametrize("text", ["trains, buses", "trains; buses", "trains,buses,"])
def test_values_without_a_name_say_what_to_write(text: str) -> None:
    with pytest.raises(InvalidInputError, match="'kind: trains, buses'"):
        Axis.of(text)
