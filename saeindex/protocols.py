"""The extension points: what an encoder, a vector store and a record source must be able to do.

Filters are ``qdrant_client.models.Filter`` on every store: users know them, and the server accepts them.
"""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    from qdrant_client.models import Filter
    from torch import Tensor

    from saeindex.types import FloatArray, IntArray, JsonObject, Record

PointId: TypeAlias = str | int
# Parts of a point: all of them, none, or those that are named.
Include: TypeAlias = bool | Sequence[str]
PayloadKind: TypeAlias = Literal["keyword", "integer", "integer-range", "float", "bool", "datetime", "text"]
Quantization: TypeAlias = Literal["int8"]


# Encoders ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EncoderIdentity:
    """All that determines the vector of a text, up to rounding. Part of a feature space's fingerprint.

    Precision and device are left out on purpose: bf16 and fp32 agree to a cosine of .9999, and an index
    built on a GPU must open on a laptop.
    """

    kind: str
    model: str
    revision: str
    dimension: int
    max_length: int
    pooling: str
    normalized: bool
    query_prompt: str = ""
    document_prompt: str = ""
    input_types: str = ""

    def signature(self) -> dict[str, Any]:
        """Return the fields that distinguish encoders.

        The model's name is left out where the revision is a hash of its content: a copy of the same weights
        under another name is the same encoder.
        """
        fields = asdict(self)
        if self.revision.startswith("sha256:"):
            del fields["model"]
        if not self.input_types:  # which services alone have
            del fields["input_types"]
        return fields

    @property
    def digest(self) -> str:
        """A digest of what the vectors of texts depend on."""
        return hashlib.sha256(json.dumps(self.signature(), sort_keys=True).encode()).hexdigest()[:32]

    def differences(self, other: EncoderIdentity) -> dict[str, tuple[Any, Any]]:
        """Return, by name, the fields in which two encoders differ: (this one's value, ``other``'s value)."""
        return {
            name: (getattr(self, name), getattr(other, name))
            for name in {**self.signature(), "input_types": self.input_types}
            if getattr(self, name) != getattr(other, name)
        }


class TextEncoder(Protocol):
    """Turns texts into unit vectors, one per text, in order."""

    @property
    def identity(self) -> EncoderIdentity:
        """All that determines the vectors; part of the feature space's fingerprint."""

    @property
    def max_tokens(self) -> int:
        """The number of tokens of a text, as :meth:`token_spans` has them, that it reads."""

    def encode_document(self, texts: Sequence[str]) -> FloatArray:
        """Return unit vectors (n, d) float32 for texts that are indexed."""

    def encode_query(self, texts: Sequence[str]) -> FloatArray:
        """Return unit vectors (n, d) float32 for query texts."""

    def token_spans(self, text: str) -> Sequence[tuple[int, int]]:
        """Return the character span of each token of ``text``, untruncated, for splitting."""


@runtime_checkable
class PhraseEncoder(TextEncoder, Protocol):
    """An encoder that has a faster way for thousands of short texts."""

    def encode_phrases(self, texts: Sequence[str]) -> FloatArray:
        """Return what ``encode_query`` does; the last bits may depend on the other texts."""


@runtime_checkable
class RowEncoder(TextEncoder, Protocol):
    """An encoder whose vectors need not depend, in any bit, on the texts that are encoded with them."""

    def encode_query_in_rows(self, texts: Sequence[str]) -> FloatArray:
        """Return what ``encode_query`` does, of rows."""

    def encode_document_in_rows(self, texts: Sequence[str]) -> FloatArray:
        """Return what ``encode_document`` does, of rows."""


# Gets the rows of some texts, the unit vectors (t, d) of their tokens, those of one text after those of the
# other, as a float32 tensor, and how many each text has.
TokensSeen: TypeAlias = "Callable[[Sequence[int], Tensor, Sequence[int]], object]"


