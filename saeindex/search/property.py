"""Ranking by a property, which is inferred from the collection.

The first pass (:mod:`saeindex.concepts.inference`) turns a description, the other values of its field,
examples and judgements into a direction, concepts and words. One request then finds candidates by direction
and by concepts, and the second pass scores them with their neighbours. Scores are standard deviations above
the collection's mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from saeindex.concepts.feedback import Feedback, check_sides, with_evidence
from saeindex.concepts.inference import Asked, Scale, Scored, Scorer, scored_by
from saeindex.config import DENSE, SAE
from saeindex.errors import InvalidInputError
from saeindex.protocols import Fusion, Point, SearchRequest, SparseVector
from saeindex.search.explain import Explanation
from saeindex.types import Part

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.collection.sample import Rows
    from saeindex.collection.state import IndexState
    from saeindex.features import FeatureSpace
    from saeindex.types import FloatArray

SIGNS = {"accepted": 1.0, "rejected": -1.0}
# InterpEmbed's method: the number of features, chosen by label, with weights exp(-rank / DECAY).
LABELLED, DECAY = 100, 30.0


def infer_feedback(
    state: IndexState,
    feedback: Feedback,
    vector: FloatArray | None,
    named: Mapping[int, float],
) -> Scorer:
    """Return the scorer of records for ``feedback``, whose description has ``vector`` (d,).

    ``named`` are the weights of features whose names say the description.
    """
    _check_evidence(feedback)
    sample = state.sample()
    vectors = [] if vector is None else [vector]
    vectors += [state.encode(value) for value in feedback.against]
    zero = np.zeros((1, sample.rows.x.shape[1]), np.float32)
    asked = Asked(
        np.stack(vectors) if vector is not None else zero,
        vector is not None,
        state.records(feedback.like, "like"),
        state.records(feedback.unlike, "unlike"),
        {**named, **{feature: SIGNS[verdict] for feature, verdict in feedback.judged.items()}},
    )
    for feature in (*feedback.judged, *feedback.concept_weights):
        sample.space.label(feature)  # raises for one that there is not
    nearest = None if vector is None else state.nearest(vector)
    for rows in (asked.like, asked.unlike):
        if rows is not None and sample.weight > 1:
            nearest = rows if nearest is None else nearest.joined(rows)
    scorer = scored_by(sample, asked, state.encoder, nearest=nearest)
    words = {
        sample.places[w]: 10.0 * value for w, value in feedback.word_weights.items() if w in sample.places
    }
    return replace(scorer, inference=scorer.inference.edited(feedback.concept_weights, words))


def _check_evidence(feedback: Feedback) -> None:
    """Raise InvalidInputError for a feedback without a description, examples or judgements."""
    if feedback.description is not None and not feedback.description.strip():
        raise InvalidInputError("feedback", "an empty description", "Describe the property, or leave it out.")
    evidence = feedback.description, feedback.like, feedback.unlike, feedback.judged
    if not any((*evidence, feedback.concept_weights, feedback.word_weights)):
        raise InvalidInputError("feedback", "nothing to look for", "Use hits.feedback of a property search.")
    check_sides("feedback", feedback.like, feedback.unlike)


@dataclass(frozen=True, eq=False)
class PropertyRanking:
    """A rescorer of candidates by a property and, if given, by the vector ``text`` (d,)."""

    scorer: Scorer
    state: IndexState
    feedback: Feedback
    text: FloatArray | None = None

    @cached_property
    def shown(self) -> Feedback:
        """The feedback with the inferred concepts and words."""
        return with_evidence(self.feedback, self.scorer.inference, self.scorer.sample)

    def requests(self, limit: int) -> SearchRequest:
        """Return one search for the nearest points by direction, concepts and text, fused by rank."""
        sources = self.scorer.requests(limit)
        if self.text is not None:
            sources.append(SearchRequest(self.text, using=DENSE, limit=limit))
        return SearchRequest(Fusion(), prefetch=tuple(sources), limit=limit, with_vectors=[DENSE, SAE])

    def scores(self, points: Sequence[Point]) -> NDArray[np.float64]:
        """Return the scores (m,) of candidates."""
        rows = self.state.rows(points)
        total = self.scorer(rows).total
        return total if self._text_scale is None else total + self._nearness(rows)

    def explain(self, point: Point) -> Explanation:
        """Return the parts of a record's score, the largest first."""
        rows, found = self.state.rows([point]), point.vectors.get(SAE)
        code = found if isinstance(found, SparseVector) else None
        parts = _parts(self.scorer, rows, self.scorer(rows), code)
        if self._text_scale is not None:
            near = float(self._nearness(rows)[0])
            parts.append(Part("text", None, "nearness to the text", near))
        ordered = sorted(parts, key=lambda part: -abs(part.value))
        return Explanation(tuple(ordered), float(sum(part.value for part in ordered)))

    @cached_property
    def _text_scale(self) -> Scale | None:
        if self.text is None:
            return None
        return Scale.of((self.scorer.sample.rows.x @ self.text)[:, None].astype(np.float64))

    def _nearness(self, rows: Rows) -> NDArray[np.float64]:
        assert self.text is not None and self._text_scale is not None  # noqa: S101
        near: NDArray[np.float64] = self._text_scale((rows.x @ self.text)[:, None].astype(np.float64))[:, 0]
        return near


