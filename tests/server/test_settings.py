"""What an operator sets: lists of names, and a state folder that is one service's own."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from saeindex_server.database import Database
from saeindex_server.keys import KeyStore, _hashed, mandatory_filter
from saeindex_server.settings import read_settings

from saeindex.errors import IndexLockedError, InvalidInputError
from tests.cli.test_cli import called
from tests.server.conftest import key_of, served, service_of


@pytest.mark.parametrize(
    "text", ["http://a.example, http://b.example", '["http://a.example", "http://b.example"]']
)
def test_origins_are_separated_by_commas_or_a_json_list(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("SAEINDEX_SERVER_CORS_ORIGINS", text)
    assert read_settings({}).cors_origins == ("http://a.example", "http://b.example")


@pytest.mark.parametrize("text", ["[half", "[1]"])
def test_wrong_origins_are_our_error(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("SAEINDEX_SERVER_CORS_ORIGINS", text)
    with pytest.raises(InvalidInputError, match="SAEINDEX_SERVER_CORS_ORIGINS"):
        read_settings({})


def test_a_state_folder_has_one_service(tmp_path: Path) -> None:
    with served(tmp_path), pytest.raises(IndexLockedError, match="--state"), served(tmp_path):
        pass
    with served(tmp_path) as again:
        assert again.get("/readyz").status_code == 200


def test_a_page_may_send_the_key_in_either_header(tmp_path: Path) -> None:
    asked = {"Origin": "http://a.example", "Access-Control-Request-Method": "POST"}
    with served(tmp_path, cors_origins=("http://a.example",)) as client:
        for header in ("api-key", "x-api-key", "authorization"):
            answer = client.options("/v1/jobs", headers=asked | {"Access-Control-Request-Headers": header})
            assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("name", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_of_a_key_is_read_in_any_case(tmp_path: Path, name: str) -> None:
    with served(tmp_path) as client:
        text = key_of(client, "read")["Authorization"].removeprefix("Bearer")
        assert client.get("/v1/indexes", headers={"Authorization": name + text}).status_code == 200


@pytest.mark.parametrize("empty", [{}, {"must": []}])
def test_a_filter_without_a_condition_makes_no_key(empty: dict[str, list[str]]) -> None:
    with pytest.raises(InvalidInputError, match="no condition"):
        mandatory_filter(None, empty)


def test_a_wrong_secret_costs_the_same_for_an_unknown_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[str] = []

    def counted(secret: str, salt: bytes) -> bytes:
        hashed.append(secret)
        return _hashed(secret, salt)

    store = KeyStore(Database(tmp_path / "state"))
    key, text = store.create("a key", ["read"])
    monkeypatch.setattr("saeindex_server.keys._hashed", counted)
    wrong = text[:-1] + ("a" if text[-1] != "a" else "b")
    other = ("0" if key.id[0] != "0" else "1") + key.id[1:]
    for presented in (wrong, wrong.replace(key.id, other)):
        hashed.clear()
        assert store.verified(presented) is None
        assert len(hashed) == 1


def test_a_misspelt_variable_is_an_error_that_names_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAEINDEX_SERVER_PROT", "9")
    with pytest.raises(InvalidInputError, match="Did you mean SAEINDEX_SERVER_PORT"):
        read_settings({})


def test_requests_and_keys_are_noted_with_who_did_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "saeindex.server")
    with served(tmp_path) as client:
        headers = key_of(client, "read")
        assert client.get("/v1/indexes/papers", headers=headers).status_code == 200
        (key,) = service_of(client).keys.all()
    fields = [getattr(record, "fields", {}) for record in caplog.records]
    (noted,) = [one for one in fields if one.get("route") == "/v1/indexes/{name}"]
    assert (noted["key"], noted["index"]) == (key.id, "papers") and noted["client"]
    state = tmp_path / "of-keys"
    called("keys", "create", "team", "--state", str(state))
    called("keys", "revoke", KeyStore(Database(state)).all()[0].id, "--state", str(state))
    written = [json.loads(line) for line in (state / "audit.jsonl").read_text().splitlines()]
    assert [line["action"] for line in written] == ["create key", "revoke key"]
