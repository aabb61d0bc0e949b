"""The fit of the evidence: on pairs of `fit` parts, calibrated on pairs of `choose` parts.

The largest log-odds over a sentence's words count, so the word of a pair is chosen by the model itself: two
fits after a first one whose words are chosen by hand settle it.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit

from benchmarks.evidence.dictionary import Entry, read_dictionary
from benchmarks.evidence.pairs import CLEAR, Read, located, read_pairs
from benchmarks.evidence.relations import COLUMNS, Relations, related, whole_wordnet
from saeindex.features.evidence import LEAST_LOG_ODDS, Evidence, LogOdds, measured
from saeindex.features.labels import CONCEPT
from saeindex.features.lexicon import Lexicon, forms

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.features import FeatureSpace
    from saeindex.protocols import TextEncoder
    from saeindex.types import FloatArray, IntArray

# The third of synonyms and narrower terms that the model of unlisted words learns from.
HIDDEN = 1
# The strength of the fit's prior, as scikit-learn has it, and the number of fits.
C, FITS = 0.3, 3
# How sure it is beforehand that a concept's names, and each name, say what others do (inverse variance).
PRECISION = 1.0
# As many sentences that use a concept's name count as much as a usual sentence does.
USUAL_WEIGHT = 2.0
# Weights of the columns by which the word of a pair is first chosen.
FIRST = {"synonym": 1.0, "narrower": 0.5, "share": 1.0, "senses": -0.3, "written": 2.0, "near_name": 3.0}
# The nearest that a sentence is to a concept, its margin and the logarithm of its length: a word that gives
# no possible evidence at these is left out of the lexicon.
NEAREST, LARGEST_MARGIN, LONGEST = 0.5, 0.05, 3.4


@dataclass(frozen=True, eq=False)
class Design:
    """Pairs: the nearness, margin and length of each (p, 3), and the relations of its sentence's words."""

    of_sentence: FloatArray
    relations: list[NDArray[np.int64]]
    is_clear: NDArray[np.bool_]

    def take(self, chosen: NDArray[np.bool_]) -> Design:
        """Return some of the pairs (p,)."""
        relations = [self.relations[row] for row in np.flatnonzero(chosen)]
        return Design(self.of_sentence[chosen], relations, self.is_clear[chosen])


@dataclass(frozen=True, eq=False)
class Model:
    """The weights of a relation's columns, and of (nearness, margin, length, 1)."""

    words: FloatArray
    sentence: FloatArray


@dataclass(frozen=True, eq=False)
class Fit:
    """The two models, by whether a word is a name, and what each relation adds to the log-odds.

    ``effects`` (r,) are the part of the latter that readers found in the uses of a name.
    """

    models: tuple[Model, Model]
    weights: FloatArray
    effects: FloatArray

    def log_odds(self, design: Design, relations: Relations) -> tuple[FloatArray, NDArray[np.bool_]]:
        """Return the log-odds of pairs, and whether a name says them."""
        near, named = (design.of_sentence @ one.sentence[:3] + one.sentence[3] for one in self.models)
        found, is_said = near.copy(), np.zeros(len(near), bool)
        for row, own in enumerate(design.relations):
            is_name = relations.is_name[own]
            is_said[row] = is_name.any()
            said = self.weights[own] + np.where(is_name, named[row], near[row])
            found[row] = max(found[row], said.max(initial=-np.inf))
        return found, is_said


def centre_of(space: FeatureSpace) -> FloatArray:
    """Return the mean of the texts that a space was calibrated on (d,)."""
    assert space.calibration.mean is not None
    return space.calibration.mean


def features_of(space: FeatureSpace, entries: Sequence[Entry]) -> IntArray:
    """Return the features of concepts (c,): those made for them, and numbers beside the autoencoder's."""
    own = space.labels[: space.sae.n_features]
    made = {
        name: feature
        for feature, label in enumerate(own)
        if label.method == CONCEPT
        for name in (label.text, *label.also)
    }
    beside, found = itertools.count(space.sae.n_features), list[int]()
    for one in entries:
        feature = made.get(one.name, made.get(one.former))
        # Of the meanings of a word the first has the feature that was made for it.
        found.append(next(beside) if feature is None or feature in found else feature)
    return np.array(found, np.int32)


