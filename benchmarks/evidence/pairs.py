"""Pairs of a sentence and a concept that readers judged: where each sentence is, and what they said."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import data

if TYPE_CHECKING:
    from numpy.typing import NDArray

READING = Path(__file__).with_name("reading")
# What a reader says: the sentence speaks of the concept clearly, hints at it, or does not.
CLEAR, WEAK, WRONG = 2, 1, 0
# The most sentences of a review that follow each other, and the gap between the numbers of two.
JOINED, GAP = 6, 2
EXAMPLES = "oewn_examples"


@dataclass(frozen=True, slots=True)
class ReadPair:
    """A sentence by corpus, record and place, the name of a concept, and a reader's ``answer``.

    The ``place`` is where it begins and ends in the record's text; of an example of a synset its number.
    """

    corpus: str
    record: str
    place: tuple[int, int]
    concept: str
    answer: int


@dataclass(frozen=True, eq=False)
class Read:
    """Pairs (p,) with their different ``sentences`` (s): the row of each, its concept, and the answer."""

    sentences: list[str]
    rows: NDArray[np.int64]
    concepts: NDArray[np.int64]
    answers: NDArray[np.int64]


def read_pairs(file: str) -> list[ReadPair]:
    """Return the pairs of ``fit``, of ``choose``, or of ``records``: what is stored of those of `choose`."""
    lines = (READING / f"{file}.jsonl").read_text("utf-8").splitlines()
    return [
        ReadPair(
            corpus, record, (place, 0) if isinstance(place, int) else (place[0], place[1]), concept, answer
        )
        for corpus, record, place, answers in map(json.loads, lines)
        for concept, answer in answers.items()
    ]


def located(pairs: Sequence[ReadPair], part: str, names: Sequence[str]) -> Read:
    """Return pairs with the texts of their sentences; those of concepts that are gone are left out."""
    number = {name: place for place, name in enumerate(names)}
    pairs = [pair for pair in pairs if pair.concept in number]
    place: dict[tuple[str, str, tuple[int, int]], int] = {}
    rows = [place.setdefault((one.corpus, one.record, one.place), len(place)) for one in pairs]
    return Read(
        [sentence_at(part, *one) for one in place],
        np.array(rows),
        np.array([number[pair.concept] for pair in pairs]),
        np.array([pair.answer for pair in pairs]),
    )


def sentence_at(part: str, corpus: str, record: str, place: tuple[int, int]) -> str:
    """Return a sentence that was read."""
    if corpus == EXAMPLES:
        return str(examples(part)[record][place[0]])
    return texts_of(corpus, part)[record][slice(*place)]


@cache
def examples(part: str) -> dict[str, list[str]]:
    """Return the examples of each synset."""
    return {one.id: list(one.metadata["examples"] or ()) for one in data.read("oewn", part)}


@cache
def texts_of(corpus: str, part: str) -> dict[str, str]:
    """Return the text of each record of a corpus."""
    if corpus == "product_reviews":
        return dict(reviews(part))
    return {one.id: one.text for one in data.read(corpus, part)}


def reviews(part: str) -> Iterator[tuple[str, str]]:
    """Yield reviews, of whose consecutive sentences the corpus's records are, with the id of the first.

    The corpus was parted by sentence; reviews are parted anew, ``choose`` a third of them and ``test``.
    """
    records = sorted(
        (one for each in ("fit", "choose", "test") for one in data.read("product_reviews", each)),
        key=lambda one: (one.id.rpartition("-")[0], int(one.id.rpartition("-")[2])),
    )
    review: list[str] = []
    first, before = "", ("", 0)
    for one in [*records, None]:
        product, _, number = ("", "", 0) if one is None else one.id.rpartition("-")
        follows = product == before[0] and int(number) <= before[1] + GAP and len(review) < JOINED
        if review and not follows:
            if ("choose" if zlib.crc32(first.encode()) % 3 == 0 else "test") == part:
                yield first, " ".join(review)
            review = []
        if one is not None:
            first, before = (first if review else one.id), (product, int(number))
            review.append(one.text.strip())
