"""Inference of a property from a description or examples, with the collection itself as evidence.

A description (or examples, or both) scores a sample of the collection. The softmax of these scores weights
the records by how well they match. The inferred property is what these records have more often than the
others, in direction, concepts and words. If the other values of the same field are described too, a record
counts for a value only as far as it fits this value better than the others.

    first   s = z(q'·x) + a z(semantic words) [+ e z(examples·x)] [+ judged concepts]
    weights w = (1 - f) softmax(t · contrast(s)) + f / 20 of the 20 records nearest to q
    then    r = z(g·x) + z(concept weights · concepts) + z(word weights · words)
            g = n + β nz(w·X - μ) [+ ε nz(centred examples)],   n = nz(q' - μ)
    q' is the query minus the mean embedding of the labels, weighted by their frequency (the background);
    contrast(s)_j = s_j - log mean_(i≠j) exp s_i; weights of concepts and words are over-representation
    z-scores (p n - n df) / sqrt(n df (1 - df) + 1) under w, with n = 1 / Σ w².

A description that stands alone, without other values or examples, is easily mistaken: what its words bring in
may be another property that is common here ("the customer likes it" finds what speaks of customers). So it
relies on plain search (f is larger, a smaller).

The constants below were chosen on the ``choose`` parts of 13 corpora, and of a description alone also on
reviews by their polarity, on questions, and on five domains with many intents; the benchmark ``property``
chooses them again, leaving out the corpus that it reports.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from saeindex.collection.sample import CollectionSample, Rows, binarized
from saeindex.config import DENSE, SAE
from saeindex.protocols import SearchRequest, SparseVector, TextEncoder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray
    from scipy.sparse import csr_matrix

    from saeindex.types import Doubles, FloatArray, Ints

# Records of plain search that count as meant: among so many times more the first that are not alike.
NEAREST, LOOKED_AT, ALIKE = 20, 10, 0.9
# The number of concepts in the search for candidates, beside the direction.
SEARCHED = 32


@dataclass(frozen=True, slots=True)
class Recipe:
    """The weights of the kinds of evidence; they do not depend on the corpus."""

    first_words: float = 0.2
    # The share of the weights that the records nearest to the description have.
    firmly: float = 0.0
    # The minimum sharpness of the softmax; it is sharper if more than ``most_meant`` records would match.
    temperature: float = 1.0
    most_meant: float = 500.0
    feedback: float = 4.0
    concepts: float = 0.25
    found_words: float = 0.7
    meant_words: float = 0.25
    neighbours: float = 0.4
    # Weights of ten examples: in the first pass, in the direction, in concepts and in words.
    first_examples: float = 2.5
    examples: float = 8.0
    example_concepts: float = 0.5
    example_words: float = 0.9
    counter_examples: float = 0.5
    # Weight of an accepted or rejected concept, in the first pass and in the score.
    judged: float = 2.0
    # Semantic words: exp(min(z, cap) / width).
    word_width: float = 0.7
    word_cap: float = 4.0


# Words of the collection are not used for directions and sets: they changed nothing, and need an encoding.
WITHOUT_WORDS = Recipe(first_words=0.0, meant_words=0.0, most_meant=math.inf)
# For a description without examples and other values.
ALONE = Recipe(first_words=0.1, firmly=0.6, neighbours=0.7)


@dataclass(frozen=True, eq=False)
class Asked:
    """The given evidence: ``vectors`` (J, d) of descriptions, that of the property first, and examples.

    ``judged`` has +1 for each accepted and -1 for each rejected concept, and less than 1 for a concept whose
    name says the description.
    """

    vectors: FloatArray
    has_text: bool = True
    like: Rows | None = None
    unlike: Rows | None = None
    judged: Mapping[int, float] = field(default_factory=dict)

    @property
    def recipe(self) -> Recipe:
        """The weights of evidence for what is given."""
        has_more = len(self.vectors) > 1 or self.like is not None or self.unlike is not None
        return ALONE if self.has_text and not has_more else Recipe()


@dataclass(frozen=True, eq=False)
class Pool:
    """The records used for inference: the sample, and possibly the nearest records. ``weight`` sums to 1.

    ``present`` and ``occurring`` are the concepts and words of the rows as 0 or 1.
    """

    rows: Rows
    weight: Doubles
    present: csr_matrix
    occurring: csr_matrix


@dataclass(frozen=True, eq=False)
class Inference:
    """The inferred property, per value (the described property first), on comparable scales.

    The scores of a row by ``directions`` (J, d), ``concepts`` (J, n), ``words`` (J, v) and ``offset`` (J,)
    add up to its own score. ``softly`` (m, J) is the weight of each row of the pool.
    """

    directions: Doubles
    concepts: Doubles
    words: Doubles
    offset: Doubles
    softly: Doubles
    pool: Pool

    def own_scores(self, rows: Rows) -> Doubles:
        """Return each row's own score for every value, without its neighbours (m, J)."""
        total: Doubles = rows.x.astype(np.float64) @ self.directions.T + self.offset
        total += rows.concepts @ self.concepts.T
        total += rows.words @ self.words.T
        return total

    def edited(self, concepts: Mapping[int, float], words: Mapping[int, float]) -> Inference:
        """Return the inference with these weights of the property's concepts and words (by column)."""
        new_concepts, new_words = self.concepts.copy(), self.words.copy()
        for feature, weight in concepts.items():
            new_concepts[0, feature] = weight
        for column, weight in words.items():
            new_words[0, column] = weight
        return replace(self, concepts=new_concepts, words=new_words)


