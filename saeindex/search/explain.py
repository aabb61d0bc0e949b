"""Explanations: a hit's score as a sum over features, residual and bias; and why one hit is above another.

For a dense search the score is q·x with x = sum_i z_i d_i + b + r, so

    score = sum_i z_i (q·d_i)  +  q·b  +  q·r

For a search in the sparse vector it is sum_i q_i z_i over the shared features.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from saeindex.config import DENSE, EVIDENCE
from saeindex.indexing.points import PRESENT, code_of, mentions_of
from saeindex.language.evaluate import Clause
from saeindex.protocols import Point, SparseVector, Vector
from saeindex.report.numbers import counted
from saeindex.schema import Result
from saeindex.types import Part, PartKind, shown_label

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.features import FeatureSpace

# The part of named concepts that a record does not speak of.
UNNAMED = "further, unnamed"


@dataclass(frozen=True, slots=True)
class Explanation:
    """The parts of a score; ``total`` is their sum, and equals the hit's score to 1e-5.

    ``clauses`` are those of the where expression, each with the features that fulfilled it.
    """

    parts: tuple[Part, ...]
    total: float
    clauses: tuple[Clause, ...] = ()

    def __repr__(self) -> str:
        first = f", most by {self.parts[0].label!r}" if self.parts else ""
        return f"Explanation({self.total:.4f} in {counted(len(self.parts), 'part')}{first})"


def with_names(explanation: Explanation, space: FeatureSpace, point: Point) -> Explanation:
    """Return an explanation with one part for all that has no name, or that the point does not speak of."""
    is_rest = ~space.is_named
    if EVIDENCE in point.payload and space.evidence is not None:
        is_rest[space.evidence.features] = True
        is_rest[[one.feature for one in mentions_of(point.payload) if one.p >= PRESENT]] = False

    rest = [part.value for part in explanation.parts if part.feature is not None and is_rest[part.feature]]
    kept = [part for part in explanation.parts if part.feature is None or not is_rest[part.feature]]
    unnamed = [Part("unnamed", None, UNNAMED, sum(rest))] if rest else []
    return replace(explanation, parts=(*kept, *unnamed))


class Explainer:
    """Explains scores by the features of one space."""

    def __init__(self, space: FeatureSpace) -> None:
        """Read the space's directions, bias and labels."""
        self._labels = space.labels
        self._directions = space.sae.directions
        self._bias: NDArray[np.float64] = space.sae.weights["bias"].astype(np.float64)

    def explain(self, query: Vector, point: Point) -> Explanation:
        """Return why ``point`` (with its vectors) has its score against a dense or sparse ``query``.

        The parts are those of a cosine, or of the dot product of two sparse codes, the largest first. The
        residual's part q·r is q·x minus the parts of the features and the bias.
        """
        code = code_of(point)
        if isinstance(query, SparseVector):
            shared, ours, theirs = np.intersect1d(
                query.indices, code.indices, assume_unique=True, return_indices=True
            )
            products = query.values[ours].astype(np.float64) * code.values[theirs]
            return Explanation(tuple(self._feature_parts(shared, products)), float(products.sum()))
        document = point.vectors[DENSE]
        assert isinstance(document, np.ndarray)  # noqa: S101  (the layout says that "dense" is dense)
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

    def _feature_parts(self, indices: NDArray[np.int32], contributions: NDArray[np.float64]) -> list[Part]:
        order = np.argsort(-np.abs(contributions), kind="stable")
        pairs = zip(indices[order].tolist(), contributions[order].tolist(), strict=True)
        named = ((i, self._labels[i], value) for i, value in pairs)
        return [Part("feature", i, label.text, value, label.is_weak) for i, label, value in named]


SHOWN = 10


@dataclass(frozen=True, slots=True)
class Difference:
    """A part of two scores (0 if a score lacks it); ``value`` is ``a`` - ``b``."""

    kind: PartKind
    feature: int | None
    label: str
    a: float
    b: float
    is_weak: bool = False

    @property
    def value(self) -> float:
        """The contribution of this part to the difference of the scores."""
        return self.a - self.b

    @property
    def shown(self) -> str:
        """The name of the part for people to read."""
        label = shown_label(self.label, self.is_weak)
        return f"#{self.feature} {label}" if self.feature is not None else f"{self.kind}: {label}"


@dataclass(frozen=True, slots=True)
class Comparison(Result):
    """Two hits, ``a`` and ``b`` (ids). ``differences``, largest first, sum to score_a - score_b."""

    a: str
    b: str
    score_a: float
    score_b: float
    differences: tuple[Difference, ...]

    @property
    def total(self) -> float:
        """score_a - score_b."""
        return self.score_a - self.score_b

    def __repr__(self) -> str:
        return f"Comparison({str(self).splitlines()[0]!r})"

    def __str__(self) -> str:
        above, below = (self.a, self.b) if self.total >= 0 else (self.b, self.a)
        lines = [f"{above} is {abs(self.total):.4f} above {below}: {self.score_a:.4f} and {self.score_b:.4f}"]
        shown, rest = self.differences[:SHOWN], self.differences[SHOWN:]
        lines += [f"  {part.value:+.4f}  {part.a:+.4f} | {part.b:+.4f}  {part.shown}" for part in shown]
        if rest:
            lines.append(f"  {sum(part.value for part in rest):+.4f}  {len(rest)} further parts")
        return "\n".join(lines)
