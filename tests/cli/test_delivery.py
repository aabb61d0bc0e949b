"""The files of an analysis on the command line: tables, an image and a page in addition to the output."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from saeindex import FeatureIndex, FeatureSpace
from saeindex.cli.analyses import cluster, correlate, triggers
from tests.samples import RecordingEncoder, sample_records

AXIS = "topic: cooking, music, weather"


@pytest.fixture(scope="module")
def index_folder(
    tmp_path_factory: pytest.TempPathFactory, space: FeatureSpace, session_encoder: RecordingEncoder
) -> str:
    """Records, each with an answer about the same topic."""
    path = tmp_path_factory.mktemp("delivered") / "papers.idx"
    records = [replace(record, fields={"prompt": record.text}) for record in sample_records(150)]
    with FeatureIndex.create(path, space, encoder=session_encoder, fields=["prompt"]) as index:
        index.upsert(records)
    return str(path)


@pytest.fixture(scope="module")
def app() -> typer.Typer:
    made = typer.Typer()
    for command in (cluster, correlate, triggers):
        made.command()(command)
    return made


def files(index_folder: Path) -> list[str]:
    table, plot, page = index_folder / "found.csv", index_folder / "found.png", index_folder / "found.html"
    return ["--table", str(table), "--plot", str(plot), "--report", str(page), "--json"]


def test_clusters_are_written_as_tables_an_image_and_a_page(
    index_folder: str, app: typer.Typer, tmp_path: Path
) -> None:
    run = CliRunner().invoke(app, ["cluster", index_folder, "--axis", AXIS, *files(tmp_path)])
    found = json.loads(run.stdout)
    assert run.exit_code == (0 if found["verdict"]["expressible"] else 1)
    names = [Path(one).name for one in found["written"]]
    assert {"found-clusters.csv", "found-assignments.csv", "found.png", "found.html"} <= set(names)
    assert sorted(names) == sorted(one.name for one in tmp_path.iterdir())


def test_pairs_are_written_as_files_and_an_empty_result_exits_1(
    index_folder: str, app: typer.Typer, tmp_path: Path
) -> None:
    music = ["--concept", "music=metadata.topic=music"]
    with_food = ["--with-concept", "food=metadata.topic=cooking"]
    run = CliRunner().invoke(app, ["correlate", index_folder, *music, *with_food, *files(tmp_path)])
    found = json.loads(run.stdout)
    assert run.exit_code == {"found": 0, "nothing found": 1, "not comparable": 2}[found["status"]]
    assert "music" in (tmp_path / "found.html").read_text(encoding="utf-8")
    none = CliRunner().invoke(app, ["correlate", index_folder, "--alpha", "1e-300", *files(tmp_path)])
    assert none.exit_code == 1 and json.loads(none.stdout)["found"] == 0
    assert "Which concepts" in (tmp_path / "found.html").read_text(encoding="utf-8")


def test_triggers_are_written_as_files(index_folder: str, app: typer.Typer, tmp_path: Path) -> None:
    behaviour = "sings=metadata.topic=music"
    run = CliRunner().invoke(app, ["triggers", index_folder, behaviour, *files(tmp_path)])
    found = json.loads(run.stdout)
    assert run.exit_code == 0 and found["results"]
    assert "Counter-examples" in (tmp_path / "found.html").read_text(encoding="utf-8")
    assert (tmp_path / "found-triggers.csv").is_file() and (tmp_path / "found.png").is_file()
