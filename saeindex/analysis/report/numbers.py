"""Numbers as people read them."""

from __future__ import annotations

from math import exp, isfinite

LEAST = 0.001
# The logarithm of an odds ratio of 1,000.
MOST = 6.9


def percent(share: float, digits: int = 1) -> str:
    """Return a share: 12.3 %."""
    return f"{100 * share:.{digits}f} %"


def points(effect: float) -> str:
    """Return a difference of two shares in percentage points: +1.2."""
    return _signed(100 * effect)


def interval(low: float, high: float) -> str:
    """Return an interval of a difference in percentage points: +0.5 to +1.9."""
    return f"{points(low)} to {points(high)}"


def ratio(log_odds: float) -> str:
    """Return an odds ratio: 2.5, 0.31; of evidence that only one side has, over 1,000."""
    if log_odds > MOST:
        return "over 1,000"
    if log_odds < -MOST:
        return "under 0.001"
    value = exp(log_odds)
    return f"{value:,.{0 if value >= 10 else 1 if value >= 1 else 2 if value >= 0.1 else 3}f}"


def ratios(log_odds: float, low: float, high: float) -> str:
    """Return an odds ratio with its interval: 2.5 (1.8 to 3.4)."""
    return f"{ratio(log_odds)} ({ratio(low)} to {ratio(high)})"


def chance(q: float) -> str:
    """Return a rate of error: < 0.001, 0.012."""
    return f"< {LEAST:g}" if q < LEAST else f"{q:.3f}"


def number(value: float, digits: int = 2) -> str:
    """Return a number: 1,234 or 0.12; one that cannot be said is a dash."""
    return f"{value:,.{digits}f}".replace("-", "−") if isfinite(value) else "–"


def counted(count: float, one: str, many: str = "") -> str:
    """Return how many there are of what: 1 finding, 2,000 findings."""
    return f"{count:,.0f} {one if count == 1 else many or one + 's'}"


def _signed(value: float) -> str:
    return f"{value:+.1f}".replace("-", "−")
