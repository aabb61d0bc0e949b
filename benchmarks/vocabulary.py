"""The vocabulary of the default space: concepts of everyday English that the encoder can tell apart.

A concept is a common word or phrase of Open English WordNet, or a kind of thing in its hierarchy ("fruit",
whose markers are "apple", "pear" and so on), with the gloss of the sense that texts mean. Its *markers* are
the words by which a text speaks of it. Half of the texts build a concept's direction (its name, and the texts
with a marker, each about the mean of its corpus), the other half measure how well the direction finds texts
with a marker. Concepts are taken in the order of what they are worth: common ones that are found well first,
and none whose direction is there already.

Only `fit` parts are read, and none of `agnews`, `product_reviews` and `us_speeches`, which judge legibility.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_matrix

from benchmarks import data
from benchmarks.corpora import CachedEncoder
from saeindex.features.contrast_sets import auroc
from saeindex.sae.metrics import unit_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.protocols import TextEncoder
    from saeindex.types import FloatArray

# Corpora whose words count as everyday ones, and all whose texts show what a concept's name means.
EVERYDAY = ("wikisplit", "topical_chat", "sgd", "gsm8k", "nq_open", "goemotions", "sentence_polarity",
            "clinc150", "tweeteval_stance", "subjectivity", "nlupp")  # fmt: skip
SHOWING = (*EVERYDAY, "oewn", "medquad", "stackoverflow_titles", "scicite", "masc_registers")
SEED = 0
# Texts with a marker that a concept needs, everyday ones and in each half; the most that are averaged.
MIN_EVERYDAY, MIN_TEXTS, MAX_TEXTS = 40, 15, 300
# Shares of texts that speak of a concept; AUROC from which on a direction is that of its concept.
MAX_SHARE, MIN_AUROC = 0.2, 0.8
# A kind of thing has so many narrower ones; a marker of it is a word most of whose senses are below it.
MIN_NARROWER, MAX_NARROWER, MIN_MARKERS = 8, 400, 5
# Everyday texts with the name of a kind itself, and the largest share of its texts that one marker may have:
# else it is the concept of that word, under a stranger's name.
MIN_NAMED, MAX_OF_ONE = 20, 0.4
# How much is added to the nearness of a sense: because the word is its first lemma, or because it is a noun.
FIRST_LEMMA, NOUN = 0.05, 0.03
# Cosine from which on two directions are one; letters of a name that is a word.
SAME, MIN_LETTERS = 0.8, 3
PARTS = {"n": "noun", "v": "verb", "a": "adjective", "s": "adjective"}
TOKEN = re.compile(r"[a-z]+(?:['-][a-z]+)*")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A name, the columns of its markers, and the synsets that it may mean."""

    name: str
    markers: tuple[int, ...]
    senses: tuple[str, ...]
    is_kind: bool


@dataclass(frozen=True, slots=True)
class Concept:
    """A concept: its name, gloss and other names, the WordNet synset, and what was measured.

    ``texts`` is the number of everyday texts that speak of it, ``auroc`` how well its direction finds them
    in texts that did not build it.
    """

    name: str
    gloss: str
    synset: str
    part: str
    is_kind: bool
    texts: int
    share: float
    auroc: float
    words: tuple[str, ...] = ()


