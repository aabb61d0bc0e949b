"""Options of the analyses, each of which stands once: families of evidence, units, corrections, limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field

from saeindex.schema import Flag, Number, Texts, Whole, listed, option_names, request
from saeindex.types import LevelName

# "style" are the words that say little of what a text is about, and "named" properties that the caller names.
Family: TypeAlias = Literal["concepts", "words", "clusters", "style", "named"]
FAMILIES: tuple[Family, ...] = ("concepts", "words", "clusters")
# The names of the families.
FAMILY: dict[Family, str] = {
    "concepts": "Concepts",
    "words": "Words",
    "clusters": "Clusters of records",
    "style": "Style: function words",
    "named": "Named properties",
}
# The unit that is looked for among the fields.
AUTO = "auto"
# A field, or none: each record is a unit of its own.
Unit: TypeAlias = Annotated[str, AfterValidator(lambda name: None if name == "none" else name)]
if TYPE_CHECKING:
    Families: TypeAlias = Sequence[Family]
else:
    Families = Annotated[
        tuple[Literal["concepts", "words", "clusters", "style"], ...], BeforeValidator(listed)
    ]
Correction: TypeAlias = Literal["bh", "by"]


def described_correction(method: Correction, alpha: float) -> str:
    """Return the method that controls the error rate of a family, in words."""
    rule = {"bh": "Benjamini-Hochberg", "by": "Benjamini-Yekutieli"}[method]
    return f"{rule} at {alpha:g} within each family"


@request
class Tested:
    """How findings are tested."""

    _: KW_ONLY
    level: LevelName = Field(
        default="typical", description="the least strength at which a record counts as having a concept"
    )
    unit: Unit | None = Field(
        default=AUTO,
        description="the field by which records were sampled: those of one value count as one. auto is the "
        "document, where texts were split, or looks for such a field; none makes each record a unit",
    )
    alpha: Number = Field(default=0.05, gt=0, lt=1, description="the false discovery rate")
    method: Correction = Field(
        default="bh",
        description="correction: bh (Benjamini-Hochberg) or by (Benjamini-Yekutieli, under any dependence)",
    )
    unnamed: Flag = Field(
        default=False, description="also test features that have no name; they are listed by their words"
    )
    min_support: Whole = Field(
        default=5, ge=1, description="the least number of records that have a concept or word, to test it"
    )


@request
class Compared(Tested):
    """How groups of records are compared."""

    _: KW_ONLY
    families: Families = Field(default=FAMILIES, min_length=1, description="the kinds of evidence to test")
    strata: Texts = Field(
        default=(), description="metadata fields: records are compared with those of the same values"
    )
    length_bins: Whole | None = Field(
        default=None,
        ge=0,
        description="quantiles of text length within which records are compared; 5 if length may matter",
    )
    examples: Whole = Field(default=2, ge=0, description="example records of a finding, from each side")
    seed: Whole = Field(default=0, ge=0, description="the seed of random numbers")


@request
class DiffOptions(Compared):
    """How groups are compared."""

    _: KW_ONLY
    paired: Flag | None = Field(
        default=None, description="whether units have records in both groups; else detected"
    )
    confirm: Flag = Field(default=True, description="whether findings are confirmed on records kept apart")
    hints: Whole = Field(
        default=10, ge=0, description="large differences of each family that are not significant"
    )


# The maximum number of periods of a field, and the minimum number of different values that have an order.
MAX_PERIODS, MIN_PERIODS = 12, 3


@request
class DriftOptions(Compared):
    """How drift is tested.

    The unit "auto" can also be the ordered field itself, if records of one of its values are far more alike
    than records of neighbouring values.
    """

    _: KW_ONLY
    periods: Whole = Field(default=MAX_PERIODS, ge=MIN_PERIODS, le=100, description="the most periods")


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
        shared = {name: getattr(self, name) for name in option_names(Compared)} | {"alpha": self.spent}
        return DiffOptions(**shared, paired=False, confirm=False)


# The maximum number of listed pairs for each sign of the association: of all features, of named concepts.
LISTED, LISTED_NAMED = 100, 1_000


@request
class CorrelateOptions(Tested):
    """How pairs of concepts are tested. Named concepts have levels of their own."""

    _: KW_ONLY
    limit: Whole | None = Field(
        default=None,
        ge=1,
        description=f"pairs listed for each sign; by default {LISTED}, or {LISTED_NAMED:,} named ones",
    )
    with_trivial: Flag = Field(
        default=False, description="whether pairs with a trivial reason are listed, too"
    )


@request
class TriggerOptions(Tested):
    """How concepts of prompts are tested against a behaviour."""

    _: KW_ONLY
    limit: Whole = Field(default=10, ge=1, description="the number of listed concepts")
