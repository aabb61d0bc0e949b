"""Options of a drift analysis."""

from __future__ import annotations

from dataclasses import KW_ONLY

from pydantic import Field

from saeindex.analysis.stats.choices import Compared
from saeindex.schema import Whole, request

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
