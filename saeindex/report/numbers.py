"""Numbers as people read them, the same in every rendering."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, isfinite

# The smallest error rate that is shown as a number; smaller rates are shown as "less than".
SMALLEST_RATE = 0.001
# The logarithm of an odds ratio of 1,000; ratios beyond it are shown as "over" or "under".
LARGEST_LOG_ODDS = 6.9


class Number(str):
    """A number as text: columns of numbers are aligned at the right and never break."""

    __slots__ = ()


def percent(share: float, digits: int = 1) -> Number:
    """Return a share: 12.3 %."""
    return Number(f"{100 * share:.{digits}f} %")


def points(effect: float) -> Number:
    """Return a difference of two shares in percentage points: +1.2."""
    return Number(f"{100 * effect:+.1f}".replace("-", "−"))


def interval(low: float, high: float) -> Number:
    """Return an interval of a difference in percentage points: +0.5 to +1.9."""
    return Number(f"{points(low)} to {points(high)}")


def ratio(log_odds: float) -> Number:
    """Return an odds ratio: 2.5, 0.31; of evidence that only one side has, over 1,000."""
    if abs(log_odds) > LARGEST_LOG_ODDS:
        return Number("over 1,000" if log_odds > 0 else "under 0.001")
    value = exp(log_odds)
    return Number(f"{value:,.{0 if value >= 10 else 1 if value >= 1 else 2 if value >= 0.1 else 3}f}")


def ratios(log_odds: float, low: float, high: float) -> Number:
    """Return an odds ratio with its interval: 2.5 (1.8 to 3.4)."""
    return Number(f"{ratio(log_odds)} ({ratio(low)} to {ratio(high)})")


def chance(q: float) -> Number:
    """Return a rate of error: < 0.001, 0.012."""
    return Number(f"< {SMALLEST_RATE:g}" if q < SMALLEST_RATE else f"{q:.3f}")


def number(value: float, digits: int = 2) -> Number:
    """Return a number: 1,234 or 0.12; a dash if it is not finite."""
    return Number(f"{value:,.{digits}f}".replace("-", "−") if isfinite(value) else "–")


def count(value: float) -> Number:
    """Return a whole number: 1,234."""
    return number(value, 0)


def counted(value: float, one: str) -> str:
    """Return how many there are of what: 1 finding, 2,000 findings."""
    return f"{count(value)} {one if value == 1 else one + 's'}"


def series(names: Sequence[str]) -> str:
    """Return names as a series: a, b and c."""
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)
