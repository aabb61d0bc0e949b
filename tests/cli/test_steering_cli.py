"""Profiles and the feedback loop, as people and programs use them on the command line."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_cli import call, called
from tests.samples import sample_records, write_records

LIKED = ("--like", "doc-4", "--like", "doc-17", "--unlike", "doc-5")
ASKED = ("--property", "an expression of disappointment", "--limit", "5")


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("profiles")
    source = write_records(folder / "notes.jsonl", sample_records(40))
    into = str(folder / "notes.idx")
    assert called("index", str(source), "--into", into)["indexed"] == 40
    return into


@pytest.fixture
def profile(index: str) -> dict[str, Any]:
    """A freshly fitted profile "voice", as --json prints it."""
    fitted: dict[str, Any] = called("profiles", "fit", index, "voice", *LIKED, "--describe", "sad")
    return fitted


def test_a_fitted_profile_is_shown_and_steers(index: str, profile: dict[str, Any]) -> None:
    assert (profile["name"], profile["description"]) == ("voice", "sad")
    assert (profile["like"], profile["unlike"], profile["edits"]) == (["doc-4", "doc-17"], ["doc-5"], {})
    assert len(profile["direction"]["parts"]) == 16
    assert called("profiles", "show", index, "voice") == profile
    steered = called("search", index, "galaxies", "--steer", "+profile:voice:0.5")
    assert steered["drift"] > 0
    assert steered["plan"]["steer"][0]["target"] == "profile:voice"


def test_text_output_has_the_concepts_of_a_profile(index: str, profile: dict[str, Any]) -> None:
    shown = call("profiles", "show", index, "voice").stdout
    first = profile["direction"]["parts"][0]
    assert f"#{first['feature']} {first['label']}" in shown
    assert "from 2 liked and 1 not liked" in shown
    assert "not in the dictionary" in shown


def test_edits_are_stored_and_accumulate(index: str, profile: dict[str, Any]) -> None:
    removed = profile["direction"]["parts"][0]["feature"]
    edited = called("profiles", "edit", index, "voice", "--set", f"{removed}=0", "--set", "#7=0.5")
    assert edited["edits"] == {str(removed): 0.0, "7": 0.5}
    assert called("profiles", "edit", index, "voice", "--set", "7=-0.25")["edits"] == {
        str(removed): 0.0,
        "7": -0.25,
    }
    assert called("profiles", "show", index, "voice")["edits"]["7"] == -0.25
    assert "#7 was set to -0.25" in call("profiles", "show", index, "voice").stdout


def test_profiles_are_listed_and_deleted(index: str, profile: dict[str, Any]) -> None:
    (listed,) = called("profiles", "list", index)["profiles"]
    expected = {"name": "voice", "description": "sad", "like": 2, "unlike": 1, "edits": 0, "fault": None}
    assert listed == expected
    assert "2 liked, 1 not, 0 edits: sad" in call("profiles", "list", index).stdout
    assert called("profiles", "delete", index, "voice") == {"deleted": "voice", "profiles": []}
    assert called("profiles", "list", index, code=1) == {"profiles": []}
    assert call("profiles", "list", index).returncode == 1


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (("fit", "a:b", "--like", "doc-1"), "not a name"),
        (("fit", "mine"), "no liked record"),
        (("fit", "mine", "--like", "doc-999"), "no record 'doc-999'"),
        (("show", "other"), "the index has voice"),
        (("delete", "other"), "the index has voice"),
        (("edit", "other", "--set", "7=1"), "the index has voice"),
        (("edit", "voice", "--set", "no such name=1"), "no feature has this name"),
        (("edit", "voice", "--set", "7"), "not CONCEPT=WEIGHT"),
        (("edit", "voice", "--set", "7=much"), "not CONCEPT=WEIGHT"),
        (("edit", "voice", "--set", "7=nan"), "edits.7=nan"),
        (("edit", "voice", "--set", "9999=1"), "9999"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_invalid_arguments_are_usage_errors(
    index: str, profile: dict[str, Any], arguments: tuple[str, ...], found: str
) -> None:
    command, name, *options = arguments
    done = call("profiles", command, index, name, *options, "--json")
    assert done.returncode == 2
    error = json.loads(done.stderr)
    assert found in error["found"] + error["asked"]
    assert error["do"]


def test_a_property_search_prints_the_inferred_evidence(index: str) -> None:
    found = called("search", index, *ASKED)
    assert found["feedback"]["description"] == ASKED[1]
    assert len(found["feedback"]["concepts"]) == 20
    assert called("search", index, "galaxies")["feedback"] is None
    shown = call("search", index, *ASKED).stdout
    strongest = found["feedback"]["concepts"][0]
    assert f"Inferred concepts: #{strongest['id']} {strongest['label']}" in shown
    assert "Inferred words: " in shown
    assert "Inferred" not in call("search", index, "galaxies").stdout


def test_a_file_of_feedback_repeats_a_search(index: str, tmp_path: Path) -> None:
    first = called("search", index, *ASKED)
    for name, written in (("search.json", first), ("feedback.json", first["feedback"])):
        (tmp_path / name).write_text(json.dumps(written))
        again = called("search", index, "--feedback", str(tmp_path / name), "--limit", "5")
        assert [(hit["id"], hit["score"]) for hit in again["hits"]] == [
            (hit["id"], hit["score"]) for hit in first["hits"]
        ]
        assert again["query"]["feedback"]["description"] == ASKED[1]


def test_feedback_is_read_from_stdin(index: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO('{"description": "sad", "judged": {"5": "rejected"}}'))
    found = called("search", index, "--feedback", "-")
    assert found["feedback"]["concepts"][0]["verdict"] == "rejected"


def test_verdicts_on_concepts_change_the_search(index: str) -> None:
    first = called("search", index, *ASKED)
    accepted, rejected = first["hits"][-1]["features"][0]["id"], first["hits"][0]["features"][0]["id"]
    if accepted == rejected:
        accepted = first["hits"][-1]["features"][1]["id"]
    again = called("search", index, *ASKED, "--accept", f"#{accepted}", "--reject", str(rejected))
    judged = {c["id"]: c["verdict"] for c in again["feedback"]["concepts"]}
    assert (judged[accepted], judged[rejected]) == ("accepted", "rejected")
    assert [hit["id"] for hit in again["hits"]] != [hit["id"] for hit in first["hits"]]
    assert len(again["hits"]) == 5


@pytest.mark.parametrize(
    "arguments",
    [
        ("galaxies", "--like", "doc-4", "--unlike", "doc-5"),
        ("galaxies", "--property", "a complaint", "--against", "praise"),
        ("--like", "doc-4"),
        ("--property", "a complaint", "--where", "metadata.year > 2000"),
    ],
    ids=" ".join,
)
def test_a_verdict_that_changes_nothing_repeats_the_search(index: str, arguments: tuple[str, ...]) -> None:
    first = called("search", index, *arguments, "--limit", "40")
    share = {c["id"] for hit in first["hits"] for c in hit["features"]}
    unused = next(i for i in range(6_144) if i not in share)
    again = called("search", index, *arguments, "--limit", "40", "--reject", str(unused))
    scores = {hit["id"]: hit["score"] for hit in first["hits"]}
    assert {hit["id"]: hit["score"] for hit in again["hits"]} == pytest.approx(scores, abs=0.05)


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (("galaxies", "--accept", "5"), "no property search"),
        (("--property", "sad", "--accept", "no such name"), "no feature has this name"),
        (("--property", "sad", "--accept", "5", "--reject", "#5"), "both"),
        (("--property", "sad", "--reject", "9999"), "has features #0 to #7049"),
        (("--feedback", "missing.json"), "no such file"),
        (("--property", "sad", "--feedback", "sad.json"), "a property or examples beside it"),
        (("--feedback", "text.json"), "not JSON"),
        (("--feedback", "list.json"), "it should be a valid dictionary"),
        (("--feedback", "other.json"), "mood is not known here"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_invalid_feedback_is_a_usage_error(
    index: str, tmp_path: Path, arguments: tuple[str, ...], found: str
) -> None:
    files = {"sad": '{"description": "sad"}', "text": "sad", "list": "[]", "other": '{"mood": 1}'}
    for name, text in files.items():
        (tmp_path / f"{name}.json").write_text(text)
    done = call("search", index, *arguments, "--json", cwd=tmp_path)
    assert done.returncode == 2
    assert found in json.loads(done.stderr)["found"]
