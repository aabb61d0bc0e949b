"""The estimated, actual and maximum cost of a run with a language model."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from threading import Lock
from typing import Any

from saeindex.errors import InvalidInputError


@dataclass(frozen=True, slots=True)
class Prices:
    """Money per million tokens, in any currency; of the more expensive model if two are used."""

    input: float
    output: float

    def of(self, input_tokens: int, output_tokens: int) -> float:
        """Return the cost of these tokens."""
        return (input_tokens * self.input + output_tokens * self.output) / 1e6


@dataclass(frozen=True, slots=True)
class CostEstimate:
    """The estimate of a run: requests that are not cached, their tokens, and money if prices are known.

    ``skipped`` features have too few texts. Tokens are estimated with a bias to too many; requests that are
    repeated after a bad reply are not included.
    """

    features: int
    skipped: int
    requests: int
    cached: int
    input_tokens: int
    output_tokens: int
    money: float | None

    def to_json(self) -> dict[str, Any]:
        """Return the fields."""
        return asdict(self)

    def __str__(self) -> str:
        money = "" if self.money is None else f", {shown_money(self.money)} at these prices"
        rest = [f"{self.cached:,} replies are cached"] if self.cached else []
        rest += [f"{self.skipped:,} features have too few texts"] if self.skipped else []
        return (
            f"{self.features:,} features: {self.requests:,} requests, about {self.input_tokens:,} input and "
            f"{self.output_tokens:,} output tokens{money}{''.join(f'; {part}' for part in rest)}"
        )


def shown_money(money: float) -> str:
    """Return an amount rounded to hundredths, a small amount to two significant digits."""
    return f"{money:,.2f}" if money >= 1 else f"{money:.2g}"


@dataclass(frozen=True, slots=True)
class Spent:
    """The cost of a run; cached replies cost nothing."""

    requests: int
    input_tokens: int
    output_tokens: int
    money: float | None


class BudgetReachedError(Exception):
    """The next request could exceed the cap; never leaves this package."""


class Ledger:
    """Counts tokens; refuses the first request that could exceed a cap, and every later request.

    A request reserves its estimated input and its longest reply before it is sent; afterwards the reservation
    is replaced by the service's count. If a service counts more than was estimated, later reservations grow
    by that factor.
    """

    def __init__(
        self, prices: Prices | None = None, max_tokens: int | None = None, budget: float | None = None
    ) -> None:
        """The caps are for tokens, in and out together, and for money, which needs ``prices``."""
        if budget is not None and prices is None:
            raise InvalidInputError("a budget in money", "no prices", "Give the prices per million tokens.")
        for name, cap in (("max_tokens", max_tokens), ("budget", budget)):
            if cap is not None and cap <= 0:
                raise InvalidInputError(f"{name}={cap}", "no request is possible", "Use more than 0.")
        self.prices, self._max_tokens, self._budget = prices, max_tokens, budget
        self._requests = self._input = self._output = self._reserved_in = self._reserved_out = 0
        self._growth = 1.0
        self._is_closed = False
        self._lock = Lock()

    @property
    def spent(self) -> Spent:
        """The settled cost so far."""
        return Spent(self._requests, self._input, self._output, self._money(self._input, self._output))

    def reserve(self, input_tokens: int, output_tokens: int) -> tuple[int, int]:
        """Reserve tokens and return their numbers; BudgetReachedError if they could exceed a cap."""
        with self._lock:
            wanted = round(input_tokens * self._growth), output_tokens
            into = self._input + self._reserved_in + wanted[0]
            out = self._output + self._reserved_out + wanted[1]
            if self._is_closed or self._passes(into, out):
                self._is_closed = True
                raise BudgetReachedError
            self._reserved_in += wanted[0]
            self._reserved_out += wanted[1]
            return wanted

    def settle(self, reserved: tuple[int, int], used: tuple[int, int] | None) -> None:
        """Replace a reservation by the used tokens; None if there was no reply."""
        with self._lock:
            self._reserved_in -= reserved[0]
            self._reserved_out -= reserved[1]
            if used is not None:
                self._requests += 1
                self._input += used[0]
                self._output += used[1]
                self._growth *= max(1.0, used[0] / max(1, reserved[0]))

    def _passes(self, input_tokens: int, output_tokens: int) -> bool:
        money = self._money(input_tokens, output_tokens)
        return (self._max_tokens is not None and input_tokens + output_tokens > self._max_tokens) or (
            self._budget is not None and money is not None and money > self._budget
        )

    def _money(self, input_tokens: int, output_tokens: int) -> float | None:
        return None if self.prices is None else self.prices.of(input_tokens, output_tokens)
