"""The vocabulary of the default space: concepts of everyday English that the encoder can tell apart.

A concept is a common word or phrase of Open English WordNet, or a kind of thing in its hierarchy ("fruit",
whose markers are "apple", "pear" and so on), with the gloss of the sense that texts mean. Its *markers* are
the words by which a text speaks of it. Half of the texts build a concept's direction (its name, and the texts
with a marker, each about the mean of its corpus), the other half measure how well the direction finds texts
with a marker. Concepts are taken greedily, first the one that adds most to what the taken ones cover of
everyday texts, every corpus counting alike, and none whose direction is there already.

`python -m benchmarks.vocabulary` builds it anew, in up to half an hour, and writes the files beside this one.
Only `fit` parts are read, and none of `agnews`, `product_reviews` and `us_speeches`, which judge legibility.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csc_matrix, csr_matrix

from benchmarks import data, mixture
from benchmarks.corpora import CachedEncoder
from saeindex.features.contrast_sets import auroc
from saeindex.sae.metrics import unit_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.protocols import TextEncoder
    from saeindex.types import FloatArray

# Corpora whose words count as everyday ones, and those of a subject; together they show what names mean.
EVERYDAY = ("wikisplit", "topical_chat", "sgd", "gsm8k", "nq_open", "goemotions", "sentence_polarity",
            "clinc150", "tweeteval_stance", "subjectivity", "nlupp")  # fmt: skip
CASED = ("wikisplit", "topical_chat", "sgd", "gsm8k", "masc_registers")
SPECIAL = ("oewn", "arxiv", "medquad", "stackoverflow_titles", "scicite", "masc_registers")
SHOWING = (*EVERYDAY, *SPECIAL)
ABSTRACTS = 20_000
SEED = 0
# Concepts of everyday texts, which are taken first, and how many there are with those of special ones.
EVERYDAY_CONCEPTS, CONCEPTS = 2_400, 3_072
# Texts with a marker that a concept needs: everyday ones, of three corpora that have two, or special ones of
# one corpus; in each half; and the most that are averaged. So many corpora of all must have two.
MIN_EVERYDAY, MIN_CORPORA, MIN_SPECIAL, MIN_TEXTS, MAX_TEXTS = 20, 3, 60, 6, 300
MIN_CORPORA_OF_ALL = 4
# Kinds whose words say how a text is meant: rarer than things, and worth as much. They need fewer texts.
TONES = ("speech act", "feeling", "writing", "message", "attitude", "disposition")
MIN_TONE, TONE_WORTH = 10, 5.0
# Shares of texts that speak of a concept; AUROC from which on a direction is that of its concept.
MAX_SHARE, MIN_AUROC = 0.2, 0.8
# A kind of thing has so many narrower ones; a marker of it is a word most of whose senses are below it.
MIN_NARROWER, MAX_NARROWER, MIN_MARKERS = 8, 400, 5
# Texts with the name of a kind itself, and the largest share of its texts that one marker may have:
# else it is the concept of that word, under a stranger's name.
MIN_NAMED, MAX_OF_ONE = 20, 0.4
# How much is added to the nearness of a sense: because the word is its first lemma, or because it is a noun.
FIRST_LEMMA, NOUN = 0.05, 0.03
# Nearness of a definition to the texts with a word from which on it is what they mean.
MIN_NEAR = 0.2
# Cosine from which on two directions are one; letters of a name that is a word.
SAME, MIN_LETTERS = 0.8, 3
# What was built, committed: concepts as JSON lines, directions in half precision.
CONCEPT_FILE, DIRECTION_FILE = (
    Path(__file__).parent / f"vocabulary.{kind}" for kind in ("jsonl", "safetensors")
)
PARTS = {"n": "noun", "v": "verb", "a": "adjective", "s": "adjective"}
TOKEN = re.compile(r"[a-z]+(?:['-][a-z]+)*")
# A word within a sentence, where only names have a capital.
INSIDE = re.compile(r"(?<=[a-z,;] )[A-Za-z][a-z]+")
# Words of definitions of what is not said in company.
RUDE = re.compile(r"\b(obscene|vulgar|offensive|disparag\w+|slur|derogatory|genitals?|slang for)\b")


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

    ``texts`` is the number of texts that speak of it, ``auroc`` how well its direction finds them in texts
    that did not build it.
    """

    name: str
    gloss: str
    synset: str
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
    def tones(self) -> set[str]:
        """The synsets that say how a text is meant."""
        tops = [
            one
            for lemma in TONES
            for one in self.by_lemma[lemma]
            if self.synsets[one]["pos"] == "n" and self.synsets[one]["lemmas"][0] == lemma
        ]
        return set().union(*map(self.narrower, tops))

    def is_tone(self, word: str) -> bool:
        """Return whether a sense of a word says how a text is meant."""
        return not self.tones.isdisjoint(self.by_lemma.get(word, []))

    @cached_property
    def kinds(self) -> dict[str, set[str]]:
        """The synsets with enough narrower ones, and these."""
        sizes = {synset: self.narrower(synset) for synset in self.below if synset in self.synsets}
        return {s: below for s, below in sizes.items() if MIN_NARROWER <= len(below) <= MAX_NARROWER}


