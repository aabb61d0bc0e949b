"""Matching the features of two spaces: permuted, perturbed, and fitted again with another seed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr

from saeindex import FeatureSpace
from saeindex.errors import InvalidInputError, MismatchError
from saeindex.features import Calibration, FeatureLabel
from saeindex.features.space_map import (
    activation_correlation,
    carried_label,
    carry_labels,
    map_spaces,
)
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
    found = {match.old: match.new for match in mapping.matches}
    assert len(found) >= (64 if not noise else 58)
    assert all(permutation[new] == old for old, new in found.items())
    if not noise:
        assert min(match.confidence for match in mapping.matches) > 0.999
        assert mapping.lost == mapping.gained == ()
    assert all((match.correlation is None) != with_texts for match in mapping.matches)


def test_a_matching_is_one_to_one_with_the_largest_sum(
    fitted_space: FeatureSpace, permutation: list[int]
) -> None:
    """Two old features are near one new one: one gets it, the other gets its second choice."""
    with_duplicate = permuted(fitted_space, [0, 0, *range(2, 64)])
    mapping = map_spaces(fitted_space, with_duplicate)
    news = [match.new for match in mapping.matches]
    assert len(set(news)) == len(news)
    assert [feature.id for feature in mapping.lost] == [1]
    assert len(mapping.gained) == 1
    assert mapping.gained[0].id in (0, 1)
    assert mapping.gained[0].nearest == 0
    assert mapping.gained[0].similarity == pytest.approx(1, abs=1e-4)


def test_another_seed_finds_some_features_and_the_others_are_reported_lost(
    fitted_space: FeatureSpace, refitted: FeatureSpace, encoder: RecordingEncoder
) -> None:
    mapping = map_spaces(fitted_space, refitted, encoder.encode_document(TEXTS))
    assert 8 <= len(mapping.matches) <= 60
    assert len(mapping.matches) + len(mapping.lost) == 64 == len(mapping.matches) + len(mapping.gained)
    assert all(match.confidence >= 0.7 for match in mapping.matches)
    densities = [feature.density for feature in mapping.lost]
    assert densities == sorted(densities, reverse=True)
    assert {f.label for f in mapping.lost} == {fitted_space.labels[f.id].text for f in mapping.lost}
    summary = mapping.summary()
    assert summary["matched"] == len(mapping.matches)
    assert summary["lost_density"] == pytest.approx(sum(densities))
    assert {"matches", "lost_features", "gained_features"} <= mapping.to_json().keys()


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


def test_labels_move_with_their_features(fitted_space: FeatureSpace, permutation: list[int]) -> None:
    labels = list(fitted_space.labels)
    labels[3] = FeatureLabel("said by a person", "manual")
    labels[4] = FeatureLabel("very sure", "lexical", 0.95)
    old = replace(fitted_space, labels=tuple(labels))
    new = permuted(fitted_space, permutation)
    unsure = tuple(FeatureLabel("unsure", "lexical", 0.6) for _ in range(64))
    mapped = carry_labels(old, replace(new, labels=unsure), map_spaces(old, new))
    at = permutation.index
    assert mapped.labels[at(3)] == labels[3]
    moved = mapped.labels[at(4)]
    assert (moved.text, moved.method) == ("very sure", "carried lexical")
    assert moved.trust == pytest.approx(0.95, abs=1e-3)
    np.testing.assert_array_equal(mapped.label_vectors[at(4)], old.label_vectors[4])
    assert mapped.fingerprint == new.fingerprint


@pytest.mark.parametrize(
    ("old", "new", "confidence", "expected"),
    [
        (FeatureLabel("a", "manual"), FeatureLabel("b", "lexical", 0.99), 0.7, ("a", "manual", None)),
        (FeatureLabel("a", "manual"), FeatureLabel("b", "manual"), 0.7, ("a", "manual", None)),
        (FeatureLabel("a", "lexical", 0.9), FeatureLabel("b", "manual"), 1.0, None),
        (FeatureLabel("a", "lexical", 0.9), FeatureLabel("b", "lexical", 0.8), 0.7, None),
        (FeatureLabel("a", "llm", 0.9), FeatureLabel("b", "lexical", 0.7), 0.75, ("a", "carried llm", 0.8)),
        (FeatureLabel("a", "llm", 0.9), FeatureLabel("b", "none"), 0.75, ("a", "carried llm", 0.8)),
        (FeatureLabel("a", "carried llm", 0.9), FeatureLabel("b"), 0.5, ("a", "carried llm", 0.7)),
        (FeatureLabel("a", "lexical", None), FeatureLabel("b"), 1.0, None),
        (FeatureLabel("a", "lexical", 0.9), FeatureLabel("a", "lexical", 0.6), 1.0, None),
    ],
)
def test_a_label_is_mapped_if_its_remaining_trust_is_higher(
    old: FeatureLabel,
    new: FeatureLabel,
    confidence: float,
    expected: tuple[str, str, float | None] | None,
) -> None:
    found = carried_label(old, new, confidence)
    if expected is None:
        assert found is None
    else:
        assert found is not None
        assert (found.text, found.method) == expected[:2]
        assert found.trust == (None if expected[2] is None else pytest.approx(expected[2]))


def test_a_label_leaves_its_place_in_a_tree_and_its_kind_behind() -> None:
    old = FeatureLabel("a", "manual", broader=7, kind="spelling")
    carried = carried_label(old, FeatureLabel("b", "lexical", 0.9, broader=2), 0.7)
    assert carried == FeatureLabel("a", "manual", broader=2)


def test_spaces_over_different_encoders_are_not_compared(fitted_space: FeatureSpace) -> None:
    other = replace(fitted_space, encoder=replace(fitted_space.encoder, max_length=64))
    with pytest.raises(MismatchError, match="max_length"):
        map_spaces(fitted_space, other)
    renamed = replace(fitted_space, encoder=replace(fitted_space.encoder, model="a copy of it"))
    assert len(map_spaces(fitted_space, renamed).matches) == 64
    with pytest.raises(InvalidInputError, match="threshold"):
        map_spaces(fitted_space, fitted_space, threshold=0.0)
