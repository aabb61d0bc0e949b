"""``saeindex demo``: search your own Python environment by concept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from saeindex.cli.bars import print_explanation
from saeindex.cli.output import Json, console, print_hits, print_json
from saeindex.types import shown_label

if TYPE_CHECKING:
    from rich.console import Console

    from saeindex.index import FeatureIndex
    from saeindex.search.hits import Hits

QUESTION = "find the largest one"
WHERE = '("array" OR "matrix") AND NOT "statistics"'
STEER = "+graph:3"
SHOWN = 5


def demo(
    into: Annotated[str, typer.Option(help="Directory of the demo's index.")] = "saeindex-demo.idx",
    limit: Annotated[int, typer.Option(min=50, help="Number of docstrings.")] = 2_500,
    as_json: Json = False,
) -> None:
    """Index the docstrings of your installed packages, then search, filter, steer and explain."""
    from saeindex.index import FeatureIndex
    from saeindex.indexing.sources.docstrings import DocstringSource

    out = console()
    if not as_json:
        out.print("Your own Python environment as a corpus: the docstrings of the installed packages.\n")
    with FeatureIndex(into) as index:
        report = index.upsert(DocstringSource(limit), progress=True)
        searches = _searches(index)
        if as_json:
            print_json(
                {"index": into, "records": len(index), **{k: h.to_json() for k, h in searches.items()}}
            )
        else:
            rate = f", {report.indexed / report.seconds:,.0f} a second" if report.indexed else ""
            features = index.space.n_features
            out.print(
                f"{len(index):,} docstrings, {features:,} concepts, one Qdrant collection in {into}{rate}"
            )
            _print_searches(out, searches, into)


def _searches(index: FeatureIndex) -> dict[str, Hits]:
    return {
        "plain": index.search(QUESTION, limit=SHOWN),
        "filtered": index.search(QUESTION, where=WHERE, limit=SHOWN),
        "steered": index.search(QUESTION, steer=STEER, limit=SHOWN),
        "explained": index.search(QUESTION, steer=STEER, limit=1, explain=True),
    }


def _print_searches(out: Console, searches: dict[str, Hits], into: str) -> None:
    """Print the four searches as a person would type them, each with its results."""
    command = f'saeindex search {into} "{QUESTION}"'
    _section(out, "1  Search", command, "As in any vector database, but with the concepts of each hit.")
    print_hits(out, searches["plain"])
    filtered = searches["filtered"]
    _section(
        out, "2  Filter by concept", f"{command} --where '{WHERE}'", "Exact Boolean conditions on concepts."
    )
    _resolved(out, filtered)
    out.print(f"{filtered.plan.estimate} of {filtered.plan.total:,} match.".capitalize(), style="dim")
    print_hits(out, filtered)
    steered = searches["steered"]
    _section(out, "3  Steer", f"{command} --steer '{STEER}'", "The same question, leaning towards a concept.")
    _resolved(out, steered)
    out.print(f"The query moved by {steered.drift:.3f} (1 - cosine).", style="dim")
    print_hits(out, steered)
    explained = searches["explained"]
    _section(
        out,
        "4  Explain",
        f"{command} --steer '{STEER}' --explain",
        "The parts of a score; they add up to it.",
    )
    for hit in explained:
        out.print(hit.text.partition("\n")[0], style="bold", markup=False)
        if hit.explanation is not None:
            print_explanation(out, hit.explanation)
    out.print("\nNow try your own data:", style="bold")
    out.print(f'  saeindex features {into} "sorting"', markup=False)
    out.print('  saeindex index YOUR.jsonl --into yours.idx && saeindex search yours.idx "…"', markup=False)


def _section(out: Console, title: str, command: str, description: str) -> None:
    out.print(f"\n── {title} ──  {description}", style="bold", markup=False)
    out.print(f"$ {command}", style="cyan", markup=False, soft_wrap=True)


def _resolved(out: Console, hits: Hits) -> None:
    for concept in hits.plan.concepts:
        matches = concept.features
        named = ", ".join(f"#{match.id} {shown_label(match.label, match.is_weak)}" for match in matches)
        out.print(f'"{concept.phrase}" = {named}', style="dim", markup=False)
