"""A comparison as text for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from saeindex.analysis.differences.illustrating import word_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from saeindex.analysis.diff.results import Diff, Example, Finding

SHOWN, SHOWN_RELATED, SHOWN_HINTS, SHOWN_CHARS = 12, 4, 8, 110
TITLES = {
    "concepts": "Concepts",
    "words": "Words",
    "clusters": "Clusters of the records",
    "named": "What was asked about",
}


def told(diff: Diff) -> str:
    """Return a comparison as lines: groups, findings by family, what could have been found, hints, notes."""
    return "\n".join(_lines(diff))


def _lines(diff: Diff) -> Iterator[str]:
    yield " · ".join(f"{name}: {size:,} records" for name, size in diff.groups.items())
    yield f"{diff.method}."
    if diff.strata:
        yield f"Compared within {', '.join(diff.strata)}."
    for note in diff.notes:
        yield f"Note: {note}."
    for family, found in diff.findings.items():
        yield ""
        count = sum(1 + len(one.related) for one in found if one.q <= diff.alpha)
        held = _confirmed(diff, family)
        yield f"{TITLES[family]}: {count:,} findings of {diff.tested[family]:,} tested{held}"
        for one in found[:SHOWN]:
            yield from _finding(one, diff.alpha)
        if len(found) > SHOWN:
            yield f"  … and {len(found) - SHOWN:,} more"
    yield from _hypotheses(diff)
    yield from _power(diff)
    yield from _changes(diff)
    if diff.hints:
        yield ""
        yield "Hints (untested; many are chance):"
        for hint in diff.hints[:SHOWN_HINTS]:
            yield f"  more in {hint.group}: {hint.label} ({hint.family}, {hint.support:,} records)"


def _confirmed(diff: Diff, family: str) -> str:
    told = [one for one in diff.confirmation if one.family == family]
    if not told or not told[0].found:
        return ""
    return f"; of {told[0].found:,} found in one half, {told[0].replicated:,} hold in the other"


def _finding(one: Finding, alpha: float) -> Iterator[str]:
    shares = " / ".join(f"{share:.1%}" for share in one.freq.values()) if len(one.freq) == 2 else (
        f"{one.freq[one.group]:.1%} / {one.freq[one.against]:.1%} {one.against}"
    )  # fmt: skip
    sign = "+" if one.effect > 0 else ""
    interval = f"[{100 * one.ci[0]:+.1f}, {100 * one.ci[1]:+.1f}]"
    held = {True: "  ✓", False: "  not held", None: ""}[one.replicated]
    held = held if one.q <= alpha else "  no difference found"
    effect = f"{sign}{100 * one.effect:.1f} pp {interval}"
    yield f"  {effect}  {one.group}  {one.shown}  ({shares}, q {one.q:.2g}){held}"
    if one.related:
        also = ", ".join(other.shown for other in one.related[:SHOWN_RELATED])
        more = f" and {len(one.related) - SHOWN_RELATED} more" if len(one.related) > SHOWN_RELATED else ""
        yield f"        with {also}{more}"
    for example in one.examples.get(one.group, ())[:1]:
        yield f"        {example.id}: {highlighted(example)}"


def highlighted(example: Example) -> str:
    """Return the start of an example's text, with its highlights between asterisks."""
    text = example.text[:SHOWN_CHARS]
    for word in example.highlights:
        if found := word_in(word, text):
            text = f"{text[: found.start()]}*{found.group()}*{text[found.end() :]}"
    return text


def _hypotheses(diff: Diff) -> Iterator[str]:
    if diff.hypotheses:
        yield ""
        yield "What a language model makes of it, checked on records that it had not seen:"
    for one in diff.hypotheses:
        shares = " / ".join(f"{share:.0%}" for share in one.verified.values())
        verdict = "✓ holds" if one.holds else "not verified"
        yield f"  {one.group}: {one.text}  ({shares}, q {one.q:.2g})  {verdict}"


def _power(diff: Diff) -> Iterator[str]:
    if not diff.power:
        return
    first, second = diff.groups
    yield ""
    yield f"What could have been found, four times in five (share of {second} → share of {first}):"
    for family in diff.findings:
        parts = [
            f"{one.base:.1%} → {'never' if one.share is None else f'{one.share:.1%}'}"
            for one in diff.power
            if one.family == family
        ]
        if parts:
            yield f"  {family}: {', '.join(parts)}"


def _changes(diff: Diff) -> Iterator[str]:
    if diff.changes:
        yield ""
        yield "What strata changed (findings without → with the field alone):"
    for one in diff.changes:
        gone = f"; gone: {', '.join(one.gone)}" if one.gone else ""
        yield f"  {one.family} by {one.field}: {one.without:,} → {one.with_it:,}{gone}"
