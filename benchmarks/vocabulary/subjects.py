"""Subjects: the broad concepts, of which a whole class of texts speaks ("sport", "medicine", "joke").

A subject is a topical domain of WordNet, a kind of feeling, speech act or document, or any kind of thing with
many narrower ones that texts name often. Its members are the synsets below it, of its domain, or defined by
its name. A direction is the sum of three: its name, the mean of its members, and that of texts that name
them. The common words do not cover a class: a text about tennis need not say "sport".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.vocabulary.concept import Concept
from benchmarks.vocabulary.texts import EVERYDAY, MIN_LETTERS, SHOWING, Shown, context
from benchmarks.vocabulary.wordnet import WordNet
from saeindex.features.trust import auroc
from saeindex.sae.metrics import unit_rows

if TYPE_CHECKING:
    from saeindex.protocols import TextEncoder
    from saeindex.types import FloatArray

SEED = 0
# Synsets of a domain, and below a tone or any other kind; the most that one subject may have.
MIN_DOMAIN, MIN_OF_TONE, MIN_BELOW, MAX_MEMBERS = 6, 5, 20, 4_000
# Everyday texts with its name, and the most words of it.
MIN_NAMED, MAX_WORDS = 20, 2
# Definitions with the name, for one that has few meanings.
MAX_MEANINGS, MAX_DEFINED = 2, 400
# Share of texts that speak of it, every corpus counting alike: of domains and tones, and of other kinds.
MIN_TOLD_SHARE, MIN_SHARE = 0.0008, 0.003
# How well its direction finds texts with its words; cosine from which on two subjects are one, and from which
# on a word is another name of a subject.
MIN_AUROC, SAME, SAME_WORD = 0.85, 0.75, 0.8
# A class of texts speaks of a subject more often than it names it.
REACH, LEAST_REACH = 2.5, 0.01


@dataclass(frozen=True, slots=True)
class _Subject:
    """A name, its synset, the columns of its words and the rows of its members.

    Is it plain, neither a domain nor a tone?
    """

    name: str
    synset: str
    markers: list[int]
    members: list[int]
    is_plain: bool


def subjects(wordnet: WordNet, shown: Shown, encoder: TextEncoder) -> tuple[list[Concept], FloatArray]:
    """Return the subjects, those that texts speak of most first, and their directions."""
    given = _candidates(wordnet, shown)
    rng = np.random.default_rng(SEED)
    builds = rng.random(len(shown.corpora)) < 0.5
    is_text = shown.corpora != "oewn"
    weights = shown.weights([corpus for corpus in SHOWING if corpus != "oewn"])
    judging = is_text & ~builds
    names = encoder.encode_query([one.name for one in given])
    names = unit_rows(names - names.mean(0))
    found: list[tuple[Concept, FloatArray]] = []
    for one, name in zip(given, names, strict=True):
        speaks = np.asarray(shown.has[:, one.markers].sum(1)).ravel() > 0
        texts = context(shown, np.flatnonzero(speaks & is_text), builds, rng)
        parts = np.stack([shown.vectors[one.members].mean(0), texts])
        direction = unit_rows((name + unit_rows(parts).sum(0))[None])[0]
        share = float(weights[speaks].sum() / weights.sum())
        quality = float(auroc(shown.vectors[judging] @ direction[:, None], speaks[judging])[0])
        if quality >= MIN_AUROC and share >= (MIN_SHARE if one.is_plain else MIN_TOLD_SHARE):
            gloss = wordnet.synsets[one.synset]["definition"]
            texts_with = int((speaks & is_text).sum())
            found.append((Concept(one.name, gloss, one.synset, True, texts_with, share, quality), direction))
    found.sort(key=lambda each: -each[0].share)
    return _distinct(found)


def with_words(
    broad: Sequence[Concept], directions: FloatArray, words: Sequence[Concept], of_words: FloatArray
) -> tuple[list[Concept], FloatArray]:
    """Return subjects and the concepts of common words, but for those that a subject stands for.

    The subjects have their reach as the share of texts.
    """
    cosines = of_words @ directions.T
    others: dict[int, list[str]] = defaultdict(list)
    named, kept = {one.name for one in broad}, []
    for i, one in enumerate(words):
        nearest = int(cosines[i].argmax())
        if cosines[i, nearest] >= SAME_WORD and one.name not in named:
            others[nearest].append(one.name)
        elif one.name not in named:
            kept.append(i)
    reaching = [
        replace(one, share=max(LEAST_REACH, REACH * one.share), words=tuple(others[i]))
        for i, one in enumerate(broad)
    ]
    return [*reaching, *(words[i] for i in kept)], np.concatenate([directions, of_words[kept]])


def _candidates(wordnet: WordNet, shown: Shown) -> list[_Subject]:
    number = {word: column for column, word in enumerate(shown.words)}
    rows = dict(zip(wordnet.synsets, np.flatnonzero(shown.corpora == "oewn").tolist(), strict=True))
    named, by_word = shown.counts(EVERYDAY).sum(0), shown.has.tocsc()
    found = []
    for synset, described in wordnet.synsets.items():
        name = described["lemmas"][0]
        is_common = name in number and named[number[name]] >= MIN_NAMED
        if described["pos"] != "n" or not is_common or len(name.split()) > MAX_WORDS:
            continue
        is_told = synset in wordnet.tones or len(wordnet.of_domain[synset]) >= MIN_DOMAIN
        members = _members(wordnet, synset)
        if not members or len(members) > MAX_MEMBERS:
            continue
        of_members = {rows[one] for one in members}
        meanings = wordnet.by_lemma[name]
        if meanings[0] == synset or len(meanings) <= MAX_MEANINGS:
            defined = by_word[:, [number[name]]].indices
            of_members |= set(defined[shown.corpora[defined] == "oewn"][:MAX_DEFINED].tolist())
        own = {word for word in wordnet.own_words(members) & number.keys() if len(word) >= MIN_LETTERS}
        markers = {number[word] for word in {name} | own}
        found.append(_Subject(name, synset, sorted(markers), sorted(of_members), not is_told))
    return found


def _members(wordnet: WordNet, synset: str) -> set[str]:
    """Return the synsets below one and of its domain, none if they are too few for a subject."""
    below, domain = wordnet.narrower(synset), wordnet.of_domain[synset]
    least = MIN_OF_TONE if synset in wordnet.tones else MIN_BELOW
    if len(domain) < MIN_DOMAIN and len(below) < least:
        return set()
    members = below.union(*(wordnet.of_domain[one] for one in below))
    return members.union(*(wordnet.narrower(one) for one in domain))


def _distinct(found: Sequence[tuple[Concept, FloatArray]]) -> tuple[list[Concept], FloatArray]:
    """Return those whose name and direction no earlier one has."""
    kept: list[Concept] = []
    directions = np.zeros((0, len(found[0][1])), np.float32)
    for one, direction in found:
        is_known = one.name in {other.name for other in kept}
        if not is_known and (directions @ direction).max(initial=-1) < SAME:
            kept.append(one)
            directions = np.concatenate([directions, direction[None]])
    return kept, directions
