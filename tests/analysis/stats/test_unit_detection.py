"""The unit of a comparison is detected among fields of every kind."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from saeindex import FeatureSpace
from saeindex.analysis.diff.baseline import monitor
from saeindex.analysis.diff.report import unit_sentence
from saeindex.analysis.drift.drift import drift_design, periods_of
from saeindex.analysis.stats.design import LEFT, design_of, detected_unit
from saeindex.analysis.stats.groups import Groups
from saeindex.analysis.stats.options import DriftOptions, MonitorOptions
from saeindex.collection.snapshot import Snapshot
from tests.analysis.planted_snapshots import made_snapshot, unlike_features

CONCEPTS = 30
# Records of each year, years of each group, and records.
EACH, YEARS = 20, 40
M = 2 * EACH * YEARS


def alike_within(rng: np.random.Generator, codes: np.ndarray[Any, Any], spread: float) -> Any:
    """Return presence (m, CONCEPTS) whose probabilities differ between the values of a field."""
    logits = rng.normal(-1.5, spread, (int(codes.max()) + 1, CONCEPTS))
    return rng.random((len(codes), CONCEPTS)) < (1 / (1 + np.exp(-logits)))[codes]


@pytest.fixture(scope="module")
def snapshot(space: FeatureSpace) -> Snapshot:
    """Records that are alike by year, whose other fields say nothing, are too few, or are compared."""
    rng = np.random.default_rng(0)
    years = np.repeat(np.arange(1900, 1900 + 2 * YEARS), EACH)
    topics = rng.integers(0, 20, M)
    present = alike_within(rng, years - 1900, 1.0) ^ alike_within(rng, topics, 0.6)
    metadata = [
        {
            "year": int(year), "decade": int(year) // 10, "topic": f"topic {topic}", "main_cat": f"c{topic}",
            "place": f"place {place}", "weight": float(weight), "serial": number,
            "answer_chars": 7 * int(year),
            "half": "late" if year >= 1900 + YEARS else "early",
        }
        for number, (year, topic, place, weight) in enumerate(
            zip(years, topics, rng.integers(0, 80, M), rng.random(M), strict=True)
        )
    ]  # fmt: skip
    return made_snapshot(space, present, unlike_features(space, CONCEPTS), metadata=metadata)


def halves() -> Groups:
    return Groups(("early", "late"), (np.arange(M // 2), np.arange(M // 2, M)))


def test_many_values_of_few_records_that_are_alike_are_the_unit(snapshot: Snapshot) -> None:
    design = design_of(snapshot, halves())
    assert design.unit == "metadata.year"
    assert not design.is_paired
    why, *left = design.notes
    assert why.startswith("records of one metadata.year are alike (design effect ")
    assert left == [note for note in left if note.startswith(f"{LEFT}: ")]
    for field in ("topic", "main_cat"):
        assert f"metadata.{field} (its values may be what is compared" in left[0]
    assert "metadata.answer_chars (its values measure records" in left[0]
    # Neither independent fields, nor those with a value for each record, are candidates.
    assert not any(name in " ".join(design.notes) for name in ("place", "serial", "weight", "half"))


def test_a_field_whose_values_are_the_strata_or_the_axis_is_no_unit(snapshot: Snapshot) -> None:
    assert design_of(snapshot, halves(), strata=("metadata.year",)).unit is None
    rows, codes = halves().pooled, halves().codes
    assert detected_unit(snapshot, rows, codes, never=("metadata.year",)).unit is None
    periods = periods_of(snapshot, "metadata.decade")
    assert drift_design(snapshot, periods, DriftOptions()).unit == "metadata.year"


def test_a_field_of_which_a_group_holds_few_values_is_no_unit(snapshot: Snapshot) -> None:
    few = Groups(("three years", "others"), (np.arange(3 * EACH), np.arange(3 * EACH, M)))
    design = design_of(snapshot, few)
    assert design.unit is None
    assert any("metadata.year (a group holds few of its values" in note for note in design.notes)


def test_values_with_many_records_each_are_no_unit(space: FeatureSpace) -> None:
    rng = np.random.default_rng(1)
    codes = np.tile(np.repeat(np.arange(12), 80), 2)
    present = alike_within(rng, codes, 1.0)
    metadata = [{"ward": f"ward {code}"} for code in codes]
    made = made_snapshot(space, present, unlike_features(space, CONCEPTS), metadata=metadata)
    design = design_of(made, Groups(("a", "b"), (np.arange(960), np.arange(960, 1_920))))
    assert design.unit is None
    assert any("metadata.ward (160 records for each value" in note for note in design.notes)


def test_independent_records_have_no_unit_and_it_is_said(space: FeatureSpace) -> None:
    rng = np.random.default_rng(2)
    present = rng.random((1_200, CONCEPTS)) < 0.2
    metadata = [{"batch": int(number) // 12} for number in range(1_200)]
    made = made_snapshot(space, present, unlike_features(space, CONCEPTS), metadata=metadata)
    groups = Groups(("a", "b"), (np.arange(600), np.arange(600, 1_200)))
    design = design_of(made, groups)
    assert design.unit is None and not design.notes
    assert unit_sentence(design.unit) == "Each record counts as independent of all others."


def test_a_monitor_names_its_unit_and_why(snapshot: Snapshot) -> None:
    alert = monitor(snapshot, np.arange(M // 2), np.arange(M // 2, M), MonitorOptions())
    assert alert.unit == "metadata.year"
    text = str(alert)
    assert "Records with the same metadata.year are not independent" in text
    assert "records of one metadata.year are alike" in text