def pool_of(sample: CollectionSample, nearest: Rows | None = None) -> Pool:
    """Return the sample and, if it is not the whole collection, the nearest records.

    A nearest record represents itself, a sampled record an equal share of all other records.
    """
    m = len(sample.rows)
    if nearest is None or sample.weight <= 1:
        return Pool(sample.rows, np.full(m, 1 / max(1, m)), sample.present, sample.occurring)
    rows = sample.rows.joined(nearest)
    near = set(nearest.ids)
    is_nearest = np.array([point_id in near for point_id in rows.ids])
    others = max(1, int((~is_nearest).sum()))
    weight = np.where(is_nearest, 1.0, max(0.0, sample.total - int(is_nearest.sum())) / others)
    return Pool(rows, weight / weight.sum(), binarized(rows.concepts), binarized(rows.words))


def infer(
    sample: CollectionSample, pool: Pool, asked: Asked, encoder: TextEncoder, recipe: Recipe | None = None
) -> Inference:
    """Return the inferred property."""
    recipe = recipe or asked.recipe
    x = pool.rows.x.astype(np.float64)
    mean, texts = sample.mean.astype(np.float64), units(asked.vectors - sample.background)
    named = units(texts - mean) * asked.has_text
    example = example_direction(asked, mean, recipe)
    trust = _example_trust(asked, recipe)
    meant = _meant_words(sample, asked, encoder, recipe)

    first = scaled(x @ texts.T, pool.weight) * asked.has_text
    first += recipe.first_words * scaled(pool.rows.words @ meant.T, pool.weight)
    if example is not None:
        first[:, 0] += trust * recipe.first_examples * scaled(x @ example, pool.weight)
    for feature, sign in asked.judged.items():
        first[:, 0] += recipe.judged * sign * pool.rows.concepts[:, [feature]].toarray().ravel()
    sharpness = max(recipe.temperature, _sharpness(sample.total, recipe.most_meant))
    softly = softmax(sharpness * scaled(contrast(first), pool.weight), pool.weight)
    if recipe.firmly:
        softly += recipe.firmly * (_nearest(x, asked) - softly)

    feedback = recipe.feedback * (sample.trust if asked.has_text else 1.0)
    toward = named + feedback * units(softly.T @ x - mean)
    if example is not None:
        toward[0] += trust * recipe.examples * example
    directions, offset = standard(toward, x @ toward.T, pool.weight)
    over = _over(pool.present, sample.concept_share, softly)
    concepts, less = _weights(over, pool.rows.concepts, pool, recipe.concepts)
    over = _over(pool.occurring, sample.word_share, softly)
    found, less_found = _weights(over, pool.rows.words, pool, recipe.found_words)
    words, less_meant = _weights(meant, pool.rows.words, pool, recipe.meant_words)
    offset = offset + less + less_found + less_meant
    inferred = Inference(directions, concepts, found + words, offset, softly, pool)
    return _with_judgements(_with_examples(inferred, sample, asked, trust, recipe), asked, recipe)


