"""Training on data with planted directions, and the median that it starts from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from sklearn.preprocessing import normalize

from saeindex.errors import InvalidInputError, MismatchError
from saeindex.sae import SparseAutoencoder, TrainingConfig
from saeindex.sae.batches import Batches
from saeindex.sae.metrics import nmse
from saeindex.sae.objective import Objective, Weights
from saeindex.sae.train import TrainingStatus, geometric_median, train

Array = NDArray[np.float32]
D, PLANTED, ACTIVE = 24, 40, 3
CONFIG = TrainingConfig(n_features=64, k=4, steps=200, batch_size=256, learning_rate=3e-3)
LONGER = replace(CONFIG, steps=400)


def planted(rows: int, seed: int = 0) -> tuple[Array, Array]:
    """Return sparse combinations of random unit directions (rows, d), and the directions."""
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(PLANTED, D))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    code = np.zeros((rows, PLANTED))
    for row in code:
        row[rng.choice(PLANTED, ACTIVE, replace=False)] = rng.uniform(0.5, 1.5, ACTIVE)
    return (code @ directions + 0.3).astype(np.float32), directions.astype(np.float32)


@pytest.fixture(scope="module")
def planted_embeddings() -> tuple[Array, Array]:
    return planted(4_000)


def test_training_lowers_the_error_and_recovers_planted_directions(
    planted_embeddings: tuple[Array, Array],
) -> None:
    x, directions = planted_embeddings
    seen: list[TrainingStatus] = []
    trained = train(x[:3_500], LONGER, seen.append)
    untrained = train(x[:3_500], TrainingConfig(n_features=64, k=4, steps=0))
    mean, held = x[:3_500].mean(0), x[3_500:]
    before = nmse(held, untrained.decode(untrained.encode(held)), mean)
    after = nmse(held, trained.decode(trained.encode(held)), mean)
    assert after < 0.4 * before
    assert seen[-1].error < 0.5 * seen[0].error
    assert (seen[-1].step, seen[-1].steps, seen[-1].dead_share) == (500, 500, 0)
    recovered = (directions @ trained.directions.T).max(1)
    by_chance = (directions @ untrained.directions.T).max(1)
    assert recovered.mean() > by_chance.mean() + 0.2
    assert (recovered > 0.9).mean() > 0.5 > (by_chance > 0.9).mean()
    np.testing.assert_allclose(np.linalg.norm(trained.directions, axis=1), 1, atol=1e-5)


def test_training_is_deterministic_by_seed(planted_embeddings: tuple[Array, Array]) -> None:
    def digest(seed: int) -> str:
        config = TrainingConfig(n_features=64, k=4, steps=20, batch_size=128, seed=seed, input_noise=0.1)
        return train(planted_embeddings[0][:500], config).digest()

    assert digest(1) == digest(1) != digest(2)


def test_the_refined_phase_and_noise_can_be_left_out(planted_embeddings: tuple[Array, Array]) -> None:
    config = TrainingConfig(n_features=64, k=4, steps=10, refined_phase=0.0, input_noise=0.0, refine_steps=0)
    sae = train(planted_embeddings[0][:200], config)
    assert sae.refine_steps == 0
    assert len(sae.encode(planted_embeddings[0][:5])) == 5


def test_fewer_embeddings_than_features_are_refused(planted_embeddings: tuple[Array, Array]) -> None:
    with pytest.raises(InvalidInputError, match="63 embeddings"):
        train(planted_embeddings[0][:63], CONFIG)


def held_out_error(sae: SparseAutoencoder, x: Array) -> float:
    return nmse(x[3_500:], sae.decode(sae.encode(x[3_500:])), x[:3_500].mean(0))


def test_batchtopk_uses_k_per_text_on_average_and_more_if_needed(
    planted_embeddings: tuple[Array, Array],
) -> None:
    x = planted_embeddings[0]
    sae = train(x[:3_500], replace(CONFIG, selection="batchtopk"))
    counts = np.diff(sae.encode(x[3_500:]).indptr)
    assert sae.k == 2 * CONFIG.k
    assert counts.mean() == pytest.approx(CONFIG.k, rel=0.25)
    assert counts.min() < CONFIG.k < counts.max()
    assert held_out_error(sae, x) < 0.5


def test_matryoshka_makes_each_prefix_an_autoencoder_of_its_own(
    planted_embeddings: tuple[Array, Array],
) -> None:
    x = planted_embeddings[0]
    plain, nested = train(x[:3_500], CONFIG), train(x[:3_500], replace(CONFIG, prefixes=(16, 32)))
    for n in (16, 32):
        assert held_out_error(nested.prefix(n), x) < held_out_error(plain.prefix(n), x) - 0.05
    assert held_out_error(nested, x) < 0.5
    assert nested.prefix(16).n_features == 16


@pytest.mark.parametrize("weight", [0.0, 1 / 32])
def test_dead_latents_get_gradients_from_auxk_only(
    planted_embeddings: tuple[Array, Array], weight: float
) -> None:
    x = torch.from_numpy(planted_embeddings[0])
    directions = torch.nn.functional.normalize(torch.randn(64, D, generator=torch.manual_seed(0)), dim=1)
    weights = Weights(directions, x.mean(0))
    weights.encoder.data[32:] *= 0.001  # never among the k strongest
    weights.silent_since[32:] = 10**6
    objective = Objective(replace(CONFIG, auxiliary_weight=weight), float(x.var(0).sum()), torch.float32)
    loss, error = objective(x[:256], weights, 0, is_refined=False)
    loss.backward()  # type: ignore[no-untyped-call]
    assert weights.decoder.grad is not None
    assert bool(weights.decoder.grad[32:].any()) is (weight > 0)
    assert bool(weights.decoder.grad[:32].any())
    assert (loss > error) == (weight > 0)


def test_the_contrastive_term_makes_codes_of_noisy_inputs_similar(
    planted_embeddings: tuple[Array, Array],
) -> None:
    x = planted_embeddings[0]
    noise = np.random.default_rng(0).normal(size=(2, 500, D)).astype(np.float32) / D**0.5

    def retrieved(weight: float) -> float:
        sae = train(x[:3_500], replace(LONGER, input_noise=1.0, contrastive_weight=weight))
        codes = [normalize(sae.encode(x[3_500:] + view).to_csr()) for view in noise]
        return float(((codes[0] @ codes[1].T).toarray().argmax(1) == np.arange(500)).mean())

    assert retrieved(0.5) > retrieved(0.0) + 0.05  # .64 and .51


def test_named_features_keep_their_directions_and_have_a_budget_of_their_own(
    planted_embeddings: tuple[Array, Array],
) -> None:
    x, directions = planted_embeddings
    rng = np.random.default_rng(0)
    anchors = directions[:10] + rng.normal(size=(10, D)).astype(np.float32) * 0.15
    anchors = normalize(anchors).astype(np.float32)
    shares = {}
    for name, config in {
        "held": replace(CONFIG, k_named=1),
        "loose": replace(CONFIG, k_named=1, anchor_weight=0.0),
        "fixed": replace(CONFIG, k_named=1, fixed_anchors=True),
    }.items():
        sae = train(x[:3_500], config, anchors=anchors)
        code = sae.encode(x[3_500:]).to_csr()
        assert code[:, :10].getnnz(1).max() == 1
        assert code.getnnz(1).max() == 4
        assert code[:, 10:].getnnz(1)[code[:, :10].getnnz(1) == 1].max() == 3
        shares[name] = float((sae.directions[:10] * anchors).sum(1).min())
        # A named feature is active where its direction was planted.
        assert (sae.n_named, sae.k_named) == (10, 1)
        assert nmse(x[3_500:], sae.decode(sae.encode(x[3_500:])), x.mean(0)) < 0.4
    assert shares["fixed"] == pytest.approx(1, abs=1e-6)
    assert 0.95 < shares["held"] < 1 - 1e-6
    assert shares["loose"] < shares["held"]
    with pytest.raises(InvalidInputError, match="k_named"):
        train(x[:100], CONFIG, anchors=anchors)
    with pytest.raises(InvalidInputError, match="one row for each feature"):
        train(x[:100], CONFIG, anchors=np.ones((65, D), np.float32))
    with pytest.raises(InvalidInputError, match="batchtopk"):
        train(x[:100], replace(CONFIG, k_named=1, selection="batchtopk"), anchors=anchors)


def test_free_features_are_drawn_towards_their_aims(planted_embeddings: tuple[Array, Array]) -> None:
    x, directions = planted_embeddings
    config = replace(CONFIG, k_named=1, aim_weight=0.3)
    start = train(x[:3_500], config, anchors=directions[:10])
    own = start.directions[10:]
    aims = normalize(own + np.random.default_rng(0).normal(size=own.shape) * 0.05).astype(np.float32)
    nearness, errors = {}, {}
    for name, given in {"none": None, "aims": aims}.items():
        sae = train(x[:3_500], config, anchors=directions[:10], aims=given, start=start)
        rows = (normalize(sae.weights["encoder"][10:]), sae.directions[10:])
        nearness[name] = min(float((row * aims).sum(1).mean()) for row in rows)
        errors[name] = nmse(x[3_500:], sae.decode(sae.encode(x[3_500:])), x.mean(0))
        named = (sae.directions[:10] * directions[:10]).sum(1)
        assert named.min() > 0.95
    assert nearness["aims"] > nearness["none"] + 0.05
    assert errors["aims"] < errors["none"] + 0.1
    with pytest.raises(InvalidInputError, match="one row for each free feature"):
        train(x[:100], config, anchors=directions[:10], aims=aims[:5])


def test_the_strength_of_a_named_feature_is_the_nearness_to_its_anchor(
    planted_embeddings: tuple[Array, Array],
) -> None:
    x, directions = planted_embeddings
    for is_tied in (True, False):
        config = replace(CONFIG, k_named=2, tied_encoder=is_tied)
        sae = train(x[:3_500], config, anchors=directions[:10])
        rows = normalize(sae.weights["encoder"][:10])
        cosines = (rows * directions[:10]).sum(1)
        assert (cosines > 1 - 1e-6).all() == is_tied


def test_free_features_can_learn_the_texts_rather_than_what_is_left(
    planted_embeddings: tuple[Array, Array],
) -> None:
    x, directions = planted_embeddings
    errors = []
    for share in (0.0, 0.5):
        config = replace(CONFIG, k_named=2, free_share=share)
        sae = train(x[:3_500], config, anchors=directions[:10])
        code = sae.encode(x[3_500:]).to_csr()
        alone = code[:, 10:] @ sae.directions[10:] + sae.weights["bias"]
        errors.append(nmse(x[3_500:], np.asarray(alone, np.float32), x.mean(0)))
    assert errors[1] < errors[0] - 0.02


def test_a_named_feature_is_silent_where_the_text_does_not_speak_for_it(
    planted_embeddings: tuple[Array, Array],
) -> None:
    x, directions = planted_embeddings
    saes = [
        train(x[:3_500], replace(CONFIG, k_named=3), anchors=directions[:10], shares=shares)
        for shares in (None, np.linspace(0, 0.1, 10, dtype=np.float32))
    ]
    for rounds in (0, 1):
        loose, gated = (sae.faithful(rounds) if rounds else sae for sae in saes)
        named = [sae.encode(x[3_500:]).to_csr()[:, :10] for sae in (loose, gated)]
        assert named[1].nnz < 0.5 * named[0].nnz
        assert named[1].getnnz(0) == pytest.approx(500 * np.linspace(0, 0.1, 10), abs=15)
        strengths = (x[3_500:] - gated.weights["bias"]) @ gated.weights["encoder"][:10].T
        strengths += gated.weights["encoder_bias"][:10]
        assert (named[1].toarray()[strengths <= gated.weights["threshold"][:10] - 1e-5] == 0).all()
        assert not np.isfinite(gated.weights["threshold"][10:]).any()


def test_training_stops_early_if_the_held_out_error_rises_and_keeps_the_best(
    planted_embeddings: tuple[Array, Array],
) -> None:
    noise = np.random.default_rng(0).normal(size=(600, D)).astype(np.float32)  # nothing to learn
    seen: list[TrainingStatus] = []
    config = replace(CONFIG, steps=4_000, evaluate_every=25, patience=2)
    sae = train(noise[:300], config, seen.append, held_out=noise[300:])
    assert seen[-1].step < 2_000
    measured = [status.held_out for status in seen if status.held_out is not None]
    found = nmse(noise[300:], sae.decode(sae.encode(noise[300:])), noise[:300].mean(0))
    assert found == pytest.approx(min(measured), rel=1e-5)


def test_a_killed_training_resumes_to_the_same_weights(
    planted_embeddings: tuple[Array, Array], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("saeindex.sae.train.CHECKPOINT_EVERY", 0.0)
    x, checkpoint = planted_embeddings[0][:2_000], tmp_path / "training.safetensors"
    config = replace(CONFIG, steps=100, batch_size=128, evaluate_every=20, input_noise=0.1, prefixes=(16,))
    options: dict[str, Any] = {"held_out": planted_embeddings[0][3_500:], "checkpoint": checkpoint}
    uninterrupted = train(x, config, held_out=planted_embeddings[0][3_500:])

    class Killed(Exception):
        pass

    def kill(status: TrainingStatus) -> None:
        if status.step >= 75:
            raise Killed

    with pytest.raises(Killed):
        train(x, config, kill, **options)
    assert checkpoint.is_file()
    with pytest.raises(MismatchError, match="delete the file"):
        train(x, replace(config, seed=9), **options)
    seen: list[TrainingStatus] = []
    resumed = train(x, config, seen.append, **options)
    assert [one.step for one in seen] == [100, 125]
    assert resumed.digest() == uninterrupted.digest()
    assert not checkpoint.exists()


@pytest.mark.parametrize("rows", [100, 5_000])
def test_batches_visit_every_row_once_in_an_epoch(rows: int) -> None:
    x = np.arange(rows, dtype=np.float32)[:, None].repeat(4, 1)
    batches = Batches(x, 50, seed=3)
    epoch = torch.cat([batches[step] for step in range(rows // 50)])[:, 0].numpy()
    np.testing.assert_array_equal(np.sort(epoch), np.arange(rows))
    again = Batches(x, 50, seed=3)
    np.testing.assert_array_equal(again[7].numpy(), batches[7].numpy())
    assert not np.array_equal(batches[0], batches[rows // 50])


def test_batches_of_a_file_larger_than_the_buffer_visit_every_row_once(tmp_path: Path) -> None:
    x = np.arange(10_240, dtype=np.float32)[:, None].repeat(8, 1)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    kept = np.delete(np.arange(10_240), np.arange(0, 10_240, 10))  # 9,216 rows, 18 blocks
    batches = Batches(mapped, 64, seed=1, rows=kept, buffer_bytes=6 * 512 * 8 * 4)
    epoch = torch.cat([batches[step] for step in range(9_216 // 64)])[:, 0].numpy()
    np.testing.assert_array_equal(np.sort(epoch), kept)
    assert np.corrcoef(epoch, np.arange(len(epoch)))[0, 1] < 0.9


def test_the_geometric_median_equals_that_of_an_optimiser() -> None:
    for seed in range(5):
        x = np.random.default_rng(seed).gamma(1.0, size=(80, 4))

        def distances(point: NDArray[np.float64], x: NDArray[np.float64] = x) -> float:
            return float(np.linalg.norm(x - point, axis=1).sum())

        best = minimize(distances, x.mean(0), method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-9})
        median = geometric_median(torch.tensor(x, dtype=torch.float64), iterations=300)
        np.testing.assert_allclose(median.numpy(), best.x, atol=1e-4)
        quick = geometric_median(torch.tensor(x, dtype=torch.float32))
        assert distances(quick.double().numpy()) == pytest.approx(best.fun, rel=1e-4)


def test_the_geometric_median_may_coincide_with_a_point() -> None:
    x = torch.cat([torch.zeros(9, 3), torch.ones(2, 3)])
    np.testing.assert_allclose(geometric_median(x).numpy(), 0, atol=1e-3)


def test_training_goes_on_from_given_weights_of_some_features(
    planted_embeddings: tuple[Array, Array],
) -> None:
    x, directions = planted_embeddings
    config = replace(CONFIG, k_named=2, steps=100)
    first = train(x[:3_500], config, anchors=directions[:10])
    kept = [i for i in range(64) if i not in (3, 20, 21, 40)]
    begun, anchors = first.take(kept), directions[[i for i in range(10) if i != 3]]
    assert (begun.n_features, begun.n_named, begun.k_named) == (60, 9, 2)
    further = replace(config, n_features=60, learning_rate=1e-3)
    errors = {
        name: nmse(x[3_500:], sae.decode(sae.encode(x[3_500:])), x[:3_500].mean(0))
        for name, sae in {
            "begun": begun,
            "untouched": train(x[:3_500], replace(further, steps=0), anchors=anchors, start=begun),
            "gone on": train(x[:3_500], further, anchors=anchors, start=begun),
            "anew": train(x[:3_500], further, anchors=anchors),
        }.items()
    }
    assert errors["untouched"] == pytest.approx(errors["begun"], rel=1e-5)
    assert errors["gone on"] < min(errors["begun"], errors["anew"])
    with pytest.raises(InvalidInputError, match="64 features, 10 of them named"):
        train(x[:3_500], further, anchors=anchors, start=first)
