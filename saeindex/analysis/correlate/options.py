"""Options of correlations and triggers."""

from __future__ import annotations

from dataclasses import KW_ONLY

from pydantic import Field

from saeindex.analysis.stats.choices import Tested
from saeindex.schema import Flag, Whole, request

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
