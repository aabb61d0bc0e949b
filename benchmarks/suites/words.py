"""Words that stand in one or two texts: whether a fused search finds what is written, and at what cost.

Of each corpus up to 150 *known* words of a kind that has fifty: codes of letters and digits, rare words in
small letters, surnames (one capitalised word), and names of two, that one or two texts have by their stored
words. Each is asked for alone, as "what is X?", and within a long question. A search finds a word
if one of its texts is among ten hits. Besides: titles of abstracts, LIMIT's questions, and quotes: pieces of
texts with their signs, for which a plain search of characters says which texts hold them. The weights were
chosen on the `choose` parts, which a quick run looks at.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from qdrant_client import QdrantClient

from benchmarks import data
from benchmarks.corpora import CachedEncoder
from benchmarks.outcome import Figure, Outcome, at_least, at_most
from saeindex import FeatureIndex, Record
from saeindex.indexing.words import words_in, words_of
from saeindex.language.parser import parse_where
from saeindex.types import Using

SEED, RECORDS, QUICK = 0, 2_400, 600
MOST, LEAST, RARE, HITS, QUOTES = 150, 50, 2, 10, 200
# Long questions by corpus.
CORPORA = {
    "medquad": "tell me about treatment with {} in children",
    "arxiv_heldout": "which papers study {} and compare it with earlier methods",
    "us_speeches": "what did the president say about {} to the congress and the people",
    "product_reviews": "how well does it work with {} and is it worth the money",
    "stackoverflow_titles": "how do I use {} to read data from a file in my program",
}
USING: tuple[Using, ...] = ("fused", "dense", "sentences", "words")
WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")
NAME = re.compile(r"(?<=[a-z,] )([A-Z][a-z]{3,})(?: ([A-Z][a-z]{3,}))?")
ORDINAL = re.compile(r"\d+(st|nd|rd|th|s)", re.IGNORECASE)


class Known(NamedTuple):
    """A word of one or two texts: its kind, and the ids of these."""

    text: str
    kind: str
    ids: frozenset[str]


def run(quick: bool) -> Outcome:
    """Measure; ``quick`` takes 600 records of the `choose` parts, and titles and LIMIT not at all."""
    outcome = Outcome("words", quick, SEED)
    found: dict[str, dict[str, float]] = {}
    wrong = Counter[str]()
    for corpus, long in CORPORA.items():
        part = None if corpus == "arxiv_heldout" else "choose" if quick else "test"
        records = list(data.read(corpus, part, QUICK if quick else RECORDS))
        known = known_words(records)
        with indexed(records) as index:
            for frame, text in {"alone": "{}", "what_is": "what is {}?", "long": long}.items():
                for kind, shares in shares_of(index, known, text).items():
                    found[f"{corpus}: {kind}, {frame}"] = shares
            wrong["edge"] += misquoted(index, records)
            if corpus == "arxiv_heldout" and not quick:
                titles = [(str(one.metadata["title"]), frozenset([one.id])) for one in records]
                add_ranked(outcome, "titles", index, titles)
        few = records[:QUICK]
        with FeatureIndex.create(corpus, client=QdrantClient(":memory:"), encoder=CachedEncoder()) as index:
            index.upsert(few)
            wrong["local"] += misquoted(index, few)
    for engine, count in wrong.items():
        outcome.figures[f"quotes_wrong_{engine}"] = at_most(count, 0, "phrases", QUOTES * len(CORPORA))
    ratios = {name: shares["fused"] / shares["words"] for name, shares in found.items() if shares["words"]}
    for frames, name, goal in ((("alone", "what_is"), "known", 0.97), (("long",), "known_in_long", 0.9)):
        own = {one: ratio for one, ratio in ratios.items() if one.endswith(frames)}
        outcome.figures[f"{name}_over_words"] = at_least(min(own.values()), goal, "worst kind", len(own))
        outcome.figures[f"{name}_over_words_mean"] = Figure(
            float(np.mean([*own.values()])), "mean", n=len(own)
        )
    outcome.tables["known"] = [{"known words": name, **shares} for name, shares in found.items()]
    if not quick:
        every = list(data.read("limit_small"))
        with indexed([one for one in every if one.metadata["kind"] == "document"]) as index:
            asked = [one for one in every if one.metadata["kind"] == "query"]
            add_ranked(outcome, "limit", index, [(q.text, frozenset(q.metadata["relevant"])) for q in asked])
    return outcome


@contextmanager
def indexed(records: Sequence[Record]) -> Iterator[FeatureIndex]:
    """Yield an index of records, in a folder that goes with it."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "words.idx")
        with FeatureIndex.create(path, encoder=CachedEncoder()) as index:
            index.upsert(records)
            yield index


