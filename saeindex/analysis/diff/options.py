"""Options of a comparison."""

from __future__ import annotations

from dataclasses import KW_ONLY

from pydantic import Field

from saeindex.analysis.stats.choices import Compared
from saeindex.schema import Flag, Whole, request


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
