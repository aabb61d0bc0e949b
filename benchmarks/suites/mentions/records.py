"""Test records of several sentences, with their evidence, and the words that are withheld from lists."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import data
from benchmarks.evidence.pairs import reviews
from saeindex.features.evidence import LEAST, Evidence, Mention
from saeindex.language.speech import sentence_spans

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.features.lexicon import Lexicon
    from saeindex.protocols import TextEncoder
    from saeindex.types import FloatArray

# Corpora that no part of the space was fitted on, and one whose domain was.
CORPORA = ("us_speeches", "agnews", "alpaca_eval", "product_reviews", "medquad")
RECORDS, SEED = 300, 2
MOST_SENTENCES = 12
PRESENT, TYPICAL, STRONG, POSSIBLE = LEAST


@dataclass(frozen=True, eq=False)
class TestRecords:
    """Records of one corpus: ids, texts, their sentences (s) with vectors (s, d), and the record of each."""

    corpus: str
    ids: list[str]
    texts: list[str]
    sentences: list[str]
    vectors: FloatArray
    whole: FloatArray
    ends: list[int]

    @classmethod
    def read(cls, corpus: str, encoder: TextEncoder, count: int = RECORDS) -> TestRecords:
        """Read records of the `test` part, at random, of at most twelve sentences."""
        found = (
            list(reviews("test"))
            if corpus == "product_reviews"
            else [(one.id, one.text) for one in data.read(corpus, "test")]
        )
        order = np.random.default_rng(SEED).permutation(len(found)).tolist()
        ids, texts, sentences, ends = list[str](), list[str](), list[str](), [0]
        for record, text in (found[i] for i in order):
            spans = sentence_spans(text)
            if not 1 < len(spans) <= MOST_SENTENCES:
                continue
            ids.append(record)
            texts.append(text)
            sentences += [text[start:end] for start, end in spans]
            ends.append(len(sentences))
            if len(ids) == count:
                break
        vectors, whole = encoder.encode_document(sentences), encoder.encode_document(texts)
        return cls(corpus, ids, texts, sentences, vectors, whole, ends)

    def mentions(self, evidence: Evidence) -> list[list[Mention]]:
        """Return the evidence of each record."""
        return list(evidence.of_texts(self.sentences, self.vectors, self.ends))

    @cached_property
    def owners(self) -> NDArray[np.int64]:
        """The record of each sentence."""
        return np.repeat(np.arange(len(self.ids)), np.diff(self.ends))


def uses(records: TestRecords, lexicon: Lexicon, chosen: NDArray[np.bool_]) -> set[tuple[int, int]]:
    """Return the sentence and the concept's row of each use of a word of the chosen entries (e,)."""
    found = set[tuple[int, int]]()
    for row, sentence in enumerate(records.sentences):
        _, entries = lexicon.entries([sentence])
        found |= {(row, concept) for concept in lexicon.concepts[entries[chosen[entries]]].tolist()}
    return found
