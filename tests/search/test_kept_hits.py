"""Hits are plain data: what is kept of them keeps no state of the index; and scores are of records alone."""

from __future__ import annotations

import gc
import pickle
import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from saeindex import FeatureIndex, Record
from saeindex.collection import state as states
from saeindex.collection.sample import read_sample
from tests.samples import sample_records

if TYPE_CHECKING:
    from pathlib import Path

    from saeindex import FeatureSpace
    from tests.samples import RecordingEncoder

QUERIES: tuple[dict[str, Any], ...] = (
    {"text": "galaxies", "where": '"music" OR metadata.year >= 2000', "explain": True},
    {"text": "songs", "where": '"rain in the valley"'},
    {"text": "songs", "steer": "+music:0.4", "explain": True},
    {"property": "about food", "explain": True},
    {"text": "songs", "using": "fused", "group_by": "metadata.topic"},
)


def test_results_that_are_kept_hold_no_state(
    tmp_path: Path, space: FeatureSpace, encoder: RecordingEncoder
) -> None:
    kept: list[Any] = []
    with FeatureIndex.create(tmp_path / "i", space, encoder=encoder) as index:
        old = []
        for number, query in enumerate(QUERIES):
            index.upsert([*sample_records(70), Record("new", f"Written as number {number}.")])
            hits = index.search(**query)
            kept += [hits, hits[0], hits.plan, index.plan(**query), index.concepts.find("music")]
            kept += [hits.feedback, index.search_many(["stars"])]
            old.append(weakref.ref(index.state))
        index.upsert([Record("new", "The last.")])
        gc.collect()
        assert [ref() is None for ref in old] == [True] * len(QUERIES)
    again = pickle.loads(pickle.dumps(kept[0]))
    assert again.to_json() == kept[0].to_json()


@pytest.fixture
def sampled(
    tmp_path: Path, space: FeatureSpace, encoder: RecordingEncoder, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FeatureIndex]:
    """An index of 240 records, of which the first 64 are sampled."""

    def first(*given: Any) -> Any:
        found = read_sample(*given)
        rows = found.rows.take(np.arange(64))
        return type(found)(found.space, rows, found.places, found.total, found.cache)

    monkeypatch.setattr(states, "read_sample", first)
    with FeatureIndex.create(tmp_path / "s", space, encoder=encoder) as index:
        index.upsert(sample_records(240))
        yield index


def test_a_property_s_score_is_the_same_whatever_else_is_asked(sampled: FeatureIndex) -> None:
    asked: dict[str, Any] = {"property": "about food", "limit": 30}
    every = {hit.id: hit.score for hit in sampled.search(**asked)}
    part = sampled.search(**asked, where='metadata.topic = "cooking"', explain=True)
    assert any(hit.id in every for hit in part)
    for hit in part:
        assert hit.score == pytest.approx(every.get(hit.id, hit.score), abs=1e-6)
        assert hit.explanation is not None and hit.explanation.total == pytest.approx(hit.score, abs=1e-5)
    first, last = part[0].id, part[len(part) - 1].id
    compared = sampled.compare("", first, last, property="about food")
    assert compared.score_a == pytest.approx(part[0].score, abs=1e-5)
