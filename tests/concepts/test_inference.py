"""Inference against its documented formulas, computed in loops."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import logsumexp

from saeindex import FeatureIndex, FeatureSpace
from saeindex.collection.sample import CollectionSample, Rows
from saeindex.concepts.inference import (
    ALIKE,
    ALONE,
    NEAREST,
    Asked,
    Inference,
    Pool,
    Recipe,
    Scorer,
    contrast,
    infer,
    over_represented,
    pool_of,
)
from tests.samples import RecordingEncoder, sample_records
from tests.search.sampled_indexes import memory_index

TEXTS = ("an expression of disappointment", "a mathematical statement", "a question")
ONLY_DIRECTION = Recipe(first_words=0.0, concepts=0.0, found_words=0.0, meant_words=0.0)


def request_of(index: FeatureIndex, *texts: str) -> Asked:
    return Asked(np.stack([index.state.encode(text) for text in texts]))


def inferred(index: FeatureIndex, request: Asked, recipe: Recipe = Recipe()) -> Inference:  # noqa: B008
    sample = index.state.sample()
    return infer(sample, pool_of(sample), request, index.encoder, recipe)


def sample_of(index: FeatureIndex) -> CollectionSample:
    return index.state.sample()


def nz(v: np.ndarray) -> np.ndarray:
    return np.asarray(v, np.float64) / np.linalg.norm(v)


@pytest.mark.parametrize("values", [1, 2, 3, 7])
def test_a_contrast_is_taken_with_the_mean_of_the_others(values: int) -> None:
    scores = np.random.default_rng(values).normal(scale=3.0, size=(50, values))
    for row, fits in zip(scores, contrast(scores), strict=True):
        for j in range(values):
            others = np.delete(row, j)
            expected = row[j] - (logsumexp(others) - np.log(len(others)) if len(others) else 0.0)
            assert fits[j] == pytest.approx(expected, abs=1e-12)


def test_a_contrast_of_extreme_scores_keeps_precision() -> None:
    scores = np.array([[80.0, 1.0, 0.0], [-900.0, 5.0, 5.0], [0.0, 0.0, 2_000.0]])
    for row, fits in zip(scores, contrast(scores), strict=True):
        for j in range(3):
            others = np.delete(row, j)
            assert fits[j] == pytest.approx(row[j] - logsumexp(others) + np.log(2), abs=1e-9)


def test_over_representation_is_a_z_score() -> None:
    rng = np.random.default_rng(1)
    share, usual = rng.random((3, 20)), rng.random(20).astype(np.float32)
    count = np.array([4.0, 9.5, 200.0])
    found = over_represented(share, usual, count)
    for j, n in enumerate(count):
        for i, df in enumerate(usual.astype(np.float64)):
            z = (share[j, i] * n - n * df) / (n * df * (1 - df) + 1) ** 0.5
            assert found[j, i] == pytest.approx(z, rel=1e-5)


def test_directions_equal_the_formula(papers: FeatureIndex) -> None:
    sample, request = sample_of(papers), request_of(papers, *TEXTS)
    x, mean = sample.rows.x.astype(np.float64), sample.mean.astype(np.float64)
    names = [nz(vector - sample.background) for vector in request.vectors]
    first = np.array([[row @ name for name in names] for row in x])
    first = (first - first.mean(0)) / first.std(0)
    fits = np.array([[r[j] - logsumexp(np.delete(r, j)) + np.log(2) for j in range(3)] for r in first])
    fits = (fits - fits.mean(0)) / fits.std(0)
    found = inferred(papers, request, ONLY_DIRECTION)
    for j, name in enumerate(names):
        raised = np.exp(ONLY_DIRECTION.temperature * fits[:, j])
        soft = raised / raised.sum()
        np.testing.assert_allclose(found.softly[:, j], soft, rtol=1e-9)
        meant = sum(weight * row for weight, row in zip(soft, x, strict=True))
        toward = nz(name - mean) + ONLY_DIRECTION.feedback * sample.trust * nz(meant - mean)
        np.testing.assert_allclose(found.directions[j], toward / (x @ toward).std(), rtol=1e-6, atol=1e-7)


def test_what_plain_search_finds_first_has_most_weight_of_a_description_alone(papers: FeatureIndex) -> None:
    sample, request = sample_of(papers), request_of(papers, TEXTS[0])
    pool, x = pool_of(sample), sample.rows.x.astype(np.float64)
    alone = infer(sample, pool, request, papers.encoder).softly[:, 0]
    without = inferred(papers, request, replace(ALONE, firmly=0.0)).softly[:, 0]
    first: list[int] = []
    for row in np.argsort(-(x @ request.vectors[0]), kind="stable"):
        if len(first) < NEAREST and all(x[row] @ x[other] < ALIKE for other in first):
            first.append(int(row))
    expected = (1 - ALONE.firmly) * without
    expected[first] += ALONE.firmly / NEAREST
    np.testing.assert_allclose(alone, expected, rtol=1e-9)
    assert alone[first].sum() > 0.5


def test_other_values_and_examples_have_the_usual_recipe(papers: FeatureIndex) -> None:
    alone, among = request_of(papers, TEXTS[0]), request_of(papers, *TEXTS)
    some = sample_of(papers).rows.take(np.arange(3))
    assert alone.recipe == ALONE
    assert among.recipe == replace(alone, like=some).recipe == replace(alone, unlike=some).recipe == Recipe()


def test_weights_of_concepts_are_over_representation_in_the_soft_selection(papers: FeatureIndex) -> None:
    sample, request = sample_of(papers), request_of(papers, TEXTS[0])
    found = inferred(papers, request, replace(ONLY_DIRECTION, concepts=0.25))
    soft, present = found.softly[:, 0], sample.present.toarray()
    n = 1 / float((soft**2).sum())
    df = present.mean(0)
    z = (n * (soft @ present) - n * df) / np.sqrt(n * df * (1 - df) + 1)
    scores = sample.rows.concepts.toarray() @ z
    np.testing.assert_allclose(found.concepts[0], 0.25 * z / scores.std(), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    ("recipe", "deviation"),
    [
        (ONLY_DIRECTION, 1.0),
        (replace(ONLY_DIRECTION, concepts=0.25), 0.25),
        (replace(ONLY_DIRECTION, found_words=0.7), 0.7),
        (replace(ONLY_DIRECTION, meant_words=0.5), 0.5),
    ],
)
def test_each_kind_of_evidence_is_centred_and_scaled_by_the_recipe(
    papers: FeatureIndex, recipe: Recipe, deviation: float
) -> None:
    sample, request = sample_of(papers), request_of(papers, *TEXTS)
    found, plain = inferred(papers, request, recipe), inferred(papers, request, ONLY_DIRECTION)
    scores = found.own_scores(sample.rows)
    if recipe != ONLY_DIRECTION:
        scores = scores - plain.own_scores(sample.rows)
    np.testing.assert_allclose(scores.mean(0), 0.0, atol=1e-6)
    np.testing.assert_allclose(scores.std(0), deviation, rtol=1e-5)


def test_own_scores_are_linear_in_directions_concepts_and_words(papers: FeatureIndex) -> None:
    sample, found = sample_of(papers), inferred(papers, request_of(papers, *TEXTS))
    scores = found.own_scores(sample.rows)
    for row in (0, 17, 200):
        for j in range(3):
            total = float(found.offset[j])
            total += sum(float(a) * b for a, b in zip(sample.rows.x[row], found.directions[j], strict=True))
            concepts, words = sample.rows.concepts[[row]], sample.rows.words[[row]]
            for held, weights in ((concepts, found.concepts[j]), (words, found.words[j])):
                total += sum(v * weights[i] for i, v in zip(held.indices, held.data, strict=True))
            assert scores[row, j] == pytest.approx(total, abs=1e-6)


def test_examples_alone_need_no_text(papers: FeatureIndex) -> None:
    sample = sample_of(papers)
    like = sample.rows.take(np.arange(6))
    zero = np.zeros((1, 384), np.float32)
    found = inferred(papers, Asked(zero, has_text=False, like=like))
    scores = Scorer(found, sample, 0.4).of_sample[:, 0]
    assert np.isfinite(scores).all()
    assert scores[:6].min() > np.median(scores)
    assert encoder_was_not_called(papers, Asked(zero, has_text=False, like=like))


def encoder_was_not_called(index: FeatureIndex, request: Asked) -> bool:
    encoder = index.encoder
    assert isinstance(encoder, RecordingEncoder)
    encoder.requested.clear()
    inferred(index, request)
    return not encoder.requested


@pytest.mark.parametrize("has_text", [True, False])
def test_counter_examples_lower_similar_records(papers: FeatureIndex, has_text: bool) -> None:
    sample, request = sample_of(papers), request_of(papers, TEXTS[0])
    rows = np.arange(40, 52)
    request = request if has_text else Asked(np.zeros((1, 384), np.float32), has_text=False)
    without = Scorer(inferred(papers, request), sample, 0.4).of_sample[rows, 0].mean()
    request = replace(request, unlike=sample.rows.take(rows))
    assert Scorer(inferred(papers, request), sample, 0.4).of_sample[rows, 0].mean() < without - 0.1


def test_the_same_query_gives_bitwise_equal_scores(papers: FeatureIndex) -> None:
    request = request_of(papers, *TEXTS)
    first, second = inferred(papers, request), inferred(papers, request)
    for name in ("directions", "concepts", "words", "offset", "softly"):
        assert getattr(first, name).tobytes() == getattr(second, name).tobytes()


def test_a_pool_weights_nearest_records_by_one_and_sampled_ones_by_their_share(
    papers: FeatureIndex,
) -> None:
    whole = sample_of(papers).rows
    sample = replace(sample_of(papers), rows=whole.take(np.arange(40)))
    pool = pool_of(sample, whole.take(np.array([3, 100, 101])))
    assert len(pool.rows) == 42
    weights = dict(zip(pool.rows.ids, 240 * pool.weight, strict=True))
    assert {whole.ids[i]: weights[whole.ids[i]] for i in (3, 100, 101)} == pytest.approx(
        {whole.ids[i]: 1.0 for i in (3, 100, 101)}
    )
    assert weights[whole.ids[0]] == pytest.approx(237 / 39)
    assert pool.weight.sum() == pytest.approx(1.0)
    assert (pool.occurring.toarray() == (pool.rows.words.toarray() > 0)).all()


def test_a_weighted_pool_equals_one_of_repeated_records(papers: FeatureIndex) -> None:
    sample = sample_of(papers)
    rows = sample.rows.take(np.arange(30))
    counts = np.random.default_rng(5).integers(1, 4, 30)
    again = np.repeat(np.arange(30), counts)
    names = tuple(map(str, range(len(again))))
    repeated = Rows(names, rows.x[again], rows.concepts[again], rows.words[again])
    pools = [
        Pool(rows, counts / counts.sum(), sample.present[:30], sample.occurring[:30]),
        Pool(repeated, np.full(len(again), 1 / len(again)), sample.present[again], sample.occurring[again]),
    ]
    request = request_of(papers, *TEXTS[:2])
    # The size of the soft selection, and so over-representation, depends on the number of rows.
    recipe = replace(ONLY_DIRECTION, first_words=0.4, meant_words=0.5)
    weighted, plain = (infer(sample, pool, request, papers.encoder, recipe) for pool in pools)
    np.testing.assert_allclose(weighted.directions, plain.directions, rtol=1e-8)
    np.testing.assert_allclose(weighted.words, plain.words, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(weighted.offset, plain.offset, rtol=1e-6, atol=1e-9)


def test_scores_have_mean_zero_and_deviation_one_over_the_sample(papers: FeatureIndex) -> None:
    sample = sample_of(papers)
    scorer = Scorer(inferred(papers, request_of(papers, *TEXTS)), sample, 0.4)
    scores = scorer(sample.rows).total
    assert (scores.mean(), scores.std()) == (pytest.approx(0.0, abs=1e-9), pytest.approx(1.0))
    np.testing.assert_allclose(scores, scorer.of_sample[:, 0], atol=1e-9)


def test_a_share_of_the_neighbours_mean_score_is_added(papers: FeatureIndex) -> None:
    sample = sample_of(papers)
    found = inferred(papers, request_of(papers, TEXTS[0]))
    own = found.own_scores(sample.rows)[:, 0]
    own = (own - own.mean()) / own.std()
    near = np.array([own[neighbours].mean() for neighbours in sample.neighbours])
    both = own + 0.4 * (near - near.mean()) / near.std()
    expected = (both - both.mean()) / both.std()
    np.testing.assert_allclose(Scorer(found, sample, 0.4)(sample.rows).total, expected, atol=1e-9)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_every_kind_of_query_works_on_tiny_collections(
    count: int, space: FeatureSpace, encoder: RecordingEncoder
) -> None:
    index = memory_index(sample_records(count), space, encoder)
    first, last = "doc-0", f"doc-{count - 1}"
    for options in (
        {"property": "sad"},
        {"property": "sad", "against": ["happy", "angry"]},
        {"like": [first]},
        {"property": "sad", "like": [first], "unlike": [last] if count > 1 else []},
        {"text": "galaxies", "unlike": [last]},
        {"text": "galaxies", "property": "sad"},
        {"text": "galaxies", "steer": "+medicine:2"},
        {"property": "sad", "where": "NOT #5"},
    ):
        hits = index.search(**options, explain=True)
        assert len(hits) <= count
        for hit in hits:
            assert np.isfinite(hit.score)
            assert hit.explanation is not None
            assert hit.explanation.total == pytest.approx(hit.score, abs=1e-5)
    profile = index.profiles.fit("mine", like=[first], unlike=[last] if count > 1 else [])
    assert np.isfinite(profile.vector).all()
    assert np.isfinite([hit.score for hit in index.search("galaxies", steer="+profile:mine:1")]).all()
