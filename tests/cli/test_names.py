"""``saeindex names``: renaming, hiding, and moving names between indexes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from saeindex import FeatureIndex
from tests.cli.test_cli import call, called
from tests.samples import sample_records


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("names") / "papers.idx"
    with FeatureIndex.create(path) as opened:
        opened.upsert(sample_records(80))
    return path


@pytest.fixture
def index(built: Path, tmp_path: Path) -> str:
    """An index of its own for a test that writes."""
    return str(shutil.copytree(built, tmp_path / "papers.idx"))


def test_names_are_given_listed_and_taken_back(index: str) -> None:
    was = called("feature", index, "5")["label"]
    assert called("names", "rename", index, "#5", "late trains")["label"].startswith("late trains")
    assert called("names", "hide", index, "5") | {"label": ""} == {
        "feature": 5, "label": "", "kind": "hidden", "is_weak": True,
    }  # fmt: skip
    assert not called("names", "show", index, "5")["is_weak"]
    listed = [(one["feature"], one["name"]) for one in called("names", "list", index)["history"]]
    assert listed == [(5, "late trains"), (5, None), (5, None)]
    assert "#5 renamed 'late trains'" in call("names", "list", index).stdout
    assert call("names", "rename", index, "5", "").stdout.startswith(f"#5 {was}")


def test_names_move_as_a_file(index: str, tmp_path: Path) -> None:
    other = str(tmp_path / "other.idx")
    FeatureIndex.create(other).close()
    call("names", "rename", index, "5", "late trains")
    file = str(tmp_path / "names.json")
    assert call("names", "export", index, file).returncode == 0
    assert called("names", "import", other, file)["features"] == 1
    assert called("feature", other, "5")["label"] == "late trains"


def test_an_unknown_feature_is_an_error(index: str) -> None:
    for wrong in ("x", "99999"):
        done = call("names", "rename", index, wrong, "late trains")
        assert done.returncode != 0
        assert "saeindex features" in done.stderr
