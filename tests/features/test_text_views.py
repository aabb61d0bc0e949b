"""Views of texts, and splits that keep the views of one document together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saeindex import Record
from saeindex.errors import InvalidInputError
from saeindex.features.fitting import draw_views, split_by_group

LONG = "The first sentence is here. Then comes a second sentence. A third sentence ends it all."


def test_each_record_gives_its_available_views() -> None:
    records: list[Record | str] = [Record("1", LONG, {"title": "On sentences"}), "Too short to be cut."]
    texts, owners = draw_views(records, ("whole", "sentence", "window", "title"), seed=1)
    assert owners.tolist() == [0, 0, 0, 0, 1]
    assert texts[0] == LONG
    assert texts[1] in LONG and texts[1].count(".") == 1
    assert texts[2] in LONG and texts[2].count(".") == 2
    assert texts[3:] == ["On sentences", "Too short to be cut."]
    assert draw_views(records, ("sentence",), seed=1)[1].tolist() == [0, 1]


def test_unknown_views_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="no such views"):
        draw_views([LONG], ("whole", "paragraph"))


@given(st.lists(st.integers(0, 40), min_size=1, max_size=300), st.integers(0, 9))
def test_no_document_is_on_both_sides_of_a_split(owners: list[int], seed: int) -> None:
    groups = np.array(owners)
    split = split_by_group(groups, seed)
    parts = [split.kept, split.validation, split.held_out]
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(groups)))
    sets = [set(groups[part].tolist()) for part in parts]
    assert not (sets[0] & sets[1] or sets[0] & sets[2] or sets[1] & sets[2])
