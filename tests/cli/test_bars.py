"""Explanations as bars: the strongest parts of each kind, and the sum of the others."""

from __future__ import annotations

import io

from rich.console import Console

from saeindex.cli.output import print_explanation
from saeindex.search.explain import Explanation
from saeindex.types import Part


def test_the_strongest_words_are_named_and_the_others_summed() -> None:
    words = [Part("word", None, f"w{n}", 1.0 - n / 100) for n in range(30)]
    parts = (Part("feature", 3, "rain", 2.0), *words, Part("bias", None, "common to all records", 0.5))
    out = io.StringIO()
    print_explanation(Console(file=out, width=100), Explanation(parts, sum(part.value for part in parts)))
    printed = out.getvalue()
    assert "#3 rain" in printed and "word: w7" in printed and "word: w8" not in printed
    assert "22 further words" in printed and "bias: common to all records" in printed
    assert f"+{sum(part.value for part in words[8:]):.4f}" in printed