def designed(
    space: FeatureSpace, encoder: TextEncoder, read: Read, relations: Relations, lexicon: Lexicon
) -> Design:
    """Return the pairs that were read; ``lexicon`` has all relations in their order."""
    vectors = encoder.encode_document(read.sentences) - centre_of(space)
    nearness, fifth, length = measured(read.sentences, vectors, relations.directions)
    at = read.rows, read.concepts
    entries = [lexicon.entries([sentence])[1] for sentence in read.sentences]
    said = [entries[row][lexicon.concepts[entries[row]] == concept] for row, concept in zip(*at, strict=True)]
    measures = nearness[at], nearness[at] - fifth[read.rows], length[read.rows]
    of_sentence = np.stack(measures, 1).astype(np.float32)
    return Design(of_sentence, said, read.answers == CLEAR)


def fitted(design: Design, relations: Relations) -> Fit:
    """Fit both models."""
    score = relations.columns @ np.array([FIRST.get(name, 0.0) for name in COLUMNS]) + relations.is_name
    for _ in range(FITS):
        best = np.array([own[score[own].argmax()] if len(own) else -1 for own in design.relations])
        columns = np.where(best[:, None] >= 0, relations.columns[best], 0)
        is_named = (best >= 0) & relations.is_name[best]
        near, named = (
            _logistic(np.concatenate([columns, design.of_sentence], 1)[is_own], design.is_clear[is_own])
            for is_own in (~is_named, is_named)
        )
        fit = reweighed(Fit((near, named), score, np.zeros(len(score), np.float32)), relations)
        score = fit.weights + relations.is_name * (named.sentence[3] - near.sentence[3])
    return fit


def _logistic(x: FloatArray, y: NDArray[np.bool_]) -> Model:
    from sklearn.linear_model import LogisticRegression

    scale = x.std(0) + 1e-6
    found = LogisticRegression(C=C, max_iter=5_000).fit(x / scale, y)
    weights = found.coef_[0] / scale
    of_words = len(COLUMNS)
    return Model(weights[:of_words], np.append(weights[of_words:], found.intercept_))


def corrected(fit: Fit, design: Design, relations: Relations) -> Fit:
    """Return the models with what readers found in the uses of each concept's names, and of each name.

    The effects are random intercepts: one Newton step from 0, with a normal prior.
    """
    said = [own[relations.is_name[own]] for own in design.relations]
    pairs = np.array([row for row, own in enumerate(said) if len(own)])
    for concept_or_name in (relations.pairs[:, 1], np.arange(len(relations.pairs))):
        best = np.array([said[row][fit.weights[said[row]].argmax()] for row in pairs])
        p = expit(fit.log_odds(design, relations)[0][pairs])
        of, count = concept_or_name[best], int(concept_or_name.max()) + 1
        excess = np.bincount(of, design.is_clear[pairs] - p, count)
        effects = excess / (np.bincount(of, p * (1 - p), count) + PRECISION)
        fit = reweighed(replace(fit, effects=fit.effects + effects[concept_or_name]), relations)
    return fit


def calibrated(fit: Fit, design: Design, relations: Relations) -> Fit:
    """Return the models with slope and intercept (Platt) fitted on other pairs."""
    from sklearn.linear_model import LogisticRegression

    log_odds, is_said = fit.log_odds(design, relations)
    models, slopes = [], []
    for is_name, model in zip((False, True), fit.models, strict=True):
        own = is_said == is_name
        found = LogisticRegression(C=1_000).fit(log_odds[own, None], design.is_clear[own])
        slope, base = float(found.coef_[0, 0]), float(found.intercept_[0])
        sentence = model.sentence * slope
        sentence[3] += base
        models.append(replace(model, words=model.words * slope, sentence=sentence))
        slopes.append(slope)
    return reweighed(Fit((models[0], models[1]), fit.weights, fit.effects * slopes[True]), relations)


def reweighed(fit: Fit, relations: Relations) -> Fit:
    """Return the models with the weights of other relations."""
    near, named = (relations.columns @ model.words for model in fit.models)
    return replace(fit, weights=np.where(relations.is_name, named + fit.effects, near).astype(np.float32))


