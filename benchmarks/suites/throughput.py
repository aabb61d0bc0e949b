"""Throughput: what indexing costs beside the encoder, whose vectors are stored beforehand and come at once.

So it is what a GPU sees from here. Reviews are made of sentences of three corpora, five to eight of each at a
time. The cost of a record is the slope from few to many records, so that what an index costs once (the
lexicon, the terms of up to 4,096 texts) counts where there are more only. Then, on an index of three thousand
of them with the real encoder, what many questions cost together, and the first query after a write.
"""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from benchmarks import data
from benchmarks.corpora import CachedEncoder
from benchmarks.outcome import Figure, Outcome, at_least, at_most
from benchmarks.suites.latency import elapsed_ms
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
MOST_MS, LEAST = {"": 2.5, "one_sentence_": 1.0}, {"": 400, "one_sentence_": 1_500}
# The records that are asked, the questions that are asked at once, and phrases that are no concept.
ASKED, QUESTIONS = 3_000, 250
PHRASES = (
    "a slow moving plot", "it arrived damaged", "stunning visuals but no story", "works with my old phone",
    "refused to refund me", "loud fan noise", "bad acting by the lead", "too expensive for what it is",
)  # fmt: skip


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
        if not all(text in self._row for text in texts):  # what is written between two queries
            return super().encode_document(texts)
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
        ("", reviews, len(reviews) // 4),
        ("one_sentence_", single, len(single) // 6),
    ):
        (ms_few, s_few), (ms, s) = (cost(own, encoder) for own in (texts[:few], texts))
        (_, s_few_off), (_, s_off) = (cost(own, encoder, "off") for own in (texts[:few], texts))
        count = len(texts) - few
        outcome.figures.update({
            f"{name}cpu_ms_per_record": at_most((ms - ms_few) / count, MOST_MS[name], "ms", count),
            f"{name}records_per_s": at_least(count / (s - s_few), LEAST[name], "records/s", count),
            f"{name}whole_records_per_s": Figure(len(texts) / s, "records/s", n=len(texts)),
            f"{name}without_sentences_per_s": Figure(count / (s_off - s_few_off), "records/s", n=count),
        })  # fmt: skip
    sentences = sum(len(spans_in(text)) for text in reviews) / len(reviews)
    per_s = sentences * outcome.figures["records_per_s"].value
    outcome.figures["sentences_per_s"] = Figure(per_s, "sentences/s")
    outcome.figures.update(asked_figures(reviews[: 300 if quick else ASKED], encoder))
    return outcome


def asked_figures(texts: Sequence[str], encoder: Stored) -> dict[str, Figure]:
    """Return the time of many questions over that of one by one, and of first queries over later ones."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "asked.idx")
        with FeatureIndex.create(path, encoder=encoder) as index:
            index.upsert([Record(str(n), text, {"half": n % 2}) for n, text in enumerate(texts)])
        with FeatureIndex.open(path) as index:
            questions = [record.text[:200] for record in data.read("nq_open", limit=2 * QUESTIONS + 50)]
            index.search_many(questions[2 * QUESTIONS :])
            together = elapsed_ms(lambda: index.search_many(questions[:QUESTIONS]))
            alone = sum(elapsed_ms(lambda: index.search(one)) for one in questions[QUESTIONS:][:QUESTIONS])  # noqa: B023
            ratios = {name: after_write(index, query) for name, query in queries(index).items()}
    named = {f"first_{name}_after_write": Figure(ratio, "ratio") for name, ratio in ratios.items()}
    return {
        "search_many_over_loop": at_most(together / alone, 1 / 3, "ratio", QUESTIONS),
        "first_query_after_write": at_most(max(ratios.values()), 1.5, "ratio, the worst", len(ratios)),
        **named,
    }


def queries(index: FeatureIndex) -> dict[str, Callable[[], object]]:
    """Return a query of each kind; each phrase is another one."""
    phrases = iter(PHRASES)
    return {
        "dense": lambda: index.search("a film about war"),
        "filtered": lambda: index.search("a film about war", where='"price"'),
        "steered": lambda: index.search("a film about war", steer="+price:0.5"),
        "property": lambda: index.search(property="the reviewer regrets buying it"),
        "phrase": lambda: index.count(f'"{next(phrases)}"'),
        "diff": lambda: index.diff("metadata.half = 0", "metadata.half = 1"),
    }


def after_write(index: FeatureIndex, query: Callable[[], object]) -> float:
    """Return the time of a query after a write over that of a later one, the smallest of two."""
    query()
    later = min(elapsed_ms(query) for _ in range(2))
    found = []
    for number in range(2):
        index.upsert([Record(f"new {number}", f"The battery died after {number + 2} days.", {"half": 0})])
        first = elapsed_ms(query)
        found.append(first / min(later, elapsed_ms(query)))
    return min(found)


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