def _parts(scorer: Scorer, row: Rows, scored: Scored, code: SparseVector | None) -> list[Part]:
    """Return the parts of one row's score: concepts, words, neighbours, other values and the rest."""
    inferred, own, both, fits = scorer.inference, scorer.own, scorer.both, scorer.fits
    fit = 1.0 / float(fits.deviation[0])
    unit = fit / float(own.deviation[0] * both.deviation[0])
    direction = inferred.directions[0]
    parts, explained = _concept_parts(scorer, row, code, unit)
    along = unit * float(row.x[0].astype(np.float64) @ direction)
    parts.append(Part("residual", None, "not in the dictionary", along - explained))
    values = unit * row.words.data * inferred.words[0][row.words.indices]
    named = [scorer.sample.words[column] for column in row.words.indices]
    parts += [Part("word", None, w, v) for w, v in zip(named, values.tolist(), strict=True) if v]
    near = scorer.neighbours * float(scored.near[0, 0]) / float(both.deviation[0]) * fit
    parts.append(Part("neighbours", None, "the records most like it", near))
    others = scored.both[0, 1:]
    if len(others):
        largest = float(others.max())
        fitting = largest + float(np.log(np.mean(np.exp(others - largest))))
        parts.append(Part("against", None, "fits the other values", -fitting * fit))
    common = unit * float(inferred.offset[0] - own.mean[0])
    common -= float(both.mean[0] / both.deviation[0]) * fit + float(fits.mean[0]) * fit
    parts.append(Part("bias", None, "common to all records", common))
    return parts


def _concept_parts(
    scorer: Scorer, row: Rows, code: SparseVector | None, unit: float
) -> tuple[list[Part], float]:
    """Return each active concept's part, from direction and weight, and the sum of the direction's parts."""
    if code is None:
        return [], 0.0
    space, inferred = scorer.sample.space, scorer.inference
    directions = space.sae.directions[code.indices].astype(np.float64)
    steps = unit * code.values * (directions @ inferred.directions[0])
    weights = row.concepts[:, code.indices].toarray()[0] * inferred.concepts[0][code.indices]
    values = zip(code.indices.tolist(), (steps + unit * weights).tolist(), strict=True)
    labelled = [(i, space.labels[i], value) for i, value in values]
    parts = [Part("feature", i, label.text, value, label.is_weak) for i, label, value in labelled]
    return parts, float(steps.sum())


def interpembed_code(vector: FloatArray, space: FeatureSpace) -> SparseVector:
    """Return the sparse query of InterpEmbed's method (arXiv 2512.10092), a baseline.

    The features whose labels are most similar to the description are weighted by similarity, with a decay by
    rank; activations count as fractions of their p90.
    """
    similarity = space.label_vectors @ vector
    similarity[~np.isfinite(space.calibration.p90)] = -1.0
    top = np.argsort(-similarity, kind="stable")[:LABELLED]
    decayed = np.maximum(similarity[top], 0.0) * np.exp(-np.arange(len(top)) / DECAY)
    values = decayed / np.maximum(space.calibration.p90[top], 1e-6)
    order = np.argsort(top)
    return SparseVector(top[order].astype(np.int32), values[order].astype(np.float32))