def _nearest(x: Doubles, asked: Asked) -> Doubles:
    """Return equal weights of the rows nearest to each description (m, J), of those alike only the first."""
    found = np.zeros((len(x), len(asked.vectors)))
    for column, vector in enumerate(asked.vectors):
        kept: list[int] = []
        for row in np.argsort(-(x @ vector), kind="stable")[: LOOKED_AT * NEAREST].tolist():
            if len(kept) < NEAREST and (not kept or (x[kept] @ x[row]).max() < ALIKE):
                kept.append(row)
        found[kept, column] = 1 / max(1, len(kept))
    return found


def _sharpness(total: int, limit: float) -> float:
    """Return t for which softmax(t z) of normal z selects about ``limit`` of ``total`` records: 1 / Σ w²."""
    return math.sqrt(math.log(max(1.0, total / limit)))


def _example_trust(asked: Asked, recipe: Recipe) -> float:
    """Return the weight of the examples relative to ten: the error of their mean falls with the root.

    If there are only counter-examples, they have the same weight as they have beside examples.
    """
    if asked.like is not None and len(asked.like):
        return float(min(2.0, (len(asked.like) / 10) ** 0.5))
    count = 0 if asked.unlike is None else len(asked.unlike)
    return recipe.counter_examples * float(min(2.0, (count / 10) ** 0.5))


def example_direction(asked: Asked, mean: Doubles, recipe: Recipe) -> Doubles | None:
    """Return the direction (d,) from the mean to the examples and away from the counter-examples."""
    like = None if asked.like is None or not len(asked.like) else units(asked.like.x.mean(0) - mean)
    if asked.unlike is None or not len(asked.unlike):
        return like
    unlike = units(asked.unlike.x.mean(0) - mean)
    return units(-unlike if like is None else like - recipe.counter_examples * unlike)


def _meant_words(sample: CollectionSample, asked: Asked, encoder: TextEncoder, recipe: Recipe) -> Doubles:
    """Return the nearness of each word of the collection to each description, as weights (J, v)."""
    weights = np.zeros((len(asked.vectors), max(1, len(sample.words))))
    if not asked.has_text or (not recipe.meant_words and not recipe.first_words):
        return weights
    named = sample.named_words(encoder)
    columns = named.columns
    if not len(columns):
        return weights
    nearness = units(asked.vectors - named.mean) @ named.vectors.T
    z = (nearness - nearness.mean(1, keepdims=True)) / (nearness.std(1, keepdims=True) + TINY)
    rarity = -np.log(np.maximum(sample.word_share[columns], TINY))
    weights[:, columns] = np.exp(np.minimum(z, recipe.word_cap) / recipe.word_width) * rarity
    return weights


def _with_examples(
    inferred: Inference, sample: CollectionSample, asked: Asked, trust: float, recipe: Recipe
) -> Inference:
    """Add the over-representation among the examples to the property's weights."""
    if asked.like is None or not len(asked.like):
        return inferred
    concepts, words, offset = inferred.concepts.copy(), inferred.words.copy(), inferred.offset.copy()
    pool = inferred.pool
    for weights, shares, of_like, matrix, amount in (
        (concepts, sample.concept_share, asked.like.concepts, pool.rows.concepts, recipe.example_concepts),
        (words, sample.word_share, asked.like.words, pool.rows.words, recipe.example_words),
    ):
        have = np.asarray((of_like > 0).mean(0)).ravel()
        over = over_represented(have[None], shares, np.array([len(asked.like)]))
        added, less = _weights(over, matrix, pool, trust * amount)
        weights[0] += added[0]
        offset[0] += less[0]
    return replace(inferred, concepts=concepts, words=words, offset=offset)


def _with_judgements(inferred: Inference, asked: Asked, recipe: Recipe) -> Inference:
    """Give accepted and named concepts at least their weight, and rejected ones the negative of it."""
    if not asked.judged:
        return inferred
    concepts = inferred.concepts.copy()
    for feature, sign in asked.judged.items():
        concepts[0, feature] = np.sign(sign) * max(recipe.judged * abs(sign), abs(concepts[0, feature]))
    return replace(inferred, concepts=concepts)


def _over(having: csr_matrix, usual: FloatArray, softly: Doubles) -> Doubles:
    """Return the over-representation (J, n) in the weighted rows against the ``usual`` shares."""
    return over_represented(np.asarray((having.T @ softly).T), usual, 1 / (softly**2).sum(0))


