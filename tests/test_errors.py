"""Errors have three parts (asked, found, do) in plain sentences; the docs list them all."""

from __future__ import annotations

import re

import pytest

from saeindex.errors import InvalidInputError
from tests.error_table import PAGE, Message, messages, page

MESSAGES = messages()


def test_the_page_of_errors_equals_the_errors_in_the_code() -> None:
    assert PAGE.read_text(encoding="utf-8") == page()


def test_the_table_covers_every_part_of_the_package() -> None:
    assert len(MESSAGES) > 250
    assert len({one.kind for one in MESSAGES}) >= 12


@pytest.mark.parametrize("one", MESSAGES, ids=lambda one: f"{one.file}:{one.line}")
def test_every_remedy_is_a_sentence_that_begins_with_a_verb(one: Message) -> None:
    asked, found, do = one.parts
    assert asked.strip() and found.strip()
    if not do.startswith("‹"):
        assert do[0].isupper(), do
        assert do.rstrip("›").endswith((".", "…")) or "‹" in do.split()[-1], do
    words = set(re.findall(r"[a-z]+", f"{asked} {found} {do}".lower()))
    assert words.isdisjoint({"told", "dealt", "dice", "taker", "sifts", "telling", "lens"})


def test_an_error_prints_its_three_parts_in_order() -> None:
    error = InvalidInputError("limit=0", "out of range", "Use 1 or more.")
    assert str(error) == "limit=0: out of range. Use 1 or more."
    assert (error.asked, error.found, error.do) == ("limit=0", "out of range", "Use 1 or more.")