def known_words(records: Sequence[Record]) -> list[Known]:
    """Return known words of each kind of which there are enough."""
    having: dict[int, set[str]] = defaultdict(set)
    for record, words in zip(records, words_of([one.text for one in records], "english"), strict=True):
        for word in words.indices.tolist():
            having[word].add(record.id)

    def ids(text: str) -> frozenset[str]:
        """Return the texts that have all words of a text, and what is joined by marks as a whole."""
        return frozenset.intersection(*(frozenset(having[one]) for one in words_in(text, "english")))

    kinds: dict[str, dict[str, Known]] = defaultdict(dict)
    for record in records:
        for kind, text in candidates(record.text):
            if words_in(text, "english") and 0 < len(own := ids(text)) <= RARE:
                kinds[kind][text] = Known(text, kind, own)
    rng = np.random.default_rng(SEED)
    enough = {kind: sorted(found.values()) for kind, found in sorted(kinds.items()) if len(found) >= LEAST}
    return [found[i] for found in enough.values() for i in rng.permutation(len(found))[:MOST]]


def candidates(text: str) -> Iterator[tuple[str, str]]:
    """Yield the words of a text that may be known ones, with their kinds."""
    for word in WORD.findall(text):
        if re.search(r"\d", word) and re.search(r"[A-Za-z]", word) and not ORDINAL.fullmatch(word):
            yield "code", word
        elif re.fullmatch("[a-z]{5,}", word):
            yield "rare word", word
    for first, second in NAME.findall(text):
        yield ("name of two words", f"{first} {second}") if second else ("surname", first)


def misquoted(index: FeatureIndex, records: Sequence[Record]) -> int:
    """Return of how many pieces of texts the hits are not the texts that hold them."""
    rng, texts = np.random.default_rng(SEED), {one.id: folded(one.text) for one in records}
    wrong = 0
    for row in rng.integers(len(records), size=QUOTES).tolist():
        words = records[row].text.split()
        start = int(rng.integers(len(words)))
        piece = " ".join(words[start : start + int(rng.integers(1, 7))])
        if any(map(str.isalnum, piece)) and not piece.endswith("*"):
            said = parse_where({"kind": "says", "text": piece})
            found = {hit.id for hit in index.search(where=said, limit=len(records))}
            wrong += found != {one for one, text in texts.items() if holds(folded(piece), text)}
    return wrong


def folded(text: str) -> str:
    """Return a text without what a quote need not match: case, breaks of lines, kinds of quotation marks."""
    text = unicodedata.normalize("NFC", text).lower().translate(str.maketrans("“”„‘’‚", "\"\"\"'''"))
    return " ".join(text.split())


def holds(piece: str, text: str) -> bool:
    """Return whether a text has a piece that begins and ends where words do."""
    at = text.find(piece)
    while at >= 0:
        before, after = text[at - 1 : at], text[at + len(piece) : at + len(piece) + 1]
        if not (piece[0].isalnum() and before.isalnum()) and not (piece[-1].isalnum() and after.isalnum()):
            return True
        at = text.find(piece, at + 1)
    return False


def shares_of(index: FeatureIndex, known: Sequence[Known], frame: str) -> dict[str, dict[str, float]]:
    """Return the share of known words whose text is among ten hits, by kind and by what ranks."""
    index.state.encode.warm([frame.format(one.text) for one in known])
    found: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for one in known:
        for using in USING:
            hits = index.search(frame.format(one.text), using=using, limit=HITS)
            found[one.kind][using].append(any(hit.id in one.ids for hit in hits))
    return {kind: {name: float(np.mean(own)) for name, own in by.items()} for kind, by in found.items()}


def add_ranked(
    outcome: Outcome, name: str, index: FeatureIndex, asked: Sequence[tuple[str, frozenset[str]]]
) -> None:
    """Add nDCG@10 by what ranks, and the share of fused searches of the best of the others."""
    gains = 1 / np.log2(np.arange(2, HITS + 2))
    index.state.encode.warm([text for text, _ in asked])
    found = dict[str, float]()
    for using in USING:
        values = []
        for text, relevant in asked:
            hits = index.search(text, using=using, limit=HITS)
            reached = sum(gains[rank] for rank, hit in enumerate(hits) if hit.id in relevant)
            values.append(reached / gains[: len(relevant)].sum())
        found[using] = float(np.mean(values))
        outcome.figures[f"ndcg10_{name}_{using}"] = Figure(found[using], "nDCG", n=len(asked))
    best = max(value for using, value in found.items() if using != "fused")
    outcome.figures[f"{name}_over_best"] = at_least(found["fused"] / best, 0.99, "of the best", len(asked))
