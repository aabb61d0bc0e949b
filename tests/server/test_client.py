"""The client gives what the index itself gives, of the same types; its errors are the library's."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pandas
import pytest
from fastapi.testclient import TestClient

from saeindex import AsyncClient, Client, FeatureIndex, Query, Record, Steer
from saeindex.client import AsyncRemoteIndex, RemoteIndex
from saeindex.client.connection import read
from saeindex.errors import (
    AccessError,
    FilterWarning,
    InvalidInputError,
    NotFoundError,
    QuerySyntaxError,
    RejectedError,
    ServerError,
)
from saeindex.operations.differences import Describe
from tests.samples import assert_alike, sample_records
from tests.server.conftest import on_a_port, served

MUSIC, SECONDS = 'metadata.topic = "music"', 60.0
# What is only where the index is: its parts, and what opens, copies or closes it.
LOCAL_ONLY = {
    "close", "copy", "create", "create_payload_index", "delete_payload_index", "encoder", "is_closed", "open",
    "part", "refresh", "space", "state", "warm",
}  # fmt: skip


@pytest.fixture(scope="module")
def url(client: TestClient) -> Iterator[str]:
    """The same server, on a port."""
    with on_a_port(client) as url:
        yield url


@pytest.fixture(scope="module")
def remote(url: str) -> Iterator[RemoteIndex]:
    with Client(url) as opened:
        yield opened.index("papers")


@pytest.fixture(scope="module")
def local(client: TestClient) -> FeatureIndex:
    """The index itself, in the server."""
    service = client.app.state.service  # type: ignore[attr-defined]
    index: FeatureIndex = service.hosts.get("papers").whole()
    return index


ASKED: dict[str, Callable[[Any], Any]] = {
    "search": lambda index: index.search("violin", limit=5, explain=True, steer="+rain:0.5"),
    "grouped": lambda index: index.search("violin", group_by="metadata.topic", limit=3),
    "by property": lambda index: index.search(property="is sad", against=["is happy"], limit=4),
    "a query": lambda index: index.search(Query("soup", steer=[Steer("cooking", 0.3)], where=MUSIC)),
    "filtered": lambda index: index.search(
        "soup", query_filter={"must": [{"key": "metadata.topic", "match": {"value": "cooking"}}]}
    ),
    "search_many": lambda index: index.search_many(["a", Query("b", limit=2)], limit=3),
    "plan": lambda index: index.plan("soup", where='"cooking" AND NOT "rain"'),
    "compare": lambda index: index.compare("opera", "doc-1", "doc-2"),
    "facets": lambda index: index.concepts.facets("an instrument"),
    "exclusions": lambda index: index.concepts.exclusions("an instrument"),
    "all at once": lambda index: index.search(
        "violin",
        where='NOT "rain" AND metadata.year > 1990',
        property="is sad",
        against=["is happy"],
        group_by="metadata.topic",
        explain=True,
        limit=3,
        steer="+cooking:0.3",
        exclude=["doc-1", "doc-2"],
    ),
    "a record in several groups": lambda index: index.search("soup", group_by="document", explain=True),
    "analyzed": lambda index: index.plan("soup", where='"cooking"', analyze=True).matching,
    "features": lambda index: index.concepts.find("rain", 4),
    "concept": lambda index: index.concepts.resolve("rain"),
    "feature": lambda index: index.concepts.card(7),
    "companions": lambda index: index.concepts.companions(index.concepts.find("rain", 1)[0].id),
    "get": lambda index: index.get(["doc-1", "doc-2", "none"]),
    "scroll": lambda index: index.scroll(MUSIC, limit=3, include=["vectors"]),
    "count": lambda index: index.count(MUSIC),
    "len": len,
    "contains": lambda index: ("doc-1" in index, "none" in index),
    "fields": lambda index: index.metadata_fields(),
    "profiles": lambda index: index.profiles.names(),
    "names": lambda index: index.concepts.history(),
    "diff": lambda index: index.diff(a=MUSIC, families=("concepts", "words")),
    "correlate": lambda index: index.correlate(min_support=3, limit=5),
    "correlate named": lambda index: index.correlate(["sad=feeling sad"], ["rain=about rain"]),
    "triggers": lambda index: index.triggers("sad=feeling sad", prompt_field=""),
    "cluster": lambda index: index.cluster(
        {"subject": ["music", "cooking", "weather"]}, assign=["a violin", "it rains"]
    ),
    "drift": lambda index: index.drift("metadata.year"),
    "monitor": lambda index: index.monitor("metadata.year < 2010", "metadata.year >= 2010"),
    "baseline": lambda index: index.baseline("metadata.year < 2010"),
    "describe": lambda index: index.describe(MUSIC),
    "evaluate": lambda index: index.evaluate([("rain", ["doc-1"]), ("a violin", ["doc-2", "none"])]),
}


@pytest.mark.parametrize("name", ASKED)
def test_the_client_gives_what_the_index_gives(remote: RemoteIndex, local: FeatureIndex, name: str) -> None:
    here, there = ASKED[name](local), ASKED[name](remote)
    assert type(there) is type(here)
    assert_alike(told(there), told(here))
    if hasattr(here, "to_pandas"):
        assert list(there.to_pandas().columns) == list(here.to_pandas().columns)
    assert shown(there) == shown(here)


def told(value: Any) -> Any:
    if hasattr(value, "to_json"):
        return value.to_json()
    if hasattr(value, "model_dump"):
        return value.model_dump()
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return [told(one) for one in value] if isinstance(value, list | tuple) else value


def shown(value: Any) -> str:
    return str([shown(one) for one in value]) if isinstance(value, list) else str(value)


def test_every_method_of_an_index_is_offered_or_named_as_not(remote: RemoteIndex) -> None:
    public = {name for name in dir(FeatureIndex) if not name.startswith("_")}
    offered = {name for name in dir(RemoteIndex) if not name.startswith("_")}
    assert public - offered <= LOCAL_ONLY
    assert offered - public == {"submit", "submit_upsert"}
    assert {name for name in dir(AsyncRemoteIndex) if not name.startswith("_")} == offered
    page = (Path(__file__).parents[2] / "docs" / "server.md").read_text()
    assert all(f"`{name}`" in page for name in public - offered)


def test_records_are_added_replaced_deleted_and_exported(remote: RemoteIndex, tmp_path: Path) -> None:
    seen: list[int] = []
    before = len(remote)
    records = [*sample_records(700, 9, "client"), Record("nested", "A text.", {"a": {"b": [1, 2]}})]
    report = remote.upsert(records, progress=seen.append)
    assert (report.read, report.indexed, report.rejected) == (701, 701, 0)
    assert sum(seen) == 701
    assert remote.upsert(records[:10]).unchanged == 10
    assert len(remote) == before + 701
    table = tmp_path / "table.csv"
    table.write_text("key,body\nk1,First text\nk2,\n")
    with pytest.raises(RejectedError, match="1 of 2 records were rejected") as caught:
        remote.upsert(table, columns={"text": "body"})
    assert (caught.value.report.indexed, caught.value.report.rejected) == (1, 1)
    report = remote.upsert(table, columns={"text": "body", "id": "key"}, allow_rejects=True)
    assert (report.read, report.unchanged, report.rejected) == (2, 1, 1)
    assert len(report.reasons) == 1 and report.reasons[0].startswith("1 × ")
    assert remote.get(["nested"])[0].metadata == {"a": {"b": [1, 2]}}
    file = tmp_path / "out.jsonl"
    assert remote.export(file, 'record_id IN ("k1", "nested")', include=["concepts"]) == 2
    assert {json.loads(line)["id"] for line in file.read_text().splitlines()} == {"k1", "nested"}
    assert remote.delete([record.id for record in records]) == 701
    assert remote.delete(where='record_id = "k1"') == 1
    assert len(remote) == before


def test_further_texts_are_read_as_the_index_reads_them(tmp_path: Path) -> None:
    FeatureIndex.create(tmp_path / "papers.idx", fields=("prompt",)).close()
    row = {"text": "A reply.", "prompt": "A question?", "year": 7}
    sources: list[Any] = [
        [{"id": "0", **row}],
        pandas.DataFrame([{"id": "1", **row}]),
        [{"id": "2", "text": "A reply.", "fields": {"prompt": "A question?"}, "metadata": {"year": 7}}],
        (Record("3", "A reply.", {"year": 7}, {"prompt": "A question?"}) for _ in "a"),  # read once only
    ]
    with served(tmp_path) as client, on_a_port(client) as url, Client(url) as opened:
        remote = opened.index("papers")
        assert [remote.upsert(source).indexed for source in sources] == [1] * 4
        found = remote.get(["0", "1", "2", "3"])
        assert [one.fields for one in found] == [{"prompt": "A question?"}] * 4
        assert [one.metadata for one in found] == [{"year": 7}] * 4
        bad: list[Any] = [Record("4", "A reply.", {}, {"bogus": "x"}), {"text": "b", "prompt": 5}]
        report = remote.upsert(bad, allow_rejects=True)
        assert (report.read, report.rejected, len(report.reasons)) == (2, 2, 2)
        remote.upsert(
            [{"id": "5", "text": "A reply. Kind regards, & more."}], leave_out=["Kind regards, & more."]
        )
        assert remote.info()["leave_out"] == ["Kind regards, & more."]


def test_only_an_index_of_the_same_server_is_compared(remote: RemoteIndex, local: FeatureIndex) -> None:
    with Client("http://localhost:9") as elsewhere:
        for other in (elsewhere.index("papers"), local, 5):
            with pytest.raises(InvalidInputError, match="elsewhere"):
                remote.diff(other=other)
    assert not len(remote.diff(other=remote)) and not len(remote.diff(other="papers"))


def test_a_report_is_of_records_that_were_indexed(remote: RemoteIndex) -> None:
    job = remote.submit(Describe(MUSIC))
    for _ in range(2):
        with pytest.raises(ServerError, match="the report of job"):
            _ = job.report
        job.wait()


def test_a_host_of_another_kind_is_named() -> None:
    for kind in ("text/html", "application/json; charset=utf-8"):
        answer = httpx2.Response(200, content=b"{}", headers={"content-type": kind})
        answer.request = httpx2.Request("GET", "http://host.example/v1/indexes")
        if kind == "text/html":
            with pytest.raises(ServerError, match="another kind of server"):
                read(answer)
        else:
            assert read(answer) == {}


def test_names_and_profiles_are_kept(remote: RemoteIndex) -> None:
    remote.concepts.rename("#11", "my name")
    assert remote.concepts.card(11).label == "my name"
    assert remote.concepts.history()[-1].name == "my name"
    remote.concepts.hide(11)
    remote.concepts.hide(11, False)
    profile = remote.profiles.fit("mine", like=["doc-1", "doc-2"])
    assert remote.profiles.get("mine") == profile
    assert "mine" in remote.profiles.names()
    assert remote.search("rain", steer="+profile:mine:0.5", limit=1).drift > 0
    remote.profiles.delete("mine")
    assert "mine" not in remote.profiles.names()


def test_warnings_of_filters_are_those_of_the_library(remote: RemoteIndex) -> None:
    for ask in (remote.count, partial(remote.search, "songs", limit=1)):
        with pytest.warns(FilterWarning, match="no record has metadata.NOPE"):
            ask(where="metadata.NOPE = 3")


def test_errors_are_those_of_the_library(remote: RemoteIndex, url: str) -> None:
    with pytest.raises(QuerySyntaxError):
        remote.search("a", where="year >")
    with pytest.raises(InvalidInputError, match="limit"):
        remote.search("a", limit=0)
    with pytest.raises(NotFoundError):
        remote.profiles.get("none")
    with pytest.raises(NotFoundError):
        remote.diff(a="metadata.none = 1")
    with pytest.raises(InvalidInputError, match="Did you mean limit"):
        remote.search("a", lmit=3)  # type: ignore[call-overload]
    with Client("http://localhost:9", retries=0) as nobody, pytest.raises(ServerError, match="Check the URL"):
        nobody.indexes()


def test_a_key_that_does_not_allow_it_is_an_access_error(tmp_path: Path) -> None:
    with served(tmp_path) as client:
        _, text = client.app.state.service.keys.create("reader", ["read"])  # type: ignore[attr-defined]
        for key in ("sae_wrong", text):
            answer = client.post(
                "/v1/indexes/papers/diff", json={"a": MUSIC}, headers={"Authorization": f"Bearer {key}"}
            )
            with pytest.raises(AccessError):
                read(answer)


def test_a_request_is_asked_again_while_the_server_is_full(client: TestClient, url: str) -> None:
    service = client.app.state.service  # type: ignore[attr-defined]
    service.running += 1_000
    threading.Timer(0.5, lambda: setattr(service, "running", service.running - 1_000)).start()
    with Client(url) as patient:
        assert patient.indexes() == ["papers"]


def test_the_async_twin_gives_the_same(url: str, remote: RemoteIndex) -> None:
    async def asked() -> tuple[Any, ...]:
        async with AsyncClient(url) as twin:
            index = twin.index("papers")
            hits, several = await asyncio.gather(
                index.search("violin", limit=3), index.search_many(["a", "b"])
            )
            return hits, several, await twin.indexes(), await index.profiles.names(), await index.count()

    hits, several, names, profiles, count = asyncio.run(asked())
    assert [hit.id for hit in hits] == [hit.id for hit in remote.search("violin", limit=3)]
    assert len(several) == 2
    assert (names, profiles, count) == (["papers"], remote.profiles.names(), len(remote))


def test_jobs_are_awaited_too(url: str) -> None:
    async def asked() -> None:
        async with AsyncClient(url) as twin:
            index = twin.index("papers")
            job = await index.submit(Describe(MUSIC))
            assert str(await job.result()) == str(await index.describe(MUSIC))
            added = await index.submit_upsert([{"id": "a1", "text": "A note."}, {"id": "a2", "text": ""}])
            report = await (await added.wait(timeout=SECONDS)).report()
            assert (report.indexed, report.rejected, len(await added.rejects())) == (1, 1, 1)
            assert [one.id for one in await twin.jobs.list(limit=1)] == [added.id]
            assert (await (await twin.jobs.get(added.id)).cancel()).state == "done"
            assert await index.delete(["a1"]) == 1

    asyncio.run(asked())


@pytest.mark.parametrize(
    "made",
    [
        lambda: Client(None),  # type: ignore[arg-type]
        lambda: Client("http://localhost:9", retries=-1),
        lambda: Client("http://localhost:9", ""),
        lambda: Client("http://localhost:9", "clé"),
        lambda: Client("http://localhost:9", timeout="x"),  # type: ignore[arg-type]
        lambda: Client("http://localhost:9").index(".."),
        lambda: Client("http://localhost:9").index("none/../papers"),
        lambda: Client("http://localhost:9").jobs.get(""),
    ],
)
def test_a_client_of_nothing_is_refused(made: Callable[[], object]) -> None:
    with pytest.raises(InvalidInputError):
        made()


def test_embeddings_are_those_of_the_encoder(url: str, local: FeatureIndex) -> None:
    with Client(url) as opened:
        found = opened.embeddings("papers", ["a text", "another"])
    np.testing.assert_array_equal(
        np.array(found, np.float32), local.encoder.encode_query(["a text", "another"])
    )


def test_openai_s_client_gets_embeddings(url: str, local: FeatureIndex) -> None:
    from openai import OpenAI

    opened = OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0)
    assert [model.id for model in opened.models.list()] == ["papers"]
    asked: list[dict[str, Any]] = [{}, {"encoding_format": "float"}]
    for given in asked:  # without, it asks for base64
        found = opened.embeddings.create(model="papers", input=["a text"], **given)
        np.testing.assert_allclose(
            found.data[0].embedding, local.encoder.encode_query(["a text"])[0], rtol=1e-6
        )


def test_openai_s_client_searches_and_says_what_is_wrong(url: str, local: FeatureIndex) -> None:
    from openai import NotFoundError as OpenAINotFound
    from openai import OpenAI, UnprocessableEntityError

    opened = OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0)
    music: Any = {"type": "eq", "key": "topic", "value": "music"}
    late: Any = {"type": "gte", "key": "year", "value": 2000}
    both: Any = {"type": "and", "filters": [music, {"type": "or", "filters": [late]}]}
    not_in: Any = {"type": "nin", "key": "topic", "value": ["music", "weather"]}
    for filters, where in (
        (both, f"{MUSIC} AND metadata.year >= 2000"),
        (not_in, 'NOT metadata.topic IN ("music", "weather")'),
    ):
        found = opened.vector_stores.search(
            "papers", query=["a broken", "string"], filters=filters, max_num_results=3
        )
        hits = local.search("a broken\nstring", where=where, limit=3)
        assert [(one.file_id, one.attributes) for one in found] == [(hit.id, hit.metadata) for hit in hits]
        assert [one.content[0].text for one in found] == [hit.text for hit in hits]
    with pytest.raises(OpenAINotFound) as absent:
        opened.embeddings.create(model="none", input="a text")
    assert "no index" in str(absent.value.body["message"])  # type: ignore[index]
    empty = ({"type": "in", "key": "topic", "value": []}, {"type": "and", "filters": []})
    for wrong in ({"type": "like", "key": "topic", "value": "m"}, *empty, {}):
        with pytest.raises(UnprocessableEntityError) as refused:
            opened.vector_stores.search("papers", query="a text", filters=wrong)  # type: ignore[arg-type]
        assert refused.value.type == "InvalidInputError"
        assert refused.value.code == "422"
    for given, match in (("", "no text"), ([1, 2, 3], "token ids"), ([[1], [2]], "token ids")):
        with pytest.raises(UnprocessableEntityError, match=match):
            opened.embeddings.create(model="papers", input=given)


def test_jobs_are_listed_awaited_and_cancelled(remote: RemoteIndex, url: str) -> None:
    from saeindex.operations.differences import DiffGroups

    job = remote.submit(DiffGroups(a=MUSIC))
    assert str(job.result()) == str(remote.diff(MUSIC))
    added = remote.submit_upsert([{"id": "j1", "text": "A note."}, {"id": "j2", "text": ""}])
    assert added.wait(timeout=60).report.indexed == 1
    (reject,) = added.rejects
    assert reject["position"] and "empty" in reject["reason"], reject
    with Client(f"{url}/v1") as opened:
        listed = opened.jobs.list(limit=2)
        assert [one.id for one in listed] == [added.id, listed[1].id]
        assert opened.jobs.get(job.id).result()["tested"] > 0
        assert opened.jobs.get(added.id).cancel().state == "done"
        with pytest.raises(NotFoundError):
            opened.jobs.get("none")
    assert remote.delete(["j1"]) == 1


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_an_export_is_the_index_s_own(
    remote: RemoteIndex, local: FeatureIndex, tmp_path: Path, suffix: str
) -> None:
    here, there = tmp_path / f"here{suffix}", tmp_path / f"there{suffix}"
    for index, file in ((local, here), (remote, there)):
        assert index.export(file, MUSIC, include=["concepts", "vectors"]) == local.count(MUSIC)
    assert here.read_bytes() == there.read_bytes()
