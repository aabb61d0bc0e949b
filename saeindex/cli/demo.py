"""``saeindex demo``: sixty years of presidents' speeches, searched, steered, explained and compared."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from saeindex.cli.output import BAR, Json, console, print_explanation, print_json
from saeindex.errors import InvalidInputError, NotFoundError, installed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from saeindex.analysis.diff.results import Diff
    from saeindex.analysis.drift.results import Drift
    from saeindex.search.hits import Hit, Hits

NEED, POVERTY = "helping those who have least", '"poverty"'
DANGERS, CRIME = "the dangers we face", "+crime:2"
PRESIDENTS = {
    "Truman": 'metadata.president = "Harry S. Truman"',
    "Clinton": 'metadata.president = "Bill Clinton"',
}
OVER, CHARTED = "year", "war"
# Hits and findings that are shown, and characters of their sentences.
HITS, FINDINGS, CHARS, QUOTED = 3, 5, 200, 84


def demo(
    into: Annotated[str, typer.Option(help="Directory of the demo's index.")] = "saeindex-demo.idx",
    serve: Annotated[
        bool, typer.Option("--serve", help="Then serve the workbench on it, for your browser.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Index presidents' speeches; search, filter and steer them by concept; explain and compare."""
    if serve:
        installed("nicegui", "the workbench", "ui")
    from saeindex.index import FeatureIndex
    from saeindex.samples import speeches

    out, texts = console(), speeches()
    if not as_json:
        out.print(
            f"{len(texts)} paragraphs of presidents' State of the Union speeches, 1945 to 2006. They come "
            "with the package, as do the encoder and the engine (Qdrant Edge): nothing is downloaded.\n"
        )
    with FeatureIndex(into) as index:
        with suppress(NotFoundError):  # the first write creates it
            if len(index) and texts[0].id not in index:
                found = f"it has {len(index):,} records that are not the demo's"
                raise InvalidInputError(f"the demo in {into!r}", found, "Name another directory with --into.")
        index.upsert(texts, progress=not as_json)
        filtered = index.search(NEED, where=POVERTY, limit=HITS)
        plain = index.search(DANGERS, limit=HITS)
        steered = index.search(DANGERS, steer=CRIME, limit=HITS, explain=True)
        compared = index.diff(groups=PRESIDENTS, families=("concepts",))
        drift = index.drift(OVER, families=("concepts",))
    if as_json:
        searches = {"filtered": filtered.to_json(), "plain": plain.to_json(), "steered": steered.to_json()}
        analyses = {"diff": compared.to_json(), "drift": drift.to_json()}
        print_json({"index": into, "records": len(texts), **searches, **analyses})
        return
    _print_filtered(out, filtered, into)
    _print_steered(out, plain, steered, into)
    _print_explained(out, steered[1], into)
    _print_compared(out, compared, into)
    _print_drift(out, drift, into)
    look = (
        "A CSV file whose texts are in a column such as text, review or abstract; all others are its fields."
    )
    _section(out, "Now your own texts", "saeindex index reviews.csv --into reviews.idx", look)
    for command in (
        'search reviews.idx "a late delivery"',
        "diff reviews.idx --a 'metadata.stars <= 2' --b 'metadata.stars = 5'",
    ):
        out.print(f"$ saeindex {command}", style="cyan", markup=False, soft_wrap=True)
    if serve:
        from saeindex.cli.serve import serve_indexes

        serve_indexes([into])


def _section(out: Console, title: str, command: str, look: str) -> None:
    """Print the title of a section, what it says to look at, and the command that does the same."""
    out.print(f"\n── {title} ──", style="bold", markup=False)
    out.print(look, markup=False)
    out.print(f"$ {command}", style="cyan", markup=False, soft_wrap=True)


def _print_filtered(out: Console, hits: Hits, into: str) -> None:
    matching, total = hits.plan.estimate.points, hits.plan.total
    look = (
        f"{matching:.0f} of {total} paragraphs speak of poverty; these are the nearest to {NEED!r}. "
        "Look at the sentence below each: it is why, and the percentage is how likely it speaks of poverty. "
        "It need not have the word."
    )
    command = f"saeindex search {into} \"{NEED}\" --where '{POVERTY}'"
    _section(out, "1  Search, and filter by a concept", command, look)
    for rank, hit in enumerate(hits, 1):
        _print_hit(out, f"{rank}", hit)


