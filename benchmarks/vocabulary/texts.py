"""The texts that show what names mean, and the words of each."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_matrix

from benchmarks import data, mixture
from benchmarks.vocabulary.wordnet import Lemmas, WordNet

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.protocols import TextEncoder
    from saeindex.types import FloatArray

# Corpora whose words count as everyday ones, and as special ones; together they show what names mean.
EVERYDAY = ("wikisplit", "topical_chat", "sgd", "gsm8k", "nq_open", "goemotions", "sentence_polarity",
            "clinc150", "tweeteval_stance", "subjectivity", "nlupp")  # fmt: skip
CASED = ("wikisplit", "topical_chat", "sgd", "gsm8k", "masc_registers")
SPECIAL = ("oewn", "arxiv", "medquad", "stackoverflow_titles", "scicite", "masc_registers")
SHOWING = (*EVERYDAY, *SPECIAL)
ABSTRACTS = 20_000
# The most texts of a corpus that are averaged; letters of a name that is a word.
MAX_TEXTS, MIN_LETTERS = 300, 3
# A word within a sentence, where only names have a capital.
INSIDE = re.compile(r"(?<=[a-z,;] )[A-Za-z][a-z]+")


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
    proper = proper_words(lemmas, (text for corpus, text in texts if corpus in CASED))
    return Shown(corpora, vectors, has, list(number), proper)


def proper_words(lemmas: Lemmas, texts: Iterable[str]) -> frozenset[str]:
    """Return the base forms of words that mostly have a capital within sentences."""
    capitalised, all_forms = Counter[str](), Counter[str]()
    for text in texts:
        inside = [word for word in INSIDE.findall(text) if len(word) >= MIN_LETTERS]
        all_forms.update(lemmas.base(word.lower()) or "" for word in inside)
        capitalised.update(lemmas.base(word.lower()) or "" for word in inside if word[0].isupper())
    return frozenset(word for word, count in capitalised.items() if count > all_forms[word] / 2)


def context(
    shown: Shown, speaking: NDArray[np.integer], builds: NDArray[np.bool_], rng: np.random.Generator
) -> FloatArray:
    """Return the mean of the texts that speak of a concept, each corpus with the root of its number."""
    speaking = rng.permutation(speaking[builds[speaking]])
    total = np.zeros(shown.vectors.shape[1])
    for corpus in np.unique(shown.corpora[speaking]):
        own = speaking[shown.corpora[speaking] == corpus][:MAX_TEXTS]
        total += shown.vectors[own].mean(0) * len(own) ** 0.5
    return total.astype(np.float32)