@runtime_checkable
class TokenReader(TextEncoder, Protocol):
    """An encoder that also gives the vectors of tokens, of which it makes those of texts.

    Special tokens, padding and prompts are not among them: the first token of a text is the first of
    :meth:`token_spans`, and of a text that is cut there are those up to there.
    """

    def read_document(self, texts: Sequence[str], seen: TokensSeen) -> FloatArray:
        """Return what ``encode_document`` does, after ``seen`` got all tokens, a batch of texts at a time."""

    def read_query(self, text: str) -> FloatArray:
        """Return the unit vectors (t, d) float32 of the tokens of a query text."""


# Stores -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class SparseVector:
    """Indices (k,) int32, strictly ascending, and values (k,) float32, finite."""

    indices: IntArray
    values: FloatArray

    @property
    def by_index(self) -> dict[int, float]:
        """The values by their indices."""
        return dict(zip(self.indices.tolist(), self.values.tolist(), strict=True))


Vector: TypeAlias = "FloatArray | SparseVector"


@dataclass(frozen=True, slots=True)
class Layout:
    """The shape of a collection: named vectors and indexed payload fields.

    A point has any number of rows of a vector in ``multi``, such as one for each of its sentences. Engines
    may keep them in one byte a number: what is read differs by up to .002, and scores by as much.
    ``quantization`` keeps ``dense`` in one byte a number, too, beside the numbers themselves: a search that
    need not be exact finds its candidates there, in less time, and scores them by the latter.
    """

    dense: Mapping[str, int]
    sparse: tuple[str, ...] = ()
    payload_indexes: Mapping[str, PayloadKind] = field(default_factory=dict)
    multi: Mapping[str, int] = field(default_factory=dict)
    quantization: Quantization | None = None

    @property
    def names(self) -> list[str]:
        """The names of all vectors."""
        return [*self.dense, *self.sparse, *self.multi]


@dataclass(frozen=True, slots=True)
class Point:
    """A stored point: an id, named vectors and a payload; ``score`` is set on search results.

    A sparse vector without entries, and a multivector (k, d) without rows, may be left out or given empty: in
    both cases no vector is stored.
    """

    id: PointId
    vectors: Mapping[str, Vector] = field(default_factory=dict)
    payload: JsonObject = field(default_factory=dict)
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Fusion:
    """Merges the prefetched lists by reciprocal ranks."""


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """One search: a vector with ``using``, or a fusion of ``prefetch``.

    ``score_threshold`` is inclusive. Results come best first, equal scores by id. A sparse search omits
    points whose dot product is 0. By a multivector, the score is the sum over the query's rows (k, d), or its
    one vector (d,), of the largest cosine to a row of the point (max-sim).
    ``exact`` asks for a full scan; a filtered search is always exact on Edge. ``postfilter`` is a hint that
    does not change the result: the store applies the filter to the nearest ``postfilter`` points first, and
    to all points only if too few of them match; 0 turns this off.
    Of ``among`` there are the only points that are scored, whatever is nearer.
    ``timeout`` (seconds) applies to servers: an embedded engine cannot be stopped.
    """

    query: Vector | Fusion
    using: str = "dense"
    limit: int = 10
    offset: int = 0
    query_filter: Filter | None = None
    score_threshold: float | None = None
    prefetch: tuple[SearchRequest, ...] = ()
    among: tuple[PointId, ...] | None = None
    with_payload: Include = True
    with_vectors: Include = False
    exact: bool = True
    postfilter: int = 0
    timeout: float | None = None


@dataclass(frozen=True, slots=True)
class OrderBy:
    """Scroll in the order of an ``integer-range``, float or datetime payload field."""

    key: str
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """Consecutive points, and the cursor of the next page (None at the end)."""

    points: Sequence[Point]
    cursor: PointId | None


class Turns(Protocol):
    """Who may use a collection now: ``with turns.reading():`` sees no write, ``writing()`` is alone."""

    def reading(self) -> AbstractContextManager[None]:
        """Keep writers away within the block."""

    def writing(self) -> AbstractContextManager[None]:
        """Keep readers and other writers away within the block."""


