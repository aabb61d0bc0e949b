"""Concepts of one word or phrase, and of kinds of things that texts name."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csc_matrix, csr_matrix

from benchmarks.vocabulary.concept import Concept
from benchmarks.vocabulary.texts import EVERYDAY, MIN_LETTERS, SPECIAL, Shown, context, proper_words
from benchmarks.vocabulary.wordnet import Lemmas, WordNet
from saeindex.features.trust import auroc
from saeindex.sae.metrics import unit_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.protocols import TextEncoder
    from saeindex.types import FloatArray

SEED = 0
# Concepts of everyday texts, which are taken first, and how many there are with those of special ones.
EVERYDAY_CONCEPTS, CONCEPTS = 2_400, 3_072
# Texts with a marker that a concept needs: everyday ones, of three corpora that have two, or special ones of
# one corpus; in each half. So many corpora of all must have two.
MIN_EVERYDAY, MIN_CORPORA, MIN_SPECIAL, MIN_TEXTS = 20, 3, 60, 6
MIN_CORPORA_OF_ALL = 4
# Words that say how a text is meant are rarer than things, and worth as much. They need fewer texts.
MIN_TONE, TONE_WORTH = 10, 5.0
# Shares of texts that speak of a concept; AUROC from which on a direction is that of its concept.
MAX_SHARE, MIN_AUROC = 0.2, 0.8
# Markers of a kind of thing: words most of whose senses are below it.
MIN_MARKERS = 5
# Texts with the name of a kind itself, and the largest share of its texts that one marker may have:
# else it is the concept of that word, under a stranger's name.
MIN_NAMED, MAX_OF_ONE = 20, 0.4
# How much is added to the nearness of a sense: because the word is its first lemma, or because it is a noun.
FIRST_LEMMA, NOUN = 0.05, 0.03
# Nearness of a definition to the texts with a word from which on it is what they mean.
MIN_NEAR = 0.2
# Cosine from which on two directions are one.
SAME = 0.8
PARTS = {"n": "noun", "v": "verb", "a": "adjective", "s": "adjective"}
# Words of definitions of what is not said in company.
RUDE = re.compile(r"\b(obscene|vulgar|offensive|disparag\w+|slur|derogatory|genitals?|slang for)\b")
# Words of definitions of what no collection should be told about itself.
PRIVATE = re.compile(
    rf"{RUDE.pattern}|copulat|sexual|excret|narcotic|marijuana|cocaine|prostitut|genital|anus|"
    "roman numeral|letter of the"
)
# Texts with a common word.
MIN_COMMON = 40


@dataclass(frozen=True, slots=True)
class Candidate:
    """A name, the columns of its markers, and the synsets that it may mean."""

    name: str
    markers: tuple[int, ...]
    senses: tuple[str, ...]
    is_kind: bool


def candidates(wordnet: WordNet, shown: Shown) -> list[Candidate]:
    """Return what could become a concept: common words and phrases, and kinds of things."""
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    everyday, special = shown.counts(EVERYDAY), shown.counts(SPECIAL)
    texts = everyday.sum(0) + special.sum(0)
    is_everyday = (everyday.sum(0) >= MIN_EVERYDAY) & ((everyday >= 2).sum(0) >= MIN_CORPORA)
    is_common = is_everyday | (special.max(0) >= MIN_SPECIAL)
    is_common |= (everyday.sum(0) >= MIN_TONE) & np.array([wordnet.is_tone(word) for word in shown.words])
    is_common &= ((everyday >= 2).sum(0) + (special >= 2).sum(0)) >= MIN_CORPORA_OF_ALL
    number = {word: column for column, word in enumerate(shown.words)}
    found = [
        Candidate(_written(wordnet, word, senses), (column,), senses, is_kind=False)
        for word, column in number.items()
        if is_common[column]
        and len(word) >= MIN_LETTERS
        and (senses := _senses(wordnet, word, word in shown.proper))
    ]
    for synset, below in wordnet.kinds.items():
        named = wordnet.lemma(synset)
        markers = wordnet.own_words(below) & number.keys()
        columns = tuple(number[lemma] for lemma in sorted(markers))
        is_named = named in number and texts[number[named]] >= MIN_NAMED
        if len(markers) < MIN_MARKERS or not is_named or named in ENGLISH_STOP_WORDS:
            continue
        of_markers = texts[list(columns)]
        if of_markers.max() <= MAX_OF_ONE * of_markers.sum():
            found.append(Candidate(named, columns, (synset,), is_kind=True))
    return found


def common_words(wordnet: WordNet, texts: Sequence[str]) -> list[str]:
    """Return the words and phrases of WordNet that many texts have, the most common first.

    Without names of people and places, and without what is private.
    """
    lemmas = Lemmas(wordnet)
    proper = proper_words(lemmas, texts)
    counts = Counter(word for text in texts for word in lemmas.in_text(text))
    return [
        word
        for word, count in counts.most_common()
        if count >= MIN_COMMON
        and len(word) > MIN_LETTERS
        and word not in proper
        and _spoken(wordnet, word, PRIVATE)
    ]


def _spoken(wordnet: WordNet, word: str, unsaid: re.Pattern[str] = RUDE) -> list[str]:
    """Return the synsets of a noun, a verb or an adjective.

    Stop words have none, nor words of which a definition is about what is ``unsaid``.
    """
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    senses = [one for one in wordnet.by_lemma[word] if wordnet.synsets[one]["pos"] in PARTS]
    is_said = not any(unsaid.search(wordnet.synsets[one]["definition"]) for one in senses)
    return senses if is_said and ENGLISH_STOP_WORDS.isdisjoint(word.split()) else []


def _senses(wordnet: WordNet, word: str, is_proper: bool) -> tuple[str, ...]:
    """Return the synsets that a word is a name of; those of a proper name where it is mostly one.

    What names a person ("John") has none.
    """
    senses = _spoken(wordnet, word)
    is_own = [word not in wordnet.synsets[one]["lemmas"] for one in senses]
    own = tuple(one for one, capital in zip(senses, is_own, strict=True) if capital == is_proper)
    is_name = is_proper and all(wordnet.synsets[one]["lexfile"] == "noun.person" for one in own)
    return () if is_name else own


def _written(wordnet: WordNet, word: str, senses: Sequence[str]) -> str:
    """Return a word as its senses write it: "March", "TV"."""
    lemmas = [lemma for one in senses for lemma in wordnet.synsets[one]["lemmas"]]
    forms = [lemma for lemma in lemmas if lemma.lower() == word]
    return word.capitalize() if word.capitalize() in forms else forms[0]


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """Candidates with their directions (c, d), sense, whether it is near, share of texts, and AUROC.

    ``speaks`` (m, c) are the texts that speak of each, and ``texts`` their number.
    """

    candidates: Sequence[Candidate]
    directions: FloatArray
    senses: Sequence[str]
    is_meant: NDArray[np.bool_]
    shares: NDArray[np.float64]
    auroc: NDArray[np.float64]
    speaks: csc_matrix
    texts: NDArray[np.int64]


def measured(wordnet: WordNet, shown: Shown, given: Sequence[Candidate], encoder: TextEncoder) -> Measured:
    """Build the directions of candidates from one half of the texts, and judge them on the other."""
    rng = np.random.default_rng(SEED)
    builds = rng.random(len(shown.corpora)) < 0.5
    markers = csr_matrix(
        (
            np.ones(sum(len(one.markers) for one in given), np.float32),
            (
                [c for one in given for c in one.markers],
                np.repeat(range(len(given)), [len(one.markers) for one in given]),
            ),
        ),
        shape=(shown.has.shape[1], len(given)),
    )
    speaks = (shown.has @ markers).tocsc()
    speaks.data[:] = 1
    counts = np.asarray(speaks.sum(0)).ravel().astype(np.int64)
    is_enough = np.asarray(speaks[~builds].sum(0)).ravel() >= MIN_TEXTS
    shares = np.asarray(speaks.mean(0)).ravel()
    kept = np.flatnonzero(is_enough & (shares <= MAX_SHARE))
    given, speaks = [given[i] for i in kept.tolist()], speaks[:, kept]
    named = encoder.encode_query([one.name for one in given])
    named = unit_rows(named - named.mean(0))
    texts = np.stack([context(shown, speaks[:, [i]].indices, builds, rng) for i in range(len(given))])
    directions = unit_rows(named + unit_rows(texts))
    judging, spoken = shown.vectors[~builds], speaks[~builds].tocsc()
    scores = np.array(
        [
            auroc(judging @ direction[:, None], spoken[:, [i]].toarray()[:, 0] > 0)[0]
            for i, direction in enumerate(directions)
        ]
    )
    senses, is_meant = _meant(wordnet, given, directions, unit_rows(texts), encoder)
    return Measured(given, directions, senses, is_meant, shares[kept], scores, speaks, counts[kept])


def _meant(
    wordnet: WordNet,
    given: Sequence[Candidate],
    directions: FloatArray,
    contexts: FloatArray,
    encoder: TextEncoder,
) -> tuple[list[str], NDArray[np.bool_]]:
    """Return for each candidate the synset whose definition and entry are nearest to its direction.

    And whether the definition alone is near to the ``contexts`` (c, d): the sense that is meant may be in
    another part of the data.
    """
    senses = sorted({sense for one in given for sense in one.senses})
    described = [wordnet.synsets[sense] for sense in senses]
    entries = encoder.encode_document([f"{', '.join(d['lemmas'])}: {d['definition']}" for d in described])
    definitions = encoder.encode_document([d["definition"] for d in described])
    definitions = unit_rows(definitions - definitions.mean(0))
    vectors = unit_rows(entries - entries.mean(0)) + definitions
    place = {sense: i for i, sense in enumerate(senses)}
    found, is_meant = [], []
    for one, direction, texts in zip(given, directions, contexts, strict=True):
        own = [place[sense] for sense in one.senses]
        near = vectors[own] @ direction / 2
        near += [FIRST_LEMMA * (described[i]["lemmas"][0] == one.name) for i in own]
        near += [NOUN * (described[i]["pos"] == "n") for i in own]
        best = int(near.argmax())
        found.append(one.senses[best])
        is_meant.append(bool(definitions[own[best]] @ texts >= MIN_NEAR))
    return found, np.array(is_meant)


def chosen(wordnet: WordNet, shown: Shown, found: Measured) -> tuple[list[Concept], FloatArray]:
    """Return the concepts, the most useful first, and their directions.

    A text counts for a concept the less, the more taken concepts it speaks of. One whose direction is there
    already gives that concept another name.
    """
    is_tone = np.array([sense in wordnet.tones for sense in found.senses])
    quality = np.where(found.auroc >= MIN_AUROC, found.auroc - 0.5, 0) * np.where(is_tone, TONE_WORTH, 1)
    covered = np.ones(len(shown.corpora))
    taken: list[int] = []
    names: dict[int, list[str]] = {}
    for corpora, size in ((EVERYDAY, EVERYDAY_CONCEPTS), (SPECIAL, CONCEPTS)):
        weights = shown.weights(corpora)
        while len(taken) < size:
            worth = quality * (found.speaks.T @ (weights / covered))
            i = int(worth.argmax())
            if worth[i] <= 0:
                break
            quality[i] = 0
            cosines = found.directions[taken] @ found.directions[i] if taken else np.zeros(1)
            same = next((j for j in taken if found.candidates[j].name == found.candidates[i].name), None)
            if same is None and cosines.max() >= SAME:
                same = taken[int(cosines.argmax())]
            if same is not None:
                names[same].append(found.candidates[i].name)
                continue
            taken.append(i)
            names[i] = []
            covered[found.speaks[:, [i]].indices] += 1
    concepts = []
    for i in taken:
        one, sense = found.candidates[i], found.senses[i]
        gloss = wordnet.synsets[sense]["definition"] if found.is_meant[i] else ""
        others = tuple(dict.fromkeys(name for name in names[i] if name != one.name))
        concepts.append(Concept(
            one.name, gloss, sense, one.is_kind,
            int(found.texts[i]), float(found.shares[i]), float(found.auroc[i]), others,
        ))  # fmt: skip
    return concepts, found.directions[taken]
