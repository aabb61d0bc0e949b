"""Drift as text for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from saeindex.analysis.diff.report import SHOWN, SHOWN_RELATED, TITLES, highlighted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from saeindex.analysis.drift.results import Drift, Trend

BARS = "▁▂▃▄▅▆▇█"


def told(drift: Drift) -> str:
    """Return drift as lines: periods, then findings by family, each with a small picture of its shares."""
    return "\n".join(_lines(drift))


def _lines(drift: Drift) -> Iterator[str]:
    records = sum(one.records for one in drift.periods)
    yield f"{records:,} records by {drift.over}, in {len(drift.periods)} periods:"
    yield "  " + " · ".join(f"{one.name} ({one.records:,})" for one in drift.periods)
    yield f"{drift.method}."
    if drift.strata:
        yield f"Compared within {', '.join(drift.strata)}."
    for note in drift.notes:
        yield f"Note: {note}."
    for family, found in drift.findings.items():
        yield ""
        count = sum(1 + len(one.related) for one in found)
        yield f"{TITLES[family]}: {count:,} findings of {drift.tested[family]:,} tested"
        for one in found[:SHOWN]:
            yield from _trend(one, drift.per)
        if len(found) > SHOWN:
            yield f"  … and {len(found) - SHOWN:,} more"


def _trend(one: Trend, per: str) -> Iterator[str]:
    interval = f"[{100 * one.ci[0]:+.1f}, {100 * one.ci[1]:+.1f}]"
    what = {
        "trend": f"{100 * one.slope:+.2f} pp per {per}",
        "change": f"change at {one.at}",
        "new": f"new from {one.at}",
        "vanished": f"gone from {one.at}",
    }[one.kind]
    shares = f"{one.shares[0]:.1%} → {one.shares[-1]:.1%}"
    effect = f"{100 * one.effect:+.1f} pp {interval}"
    yield f"  {bars(one.shares)}  {effect}  {one.shown}  ({shares}, {what}, q {one.q:.2g})"
    if one.related:
        also = ", ".join(other.shown for other in one.related[:SHOWN_RELATED])
        more = f" and {len(one.related) - SHOWN_RELATED} more" if len(one.related) > SHOWN_RELATED else ""
        yield f"        with {also}{more}"
    for example in one.examples.get("late" if one.effect > 0 else "early", ())[:1]:
        yield f"        {example.id}: {highlighted(example)}"


def bars(shares: Sequence[float]) -> str:
    """Return shares as bars, the largest full."""
    top = max(*shares, 1e-12)
    return "".join(BARS[min(len(BARS) - 1, int(share / top * len(BARS)))] for share in shares)
