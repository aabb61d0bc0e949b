"""Axes with known values: fields of labelled corpora, with descriptions of their values.

A value is described by the wording of its property query. Values that have none are described here, from
their names alone. Utterances are texts that a record with the value might contain; they were written without
looking at the records.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import data
from benchmarks.data import properties
from benchmarks.mixture import CACHE
from benchmarks.snapshots import as_indexed, encoder
from benchmarks.suites.cluster.axis_texts import OWN, UTTERANCES
from saeindex import FeatureSpace
from saeindex.analysis.cluster.anchored_em import Views
from saeindex.analysis.cluster.axis import Axis, AxisValue
from saeindex.collection.snapshot import sample_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.collection.sample import CollectionSample
    from saeindex.collection.snapshot import Snapshot
    from saeindex.types import Doubles, FloatArray, Record

# Fields, each with another axis of the corpus that is independent of its labels, if there is one.
FIELDS: Mapping[tuple[str, str], str | None] = {
    ("agnews", "topic"): None,
    ("arxiv_heldout", "primary_cat"): None,
    ("clinc150", "domain"): None,
    ("goemotions", "ekman"): None,
    ("goemotions", "emotion"): None,
    ("goemotions", "polarity"): None,
    ("masc_registers", "mode"): "register",
    ("masc_registers", "register"): "mode",
    ("medquad", "question_type"): "source",
    ("nlupp", "domain"): None,
    ("product_reviews", "polarity"): "product",
    ("product_reviews", "product"): "polarity",
    ("scicite", "citation_intent"): None,
    ("sentence_polarity", "sentiment"): None,
    ("stackoverflow_titles", "tag"): None,
    ("subjectivity", "subjectivity"): None,
    ("tweeteval_stance", "stance"): "target",
    ("tweeteval_stance", "target"): "stance",
    ("us_speeches", "kind"): "party",
    ("us_speeches", "party"): "kind",
}
# Single-valued records that a part must have: nlupp's intents are combined, and few occur alone.
MIN_RECORDS = 200
SEED = 0


class Texts:
    """The part of a collection that clustering needs; it encodes each text once for all benchmarks."""

    def __init__(self) -> None:
        """Open the encoder."""
        self.encoder = encoder()

    def encode(self, text: str) -> FloatArray:
        """Return the embedding (d,) of a text."""
        vector: FloatArray = self.encoder.encode_query([text])[0]
        return vector


@dataclass(frozen=True, eq=False)
class Task:
    """Records of a corpus that have exactly one described value of a field, and which one: ``truth`` (m,)."""

    corpus: str
    field: str
    descriptions: Mapping[str, str]
    records: Sequence[Record]
    truth: NDArray[np.int64]
    snapshot: Snapshot

    @property
    def name(self) -> str:
        """Corpus and field."""
        return f"{self.corpus} {self.field}"

    @property
    def has_fixed_wording(self) -> bool:
        """Return whether every description is the wording of a property query."""
        return (self.corpus, self.field) not in OWN

    @property
    def axis(self) -> Axis:
        """The axis by descriptions."""
        return Axis(self.field, tuple(AxisValue(name, (text,)) for name, text in self.descriptions.items()))

    @property
    def with_utterances(self) -> Axis | None:
        """The axis by descriptions and utterances; None where none were written."""
        utterances = UTTERANCES.get((self.corpus, self.field))
        if utterances is None:
            return None
        values = self.descriptions.items()
        return Axis(self.field, tuple(AxisValue(name, (text, *utterances[name])) for name, text in values))

    @property
    def undescribed(self) -> Axis:
        """The axis by the names of its values, without descriptions."""
        return Axis(self.field, tuple(AxisValue(name) for name in self.descriptions))

    @cached_property
    def sample(self) -> CollectionSample:
        """The evidence of the records."""
        return sample_of(self.snapshot, np.arange(len(self.snapshot)), CACHE.folder.parent)

    @cached_property
    def views(self) -> tuple[Views, Doubles]:
        """The views of the records."""
        return Views.of(self.sample.rows)

    @cached_property
    def other(self) -> NDArray[np.int32] | None:
        """The values (m,) of the corpus's other axis, -1 where there is none."""
        field = FIELDS[self.corpus, self.field]
        return None if field is None else self.snapshot.column(f"metadata.{field}").codes

    def draw(self, count: int, number: int) -> NDArray[np.int64]:
        """Return the value (m,) of ``count`` random examples of each value, -1 of other records."""
        rng = np.random.default_rng([SEED, number])
        known = np.full(len(self.truth), -1)
        for value in range(len(self.descriptions)):
            known[rng.permutation(np.flatnonzero(self.truth == value))[:count]] = value
        return known


def tasks(
    part: str, space: FeatureSpace, only: Sequence[str] = (), limit: int | None = None
) -> Iterator[Task]:
    """Yield the tasks of a part, one at a time: corpora without it are left out."""
    for corpus, field in FIELDS:
        if only and corpus not in only:
            continue
        task = task_of(corpus, field, part, space, limit)
        if task is not None:
            yield task


def task_of(corpus: str, field: str, part: str, space: FeatureSpace, limit: int | None) -> Task | None:
    """Return one task; None where the part has too few records."""
    described = described_values(corpus, field)
    found = [
        (record, value)
        for record in data.read(corpus, part)
        if (value := single(record.metadata.get(field))) in described
    ]
    if len(found) < MIN_RECORDS:
        return None
    order = np.random.default_rng(SEED).permutation(len(found))[:limit]
    records, values = [found[i][0] for i in order], [found[i][1] for i in order]
    names = [name for name in described if name in set(values)]
    own = [record.text for record in records], [record.id for record in records]
    snapshot = as_indexed(*own, [record.metadata for record in records], space)
    truth = np.array([names.index(str(value)) for value in values])
    return Task(corpus, field, {name: described[name] for name in names}, records, truth, snapshot)


def described_values(corpus: str, field: str) -> Mapping[str, str]:
    """Return the values of a field with their descriptions: the fixed wording where there is one."""
    fixed = {query["value"]: query["query"] for query in properties()[corpus] if query["field"] == field}
    return {**OWN.get((corpus, field), {}), **fixed}


def single(value: object) -> str | None:
    """Return the only value of a field; None if it has several or none."""
    values = value if isinstance(value, list) else [value]
    return str(values[0]) if len(values) == 1 else None
