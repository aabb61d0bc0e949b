"""``saeindex sae import``, ``export`` and ``map``, in a small app."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from safetensors.torch import save_file
from typer.testing import CliRunner, Result

from saeindex import FeatureSpace
from saeindex.cli.sae import transfer as sae_transfer
from saeindex.errors import InvalidInputError, MismatchError, NotFoundError
from saeindex.sae.importers import read_autoencoder
from tests.samples import RecordingEncoder, sample_records, write_records

N, D, K = 32, 384, 4
app = typer.Typer()
app.command("import")(sae_transfer.import_)
app.command("export")(sae_transfer.export)


def call(*arguments: object, code: int = 0) -> Result:
    done = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done


def called(*arguments: object, code: int = 0) -> Any:
    return json.loads(call(*arguments, "--json", code=code).stdout)


@pytest.fixture(autouse=True)
def _one_encoder(session_encoder: RecordingEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Load the encoder once for all commands."""
    for module in ("encoders", "features.feature_space"):
        monkeypatch.setattr(f"saeindex.{module}.open_encoder", lambda *_, **__: session_encoder)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_records(tmp_path / "texts.jsonl", sample_records(240))


@pytest.fixture
def foreign(tmp_path: Path, session_encoder: RecordingEncoder) -> Path:
    """A sparsify folder whose features are the directions of real texts."""
    folder = tmp_path / "foreign"
    folder.mkdir()
    rows = session_encoder.encode_document([record.text for record in sample_records(240)])
    mean = torch.from_numpy(rows.mean(0))
    directions = torch.nn.functional.normalize(torch.from_numpy(rows[:N]) - mean, dim=1)
    weights = {
        "encoder.weight": directions,
        "encoder.bias": torch.zeros(N),
        "W_dec": directions.clone(),
        "b_dec": mean,
    }
    save_file(weights, folder / "sae.safetensors")
    (folder / "cfg.json").write_text(json.dumps({"d_in": D, "num_latents": N, "k": K}))
    return folder


def test_an_import_with_texts_is_calibrated_labelled_and_measured(
    foreign: Path, corpus: Path, tmp_path: Path, encoder: RecordingEncoder
) -> None:
    into = tmp_path / "mine"
    described = called("import", foreign, "--into", into, "--texts", corpus, "--name", "from-sparsify")
    assert described["imported"] == {"format": "sparsify", "activation": "topk", "k": K}
    assert (described["n_features"], described["k"], described["labelled"]) == (N, K, N)
    assert described["held_out"]["nmse"] < 0.9
    space = FeatureSpace.load(into)
    assert (space.name, space.sae.refine_steps, space.fingerprint) == (
        "from-sparsify", 0, described["fingerprint"],
    )  # fmt: skip
    assert space.calibration.records == 240
    x = encoder.encode_document([record.text for record in sample_records(40)])
    foreign_sae = read_autoencoder(foreign).autoencoder.half()
    assert space.sae.encode(x).values.tobytes() == foreign_sae.encode(x).values.tobytes()
    text = call("import", foreign, "--into", into, "--texts", corpus, "--refine-steps", 2).stdout
    assert f"{N} features from sparsify (topk, k={K})" in text
    assert FeatureSpace.load(into).sae.refine_steps == 2


def test_a_space_without_labels_needs_an_option(foreign: Path, corpus: Path, tmp_path: Path) -> None:
    into = tmp_path / "bare"
    with pytest.raises(InvalidInputError, match="neither --texts nor --unlabelled"):
        call("import", foreign, "--into", into)
    with pytest.raises(InvalidInputError, match="both"):
        call("import", foreign, "--into", into, "--unlabelled", "--texts", corpus)
    described = called("import", foreign, "--into", into, "--unlabelled")
    assert (described["labelled"], described["weak_labels"], described["held_out"]) == (0, N, None)
    space = FeatureSpace.load(into)
    assert space.calibration.records == 0
    assert all(label.is_weak for label in space.labels)


def test_a_failed_import_leaves_no_files(foreign: Path, tmp_path: Path) -> None:
    into = tmp_path / "new"
    with pytest.raises(NotFoundError):
        call("import", tmp_path / "nowhere", "--into", into, "--unlabelled")
    with pytest.raises(InvalidInputError, match="no such format"):
        call("import", foreign, "--into", into, "--unlabelled", "--format", "onnx")
    weights = {
        "encoder.weight": torch.ones(N, 8),
        "encoder.bias": torch.zeros(N),
        "W_dec": torch.ones(N, 8),
        "b_dec": torch.zeros(8),
    }
    save_file(weights, foreign / "sae.safetensors")
    (foreign / "cfg.json").write_text(json.dumps({"d_in": 8, "num_latents": N, "k": K}))
    with pytest.raises(MismatchError, match="for 8 dimensions"):
        call("import", foreign, "--into", into, "--unlabelled")
    assert not into.exists()
    with pytest.raises(InvalidInputError, match="it contains other files"):
        call("import", foreign, "--into", foreign, "--unlabelled")


@pytest.mark.parametrize("format", ["saelens", "sparsify"])
def test_an_export_round_trips_through_the_importer(foreign: Path, format: str, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    call("import", foreign, "--into", mine, "--unlabelled", "--refine-steps", 2)
    described = called("export", mine, "--into", tmp_path / "out", "--format", format)
    assert "cfg.json" in described["files"]
    assert any("refinement" in note for note in described["notes"])
    back = read_autoencoder(tmp_path / "out").autoencoder
    for name, tensor in FeatureSpace.load(mine).sae.tensors().items():
        torch.testing.assert_close(back.tensors()[name], tensor, atol=1e-6, rtol=1e-3)
    with pytest.raises(InvalidInputError, match="it contains other files"):
        call("export", mine, "--into", tmp_path / "out", "--format", format)
    with pytest.raises(InvalidInputError, match="onnx"):
        call("export", mine, "--into", tmp_path / "other", "--format", "onnx")
    with pytest.raises(InvalidInputError, match="named features"):
        call("export", "minilm-concepts", "--into", tmp_path / "other", "--format", format)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["foreign", "mine", "out"]


def test_an_export_of_the_whole_space_has_a_card(space: FeatureSpace, tmp_path: Path) -> None:
    described = called("export", "minilm-concepts", "--into", tmp_path / "out")
    assert {"README.md", "space.json"} <= set(described["files"])
    assert FeatureSpace.load(tmp_path / "out").fingerprint == space.fingerprint
