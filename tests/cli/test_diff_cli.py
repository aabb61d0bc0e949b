"""``saeindex diff`` as people and programs use it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from saeindex import FeatureIndex
from tests.cli.test_cli import call


@pytest.fixture(scope="module")
def index(papers: FeatureIndex, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A copy of the index, which is not open in this process."""
    from shutil import copytree

    papers.state.store.flush()
    target = tmp_path_factory.mktemp("copy") / "papers.idx"
    copytree(papers.name, target)
    for lock in target.rglob("*.lock"):
        lock.unlink()
    return str(target)


def test_differences_are_printed_as_text_and_json(index: str) -> None:
    done = call("diff", index, "--a", 'metadata.topic = "music"', "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["groups"].keys() == {"a", "b"}
    assert any("music" in one["label"] for row in found["results"] for one in (row, *row["related"]))
    done = call("diff", index, "--a", 'metadata.topic = "music"', "--families", "words")
    assert "“jazz”" in done.stdout and "Concepts" not in done.stdout


def test_groups_have_names_and_invalid_ones_are_refused(index: str) -> None:
    groups = ["--group", 'tunes=metadata.topic = "music"', "--group", 'food=metadata.topic = "cooking"']
    named = call("diff", index, *groups, "--families", "words", "--json")
    assert json.loads(named.stdout)["groups"].keys() == {"tunes", "food"}
    refused = call("diff", index, "--group", "nothing")
    assert refused.returncode == 2 and "NAME=CONDITION" in refused.stderr
    empty = call("diff", index, "--a", "metadata.year > 3000", "--json")
    assert empty.returncode == 2 and json.loads(empty.stderr)["found"] == "no record is in it"


def test_an_empty_result_exits_1(index: str) -> None:
    done = call("diff", index, "--a", "metadata.score < 0.5", "--families", "clusters", "--alpha", "0.0001")
    assert done.returncode == 1 and "0 findings" in done.stdout


def test_every_table_is_a_file(index: str, tmp_path: Path) -> None:
    target = tmp_path / "found.csv"
    done = call("diff", index, "--a", 'metadata.topic = "music"', "--table", str(target), "--json")
    written = [Path(one) for one in json.loads(done.stdout)["written"]]
    assert all(one.is_file() for one in written)
    concepts = next(one for one in written if "concepts" in one.name).read_text()
    assert concepts.splitlines()[0].startswith("key,label,group")
