"""Collections where a description alone did worse than plain search; constants are chosen on them, too.

Reviews of several sentences by their polarity, questions, and domains with many intents: of ``choose`` parts.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import data
from benchmarks.corpora import CachedEncoder, Corpus, described
from benchmarks.evidence.pairs import reviews
from saeindex import FeatureIndex, FeatureSpace, Record
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


def hard_collections(folder: Path) -> Iterator[tuple[str, Corpus]]:
    """Yield the corpus that each collection is of, and the collection."""
    intents = list(data.read("clinc150", "choose"))
    asking = [record for record in intents if ASKING.match(record.text)]
    yield "product_reviews", opened(folder, "reviews", *by_polarity())
    yield "clinc150", opened(folder, "questions", asking, data.properties()["clinc150"])
    for domain in DOMAINS:
        own = [record for record in intents if record.metadata["domain"] == domain]
        counts = Counter(record.metadata["intent"] for record in own)
        queries = [
            asked("intent", one, one.replace("_", " "), "topic") for one, n in counts.items() if n >= LEAST
        ]
        yield "clinc150", opened(folder, domain, own, queries)


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


def opened(folder: Path, name: str, records: Sequence[Record], queries: Sequence[dict[str, Any]]) -> Corpus:
    """Index records."""
    space, encoder = FeatureSpace.load(DEFAULT_SPACE), CachedEncoder()
    index = FeatureIndex.create(folder / f"{name}.idx", space, encoder=encoder)
    index.upsert(records)
    return described(name, index, records, queries)
