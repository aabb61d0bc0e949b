"""Matching the features of two spaces: permuted, perturbed, and fitted again with another seed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr

from saeindex import FeatureSpace
from saeindex.errors import MismatchError
from saeindex.features import Calibration, FeatureLabel
from saeindex.features.space_map import FLOOR, activation_correlation, carry_manual_labels, map_spaces
from saeindex.sae import SparseAutoencoder, TrainingConfig
from tests.samples import RecordingEncoder, sample_records

TEXTS = [record.text for record in sample_records(900, seed=40)]
CONFIG = TrainingConfig(n_features=64, k=8, steps=120, batch_size=256)


@pytest.fixture(scope="module")
def fitted_space(session_encoder: RecordingEncoder) -> FeatureSpace:
    return FeatureSpace.fit(TEXTS, config=CONFIG, encoder=session_encoder, name="old", concepts=[])


@pytest.fixture(scope="module")
def refitted(session_encoder: RecordingEncoder) -> FeatureSpace:
    config = replace(CONFIG, seed=5)
    return FeatureSpace.fit(TEXTS, config=config, encoder=session_encoder, name="new", concepts=[])


def permuted(space: FeatureSpace, permutation: list[int], noise: float = 0.0) -> FeatureSpace:
    """Return the space with feature ``order[j]`` at position j and noise added to its weights."""
    rng = torch.Generator().manual_seed(9)

    def moved(rows: torch.Tensor) -> torch.Tensor:
        turned: torch.Tensor = torch.randn(rows[permutation].shape, generator=rng) / rows.shape[1] ** 0.5
        return rows[permutation] + noise * turned

    sae, calibration = space.sae, space.calibration
    return replace(
        space,
        name="moved",
        sae=SparseAutoencoder(
            moved(sae.encoder),
            sae.encoder_bias[permutation],
            torch.nn.functional.normalize(moved(sae.decoder), dim=1),
            sae.bias,
            k=sae.k,
        ),
        calibration=Calibration(
            calibration.records,
            calibration.density[permutation],
            calibration.median[permutation],
            calibration.p90[permutation],
        ),
        labels=tuple(space.labels[i] for i in permutation),
        label_vectors=space.label_vectors[permutation],
    )


@pytest.fixture(scope="module")
def permutation() -> list[int]:
    return [int(i) for i in np.random.default_rng(2).permutation(64)]


@pytest.mark.parametrize("noise", [0.0, 0.4])
@pytest.mark.parametrize("with_texts", [True, False])
def test_permuted_and_perturbed_features_are_matched(
    fitted_space: FeatureSpace,
    encoder: RecordingEncoder,
    permutation: list[int],
    noise: float,
    with_texts: bool,
) -> None:
    vectors = encoder.encode_document(TEXTS[:600]) if with_texts else None
    mapping = map_spaces(fitted_space, permuted(fitted_space, permutation, noise), vectors)
    found = mapping.matches
    assert len(found) >= (64 if not noise else 58)
    assert all(permutation[new] == old for old, new in found.items())
    if not noise:
        assert min(mapping.similarity[old, new] for old, new in found.items()) > 0.999


def test_a_matching_is_one_to_one_with_the_largest_sum(
    fitted_space: FeatureSpace, permutation: list[int]
) -> None:
    """Two old features are near one new one: one gets it, the other gets its second choice."""
    with_duplicate = permuted(fitted_space, [0, 0, *range(2, 64)])
    mapping = map_spaces(fitted_space, with_duplicate)
    assert len(set(mapping.matches.values())) == len(mapping.matches)
    assert set(range(64)) - mapping.matches.keys() == {1}
    (gained,) = set(range(64)) - set(mapping.matches.values())
    assert gained in (0, 1)
    assert mapping.similarity[0, gained] == pytest.approx(1, abs=1e-4)


def test_another_seed_finds_some_features(
    fitted_space: FeatureSpace, refitted: FeatureSpace, encoder: RecordingEncoder
) -> None:
    mapping = map_spaces(fitted_space, refitted, encoder.encode_document(TEXTS))
    assert 8 <= len(mapping.matches) <= 60
    assert all(mapping.similarity[pair] >= FLOOR for pair in mapping.matches.items())


def test_the_correlation_of_activations_is_pearson_s(
    fitted_space: FeatureSpace, refitted: FeatureSpace, encoder: RecordingEncoder
) -> None:
    vectors = encoder.encode_document(TEXTS[:300])
    old, new = fitted_space.sae.encode(vectors), refitted.sae.encode(vectors)
    found = activation_correlation(old, new)
    a, b = old.to_csr().toarray(), new.to_csr().toarray()
    for i, j in np.random.default_rng(0).integers(0, 64, (60, 2)):
        if a[:, i].any() and b[:, j].any():
            assert found[i, j] == pytest.approx(pearsonr(a[:, i], b[:, j])[0], abs=1e-5)
        else:
            assert found[i, j] == 0


def test_labels_that_a_person_gave_move_with_their_features(
    fitted_space: FeatureSpace, permutation: list[int]
) -> None:
    labels = list(fitted_space.labels)
    labels[3] = FeatureLabel("said by a person", "manual", broader=7, kind="spelling")
    labels[4] = FeatureLabel("very sure", "lexical", 0.95)
    labels[1] = FeatureLabel("of a feature that is lost", "manual")
    old = replace(fitted_space, labels=tuple(labels))
    new = permuted(fitted_space, [0 if i == 1 else i for i in permutation])
    unsure = tuple(FeatureLabel("unsure", "lexical", 0.6, broader=2) for _ in range(64))
    carried = carry_manual_labels(old, replace(new, labels=unsure))
    at = permutation.index
    assert carried.labels[at(3)] == FeatureLabel("said by a person", "manual", broader=2)
    assert carried.labels[at(4)] == unsure[0]
    np.testing.assert_array_equal(carried.label_vectors[at(3)], old.label_vectors[3])
    assert carried.fingerprint == new.fingerprint
    (lost,) = carried.report["labels"]["lost_manual"]
    assert (lost["id"], lost["label"]) == (1, "of a feature that is lost")


def test_spaces_over_different_encoders_are_not_compared(fitted_space: FeatureSpace) -> None:
    other = replace(fitted_space, encoder=replace(fitted_space.encoder, max_length=64))
    with pytest.raises(MismatchError, match="max_length"):
        map_spaces(fitted_space, other)
    renamed = replace(fitted_space, encoder=replace(fitted_space.encoder, model="a copy of it"))
    assert len(map_spaces(fitted_space, renamed).matches) == 64
