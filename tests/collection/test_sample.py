"""The sample of a collection: its records and statistics, compared with loops."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest

from saeindex import FeatureIndex, FeatureSpace, Record
from saeindex.collection.sample import (
    CollectionSample,
    nearest_rows,
    read_rows,
    read_sample,
    tokens,
)
from saeindex.errors import InvalidInputError
from tests.samples import RecordingEncoder, all_points, code_of, dense, sample_records
from tests.search.sampled_indexes import memory_index, sampled


def test_a_small_collection_is_its_own_sample(any_papers: FeatureIndex) -> None:
    sample, points = any_papers.state.sample(), all_points(any_papers)
    assert list(sample.rows.ids) == [point.id for point in points]
    # The client's local mode normalises its stored vectors again with every search.
    np.testing.assert_allclose(sample.rows.x, [dense(point) for point in points], atol=1e-6)
    assert (sample.total, sample.weight) == (240, 1.0)
    assert sample.trust == pytest.approx(240 / 290)


def test_a_larger_collection_is_sampled_by_the_order_of_its_hashed_ids(memory_papers: FeatureIndex) -> None:
    with sampled(60, nearest=20):
        sample = read_sample(memory_papers.state.store, memory_papers.space, 240)
    assert list(sample.rows.ids) == sorted(point.id for point in all_points(memory_papers))[:60]
    assert sample.weight == 4.0


def test_the_first_ids_are_spread_over_all_that_was_added(memory_papers: FeatureIndex) -> None:
    points = sorted(all_points(memory_papers), key=lambda point: str(point.id))
    places = np.array([int(point.payload["record_id"].removeprefix("doc-")) for point in points])
    # The mean of 60 uniformly drawn positions among 240 is within 4 standard errors of 119.5.
    assert abs(places[:60].mean() - 119.5) < 4 * (240 / 12**0.5) / 60**0.5


def test_a_sample_is_kept_until_records_change(space: FeatureSpace, encoder: RecordingEncoder) -> None:
    records = sample_records(12)
    index = memory_index(records[:10], space, encoder)
    first = index.state.sample()
    assert index.state.sample() is first
    index.upsert(records[10:])
    grown = index.state.sample()
    assert (len(first.rows), len(grown.rows)) == (10, 12)
    index.delete([records[0].id])
    assert len(index.state.sample().rows) == 11
    index.upsert([Record(records[1].id, "quixotic windmills, quixotic knights")])
    changed = index.state.sample()
    assert changed is not grown and len(changed.rows) == 11


def test_a_state_keeps_its_sample_while_records_are_added(
    space: FeatureSpace, encoder: RecordingEncoder
) -> None:
    records = sample_records(12)
    index = memory_index(records[:10], space, encoder)
    state = index.state
    first = state.sample()
    index.upsert(records[10:])
    assert (state.total, state.sample()) == (10, first)
    assert (index.state.total, len(index.state.sample().rows)) == (12, 12)


def test_a_record_outside_the_sample_has_its_neighbours_in_it_whatever_else_is_scored(
    papers: FeatureIndex,
) -> None:
    whole = papers.state.sample()
    sample = CollectionSample(papers.space, whole.rows.take(np.arange(100)), whole.places, 240)
    rows = whole.rows.take(np.array([7, 120, 121, 122]))
    found = sample.neighbours_of(rows)
    assert np.array_equal(found[0], sample.neighbours[7])
    x = (sample.rows.x - sample.mean).astype(np.float64)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    for row, own in zip(rows.x[1:] - sample.mean, found[1:], strict=True):
        cosines = x @ (row / np.linalg.norm(row))
        np.testing.assert_allclose(np.sort(cosines[own]), np.sort(cosines)[-10:], atol=1e-5)
    alone = sample.neighbours_of(rows.take(np.array([2])))
    assert np.array_equal(alone[0], found[2])


def test_concepts_are_activations_as_capped_shares_of_their_p90(papers: FeatureIndex) -> None:
    sample, p90 = papers.state.sample(), papers.space.calibration.p90
    for row, point in enumerate(all_points(papers)[:40]):
        expected = np.zeros(papers.space.n_features)
        for feature, activation in zip(code_of(point).indices, code_of(point).values, strict=True):
            is_known = np.isfinite(p90[feature])
            expected[feature] = min(1.5, activation / p90[feature]) if is_known else 1.0
        np.testing.assert_allclose(sample.rows.concepts[row].toarray()[0], expected, rtol=1e-6)
        assert np.array_equal(sample.present[row].toarray()[0], expected > 0)


def test_words_and_shares_equal_those_of_a_loop(papers: FeatureIndex) -> None:
    sample, points = papers.state.sample(), all_points(papers)
    texts = [set(re.findall(r"[a-z0-9]+|[?!]", point.payload["text"].lower())) for point in points]
    counts = Counter(word for words in texts for word in words)
    assert sample.words == tuple(sorted(word for word, count in counts.items() if count > 1))
    shares = [counts[word] / len(texts) for word in sample.words]
    np.testing.assert_allclose(sample.word_share, shares, rtol=1e-6)
    for row in (0, 100, 239):
        weight = (len(texts[row]) + 1) ** -0.5
        expected = [weight if word in texts[row] else 0.0 for word in sample.words]
        np.testing.assert_allclose(sample.rows.words[row].toarray()[0], expected, rtol=1e-6)


def test_concept_shares_are_the_counts_of_the_index(papers: FeatureIndex) -> None:
    sample = papers.state.sample()
    for feature in np.argsort(-sample.concept_share)[:5]:
        assert sample.concept_share[feature] == pytest.approx(papers.count(f"#{feature}") / 240)


def test_words_of_a_text_are_lower_case_with_apostrophes_and_marks() -> None:
    assert tokens("Don't DON’T! 42 naïve_names?") == {"don't", "don’t", "!", "42", "naïve", "names", "?"}
    assert tokens("") == set()
    assert "late" not in tokens("early " * 1_000 + "late")


def test_neighbours_are_the_nearest_by_centred_cosine(papers: FeatureIndex) -> None:
    sample = papers.state.sample()
    x = sample.rows.x.astype(np.float64) - sample.mean
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    for row, found in enumerate(sample.neighbours):
        cosines = x @ x[row]
        others = np.delete(cosines, row)
        assert row not in found
        assert len(set(found.tolist())) == 10
        np.testing.assert_allclose(np.sort(cosines[found]), np.sort(others)[-10:], atol=1e-5)


@pytest.mark.parametrize(("n_queries", "among", "count"), [(7, 30, 4), (1_500, 40, 3), (3, 5, 9), (2, 0, 3)])
def test_nearest_rows_are_those_of_a_full_sort(n_queries: int, among: int, count: int) -> None:
    rng = np.random.default_rng(n_queries)
    a, b = (rng.normal(size=(size, 6)).astype(np.float32) for size in (n_queries, among))
    found = nearest_rows(a, b, count)
    assert found.shape == (n_queries, min(count, among))
    units = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in (a, b)]
    expected = np.argsort(-(units[0] @ units[1].T), axis=1)[:, :count]
    assert np.array_equal(np.sort(found, axis=1), np.sort(expected, axis=1))


def test_the_mean_of_few_records_is_shrunk_towards_that_of_the_space(
    space: FeatureSpace, encoder: RecordingEncoder
) -> None:
    assert space.calibration.mean is not None
    for count in (1, 25):
        sample = memory_index(sample_records(count), space, encoder).state.sample()
        share = count / (count + 50)
        expected = share * sample.rows.x.mean(0) + (1 - share) * space.calibration.mean
        np.testing.assert_allclose(sample.mean, expected, atol=1e-6)


def test_the_background_is_the_mean_label_by_how_often_it_applies(papers: FeatureIndex) -> None:
    sample, expected, total = papers.state.sample(), np.zeros(384), 0.0
    for point in all_points(papers):
        for feature in code_of(point).indices:
            expected += papers.space.label_vectors[feature]
            total += 1
    np.testing.assert_allclose(sample.background, expected / total, atol=1e-5)


def test_frequent_words_are_encoded_once_and_centred(space: FeatureSpace, encoder: RecordingEncoder) -> None:
    sample = memory_index(sample_records(60), space, encoder).state.sample()
    named = sample.named_words(encoder)
    words = [sample.words[column] for column in named.columns]
    assert all(len(word) > 1 and round(sample.word_share[sample.places[word]] * 60) > 2 for word in words)
    raw = encoder.encode_document(words).astype(np.float64)
    centred = raw - raw.mean(0)
    expected = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    np.testing.assert_allclose(named.vectors, expected, atol=1e-5)
    encoder.requested.clear()
    assert sample.named_words(encoder) is named
    assert not encoder.requested


def test_words_in_only_one_text_are_left_out(space: FeatureSpace, encoder: RecordingEncoder) -> None:
    texts = [Record("a", "entirely"), Record("b", "different"), Record("c", "")]
    sample = memory_index(texts[:2], space, encoder).state.sample()
    assert sample.words == ()
    assert len(sample.named_words(encoder).columns) == 0


def test_without_points_there_are_no_rows(papers: FeatureIndex) -> None:
    rows = read_rows([], papers.space, {"a": 0})
    assert (len(rows), rows.x.shape, rows.words.shape) == (0, (0, 384), (0, 1))
    assert rows.concepts.shape == (0, papers.space.n_features)


def test_joined_rows_have_each_record_once(papers: FeatureIndex) -> None:
    rows = papers.state.sample().rows
    first, second = rows.take(np.arange(4)), rows.take(np.array([3, 9]))
    joined = first.joined(second)
    assert joined.ids == (*rows.ids[:4], rows.ids[9])
    assert np.array_equal(joined.x, rows.x[[0, 1, 2, 3, 9]])
    assert (joined.concepts != rows.concepts[[0, 1, 2, 3, 9]]).nnz == 0
    assert first.joined(first) is first


def test_an_empty_index_has_no_sample(space: FeatureSpace, encoder: RecordingEncoder) -> None:
    index = memory_index([], space, encoder)
    with pytest.raises(InvalidInputError, match="index is empty"):
        index.state.sample()
    with pytest.raises(InvalidInputError, match="index is empty"):
        index.search(property="sad")
    with pytest.raises(InvalidInputError, match="index is empty"):
        index.search("galaxies", steer='+"sad and lonely"')