class WordNet:
    """The synsets of the `fit` part, by id and by lemma, and what lies below each."""

    def __init__(self) -> None:
        """Read the synsets."""
        self.synsets = {record.id: record.metadata for record in data.read("oewn", "fit")}
        self.by_lemma: dict[str, list[str]] = defaultdict(list)
        self.below: dict[str, list[str]] = defaultdict(list)
        for synset, described in self.synsets.items():
            for lemma in described["lemmas"]:
                self.by_lemma[lemma.lower()].append(synset)
            for broader in described["hypernyms"]:
                self.below[broader].append(synset)

    def lemma(self, synset: str) -> str:
        """Return the first lemma of a synset."""
        first: str = self.synsets[synset]["lemmas"][0]
        return first

    def narrower(self, synset: str) -> set[str]:
        """Return the synset and all below it."""
        found, ahead = {synset}, [synset]
        while ahead:
            for child in self.below.get(ahead.pop(), []):
                if child not in found:
                    found.add(child)
                    ahead.append(child)
        return found

    @cached_property
    def kinds(self) -> dict[str, set[str]]:
        """The synsets with enough narrower ones, and these."""
        sizes = {synset: self.narrower(synset) for synset in self.below if synset in self.synsets}
        return {s: below for s, below in sizes.items() if MIN_NARROWER <= len(below) <= MAX_NARROWER}


class Lemmas:
    """The base forms of words, by the endings of English and the lemmas of WordNet."""

    def __init__(self, wordnet: WordNet, counts: Mapping[str, int]) -> None:
        """``counts`` are the numbers of texts with a word: they say which of two forms is meant."""
        self._counts = counts
        self._parts = {
            lemma: {PARTS.get(wordnet.synsets[synset]["pos"], "") for synset in synsets}
            for lemma, synsets in wordnet.by_lemma.items()
        }
        self._found: dict[str, str | None] = {}

    def base(self, word: str) -> str | None:
        """Return the singular of a word, or the verb if it is commoner than the word; None if there is none.

        So "played" is "play", but "married" stays an adjective, and "evening" a noun.
        """
        if word not in self._found:
            self._found[word] = next(self._forms(word), None)
        return self._found[word]

    def _forms(self, word: str) -> Iterator[str]:
        for ending, replacement in (("s", ""), ("ies", "y"), ("es", "")):
            form = word.removesuffix(ending) + replacement
            is_plural = word.endswith(ending) and not word.endswith("ss") and len(form) > 2
            if is_plural and self._parts.get(form, set()) & {"noun", "verb"}:
                yield form
        verbs = [form for form in _verbs(word) if "verb" in self._parts.get(form, set())]
        own = self._parts.get(word, set())
        if own and not (verbs and "noun" not in own and self._counts[verbs[0]] > self._counts[word]):
            yield word
        yield from verbs

    def in_text(self, text: str) -> set[str]:
        """Return the base forms in a text, and its phrases of two or three words that WordNet has."""
        tokens = TOKEN.findall(text.lower())
        bases = [self.base(token) for token in tokens]
        found = {base for base in bases if base is not None}
        for size in (2, 3):
            for start in range(len(tokens) - size + 1):
                last = bases[start + size - 1] or tokens[start + size - 1]
                phrase = " ".join([*tokens[start : start + size - 1], last])
                if phrase in self._parts:
                    found.add(phrase)
        return found


def _verbs(word: str) -> Iterator[str]:
    """Yield the verbs that a word may be a form of."""
    for ending in ("ed", "ing"):
        stem = word.removesuffix(ending)
        if stem != word and len(stem) > 2:
            if stem.endswith("i"):
                yield f"{stem[:-1]}y"
            if stem[-1] == stem[-2]:
                yield stem[:-1]
            yield from (f"{stem}e", stem)


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """Texts (m) with their embeddings about the mean of their corpus (m, d), and the words of each.

    ``has`` (m, w) says which of ``words`` are in a text.
    """

    corpora: NDArray[np.str_]
    vectors: FloatArray
    has: csr_matrix
    words: list[str]
    is_everyday: NDArray[np.bool_]


