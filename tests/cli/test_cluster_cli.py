"""``saeindex cluster``: along an axis, with examples, as JSON and CSV; exit 1 if it is not expressible."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from saeindex import FeatureIndex, FeatureSpace
from saeindex.cli.analyses import cluster, read_examples
from saeindex.errors import InvalidInputError
from tests.samples import RecordingEncoder, sample_records

AXIS = "topic: astronomy, medicine, finance, cooking, software, politics, music, weather"


@pytest.fixture(scope="module")
def index_folder(
    tmp_path_factory: pytest.TempPathFactory, space: FeatureSpace, session_encoder: RecordingEncoder
) -> Path:
    path = tmp_path_factory.mktemp("clustered") / "papers.idx"
    with FeatureIndex.create(path, space, encoder=session_encoder) as index:
        index.upsert(sample_records(160))
    return path


@pytest.fixture(scope="module")
def app() -> typer.Typer:
    made = typer.Typer()
    made.command()(cluster)
    return made


def test_clusters_are_printed_and_written(index_folder: Path, app: typer.Typer, tmp_path: Path) -> None:
    target = tmp_path / "clusters.csv"
    run = CliRunner().invoke(app, [str(index_folder), "--axis", AXIS, "--table", str(target)])
    assert run.exit_code == 0
    assert "160 records by topic, anchored" in run.stdout and "astronomy: " in run.stdout
    with target.with_name("clusters-assignments.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 160 and {row["cluster"] for row in rows} <= set(AXIS[7:].split(", "))


def test_json_has_verdict_clusters_and_leakage(index_folder: Path, app: typer.Typer) -> None:
    options = ["--axis", "topic: cooking, music", "--where", "metadata.year >= 2000", "--json"]
    run = CliRunner().invoke(app, [str(index_folder), *options, "--shown", "2"])
    found = json.loads(run.stdout)
    assert run.exit_code == (0 if found["verdict"]["expressible"] else 1)
    assert [one["name"] for one in found["clusters"]] == ["cooking", "music"]
    assert all(len(one["central"]) <= 2 for one in found["clusters"])
    assert "(free)" in found["leakage"]


def test_examples_are_read_by_value() -> None:
    assert read_examples(["a=1", "b=2", "a=x=3"]) == {"a": ["1", "x=3"], "b": ["2"]}
    for wrong in ("a", "=1", "a="):
        with pytest.raises(InvalidInputError, match="VALUE=ID"):
            read_examples([wrong])
