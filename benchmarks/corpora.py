"""Labelled corpora as indexes: records, their matrices, fixed property queries and relevant records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import data, mixture
from benchmarks.data import has_value, properties
from saeindex import FeatureIndex, FeatureSpace, Record, open_encoder
from saeindex.collection.sample import Rows
from saeindex.concepts.resolver import said_by
from saeindex.config import DEFAULT_SPACE, DENSE, SAE
from saeindex.encoders import cache
from saeindex.operations.search import searcher_of
from saeindex.stores.base import pages

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.protocols import TextEncoder
    from saeindex.types import FloatArray

NAMES = tuple(properties()) if data.is_present() else ()


class CachedEncoder(cache.CachedEncoder):
    """The default encoder with a cache: a text is embedded once for all benchmarks."""

    def __init__(self, encoder: TextEncoder | None = None) -> None:
        """Take an encoder, or open the default one."""
        super().__init__(open_encoder() if encoder is None else encoder, mixture.CACHE)


@dataclass(frozen=True, eq=False)
class Corpus:
    """A part of a corpus: ``rows`` of all records, and the queries with relevant records in it.

    ``relevant`` (q, m), ``vectors`` (q, d) of the descriptions, ``siblings[i]`` the other queries of the
    field of query i.
    """

    name: str
    index: FeatureIndex
    records: Sequence[Record]
    rows: Rows
    queries: Sequence[dict[str, Any]]
    relevant: NDArray[np.bool_]
    vectors: FloatArray

    @property
    def x(self) -> FloatArray:
        """The records' embeddings (m, d)."""
        return self.rows.x

    @cached_property
    def around(self) -> NDArray[np.int64]:
        """The neighbours of the rows, which are the same for all queries."""
        return self.index.state.sample().neighbours_of(self.rows)

    @cached_property
    def kinds(self) -> list[str]:
        """The kind of each query: topic, function, affect or style."""
        return [query["kind"] for query in self.queries]

    @cached_property
    def siblings(self) -> list[list[int]]:
        """For each query the other queries of its field."""
        fields = [query["field"] for query in self.queries]
        return [[j for j, other in enumerate(fields) if other == f and j != i] for i, f in enumerate(fields)]

    def text(self, query: int) -> str:
        """Return a query's description."""
        text: str = self.queries[query]["query"]
        return text

    def said(self, query: int) -> dict[int, float]:
        """Return the evidence of the features whose names say a description."""
        return said_by(searcher_of(self.index.state).planner.resolver.named(self.text(query)))

    def others(self, query: int) -> list[str]:
        """Return the descriptions of the other values of a query's field."""
        return [self.text(i) for i in self.siblings[query]]


@contextmanager
def open_corpora(part: str, names: Sequence[str] = NAMES, limit: int | None = None) -> Iterator[list[Corpus]]:
    """Yield indexes on Edge of a part of corpora, for the time of the context; skip corpora without it."""
    space, encoder = FeatureSpace.load(DEFAULT_SPACE), CachedEncoder()
    with TemporaryDirectory() as folder:
        corpora = [open_corpus(Path(folder), space, encoder, name, part, limit) for name in names]
        try:
            yield [corpus for corpus in corpora if corpus is not None]
        finally:
            for corpus in corpora:
                if corpus is not None:
                    corpus.index.close()


def open_corpus(
    folder: Path, space: FeatureSpace, encoder: CachedEncoder, name: str, part: str, limit: int | None
) -> Corpus | None:
    """Index a part of a corpus; return None if the corpus has no such part."""
    records = list(data.read(name, part, limit))
    if not records:
        return None
    return indexed(folder / f"{name}-{part}.idx", space, encoder, name, records, properties()[name])


def indexed(
    path: Path,
    space: FeatureSpace,
    encoder: CachedEncoder,
    name: str,
    records: Sequence[Record],
    queries: Sequence[dict[str, Any]],
) -> Corpus:
    """Index records, with the queries that have relevant ones."""
    index = FeatureIndex.create(path, space, encoder=encoder)
    index.upsert(records)
    return described(name, index, records, queries)


def described(
    name: str, index: FeatureIndex, records: Sequence[Record], queries: Sequence[dict[str, Any]]
) -> Corpus:
    """Return an index with the queries that have relevant records; rows are in the records' order."""
    collection = index.state
    read = pages(index.state.store, with_payload=["record_id", "text"], with_vectors=[DENSE, SAE])
    points = {point.payload["record_id"]: point for page in read for point in page.points}
    kept = [record for record in records if record.id in points]
    rows = collection.rows([points[record.id] for record in kept])
    relevant = np.array(
        [[has_value(r.metadata, query["field"], query["value"]) for r in kept] for query in queries]
    )
    answerable = [i for i in range(len(queries)) if relevant[i].any()]
    chosen = [queries[i] for i in answerable]
    vectors = np.array([collection.encode(query["query"]) for query in chosen])
    return Corpus(name, index, kept, rows, chosen, relevant[answerable], vectors)