def _weights(raw: Doubles, matrix: csr_matrix, pool: Pool, amount: float) -> tuple[Doubles, Doubles]:
    """Return weights whose scores of the pool have the standard deviation ``amount``, and their offset."""
    weights, offset = standard(raw, np.asarray(matrix @ raw.T), pool.weight)
    return amount * weights, amount * offset


@dataclass(frozen=True, eq=False)
class Scored:
    """Scores of rows, for every value (m, J), with their intermediate results.

    ``total`` is the scaled contrast of ``both`` for the property; ``both`` is a row's own score plus the
    weighted score of the neighbours, ``near``. Each is scaled by the sample's mean and deviation.
    """

    near: Doubles
    both: Doubles
    total: Doubles


@dataclass(frozen=True, eq=False)
class Scorer:
    """Scores rows by an inference, in standard deviations above the collection's mean."""

    inference: Inference
    sample: CollectionSample
    neighbours: float

    def __call__(self, rows: Rows, nearest: Ints | None = None) -> Scored:
        """Return the scores of ``rows``, each whatever the others are.

        ``nearest`` (m, n) are their neighbours in the sample, if known.
        """
        own = self.own(self.inference.own_scores(rows))
        near = np.zeros_like(own)
        if self.neighbours:
            nearest = self.sample.neighbours_of(rows) if nearest is None else nearest
            near = self.near(self.sampled[nearest].mean(axis=1)) if nearest.shape[1] else near
        both = self.both(own + self.neighbours * near)
        return Scored(near, both, self.fits(contrast(both)[:, :1])[:, 0])

    def requests(self, limit: int) -> list[SearchRequest]:
        """Return the searches for the nearest points by direction, and by concepts if there are any."""
        direction = self.inference.directions[0].astype(np.float32)
        found = [SearchRequest(direction, using=DENSE, limit=limit)]
        if (concepts := self._concepts) is not None:
            found.append(SearchRequest(concepts, using=SAE, limit=limit))
        return found

    @property
    def _concepts(self) -> SparseVector | None:
        """The concepts of the largest weights as a sparse query: an activation at its p90 adds the weight."""
        weights = self.inference.concepts[0]
        top = np.sort(np.argsort(-weights, kind="stable")[:SEARCHED])
        p90 = self.sample.space.calibration.p90[top]
        kept = (weights[top] > 0) & np.isfinite(p90)
        if not kept.any():
            return None
        values = (weights[top][kept] / np.maximum(p90[kept], 1e-6)).astype(np.float32)
        return SparseVector(top[kept].astype(np.int32), values)

    @property
    def own(self) -> Scale:
        """The scale of own scores."""
        return self._measured.own

    @property
    def sampled(self) -> Doubles:
        """The sample's own scores, scaled (m, J)."""
        return self._measured.sampled

    @property
    def near(self) -> Scale:
        """The scale of neighbours' mean scores."""
        return self._measured.near

    @property
    def both(self) -> Scale:
        """The scale of the sum of own and neighbours' scores."""
        return self._measured.both

    @cached_property
    def fits(self) -> Scale:
        """The scale of the contrast with the other values."""
        return Scale.of(self._measured.fits[:, :1])

    @cached_property
    def of_sample(self) -> Doubles:
        """The sample's totals, for every value (m, J)."""
        return Scale.of(self._measured.fits)(self._measured.fits)

    @cached_property
    def _measured(self) -> _Measured:
        raw, neighbours = self.inference.own_scores(self.sample.rows), self.sample.neighbours
        own = Scale.of(raw)
        sampled = own(raw)
        around = sampled[neighbours].mean(axis=1) if neighbours.shape[1] else np.zeros_like(sampled)
        near = Scale.of(around)
        total = sampled + self.neighbours * near(around)
        both = Scale.of(total)
        return _Measured(own, near, both, sampled, contrast(both(total)))


def scored_by(
    sample: CollectionSample,
    asked: Asked,
    encoder: TextEncoder,
    recipe: Recipe | None = None,
    nearest: Rows | None = None,
) -> Scorer:
    """Return the scorer of what is asked, inferred from a sample and the records ``nearest`` to it."""
    recipe = recipe or asked.recipe
    inferred = infer(sample, pool_of(sample, nearest), asked, encoder, recipe)
    return Scorer(inferred, sample, recipe.neighbours)