class Lemmas:
    """The base forms of words, of those that WordNet has."""

    def __init__(self, wordnet: WordNet) -> None:
        """A form that WordNet lacks has no base."""
        self._known = wordnet.by_lemma.keys()
        self._found: dict[str, str | None] = {}

    def base(self, word: str) -> str | None:
        """Return the singular of a noun and the infinitive of a verb: "played" is "play"."""
        from simplemma import lemmatize

        if word not in self._found:
            forms = (lemmatize(word, lang="en").lower(), word)
            self._found[word] = next((form for form in forms if form in self._known), None)
        return self._found[word]

    def in_text(self, text: str) -> set[str]:
        """Return the base forms in a text, and its phrases of two or three words that WordNet has."""
        tokens = TOKEN.findall(text.lower())
        bases = [self.base(token) for token in tokens]
        found = {base for base in bases if base is not None}
        for size in (2, 3):
            for start in range(len(tokens) - size + 1):
                last = bases[start + size - 1] or tokens[start + size - 1]
                phrase = " ".join([*tokens[start : start + size - 1], last])
                if phrase in self._known:
                    found.add(phrase)
        return found


@dataclass(frozen=True, eq=False)
class Shown:
    """Texts (m) with their embeddings about the mean of their corpus (m, d), and the words of each.

    ``has`` (m, w) says which of ``words`` are in a text; ``proper`` are words that are mostly capitalised.
    """

    corpora: NDArray[np.str_]
    vectors: FloatArray
    has: csr_matrix
    words: list[str]
    proper: frozenset[str]

    def counts(self, corpora: Sequence[str]) -> NDArray[np.int64]:
        """Return the number of texts with each word, by corpus (c, w)."""
        counts = [np.asarray(self.has[self.corpora == corpus].sum(0)).ravel() for corpus in corpora]
        return np.stack(counts).astype(np.int64)

    def weights(self, corpora: Sequence[str]) -> NDArray[np.float64]:
        """Return weights (m,) by which each of these corpora counts alike, and the other texts nothing."""
        _, number, sizes = np.unique(self.corpora, return_inverse=True, return_counts=True)
        return np.isin(self.corpora, corpora) / sizes[number]


