"""The autoencoder against an independent numpy implementation, and its invariants."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from saeindex import FeatureSpace, SparseAutoencoder
from saeindex.errors import InvalidInputError
from saeindex.sae.autoencoder import TENSORS
from saeindex.sae.metrics import fidelity, nmse
from saeindex.sae.topk import refine
from saeindex.types import SparseCode

Array = NDArray[np.float64]


def random_autoencoder(
    seed: int = 0, n: int = 60, d: int = 16, k: int = 6, steps: int = 2
) -> SparseAutoencoder:
    generator = torch.Generator().manual_seed(seed)
    decoder = torch.nn.functional.normalize(torch.randn(n, d, generator=generator), dim=1)
    encoder = decoder + 0.1 * torch.randn(n, d, generator=generator)
    bias, encoder_bias = torch.randn(d, generator=generator), 0.1 * torch.randn(n, generator=generator)
    return SparseAutoencoder(encoder, encoder_bias, decoder, 0.1 * bias, k=k, refine_steps=steps)


def random_rows(seed: int, rows: int, d: int = 16) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(rows, d)).astype(np.float32)


def refined_row(target: Array, directions: Array, start: Array, steps: int) -> Array:
    """Projected gradient with exact line search on one row; a step that raises the error is not taken."""
    amplitudes = start.copy()
    for _ in range(steps):
        gradient = np.array([d @ (target - amplitudes @ directions) for d in directions])
        gradient[start <= 0] = 0
        gradient[(amplitudes <= 0) & (gradient < 0)] = 0
        moved = gradient @ directions
        step = (gradient @ gradient) / max(moved @ moved, 1e-12)
        tried = np.maximum(amplitudes + step * gradient, 0)
        if error(target, directions, tried) <= error(target, directions, amplitudes):
            amplitudes = tried
    return amplitudes


def error(target: Array, directions: Array, amplitudes: Array) -> float:
    return float(np.square(target - amplitudes @ directions).sum())


def encoded_row(sae: SparseAutoencoder, x: Array) -> dict[int, float]:
    """Return one row's code: TopK of the two budgets, relu, refinement."""
    decoder = sae.decoder.double().numpy()
    centred = x - sae.bias.double().numpy()
    strengths = sae.encoder.double().numpy() @ centred + sae.encoder_bias.double().numpy()
    least = np.zeros(len(strengths)) if sae.threshold is None else sae.threshold.double().numpy()
    order = np.argsort(-strengths)
    named = [i for i in order if i < sae.n_named][: sae.k_named]
    named = [i for i in named if strengths[i] > least[i]]
    free = [i for i in order if i >= sae.n_named][: sae.k - len(named)]
    support = np.array([*named, *free])
    amplitudes = refined_row(centred, decoder[support], np.maximum(strengths[support], 0), sae.refine_steps)
    return {int(i): float(a) for i, a in zip(support, amplitudes, strict=True) if a > 0}


def assert_code_equals(code: SparseCode, expected: list[dict[int, float]], tolerance: float) -> None:
    for (indices, values), row in zip(code.rows(), expected, strict=True):
        found = dict(zip(indices.tolist(), values.tolist(), strict=True))
        for feature in found.keys() | row.keys():
            assert found.get(feature, 0.0) == pytest.approx(row.get(feature, 0.0), abs=tolerance)


@pytest.mark.parametrize("steps", [0, 1, 2, 5])
def test_codes_equal_an_independent_implementation(steps: int) -> None:
    sae = random_autoencoder(steps=steps)
    x = random_rows(1, 200)
    assert_code_equals(sae.encode(x), [encoded_row(sae, row.astype(float)) for row in x], 1e-4)


def test_codes_of_the_packaged_space_equal_an_independent_implementation(space: FeatureSpace) -> None:
    x = random_rows(2, 20, space.sae.dimension)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    assert_code_equals(space.sae.encode(x), [encoded_row(space.sae, row.astype(float)) for row in x], 1e-4)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    k=st.integers(1, 60),
    steps=st.integers(0, 3),
    rounds=st.integers(0, 2),
    is_imported=st.booleans(),
    is_named=st.booleans(),
)
def test_one_vector_has_the_same_code_as_in_a_batch(
    seed: int, k: int, steps: int, rounds: int, is_imported: bool, is_named: bool
) -> None:
    plain = random_autoencoder(seed, k=k, steps=steps)
    rng = np.random.default_rng(seed)
    threshold, gain = (
        torch.from_numpy(rng.uniform(0, 1, 60).astype(np.float32)) if is_imported else None for _ in range(2)
    )
    sae = SparseAutoencoder(
        *plain.tensors().values(),
        k=k,
        refine_steps=steps,
        support_rounds=rounds,
        threshold=threshold,
        gain=gain,
        n_named=30 if is_named else 0,
        k_named=(k + 1) // 2 if is_named else 0,
    )
    x = random_rows(seed, 8)
    for row, (indices, values) in zip(x, sae.encode(x).rows(), strict=True):
        alone = sae.encode_one(row)
        np.testing.assert_array_equal(alone[0], indices)
        np.testing.assert_allclose(alone[1], values, rtol=1e-6, atol=1e-7)


