"""`saeindex sae eval` on texts and on embeddings as text and as JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from saeindex import FeatureSpace
from tests.cli.test_cli import call, called
from tests.samples import RecordingEncoder, sample_records, write_records


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SAEINDEX_CACHE", str(tmp_path / "cache"))
    return write_records(tmp_path / "notes.jsonl", sample_records(60))


@pytest.fixture
def embeddings(tmp_path: Path, encoder: RecordingEncoder) -> Path:
    path = tmp_path / "notes.npy"
    np.save(path, encoder.encode_document([record.text for record in sample_records(60)]))
    return path


def test_texts_and_their_embeddings_give_the_same_report(source: Path, embeddings: Path) -> None:
    by_texts = called("sae", "eval", "minilm-concepts", str(source))
    by_embeddings = called("sae", "eval", "minilm-concepts", str(embeddings))
    assert by_texts["records"] == by_embeddings["records"] == 60
    assert 0 < by_texts["nmse"] < by_texts["nmse_unrefined"] < 1
    for key in ("nmse", "cosine", "overlap"):
        assert by_texts[key] == pytest.approx(by_embeddings[key], abs=0.01)
    assert called("sae", "eval", "minilm-concepts", str(embeddings), "--limit", "40")["records"] == 40


def test_the_report_is_printed(embeddings: Path) -> None:
    done = call("sae", "eval", "minilm-concepts", str(embeddings), "--against", "minilm-concepts")
    assert done.returncode == 0, done.stderr
    assert "top-10 overlap" in done.stdout
    assert "minilm-concepts has 100% of the features too" in done.stdout.replace("\n", " ")


def test_spaces_are_compared_only_over_the_same_encoder(
    embeddings: Path, tmp_path: Path, space: FeatureSpace
) -> None:
    other = replace(space, name="other", encoder=replace(space.encoder, max_length=64))
    other.save(tmp_path / "other")
    done = call("sae", "eval", "minilm-concepts", str(embeddings), "--against", str(tmp_path / "other"))
    assert done.returncode == 3
    assert "max_length: 256 and 64" in done.stderr


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((20, 5), np.float32), "384"),
        (np.zeros(20, np.float32), "shape (20,)"),
        (np.full((20, 384), np.nan, np.float32), "row 0"),
        (np.zeros((20, 384), np.int32), "int32"),
        (np.array([{"a": 1}], object), "Python objects"),
    ],
)
def test_a_file_without_suitable_embeddings_is_refused(tmp_path: Path, array: object, message: str) -> None:
    np.save(tmp_path / "x.npy", array, allow_pickle=True)  # type: ignore[arg-type]
    done = call("sae", "eval", "minilm-concepts", str(tmp_path / "x.npy"), "--json")
    assert done.returncode == 2
    assert message in json.loads(done.stderr.splitlines()[-1])["found"] + done.stderr
