"""The values of a field as periods: dates as people write them, and names that tell periods apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from saeindex.analysis.drift.drift import Periods, periods_of
from saeindex.errors import InvalidInputError
from tests.analysis.planted_snapshots import made_snapshot

if TYPE_CHECKING:
    from saeindex import FeatureSpace


def periods(space: FeatureSpace, values: list[Any]) -> Periods:
    snapshot = made_snapshot(
        space, np.zeros((len(values), 1), bool), [0], metadata=[{"t": value} for value in values]
    )
    return periods_of(snapshot, "metadata.t")


def test_periods_of_near_floats_have_names_that_tell_them_apart(space: FeatureSpace) -> None:
    found = periods(space, [1_700_000_000.0 + 3_600.5 * i for i in range(200)])
    assert len(set(found.names)) == len(found.names) and found.names[0].startswith("1700000000 to 17000")
    assert all(first != last for first, last in (name.split(" to ") for name in found.names))
    assert periods(space, [0.1, 0.2, 0.3] * 10).names == ("0.1", "0.2", "0.3")


@pytest.mark.parametrize(
    "values",
    [
        ["2024-01", "2024-02", "2024-12"], ["20240115", "20240220", "20241231"],
        [20_240_115, 20_240_220, 20_241_231], ["2024-01", "2024-02-03", "20241231"],
    ],
)  # fmt: skip
def test_dates_as_people_write_them_are_dates(space: FeatureSpace, values: list[Any]) -> None:
    found = periods(space, values * 10)
    assert found.per == "year" and found.names == tuple(map(str, values))
    assert 0.8 < found.scores[-1] - found.scores[0] < 1.0


def test_what_has_no_order_among_dates_is_named(space: FeatureSpace) -> None:
    with pytest.raises(InvalidInputError, match="1 of 3 values have no order: TBD"):
        periods(space, ["2024-01", "TBD", "2024-12"] * 10)