def test_a_vector_of_the_packaged_space_has_the_same_code_as_in_a_batch(space: FeatureSpace) -> None:
    x = random_rows(9, 50, space.sae.dimension)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    for row, (indices, values) in zip(x, space.sae.encode(x).rows(), strict=True):
        alone = space.sae.encode_one(row)
        np.testing.assert_array_equal(alone[0], indices)
        np.testing.assert_allclose(alone[1], values, rtol=1e-6)


def test_one_vector_is_validated_like_a_batch(space: FeatureSpace) -> None:
    with pytest.raises(InvalidInputError, match="384"):
        space.sae.encode_one(np.zeros(3, np.float32))
    with pytest.raises(InvalidInputError, match="NaN"):
        space.sae.encode_one(np.full(384, np.nan, np.float32))


@pytest.mark.parametrize("rounds", [0, 1])
def test_named_and_free_features_have_budgets_of_their_own(rounds: int) -> None:
    plain = random_autoencoder(k=8, steps=0)
    x = random_rows(4, 100)
    sae = with_budgets(plain, rounds=rounds, n_named=20, k_named=3)
    named, free = plain.prefix(20, 3), with_budgets(plain, start=20, k=5)
    for row, both in zip(x, sae.encode(x).rows(), strict=True):
        ids = set(both[0].tolist())
        assert sum(i < 20 for i in ids) <= 3
        assert sum(i >= 20 for i in ids) <= 5
        if not rounds:
            assert ids == {*named.encode_one(row)[0].tolist(), *(20 + free.encode_one(row)[0]).tolist()}
    only_named = with_budgets(plain, rounds, n_named=60, k_named=8).encode(x)
    of_plain = with_budgets(plain, rounds).encode(x)
    np.testing.assert_array_equal(only_named.indices, of_plain.indices)
    for budget in ((20, 0), (0, 3), (20, 9), (59, 3), (61, 3)):
        with pytest.raises(InvalidInputError, match="k_named"):
            with_budgets(plain, n_named=budget[0], k_named=budget[1])


def test_some_features_of_an_autoencoder_have_the_strengths_that_they_had() -> None:
    plain, x = random_autoencoder(k=8, steps=0), random_rows(4, 100)
    whole = with_budgets(plain, n_named=20, k_named=8)
    some = whole.take([*range(0, 20, 2), *range(20, 60)])
    assert (some.n_features, some.n_named, some.k_named, some.k) == (50, 10, 8, 8)
    np.testing.assert_array_equal(some.directions[10:], whole.directions[20:])
    for before, after in zip(whole.encode(x).rows(), some.encode(x).rows(), strict=True):
        strengths = dict(zip(before[0].tolist(), before[1].tolist(), strict=True))
        kept = [(2 * i if i < 10 else i + 10, value) for i, value in zip(*after, strict=True)]
        assert all(strengths[i] == pytest.approx(v, rel=1e-5) for i, v in kept if i in strengths)
        assert {i for i in strengths if i >= 20 or i % 2 == 0} <= {i for i, _ in kept}
    only_named = whole.take(range(5))
    assert (only_named.n_named, only_named.k_named, only_named.k) == (5, 5, 5)


@pytest.mark.parametrize("rounds", [0, 1])
def test_free_features_take_the_places_that_named_ones_leave(rounds: int) -> None:
    plain, x = random_autoencoder(k=8, steps=0), random_rows(4, 100)
    closed = torch.full((plain.n_features,), -torch.inf)
    closed[:20] = torch.inf
    closed[:5] = 0.0
    weights = [plain.tensors()[name] for name in TENSORS]
    sae = SparseAutoencoder(
        *weights, k=8, refine_steps=0, support_rounds=rounds, threshold=closed, n_named=20, k_named=3
    )
    free = with_budgets(plain, start=20, k=8)
    code = sae.encode(x)
    for row, (indices, values) in zip(x, code.rows(), strict=True):
        named = indices[indices < 20]
        assert len(named) <= 3
        assert set(named.tolist()) <= set(range(5))
        assert len(indices) - len(named) <= 8 - len(named)
        if not rounds:
            strongest = {20 + i for i in free.encode_one(row)[0].tolist()}
            assert set(indices[len(named) :].tolist()) <= strongest
            assert len(indices) == min(8, len(named) + len(strongest))
        alone = sae.encode_one(row)
        np.testing.assert_array_equal(alone[0], indices)
        np.testing.assert_allclose(alone[1], values, rtol=1e-5)
    assert (np.diff(code.indptr) > 5).any()  # more than the budget of free ones beside three named