def _print_steered(out: Console, plain: Hits, steered: Hits, into: str) -> None:
    look = (
        "The same question as it is, and moved towards crime, by twice what a paragraph on crime typically "
        "has of it. It reorders, and leaves nothing out. Look at where each hit was before."
    )
    command = f"saeindex search {into} \"{DANGERS}\" --steer '{CRIME}' --explain"
    _section(out, "2  Steer", command, look)
    for title, hits in ((DANGERS, plain), (f"{DANGERS}, {CRIME}", steered)):
        out.print(title, style="bold", markup=False)
        for rank, hit in enumerate(hits, 1):
            before = f" (was {hit.steered.rank_before})" if hit.steered else ""
            _print_hit(out, f"{rank}{before}", hit)


def _print_explained(out: Console, hit: Hit, into: str) -> None:
    look = (
        "Why the second of them is there: its score is a sum of what it shares with the question: concepts "
        "that have a name, many that have none (further, unnamed), what no concept has (residual), and what "
        "all texts share (bias). Look at how much has no name: that is said, not hidden."
    )
    command = f"saeindex search {into} \"{DANGERS}\" --steer '{CRIME}' --explain --offset 1 --limit 1"
    _section(out, "3  Explain", command, look)
    if hit.explanation is not None:
        print_explanation(out, hit.explanation)


def _print_compared(out: Console, diff: Diff, into: str) -> None:
    from rich.text import Text

    truman, clinton = diff.groups.values()
    look = (
        f"{truman} paragraphs of Truman (1945 to 1951) against {clinton} of Clinton (1993 to 2000). Of "
        f"{diff.tested['concepts']} concepts that are frequent enough, {len(diff)} differ; at most one in "
        "twenty of these is expected to be chance. Look at the shares of paragraphs, and at what is said."
    )
    groups = " ".join(f"--group '{name}={where}'" for name, where in PRESIDENTS.items())
    _section(out, "4  Compare", f"saeindex diff {into} {groups} --families concepts", look)
    for name, other in (tuple(PRESIDENTS), tuple(PRESIDENTS)[::-1]):
        out.print(f"More in {name}", style="bold")
        for one in [one for one in diff.findings["concepts"] if one.group == name][:FINDINGS]:
            shares = f"{one.freq[name]:>5.0%} against {one.freq[other]:.0%}"
            quoted = enumerate(one.examples[name][0].parts(QUOTED))
            marked = [(part, "bold underline" if place % 2 else "") for place, part in quoted]
            line = Text.assemble((f"  {one.label:<13}", "green"), f"{shares:<18}", *marked)
            out.print(line, no_wrap=True, overflow="ellipsis")


def _print_drift(out: Console, drift: Drift, into: str) -> None:
    from rich.text import Text

    from saeindex.analysis.drift.report import bars

    first, last, found = drift.periods[0].first, drift.periods[-1].last, drift.findings["concepts"]
    look = (
        f"{len(drift)} concepts come or go between {first} and {last}: each has the counted shares of the "
        "paragraphs that speak of one, in periods of about as many paragraphs (the command adds those of a "
        f"fitted line). Tonight rises since the speech is held in the evening, for television, from 1965 on. "
        f"Look at {CHARTED}, below."
    )
    _section(out, "5  Sixty years", f"saeindex drift {into} --over {OVER} --families concepts", look)
    for title, direction in (("Rising", "up"), ("Falling", "down")):
        out.print(title, style="bold")
        for one in [one for one in found if one.direction == direction][:FINDINGS]:
            ends = f"  {one.shares[0]:.0%} to {one.shares[-1]:.0%}, at most {max(one.shares):.0%}"
            out.print(Text.assemble((f"  {one.label:<13}", "green"), bars(one.shares), ends))
    shares = next(one for one in found if one.label == CHARTED).shares
    out.print(CHARTED.capitalize(), style="bold")
    for period, share in zip(drift.periods, shares, strict=True):
        bar = f"{'█' * round(BAR * share / max(shares)):<{BAR}}"
        out.print(Text.assemble(f"  {period.first} to {period.last}  ", (bar, "green"), f"  {share:.0%}"))


def _print_hit(out: Console, rank: str, hit: Hit) -> None:
    """Print a hit: who said it when, and the sentence that proves it, or the start."""
    from rich.padding import Padding
    from rich.text import Text

    said = f"{hit.metadata['president']}, {hit.metadata['year']}"
    out.print(Text.assemble((f"  {rank:<12}", "dim"), (f"{hit.score:.3f}  ", "cyan"), (said, "bold")))
    if not hit.evidence:
        quoted: Sequence[tuple[str, str] | str] = [" ".join(hit.text.split())[:CHARS] + "…"]
    else:
        proof = hit.evidence[0]
        before, word, after = proof.parts(CHARS)
        quoted = [(f"{proof.label} {proof.evidence:.0%}  ", "green"), before, (word, "bold underline"), after]
    out.print(Padding(Text.assemble(*quoted), (0, 0, 0, 14)))
