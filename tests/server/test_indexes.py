"""Indexes that are made, backed up and deleted while a server runs; keys of those that are gone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from saeindex_server.app import create_app
from saeindex_server.settings import ServerSettings

from saeindex import Client, FeatureIndex, FeatureSpace, fit_reader, open_encoder, restore_index
from saeindex.errors import InvalidInputError, MismatchError, NotFoundError
from saeindex.sae.training_config import TrainingConfig
from tests.samples import RecordingEncoder, sample_records
from tests.server.conftest import HOST, key_of, on_a_port, served, service_of

NDJSON = {"content-type": "application/x-ndjson"}


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    settings = ServerSettings(state=tmp_path / "state", workbench=False, folder=tmp_path / "all", warm=True)
    with TestClient(create_app(settings, []), base_url=HOST) as opened:
        yield opened


def names(client: TestClient) -> list[str]:
    return [one["name"] for one in client.get("/v1/indexes").json()["indexes"]]


def test_an_index_is_made_filled_backed_up_and_deleted(client: TestClient, tmp_path: Path) -> None:
    with on_a_port(client) as url, Client(url) as caller:
        made = caller.create("notes", payload_indexes={"metadata.year": "integer-range"}, words="german")
        assert caller.indexes() == ["notes"] and made.info()["words"] == "german"
        records = sample_records(12)
        assert made.upsert(records).indexed == 12
        file = made.backup(tmp_path / "notes.tar.gz")
        with pytest.raises(MismatchError, match="has this name"):
            caller.create("notes")
        caller.drop("notes")
        assert caller.indexes() == []
        with pytest.raises(NotFoundError):
            made.count()
    assert list((tmp_path / "all").iterdir()) == [] and not list((tmp_path / "state").glob("*.tar.gz"))
    assert restore_index(file, tmp_path / "all" / "again.idx") == 12
    with FeatureIndex.open(tmp_path / "all" / "again.idx") as restored:
        assert {one.id for one in restored} == {one.id for one in records}


def test_an_index_with_a_reader_is_filled_searched_and_backed_up(tmp_path: Path, space: FeatureSpace) -> None:
    texts = [one.text for one in sample_records(60, seed=3)]
    config = TrainingConfig(n_features=64, k=4, steps=30, selection="batchtopk", batch_size=128)
    reader = fit_reader(texts, open_encoder(), config)
    FeatureIndex.create(tmp_path / "papers.idx", space, reader=reader).close()
    with served(tmp_path) as client, on_a_port(client) as url, Client(url) as caller:
        index = caller.index("papers")
        assert index.upsert(sample_records(12)).indexed == 12
        hits = index.search("a violin concerto", using="reader", limit=3, explain=True)
        assert len(hits) == 3
        assert all(hit.explanation and hit.explanation.parts[0].kind == "reader" for hit in hits)
        file = index.backup(tmp_path / "read.tar.gz")
    assert restore_index(file, tmp_path / "again.idx") == 12
    with FeatureIndex.open(tmp_path / "again.idx") as restored:
        again = restored.search("a violin concerto", using="reader", limit=3)
        assert [hit.id for hit in again] == [hit.id for hit in hits]


def test_vectors_that_exist_are_sent(client: TestClient, tmp_path: Path, encoder: RecordingEncoder) -> None:
    records = sample_records(9)
    vectors = encoder.encode_document([one.text for one in records])
    with on_a_port(client) as url, Client(url) as caller:
        notes = caller.create("notes", sentences="off")
        rows = [{"id": one.id, "text": one.text, "v": v} for one, v in zip(records, vectors, strict=True)]
        assert notes.upsert(rows, columns={"vector": "v"}).indexed == 9
        assert notes.get(["doc-4"])[0].metadata == {}
        wrong = notes.upsert(
            [{"id": "x", "text": "Rain.", "v": [1.0] * 3}], columns={"vector": "v"}, allow_rejects=True
        )
        assert wrong.rejected == 1 and "3 dimensions" in wrong.reasons[0]
        with pytest.raises(MismatchError, match="its cosine"):
            notes.upsert([{"id": "x", "text": "Rain.", "v": -vectors[0]}], columns={"vector": "v"})
        assert notes.export(tmp_path / "all.jsonl", include="all") == 9
        other = caller.create("other", sentences="off")
        assert other.upsert(tmp_path / "all.jsonl").indexed == 9
        assert other.search(vector=vectors[3].tolist(), using="dense")[0].id == "doc-3"
    body = {"records": [{"id": "b", "text": records[0].text, "vector": vectors[0].tolist()}]}
    job = client.post("/v1/indexes/notes/records", json=body).json()
    while (job := client.get(f"/v1/jobs/{job['id']}").json())["state"] in ("queued", "running"):
        pass
    assert job["state"] == "done" and client.post("/v1/indexes/notes/get", json={"ids": ["b"]}).json()


def test_metadata_changes_while_records_are_added(client: TestClient) -> None:
    client.post("/v1/indexes", json={"name": "notes"})
    records = [{"id": one.id, "text": one.text} for one in sample_records(300)]
    lines = "".join(json.dumps(one) + "\n" for one in records)
    url = "/v1/indexes/notes"
    first = client.post(f"{url}/records", content=lines[: lines.index("\n") + 1], headers=NDJSON).json()
    while client.get(f"/v1/jobs/{first['id']}").json()["state"] != "done":
        pass
    job = client.post(f"{url}/records", content=lines, headers=NDJSON).json()
    seen = 0
    while client.get(f"/v1/jobs/{job['id']}").json()["state"] in ("queued", "running"):
        answer = client.post(f"{url}/update", json={"ids": ["doc-0"], "set": {"seen": seen}})
        assert answer.status_code == 200
        seen += 1
    assert seen
    found = client.post(f"{url}/get", json={"ids": ["doc-0"], "include": []}).json()
    assert found["result"][0]["metadata"] == {"seen": seen - 1}
    assert client.post(f"{url}/count", json={}).json()["result"] == 300


def test_indexes_of_the_folder_are_served_at_the_next_start(client: TestClient, tmp_path: Path) -> None:
    assert client.post("/v1/indexes", json={"name": "notes"}).status_code == 201
    client.__exit__()
    settings = ServerSettings(state=tmp_path / "state", workbench=False, folder=tmp_path / "all")
    with TestClient(create_app(settings, []), base_url=HOST) as again:
        assert names(again) == ["notes"]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"name": "../x"}, "not a name"),
        ({"name": "a.idx"}, "not a name"),
        ({"name": ""}, "not a name"),
        ({"name": "a", "space": "../../space"}, "not a name"),
        ({"name": "a", "space": "none"}, "none"),
        ({"name": "a", "words": "klingon"}, "klingon"),
        ({"name": "a", "payload_indexes": {"metadata.a": "number"}}, "no kind"),
        ({"name": "a", "shards": 3}, "no option has this name"),
        ({}, "name"),
    ],
)
def test_what_is_no_index_is_refused(
    body: dict[str, object], says: str, client: TestClient, tmp_path: Path
) -> None:
    answer = client.post("/v1/indexes", json=body)
    assert answer.status_code in (400, 404, 422) and says in answer.json()["detail"]
    assert names(client) == [] and not (tmp_path / "x.idx").exists()
    assert client.post("/v1/indexes", json={"name": "a"}).status_code == 201


def test_a_key_of_a_name_never_reaches_a_new_index_of_it(client: TestClient) -> None:
    admin, early = key_of(client, "admin"), key_of(client, "read", indexes=["notes"])
    assert client.post("/v1/indexes", json={"name": "notes"}, headers=admin).status_code == 201
    own = key_of(client, "read", "write", indexes=["notes"])
    bound = key_of(client, "admin", indexes=["notes"])
    assert client.get("/v1/indexes/notes", headers=own).status_code == 200
    assert client.get("/v1/indexes/notes", headers=early).status_code == 404
    assert client.post("/v1/indexes", json={"name": "notes"}, headers=admin).status_code == 409
    assert client.get("/v1/indexes/notes", headers=own).status_code == 200  # it stays bound
    assert client.post("/v1/indexes", json={"name": "b"}, headers=bound).status_code == 403
    assert client.delete("/v1/indexes/notes", headers=own).status_code == 403
    assert client.get("/v1/indexes/notes/backup", headers=own).status_code == 403
    assert client.delete("/v1/indexes/notes", headers=bound).status_code == 204
    assert client.post("/v1/indexes", json={"name": "notes"}, headers=admin).status_code == 201
    for key in (own, bound, early):
        assert client.get("/v1/indexes/notes", headers=key).status_code == 404
    shown = [one.to_json()["indexes"] for one in service_of(client).keys.all()]
    assert all(not one or one[0].startswith("notes (until ") for one in shown)


def test_an_index_with_a_job_is_not_deleted(client: TestClient) -> None:
    client.post("/v1/indexes", json={"name": "notes"})
    service = service_of(client)
    job = service.jobs.add("diff", "notes", "local", {})
    service.jobs._change("state = 'running'", job.id)
    answer = client.delete("/v1/indexes/notes")
    assert answer.status_code == 409 and job.id in answer.json()["detail"]
    service.jobs.finish(job.id, "cancelled")
    assert client.delete("/v1/indexes/notes").status_code == 204


def test_a_server_without_a_folder_makes_and_deletes_none(tmp_path: Path) -> None:
    FeatureIndex.create(tmp_path / "papers.idx").close()
    settings = ServerSettings(state=tmp_path / "state", workbench=False)
    with TestClient(create_app(settings, [str(tmp_path / "papers.idx")]), base_url=HOST) as client:
        assert "--folder" in client.post("/v1/indexes", json={"name": "a"}).json()["do"]
        assert client.delete("/v1/indexes/papers").status_code == 409
        assert client.get("/v1/indexes/papers/backup").status_code == 200
    with pytest.raises(InvalidInputError, match="no index"):
        create_app(settings, [])