class VectorStore(Protocol):
    """A collection of points. The whole of a write is validated before any of it is sent."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The path of its directory, or the name of the collection."""

    @property
    def layout(self) -> Layout:
        """The named vectors and payload indexes that the collection was made with."""

    @property
    def turns(self) -> Turns:
        """The turns of readers and writers, where this process owns the collection."""

    @property
    def stale_after(self) -> float | None:
        """Seconds after which others may have written the manifest; None if nobody else can."""

    @property
    def has_graph(self) -> bool:
        """Whether a search with ``exact=False`` may use a graph (HNSW) or quantized vectors."""

    @property
    def prefers_postfilter(self) -> bool:
        """Whether ``SearchRequest.postfilter`` can make a search faster: the engine filters slowly."""

    @abstractmethod
    def read_manifest(self) -> dict[str, Any]:
        """Return the JSON object stored with the collection ({} if none was written)."""

    @abstractmethod
    def write_manifest(self, manifest: JsonObject, durable: bool = True) -> None:
        """Replace the JSON object stored with the collection, atomically.

        Without ``durable`` a power cut may bring back the former one.
        """

    def upsert(self, points: Sequence[Point]) -> None:
        """Write points and replace those with the same id; when this returns, they survive ``kill -9``."""

    def set_payload(self, payloads: Mapping[PointId, JsonObject], within: str | None = None) -> set[PointId]:
        """Replace some keys of payloads, by the points' ids, or remove those that are None; others stay.

        The keys are those of the object ``within`` the payload, if that is named. Return the ids of the
        points that are there.
        """

    def delete(self, ids: Sequence[PointId] | None = None, query_filter: Filter | None = None) -> None:
        """Delete by ids or by filter (exactly one of them); absent ids are no error."""

    def get(
        self, ids: Sequence[PointId], with_payload: Include = True, with_vectors: Include = False
    ) -> list[Point]:
        """Return the points that exist, in the order of ``ids``."""

    def scroll(
        self,
        query_filter: Filter | None = None,
        limit: int = 256,
        cursor: PointId | None = None,
        order_by: OrderBy | None = None,
        with_payload: Include = True,
        with_vectors: Include = False,
    ) -> Page:
        """Return a page in id order, or the first ``limit`` points in the order of a field (no cursor)."""

    def count(self, query_filter: Filter | None = None, among: Sequence[PointId] | None = None) -> int:
        """Return the exact number of matching points, of those ``among`` if ids are given."""

    def index_payload(self, key: str, kind: PayloadKind | None) -> None:
        """Make an index of a payload field, in place of the one it has, or remove that (None)."""

    def facet(
        self, key: str, query_filter: Filter | None = None, limit: int = 10, approximate: bool = False
    ) -> list[tuple[str | int | bool, int]]:
        """Return (value, number of points) of an indexed field, most frequent first, then by value.

        ``approximate`` lets a server count faster and slightly inexactly.
        """

    def search(self, request: SearchRequest) -> list[Point]:
        """Return scored points, best first."""

    def scores(self, request: SearchRequest) -> dict[Any, float]:
        """Return the ids and scores of a search by one vector, best first, in a quarter of its time.

        Ids are of the engine's type, for ``SearchRequest.among``; equal scores are cut as the engine does.
        """

    @abstractmethod
    def flush(self) -> None:
        """Make all writes durable against power loss, where the store supports it."""

    @abstractmethod
    def close(self) -> None:
        """Flush and release the collection; a second call does nothing."""


# Sources ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rejected:
    """A bad record: its position in the source, and the reason why it cannot be indexed."""

    position: str
    reason: str
    id: str | None = None


class RecordSource(Protocol):
    """A stream of records that can be read again from the start, in the same order."""

    @property
    def name(self) -> str:
        """The source's name in progress bars and reject lines."""

    @property
    def total(self) -> int | None:
        """The number of records, or None where it is not known without reading them."""

    def __iter__(self) -> Iterator[Record | Rejected]: ...