def read_texts(wordnet: WordNet, encoder: TextEncoder) -> Shown:
    """Return the texts of all corpora that show what names mean."""
    texts = [(corpus, record.text) for corpus in SHOWING for record in data.read(corpus, "fit")]
    corpora = np.array([corpus for corpus, _ in texts])
    counts = Counter(word for _, text in texts for word in set(TOKEN.findall(text.lower())))
    lemmas = Lemmas(wordnet, counts)
    number: dict[str, int] = {}
    columns, starts = [], [0]
    for corpus, text in texts:
        # A definition shows what it is about by its own words, not by the lemmas before the colon.
        found = lemmas.in_text(text.partition(": ")[2] if corpus == "oewn" else text)
        columns += [number.setdefault(word, len(number)) for word in sorted(found)]
        starts.append(len(columns))
    has = csr_matrix((np.ones(len(columns), np.float32), columns, starts), shape=(len(texts), len(number)))
    vectors = encoder.encode_document([text for _, text in texts])
    for corpus in SHOWING:
        of_corpus = corpora == corpus
        vectors[of_corpus] -= vectors[of_corpus].mean(0)
    return Shown(corpora, vectors, has, list(number), np.isin(corpora, EVERYDAY))


def candidates(wordnet: WordNet, shown: Shown) -> list[Candidate]:
    """Return what could become a concept: common words and phrases, and kinds of things."""
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    everyday = np.asarray(shown.has[shown.is_everyday].sum(0)).ravel()
    number = {word: column for column, word in enumerate(shown.words)}
    found = [
        Candidate(word, (column,), senses, is_kind=False)
        for word, column in number.items()
        if everyday[column] >= MIN_EVERYDAY
        and len(word) >= MIN_LETTERS
        and word.split()[0] not in ENGLISH_STOP_WORDS
        and (senses := _senses(wordnet, word))
    ]
    for synset, below in wordnet.kinds.items():
        named = wordnet.lemma(synset)
        lemmas = {lemma.lower() for one in below for lemma in wordnet.synsets[one]["lemmas"]} & number.keys()
        markers = {
            lemma
            for lemma in lemmas
            if sum(sense in below for sense in wordnet.by_lemma[lemma]) > len(wordnet.by_lemma[lemma]) / 2
        }
        columns = tuple(number[lemma] for lemma in sorted(markers))
        is_named = named in number and everyday[number[named]] >= MIN_NAMED
        if len(markers) < MIN_MARKERS or not is_named or named in ENGLISH_STOP_WORDS:
            continue
        texts = everyday[list(columns)]
        if texts.max() <= MAX_OF_ONE * texts.sum():
            found.append(Candidate(named, columns, (synset,), is_kind=True))
    return found


def _senses(wordnet: WordNet, word: str) -> tuple[str, ...]:
    """Return the synsets of a word that is a noun, a verb or an adjective; a proper name is not the word."""
    senses = tuple(one for one in wordnet.by_lemma[word] if wordnet.synsets[one]["pos"] in PARTS)
    return tuple(one for one in senses if word in wordnet.synsets[one]["lemmas"]) or senses


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """Candidates with their directions (c, d), sense, everyday texts, share of texts, and AUROC."""

    candidates: Sequence[Candidate]
    directions: FloatArray
    senses: Sequence[str]
    texts: NDArray[np.int64]
    shares: NDArray[np.float64]
    auroc: NDArray[np.float64]


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
    counts = np.asarray(speaks[shown.is_everyday].sum(0)).ravel().astype(np.int64)
    is_enough = np.asarray(speaks[~builds].sum(0)).ravel() >= MIN_TEXTS
    shares = np.asarray(speaks.mean(0)).ravel()
    kept = np.flatnonzero(is_enough & (shares <= MAX_SHARE) & (counts >= MIN_EVERYDAY))
    given, speaks = [given[i] for i in kept.tolist()], speaks[:, kept]
    named = encoder.encode_query([one.name for one in given])
    named = unit_rows(named - named.mean(0))
    texts = np.stack([_context(shown, speaks[:, [i]].indices, builds, rng) for i in range(len(given))])
    directions = unit_rows(named + unit_rows(texts))
    judging, spoken = shown.vectors[~builds], speaks[~builds].tocsc()
    scores = np.array(
        [
            auroc(judging @ direction[:, None], spoken[:, [i]].toarray()[:, 0] > 0)[0]
            for i, direction in enumerate(directions)
        ]
    )
    senses = _meant(wordnet, given, directions, encoder)
    return Measured(given, directions, senses, counts[kept], shares[kept], scores)


