"""Every part of an explanation equals an independent computation from stored vectors and decoder weights."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import pytest
from numpy.typing import NDArray

from saeindex import FeatureIndex
from saeindex.indexing.points import point_id
from saeindex.protocols import Point
from saeindex.search.explain import Explanation
from saeindex.search.property import PropertyRanking
from tests.evidence_reference import present_in
from tests.samples import code_of, dense, prepared, sample_records

Doubles: TypeAlias = NDArray[np.float64]
# A part is known by its kind and its feature or, where that has several labels, its label.
Parts: TypeAlias = dict[tuple[str, "int | str | None"], float]

QUERIES = [record.text for record in sample_records(12, seed=7, prefix="query")]
STEERS: dict[str, dict[int, float]] = {"": {}, "+#7:2 -#1041:1.5": {7: 2.0, 1041: -1.5}}
TOLERANCE = 1e-5
PROPERTIES: dict[str, dict[str, Any]] = {
    "lone": {"property": "an expression of disappointment"},
    "against": {"property": "a question", "against": ["a complaint", "a mathematical statement"]},
    "like and unlike": {"like": ["doc-4", "doc-17", "doc-30"], "unlike": ["doc-5", "doc-6"]},
    "text and property": {"text": "galaxies", "property": "a complaint", "against": ["praise"]},
    "steered": {"property": "a complaint", "steer": "+medicine:0.5"},
}


def parts_of(explanation: Explanation | None) -> Parts:
    assert explanation is not None
    named = {"word"}
    parts: Parts = {
        (str(part.kind), part.label if part.kind in named else part.feature): part.value
        for part in explanation.parts
    }
    assert len(parts) == len(explanation.parts)
    return parts


def assert_equal(found: Parts, expected: Parts) -> None:
    assert found.keys() == expected.keys()
    assert [found[key] for key in expected] == pytest.approx(list(expected.values()), abs=TOLERANCE)


def stored(index: FeatureIndex, record_id: str) -> Point:
    return index.state.store.get([point_id(record_id)], with_vectors=True)[0]


def vector_of(index: FeatureIndex, text: str, steers: Mapping[int, float]) -> Doubles:
    """Return normalise(q + Σ Δ m_i d_i) for strengths Δ of features i, with m_i their median activation."""
    q: Doubles = index.encoder.encode_query([text])[0].astype(np.float64)
    q /= np.linalg.norm(q)
    for i, strength in steers.items():
        step = strength * float(index.space.calibration.median[i])
        q = q + step * index.space.sae.weights["decoder"][i].astype(np.float64)
    unit: Doubles = q / np.linalg.norm(q)
    return unit


def joined(index: FeatureIndex, parts: Parts, codes: set[int]) -> Parts:
    """Return parts with one for all features but the concepts that a record with these codes speaks of."""
    assert index.space.evidence is not None
    spoken = set(index.space.evidence.features.tolist()) & present_in(codes)
    rest = [key for key in parts if key[0] == "feature" and key[1] not in spoken]
    kept = {key: value for key, value in parts.items() if key not in rest}
    return {**kept, ("unnamed", None): math.fsum(parts[key] for key in rest)} if rest else kept


def parts_of_dense(index: FeatureIndex, q: Doubles, point: Point) -> Parts:
    """Return z_i q·d_i of each active feature, q·b and q·r, with r = x - Σ z_i d_i - b as a vector."""
    weights = index.space.sae.weights
    r, parts = dense(point).astype(np.float64), Parts()
    code = code_of(point)
    for i, z in zip(code.indices.tolist(), code.values.tolist(), strict=True):
        direction = weights["decoder"][i].astype(np.float64)
        parts["feature", i] = z * float(q @ direction)
        r = r - z * direction
    bias = weights["bias"].astype(np.float64)
    return {**parts, ("residual", None): float(q @ (r - bias)), ("bias", None): float(q @ bias)}


def parts_of_sparse(index: FeatureIndex, q: Doubles, steers: Mapping[int, float], point: Point) -> Parts:
    """Return q_i z_i of the features that query and record share; what is subtracted lowers q_i."""
    indices, values = index.space.sae.encode(q[None].astype(np.float32)).row(0)
    strengths = dict(zip(indices.tolist(), values.tolist(), strict=True))
    for i, strength in steers.items():
        if strength < 0:
            strengths[i] = strengths.get(i, 0.0) + strength * float(index.space.calibration.median[i])
    code = code_of(point)
    shared = zip(code.indices.tolist(), code.values.tolist(), strict=True)
    return {("feature", i): strengths[i] * z for i, z in shared if i in strengths}


@pytest.mark.parametrize("steer", STEERS)
def test_each_part_of_a_dense_score_is_that_of_the_stored_vectors(
    papers: FeatureIndex, papers_codes: dict[str, set[int]], steer: str
) -> None:
    n_named, n_unnamed = 0, 0
    for text in QUERIES:
        q = vector_of(papers, text, STEERS[steer])
        for hit in papers.search(text, using="dense", steer=steer, limit=3, explain=True):
            own = parts_of_dense(papers, q, stored(papers, hit.id))
            expected = joined(papers, own, papers_codes[hit.id])
            assert_equal(parts_of(hit.explanation), expected)
            assert math.fsum(expected.values()) == pytest.approx(hit.score, abs=TOLERANCE)
            assert max(abs(value) for value in expected.values()) > 0.01
            n_named += sum(kind == "feature" for kind, _ in expected)
            n_unnamed += ("unnamed", None) in expected
    assert n_named > 50 and n_unnamed > 20


def test_without_sentences_each_feature_has_its_own_part(papers_without_sentences: FeatureIndex) -> None:
    index = papers_without_sentences
    for text in QUERIES[:4]:
        q = vector_of(index, text, {})
        for hit in index.search(text, using="dense", limit=3, explain=True, unnamed=True):
            assert_equal(parts_of(hit.explanation), parts_of_dense(index, q, stored(index, hit.id)))


@pytest.mark.parametrize("steer", STEERS)
def test_each_part_of_a_sparse_score_is_a_product_of_two_activations(
    papers: FeatureIndex, papers_codes: dict[str, set[int]], steer: str
) -> None:
    for text in QUERIES:
        q = vector_of(papers, text, STEERS[steer])
        for hit in papers.search(text, steer=steer, using="sae", limit=3, explain=True):
            own = parts_of_sparse(papers, q, STEERS[steer], stored(papers, hit.id))
            assert_equal(parts_of(hit.explanation), joined(papers, own, papers_codes[hit.id]))
            assert math.fsum(own.values()) == pytest.approx(hit.score, abs=TOLERANCE)


class PropertyScores:
    """The score of every record by an inference, step by step, from stored vectors and texts."""

    def __init__(self, index: FeatureIndex, ranking: PropertyRanking) -> None:
        self.index, self.ranking = index, ranking
        self.inference = ranking.scorer.inference
        self.sample = ranking.scorer.sample
        self.points = index.state.store.get(list(self.sample.rows.ids), with_vectors=True)
        self.raw = np.array([self.own(point) for point in self.points])
        sampled = self.standard(self.raw)
        x = np.array([dense(point) for point in self.points], np.float64) - self.sample.mean
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        similar = x @ x.T
        np.fill_diagonal(similar, -np.inf)
        around = np.array([sampled[np.argsort(-row)[:10]].mean(0) for row in similar])
        self.near = ranking.scorer.neighbours * self.standard(around)
        self.before = sampled + self.near
        self.both = self.standard(self.before)
        others = self.both[:, 1:]
        self.against = np.log(np.exp(others).mean(1)) if others.shape[1] else np.zeros(len(self.both))
        self.fits = self.both[:, 0] - self.against

    @staticmethod
    def standard(scores: Doubles) -> Doubles:
        scaled: Doubles = (scores - scores.mean(0)) / scores.std(0)
        return scaled

    def loudness(self, point: Point) -> dict[int, float]:
        """Return activations over the p90 of their features, at most 1.5."""
        code, p90 = code_of(point), self.index.space.calibration.p90
        active = zip(code.indices.tolist(), code.values.tolist(), strict=True)
        return {i: min(1.5, z / max(float(p90[i]), 1e-6)) if np.isfinite(p90[i]) else 1.0 for i, z in active}

    def words(self, point: Point) -> dict[str, float]:
        """Return each known word with one over the root of the text's number of words."""
        found = set(re.findall(r"[^\W_]+(?:['’][^\W_]+)?|[?!]", point.payload["text"].lower()))
        return {word: (len(found) + 1) ** -0.5 for word in found if word in self.sample.places}

    def own(self, point: Point) -> list[float]:
        """Return a record's own score for each value."""
        scores = []
        for value in range(len(self.inference.directions)):
            score = float(dense(point).astype(np.float64) @ self.inference.directions[value])
            score += sum(self.inference.concepts[value, i] * part for i, part in self.loudness(point).items())
            weights = self.inference.words[value]
            score += sum(weights[self.sample.places[word]] * part for word, part in self.words(point).items())
            scores.append(score + float(self.inference.offset[value]))
        return scores

    def parts(self, row: int) -> Parts:
        """Return the parts of the score of a row of the sample."""
        point, fit = self.points[row], 1 / self.fits.std()
        unit = fit / (self.raw[:, 0].std() * self.before[:, 0].std())
        direction, x = self.inference.directions[0], dense(point).astype(np.float64)
        decoder, loud = self.index.space.sae.weights["decoder"].astype(np.float64), self.loudness(point)
        code, parts = code_of(point), Parts()
        rest = x
        for i, z in zip(code.indices.tolist(), code.values.tolist(), strict=True):
            weight = float(self.inference.concepts[0, i])
            parts["feature", i] = unit * (z * float(direction @ decoder[i]) + weight * loud[i])
            rest = rest - z * decoder[i]
        for word, amount in self.words(point).items():
            parts["word", word] = unit * amount * float(self.inference.words[0, self.sample.places[word]])
        parts["residual", None] = unit * float(direction @ rest)
        parts["neighbours", None] = fit * self.near[row, 0] / self.before[:, 0].std()
        if len(self.inference.directions) > 1:
            parts["against", None] = -fit * self.against[row]
        common = float(self.inference.offset[0]) - self.raw[:, 0].mean()
        common = unit * common - fit * (self.before[:, 0].mean() / self.before[:, 0].std() + self.fits.mean())
        parts["bias", None] = common
        if self.ranking.text is not None:
            near = np.array([dense(point) for point in self.points], np.float64) @ self.ranking.text
            parts["text", None] = self.standard(near)[row]
        return {key: value for key, value in parts.items() if key[0] != "word" or value}


@pytest.mark.parametrize("options", PROPERTIES.values(), ids=PROPERTIES)
def test_each_part_of_a_property_score_is_that_of_its_evidence(
    papers: FeatureIndex, options: Mapping[str, Any]
) -> None:
    hits = papers.search(**options, limit=6, explain=True, unnamed=True)
    ranking = prepared(papers, **options, limit=6, explain=True).rescorer
    assert ranking is not None
    scores = PropertyScores(papers, ranking)
    places = {point.payload["record_id"]: row for row, point in enumerate(scores.points)}
    for hit in hits:
        expected = scores.parts(places[hit.id])
        assert_equal(parts_of(hit.explanation), expected)
        assert math.fsum(expected.values()) == pytest.approx(hit.score, abs=TOLERANCE)
        assert {key[0] for key in expected} >= {"feature", "word", "residual", "neighbours", "bias"}
