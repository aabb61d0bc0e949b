"""What first screens show: names, each with the sentence that proves it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from benchmarks import data
from benchmarks.data import has_value
from benchmarks.evidence.pairs import reviews
from saeindex import FeatureIndex, Record

if TYPE_CHECKING:
    from benchmarks.corpora import CachedEncoder
    from saeindex.analysis.diff.results import Finding

SEED = 0
RECORDS, LEAST, NAMES = 1_500, 60, 5
# Corpora and the field by whose values groups are compared; three of them are in no fitting.
FIELDS = {
    "us_speeches": "decade", "agnews": "topic", "product_reviews": "product",
    "alpaca_eval": "instruction_set", "medquad": "question_type",
    "masc_registers": "register", "stackoverflow_titles": "tag",
    "clinc150": "domain", "scicite": "citation_intent", "topical_chat": "sentiment",
    "arxiv_heldout": "primary_cat", "goemotions": "ekman",
}  # fmt: skip
# Comparisons and choices of each corpus, searches, and cards.
COMPARED, CHOSEN, SEARCHED, CARDS = 2, 2, 2, 2
OPTIONS = 5
CLUSTERED = {"product_reviews": 4, "agnews": 4, "us_speeches": 4}


class Shown(NamedTuple):
    """A name as it is shown, what proves it, and where: a difference, a search, a cluster or a card."""

    corpus: str
    where: str
    name: str
    sentence: str


class Compared(NamedTuple):
    """Two values of a field, and the first names of each in a comparison."""

    corpus: str
    values: tuple[str, str]
    names: tuple[tuple[str, ...], tuple[str, ...]]
    unnamed: float


class Choice(NamedTuple):
    """A value against all others: its first names, and values to choose among; ``answer`` is a place."""

    corpus: str
    values: tuple[str, ...]
    answer: int
    names: tuple[str, ...]


def records_of(corpus: str) -> list[Record]:
    """Return records of the `test` part at random; sentences of a review are joined again."""
    found = list(data.read(corpus, "test"))
    if corpus == "product_reviews":
        metadata = {one.id: one.metadata for one in data.read(corpus)}
        found = [Record(name, text, metadata[name]) for name, text in reviews("test")]
    order = np.random.default_rng(SEED).permutation(len(found)).tolist()
    return [found[i] for i in order[:RECORDS]]


@contextmanager
def indexed(corpus: str, encoder: CachedEncoder) -> Iterator[FeatureIndex]:
    """Yield an index of the records of a corpus."""
    with (
        tempfile.TemporaryDirectory() as folder,
        FeatureIndex.create(Path(folder, "screens.idx"), encoder=encoder) as index,
    ):
        index.upsert(records_of(corpus))
        yield index


def values_of(corpus: str, records: list[Record]) -> list[str]:
    """Return the values of the corpus's field that enough records have, and enough lack."""
    field = FIELDS[corpus]
    values = {
        value
        for one in records
        for value in (one.metadata[field] if isinstance(one.metadata[field], list) else [one.metadata[field]])
    }
    counts = {value: sum(has_value(one.metadata, field, value) for one in records) for value in values}
    return sorted(
        (value for value, count in counts.items() if LEAST <= count <= len(records) - LEAST), key=str
    )


def names_of(findings: list[Finding], group: str) -> tuple[str, ...]:
    """Return the first names of a group."""
    return tuple(one.label for one in findings if one.group == group)[:NAMES]


def asked_of(corpus: str, index: FeatureIndex) -> Iterator[Shown | Compared | Choice]:
    """Yield everything that is asked about an index of a corpus."""
    rng = np.random.default_rng([SEED, *corpus.encode()])
    records = records_of(corpus)
    values = values_of(corpus, records)
    yield from comparisons(corpus, index, values, rng)
    yield from choices(corpus, index, values, rng)
    yield from searches(corpus, index, records, rng)
    if corpus in CLUSTERED:
        texts = [str(value) for value in values[: CLUSTERED[corpus]]]
        for cluster in index.cluster(f"{FIELDS[corpus]}: {', '.join(texts)}").clusters:
            for one in cluster.concepts[:3]:
                yield Shown(corpus, "cluster", one.label, strongest(index, one.feature))
    counts = np.asarray(index.state.snapshot().at("present").sum(0)).ravel()
    common = [i for i in np.argsort(-counts)[:400].tolist() if index.space.is_named[i] and counts[i] >= 3]
    for i in rng.permutation(len(common))[:CARDS].tolist():
        yield Shown(corpus, "card", index.space.labels[common[i]].text, strongest(index, common[i]))


def comparisons(
    corpus: str, index: FeatureIndex, values: list[str], rng: np.random.Generator
) -> Iterator[Shown | Compared]:
    """Yield comparisons of two values, and their first names with an example."""
    pairs = [(a, b) for i, a in enumerate(values) for b in values[i + 1 :]]
    for i in rng.permutation(len(pairs))[:COMPARED].tolist():
        first, second = (condition(FIELDS[corpus], value) for value in pairs[i])
        found = difference(index, first, f"{second} AND NOT {first}")
        every = difference(index, first, f"{second} AND NOT {first}", unnamed=True)
        named = sum(bool(index.space.is_named[int(one.key)]) for one in every)
        names = names_of(found, "a"), names_of(found, "b")
        yield Compared(corpus, (str(pairs[i][0]), str(pairs[i][1])), names, 1 - named / max(1, len(every)))
        for group in ("a", "b"):
            for one in [one for one in found if one.group == group][:NAMES]:
                for example in one.examples.get(group, ())[:1]:
                    yield Shown(corpus, "difference", one.label, example.text)


def choices(
    corpus: str, index: FeatureIndex, values: list[str], rng: np.random.Generator
) -> Iterator[Choice]:
    """Yield values against all others, with four other values of the field."""
    for i in rng.permutation(len(values))[:CHOSEN].tolist():
        others = [value for value in values if value != values[i]]
        if len(others) < OPTIONS - 1:
            continue
        drawn = [values[i], *(others[j] for j in rng.permutation(len(others))[: OPTIONS - 1].tolist())]
        order = rng.permutation(OPTIONS).tolist()
        own = condition(FIELDS[corpus], values[i])
        if first := names_of(difference(index, own, f"NOT {own}"), "a"):
            yield Choice(corpus, tuple(str(drawn[j]) for j in order), order.index(0) + 1, first)


def searches(
    corpus: str, index: FeatureIndex, records: list[Record], rng: np.random.Generator
) -> Iterator[Shown]:
    """Yield what hits of the first words of a record, but that record, are shown to speak of."""
    for i in rng.permutation(len(records))[:SEARCHED].tolist():
        query = " ".join(records[i].text.split()[:12])
        for hit in index.search(query, limit=3)[1:]:
            for proof in hit.evidence[:3]:
                yield Shown(corpus, "search", proof.label, proof.sentence)


def strongest(index: FeatureIndex, feature: int) -> str:
    """Return the first sentence on the card of a feature."""
    first = next(iter(index.concepts.card(feature, 1).strongest), None)
    return "" if first is None or first.proof is None else first.proof.sentence


def condition(field: str, value: Any) -> str:
    """Return the condition that a field has a value."""
    return f"metadata.{field} = {value if isinstance(value, int) else chr(34) + str(value) + chr(34)}"


def difference(index: FeatureIndex, a: str, b: str, unnamed: bool = False) -> list[Finding]:
    """Return the findings among concepts, as they are listed."""
    found = index.diff(a, b, families=("concepts",), confirm=False, unnamed=unnamed)
    return list(found.findings["concepts"])
