"""From a phrase to its set of features, by the evidence of the collection.

``strict`` trusts labels alone: the features whose labels clearly say the phrase. ``best`` asks the
collection which records the phrase means, and adds to those the few features, among trusted ones whose
labels are near, that cover these records best. ``expand`` takes them among all features. Chosen on the
``choose`` parts of 13 corpora by F1 against true labels; the benchmark ``resolution`` reports ``test``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from saeindex.collection.caches import Memo
from saeindex.collection.rows import tokens
from saeindex.collection.sample import nearest_rows
from saeindex.concepts.inference import Asked, Recipe, infer, pool_of
from saeindex.concepts.label_match import FAMILY, Concept, ConceptResolver, FeatureMatch, is_id
from saeindex.concepts.scorer import Scorer
from saeindex.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from scipy.sparse import csc_matrix, csr_matrix

    from saeindex.collection.collection import Collection
    from saeindex.collection.sample import CollectionSample
    from saeindex.concepts.weighting import Doubles
    from saeindex.types import FloatArray, Resolve

# Words of the collection serve to rank; for a set of features they changed nothing, and cost an encoding.
RECIPE = Recipe(first_words=0.0, meant_words=0.0, most_meant=math.inf)
# A record is as likely meant as not at one deviation above the mean.
MEANT_FROM, STEEPNESS = 1.0, 2.0
MOST, MOST_NAMED, NEAREST_LABELS = 8, 2, 100
# A phrase that no label answers to is taken for a description only where the collection has records near to
# it, and it is made of words: of the collection's, or of such as the encoder does not have to spell. Of 199
# descriptions 99 % reach the similarity; random letters have two to a token, words five.
LEAST_KNOWN, LEAST_SIMILARITY, NEAREST_RECORDS, LEAST_LETTERS = 0.5, 0.2, 10, 2.5
KEPT = 512
MODES = ("strict", "best", "expand")
# Features that by themselves say most; the set is chosen among them.
CONSIDERED = 150
# A further feature must better the expected F1 by this share, and be in this many records of the sample.
LEAST_GAIN, LEAST_RECORDS = 0.01, 5


class Resolver:
    """Resolves phrases against one collection; remembers what it found until the collection changes."""

    def __init__(self, collection: Collection) -> None:
        """Take the collection; nothing is read of it before a phrase asks for it."""
        self._collection = collection
        self._space = collection.space
        self.labels = ConceptResolver(collection.space, collection.encode)
        self._known: Memo[Concept] = Memo(KEPT)

    def match(self, phrase: str, limit: int = 10) -> list[FeatureMatch]:
        """Return the features whose labels are nearest to a phrase, best first, weak labels included."""
        return self.labels.match(phrase, limit)

    def resolve(self, target: str, mode: Resolve = "best") -> Concept:
        """Return the concept of ``#id``, ``family:NAME`` or a phrase.

        UnknownConceptError lists the nearest labels. A phrase that is a label is that label's features.
        """
        if mode not in MODES:
            raise InvalidInputError(f"resolve={mode!r}", "no such way", f"Use {', '.join(MODES)}.")
        if mode == "strict" or target.startswith(FAMILY) or is_id(target) or self.labels.is_label(target):
            return self.labels.resolve(target)
        sample = self._collection.sample()
        return self._known.get((target, mode), lambda: self._by_evidence(target, mode, sample), of=sample)

    def check_meaning(self, phrase: str) -> None:
        """Raise UnknownConceptError where neither labels nor records answer to a phrase."""
        if not self.labels.named(phrase):
            self._check_records(phrase)

    def _check_records(self, phrase: str) -> None:
        sample, vector = self._collection.sample(), self._collection.encode(phrase)
        near = nearest_rows(vector[None], sample.rows.x, NEAREST_RECORDS)[0]
        if not len(near) or float((sample.rows.x[near] @ vector).mean()) < LEAST_SIMILARITY:
            raise self.labels.unknown(phrase)
        words = {word for word in tokens(phrase) if word.isalpha()}
        known = sum(word in sample.places for word in words)
        if known < LEAST_KNOWN * len(words) and not self._reads(phrase):
            raise self.labels.unknown(phrase)

    def _reads(self, phrase: str) -> bool:
        """Say whether the encoder's tokens of a phrase are words, rather than letters."""
        spans = self._collection.encoder.token_spans(phrase)
        letters = sum(character.isalnum() for character in phrase)
        return letters >= LEAST_LETTERS * max(1, len(spans))

    def _by_evidence(self, phrase: str, mode: Resolve, sample: CollectionSample) -> Concept:
        # Whoever asks by a label means its feature.
        named = [match.id for match in self.labels.named(phrase)[:MOST_NAMED]]
        if not named:
            self._check_records(phrase)
        vector = self._collection.encode(phrase)
        pool = pool_of(sample, self._collection.nearest(vector))
        inferred = infer(sample, pool, Asked(vector[None]), self._collection.encoder, RECIPE)
        scores = Scorer(inferred, sample, RECIPE.neighbours).of_sample[:, 0]
        meant = likely(scores, MEANT_FROM, STEEPNESS)
        found = cover(meant, sample.present, self._allowed(vector, mode, sample), MOST, named)
        if not found.features:
            raise self.labels.unknown(phrase)
        matches = tuple(
            self.labels.describe(feature, share)
            for feature, share in zip(found.features, found.shares, strict=True)
        )
        return Concept(phrase, matches, mode, found.precision, found.recall)

    def _allowed(self, vector: FloatArray, mode: Resolve, sample: CollectionSample) -> NDArray[np.int64]:
        every = np.arange(self._space.n_features)
        if mode == "expand":
            return every
        trusted = every[[not label.is_weak for label in self._space.labels]]
        labels = self._space.label_vectors[trusted] - sample.background
        nearest = nearest_rows((vector - sample.background)[None], labels, NEAREST_LABELS)[0]
        return np.sort(trusted[nearest])


