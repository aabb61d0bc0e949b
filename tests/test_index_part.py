"""A part of an index: it answers as an index that has no other records, and is only read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import QdrantClient

from saeindex import AsyncFeatureIndex, FeatureIndex, FeatureSpace, Query, Record
from saeindex.errors import InvalidInputError, NotFoundError
from saeindex.files import CACHE_VARIABLE
from saeindex.protocols import Fusion, SearchRequest
from saeindex.stores.base import pages
from tests.samples import RecordingEncoder, sample_records

OWN = 'metadata.topic IN ("music", "weather", "cooking")'
TOPICS = {"music", "weather", "cooking"}
SPLIT = 12


@pytest.fixture(scope="module")
def texts() -> list[Record]:
    return sample_records(400, seed=77)


@pytest.fixture(scope="module")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Embeddings that other tests made in other batches differ in their last bits."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module", params=["directory", "client", "documents"])
def whole(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    space: FeatureSpace,
    session_encoder: RecordingEncoder,
    texts: list[Record],
    own_cache: None,
) -> Iterator[FeatureIndex]:
    client = QdrantClient(":memory:") if request.param == "client" else None
    path = "whole" if client else tmp_path_factory.mktemp("part") / "whole.idx"
    with FeatureIndex.create(path, space, client=client, encoder=session_encoder) as index:
        index.upsert(texts, split=SPLIT if request.param == "documents" else None, learn_terms=False)
        index.concepts.rename(7, "a name that tells of others")
        index.profiles.fit("theirs", like=[next(iter(index.scroll(limit=1)[0])).id])
        yield index


@pytest.fixture(scope="module")
def part(whole: FeatureIndex) -> FeatureIndex:
    return whole.part(OWN)


@pytest.fixture(scope="module")
def alone(
    whole: FeatureIndex,
    tmp_path_factory: pytest.TempPathFactory,
    space: FeatureSpace,
    session_encoder: RecordingEncoder,
    texts: list[Record],
) -> Iterator[FeatureIndex]:
    client = QdrantClient(":memory:") if whole.state.folder is None else None
    path = "alone" if client else tmp_path_factory.mktemp("part") / "alone.idx"
    with FeatureIndex.create(path, space, client=client, encoder=session_encoder) as index:
        own = [record for record in texts if record.metadata["topic"] in TOPICS]
        index.upsert(own, split=SPLIT if whole.state.has_documents else None, learn_terms=False)
        yield index


def clustered(index: FeatureIndex) -> list[Any]:
    found = index.cluster({"subject": ["music", "weather"]})
    return [found.clusters, found.leakage, found.verdict, found.ids, found.codes.tolist()]


QUERIES: dict[str, Callable[[FeatureIndex], Any]] = {
    "topic": lambda index: list(index.search("an opera in summer", limit=30)),
    "deep": lambda index: list(index.search("bread", limit=20, offset=40)),
    "where": lambda index: list(index.search("bread", where='"music" AND metadata.year > 2000', limit=50)),
    "only where": lambda index: list(index.search(where='NOT "weather"', limit=400)),
    "fused": lambda index: list(index.search("a storm", using="fused", limit=30)),
    "steered": lambda index: list(index.search("a storm", steer="+music:2", explain=True, limit=20)),
    "property": lambda index: list(index.search(property="sounds disappointed", limit=30, explain=True)),
    "against": lambda index: list(index.search(property="a question", against=["a statement"], limit=30)),
    "grouped": lambda index: index.search("rain", group_by="metadata.topic", limit=5).groups,
    "diverse": lambda index: list(index.search("rain", diversity=0.5)),
    "count": lambda index: (len(index), index.count('"music"'), index.count("metadata.year > 2010")),
    "features": lambda index: index.concepts.find("music"),
    "concept": lambda index: index.concepts.resolve("bad weather"),
    "card": lambda index: index.concepts.card(index.concepts.resolve("music").features[0].id),
    "facets": lambda index: index.concepts.facets("a summer thunderstorm"),
    "labels": lambda index: [label.text for label in index.space.labels],
    "fields": lambda index: index.metadata_fields(),
    "diff": lambda index: asdict(index.diff(a="metadata.year < 2005", b="metadata.year >= 2005")),
    "correlate": lambda index: (index.correlate(limit=20).units, index.correlate(limit=20).results),
    "companions": lambda index: (
        len(index),
        index.concepts.companions(index.concepts.resolve("music").features[0].id),
    ),
    "cluster": clustered,
    "drift": lambda index: asdict(index.drift("metadata.year")),
    "profile": lambda index: asdict(index.describe('metadata.topic = "music"')),
}


@pytest.mark.parametrize("name", QUERIES)
def test_a_part_answers_as_an_index_of_its_records(
    part: FeatureIndex, alone: FeatureIndex, name: str
) -> None:
    found, wanted = QUERIES[name](part), QUERIES[name](alone)
    assert wanted
    assert _without_revision(found) == _without_revision(wanted)


def _without_revision(found: Any) -> Any:
    return {key: one for key, one in found.items() if key != "revision"} if isinstance(found, dict) else found


def test_a_part_knows_nothing_of_the_others(
    whole: FeatureIndex, part: FeatureIndex, texts: list[Record]
) -> None:
    listed = whole.scroll(limit=10_000)[0]
    hidden = [one.id for one in listed if one.metadata["topic"] not in TOPICS]
    shown = [one.id for one in listed if one.metadata["topic"] in TOPICS]
    assert part.get(hidden) == []
    assert [one.id for one in part.get([*hidden, *shown])] == shown
    assert len(part) == len(part.get(shown)) < len(whole)
    assert part.profiles.names() == []
    assert part.concepts.history() == []
    assert "a name that tells of others" not in {label.text for label in part.space.labels}
    for asked in (Query(like=hidden[:1]), Query("rain", unlike=hidden[:1])):
        with pytest.raises(NotFoundError):
            part.search(asked)
    with pytest.raises(NotFoundError):
        part.compare("rain", hidden[0], shown[0])
    theirs = 'metadata.topic = "finance"'
    assert part.count(theirs) == 0
    assert list(part.search("interest rates", where=f'{theirs} OR NOT "finance"', limit=400)) != []
    assert {hit.metadata["topic"] for hit in part.search("interest rates", limit=400)} == TOPICS


def test_no_filter_of_a_search_widens_it(whole: FeatureIndex, part: FeatureIndex) -> None:
    ids = {point.id for page in pages(part.state.store) for point in page.points}
    (vector,) = whole.encoder.encode_query(["interest rates"])
    dense = SearchRequest(vector, limit=1_000, exact=False, postfilter=500)
    fused = SearchRequest(Fusion(), limit=1_000, prefetch=(dense,))
    again = SearchRequest(vector, limit=1_000, prefetch=(dense,))
    for request in (dense, fused, again):
        assert {point.id for point in part.state.store.search(request)} == ids
    others = [point.id for page in pages(whole.state.store) for point in page.points if point.id not in ids]
    assert part.state.store.get(others) == part.state.store.get([]) == []


def test_a_part_cannot_be_changed(part: FeatureIndex, whole: FeatureIndex, tmp_path: Path) -> None:
    before, kept = len(whole), whole.state.manifest
    for change in (
        lambda: part.upsert([Record("new", "rain")]),
        lambda: part.delete(where=OWN),
        lambda: part.concepts.rename(5, "own name"),
    ):
        with pytest.raises(InvalidInputError, match="only read"):
            change()
    part.copy(tmp_path / "copy.idx")
    with FeatureIndex.open(tmp_path / "copy.idx", encoder=whole.encoder) as copied:
        assert len(copied) == len(part)
    part.close()
    assert (len(whole), whole.state.manifest) == (before, kept)


def test_a_part_needs_a_condition(whole: FeatureIndex) -> None:
    with pytest.raises(InvalidInputError, match="no condition"):
        whole.part()


def test_a_part_of_an_asynchronous_index(whole: FeatureIndex) -> None:
    async def counted() -> int:
        part = await AsyncFeatureIndex(whole).part(OWN)
        return await part.count()

    assert asyncio.run(counted()) == len(whole.part(OWN))
