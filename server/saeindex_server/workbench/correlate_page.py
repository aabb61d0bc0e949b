"""The page of correlations: concepts that come together, or avoid each other, more than by chance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from saeindex.analysis.correlate.results import Correlations
from saeindex.operations.associations import Correlate
from saeindex.report.numbers import chance
from saeindex_server.workbench.analysis_page import AnalysisPage, Blank, Seen
from saeindex_server.workbench.compare_page import point, volcano
from saeindex_server.workbench.conditions import both

if TYPE_CHECKING:
    from saeindex.analysis.correlate.results import ConceptPair

# The listed pairs of a kind, and the least lift that a chart shows.
FINDINGS, LEAST_LIFT = 15, 0.01


class CorrelatePage(AnalysisPage[Correlations]):
    """One open page of correlations."""

    path, verb = "correlate", "Find pairs"
    purpose = "Which concepts come together in a record, and which avoid each other."
    waiting = "Counting pairs of concepts: this reads all records."
    blanks = (Blank("where", "Of records where (all)", 'metadata.year > 1990, or "crime"'),)

    def asked(self) -> Correlate:
        """Return the analysis."""
        return Correlate(where=self.given["where"] or None)

    def said(self, found: Correlations) -> str:
        """Say how many pairs there are, and how many of them chance may explain."""
        return (
            f"{found.found:,} of {found.tested:,} tested pairs in {found.records:,} records. At most "
            f"{found.alpha:.0%} of them are expected to be chance. Pairs that go together by their meaning "
            "alone are left out."
        )

    def lists(self, found: Correlations) -> list[tuple[str, list[Seen]]]:
        """Return the pairs that come together, and those that avoid each other."""
        return [
            ("Together more than by chance", [self._seen_of(one) for one in found.results[:FINDINGS]]),
            ("Together less than by chance", [self._seen_of(one) for one in found.avoided[:FINDINGS]]),
        ]

    def _seen_of(self, one: ConceptPair) -> Seen:
        pair = f"#{one.a.feature} AND #{one.b.feature}"
        return Seen(
            f"{one.a.label} · {one.b.label}",
            f"{one.support:.0f} records, by chance {one.expected:.1f}",
            f"{one.p_b_given_a:.0%} of those with {one.a.label} have {one.b.label}",
            f"q {chance(one.q)}",
            where=both(self.given["where"], pair),
            about=f"{one.a.label} {one.b.label}",
            examples=one.examples,
        )

    def chart(self, found: Correlations, seen: list[Seen]) -> dict[str, Any]:
        """Return a volcano plot: how many times as often as by chance, and how sure."""
        pairs = [*found.results[:FINDINGS], *found.avoided[:FINDINGS]]
        points = [
            point(
                number, seen[number].label, max(one.lift, LEAST_LIFT), one.q, one.evidence > 0,
                number % FINDINGS < FINDINGS // 2,
            )
            for number, one in enumerate(pairs)
        ]  # fmt: skip
        return volcano(points, "times as often together as by chance", "log")
