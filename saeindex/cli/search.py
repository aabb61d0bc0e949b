"""``saeindex search``, and feedback of a property search: printed, read, accepted and rejected."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from saeindex.cli.options import asks
from saeindex.cli.output import Index, Json, Url, console, open_index, print_hits, print_json, print_listed
from saeindex.concepts.feedback import Feedback
from saeindex.config import DOCUMENT
from saeindex.errors import InvalidInputError, NotFoundError, collecting
from saeindex.operations.operation import written
from saeindex.search.query import GroupBy, Query
from saeindex.types import shown_label

if TYPE_CHECKING:
    from rich.console import Console

    from saeindex.index import FeatureIndex
    from saeindex.search.hits import Hits


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
    accepted, rejected = ([index.space.number(one) for one in given] for given in (accept, reject))
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


Compare = Annotated[
    tuple[str, str] | None, typer.Option(metavar="ID_A ID_B", help="Show why one record ranks above another.")
]


@asks(Query, arguments=("text",), without=("feedback",), query_filter="filter")
def search(
    index: Index,
    options: dict[str, Any],
    feedback_file: FeedbackFile = None,
    accept: Accept = None,
    reject: Reject = None,
    compare: Compare = None,
    facets: Annotated[bool, typer.Option("--facets", help="Show concepts frequent in the results.")] = False,
    suggest: Annotated[
        bool, typer.Option("--suggest", help="Show concepts that --where could exclude.")
    ] = False,
    plan: Annotated[bool, typer.Option("--plan", help="Show the plan of the query.")] = False,
    analyze: Annotated[
        bool, typer.Option("--analyze", help="Show the plan with measured counts and times.")
    ] = False,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Search an index: by text, filtered and steered by concept, each score explained."""
    with open_index(index, url) as opened, collecting():  # the plan has the warnings
        # The best record of each document, unless they are grouped otherwise.
        by = options.pop("group_by", None)
        if by == DOCUMENT or (by is None and opened.state.has_documents):
            options["group_by"] = GroupBy(DOCUMENT, size=1)
        elif by not in (None, "none"):
            options["group_by"] = by
        query = Query(**{"syntax": True, "interpret": True} | options, feedback=read_feedback(feedback_file))
        query = judged(opened, query, accept or (), reject or ()) if accept or reject else query
        hits = opened.search(query)
        further: dict[str, Any] = {}  # by their names in the JSON
        if facets:
            further["facets"] = opened.concepts.facets(query)
        if suggest:
            further["suggestions"] = opened.concepts.exclusions(query)
        if compare is not None:
            further["comparison"] = opened.compare(query, *compare)
        if analyze:
            further["analysis"] = opened.plan(query, analyze=True)
    if as_json:
        print_json(hits.to_json() | {name: written(value) for name, value in further.items()})
    else:
        _print(hits, further, plan)
    if not hits:
        raise typer.Exit(1)


def _print(hits: Hits, further: dict[str, Any], with_plan: bool) -> None:
    out = console()
    analysis = further.get("analysis", hits.plan if with_plan else None)
    lines = hits.plan.understood if analysis is None else [str(analysis)]
    for line in lines:
        out.print(line, style="dim", markup=False)
    if hits.feedback is not None:
        print_feedback(out, hits.feedback)
    print_hits(out, hits)
    if not hits:
        out.print(_why_none(hits.plan.query), markup=False)
    if "facets" in further:
        facets = [
            f"{one.count:>5,}  {one.share:>4.0%} against {one.index_share:.1%}  {one.shown}"
            + (f"  (with {', '.join(f'#{i}' for i in one.features[1:])})" if one.features[1:] else "")
            for one in further["facets"]
        ]
        print_listed(out, "More frequent in these results than in the index", facets)
    if "suggestions" in further:
        given = further["suggestions"]
        found = [f"--where '{one.clause}'  removes {one.removes:,}: {one.facet.shown}" for one in given]
        print_listed(out, "In a part of the results, but not in the query", found)
    if "comparison" in further:
        out.print(f"\n{further['comparison']}", markup=False, soft_wrap=True)


def _why_none(query: Query) -> str:
    """Return why a search has no hits, as far as its options say."""
    groups = query.grouping
    where, threshold, offset = query.where, query.score_threshold, query.offset
    reasons = {
        "fulfils the condition (try a wider one, or see --plan)": where is not None,
        "matches --filter": query.query_filter is not None,
        "is left by --exclude": bool(query.exclude),
        f"has {groups and groups.field} (--group-by)": groups is not None and groups.field != DOCUMENT,
        f"scores {threshold} or more (--score-threshold)": threshold is not None,
        f"comes after the first {offset:,} (--offset)": offset > 0,
    }
    needed = [text for text, is_asked in reasons.items() if is_asked]
    return f"No record {' and '.join(needed)}." if needed else "The index has no records."
