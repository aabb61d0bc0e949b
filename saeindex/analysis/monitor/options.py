"""Options of a monitor."""

from __future__ import annotations

from dataclasses import KW_ONLY

from pydantic import Field

from saeindex.analysis.diff.options import DiffOptions
from saeindex.analysis.stats.choices import Compared, Families
from saeindex.schema import Number, Whole, request


@request
class MonitorOptions(Compared):
    """When an alert is raised: ``alpha`` is shared by all looks and families."""

    _: KW_ONLY
    families: Families = Field(
        default=("concepts", "words"), min_length=1, description="the kinds of evidence to test"
    )
    alpha: Number = Field(
        default=0.05, gt=0, lt=1, description="the rate of false alerts over all looks together"
    )
    looks: Whole = Field(default=1, ge=1, description="the number of windows that will be compared")
    min_effect: Number = Field(
        default=0.02, ge=0, lt=1, description="the least change of a share for an alert"
    )
    min_odds_ratio: Number = Field(
        default=1.5, ge=1, description="the least change of the odds for an alert, as a ratio"
    )

    @property
    def spent(self) -> float:
        """The error rate for one family of evidence in one look."""
        return self.alpha / (self.looks * max(1, len(self.families)))

    def comparing(self) -> DiffOptions:
        """Return the options of the comparison."""
        return DiffOptions(
            families=self.families,
            level=self.level,
            unit=self.unit,
            strata=self.strata,
            length_bins=self.length_bins,
            paired=False,
            alpha=self.spent,
            method=self.method,
            min_support=self.min_support,
            confirm=False,
            examples=self.examples,
            seed=self.seed,
        )