def with_budgets(
    sae: SparseAutoencoder, rounds: int = 0, start: int = 0, k: int = 8, n_named: int = 0, k_named: int = 0
) -> SparseAutoencoder:
    """Return the autoencoder of the features from ``start`` on, with other budgets."""
    weights = [t if name == "bias" else t[start:] for name, t in sae.tensors().items()]
    return SparseAutoencoder(
        *weights, k=k, refine_steps=0, support_rounds=rounds, n_named=n_named, k_named=k_named
    )


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 10**6), k=st.integers(1, 8), d=st.integers(2, 6), steps=st.integers(1, 4))
def test_refinement_never_raises_the_error_on_its_support(seed: int, k: int, d: int, steps: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    directions = torch.nn.functional.normalize(torch.randn(20, k, d, generator=generator), dim=2)
    target = torch.randn(20, d, generator=generator)
    start = torch.randn(20, k, generator=generator).relu()
    flat, support = directions.reshape(-1, d), torch.arange(20 * k).reshape(20, k)
    refined = refine(target, flat, support, start, steps)

    def errors(amplitudes: torch.Tensor) -> torch.Tensor:
        return (target - torch.einsum("mk,mkd->md", amplitudes, directions)).square().sum(1)

    assert (errors(refined) <= errors(start) + 1e-5).all()
    assert (refined >= 0).all()
    assert (refined[start == 0] == 0).all()


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6), k=st.integers(1, 60), rows=st.integers(0, 30))
def test_codes_are_positive_ascending_and_at_most_k(seed: int, k: int, rows: int) -> None:
    code = random_autoencoder(seed, k=k).encode(random_rows(seed, rows))
    assert len(code) == rows
    assert [a.dtype.name for a in (code.indices, code.values, code.indptr)] == ["int32", "float32", "int64"]
    for indices, values in code.rows():
        assert len(indices) <= k
        assert (np.diff(indices) > 0).all()
        assert (values > 0).all()


def test_decoding_is_the_dense_product_plus_bias() -> None:
    sae = random_autoencoder()
    code = sae.encode(random_rows(3, 50))
    z = np.zeros((50, sae.n_features))
    for row, (indices, values) in enumerate(code.rows()):
        z[row, indices] = values
    expected = z @ sae.decoder.double().numpy() + sae.bias.double().numpy()
    np.testing.assert_allclose(sae.decode(code), expected, atol=1e-5)
    np.testing.assert_array_equal(code.to_csr().toarray(), z.astype(np.float32))


@pytest.mark.parametrize("rounds", [0, 2])
@pytest.mark.parametrize("size", [1, 3, 64, 1_000, 2_500])
def test_a_code_does_not_depend_on_its_batch(size: int, rounds: int) -> None:
    sae, x = random_autoencoder(n=400).faithful(rounds), random_rows(4, 2_500)
    code = sae.encode(x)
    batches = [sae.encode(x[start : start + size]) for start in range(0, 2_500, size)][:40]
    for start, batch in zip(range(0, 2_500, size), batches, strict=False):
        span = slice(int(code.indptr[start]), int(code.indptr[min(start + size, 2_500)]))
        assert batch.indices.tobytes() == code.indices[span].tobytes()
        assert batch.values.tobytes() == code.values[span].tobytes()


def test_codes_of_the_packaged_space_agree_between_precisions(space: FeatureSpace) -> None:
    x = random_rows(9, 300, space.sae.dimension)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    expected = space.sae.encode(x)
    torch.set_float32_matmul_precision("medium")  # as on GPUs and some CPUs
    try:
        found = space.sae.encode(x)
    finally:
        torch.set_float32_matmul_precision("highest")
    assert found.indices.tobytes() == expected.indices.tobytes()
    assert found.values.tobytes() == expected.values.tobytes()


def test_equal_activations_are_given_to_the_lower_feature() -> None:
    identity = torch.eye(4).repeat(5, 1)  # features i, i + 4, i + 8 … are equal
    sae = SparseAutoencoder(identity, torch.zeros(20), identity, torch.zeros(4), k=3, refine_steps=0)
    indices, _ = sae.encode(np.array([[0, 1, 0, 0]], np.float32)).row(0)
    assert indices.tolist() == [1, 5, 9]


