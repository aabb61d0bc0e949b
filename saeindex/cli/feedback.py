"""Feedback of a property search on the command line: printing, reading, accepting and rejecting."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from saeindex.errors import InvalidInputError, NotFoundError
from saeindex.types import shown_label

if TYPE_CHECKING:
    from rich.console import Console

    from saeindex.concepts.feedback import Feedback
    from saeindex.index import FeatureIndex
    from saeindex.search.query import Query

SHOWN_CONCEPTS, SHOWN_WORDS = 6, 8
MAX_FEEDBACK_CHARS = 10_000_000

FeedbackFile = Annotated[
    str | None,
    typer.Option("--feedback", metavar="FILE", help="An earlier search, of its --json output; - is stdin."),
]
Ids = list[str] | None
Accept = Annotated[Ids, typer.Option(metavar="ID", help="Inferred concept to keep; searches again.")]
Reject = Annotated[Ids, typer.Option(metavar="ID", help="Inferred concept to drop; searches again.")]


def read_feedback(path: str | None) -> Feedback | None:
    """Return the feedback of a JSON file: feedback alone, or the output of a search with ``--json``."""
    if path is None:
        return None
    from saeindex.concepts.feedback import Feedback

    asked = f"--feedback {path}"
    if path != "-" and not Path(path).is_file():
        raise NotFoundError(asked, "no such file", "Give a JSON file, or - for stdin.")
    text = ""
    try:
        with sys.stdin if path == "-" else Path(path).open(encoding="utf-8") as file:
            text = file.read(MAX_FEEDBACK_CHARS + 1)
        given = json.loads(text)
    except (ValueError, RecursionError) as error:
        found = "the file is too large" if len(text) > MAX_FEEDBACK_CHARS else f"not JSON: {error}"
        raise InvalidInputError(asked, found, "Give the output of a search with --json.") from error
    if isinstance(given, dict) and "hits" in given:
        given = given.get("feedback")
    return Feedback.read(given)


def judged(index: FeatureIndex, query: Query, accept: Sequence[str], reject: Sequence[str]) -> Query:
    """Return ``query`` without its page, with verdicts on the concepts that it infers."""
    accepted, rejected = (feature_ids(given) for given in (accept, reject))
    if both := sorted({*accepted} & {*rejected}):
        raise InvalidInputError(f"--accept and --reject #{both[0]}", "both", "Use only one of them.")
    feedback = index.plan(query).feedback
    if feedback is None:
        do = "Give --property, --like or --feedback."
        raise InvalidInputError("--accept and --reject", "no property search", do)
    # If examples are given beside a text alone, the inferred feedback contains the text already.
    is_described = query.property is not None or query.feedback is not None
    return replace(
        query, text=query.text if is_described else "", property=None, against=(), like=(), unlike=(),
        feedback=feedback.accept(*accepted).reject(*rejected),
    )  # fmt: skip


def feature_ids(given: Sequence[str]) -> list[int]:
    """Return the feature ids of texts such as ``1041`` or ``#1041``."""
    digits = [text.removeprefix("#") for text in given]
    for text in digits:
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise InvalidInputError(f"feature {text!r}", "not a number", "Find one with `saeindex features`.")
    return [int(text) for text in digits]


def print_feedback(out: Console, feedback: Feedback) -> None:
    """Print the concepts and words of the largest weights, in two lines."""
    from rich.text import Text

    concepts = [
        f"#{c.id} {shown_label(c.label, c.is_weak)} {c.weight:+.2f}"
        + (f" ({c.verdict})" if c.verdict else "")
        for c in feedback.concepts[:SHOWN_CONCEPTS]
    ]
    words = [f"{word.word} {word.weight:+.2f}" for word in feedback.words[:SHOWN_WORDS]]
    for name, shown in (("concepts", "; ".join(concepts)), ("words", ", ".join(words))):
        if shown:
            line = Text.assemble((f"Inferred {name}: ", "bold"), shown, style="dim")
            out.print(line, no_wrap=True, overflow="ellipsis")