def evidence_of(space: FeatureSpace, fit: Fit, relations: Relations) -> Evidence:
    """Return the evidence of a space; relations that can never give evidence are left out."""
    features = features_of(space, read_dictionary())
    near, named = fit.models
    most = fit.weights + near.sentence @ (NEAREST, LARGEST_MARGIN, LONGEST, 1.0)
    lexicon = lexicon_of(relations, fit.weights, relations.is_name | (most >= LEAST_LOG_ODDS))
    said, meant = (LogOdds(*(round(float(one), 4) for one in model.sentence)) for model in (named, near))
    return Evidence(features, relations.directions, centre_of(space), lexicon, said, meant, meant)


def lexicon_of(
    relations: Relations, weights: FloatArray, is_kept: NDArray[np.bool_] | None = None
) -> Lexicon:
    """Return relations as a lexicon, with the words that have any."""
    kept = np.flatnonzero(np.ones(len(weights), bool) if is_kept is None else is_kept)
    pairs = relations.pairs[kept]
    words, counts = np.unique(pairs[:, 0], return_counts=True)
    starts = np.concatenate([[0], np.cumsum(counts)])
    half = weights[kept].astype(np.float16).astype(np.float32)
    names = tuple(relations.words[word] for word in words.tolist())
    return Lexicon(names, starts, pairs[:, 1].astype(np.int32), half, relations.is_name[kept])


def read_of(file: str, part: str) -> Read:
    """Return the pairs of a part that readers judged, as a file has them."""
    return located(read_pairs(file), part, [entry.former for entry in read_dictionary()])


def default_fit(space: FeatureSpace, encoder: TextEncoder, relations: Relations) -> tuple[Fit, Lexicon]:
    """Return the calibrated fit of the default space, and all relations as a lexicon, in their order.

    The model of words that are no names is fitted as if a third of the synonyms and narrower terms were in
    no list: it learns from them what a word says that no list has. Pairs of what is stored of whole records,
    the surest sentence of each, calibrate it: the largest of several is right more seldom than one. Of a word
    of several meanings each use was read for all of them: that says nothing of other names.
    """
    names = [entry.name for entry in read_dictionary()]
    meanings = Counter(names)
    is_one = np.array([meanings[name] == 1 for name in names])
    every = lexicon_of(relations, np.zeros(len(relations.pairs), np.float32))
    uses, records = read_of("fit", "fit"), read_of("records", "choose")
    read, of_records = (designed(space, encoder, one, relations, every) for one in (uses, records))
    usual = read.take(is_one[uses.concepts])
    near, named = (
        fitted(usual, one) for one in (relations.without(relations.third(names, HIDDEN)), relations)
    )
    both = replace(near, models=(near.models[0], named.models[1]))
    fit = corrected(reweighed(both, relations), read, relations)
    return calibrated(fit, of_records, relations), every


def default_relations(encoder: TextEncoder) -> Relations:
    """Return the relations of the words of the default space."""
    return related(read_dictionary(), whole_wordnet(), encoder)


def sureness(
    fit: Fit, design: Design, concepts: NDArray[np.int64], relations: Relations, names: Sequence[str]
) -> FloatArray:
    """Return the evidence (c,) of each concept in the sentences that use its name, drawn to a usual one's.

    The ``design`` is of sentences that were read, each with one of the ``concepts`` (p,).
    """
    is_own = np.array([
        relations.words[word] in forms(names[concept]) for word, concept in relations.pairs.tolist()
    ])  # fmt: skip
    weights = np.full(len(names), -np.inf)
    np.maximum.at(weights, relations.pairs[is_own, 1], fit.weights[is_own])
    log_odds, is_said = fit.log_odds(design, relations)
    usual = np.append(np.median(design.of_sentence[is_said], axis=0), 1.0)
    said = np.array([is_own[own].any() for own in design.relations])
    count = np.bincount(concepts[said], minlength=len(names))
    total = np.bincount(concepts[said], expit(log_odds[said]), len(names))
    drawn = total + USUAL_WEIGHT * expit(weights + fit.models[1].sentence @ usual)
    return np.asarray(drawn / (count + USUAL_WEIGHT), np.float32)


def reliability(
    log_odds: FloatArray, is_clear: NDArray[np.bool_], bins: int = 10
) -> list[tuple[float, float, int]]:
    """Return the mean evidence, the share of clear pairs, and the number of pairs, of equal bins."""
    p = expit(log_odds)
    own = np.minimum((p * bins).astype(int), bins - 1)
    return [
        (float(p[own == one].mean()), float(is_clear[own == one].mean()), int((own == one).sum()))
        for one in range(bins) if (own == one).any()
    ]  # fmt: skip
