"""Labels: a short phrase per feature, the method that made it, and its measured trust."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from saeindex.features.calibration import Calibration
    from saeindex.types import FloatArray, IntArray, Ints

TRUST_FLOOR = 0.8
# The evidence of a concept in sentences that use its name, from which on the name says what is found: two
# uses in three of a weak name are something else.
SURE = 0.33
# Characters of a phrase.
MAX_CHARS = 200
MANUAL, CONCEPT, LLM = "manual", "concept", "llm"
# That of a term of a collection: its name is what the collection says; and of a feature of tokens.
OF_COLLECTION, TOKENS = "term", "tokens"
# How much a given name counts in the order of what is shown.
GIVEN_WORTH = 1.3
# Kinds of features: what a text means, how its words are written, or what a person does not want to see.
MEANING, SPELLING, HIDDEN = "meaning", "spelling", "hidden"


@dataclass(frozen=True, slots=True)
class FeatureLabel:
    """A phrase, and how well it predicts its feature on records that it was not made from.

    ``trust`` is an AUROC and ``f1`` an F1 score, see :mod:`saeindex.features.trust`; None where the feature
    was active in too few records, or no records were given. ``sure`` is the mean evidence of a
    concept in sentences that use its name, None where that is not known. ``description`` is that of a given
    concept, if it has one, and ``broader`` the feature of the concept above it. The ``kind`` of the feature
    is "meaning", "spelling" if it answers to how words are written, or "hidden" by a person. It is found
    by the names that it has ``also``: a word that leaves its meaning open to who reads it alone, or its name
    in the space where a person gave another one in an index.
    """

    text: str
    method: str = "lexical"
    trust: float | None = None
    f1: float | None = None
    description: str = ""
    broader: int | None = None
    kind: str = MEANING
    also: tuple[str, ...] = ()
    sure: float | None = None

    @property
    def names(self) -> frozenset[str]:
        """All names of the feature, without regard to case."""
        return frozenset(one.casefold() for one in (self.text, *self.also))

    @property
    def is_weak(self) -> bool:
        """Return whether the label does not say what the feature means, as far as is known.

        Most uses of a concept's name are something else. Or a label does not predict the feature; or the
        feature answers to spelling, or a person hid it. A term is weak if the examples that define it are not
        told apart from records. Any other label by a person is never weak.
        """
        if self.method == MANUAL or self.kind == HIDDEN:
            return self.kind == HIDDEN
        if self.method == OF_COLLECTION:
            return self.trust is not None and self.trust < TRUST_FLOOR
        if self.sure is not None:
            return self.is_unsure
        return self.kind != MEANING or self.trust is None or self.trust < TRUST_FLOOR

    @property
    def is_unsure(self) -> bool:
        """Return whether most uses of a concept's name are something else."""
        return self.method == CONCEPT and self.sure is not None and self.sure < SURE

    @property
    def is_given(self) -> bool:
        """Return whether a taxonomy, a person or a collection named the feature, and the name says it."""
        return self.method in (CONCEPT, MANUAL, OF_COLLECTION) and not self.is_weak

    def to_json(self) -> dict[str, Any]:
        """Return the label as a line of ``labels.jsonl``."""
        trust, f1 = (None if score is None else round(score, 4) for score in (self.trust, self.f1))
        kind = self.kind if self.kind != MEANING else None
        sure = None if self.sure is None else round(self.sure, 2)
        given: dict[str, Any] = {"sure": sure, "description": self.description or None, "kind": kind}
        given |= {"broader": self.broader, "also": list(self.also) or None}
        given = {name: value for name, value in given.items() if value is not None}
        return {"label": self.text, "method": self.method, "trust": trust, "f1": f1, **given}

    @classmethod
    def from_json(cls, line: Mapping[str, Any]) -> FeatureLabel:
        """Read the result of :meth:`to_json`."""
        given: dict[str, Any] = {
            one: line[one] for one in ("sure", "description", "broader", "kind") if one in line
        }
        given["also"] = tuple(line.get("also", ()))
        return cls(line["label"], line["method"], line["trust"], line["f1"], **given)


def is_phrase(text: str) -> bool:
    """Return whether a stripped text can be a label: one printable line with a word, not too long."""
    return text.isprintable() and any(c.isalnum() for c in text) and len(text) <= MAX_CHARS


def stems(text: str) -> set[str]:
    """Return the stems of a label's words: two labels that share one name the same thing twice."""
    return {word[:5].rstrip("s") for word in text.lower().replace(",", " ").split()}


def telling_order(
    labels: Sequence[FeatureLabel], calibration: Calibration, features: IntArray, values: FloatArray
) -> Ints:
    """Return the order (r,) in which a text's ``features`` (r,) are shown.

    First the typical ones, those first that exceed their typical activation most, and a name that a taxonomy
    or a person gave before others; then the others, strongest first, and at last those with weak labels. Of
    the first five by this order a blind reader was right about 91 %, of the first five by activation, given
    names first, about 86 %.
    """
    own = [labels[feature] for feature in features.tolist()]
    is_weak = np.array([label.is_weak for label in own], bool)
    is_typical = calibration.levels(features, values) >= 1
    loudness = values / np.where(is_typical, np.maximum(calibration.median[features], 1e-6), 1.0)
    loudness[is_typical] *= [GIVEN_WORTH if one.is_given else 1.0 for one in compress(own, is_typical)]
    return np.lexsort((-loudness, ~is_typical, is_weak))
