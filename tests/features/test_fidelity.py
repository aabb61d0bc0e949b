"""The fidelity report compared with plain loops over the same codes, and invalid inputs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from saeindex import FeatureSpace
from saeindex.errors import InvalidInputError
from saeindex.features import Calibration, FeatureLabel, fidelity
from saeindex.features.fidelity import figures, measure_fidelity, one_shot, verdict
from saeindex.protocols import EncoderIdentity
from saeindex.sae import SparseAutoencoder, metrics
from saeindex.sae.metrics import neighbour_overlap

D, N, K = 24, 40, 6
IDENTITY = EncoderIdentity("sentence-transformers", "tiny", "0", D, 64, "mean", True)

Floats = NDArray[np.float32]


def directions(seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(N, D, generator=generator), dim=1)


def texts_like(count: int, seed: int = 1) -> Floats:
    """Return embeddings that are sums of a few directions and noise."""
    rng = np.random.default_rng(seed)
    z = rng.gamma(2, size=(count, N)) * (rng.random((count, N)) < 0.1)
    x = z @ directions().numpy() + 0.3 * rng.normal(size=(count, D)) + 0.2
    unit: Floats = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    return unit


@pytest.fixture
def space() -> FeatureSpace:
    rows = directions()
    sae = SparseAutoencoder(rows, torch.zeros(N), rows, torch.full((D,), 0.05), k=K)
    return FeatureSpace(
        name="tiny",
        encoder=IDENTITY,
        sae=sae,
        calibration=Calibration.measure(sae.encode(texts_like(50, 7))),
        labels=(FeatureLabel("a label"),) * N,
        label_vectors=np.zeros((N, D), np.float32),
        report={},
    )


def with_mean(space: FeatureSpace) -> FeatureSpace:
    x = texts_like(300, 9)
    return replace(space, calibration=Calibration.measure(space.sae.encode(x), x))


# Figures ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("has_mean", [True, False])
@pytest.mark.parametrize("block", [7, 4_096])
def test_the_figures_equal_a_loop_over_the_records(
    space: FeatureSpace, monkeypatch: pytest.MonkeyPatch, has_mean: bool, block: int
) -> None:
    monkeypatch.setattr(metrics, "BLOCK", block)
    space = with_mean(space) if has_mean else space
    x = texts_like(200)
    mean = space.calibration.mean if has_mean else x.mean(0)
    assert mean is not None
    report = measure_fidelity(space, x)
    code = space.sae.encode(x)
    reconstructed = space.sae.decode(code)
    errors = np.array([np.sum((a - b) ** 2) for a, b in zip(x, reconstructed, strict=True)])
    variance = np.mean([np.sum((a - mean) ** 2) for a in x])
    cosine = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(x, reconstructed, strict=True)]
    present = np.array([(code.indices == i).sum() for i in range(N)])
    assert report.nmse == pytest.approx(errors.mean() / variance, rel=1e-5)
    assert report.cosine == pytest.approx(np.mean(cosine), rel=1e-5)
    assert report.cosine_p5 == pytest.approx(np.quantile(cosine, 0.05), rel=1e-5)
    assert report.active == pytest.approx(present.sum() / len(x))
    assert report.dead_share == pytest.approx((present == 0).mean())
    assert len(x) == report.records == report.compared
    assert report.mean_of == ("the calibration corpus" if has_mean else "the evaluated records")


def test_refinement_is_the_difference_of_the_two_errors(space: FeatureSpace) -> None:
    x = texts_like(200)
    sae = space.sae
    plain = SparseAutoencoder(*sae.tensors().values(), k=K, refine_steps=0)
    report = measure_fidelity(space, x)
    error = np.square(x - plain.decode(plain.encode(x))).sum() / np.square(x - x.mean(0)).sum()
    assert report.nmse_unrefined == pytest.approx(error, rel=1e-5)
    assert report.nmse < report.nmse_unrefined
    assert (sae.refine_steps, one_shot(sae).refine_steps) == (2, 0)


def test_neighbours_are_compared_on_a_sample_of_many_records(
    space: FeatureSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fidelity, "MAX_COMPARED", 60)
    x = texts_like(200)
    report = measure_fidelity(space, x, seed=3)
    rows = np.sort(np.random.default_rng(3).permutation(200)[:60])
    reconstructed = space.sae.decode(space.sae.encode(x[rows]))
    assert (report.compared, report.records) == (60, 200)
    assert report.overlap == pytest.approx(neighbour_overlap(x[rows], reconstructed))
    assert report.overlap_dense_queries == pytest.approx(
        neighbour_overlap(x[rows], reconstructed, queries=x[rows])
    )
    assert measure_fidelity(space, x, seed=4).overlap != report.overlap


def test_a_file_of_embeddings_is_measured_like_an_array(space: FeatureSpace, tmp_path: Path) -> None:
    x = texts_like(200)
    np.save(tmp_path / "x.npy", x)
    done: list[int] = []
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert measure_fidelity(space, mapped, progress=done.append) == measure_fidelity(space, x)
    assert sum(done) == 200


def test_the_report_is_json_and_text(space: FeatureSpace) -> None:
    x = texts_like(200)
    report = measure_fidelity(space, x, against={"the same": space.sae.directions})
    described = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert described["nmse"] == report.nmse
    assert described["stability"] == {"the same": 1}
    text = " ".join(verdict(report))
    assert f"NMSE {report.nmse:.3f}" in text
    assert "the same has 100% of the features too" in text
    assert "50,000 records or more" in text
    assert ("NMSE", f"{report.nmse:.3f}") in {row[:2] for row in figures(report)}


def test_a_mismatch_of_space_and_embeddings_is_reported(space: FeatureSpace) -> None:
    report = measure_fidelity(space, texts_like(200) / np.float32(100) + np.float32(3))
    assert report.nmse > 1
    assert "made for other embeddings" in verdict(report)[0]


# Invalid inputs ---------------------------------------------------------------------------------------


def test_inputs_that_cannot_be_measured_are_refused(
    space: FeatureSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "BLOCK", 50)
    x = texts_like(200)
    for wrong in (x[:, :-1], x[0], x[:10]):
        with pytest.raises(InvalidInputError, match="takes"):
            measure_fidelity(space, wrong)
    with pytest.raises(InvalidInputError, match="all are the same"):
        measure_fidelity(space, np.repeat(x[:1], 20, axis=0))
    for has_mean in (False, True):
        broken = x.copy()
        broken[123, 4] = np.nan
        with pytest.raises(InvalidInputError, match="row 123"):
            measure_fidelity(with_mean(space) if has_mean else space, broken)
    with pytest.raises(InvalidInputError, match="dimensions"):
        measure_fidelity(space, x, against={"other": np.zeros((5, D + 1), np.float32)})
