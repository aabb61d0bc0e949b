"""Explanations of scores as bar charts: one bar per part, red if the part is negative."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from saeindex.report.numbers import counted
from saeindex.types import shown_label

if TYPE_CHECKING:
    from rich.console import Console

    from saeindex.search.compare import Comparison, Difference
    from saeindex.search.explain import Explanation
    from saeindex.types import Part

BAR = 24  # the longest bar, in characters
SHOWN_PARTS = 8
SMALL = 0.01  # the share of a score below which a part is not shown by itself

# A value, its name, and the colour of its bar.
Row = tuple[float, str, str]


def print_explanation(out: Console, explanation: Explanation, indent: int = 7) -> None:
    """Print the largest parts as bars; one line sums up the other parts, so that the total can be checked."""
    from rich.text import Text

    print_bars(out, _rows(explanation.parts, explanation.total), indent)
    out.print(Text(f"{' ' * (indent - 1)}={explanation.total:.4f}", "bold"))
    for source in explanation.sources:
        if source.explanation is not None:
            out.print(Text(f"{' ' * indent}{source.name}, rank {source.rank}", "bold"))
            print_explanation(out, source.explanation, indent + 2)
    if explanation.clauses:
        print_clauses(out, explanation, indent)


def print_clauses(out: Console, explanation: Explanation, indent: int = 7) -> None:
    """Print the clauses of the where expression, each marked as matched or not."""
    from rich.text import Text

    for clause in explanation.clauses:
        mark, style = ("✓", "green") if clause.matched else ("✗", "dim")
        by = ", ".join(f"#{feature}" for feature in clause.features)
        shown = f"{' ' * indent}{mark} {clause.text}" + (f"  ({by})" if by else "")
        out.print(Text(shown, style), no_wrap=True, overflow="ellipsis")


def print_comparison(out: Console, comparison: Comparison, indent: int = 2) -> None:
    """Print why one hit ranks above another: one bar per difference, positive if it favours the first."""
    from rich.text import Text

    header = f"{comparison.a} {comparison.score_a:.4f}  against  {comparison.b} {comparison.score_b:.4f}"
    out.print(Text(f"{' ' * indent}{header}", "bold"))
    shown, rest = comparison.differences[:SHOWN_PARTS], comparison.differences[SHOWN_PARTS:]
    rows = [(part.value, f"{part.shown}  {_both(part)}", "green") for part in shown]
    if rest:
        rows.append((sum(part.value for part in rest), f"{len(rest)} further parts", "dim"))
    print_bars(out, rows, indent)
    out.print(Text(f"{' ' * (indent - 1)}={comparison.total:+.4f}", "bold"))
    for name, source in comparison.sources.items():
        out.print(Text(f"{' ' * indent}{name}", "bold"))
        print_comparison(out, source, indent + 2)


def print_bars(out: Console, rows: Sequence[Row], indent: int) -> None:
    """Print rows as bars on one scale."""
    from rich.text import Text

    largest = max((abs(value) for value, _, _ in rows), default=1.0) or 1.0
    for value, name, style in rows:
        bar = "█" * max(1, round(BAR * abs(value) / largest)) if value else ""
        color = "red" if value < 0 else style
        line = Text.assemble((f"{' ' * indent}{value:+.4f} ", "dim"), (f"{bar:<{BAR}} ", color), name)
        out.print(line, no_wrap=True, overflow="ellipsis")


def _rows(parts: Iterable[Part], total: float) -> list[Row]:
    """Return the strongest concepts, the strongest words, and all other parts, of a score."""
    kinds: dict[str, list[Part]] = {"feature": [], "word": [], "": []}
    for part in parts:
        kinds.get(part.kind, kinds[""]).append(part)
    rows: list[Row] = []
    for kind, named in (("feature", "concept"), ("word", "word")):
        large = [part for part in kinds[kind][:SHOWN_PARTS] if abs(part.value) >= SMALL * abs(total)]
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
    is_plain = part.kind in ("source", "unnamed")
    name = part.label if is_plain else f"{part.kind}: {part.label}"
    return part.value, name, "cyan" if part.kind == "source" else "dim"


def _both(part: Difference) -> str:
    return f"{part.a:+.4f} | {part.b:+.4f}"
