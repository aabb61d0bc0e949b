"""Resolution of a phrase: to a concept by its name or a word for it, or to the records that speak of it.

``strict`` uses names only: the features whose labels clearly match the phrase. ``best`` takes the concept
that the phrase names, or else the records that speak of it (:mod:`saeindex.concepts.scan`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from saeindex.collection.sample import tokens
from saeindex.collection.state import IndexState, Memo
from saeindex.config import FAMILY
from saeindex.errors import InvalidInputError, UnknownConceptError
from saeindex.features.families import Family, children_of, grown, is_weak_family
from saeindex.features.labels import HIDDEN, MANUAL
from saeindex.features.lexicon import TOKEN, forms
from saeindex.report.numbers import counted
from saeindex.schema import Result, check_kind, check_unicode
from saeindex.types import Resolve, shown_label

if TYPE_CHECKING:
    from saeindex.concepts.scan import Scan
    from saeindex.features import FeatureSpace
    from saeindex.protocols import TextEncoder
    from saeindex.types import FloatArray

# Features whose names say a phrase count as accepted concepts with these weights, in rankings and directions
# and where records are read for it; their maximum number.
SAID, SAID_OF_SETS, MAX_SAID = 0.25, 0.5, 4
# A phrase without a matching label counts as a description only if the collection has records near to it, and
# if it consists of words: either of words of the collection, or of words that the encoder does not split into
# letters. Of 199 descriptions 99 % reach the similarity; random letters have two per token, words five.
MIN_KNOWN, MIN_SIMILARITY, MIN_LETTERS = 0.5, 0.2, 2.5
KEPT, KEPT_SCANS = 512, 64
MODES: tuple[Resolve, ...] = ("strict", "best")
# Bonuses on the cosine of phrase and label: for shared words, and for features of the phrase's own code.
WORD_BONUS, CODE_BONUS = 0.25, 0.15
# A phrase with label evidence (cosine and shared words) below the floor is unknown. What the encoder splits
# into letters needs more: such nonsense reaches .61. Features within the margin below the best feature belong
# to the concept, up to the maximum number.
FLOOR, SPELLED_FLOOR, MARGIN, MAX_MATCHED = 0.6, 0.75, 0.12, 8
FAMILY_FLOOR = 0.7
# How much a word must add to a concept's evidence, and how near the two must be, so that it is a word for it.
LEAST_WEIGHT, SAME = 3.5, 0.8
# The penalty on a family's score for each step from its root to the matching feature.
DEPTH_MALUS = 0.1
_ID = re.compile(r"#[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class FeatureMatch(Result):
    """A feature that matches a phrase; ``score`` is higher for a better match.

    ``description`` is that of its concept, if it has one.
    """

    id: int
    label: str
    score: float
    trust: float | None
    is_weak: bool
    density: float
    description: str = ""

    @property
    def shown(self) -> str:
        """The id and the quoted label as people are shown them."""
        return shown_label(f"#{self.id} {self.label!r}", self.is_weak)


@dataclass(frozen=True, slots=True)
class Concept(Result):
    """A phrase, ``#id`` or ``family:…`` and the features it resolved to, best first.

    ``resolved`` is the mode. A phrase that is no concept has no features: ``records`` is the number of those
    that speak of it, at least so many if it ``is_lower_bound``, with the expected ``precision`` and
    ``recall``. ``named`` are the features whose names say the phrase, best first; none where only records say
    it.
    """

    phrase: str
    features: tuple[FeatureMatch, ...]
    resolved: Resolve = "strict"
    precision: float | None = None
    recall: float | None = None
    named: tuple[FeatureMatch, ...] = ()
    records: int | None = None
    is_lower_bound: bool = False

    @property
    def counted(self) -> str:
        """How many records speak of a phrase, in words."""
        least = "at least " if self.is_lower_bound else ""
        return least + counted(self.records or 0, "record")


class ConceptResolver:
    """Resolves phrases against the labels of one feature space."""

    def __init__(
        self,
        space: FeatureSpace,
        encode_query: Callable[[str], FloatArray],
        reads: Callable[[str], bool] = lambda _: True,
    ) -> None:
        """Bind the space, the function from a phrase to its vector (d,), and whether a phrase has words."""
        self._space, self._encode, self._reads = space, encode_query, reads
        self._resolved: Memo[Concept] = Memo(KEPT)

    def match(self, phrase: str, limit: int = 10, unnamed: bool = False) -> list[FeatureMatch]:
        """Return the features nearest to a phrase, best first, weak labels included.

        Those without a name of their own are left out, unless ``unnamed`` asks for them.
        """
        check_unicode("a phrase", phrase)
        scores = self._scores(phrase)
        if not unnamed:
            scores = np.where(self._space.is_named, scores, -np.inf)
            limit = min(limit, int(self._space.is_named.sum()))
        return [self.describe(int(i), float(scores[i])) for i in np.argsort(-scores, kind="stable")[:limit]]

    def resolve(self, target: str) -> Concept:
        """Return the concept of ``#id``, ``family:NAME``, ``family:#ID`` or of a phrase.

        UnknownConceptError lists the nearest labels. A family's features score 1 / (1 + steps from its root).
        """
        return self._resolved.get(target, lambda: self._resolve(target))

    def _resolve(self, target: str) -> Concept:
        if target.startswith(FAMILY):
            depths = self._depths(target.removeprefix(FAMILY).strip())
            members = [self.describe(feature, 1 / (1 + depth)) for feature, depth in depths.items()]
            return Concept(target, tuple(sorted(members, key=lambda member: -member.score)))
        if is_id(target):
            feature = int(target[1:])
            self._space.label(feature)
            return Concept(target, (self.describe(feature, 1.0),))
        if not (named := self.named(target)):
            raise self.unknown(target)
        return Concept(target, named, named=named)

    def named(self, phrase: str) -> tuple[FeatureMatch, ...]:
        """Return the features whose labels clearly match a phrase, best first, () for none."""
        if not phrase.strip():
            return ()
        candidates = self.match(phrase, 4 * MAX_MATCHED)
        labels = self._space.labels
        exact = [c for c in candidates if phrase.casefold() in labels[c.id].names]
        exact = [c for c in exact if labels[c.id].kind != HIDDEN]
        own = [c for c in exact if labels[c.id].method == MANUAL]  # what a person calls so is meant first
        trusted = own or exact or [c for c in candidates if not c.is_weak]
        evidence = self._label_evidence(phrase)[trusted[0].id] if trusted else 0.0
        if evidence < FLOOR or (evidence < SPELLED_FLOOR and not self._reads(phrase)):
            return ()
        best = trusted[0].score
        return tuple(c for c in trusted if c.score >= best - MARGIN)[:MAX_MATCHED]

    def unknown(self, phrase: str, found: str = "") -> UnknownConceptError:
        """Return the error for a phrase without a matching feature, with the nearest features."""
        nearest = "; ".join(f"{c.shown} ({c.score:.2f})" for c in self.match(phrase, 5))
        return UnknownConceptError(
            f"concept {phrase!r}",
            found or f"no feature of space {self._space.name!r} clearly matches it",
            f"Nearest: {nearest}. Use one of these labels in quotes, or its #id.",
        )

    def match_families(self, phrase: str, limit: int = 10) -> list[tuple[Family, float]]:
        """Return the families nearest to a phrase with their scores, best first.

        Nearest are those with a matching feature near the root; features with weak labels do not count.
        """
        check_unicode("a phrase", phrase)
        scores = self._scores(phrase)
        scores[self._space.has_weak_label] = -1.0
        matches = [
            (one, float((scores[list(one.features)] - DEPTH_MALUS * np.array(one.depths)).max()))
            for one in self._space.families
        ]
        return sorted(matches, key=lambda match: -match[1])[:limit]

    def _depths(self, name: str) -> dict[int, int]:
        """Return the features of a family, by their steps from its root.

        Of a given concept with narrower ones, these are all that are below it; else those of the family.
        """
        labels, wanted = self._space.labels, name.casefold()
        named = (i for i in self._narrower if labels[i].text.casefold() == wanted)
        if (root := next(named, None)) is None:
            family = self._family(name)
            return dict(zip(family.features, family.depths, strict=True))
        depths: dict[int | None, int] = {None: -1}
        for feature, parent in grown(root, self._narrower).items():
            depths[feature] = depths[parent] + 1
        return {feature: depth for feature, depth in depths.items() if feature is not None}

    @cached_property
    def _narrower(self) -> dict[int, list[int]]:
        """The features directly below each given concept that has some."""
        return children_of([label.broader for label in self._space.labels], range(self._space.n_features))

    def _family(self, name: str) -> Family:
        """Return the family of ``#ID``, of a label or its first word, or the family that clearly matches."""
        families = self._space.families
        if is_id(name) and int(name[1:]) < len(families):
            return families[int(name[1:])]
        wanted = name.casefold()
        for family in families:
            if wanted in (family.label.casefold(), family.label.partition(":")[0].casefold()):
                return family
        matches = self.match_families(name, 5) if name and not is_id(name) else []
        if matches and matches[0][1] >= FAMILY_FLOOR:
            return matches[0][0]
        labels = self._space.labels
        nearest = "; ".join(
            f"{shown_label(f'#{one.id} {one.label!r}', is_weak_family(one, labels))} ({score:.2f})"
            for one, score in matches
        )
        raise UnknownConceptError(
            f"family {name!r}",
            f"none of the {len(families)} families of space {self._space.name!r} clearly matches it",
            f"Nearest: {nearest}. Use family:#id."
            if nearest
            else "List them: `saeindex sae families SPACE`.",
        )

    def _label_evidence(self, phrase: str) -> FloatArray:
        """Return how well each label matches: its cosine, plus a bonus for words shared with the phrase."""
        evidence: FloatArray = self._space.label_vectors @ self._encode(phrase)
        stems = _stems(phrase)
        for stem in stems & self._features_by_stem.keys():
            evidence[self._features_by_stem[stem]] += WORD_BONUS / len(stems)
        return evidence

    def _scores(self, phrase: str) -> FloatArray:
        """Return the label evidence, plus a bonus for features that the phrase itself activates."""
        scores = self._label_evidence(phrase)
        indices, values = self._space.sae.encode_one(self._encode(phrase))
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
    def trusted_labels(self) -> frozenset[str]:
        """The trusted labels of features, case folded."""
        return frozenset(name for label in self._space.labels if not label.is_weak for name in label.names)

    @cached_property
    def own_names(self) -> frozenset[str]:
        """The names that a person gave, case folded."""
        return frozenset(one.text.casefold() for one in self._space.labels if one.method == MANUAL)

    def describe(self, feature: int, score: float) -> FeatureMatch:
        """Return a feature as a match with this score."""
        label = self._space.labels[feature]
        density = float(self._space.calibration.density[feature])
        return FeatureMatch(
            feature, label.text, score, label.trust, label.is_weak, density, label.description
        )