def _context(
    shown: Shown, speaking: NDArray[np.int32], builds: NDArray[np.bool_], rng: np.random.Generator
) -> FloatArray:
    """Return the mean of the texts that speak of a concept, each corpus with the root of its number."""
    speaking = rng.permutation(speaking[builds[speaking]])
    total = np.zeros(shown.vectors.shape[1])
    for corpus in np.unique(shown.corpora[speaking]):
        own = speaking[shown.corpora[speaking] == corpus][:MAX_TEXTS]
        total += shown.vectors[own].mean(0) * len(own) ** 0.5
    return total.astype(np.float32)


def _meant(
    wordnet: WordNet, given: Sequence[Candidate], directions: FloatArray, encoder: TextEncoder
) -> list[str]:
    """Return for each candidate the synset whose definition and entry are nearest to its direction."""
    senses = sorted({sense for one in given for sense in one.senses})
    described = [wordnet.synsets[sense] for sense in senses]
    entries = encoder.encode_document([f"{', '.join(d['lemmas'])}: {d['definition']}" for d in described])
    definitions = encoder.encode_document([d["definition"] for d in described])
    vectors = unit_rows(entries - entries.mean(0)) + unit_rows(definitions - definitions.mean(0))
    place = {sense: i for i, sense in enumerate(senses)}
    found = []
    for one, direction in zip(given, directions, strict=True):
        own = [place[sense] for sense in one.senses]
        near = vectors[own] @ direction / 2
        near += [FIRST_LEMMA * (described[i]["lemmas"][0] == one.name) for i in own]
        near += [NOUN * (described[i]["pos"] == "n") for i in own]
        found.append(one.senses[int(near.argmax())])
    return found


def chosen(wordnet: WordNet, found: Measured, size: int) -> tuple[list[Concept], FloatArray]:
    """Return at most ``size`` concepts, the most useful first, and their directions.

    A concept is worth more the better it is found and, by the logarithm, the more everyday texts speak of it.
    One whose direction is there already gives that concept another name.
    """
    worth = (found.auroc - 0.5) * np.log(found.texts)
    order = [i for i in np.argsort(-worth, kind="stable") if found.auroc[i] >= MIN_AUROC]
    taken: list[int] = []
    names: dict[int, list[str]] = {}
    for i in order:
        cosines = found.directions[taken] @ found.directions[i] if taken else np.zeros(1)
        same = next((j for j in taken if found.candidates[j].name == found.candidates[i].name), None)
        if same is None and cosines.max() >= SAME:
            same = taken[int(cosines.argmax())]
        if same is not None:
            names[same].append(found.candidates[i].name)
        elif len(taken) < size:
            taken.append(int(i))
            names[int(i)] = []
    concepts = []
    for i in taken:
        one, synset = found.candidates[i], wordnet.synsets[found.senses[i]]
        others = tuple(dict.fromkeys(name for name in names[i] if name != one.name))
        concepts.append(Concept(
            one.name, synset["definition"], found.senses[i], PARTS[synset["pos"]], one.is_kind,
            int(found.texts[i]), float(found.shares[i]), float(found.auroc[i]), others,
        ))  # fmt: skip
    return concepts, found.directions[taken]


def main() -> None:
    """Build the vocabulary, and print it."""
    wordnet, encoder = WordNet(), CachedEncoder()
    shown = read_texts(wordnet, encoder)
    found = measured(wordnet, shown, candidates(wordnet, shown), encoder)
    concepts, _ = chosen(wordnet, found, 4_096)
    print(f"{len(found.candidates)} candidates, {len(concepts)} concepts")
    for concept in concepts:
        print(json.dumps(asdict(concept)))


if __name__ == "__main__":
    main()