class _Measured(NamedTuple):
    """The sample's scores, and the scales computed from them."""

    own: Scale
    near: Scale
    both: Scale
    sampled: Doubles
    fits: Doubles


@dataclass(frozen=True, eq=False)
class Scale:
    """Subtracts ``mean`` and divides by ``deviation``, per value (J,)."""

    mean: Doubles
    deviation: Doubles

    @classmethod
    def of(cls, scores: Doubles) -> Scale:
        """Return the scale on which ``scores`` (m, J) have mean 0 and deviation 1."""
        deviation = scores.std(axis=0)
        return cls(scores.mean(axis=0), np.where(deviation > TINY, deviation, 1.0))

    def __call__(self, scores: Doubles) -> Doubles:
        """Return ``scores`` on this scale."""
        scaled: Doubles = (scores - self.mean) / self.deviation
        return scaled


TINY = 1e-9


def contrast(scores: Doubles) -> Doubles:
    """Return how much better each row fits each value than the others: s_j - log mean exp of the others."""
    count = scores.shape[1]
    if count == 1:
        return scores
    largest = scores.max(axis=1, keepdims=True)
    raised = np.exp(scores - largest)
    others = np.maximum(raised.sum(axis=1, keepdims=True) - raised, 1e-300) / (count - 1)
    fits: Doubles = scores - largest - np.log(others)
    # If the largest score is far above the others, their sum underflows: they are summed without it.
    top = scores.argmax(axis=1)[:, None]
    without = scores.copy()
    np.put_along_axis(without, top, -np.inf, axis=1)
    second = without.max(axis=1, keepdims=True)
    rest = np.log(np.exp(without - second).sum(axis=1, keepdims=True) / (count - 1))
    np.put_along_axis(fits, top, largest - second - rest, axis=1)
    return fits


def over_represented(share: Doubles, usual: FloatArray, count: NDArray[np.float64 | np.int64]) -> Doubles:
    """Return z of a share (J, n) among ``count`` (J,) records, against the usual share (n,)."""
    n = np.asarray(count, np.float64)[:, None]
    z: Doubles = n * (share - usual) / np.sqrt(n * usual * (1 - usual) + 1)
    return z


def standard(weights: Doubles, scores: Doubles, share: Doubles) -> tuple[Doubles, Doubles]:
    """Return weights (J, ·) and offsets (J,) that give ``scores`` (m, J) mean 0 and deviation 1."""
    mean, deviation = _moments(scores, share)
    return weights / deviation[:, None], -mean / deviation


def scaled(scores: Doubles, share: Doubles) -> Doubles:
    """Return ``scores`` (m, J) with mean 0 and deviation 1, rows counting by ``share`` (m,)."""
    mean, deviation = _moments(scores, share)
    zero_mean: Doubles = (scores - mean) / deviation
    return zero_mean


def _moments(scores: Doubles, share: Doubles) -> tuple[Doubles, Doubles]:
    mean = share @ scores
    deviation = np.sqrt(share @ (scores - mean) ** 2)
    # If all scores are equal, they have no information: a huge deviation scales them to 0.
    return mean, np.where(deviation > TINY, deviation, 1e12)


def softmax(scores: Doubles, share: Doubles) -> Doubles:
    """Return ``share`` times exp of ``scores`` (m, J), summing to 1 by value."""
    raised = share[:, None] * np.exp(scores - scores.max(axis=0))
    weights: Doubles = raised / raised.sum(axis=0)
    return weights


def units(vectors: NDArray[np.floating]) -> Doubles:
    """Return vectors (…, d) at unit length; zero stays zero."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    units: Doubles = np.asarray(vectors, np.float64) / np.maximum(lengths, TINY)
    return units


def wilson(share: ArrayLike, draws: ArrayLike, z: float) -> tuple[Doubles, Doubles]:
    """Return Wilson's interval (1927) of a share in independent draws, ``z`` deviations to each side.

    Its end is exactly 0 for a share of 0 and exactly 1 for a share of 1, whatever the rounding.
    """
    p, n = np.asarray(share, np.float64), np.asarray(draws, np.float64)
    middle = p + z**2 / (2 * n)
    reach = z * np.sqrt(p * (1 - p) / n + (z / (2 * n)) ** 2)
    scale = 1 + z**2 / n
    low, high = (middle - reach) / scale, (middle + reach) / scale
    return np.where(p == 0, 0.0, low), np.where(p == 1, 1.0, high)