@dataclass(frozen=True, slots=True)
class Cover:
    """A set of features, in the order of choice, and how well their union is expected to do.

    ``shares`` is how much of each feature's records are meant; ``precision`` and ``recall`` are the union's.
    """

    features: tuple[int, ...]
    shares: tuple[float, ...]
    precision: float
    recall: float


def likely(scores: Doubles, floor: float, steepness: float) -> Doubles:
    """Return how likely each record is meant, from its score in deviations above the mean (m,)."""
    probability: Doubles = 1.0 / (1.0 + np.exp(-steepness * (scores - floor)))
    return probability


def cover(
    meant: Doubles, present: csr_matrix, allowed: NDArray[np.int64], most: int, named: Sequence[int] = ()
) -> Cover:
    """Return up to ``most`` features, the ``named`` and of the ``allowed``, with the best expected F1.

    ``meant`` (m,) is the probability of each record, ``present`` (m, n) which features it has. Greedy: each
    step adds the feature that betters 2 |union ∩ meant| / (|union| + |meant|) most.
    """
    total = float(meant.sum())
    chosen = list(named)
    inside = np.asarray(present[:, chosen].sum(1)).ravel() > 0
    best = 2 * float(meant[inside].sum()) / (float(inside.sum()) + total)
    columns: csc_matrix = present.tocsc()[:, allowed]
    sizes = np.asarray(columns.sum(0)).ravel()
    alone = 2 * np.asarray(meant @ columns).ravel() / (sizes + total)
    alone[sizes < LEAST_RECORDS] = 0.0
    tried = np.argsort(-alone, kind="stable")[:CONSIDERED]
    tried = tried[alone[tried] > 0]
    columns = columns[:, tried]
    while len(chosen) < most and len(tried):
        left = np.where(inside, 0.0, 1.0)
        hits = np.asarray((meant * left) @ columns).ravel() + meant[inside].sum()
        f1 = 2 * hits / (np.asarray(left @ columns).ravel() + inside.sum() + total)
        winner = int(f1.argmax())
        if f1[winner] <= best * (1 + LEAST_GAIN):
            break
        best = float(f1[winner])
        chosen.append(int(allowed[tried[winner]]))
        inside |= columns[:, [winner]].toarray().ravel() > 0
    return _described(chosen, present, meant, inside)


def _described(
    chosen: Sequence[int], present: csr_matrix, meant: Doubles, inside: NDArray[np.bool_]
) -> Cover:
    having = present[:, list(chosen)].tocsc()
    sizes = np.maximum(np.asarray(having.sum(0)).ravel(), 1)
    shares = np.asarray(meant @ having).ravel() / sizes
    met = float(meant[inside].sum())
    precision, recall = met / max(1, int(inside.sum())), met / max(float(meant.sum()), 1e-9)
    return Cover(tuple(chosen), tuple(shares.tolist()), precision, recall)
