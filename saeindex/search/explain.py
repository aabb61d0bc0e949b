"""Explanations: a hit's score as a sum over features, residual and bias.

For a dense search the score is q·x with x = sum_i z_i d_i + b + r, so

    score = sum_i z_i (q·d_i)  +  q·b  +  q·r

For a search in the sparse vector it is sum_i q_i z_i over the shared features.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from saeindex.config import DENSE, EVIDENCE
from saeindex.indexing.points import code_of
from saeindex.indexing.proof import PRESENT, mentions_of
from saeindex.language.evaluate import Clause
from saeindex.protocols import SparseVector
from saeindex.report.numbers import counted
from saeindex.types import Part

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.features import FeatureSpace
    from saeindex.protocols import Point, Vector
    from saeindex.types import FloatArray


# The part of named concepts that a record does not speak of.
UNNAMED = "further, unnamed"


@dataclass(frozen=True, slots=True)
class Explanation:
    """The parts of a score; ``total`` is their sum, and equals the hit's score to 1e-5.

    A fused score has one part per source, and ``sources`` explains the score of each source, in the same
    order. ``clauses`` are those of the where expression, each with the features that fulfilled it.
    """

    parts: tuple[Part, ...]
    total: float
    sources: tuple[SourceExplanation, ...] = ()
    clauses: tuple[Clause, ...] = ()

    def __repr__(self) -> str:
        first = f", most by {self.parts[0].label!r}" if self.parts else ""
        return f"Explanation({self.total:.4f} in {counted(len(self.parts), 'part')}{first})"


@dataclass(frozen=True, slots=True)
class SourceExplanation:
    """A source of a fused score: its rank (from 1) and score of the record, None where it did not find it.

    ``weight`` is the factor of its normalised score in the fused score.
    """

    name: str
    rank: int | None
    score: float | None
    weight: float
    explanation: Explanation | None


def with_names(explanation: Explanation, space: FeatureSpace, point: Point) -> Explanation:
    """Return an explanation with one part for all that has no name, or that the point does not speak of."""
    is_rest = ~space.is_named
    if EVIDENCE in point.payload and space.evidence is not None:
        is_rest[space.evidence.features] = True
        is_rest[[one.feature for one in mentions_of(point.payload) if one.p >= PRESENT]] = False

    def named(one: Explanation) -> Explanation:
        rest = [part.value for part in one.parts if part.feature is not None and is_rest[part.feature]]
        kept = [part for part in one.parts if part.feature is None or not is_rest[part.feature]]
        unnamed = [Part("unnamed", None, UNNAMED, sum(rest))] if rest else []
        sources = tuple(
            source if source.explanation is None else replace(source, explanation=named(source.explanation))
            for source in one.sources
        )
        return replace(one, parts=(*kept, *unnamed), sources=sources)

    return named(explanation)


class Explainer:
    """Explains scores by the features of one space."""

    def __init__(self, space: FeatureSpace) -> None:
        """Read the space's directions, bias and labels."""
        self._labels = space.labels
        self._directions = space.sae.directions
        self._bias: NDArray[np.float64] = space.sae.weights["bias"].astype(np.float64)

    def explain(self, query: Vector, point: Point) -> Explanation:
        """Return why ``point`` (with its vectors) has its score against a dense or sparse ``query``."""
        if isinstance(query, SparseVector):
            return self.sparse(query, code_of(point))
        document = point.vectors[DENSE]
        assert isinstance(document, np.ndarray)  # noqa: S101  (the layout says that "dense" is dense)
        return self.dense(query, document, code_of(point))

    def dense(self, query: FloatArray, document: FloatArray, code: SparseVector) -> Explanation:
        """Return the parts of the cosine of ``query`` and ``document`` (unit vectors, (d,)), largest first.

        The residual's part q·r is q·x minus the parts of the features and the bias.
        """
        q, x = query.astype(np.float64), document.astype(np.float64)
        cosine = float(q @ x / (np.linalg.norm(q) * np.linalg.norm(x)))
        q /= np.linalg.norm(q)
        contributions = code.values * (self._directions[code.indices].astype(np.float64) @ q)
        common = float(q @ self._bias)
        parts = self._feature_parts(code.indices, contributions)
        left = cosine - common - float(contributions.sum())
        parts.append(Part("residual", None, "not in the dictionary", left))
        parts.append(Part("bias", None, "common to all records", common))
        return Explanation(tuple(parts), float(sum(part.value for part in parts)))

    def sparse(self, query: SparseVector, code: SparseVector) -> Explanation:
        """Return the parts of the dot product of two sparse codes, largest first."""
        shared, ours, theirs = np.intersect1d(
            query.indices, code.indices, assume_unique=True, return_indices=True
        )
        contributions = query.values[ours].astype(np.float64) * code.values[theirs]
        return Explanation(tuple(self._feature_parts(shared, contributions)), float(contributions.sum()))

    def _feature_parts(self, indices: NDArray[np.int32], contributions: NDArray[np.float64]) -> list[Part]:
        order = np.argsort(-np.abs(contributions), kind="stable")
        pairs = zip(indices[order].tolist(), contributions[order].tolist(), strict=True)
        named = ((i, self._labels[i], value) for i, value in pairs)
        return [Part("feature", i, label.text, value, label.is_weak) for i, label, value in named]
