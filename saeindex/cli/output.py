"""Output of search results: JSON for programs, text for people."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from saeindex.cli.bars import print_explanation
from saeindex.config import DEFAULT_SENTENCES, DOCUMENT, SentenceStorage
from saeindex.language.speech import readable
from saeindex.types import LINES, UNSAFE, one_line, shortened, shown_label, visible

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from saeindex.search.facets import ConceptFacet, Exclusion
    from saeindex.search.hits import Hit, Hits

Index = Annotated[str, typer.Argument(help="The index.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Url = Annotated[
    str | None,
    typer.Option(
        help="A Qdrant server (env: QDRANT_URL's), where INDEX is a collection. Key: QDRANT_API_KEY."
    ),
]

Sentences = Annotated[
    SentenceStorage | None,
    typer.Option(
        help="Keep each sentence with a vector (stored), only where it is (codes), or nothing (off)."
        f" Default: as the index; of a new one {DEFAULT_SENTENCES}."
    ),
]

# Concepts of a hit, and sentences that prove what it says, with their lengths in characters.
SHOWN_FEATURES, SHOWN_PROOFS, SENTENCE_CHARS = 4, 3, 96
# Columns below which nothing can be read: a terminal that says so, such as COLUMNS=0, is not believed.
MIN_WIDTH = 20


def console() -> Console:
    """Return the console that prints text results; its output is plain if stdout is not a terminal.

    It shows control characters of texts instead of obeying them.
    """
    from rich.console import Console
    from rich.segment import Segment

    class SafeConsole(Console):
        def render(self, renderable: Any, options: Any = None) -> Iterator[Segment]:
            for part in super().render(renderable, options):
                text = part.text if part.control else visible(part.text, LINES)
                yield Segment(text, part.style, part.control)

    made = SafeConsole(highlight=False, soft_wrap=False)
    return made if made.width >= MIN_WIDTH else SafeConsole(highlight=False, soft_wrap=False, width=MIN_WIDTH)


def answer(described: Mapping[str, Any], text: str, as_json: bool) -> None:
    """Print the result of a command as JSON or in a sentence."""
    print_json(described) if as_json else say(text)


def say(text: str, is_error: bool = False, **style: Any) -> None:
    """Print a text, on stderr if it ``is_error``; control characters are shown, not obeyed."""
    typer.secho(visible(text, LINES), err=is_error, **style)


def print_json(value: Mapping[str, Any]) -> None:
    """Print one JSON object; characters that a terminal would obey are escaped."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    print(UNSAFE.sub(lambda found: json.dumps(found[0])[1:-1], text))


def print_hits(out: Console, hits: Hits) -> None:
    """Print hits as a numbered list, by group if they are grouped."""
    from rich.text import Text

    groups = hits.plan.query.grouping
    if groups is None or (groups.field, groups.size) == (DOCUMENT, 1):
        for rank, hit in enumerate(hits, hits.plan.query.offset + 1):
            print_hit(out, rank, hit)
        return
    for group in hits.groups:
        out.print(Text(f"{groups.field} = {group.value}", "bold magenta"))
        for rank, hit in enumerate(group.hits, 1):
            print_hit(out, rank, hit)


def print_hit(out: Console, rank: int, hit: Hit) -> None:
    """Print a hit: score, title, metadata, what proves it, change of rank, explanation."""
    from rich.text import Text

    title, _, rest = readable(hit.text).partition("\n")
    scored = (f"{rank:>3}  ", "dim"), (f"{hit.score:.3f}  ", "bold cyan")
    _print_line(out, Text.assemble(*scored, (shortened(title, 88), "bold")))
    details = " · ".join([shortened(hit.id, 96), *_scalars(hit), *_steered(hit)])
    _print_line(out, Text(f"            {details}", "dim"))
    if rest.strip() and hit.explanation is None:
        _print_line(out, Text(f"            {one_line(rest, 96)}"))
    for proof in hit.evidence[:SHOWN_PROOFS]:
        before, word, after = proof.parts(SENTENCE_CHARS)
        said = f"            {proof.label} {proof.evidence:.0%}  ", "green"
        _print_line(out, Text.assemble(said, before, (word, "bold underline"), after))
    if hit.explanation is not None:
        print_explanation(out, hit.explanation)
    elif not hit.evidence:
        strongest = hit.features[:SHOWN_FEATURES]
        shown = "  ".join(f"#{a.id} {shown_label(a.label, a.is_weak)}" for a in strongest)
        _print_line(out, Text(f"            {shown}", "green"))


def _print_line(out: Console, line: Text) -> None:
    """Print one line: as much as a terminal shows, and all of it to a file or a pipe."""
    overflow: Literal["ellipsis", "ignore"] = "ellipsis" if out.is_terminal else "ignore"
    out.print(line, no_wrap=True, overflow=overflow, crop=out.is_terminal)


def print_facets(out: Console, facets: Sequence[ConceptFacet]) -> None:
    """Print the concepts that are more frequent in the results than in the index."""
    out.print("\nMore frequent in these results than in the index", style="bold")
    for facet in facets:
        also = f"  (with {', '.join(f'#{i}' for i in facet.features[1:])})" if facet.features[1:] else ""
        share = f"{facet.count:>5,}  {facet.share:>4.0%} against {facet.index_share:.1%}"
        out.print(f"  {share}  {facet.shown}{also}", markup=False, no_wrap=True, overflow="ellipsis")
    if not facets:
        out.print("  no concept", style="dim")


def print_suggestions(out: Console, suggestions: Sequence[Exclusion]) -> None:
    """Print the concepts that a --where could exclude."""
    out.print("\nIn a part of the results, but not in the query", style="bold")
    for each in suggestions:
        line = f"  --where '{each.clause}'  removes {each.removes:,}: {each.facet.shown}"
        out.print(line, markup=False, no_wrap=True, overflow="ellipsis")
    if not suggestions:
        out.print("  no concept", style="dim")


def _steered(hit: Hit) -> list[str]:
    """Return the ranks of the hit with and without steering, as text."""
    if hit.steered is None:
        return []
    before = hit.steered.rank_before
    return [f"rank {hit.steered.rank_after}, unsteered {'beyond 1,000' if before is None else before}"]


def _scalars(hit: Hit) -> list[str]:
    """Return the metadata fields that are no lists or objects, each shortened."""
    fields = [f"{key}={value}" for key, value in hit.metadata.items() if isinstance(value, str | int | float)]
    return [shortened(shown, 60) for shown in fields]
