"""Collections where a description alone did worse than plain search; constants are chosen on them, too.

Reviews of several sentences by their polarity, questions, and domains with many intents: of ``choose`` parts.
"""

from __future__ import annotations

import re
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from benchmarks import data
from benchmarks.corpora import CachedEncoder, Corpus, indexed
from benchmarks.evidence.pairs import reviews
from saeindex import FeatureSpace, Record
from saeindex.config import DEFAULT_SPACE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

POLARITY = {
    "a satisfied customer": "positive",
    "a positive review": "positive",
    "the customer complains": "negative",
    "a disappointed buyer": "negative",
}
ASKING = re.compile(
    r"(what|how|when|where|who|why|which|can|could|do|does|is|are|will|should|did)\b", re.IGNORECASE
)
DOMAINS = ("banking", "travel", "kitchen_and_dining", "home", "work")
# The least number of records of an intent.
LEAST = 5


@contextmanager
def hard_collections(quick: bool) -> Iterator[list[tuple[str, Corpus]]]:
    """Yield the collections, each with the corpus that it is of, for the time of the context.

    None if ``quick``.
    """
    space, encoder, found = FeatureSpace.load(DEFAULT_SPACE), CachedEncoder(), list[tuple[str, Corpus]]()
    with TemporaryDirectory() as folder:
        try:
            for source, name, records, queries in () if quick else collections():
                path = Path(folder) / f"{name}.idx"
                found.append((source, indexed(path, space, encoder, name, records, queries)))
            yield found
        finally:
            for _, corpus in found:
                corpus.index.close()


def collections() -> Iterator[tuple[str, str, Sequence[Record], Sequence[dict[str, Any]]]]:
    """Yield the corpus that each collection is of, its name, its records and their descriptions."""
    intents = list(data.read("clinc150", "choose"))
    asking = [record for record in intents if ASKING.match(record.text)]
    yield "product_reviews", "reviews", *by_polarity()
    yield "clinc150", "questions", asking, data.properties()["clinc150"]
    for domain in DOMAINS:
        own = [record for record in intents if record.metadata["domain"] == domain]
        counts = Counter(record.metadata["intent"] for record in own)
        queries = [
            asked("intent", one, one.replace("_", " "), "topic") for one, n in counts.items() if n >= LEAST
        ]
        yield "clinc150", domain, own, queries


def by_polarity() -> tuple[list[Record], list[dict[str, Any]]]:
    """Return reviews of which more sentences praise than complain, or fewer, and descriptions of both."""
    parts = [one for part in ("fit", "choose", "test") for one in data.read("product_reviews", part)]
    polarity = {one.text.strip(): one.metadata.get("polarity") for one in parts}
    found = []
    for first, text in reviews("choose"):
        counts = Counter(of for sentence, of in polarity.items() if sentence in text)
        if counts["positive"] != counts["negative"]:
            more = "positive" if counts["positive"] > counts["negative"] else "negative"
            found.append(Record(first, text, {"polarity": more}))
    return found, [asked("polarity", value, text, "affect") for text, value in POLARITY.items()]


def asked(field: str, value: str, text: str, kind: str) -> dict[str, Any]:
    """Return a query as ``properties.jsonl`` has them."""
    return {"corpus": "", "field": field, "value": value, "query": text, "kind": kind}
