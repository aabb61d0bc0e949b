"""Output of search results: JSON for programs, text for people."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from saeindex.config import DEFAULT_SENTENCES, DEFAULT_WORDS, DOCUMENT, SentenceStorage
from saeindex.errors import InvalidInputError
from saeindex.language.speech import readable
from saeindex.report.numbers import counted
from saeindex.types import LINES, UNSAFE, Part, one_line, shortened, shown_label, visible

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from saeindex.index import FeatureIndex
    from saeindex.search.explain import Explanation
    from saeindex.search.hits import Hit, Hits

Index = Annotated[str, typer.Argument(help="The index.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Url = Annotated[
    str | None,
    typer.Option(
        help="A Qdrant server (env: QDRANT_URL's), where INDEX is a collection. Key: QDRANT_API_KEY."
    ),
]

Words = Annotated[
    str | None,
    typer.Option(
        help="The language in which words are found, or off."
        f" Default: as the index; of a new one {DEFAULT_WORDS}."
    ),
]
Sentences = Annotated[
    SentenceStorage | None,
    typer.Option(
        help="Keep each sentence with a vector (stored), only where it is (codes), or nothing (off)."
        f" Default: as the index; of a new one {DEFAULT_SENTENCES}."
    ),
]

Reader = Annotated[
    str | None,
    typer.Option(
        help="A second space, of the tokens of texts: a name or a directory. Default: as the index."
    ),
]

# Concepts of a hit, and sentences that prove what it says, with their lengths in characters.
SHOWN_FEATURES, SHOWN_PROOFS, SENTENCE_CHARS = 4, 3, 96
# Columns below which nothing can be read: a terminal that says so, such as COLUMNS=0, is not believed.
MIN_WIDTH = 20

# Explanations are bars: one per part, red if it is negative.
BAR = 24  # the longest bar, in characters
SHOWN_PARTS = 8
# The share of a score, without what is common to all records, below which a part is not shown by itself.
SMALL = 0.01

# A value, its name, and the colour of its bar; "" has none.
Row = tuple[float, str, str]


def open_index(index: str, url: str | None) -> FeatureIndex:
    """Open an index; the library is loaded by the commands that need it."""
    from saeindex.index import FeatureIndex

    return FeatureIndex.open(index, url=url)


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
    fields = [f"{key}={value}" for key, value in hit.metadata.items() if isinstance(value, str | int | float)]
    details = " · ".join([shortened(hit.id, 96), *(shortened(one, 60) for one in fields)])
    if hit.steered is not None:
        rank_before = hit.steered.rank_before
        was = "beyond 1,000" if rank_before is None else rank_before
        details += f" · rank {hit.steered.rank_after}, unsteered {was}"
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


def print_listed(out: Console, title: str, lines: Sequence[str]) -> None:
    """Print a title and what there is under it, a line each."""
    out.print(f"\n{title}", style="bold")
    for line in lines:
        out.print(f"  {line}", markup=False, no_wrap=True, overflow="ellipsis")
    if not lines:
        out.print("  no concept", style="dim")


def print_explanation(out: Console, explanation: Explanation) -> None:
    """Print the largest parts as bars on one scale; what is common to all records has none.

    One line sums up the other parts, so that the total can be checked.
    """
    from rich.text import Text

    rows = _rows(explanation.parts, explanation.total)
    largest = max((abs(value) for value, _, style in rows if style), default=1.0) or 1.0
    for value, name, style in rows:
        bar = "█" * max(1, round(BAR * abs(value) / largest)) if value and style else ""
        color = "red" if value < 0 else style
        line = Text.assemble((f"       {value:+.4f} ", "dim"), (f"{bar:<{BAR}} ", color), name)
        out.print(line, no_wrap=True, overflow="ellipsis")
    out.print(Text(f"      ={explanation.total:.4f}", "bold"))
    for clause in explanation.clauses:
        mark, style = ("✓", "green") if clause.matched else ("✗", "dim")
        by = ", ".join(f"#{feature}" for feature in clause.features)
        shown = f"       {mark} {clause.text}" + (f"  ({by})" if by else "")
        out.print(Text(shown, style), no_wrap=True, overflow="ellipsis")


def _rows(parts: Sequence[Part], total: float) -> list[Row]:
    """Return the strongest concepts, the strongest words, and all other parts, of a score."""
    own = total - sum(part.value for part in parts if part.kind == "bias")
    kinds: dict[str, list[Part]] = {"feature": [], "word": [], "": []}
    for part in parts:
        kinds.get(part.kind, kinds[""]).append(part)
    rows: list[Row] = []
    for kind, named in (("feature", "concept"), ("word", "word")):
        large = [part for part in kinds[kind][:SHOWN_PARTS] if abs(part.value) >= SMALL * abs(own)]
        rows += map(_row, large)
        if rest := [part for part in kinds[kind] if part not in large]:
            rows.append((sum(part.value for part in rest), counted(len(rest), f"further {named}"), "dim"))
    for part in kinds[""]:
        value, name, style = _row(part)
        share = f" ({value / total:.0%} of the score)" if part.kind == "unnamed" and total else ""
        rows.append((value, f"{name}{share}", style))
    return rows


def _row(part: Part) -> Row:
    if part.kind == "feature":
        return part.value, f"#{part.feature} {shown_label(part.label, part.is_weak)}", "green"
    name = part.label if part.kind == "unnamed" else f"{part.kind}: {part.label}"
    return part.value, name, {"word": "cyan", "bias": ""}.get(part.kind, "dim")


def confirm(question: str, as_json: bool) -> None:
    """Ask for a confirmation; Exit with 1 if it is refused, InvalidInputError where nobody can answer."""
    if as_json or not sys.stdin.isatty():
        raise InvalidInputError("delete", "nobody to confirm it", "Add --yes.")
    if not typer.confirm(question):
        say("Nothing was deleted.")
        raise typer.Exit(1)