def said_by(named: Sequence[FeatureMatch], weight: float = SAID) -> dict[int, float]:
    """Return the evidence of features whose names say a phrase, for :class:`Asked`."""
    return {match.id: weight for match in named[:MAX_SAID] if not match.is_weak}


def reads(encoder: TextEncoder, phrase: str) -> bool:
    """Return whether the encoder's tokens of at least half of the words are words, rather than letters."""

    def is_read(word: str) -> bool:
        tokens = len(encoder.token_spans(word))
        return len(word) >= MIN_LETTERS * tokens or (tokens == 1 and word.isascii())

    words = re.findall(r"\w+", phrase)
    return 0 < len(words) <= 2 * sum(map(is_read, words))


def is_id(target: str) -> bool:
    """Return whether a target is ``#id``."""
    return _ID.fullmatch(target) is not None


def _stems(text: str) -> set[str]:
    """Return the base forms of the words of a text."""
    every = (forms(word) for word in TOKEN.findall(text))
    return {min(found, key=lambda form: (len(form), form)) for found in every if found}


class Resolver:
    """Resolves phrases against one state of an index; caches the results."""

    def __init__(self, state: IndexState) -> None:
        """Bind the state; the records are read when a phrase is first resolved."""
        self._state = state
        self._space = state.space
        self._reads: Callable[[str], bool] = lambda phrase: reads(state.encoder, phrase)
        self.labels = ConceptResolver(state.space, state.encode, self._reads)
        self._scans: Memo[Scan] = Memo(KEPT_SCANS)

    def match(self, phrase: str, limit: int = 10, unnamed: bool = False) -> list[FeatureMatch]:
        """Return the features whose labels are nearest to a phrase, best first, weak labels included.

        Those without a name of their own are left out, unless ``unnamed`` asks for them.
        """
        check_kind(f"features of {phrase!r:.80}", phrase, str, "Give a word or a phrase.")
        if not phrase.strip():
            raise InvalidInputError("features", "an empty phrase", "Give a word or a phrase.")
        if limit < 1:
            raise InvalidInputError(f"limit={limit}", "out of range", "Use 1 or more.")
        return self.labels.match(phrase, limit, unnamed)

    def resolve(self, target: str, mode: Resolve = "best") -> Concept:
        """Return the concept of ``#id``, ``family:NAME`` or a phrase.

        UnknownConceptError lists the nearest labels. A trusted label is that label's features; a weak one is
        so in ``strict`` mode, or where there is no evidence: it does not say where its feature is active.
        The name of a concept that the index has evidence of is that concept, in any mode.
        """
        check_kind(f"concept {target!r:.80}", target, str, 'Give "#id", or a phrase.')
        self._space.check_concepts(f"concept {target!r:.80}")
        if mode not in MODES:
            raise InvalidInputError(f"resolve={mode!r}", "no such mode", f"Use {', '.join(MODES)}.")
        if spoken := self._spoken(target):
            return Concept(target, spoken, "strict", named=spoken)
        is_label = target.casefold() in self.labels.trusted_labels
        if mode == "strict" or target.startswith(FAMILY) or is_id(target) or is_label:
            return self.labels.resolve(target)
        found, near = self.scan(target), self.labels.named(target)
        sure, present = (found.precision(), found.recall), len(found.at("present"))
        return Concept(target, (), mode, *sure, near, present, not found.is_all)

    def scan(self, phrase: str) -> Scan:
        """Return the records that speak of a phrase that no concept is; UnknownConceptError of nonsense."""

        def read() -> Scan:
            from saeindex.concepts.scan import Scanner  # commands that read nothing start faster without it

            matching = self.labels.named(phrase)
            named = said_by(matching, SAID_OF_SETS)
            found = Scanner(self._state, phrase, named, self._reads(phrase)).scan()
            if self._state.total and not found.is_said:
                if found.words.is_single:
                    raise self.labels.unknown(phrase, "no concept is it, and no record says it")
                if not matching:
                    self._check_records(phrase)
            return found

        return self._scans.get(phrase, read)

    def _spoken(self, phrase: str) -> tuple[FeatureMatch, ...]:
        """Return the features of the named concepts of this name, as it is written or in lower case.

        Or of the concept that the phrase is a word for. None where a person gave the name to a feature: that
        is meant first.
        """
        if phrase.casefold() in self.labels.own_names:
            return ()
        named, said = self._state.named_concepts, " ".join(phrase.split())
        found = named.get(said) or named.get(said.casefold()) or self._word_for(said)
        return tuple(self.labels.describe(feature, 1.0) for feature in found)

    def _word_for(self, phrase: str) -> tuple[int, ...]:
        """Return the features of the concepts that a phrase is a form of, or of one that it is a word for."""
        evidence = self._state.space.evidence
        if evidence is None or not self._state.spoken or TOKEN.findall(phrase) != phrase.split():
            return ()
        known, said = self._state.named_concepts, forms(phrase)
        if form := next((form for form in sorted(said) if form in known), None):
            return known[form]
        named, vectors = evidence.named_by(phrase), self._space.label_vectors
        asked = np.stack([self._state.encode(one) for one in {phrase, *said}]) if named else None
        for feature, weight in named:
            if weight >= LEAST_WEIGHT and asked is not None and (asked @ vectors[feature]).max() >= SAME:
                return (feature,)
        return ()

    def check_meaning(self, phrase: str) -> None:
        """Raise UnknownConceptError if neither labels nor records match a phrase."""
        self._space.check_concepts(f"concept {phrase!r:.80}")
        if not self.labels.named(phrase):
            self._check_records(phrase)

    def check_name(self, phrase: str) -> None:
        """Raise UnknownConceptError if no concept has a name, or is what the phrase is a word for."""
        if phrase.casefold() not in self.labels.own_names and not self._spoken(phrase):
            raise self.labels.unknown(phrase, "no concept has this name")

    def check_guard(self, name: str) -> None:
        """Raise an error unless it is the name of a concept, ``#id`` or ``family:NAME``.

        A phrase that is no concept, or a condition, would leave out too little without a word.
        """
        if is_id(name) or name.startswith(FAMILY):
            self.resolve(name, "strict")
        elif not name.strip():
            raise InvalidInputError("never", "an empty name", "Name concepts.")
        else:
            self.check_name(name)

    def named(self, phrase: str) -> tuple[FeatureMatch, ...]:
        """Return the features whose names say a phrase, best first, () for none."""
        return self.labels.named(phrase)

    def _check_records(self, phrase: str) -> None:
        sample = self._state.sample()
        if sample.similarity(self._state.encode(phrase)) < MIN_SIMILARITY:
            raise self.labels.unknown(phrase)
        self.check_words(phrase)

    def check_words(self, phrase: str) -> None:
        """Raise UnknownConceptError if neither the collection nor the encoder knows the words of a phrase."""
        words, places = {word for word in tokens(phrase) if word.isalpha()}, self._state.sample().places
        known = sum(word in places for word in words)
        if known < MIN_KNOWN * len(words) and not self._reads(phrase):
            raise self.labels.unknown(phrase)
