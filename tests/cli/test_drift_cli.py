"""``saeindex drift``, ``monitor`` and ``profile``: text, JSON, tables, exit codes."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from saeindex import FeatureIndex, FeatureSpace
from saeindex.cli.analyses import describe, drift, monitor
from saeindex.errors import InvalidInputError
from tests.samples import RecordingEncoder, sample_records

NEW, OLD = "metadata.year >= 2010", "metadata.year < 2010"


@pytest.fixture(scope="module")
def index_folder(
    tmp_path_factory: pytest.TempPathFactory, space: FeatureSpace, session_encoder: RecordingEncoder
) -> str:
    """An index in which one topic is more frequent from 2010 on."""
    path = tmp_path_factory.mktemp("drifting") / "papers.idx"
    records = [
        one
        for one in sample_records(240)
        if one.metadata["topic"] != "music" or int(one.metadata["year"]) >= 2010
    ]
    with FeatureIndex.create(path, space, encoder=session_encoder) as index:
        index.upsert(records)
    return str(path)


@pytest.fixture(scope="module")
def app() -> typer.Typer:
    made = typer.Typer()
    for command in (drift, monitor, describe):
        made.command()(command)
    return made


def invoke(app: typer.Typer, *arguments: str) -> tuple[int, str]:
    run = CliRunner().invoke(app, list(arguments))
    if run.exception is not None and not isinstance(run.exception, SystemExit):
        raise run.exception
    return run.exit_code, run.stdout


def test_drift_is_printed_and_written(index_folder: str, app: typer.Typer, tmp_path: Path) -> None:
    table = tmp_path / "drift.csv"
    code, output = invoke(
        app, "drift", index_folder, "--over", "metadata.year", "--periods", "4", "--table", str(table)
    )
    assert "records by metadata.year, in 4 periods" in output
    assert code == (0 if "  with " in output or " pp " in output else 1)
    with (tmp_path / "drift-periods.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 4
    order = "2012, 1990, 2000"
    ordered = [part for one in order.split(", ") for part in ("--order", one)]
    code, output = invoke(app, "drift", index_folder, "--over", "metadata.year", *ordered, "--json")
    found: dict[str, Any] = json.loads(output)
    assert [one["name"] for one in found["periods"]] == order.split(", ")
    assert code == {"found": 0, "nothing found": 1, "not comparable": 2}[found["status"]]


def test_monitor_exits_1_on_an_alert_and_0_without(
    index_folder: str, app: typer.Typer, tmp_path: Path
) -> None:
    code, output = invoke(app, "monitor", index_folder, "--reference", 'metadata.topic != "music"',
                        "--window", 'metadata.topic = "music"', "--json")  # fmt: skip
    assert code == 1 and json.loads(output)["alert"] is True
    odd = 'metadata.topic = "finance" AND metadata.score < 0.5'
    even = 'metadata.topic = "finance" AND metadata.score >= 0.5'
    code, output = invoke(app, "monitor", index_folder, "--reference", odd, "--window", even)
    assert code == 0 and output.startswith("No change")
    kept = tmp_path / "kept.json"
    saving = ("monitor", index_folder, "--reference", OLD, "--save-baseline", str(kept))
    assert invoke(app, *saving) == (0, f"wrote {kept}\n")
    assert json.loads(invoke(app, *saving, "--json")[1]) == {"written": [str(kept)]}
    code, output = invoke(app, "monitor", index_folder, "--baseline", str(kept), "--window", NEW, "--json")
    assert code == int(json.loads(output)["alert"])
    assert json.loads(output)["reference"] == sum(json.loads(kept.read_text())["sizes"])
    with pytest.raises(InvalidInputError, match="--window"):
        invoke(app, "monitor", index_folder, "--reference", OLD)


def test_a_description_is_printed_as_text_and_json(index_folder: str, app: typer.Typer) -> None:
    code, output = invoke(app, "describe", index_folder, "--where", 'metadata.topic = "cooking"')
    assert code == 0 and "Central records:" in output
    code, output = invoke(app, "describe", index_folder, "--where", NEW, "--shown", "2", "--json")
    assert code == 0 and len(json.loads(output)["odd"]) == 2
