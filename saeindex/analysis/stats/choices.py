"""Choices that the options of several analyses share: families of evidence, units, corrections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

from saeindex.errors import InvalidInputError

# "named" are properties that the caller names.
Family: TypeAlias = Literal["concepts", "words", "clusters", "named"]
FAMILIES: tuple[Family, ...] = ("concepts", "words", "clusters")
# The names of the families.
FAMILY: dict[Family, str] = {
    "concepts": "Concepts",
    "words": "Words",
    "clusters": "Clusters of records",
    "named": "Named properties",
}
# The unit that is looked for among the fields.
AUTO = "auto"
Correction: TypeAlias = Literal["bh", "by"]


def described_correction(method: Correction, alpha: float) -> str:
    """Return the method that controls the error rate of a family, in words."""
    rule = {"bh": "Benjamini-Hochberg", "by": "Benjamini-Yekutieli"}[method]
    return f"{rule} at {alpha:g} within each family"


def check_settings(alpha: float, method: str, min_support: int, families: Sequence[str] = FAMILIES) -> None:
    """Raise InvalidInputError for an error rate, a correction, a support or a family that is not possible."""
    if not 0 < alpha < 1:
        raise InvalidInputError(f"alpha={alpha}", "out of range", "Use a rate between 0 and 1.")
    if method not in get_args(Correction):
        raise InvalidInputError(f"method {method!r}", "no such correction", "Use bh or by.")
    if min_support < 1:
        raise InvalidInputError(f"min_support={min_support}", "out of range", "Use 1 or more.")
    unknown = [one for one in families if one not in FAMILIES]
    if unknown or not families:
        found = f"{unknown[0]!r}" if unknown else "none"
        raise InvalidInputError("families of evidence", found, f"Use some of {', '.join(FAMILIES)}.")