def rechosen_row(target: Array, decoder: Array, code: dict[int, float], k: int) -> dict[int, float]:
    """One round of hard thresholding on one row, as in the model's docstring."""
    amplitudes = np.zeros(len(decoder))
    amplitudes[list(code)] = list(code.values())
    gradient = decoder @ (target - amplitudes @ decoder)
    on_support = np.where(amplitudes > 0, gradient, 0)
    moved = on_support @ decoder
    step = (on_support @ on_support) / max(moved @ moved, 1e-12)
    tried = amplitudes + step * gradient
    chosen = np.argsort(-tried)[:k]
    values = refined_row(target, decoder[chosen], np.maximum(tried[chosen], 0), 1)
    if error(target, decoder[chosen], values) >= error(target, decoder, amplitudes):
        return code
    return {int(i): float(v) for i, v in zip(chosen, values, strict=True)}


def test_faithful_codes_equal_an_independent_implementation_and_have_a_lower_error() -> None:
    sae, x = random_autoencoder(n=120), random_rows(8, 150)
    decoder, bias = sae.decoder.double().numpy(), sae.bias.double().numpy()
    unrefined = random_autoencoder(n=120, steps=0)
    expected = []
    for row in x.astype(float):
        code = encoded_row(unrefined, row)
        for _ in range(2):
            code = rechosen_row(row - bias, decoder, code, sae.k)
        support = np.array(list(code))
        values = refined_row(row - bias, decoder[support], np.array(list(code.values())), 2)
        expected.append({int(i): float(v) for i, v in zip(support, values, strict=True) if v > 0})
    faithful = sae.faithful()
    assert_code_equals(faithful.encode(x), expected, 1e-4)
    errors = [nmse(x, s.decode(s.encode(x)), x.mean(0)) for s in (faithful, sae)]
    assert errors[0] < errors[1]
    assert faithful.digest() != sae.digest()


def test_a_saved_autoencoder_gives_identical_codes(tmp_path: Path) -> None:
    sae = with_budgets(random_autoencoder(k=8), 2, n_named=9, k_named=2).half()
    x = random_rows(5, 300)
    sae.save(tmp_path / "sae.safetensors")
    loaded = SparseAutoencoder.load(tmp_path / "sae.safetensors")
    ours, theirs = sae.encode(x), loaded.encode(x)
    assert ours.values.tobytes() == theirs.values.tobytes()
    assert ours.indices.tobytes() == theirs.indices.tobytes()
    assert loaded.settings == sae.settings
    assert loaded.digest() == sae.digest()


def test_a_digest_changes_if_activations_change() -> None:
    sae = random_autoencoder()
    weights = [sae.encoder, sae.encoder_bias, sae.decoder, sae.bias]
    digests = {sae.digest(), random_autoencoder(steps=3).digest(), random_autoencoder(k=5).digest()}
    for number in range(4):
        changed = [w + 0.1 if i == number else w for i, w in enumerate(weights)]
        digests.add(SparseAutoencoder(*changed, k=sae.k).digest())
    digests |= {SparseAutoencoder(*weights, k=6, n_named=n, k_named=2).digest() for n in (20, 21)}
    assert len(digests) == 9
    assert sae.half().digest() == sae.digest()


def test_vectors_of_another_shape_or_with_nan_are_refused() -> None:
    sae = random_autoencoder()
    for shape in [(3, 15), (16,), (2, 2, 16)]:
        with pytest.raises(InvalidInputError, match=r"\(m, 16\)"):
            sae.encode(np.zeros(shape, np.float32))
    for bad in (np.nan, np.inf):
        x = random_rows(6, 3)
        x[1, 2] = bad
        with pytest.raises(InvalidInputError, match="row 1"):
            sae.encode(x)


def test_inconsistent_weights_are_refused() -> None:
    sae = random_autoencoder()
    with pytest.raises(InvalidInputError):
        SparseAutoencoder(sae.encoder, sae.encoder_bias, sae.decoder, sae.bias, k=61)
    with pytest.raises(InvalidInputError):
        SparseAutoencoder(sae.encoder.T, sae.encoder_bias, sae.decoder, sae.bias, k=2)


def test_fidelity_metrics_equal_their_definitions() -> None:
    sae, x = random_autoencoder(), random_rows(7, 100)
    mean = x[:50].mean(0)
    code = sae.encode(x)
    rebuilt = sae.decode(code)
    share = sum(float(((a - b) ** 2).sum()) for a, b in zip(x, rebuilt, strict=True))
    share /= sum(float(((a - mean) ** 2).sum()) for a in x)
    cosines = [float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)) for a, b in zip(x, rebuilt, strict=True)]
    measured = fidelity(sae, x, mean)
    assert measured["nmse"] == pytest.approx(share, rel=1e-5) == nmse(x, rebuilt, mean)
    assert measured["cosine"] == pytest.approx(np.mean(cosines), abs=1e-6)
    assert measured["active"] == np.mean([len(code.row(i)[0]) for i in range(100)])
