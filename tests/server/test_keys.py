"""Keys: made once, shown once, kept as hashes, and what their filters may say."""

from __future__ import annotations

import json
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from saeindex_server.database import Database
from saeindex_server.keys import KeyStore, mandatory_filter

from saeindex.errors import InvalidInputError, NotFoundError


@pytest.fixture
def keys(tmp_path: Path) -> KeyStore:
    return KeyStore(Database(tmp_path / "state"))


def test_a_key_is_right_and_all_others_are_not(keys: KeyStore) -> None:
    key, text = keys.create("a", ["read"])
    other, text_of_other = keys.create("b", ["write"])
    for _ in range(2):  # the second time without the cost
        assert keys.verified(text) == key
        assert keys.verified(text_of_other) == other
    swapped = text[:17] + text_of_other[17:]
    for wrong in ("", "sae", text[:-1], text + "a", text.upper(), swapped, "sae_" + "0" * 12 + text[16:]):
        assert keys.verified(wrong) is None


def test_the_file_has_no_key_and_is_the_owner_s(keys: KeyStore, tmp_path: Path) -> None:
    _, text = keys.create("a", ["read"])
    files = list((tmp_path / "state").iterdir())
    secret = text.split("_", 2)[2].encode()
    assert not any(secret in file.read_bytes() for file in files)
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "state" / "server.db").stat().st_mode) == 0o600


def test_equal_secrets_would_have_other_hashes(keys: KeyStore, tmp_path: Path) -> None:
    keys.create("a", ["read"])
    keys.create("b", ["read"])
    with sqlite3.connect(tmp_path / "state" / "server.db") as database:
        salts = [row[0] for row in database.execute("SELECT salt FROM keys")]
    assert len(set(salts)) == 2
    assert all(len(salt) == 16 for salt in salts)


def test_a_key_ends(keys: KeyStore) -> None:
    key, text = keys.create("a", ["read"], days=1e-9)
    assert keys.verified(text) is None
    assert not key.is_valid
    _, other = keys.create("b", ["read"], days=1)
    assert keys.verified(other) is not None
    with pytest.raises(NotFoundError):
        keys.revoke("none")


@pytest.mark.parametrize("scopes", [["write"], ["read", "write"], ["admin"]])
def test_who_writes_has_no_filter(keys: KeyStore, scopes: list[str]) -> None:
    with pytest.raises(InvalidInputError, match="filter"):
        keys.create("a", scopes, where="metadata.year > 2000")


@pytest.mark.parametrize("scopes", [[], ["all"], ["read", "Read"]])
def test_a_scope_that_there_is_not_is_refused(keys: KeyStore, scopes: list[str]) -> None:
    with pytest.raises(InvalidInputError, match="scope"):
        keys.create("a", scopes)


@pytest.mark.parametrize("where", ['"dark matter"', "#7", 'metadata.year > 2000 OR NOT "rain"', "family:x"])
def test_a_filter_names_fields_only(where: str) -> None:
    with pytest.raises(InvalidInputError):
        mandatory_filter(where, None)


@pytest.mark.parametrize(
    "condition",
    [
        {"has_id": [1]},
        {"has_vector": "sae"},
        {"key": "concepts_prompt", "match": {"value": 4}},
        {"should": [{"must_not": [{"is_empty": {"key": "concepts"}}]}]},
        {"min_should": {"conditions": [{"key": "concepts", "match": {"value": 4}}], "min_count": 1}},
    ],
)
def test_a_native_filter_names_fields_only(condition: dict[str, Any]) -> None:
    own = {"key": "metadata.k", "match": {"value": 1}}
    assert mandatory_filter(None, {"must": [own, {"must": [own]}]})
    with pytest.raises(InvalidInputError, match="condition on"):
        mandatory_filter(None, {"must": [own, condition]})


def test_a_filter_is_kept_in_one_form() -> None:
    assert mandatory_filter(None, None) is None
    both = mandatory_filter("metadata.year > 2000", {"must": [{"key": "metadata.k", "match": {"value": 1}}]})
    assert both is not None
    assert json.loads(both)["must"]


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "saeindex", "keys", *arguments], capture_output=True, text=True, check=False
    )


def test_keys_are_made_listed_and_revoked_on_the_command_line(tmp_path: Path) -> None:
    state = ("--state", str(tmp_path / "state"))
    made = command("create", "team", "--scope", "read", "--where", 'metadata.team = "a"', *state, "--json")
    key = json.loads(made.stdout)
    assert key["key"].startswith(f"sae_{key['id']}_")
    listed = command("list", *state, "--json").stdout
    assert key["key"] not in listed
    assert json.loads(listed)["keys"][0]["name"] == "team"
    assert "team" in command("list", *state).stdout
    assert command("revoke", key["id"], *state).returncode == 0
    assert json.loads(command("list", *state, "--json").stdout)["keys"][0]["revoked"]
    refused = command("create", "team", "--scope", "write", "--where", "metadata.k = 1", *state)
    assert refused.returncode == 2
    assert "filter" in refused.stderr
