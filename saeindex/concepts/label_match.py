"""From a phrase to the features that it means."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from saeindex.collection.caches import Memo
from saeindex.errors import InvalidInputError, UnknownConceptError
from saeindex.features.families import is_weak_family
from saeindex.types import shown_label

if TYPE_CHECKING:
    from saeindex.features import FeatureSpace
    from saeindex.features.families import Family
    from saeindex.types import FloatArray, Resolve

# Cosine of phrase and label, plus what shared words and the phrase's own sparse code add to it.
WORD_BONUS, CODE_BONUS = 0.25, 0.15
# A phrase whose label evidence (cosine and shared words) is below the floor is unknown: nonsense reaches .6.
# Features within the margin of the best belong to the concept.
FLOOR, MARGIN, MOST = 0.6, 0.12, 8
FAMILY_FLOOR = 0.7

# How much worse a family answers to a phrase with each step from its root to the feature that does.
DEPTH_MALUS = 0.1
FAMILY = "family:"
# Targets whose concept is remembered.
KEPT = 512

_ID = re.compile(r"#\d{1,9}")


@dataclass(frozen=True, slots=True)
class FeatureMatch:
    """A feature that answers to a phrase; ``score`` is higher for a better match."""

    id: int
    label: str
    score: float
    trust: float | None
    is_weak: bool
    density: float

    @property
    def shown(self) -> str:
        """The id and the quoted label as people are shown them."""
        return shown_label(f"#{self.id} {self.label!r}", self.is_weak)


@dataclass(frozen=True, slots=True)
class FamilyMatch:
    """A family that answers to a phrase; ``score`` is higher for a better match."""

    family: Family
    score: float
    is_weak: bool

    @property
    def shown(self) -> str:
        """The id and the quoted label as people are shown them."""
        return shown_label(f"#{self.family.id} {self.family.label!r}", self.is_weak)


@dataclass(frozen=True, slots=True)
class Concept:
    """A phrase, ``#id`` or ``family:…`` and the features it resolved to, best first.

    ``resolved`` says how. By the collection's evidence, a feature's score is the share of its records that
    are meant, and ``precision`` and ``recall`` are those that the set is expected to have.
    """

    phrase: str
    features: tuple[FeatureMatch, ...]
    resolved: Resolve = "strict"
    precision: float | None = None
    recall: float | None = None


class ConceptResolver:
    """Resolves phrases against the labels of one feature space."""

    def __init__(self, space: FeatureSpace, encode_query: Callable[[str], FloatArray]) -> None:
        """Take the space, and what turns a phrase into its vector (d,)."""
        self._space, self._encode = space, encode_query
        self._resolved: Memo[Concept] = Memo(KEPT)

    def match(self, phrase: str, limit: int = 10) -> list[FeatureMatch]:
        """Return the features nearest to a phrase, best first, weak labels included."""
        check_unicode("a phrase", phrase)
        scores = self._scores(phrase)
        return [self.describe(int(i), float(scores[i])) for i in np.argsort(-scores, kind="stable")[:limit]]

    def resolve(self, target: str) -> Concept:
        """Return the concept of ``#id``, ``family:NAME``, ``family:#ID`` or of a phrase.

        UnknownConceptError lists the nearest labels. A family's features score 1 / (1 + steps from its root).
        """
        return self._resolved.get(target, lambda: self._resolve(target))

    def _resolve(self, target: str) -> Concept:
        if target.startswith(FAMILY):
            family = self._family(target.removeprefix(FAMILY).strip())
            scored = zip(family.features, family.depths, strict=True)
            members = [self.describe(feature, 1 / (1 + depth)) for feature, depth in scored]
            return Concept(target, tuple(sorted(members, key=lambda member: -member.score)))
        if is_id(target):
            feature = int(target[1:])
            self._space.label(feature)
            return Concept(target, (self.describe(feature, 1.0),))
        if not (named := self.named(target)):
            raise self.unknown(target)
        return Concept(target, named)

    def named(self, phrase: str) -> tuple[FeatureMatch, ...]:
        """Return the features whose labels clearly say a phrase, best first; none where no label does."""
        candidates = self.match(phrase, 4 * MOST)
        exact = [c for c in candidates if c.label.casefold() == phrase.casefold()]
        trusted = exact or [c for c in candidates if not c.is_weak]
        if not trusted or self._label_evidence(phrase)[trusted[0].id] < FLOOR:
            return ()
        best = trusted[0].score
        return tuple(c for c in trusted if c.score >= best - MARGIN)[:MOST]

    def is_label(self, phrase: str) -> bool:
        """Say whether a phrase is the label of a feature, letter for letter."""
        return phrase.casefold() in self._labels

    def unknown(self, phrase: str) -> UnknownConceptError:
        """Return the error that says that no feature means a phrase, and which come nearest."""
        nearest = "; ".join(f"{c.shown} ({c.score:.2f})" for c in self.match(phrase, 5))
        return UnknownConceptError(
            f"concept {phrase!r}",
            f"no feature of space {self._space.name!r} clearly means that",
            f"Nearest: {nearest}. Use one of these labels in quotes, or its #id.",
        )

    def match_families(self, phrase: str, limit: int = 10) -> list[FamilyMatch]:
        """Return the families nearest to a phrase, best first: those with the phrase's feature near the root.

        A feature with a weak label does not answer for its family.
        """
        check_unicode("a phrase", phrase)
        scores = self._scores(phrase)
        scores[[label.is_weak for label in self._space.labels]] = -1.0
        matches = []
        for family in self._space.families:
            answers = scores[list(family.features)] - DEPTH_MALUS * np.array(family.depths)
            is_weak = is_weak_family(family, self._space.labels)
            matches.append(FamilyMatch(family, float(answers.max()), is_weak))
        return sorted(matches, key=lambda match: -match.score)[:limit]

    def _family(self, name: str) -> Family:
        """Return the family of ``#ID``, of a label or its first word, or the one that clearly answers."""
        families = self._space.families
        if is_id(name) and int(name[1:]) < len(families):
            return families[int(name[1:])]
        wanted = name.casefold()
        for family in families:
            if wanted in (family.label.casefold(), family.label.partition(":")[0].casefold()):
                return family
        matches = self.match_families(name, 5) if name and not is_id(name) else []
        if matches and matches[0].score >= FAMILY_FLOOR:
            return matches[0].family
        nearest = "; ".join(f"{m.shown} ({m.score:.2f})" for m in matches)
        raise UnknownConceptError(
            f"family {name!r}",
            f"none of the {len(families)} families of space {self._space.name!r} clearly is that",
            f"Nearest: {nearest}. Use family:#id."
            if nearest
            else "List them: `saeindex sae families SPACE`.",
        )

    def _label_evidence(self, phrase: str) -> FloatArray:
        """Return how well each label answers: its cosine, and the words that it shares with the phrase."""
        evidence: FloatArray = self._space.label_vectors @ self._encode(phrase)
        stems = _stems(phrase)
        for stem in stems & self._features_by_stem.keys():
            evidence[self._features_by_stem[stem]] += WORD_BONUS / len(stems)
        return evidence

    def _scores(self, phrase: str) -> FloatArray:
        """Return the label evidence, plus what the features that the phrase itself activates gain."""
        scores = self._label_evidence(phrase)
        indices, values = self._space.sae.encode(self._encode(phrase)[None]).row(0)
        typical = self._space.calibration.median[indices]
        scores[indices] += CODE_BONUS * np.minimum(1.0, values / typical)
        return scores

    @cached_property
    def _features_by_stem(self) -> dict[str, list[int]]:
        features: dict[str, list[int]] = {}
        for feature, label in enumerate(self._space.labels):
            for stem in _stems(label.text.replace(",", " ")):
                features.setdefault(stem, []).append(feature)
        return features

    @cached_property
    def _labels(self) -> frozenset[str]:
        return frozenset(label.text.casefold() for label in self._space.labels)

    def describe(self, feature: int, score: float) -> FeatureMatch:
        """Return a feature as a match with this score."""
        label = self._space.labels[feature]
        density = float(self._space.calibration.density[feature])
        return FeatureMatch(feature, label.text, score, label.trust, label.is_weak, density)


def is_id(target: str) -> bool:
    """Say whether a target is ``#id``."""
    return _ID.fullmatch(target) is not None


def check_unicode(asked: str, text: str) -> None:
    """Raise InvalidInputError for half a surrogate pair, which JSON can carry and no tokenizer takes."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        found = f"no valid Unicode at character {error.start + 1}"
        raise InvalidInputError(asked, found, "Correct the text.") from None


def _stems(text: str) -> set[str]:
    return {word[:5] for word in text.casefold().split()}
