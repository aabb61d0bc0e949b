"""Training on data with planted directions, and the median that it starts from."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize

from saeindex.errors import InvalidInputError
from saeindex.sae import TrainingConfig, train
from saeindex.sae.metrics import nmse
from saeindex.sae.train import geometric_median

Array = NDArray[np.float32]
D, PLANTED, ACTIVE = 24, 40, 3
CONFIG = TrainingConfig(n_features=64, k=4, steps=400, batch_size=256, learning_rate=3e-3)


def planted(rows: int, seed: int = 0) -> tuple[Array, Array]:
    """Return sparse combinations of random unit directions (rows, d), and the directions."""
    dice = np.random.default_rng(seed)
    directions = dice.normal(size=(PLANTED, D))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    code = np.zeros((rows, PLANTED))
    for row in code:
        row[dice.choice(PLANTED, ACTIVE, replace=False)] = dice.uniform(0.5, 1.5, ACTIVE)
    return (code @ directions + 0.3).astype(np.float32), directions.astype(np.float32)


@pytest.fixture(scope="module")
def data() -> tuple[Array, Array]:
    return planted(4_000)


def test_training_lowers_the_error_and_recovers_planted_directions(data: tuple[Array, Array]) -> None:
    x, directions = data
    losses: list[float] = []
    trained = train(x[:3_500], CONFIG, lambda step, loss: losses.append(loss))
    untrained = train(x[:3_500], TrainingConfig(n_features=64, k=4, steps=0))
    mean, held = x[:3_500].mean(0), x[3_500:]
    before = nmse(held, untrained.decode(untrained.encode(held)), mean)
    after = nmse(held, trained.decode(trained.encode(held)), mean)
    assert after < 0.4 * before
    assert losses[-1] < 0.5 * losses[0]
    recovered = (directions @ trained.directions.T).max(1)
    by_chance = (directions @ untrained.directions.T).max(1)
    assert recovered.mean() > by_chance.mean() + 0.2
    assert (recovered > 0.9).mean() > 0.5 > (by_chance > 0.9).mean()
    np.testing.assert_allclose(np.linalg.norm(trained.directions, axis=1), 1, atol=1e-5)


def test_training_is_deterministic_by_seed(data: tuple[Array, Array]) -> None:
    def digest(seed: int) -> str:
        config = TrainingConfig(n_features=64, k=4, steps=20, batch_size=128, seed=seed, input_noise=0.1)
        return train(data[0][:500], config).digest()

    assert digest(1) == digest(1) != digest(2)


def test_the_refined_phase_and_noise_can_be_left_out(data: tuple[Array, Array]) -> None:
    config = TrainingConfig(n_features=64, k=4, steps=10, refined_phase=0.0, input_noise=0.0, refine_steps=0)
    sae = train(data[0][:200], config)
    assert sae.refine_steps == 0
    assert len(sae.encode(data[0][:5])) == 5


def test_fewer_embeddings_than_features_are_refused(data: tuple[Array, Array]) -> None:
    with pytest.raises(InvalidInputError, match="63 embeddings"):
        train(data[0][:63], CONFIG)


def test_the_geometric_median_is_that_of_an_optimiser() -> None:
    for seed in range(5):
        x = np.random.default_rng(seed).gamma(1.0, size=(80, 4))

        def distances(point: NDArray[np.float64], x: NDArray[np.float64] = x) -> float:
            return float(np.linalg.norm(x - point, axis=1).sum())

        best = minimize(distances, x.mean(0), method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-9})
        median = geometric_median(torch.tensor(x, dtype=torch.float64), iterations=300)
        np.testing.assert_allclose(median.numpy(), best.x, atol=1e-4)
        quick = geometric_median(torch.tensor(x, dtype=torch.float32))
        assert distances(quick.double().numpy()) == pytest.approx(best.fun, rel=1e-4)


def test_the_geometric_median_survives_points_that_coincide_with_it() -> None:
    x = torch.cat([torch.zeros(9, 3), torch.ones(2, 3)])
    np.testing.assert_allclose(geometric_median(x).numpy(), 0, atol=1e-3)
