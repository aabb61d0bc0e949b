"""The asynchronous index: the same results with concurrent calls, on a directory and an async client."""

from __future__ import annotations

import asyncio
import inspect
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import AsyncQdrantClient, QdrantClient

from saeindex import AsyncFeatureIndex, FeatureIndex, FeatureSpace, Query, Record
from saeindex.errors import InvalidInputError, NotFoundError, StorageError
from saeindex.operations.operation import Method
from saeindex.operations.surfaces import METHODS, AsyncConcepts, AsyncProfiles
from saeindex.search.hits import Hits
from saeindex.types import Using
from tests.samples import RecordingEncoder, sample_records

USING: list[Using] = ["dense", "sae", "fused"]
QUERIES = [
    Query(record.text, using=USING[i % 3], steer="+#7:1" if i % 2 else "", explain=i % 5 == 0)
    for i, record in enumerate(sample_records(50, seed=41))
]


def answers(found: list[Hits]) -> list[list[Any]]:
    return [list(hits) for hits in found]


def test_fifty_concurrent_searches_equal_the_sequential_ones(papers: FeatureIndex) -> None:
    wanted = [papers.search(query) for query in QUERIES]

    async def searched() -> list[Hits]:
        index = AsyncFeatureIndex(papers, workers=8)
        return await asyncio.gather(*(index.search(query) for query in QUERIES))

    assert answers(asyncio.run(searched())) == answers(wanted)


@pytest.mark.parametrize("kind", ["edge", "client", "async client"])
def test_an_index_is_created_filled_and_searched(
    kind: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    space: FeatureSpace,
    encoder: RecordingEncoder,
    records: list[Record],
) -> None:
    monkeypatch.chdir(tmp_path)

    async def used() -> list[Hits]:
        client: QdrantClient | AsyncQdrantClient | None = None
        if kind != "edge":
            client = AsyncQdrantClient(":memory:") if kind == "async client" else QdrantClient(":memory:")
        async with await AsyncFeatureIndex.create(
            "notes", space=space, client=client, encoder=encoder
        ) as index:
            report = await index.upsert(records)
            assert report.indexed == await index.count() == len(records)
            assert await index.delete(["doc-1"]) == 1
            assert (await index.info())["records"] == len(records) - 1
            assert (await index.plan("copper")).total == len(records) - 1
            assert len(await index.concepts.find("copper", 3)) == 3
            assert (await index.concepts.card(7)).id == 7
            assert (await index.concepts.resolve("#7")).features[0].id == 7
            assert (await index.compare("copper", "doc-2", "doc-3")).a == "doc-2"
            assert isinstance(await index.concepts.facets("copper"), list)
            assert isinstance(await index.concepts.exclusions("copper"), list)
            many = await index.search_many(QUERIES)
            one_by_one = await asyncio.gather(*(index.search(query) for query in QUERIES))
            assert [[h.id for h in hits] for hits in many] == [[h.id for h in hits] for hits in one_by_one]
        if kind == "edge":
            async with await AsyncFeatureIndex.open("notes", encoder=encoder) as again:
                assert await again.count() == len(records) - 1
        return many

    assert len(asyncio.run(used())) == len(QUERIES)


def test_errors_are_raised_unchanged(papers: FeatureIndex, tmp_path: Path) -> None:
    async def failed() -> None:
        index = AsyncFeatureIndex(papers)
        with pytest.raises(InvalidInputError, match="limit"):
            await index.search("copper", limit=0)
        with pytest.raises(NotFoundError):
            await AsyncFeatureIndex.open(tmp_path / "nowhere.idx")

    asyncio.run(failed())
    with pytest.raises(InvalidInputError, match="workers"):
        AsyncFeatureIndex(papers, workers=0)


def test_a_closed_index_is_closed(
    tmp_path: Path, space: FeatureSpace, encoder: RecordingEncoder, records: list[Record]
) -> None:
    async def closed() -> FeatureIndex:
        async with await AsyncFeatureIndex.create(tmp_path / "x.idx", space, encoder=encoder) as index:
            await index.upsert(records[:5])
            running = [asyncio.ensure_future(index.search("copper")) for _ in range(20)]
            await asyncio.sleep(0)
        assert all(len(hits) == 5 for hits in await asyncio.gather(*running))
        with pytest.raises(StorageError, match="it was closed"):
            await index.search("copper")
        return index.index

    with pytest.raises(StorageError, match="closed"):
        asyncio.run(closed()).state.store.count()


