"""Choices that the options of several analyses share: families of evidence, units, corrections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field

from saeindex.schema import Flag, Number, Texts, Whole, listed, request
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
