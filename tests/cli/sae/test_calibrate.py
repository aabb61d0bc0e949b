"""`saeindex sae calibrate`, and the report of `saeindex doctor` on the levels of an index."""

from __future__ import annotations

from pathlib import Path

import pytest

from saeindex import FeatureIndex
from saeindex.indexing import recalibration
from tests.cli.test_cli import call, called
from tests.samples import sample_records, write_records


@pytest.fixture
def index(tmp_path: Path) -> str:
    source = write_records(tmp_path / "notes.jsonl", sample_records(120))
    called("index", str(source), "--into", str(tmp_path / "notes.idx"))
    return str(tmp_path / "notes.idx")


def drift_check(index: str) -> dict[str, object]:
    found: dict[str, object] = next(c for c in called("doctor", index)["checks"] if c["name"] == "drift")
    return found


def test_calibrate_sets_the_levels_of_the_index_s_corpus(index: str) -> None:
    before = drift_check(index)
    assert before["is_well"]
    assert "sae calibrate" in str(before["seen"])
    report = called("sae", "calibrate", index)
    assert report["changed"] > 0
    assert report["before"]["levels_are_off"]
    assert not report["after"]["levels_are_off"]
    assert called("info", index)["space"]["fingerprint"] == report["fingerprint"]
    assert called("sae", "calibrate", index)["changed"] == 0
    after = drift_check(index)
    assert after["is_well"]
    assert "sae calibrate" not in str(after["seen"])
    assert called("search", index, "jazz")["hits"]


def test_an_interrupted_calibration_is_completed_by_the_same_command(
    index: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, FeatureIndex.open(index) as opened:
        patch.setattr(recalibration, "_settle", fail)
        with pytest.raises(KeyboardInterrupt):
            opened.recalibrate()
    refused = call("search", index, "jazz")
    assert refused.returncode == 3
    assert f"saeindex sae calibrate {index}" in refused.stderr
    assert "sae calibrate" in called("doctor", index, code=1)["checks"][-1]["seen"]
    done = call("sae", "calibrate", index)
    assert done.returncode == 0, done.stderr
    assert "0 of 120 points" in done.stdout
    assert called("search", index, "jazz")["hits"]
