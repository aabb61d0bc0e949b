"""Which pairs of features are listed, left out and described, within a field and across two."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from saeindex import FeatureSpace
from saeindex.analysis.correlate.all_pairs import correlate_open
from saeindex.analysis.correlate.results import Correlations
from saeindex.analysis.correlate.trivial import ALIKE, REASONS, WORD, KnownTrivial
from saeindex.analysis.stats.options import CorrelateOptions
from saeindex.errors import InvalidInputError
from tests.analysis.planted_snapshots import made_snapshot, unlike_features

M = 400


@pytest.fixture(scope="module")
def features(space: FeatureSpace) -> list[int]:
    return unlike_features(space, 6)


@pytest.fixture(scope="module")
def planted_presence() -> NDArray[np.bool_]:
    """Six concepts: the first two go together, the third and the fourth avoid each other, two are alone."""
    rng = np.random.default_rng(3)
    has = rng.random((M, 6)) < 0.3
    has[:, 1] = np.where(rng.random(M) < 0.7, has[:, 0], has[:, 1])
    has[:, 3] &= ~has[:, 2]
    return has


@pytest.fixture(scope="module")
def correlations(
    space: FeatureSpace, planted_presence: NDArray[np.bool_], features: list[int]
) -> Correlations:
    return correlate_open(made_snapshot(space, planted_presence, features))


def test_pairs_that_go_together_and_pairs_that_avoid_each_other_are_listed(
    correlations: Correlations, features: list[int], planted_presence: NDArray[np.bool_]
) -> None:
    (pair,), (avoiding,) = correlations.results, correlations.avoided
    assert {pair.a.feature, pair.b.feature} == set(features[:2])
    assert {avoiding.a.feature, avoiding.b.feature} == set(features[2:4])
    assert (correlations.tested, correlations.found, correlations.records) == (15, 2, M)
    both = planted_presence[:, 0] & planted_presence[:, 1]
    assert pair.support == both.sum()
    given = both.sum() / planted_presence[:, 0].sum(), both.sum() / planted_presence[:, 1].sum()
    swapped = pair.a.feature == features[1]
    assert (pair.p_b_given_a, pair.p_a_given_b) == pytest.approx(given[::-1] if swapped else given)
    assert pair.lift > 1 > avoiding.lift
    assert pair.ci[0] > 0 > avoiding.ci[1]
    assert pair.evidence > 0 > avoiding.evidence
    assert max(pair.q, avoiding.q) < 0.05
    assert {one.id for one in pair.examples} <= {f"r{row}" for row in np.flatnonzero(both)}
    assert len(pair.examples) == 3


def test_pairs_of_mostly_the_same_records_are_one_row(
    space: FeatureSpace, features: list[int], tmp_path: Path
) -> None:
    rng = np.random.default_rng(5)
    has = rng.random((M, 6)) < 0.1
    has[:60, :4] = rng.random((60, 4)) < 0.9  # four concepts of the same records: six pairs
    has[-60:, 4:] = rng.random((60, 2)) < 0.9
    found = correlate_open(made_snapshot(space, has, features))
    first, second = found.results
    assert {first.a.feature, first.b.feature} <= set(features[:4])
    assert {second.a.feature, second.b.feature} == set(features[4:])
    assert (len(first.related), second.related) == (5, ())
    assert all(one.evidence <= first.evidence and one.q < 0.05 for one in first.related)
    rows = found.tables()["pairs"]
    assert [row["related_to"] for row in rows] == [None, *[str(first)] * 5, None]
    assert len(found.to_json()["results"][0]["related"]) == 5
    assert "and 5 related pairs" in found.write_report(tmp_path / "found.html").read_text()


def test_a_pair_with_a_weak_label_comes_after_the_others(
    space: FeatureSpace, planted_presence: NDArray[np.bool_], features: list[int]
) -> None:
    has = np.hstack([planted_presence[:, :2], planted_presence[::-1, :2]])
    has[:, 1] = has[:, 0] ^ (np.random.default_rng(4).random(M) < 0.05)
    assert set(_sides(correlate_open(made_snapshot(space, has, features[:4])))) == set(features[:2])
    weak = next(one for one, label in enumerate(space.labels) if label.is_weak and one > max(features))
    unsure = correlate_open(made_snapshot(space, has, [features[0], weak, *features[2:4]]))
    assert set(_sides(unsure)) == set(features[2:4])


def _sides(found: Correlations) -> tuple[int | None, int | None]:
    return found.results[0].a.feature, found.results[0].b.feature


def test_only_the_selected_records_count(
    space: FeatureSpace, planted_presence: NDArray[np.bool_], features: list[int]
) -> None:
    rows = np.arange(50, 250)
    part = correlate_open(made_snapshot(space, planted_presence, features), rows=rows)
    assert part.records == 200
    assert part.results[0].support == (planted_presence[rows, 0] & planted_presence[rows, 1]).sum()
    assert all(50 <= int(one.id[1:]) < 250 for one in part.results[0].examples)


def test_across_fields_each_side_has_its_field_and_records_have_both(
    space: FeatureSpace, planted_presence: NDArray[np.bool_], features: list[int]
) -> None:
    texts = ["" if row < 40 else f"word{row}" for row in range(M)]
    prompts = made_snapshot(
        space, planted_presence[:, [0, 4]], [features[0], features[4]], texts=texts, field="prompt"
    )
    responses = made_snapshot(space, planted_presence[:, [1, 0]], [features[1], features[0]])
    across = correlate_open(prompts, responses)
    (pair,) = across.results
    assert (pair.a.field, pair.b.field) == ("prompt", "")
    assert (pair.a.feature, pair.b.feature) == (features[0], features[1])
    assert across.records == M - 40
    assert pair.support == (planted_presence[40:, 0] & planted_presence[40:, 1]).sum()
    # The same concept on both sides is not a finding.
    assert across.removed == {"the same concept": 1}
    assert (across.field, across.other_field) == ("prompt", "")


def test_answers_to_one_prompt_and_records_of_one_unit_count_as_one(
    space: FeatureSpace, planted_presence: NDArray[np.bool_], features: list[int]
) -> None:
    times = 5
    copies = np.repeat(np.arange(M), times)
    metadata = [{"author": int(one)} for one in copies]
    repeated = made_snapshot(space, planted_presence[copies], features, metadata=metadata)
    once = correlate_open(made_snapshot(space, planted_presence, features))
    naive, counted = (
        correlate_open(repeated),
        correlate_open(repeated, options=CorrelateOptions(unit="metadata.author")),
    )
    assert (counted.records, counted.units, naive.units) == (times * M, M, times * M)
    assert naive.results[0].support == times * once.results[0].support
    assert counted.results[0].support == pytest.approx(once.results[0].support)
    assert counted.results[0].p == pytest.approx(once.results[0].p, rel=1e-6)
    assert "independent" in str(counted)
    prompts = made_snapshot(space, planted_presence[:, :1], features[:1], field="prompt").take(copies)
    # The same prompt has the same embedding; ids are those of the answers.
    prompts = replace(prompts, ids=repeated.ids, read_texts=repeated.read_texts)
    across = correlate_open(prompts, repeated)
    assert (across.records, across.units) == (times * M, M)
    assert correlate_open(repeated, prompts).units == M
    # The same answer to different prompts is no repetition.
    same = replace(repeated, vectors=np.repeat(repeated.vectors[:1], times * M, axis=0))
    assert correlate_open(prompts, same).units == M
    assert correlate_open(replace(prompts, vectors=repeated.vectors), same).units == M * times
    assert across.results[0].support == pytest.approx(once.results[0].support)


def test_repeated_answers_to_few_prompts_are_no_evidence(space: FeatureSpace, features: list[int]) -> None:
    findings = [0, 0]
    for seed in range(15):
        rng = np.random.default_rng(seed)
        prompt_presence, copies = rng.random((60, 1)) < 0.3, np.repeat(np.arange(60), 20)
        # The answer depends on the prompt, and not on the concept.
        response_presence = rng.random((1_200, 1)) < rng.random((60, 1))[copies]
        prompts = made_snapshot(space, prompt_presence, features[:1], field="prompt", seed=seed).take(copies)
        responses = made_snapshot(space, response_presence, features[1:2])
        prompts = replace(prompts, ids=responses.ids, read_texts=responses.read_texts)
        findings[0] += correlate_open(prompts, responses).found
        alone = [{"record": row} for row in range(1_200)]
        separate = replace(prompts, metadata=[json.dumps(one) for one in alone])
        findings[1] += correlate_open(
            separate, responses, options=CorrelateOptions(unit="metadata.record")
        ).found
    assert findings[0] <= 2
    assert findings[1] > 5


def test_stricter_corrections_find_no_more_pairs(
    space: FeatureSpace, planted_presence: NDArray[np.bool_], features: list[int]
) -> None:
    snapshot = made_snapshot(space, planted_presence, features)
    loose, strict = (
        correlate_open(snapshot, options=CorrelateOptions(alpha=0.5, method=m, unit=None))
        for m in ("bh", "by")
    )
    assert loose.found >= strict.found >= 2
    for one in strict.results:
        assert one.q >= next(o.q for o in loose.results if o.a == one.a and o.b == one.b)


# Uninformative pairs ----------------------------------------------------------------------------------


def test_trivial_pairs_are_known_by_family_direction_and_label(
    space: FeatureSpace,
) -> None:
    known = KnownTrivial(space)
    family = next(family for family in space.families if family.size > 1)
    every = np.arange(space.n_features)
    why = known(every[:200], every)
    directions = np.asarray(space.directions, np.float64)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    cosines = np.abs(directions[:200] @ directions.T)
    clear = np.abs(cosines - 0.2) > 1e-3
    assert (why > 0)[(cosines > 0.2) & clear].all()
    assert (
        known(np.array(family.features[:1]), np.array(family.features[1:2]))[0, 0]
        == REASONS.index("the same family") + 1
    )
    np.testing.assert_array_equal(np.diag(why[:, :200]), np.ones(200))
    np.testing.assert_array_equal(why[:, :200], why[:, :200].T)
    alike = np.argwhere(why == REASONS.index("labels share a word") + 1)[0]
    first, second = (space.labels[int(feature)].text.lower() for feature in alike)
    assert any(word[:5] in second for word in first.replace(",", " ").split() if len(word) >= 4)


def test_pairs_of_the_same_records_are_left_out(space: FeatureSpace, features: list[int]) -> None:
    rng = np.random.default_rng(5)
    topic = rng.random(M) < 0.3
    has = np.stack([topic & (rng.random(M) < 0.7) for _ in range(2)], axis=1)
    snapshot = made_snapshot(space, has, features[:2])
    snapshot.vectors[topic] = 0.2 * snapshot.vectors[topic] + 1.0 / np.sqrt(space.encoder.dimension)
    found = correlate_open(snapshot)
    assert found.results == ()
    assert found.removed == {ALIKE: 1}
    assert len(correlate_open(snapshot, options=CorrelateOptions(with_trivial=True, unit=None)).results) == 1


def test_pairs_explained_by_a_common_word_are_left_out(space: FeatureSpace, features: list[int]) -> None:
    rng = np.random.default_rng(6)
    has_word = rng.random(M) < 0.08
    has = np.stack([has_word & (rng.random(M) < 0.7) for _ in range(2)], axis=1)
    texts = [f"haskell w{row}" if one else f"w{row}" for row, one in enumerate(has_word)]
    found = correlate_open(made_snapshot(space, has, features[:2], texts=texts))
    assert (found.results, found.removed) == ((), {WORD: 1})
    assert "; all that do are uninformative, and left out." in str(found)


# Results ----------------------------------------------------------------------------------------------


def test_results_are_given_as_json_tables_and_text(correlations: Correlations) -> None:
    as_json = json.loads(json.dumps(correlations.to_json()))
    assert as_json["tested"] == 15
    (pair,) = as_json["results"]
    assert pair["a"]["label"]
    assert pair["ci"][0] < pair["log_odds"] < pair["ci"][1]
    contract = {"support", "expected", "lift", "npmi", "p", "q", "p_b_given_a", "p_a_given_b"}
    assert contract <= pair.keys()
    (row,) = correlations.tables()["pairs"]
    assert all(isinstance(value, str | int | float | None) for value in row.values())
    assert f"#{correlations.results[0].a.feature} " in str(correlations)
    assert "avoid each other:" in str(correlations)


@pytest.mark.parametrize("options", [{"alpha": 0}, {"alpha": 1.5}, {"min_support": 0}, {"limit": 0}])
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match="out of range"):
        CorrelateOptions(**options)


def test_snapshots_of_different_records_and_too_few_records_are_refused(
    space: FeatureSpace, planted_presence: NDArray[np.bool_], features: list[int]
) -> None:
    snapshot = made_snapshot(space, planted_presence, features)
    with pytest.raises(InvalidInputError, match="different records"):
        correlate_open(snapshot, made_snapshot(space, planted_presence[:50], features))
    with pytest.raises(InvalidInputError, match="1 records"):
        correlate_open(snapshot, rows=np.array([3]))
