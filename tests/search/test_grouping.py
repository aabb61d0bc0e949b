"""Groups as Qdrant makes them, against a loop over the whole ranking."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import QdrantClient

from saeindex import FeatureIndex, FeatureSpace, Record
from saeindex.errors import InvalidInputError
from saeindex.search.grouping import values_at
from saeindex.search.query import GroupBy
from tests.samples import RecordingEncoder, prepared

TEXT = "the price of copper"
MODES: list[dict[str, Any]] = [
    {},
    {"using": "sae"},
    {"using": "fused"},
    {"using": "fused", "explain": True},
]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [1, 3])
def test_groups_are_the_ranking_split_by_value(
    any_papers: FeatureIndex, mode: dict[str, Any], size: int
) -> None:
    wanted: dict[str, list[str]] = {}
    for hit in any_papers.search(TEXT, limit=240, **mode):
        wanted.setdefault(hit.metadata["topic"], []).append(hit.id)
    hits = any_papers.search(TEXT, group_by=GroupBy("metadata.topic", size=size), limit=5, **mode)
    assert [group.value for group in hits.groups] == list(wanted)[:5]
    for group in hits.groups:
        assert [hit.id for hit in group.hits] == wanted[str(group.value)][:size]
    assert list(hits) == [hit for group in hits.groups for hit in group.hits]


def test_groups_equal_those_of_qdrant(memory_papers: FeatureIndex) -> None:
    client: QdrantClient = memory_papers.state.store._client  # type: ignore[attr-defined]
    vector = prepared(memory_papers, TEXT).vector.tolist()
    found = client.query_points_groups(
        "papers", group_by="metadata.topic", query=vector, using="dense", limit=4, group_size=3
    )
    hits = memory_papers.search(TEXT, using="dense", group_by="metadata.topic", limit=4)
    theirs = [(g.id, [point.payload["record_id"] for point in g.hits if point.payload]) for g in found.groups]
    assert [(group.value, [hit.id for hit in group.hits]) for group in hits.groups] == theirs


@pytest.mark.parametrize("mode", [*MODES, {"diversity": 0.6}])
def test_pages_of_groups_neither_overlap_nor_skip(any_papers: FeatureIndex, mode: dict[str, Any]) -> None:
    options = {"group_by": {"field": "metadata.year", "size": 2}, **mode}
    whole = [(g.value, [h.id for h in g.hits]) for g in any_papers.search(TEXT, limit=40, **options).groups]
    assert len(whole) > 30
    paged = [any_papers.search(TEXT, limit=6, offset=at, **options) for at in range(0, 42, 6)]
    assert [(g.value, [h.id for h in g.hits]) for page in paged for g in page.groups] == whole


@pytest.fixture(scope="module")
def letters(
    tmp_path_factory: pytest.TempPathFactory, space: FeatureSpace, session_encoder: RecordingEncoder
) -> Iterator[FeatureIndex]:
    """Letters in several records; some have several tags, some none."""
    text = "Copper rose today. Bonds fell a little. The mayor spoke of taxes. Nobody was surprised by it. "
    tags: list[Any] = [["a", "b"], "a", None, ["b", "b", 1, True], [], 2.5, {"deep": "x"}]
    records = [
        Record(f"letter-{i}", text * 3 + f"Number {i}.", {} if tag is None else {"tags": tag})
        for i, tag in enumerate(tags)
    ]
    path = tmp_path_factory.mktemp("letters") / "letters.idx"
    with FeatureIndex.create(path, space, encoder=session_encoder) as index:
        index.upsert(records, split=20)
        yield index


def test_a_record_is_in_a_group_for_each_of_its_values(letters: FeatureIndex) -> None:
    hits = letters.search(TEXT, group_by=GroupBy("metadata.tags", size=9), limit=20)
    members = {(type(g.value), g.value): {hit.document for hit in g.hits} for g in hits.groups}
    assert members == {
        (str, "a"): {"letter-0", "letter-1"},
        (str, "b"): {"letter-0", "letter-3"},
        (int, 1): {"letter-3"},
        (bool, True): {"letter-3"},
        (float, 2.5): {"letter-5"},
    }


def test_records_are_grouped_by_their_document(letters: FeatureIndex) -> None:
    hits = letters.search(TEXT, group_by=GroupBy("document", size=2), limit=4, explain=True)
    assert [len(group.hits) for group in hits.groups] == [2] * 4
    for group in hits.groups:
        first, second = group.hits
        assert first.document == second.document == group.value
        assert first.id != second.id
        assert first.score >= second.score
    every = letters.search(TEXT, limit=100)
    assert [group.value for group in hits.groups] == list(dict.fromkeys(hit.document for hit in every))[:4]


def test_a_record_of_no_document_is_a_group_by_itself(papers: FeatureIndex) -> None:
    hits = papers.search(TEXT, group_by="document", limit=5)
    assert [group.value for group in hits.groups] == [hit.id for hit in papers.search(TEXT, limit=5)]


def test_values_are_read_at_a_dotted_path() -> None:
    payload: dict[str, Any] = {"metadata": {"a": {"b": [1, 1, "x", None, {}]}, "n": None}}
    assert values_at(payload, "metadata.a.b") == [1, "x"]
    assert values_at(payload, "metadata.n") == values_at(payload, "metadata.a.b.c") == []


@pytest.mark.parametrize(
    "options",
    [
        {"group_by": "topic"},
        {"group_by": "metadata."},
        {"group_by": ""},
        {"group_by": "record_id"},
        {"group_by": 3},
        {"group_by": {"field": "document", "size": 0}},
        {"group_by": {"field": "document", "size": True}},
    ],
)
def test_invalid_grouping_is_refused(papers: FeatureIndex, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match=r"group|field"):
        papers.search(TEXT, **options)


def test_without_group_by_there_are_no_groups(papers: FeatureIndex) -> None:
    assert papers.search(TEXT).groups == ()


def test_equal_texts_are_one_hit(tmp_path: Path, space: FeatureSpace, encoder: RecordingEncoder) -> None:
    texts = ["The parcel is late."] * 8 + [
        "The  parcel is late.\n",
        "Where is the parcel?",
        "A song about rain.",
    ]
    with FeatureIndex.create(tmp_path / "i", space, encoder=encoder) as index:
        index.upsert([Record(str(number), text) for number, text in enumerate(texts)])
        for query in ({"text": "late parcel"}, {"property": "about parcels"}):
            hits = index.search(**query, group_by="text", limit=3)  # type: ignore[call-overload]
            assert len({" ".join(hit.text.split()) for hit in hits}) == len(hits) == 3
            assert not hits.plan.warnings
            again = index.search(**query, group_by="text", limit=1, offset=1)  # type: ignore[call-overload]
            assert again[0].id == hits[1].id