def test_every_method_has_an_async_version() -> None:
    members = [name for name, _ in inspect.getmembers(FeatureIndex, inspect.isfunction)]
    asked = [name for name in members if not name.startswith("_") and name not in ("close", "perform")]
    assert {"upsert", "copy", "export"} <= set(asked)
    for name in asked:
        method = getattr(AsyncFeatureIndex, name)
        assert inspect.iscoroutinefunction(method)
        assert method.__doc__ == getattr(FeatureIndex, name).__doc__
    twins = (AsyncFeatureIndex, AsyncConcepts, AsyncProfiles)
    for methods, twin in zip(METHODS, twins, strict=True):
        operations = [name for name, one in vars(methods).items() if isinstance(one, Method)]
        assert len(operations) > 5
        assert all(inspect.iscoroutinefunction(getattr(twin, name)) for name in operations)


class Distant(AsyncQdrantClient):
    """A client in memory that answers as late as a server, and counts what waits for it."""

    waiting = most = 0

    @property
    def init_options(self) -> dict[str, Any]:
        return {}

    async def query_points(self, *given: Any, **options: Any) -> Any:
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        await asyncio.sleep(0.02)
        self.waiting -= 1
        return await super().query_points(*given, **options)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_an_event_loop_drives_any_number_of_queries_and_goes_on_meanwhile(
    space: FeatureSpace, encoder: RecordingEncoder, records: list[Record]
) -> None:
    async def searched() -> None:
        client = Distant(":memory:")
        async with await AsyncFeatureIndex.create(
            "far", space, client=client, encoder=encoder, workers=1
        ) as index:
            await index.upsert(records)
            alone = [await index.search(query) for query in QUERIES]
            client.most = 0
            running = [asyncio.ensure_future(index.search(query)) for query in QUERIES]
            cancelled = asyncio.ensure_future(index.search("copper"))
            counted = await index.count()
            cancelled.cancel()
            together = await asyncio.gather(*running)
            for here, there in zip(together, alone, strict=True):
                assert [hit.id for hit in here] == [hit.id for hit in there]
                assert [hit.score for hit in here] == pytest.approx([hit.score for hit in there], abs=1e-6)
            assert counted == len(records)
            assert client.most > 10  # of one thread
            with pytest.raises(asyncio.CancelledError):
                await cancelled
            with pytest.raises(InvalidInputError, match="limit"):
                await index.search("copper", limit=0)
            with pytest.raises(InvalidInputError, match="it would wait for itself"):
                index.index.search("copper")
            assert (await index.plan("copper", where='"copper"', analyze=True)).stages
            # Writes and reads at the same time: each search sees a whole revision.
            writing = asyncio.ensure_future(index.upsert([Record("new", "Copper and tin.")]))
            assert all(len(hits) == 10 for hits in await asyncio.gather(*map(index.search, ["copper"] * 20)))
            await writing
            assert len(await index.diff("metadata.year < 2000")) >= 0
            left = asyncio.ensure_future(index.search("copper"))
            await asyncio.sleep(0)
        assert len(await left) == 10

    asyncio.run(asyncio.wait_for(searched(), 120))


def test_two_async_indexes_are_compared(
    tmp_path: Path, space: FeatureSpace, encoder: RecordingEncoder
) -> None:
    async def told() -> tuple[Any, Any]:
        async with (
            await AsyncFeatureIndex.create(tmp_path / "one.idx", space, encoder=encoder) as one,
            await AsyncFeatureIndex.create(tmp_path / "two.idx", space, encoder=encoder) as two,
        ):
            await one.upsert(sample_records(70, seed=1))
            await two.upsert(sample_records(70, seed=2))
            return await one.diff(other=two), await one.diff(other=two.index)

    first, second = asyncio.run(told())
    assert first.groups == {"a": 70, "b": 70} and first.to_json() == second.to_json()
