"""Throughput: what indexing costs beside the encoder, whose vectors are stored beforehand and come at once.

So it is what a GPU sees from here. Reviews are made of sentences of three corpora, five to eight of each at a
time. The cost of a record is the slope from few to many records, so that what an index costs once (the
lexicon, the terms of up to 4,096 texts) counts where there are more only.
"""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from benchmarks import data
from benchmarks.corpora import CachedEncoder
from benchmarks.outcome import Figure, Outcome, at_least, at_most
from saeindex import FeatureIndex, Record
from saeindex.config import SentenceStorage
from saeindex.encoders.sentence_transformers import SentenceTransformerEncoder
from saeindex.indexing.sentences import sentences_in, spans_in
from saeindex.language.speech import readable

if TYPE_CHECKING:
    from saeindex.types import FloatArray

REVIEWS, SINGLE = (
    ("product_reviews", "sentence_polarity", "subjectivity"),
    ("clinc150", "stackoverflow_titles"),
)
# Sentences that are joined, and those that a review has then.
JOINED, HAS = (5, 6, 7), range(5, 9)
# The goals: milliseconds of processor for a record, and records a second on two cores.
MOST_MS, LEAST = {"reviews": 2.5, "one_sentence": 1.0}, {"reviews": 400, "one_sentence": 1_500}


class Stored(CachedEncoder):
    """The default encoder, of which the vectors of some texts are known; phrases and queries are encoded."""

    def __init__(self, texts: Sequence[str]) -> None:
        """Encode all texts and their sentences now."""
        super().__init__()
        parts = (part for text in texts for part in (readable(text), *sentences_in(text, spans_in(text))))
        known = list(dict.fromkeys(parts))
        self._vectors, self._row = (
            super().encode_document(known),
            {text: row for row, text in enumerate(known)},
        )
        bare = SentenceTransformerEncoder()
        self.count_tokens, self.encode_phrases = bare.count_tokens, bare.encode_phrases

    def encode_document(self, texts: Sequence[str]) -> FloatArray:
        """Return unit vectors (n, d)."""
        found: FloatArray = self._vectors[[self._row[text] for text in texts]]
        return found

    def encode_query(self, texts: Sequence[str]) -> FloatArray:
        """Return unit vectors (n, d)."""
        return self.encode_phrases(texts)


def run(quick: bool) -> Outcome:
    """Measure; ``quick`` indexes a quarter of the records, of which only the last figures mean something.

    PyTorch computes in one thread: it has little to compute, and waiting threads count as processor time.
    """
    torch.set_num_threads(1)
    outcome = Outcome("throughput", quick)
    reviews, single = list(joined()), list(singles())
    if quick:
        reviews, single = reviews[:1_000], single[:3_000]
    encoder = Stored([*reviews, *single])
    cost(reviews[:100], encoder)
    for name, texts, few in (
        ("reviews", reviews, len(reviews) // 4),
        ("one_sentence", single, len(single) // 6),
    ):
        (ms_few, s_few), (ms, s) = (cost(own, encoder) for own in (texts[:few], texts))
        (_, s_few_off), (_, s_off) = (cost(own, encoder, "off") for own in (texts[:few], texts))
        count = len(texts) - few
        outcome.figures.update({
            f"{name}_cpu_ms": at_most((ms - ms_few) / count, MOST_MS[name], "ms a record", count),
            f"{name}_per_s": at_least(count / (s - s_few), LEAST[name], "records/s", count),
            f"{name}_whole_per_s": Figure(len(texts) / s, "records/s", n=len(texts)),
            f"{name}_without_sentences_per_s": Figure(count / (s_off - s_few_off), "records/s", n=count),
        })  # fmt: skip
    return outcome


def cost(texts: Sequence[str], encoder: Stored, sentences: SentenceStorage = "stored") -> tuple[float, float]:
    """Return the processor's milliseconds and the seconds of indexing texts in a new index."""
    records = [Record(str(number), text) for number, text in enumerate(texts)]
    with (
        tempfile.TemporaryDirectory() as folder,
        FeatureIndex.create(Path(folder, "new.idx"), encoder=encoder, sentences=sentences) as index,
    ):
        before, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        index.upsert(records)
        seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
    return 1e3 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime), seconds


def joined() -> Iterator[str]:
    """Yield reviews of several sentences, in a random order."""
    found, count = list[str](), 0
    for corpus in REVIEWS:
        texts = [record.text.strip() for record in data.read(corpus)]
        while texts:
            own, texts = texts[: JOINED[count % 3]], texts[JOINED[count % 3] :]
            count += 1
            ended = (one if one[-1:] in ".!?" else f"{one}." for one in own)
            found.append(" ".join(one[:1].upper() + one[1:] for one in ended))
    found = [text for text in found if len(spans_in(text)) in HAS]
    yield from (found[place] for place in np.random.default_rng(0).permutation(len(found)))


def singles() -> Iterator[str]:
    """Yield different texts of one sentence."""
    texts = dict.fromkeys(record.text for corpus in SINGLE for record in data.read(corpus))
    yield from (text for text in texts if len(spans_in(text)) == 1)