def read_texts(wordnet: WordNet, encoder: TextEncoder) -> Shown:
    """Return the texts of all corpora that show what names mean."""
    abstracts = mixture.abstracts(ABSTRACTS)
    texts = [
        (corpus, record.text)
        for corpus in SHOWING
        for record in (abstracts if corpus == "arxiv" else data.read(corpus, "fit"))
    ]
    corpora = np.array([corpus for corpus, _ in texts])
    lemmas = Lemmas(wordnet)
    capitalised, all_forms = Counter[str](), Counter[str]()
    number: dict[str, int] = {}
    columns, starts = [], [0]
    for corpus, text in texts:
        # A definition shows what it is about by its own words, not by the lemmas before the colon.
        found = lemmas.in_text(text.partition(": ")[2] if corpus == "oewn" else text)
        columns += [number.setdefault(word, len(number)) for word in sorted(found)]
        starts.append(len(columns))
        if corpus in CASED:
            inside = [word for word in INSIDE.findall(text) if len(word) >= MIN_LETTERS]
            all_forms.update(lemmas.base(word.lower()) or "" for word in inside)
            capitalised.update(lemmas.base(word.lower()) or "" for word in inside if word[0].isupper())
    has = csr_matrix((np.ones(len(columns), np.float32), columns, starts), shape=(len(texts), len(number)))
    vectors = encoder.encode_document([text for _, text in texts])
    for corpus in SHOWING:
        of_corpus = corpora == corpus
        vectors[of_corpus] -= vectors[of_corpus].mean(0)
    proper = frozenset(word for word, count in capitalised.items() if count > all_forms[word] / 2)
    return Shown(corpora, vectors, has, list(number), proper)


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
        and ENGLISH_STOP_WORDS.isdisjoint(word.split())
        and (senses := _senses(wordnet, word, word in shown.proper))
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
        is_named = named in number and texts[number[named]] >= MIN_NAMED
        if len(markers) < MIN_MARKERS or not is_named or named in ENGLISH_STOP_WORDS:
            continue
        of_markers = texts[list(columns)]
        if of_markers.max() <= MAX_OF_ONE * of_markers.sum():
            found.append(Candidate(named, columns, (synset,), is_kind=True))
    return found


def _senses(wordnet: WordNet, word: str, is_proper: bool) -> tuple[str, ...]:
    """Return the synsets of a noun, a verb or an adjective; of a name's where the word is mostly one.

    What names a person ("John") or is rude has none.
    """
    senses = [one for one in wordnet.by_lemma[word] if wordnet.synsets[one]["pos"] in PARTS]
    if any(RUDE.search(wordnet.synsets[one]["definition"]) for one in senses):
        return ()
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
    texts = np.stack([_context(shown, speaks[:, [i]].indices, builds, rng) for i in range(len(given))])
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
    for one, direction, context in zip(given, directions, contexts, strict=True):
        own = [place[sense] for sense in one.senses]
        near = vectors[own] @ direction / 2
        near += [FIRST_LEMMA * (described[i]["lemmas"][0] == one.name) for i in own]
        near += [NOUN * (described[i]["pos"] == "n") for i in own]
        best = int(near.argmax())
        found.append(one.senses[best])
        is_meant.append(bool(definitions[own[best]] @ context >= MIN_NEAR))
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


def load() -> tuple[list[Concept], FloatArray]:
    """Return the committed concepts and their directions (c, d)."""
    from safetensors.numpy import load_file

    concepts = [Concept(**json.loads(line)) for line in CONCEPT_FILE.read_text().splitlines()]
    return concepts, load_file(DIRECTION_FILE)["directions"].astype(np.float32)


def build() -> tuple[list[Concept], FloatArray]:
    """Build the concepts and their directions from the corpora, which takes up to half an hour."""
    wordnet, encoder = WordNet(), CachedEncoder()
    shown = read_texts(wordnet, encoder)
    return chosen(wordnet, shown, measured(wordnet, shown, candidates(wordnet, shown), encoder))


def save(concepts: Sequence[Concept], directions: FloatArray) -> None:
    """Write what :func:`load` reads."""
    from safetensors.numpy import save_file

    rounded = [replace(one, share=round(one.share, 6), auroc=round(one.auroc, 4)) for one in concepts]
    lines = [json.dumps(asdict(one), ensure_ascii=False) for one in rounded]
    CONCEPT_FILE.write_text("\n".join(lines) + "\n")
    save_file({"directions": directions.astype(np.float16)}, DIRECTION_FILE)


if __name__ == "__main__":
    save(*build())
