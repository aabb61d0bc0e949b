"""Pages that go on after the last hit, whatever is written in between."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from saeindex import FeatureIndex, FeatureSpace, Record
from saeindex.errors import InvalidInputError
from saeindex.search import by_field, plan
from saeindex.search.hits import Hits
from tests.samples import RecordingEncoder, sample_records

TEXT = "the price of copper"
WAYS: dict[str, dict[str, Any]] = {
    "fused": {"text": TEXT},
    "dense": {"text": TEXT, "using": "dense"},
    "steered and explained": {"text": TEXT, "steer": "+music", "explain": True},
    "words": {"text": "the price of copper and rain, soup and tests", "using": "words"},
    "filtered": {"text": TEXT, "where": "metadata.year > 2000"},
    "property": {"property": "complains"},
    "listed": {"where": "metadata.year > 2000"},
    "ordered": {"order_by": "metadata.year desc"},
    "boosted": {"text": TEXT, "boost": "metadata.score"},
}


@pytest.fixture
def index(tmp_path: Path, space: FeatureSpace, encoder: RecordingEncoder) -> Iterator[FeatureIndex]:
    with FeatureIndex.create(tmp_path / "a.idx", space, encoder=encoder) as made:
        made.upsert(sample_records(80), learn_terms=False)
        yield made


def pages(index: FeatureIndex, asked: dict[str, Any], limit: int = 7) -> Iterator[Hits]:
    page = index.search(**asked, limit=limit)
    yield page
    while page.next is not None:
        page = index.search(**asked, limit=limit, after=page.next)
        yield page


@pytest.mark.parametrize("way", WAYS)
def test_pages_are_those_of_one_long_page(way: str, index: FeatureIndex) -> None:
    whole = index.search(**WAYS[way], limit=1_000)
    assert whole.next is None and len(whole) > 8
    found = [hit for page in pages(index, WAYS[way]) for hit in page]
    assert [(hit.id, hit.score) for hit in found] == [(hit.id, hit.score) for hit in whole]
    assert Hits.from_json(index.search(**WAYS[way], limit=3).to_json()).next


@pytest.mark.parametrize("way", ["fused", "boosted", "ordered"])
def test_pages_go_on_where_scores_are_not_in_order_and_end_with_the_last(
    way: str, index: FeatureIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "WITH_WORDS", 16)  # what a fused search ranks first, and then the rest
    monkeypatch.setattr(by_field, "POOL", 16)
    asked = {**WAYS[way], "steer": "+music:1"} if way == "fused" else WAYS[way]
    whole = [hit.id for hit in index.search(**asked, limit=80)]
    assert len(whole) == 80
    for limit in (7, 10):  # with 10, the last page is full
        found = [[hit.id for hit in page] for page in pages(index, asked, limit)]
        assert [one for page in found for one in page] == whole


@pytest.mark.parametrize("way", ["fused", "dense", "filtered", "listed", "ordered", "boosted"])
def test_nothing_is_repeated_or_missed_because_of_a_write(way: str, index: FeatureIndex) -> None:
    asked = WAYS[way]
    whole = [hit.id for hit in index.search(**asked, limit=1_000)]
    first = index.search(**asked, limit=10)
    better = [
        Record(f"new-{n}", f"The price of copper, {n}.", {"topic": "finance", "year": 2100, "score": 1.0})
        for n in range(200)
    ]
    index.upsert(better, learn_terms=False)
    second = [hit.id for hit in index.search(**asked, limit=10, after=first.next)]
    kept = [one for one in second if not one.startswith("new-")]
    assert kept == whole[10 : 10 + len(kept)] and not {*second} & {hit.id for hit in first}
    assert len(kept) == 10 or way == "listed"
    index.delete([first[-1].id])
    again = [hit.id for hit in index.search(**asked, limit=10, after=first.next)]
    assert again == second or way == "ordered"


@pytest.mark.parametrize("wrong", ["", "x", "1:2", "0.5:1:a", "1:x:doc-1", "1:0.5:no uuid"])
def test_a_place_in_no_ranking_is_refused(wrong: str, index: FeatureIndex) -> None:
    with pytest.raises(InvalidInputError, match="no place in a ranking"):
        index.search(TEXT, after=wrong)


@pytest.mark.parametrize("beside", [{"offset": 3}, {"diversity": 0.5}, {"group_by": "metadata.topic"}])
def test_pages_by_offset_and_in_groups_are_others(beside: dict[str, Any], index: FeatureIndex) -> None:
    place = index.search(TEXT, limit=3).next
    with pytest.raises(InvalidInputError, match="after"):
        index.search(TEXT, after=place, **beside)


def test_a_place_is_of_one_query(index: FeatureIndex) -> None:
    page = index.search(TEXT, limit=5)
    assert len(index.search(TEXT, limit=9, after=page.next, explain=True, include=["text"])) == 9
    others: list[dict[str, Any]] = [
        {"text": "soup"}, {"text": TEXT, "using": "dense"}, {"text": TEXT, "where": '"music"'},
    ]  # fmt: skip
    for other in others:
        with pytest.raises(InvalidInputError, match="the place of another query"):
            index.search(**other, after=page.next)
