"""Groups by where texts are those that the engine's filters select."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from saeindex import FeatureIndex, FeatureSpace
from saeindex.analysis.stats.design import design_of
from saeindex.analysis.stats.groups import Groups, Selector
from saeindex.collection.records import record_ids
from saeindex.errors import InvalidInputError, NotFoundError
from saeindex.operations.analysis import Reading
from saeindex.operations.search import searcher_of
from tests.analysis.planted_snapshots import made_snapshot

WHERES = [
    'metadata.topic = "music"',
    'NOT metadata.topic = "music" AND metadata.year >= 2010',
    "metadata.year BETWEEN 1995 AND 2003",
    'metadata.topic IN ("music", "cooking") OR metadata.score < 0.1',
    "EXISTS(metadata.year)",
    '"music" AND metadata.year < 2015',
    'strong("music") OR typical("food")',
    'AT LEAST 2 OF ("music", "opera", metadata.year > 2000)',
    'record_id = "doc-3"',
    "NOT #28",
]


@pytest.mark.parametrize("where", WHERES)
def test_a_where_text_selects_what_the_engine_selects(papers: FeatureIndex, where: str) -> None:
    snapshot = papers.state.snapshot()
    rows = Reading(papers.state).selector(snapshot)(where)
    condition = searcher_of(papers.state).planner.condition(where)
    assert {snapshot.ids[row] for row in rows} == record_ids(papers.state.store, condition)


def test_a_field_that_no_record_has_is_an_error(papers: FeatureIndex) -> None:
    with pytest.raises(NotFoundError, match=r"metadata\.topic"):
        Reading(papers.state).selector(papers.state.snapshot())("metadata.topik = 1")


def test_units_that_both_groups_share_make_a_paired_design(papers: FeatureIndex) -> None:
    snapshot = papers.state.snapshot()
    groups = Groups(("a", "b"), (np.arange(0, 120), np.arange(120, 240)))
    design = design_of(snapshot, groups, "metadata.topic")
    assert design.is_paired and design.unit == "metadata.topic"
    assert not design_of(snapshot, groups, "metadata.topic", paired=False).is_paired
    assert design_of(snapshot, groups).unit is None  # no field's name says where records come from


def test_short_texts_are_compared_within_bins_of_length(papers: FeatureIndex) -> None:
    snapshot = papers.state.snapshot()
    groups = Groups(("a", "b"), (np.arange(0, 120), np.arange(120, 240)))
    assert design_of(snapshot, groups).by == ("length (5 bins)",)
    assert design_of(snapshot, groups, length_bins=0).by == ()
    both = design_of(snapshot, groups, strata=("metadata.topic",), length_bins=3)
    assert both.by == ("metadata.topic", "length (3 bins)")
    assert both.strata.max() >= 16
    with pytest.raises(InvalidInputError, match="length_bins"):
        design_of(snapshot, groups, length_bins=99)


def test_a_number_and_its_text_are_two_groups(space: FeatureSpace) -> None:
    metadata: list[dict[str, Any]] = [{"v": 1 if i < 60 else "1"} for i in range(100)]
    snapshot = made_snapshot(space, np.zeros((100, 1), bool), [0], metadata=metadata)
    groups = Selector(snapshot, lambda _: [], lambda _: []).by_value("metadata.v")
    assert groups.sizes == {"1": 60, '"1"': 40}
