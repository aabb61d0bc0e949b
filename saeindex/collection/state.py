"""The state of an index at one revision: what is derived of its points and its manifest, and caches."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from saeindex.collection.records import check_not_documents
from saeindex.collection.sample import CollectionSample, Rows, read_rows, read_sample
from saeindex.collection.snapshot_files import take_snapshot
from saeindex.config import CACHE_FOLDER, CONCEPTS, DENSE, DOCUMENT, LEVELS, SAE, UNSPACED
from saeindex.errors import InvalidInputError, NotFoundError
from saeindex.protocols import Point, PointId, SearchRequest, TextEncoder, VectorStore
from saeindex.stores.base import pages
from saeindex.stores.directory import EmbeddedStore
from saeindex.stores.waiting import elsewhere

if TYPE_CHECKING:
    from saeindex.collection.snapshot import Snapshot
    from saeindex.features import FeatureSpace
    from saeindex.indexing.manifest import Manifest
    from saeindex.types import FloatArray

Derived = TypeVar("Derived")
REJECTS_FILE = "rejects.jsonl"
# Nearest records that are read in addition to the sample, if that is not the whole collection.
NEAREST = 512
MAX_EXAMPLES = 1_000


class IndexState:
    """What is derived of an index at one ``revision``; it never changes, and computes what is asked for.

    A write does not change it but replaces it by another one, so all that one operation uses fits together.
    """

    def __init__(
        self,
        store: VectorStore,
        manifest: Manifest,
        space: FeatureSpace,
        encode: QueryVectors,
        open_encoder: Callable[[], TextEncoder],
        folder: Path | None = None,
        former: IndexState | None = None,
    ) -> None:
        """``space`` has the names of this index; ``encode`` turns query texts into vectors.

        ``folder`` is that of the index; None where it is a collection on a server. What is derived of the
        space alone is that of the ``former`` state, if it has the same one; if it has the same texts, so is
        what ``reads_metadata`` does not mark, and snapshots are not.
        """
        self.store, self.manifest, self.space, self.encode = store, manifest, space, encode
        self.folder = folder
        self._open_encoder = open_encoder
        self._derived: dict[tuple[Hashable, ...], Any] = {}
        # Of what an earlier state derived of the points: the position of the store's changes then, and what
        # is needed to make it anew in part.
        self._earlier: dict[tuple[Hashable, ...], tuple[int, Any]] = {}
        self._changes = store.changes if isinstance(store, EmbeddedStore) else None  # else others write, too
        self._position = 0 if self._changes is None else self._changes.position
        if former is not None and former.space is space:
            self._earlier |= former._earlier
            has_same_texts = former.manifest.texts_revision == manifest.texts_revision
            for place, made in list(former._derived.items()):
                is_of_texts = place[0] is not _snapshot and not getattr(place[0], "reads_metadata", False)
                if place[0] in OF_SPACE or (has_same_texts and is_of_texts):
                    self._derived[place] = made
                elif self._changes is None:
                    continue
                elif place[0] is _sample:
                    self._earlier[place] = former._position, made
                elif place[0] is _snapshot:
                    self._earlier[place] = former._position, former.manifest.points_revision
        self._lock = threading.RLock()

    @property
    def cache(self) -> Path | None:
        """The folder for embeddings of words and for snapshots."""
        return None if self.folder is None else self.folder / CACHE_FOLDER

    @property
    def rejects_path(self) -> Path:
        """The file in which bad records are reported."""
        return Path(f"{self.store.name}.rejects.jsonl" if self.folder is None else self.folder / REJECTS_FILE)

    @property
    def revision(self) -> str:
        """The revision of the index that this is the state of."""
        return self.manifest.revision

    @property
    def encoder(self) -> TextEncoder:
        """The space's encoder, loaded on first use."""
        return self._open_encoder()

    def derived(self, make: Callable[..., Derived], *arguments: Hashable) -> Derived:
        """Return what a function makes of this state; it is made once for the same arguments."""
        place = (make, *arguments)
        known = self._derived.get(place, self)
        found: Derived = elsewhere(lambda: self._make(place)) if known is self else known
        return found

    def _make(self, place: tuple[Any, ...]) -> Any:
        make, *arguments = place
        with self._lock:
            if place not in self._derived:
                self._derived[place] = make(self, *arguments)
            return self._derived[place]

    def earlier(self, make: Callable[..., Any], *arguments: Hashable) -> tuple[Any, Collection[PointId]]:
        """Return what is left of what a function made of an earlier state, and the points changed since.

        None if nothing is left, or these are not known.
        """
        position, made = self._earlier.pop((make, *arguments), (0, None))
        changed = None if self._changes is None else self._changes.since(position)
        return (None, ()) if made is None or changed is None else (made, changed)

    def forget(self) -> None:
        """Let go of what was derived, which refers to this state: it is freed without a collection."""
        with self._lock:
            self._derived.clear()
            self._earlier.clear()

    @property
    def total(self) -> int:
        """The number of records."""
        return self.derived(_total)

    @property
    def has_documents(self) -> bool:
        """Whether some records are pieces of documents."""
        return self.derived(_has_documents)

    @property
    def has_unspaced(self) -> bool:
        """Whether some texts are, in part, of a script that puts no spaces between words."""
        return self.derived(_has_unspaced)

    @property
    def code_counts(self) -> dict[Any, int]:
        """The number of records with each level code."""
        return self.derived(_code_counts)

    @property
    def spoken(self) -> frozenset[int]:
        """The features of the named concepts that the index has evidence of; none without sentences."""
        return self.derived(_spoken)

    @property
    def named_concepts(self) -> Mapping[str, tuple[int, ...]]:
        """The features that the index has evidence of, by name, and by name in lower case.

        A word that leaves open what is meant names several: all its meanings that have a sure name.

        Names of the space stay: a filter that somebody saved goes on after a concept is renamed or hidden.
        """
        return self.derived(_named_concepts)

    def owners(self, name: str) -> tuple[int, ...]:
        """Return the features that have a name, in any case: one that a person named so, or concepts."""
        plain = " ".join(name.split()).casefold()
        given = [one for one, kept in self.manifest.edits.given.items() if kept.name.casefold() == plain]
        return tuple(given[-1:]) or self.named_concepts.get(plain, ())

    def sample(self) -> CollectionSample:
        """Return a sample of the records; InvalidInputError if there are none."""
        return self.derived(_sample)

    def check_field(self, field: str) -> None:
        """Raise InvalidInputError unless the index has a text field: the text ("") or a further one."""
        known = self.manifest.fields
        if field and field not in known:
            fields = ", ".join(known) or "none beside the text"
            do = "Use one of these, or index the records with it (--further-field NAME)."
            raise InvalidInputError(f"the text field {field!r}", f"the index has {fields}", do)

    def snapshot(self, field: str = "") -> Snapshot:
        """Return the records as columns for one text field."""
        self.check_field(field)
        self.space.check_concepts("an analysis")
        found = self.derived(_snapshot, field)
        if not len(found):
            raise InvalidInputError("an analysis", "the index is empty", "Add records first.")
        return found

    def rows(self, points: Sequence[Point]) -> Rows:
        """Return points (with both vectors and their text) as rows."""
        return read_rows(points, self.space, self.sample().places)

    def nearest(self, vector: FloatArray) -> Rows | None:
        """Return the records nearest to a vector (d,); None if the sample has all records."""
        if self.sample().weight <= 1:
            return None
        request = SearchRequest(vector, limit=NEAREST, with_payload=["text"], with_vectors=[DENSE, SAE])
        return self.rows(self.store.search(request))

    def records(self, ids: Sequence[str], asked: str) -> Rows | None:
        """Return records given as examples; NotFoundError names the missing records."""
        if not ids:
            return None
        from qdrant_client.models import FieldCondition, Filter, MatchAny

        if isinstance(ids, str) or len(ids) > MAX_EXAMPLES:
            given = "one text" if isinstance(ids, str) else f"{len(ids)} ids"
            raise InvalidInputError(asked, given, f"Give a list of at most {MAX_EXAMPLES} record ids.")
        own = Filter(must=[FieldCondition(key="record_id", match=MatchAny(any=[str(i) for i in ids]))])
        found = pages(self.store, own, with_payload=["record_id", "text"], with_vectors=[DENSE, SAE])
        points = [point for page in found for point in page.points]
        missing = sorted({str(i) for i in ids} - {point.payload["record_id"] for point in points})
        if missing:
            check_not_documents(self.store, missing)
            absent = f"no record {', '.join(repr(i) for i in missing[:5])}"
            raise NotFoundError(asked, absent, "Give ids of records in the index.")
        return self.rows(points)


def _total(state: IndexState) -> int:
    known = state.manifest
    if state.store.stale_after is None or known.is_being_written:
        return state.store.count()
    return known.counts.records  # a server would count all of its segments


def _code_counts(state: IndexState) -> dict[Any, int]:
    return dict(state.store.facet(CONCEPTS, None, state.space.n_features * LEVELS))


def _spoken(state: IndexState) -> frozenset[int]:
    evidence = state.space.evidence
    is_read = evidence is not None and state.manifest.sentences != "off"
    return frozenset(evidence.features.tolist()) if evidence is not None and is_read else frozenset()


def _named_concepts(state: IndexState) -> dict[str, tuple[int, ...]]:
    labels = state.space.labels
    spoken = sorted(state.spoken, key=lambda one: (not labels[one].is_unsure, -one))  # the surest at last
    named = dict[str, tuple[int, ...]]()
    for one in spoken:
        for name in labels[one].also:
            others = [other for other in named.get(name, ()) if not labels[other].is_unsure]
            named[name] = (one, *others)
    named |= {labels[one].text: (one,) for one in spoken}
    sure = {name: every for name, every in named.items() if not labels[every[0]].is_unsure}
    return {name.casefold(): every for name, every in named.items()} | sure


OF_SPACE = (_spoken, _named_concepts)


def _has_documents(state: IndexState) -> bool:
    return bool(state.store.facet(DOCUMENT, limit=1, approximate=True))


def _has_unspaced(state: IndexState) -> bool:
    is_marked = UNSPACED in state.store.layout.payload_indexes  # a collection of others may be without
    return is_marked and bool(state.store.facet(UNSPACED, limit=1, approximate=True))


def _sample(state: IndexState) -> CollectionSample:
    if state.total == 0:
        found, do = "the index is empty", "Add records first."
        raise InvalidInputError("a concept, a property or a step", found, do)
    return read_sample(state.store, state.space, state.total, state.cache, *state.earlier(_sample))


def _snapshot(state: IndexState, field: str) -> Snapshot:
    earlier, changed = state.earlier(_snapshot, field)
    revisions = state.manifest.points_revision, earlier
    return take_snapshot(state.store, state.space, revisions, state.cache, field, changed)


Value = TypeVar("Value")
# Vectors of texts: those of one index, 3 MB at 384 dimensions.
KEPT = 2_048


class Memo(Generic[Value]):
    """A cache of the last ``size`` values; thread-safe."""

    def __init__(self, size: int) -> None:
        """``size`` is the maximum number of values."""
        self._size = size
        self._kept: OrderedDict[Hashable, Value] = OrderedDict()
        self._lock = threading.Lock()

    def __contains__(self, key: Hashable) -> bool:
        with self._lock:
            return key in self._kept

    def get(self, key: Hashable, compute: Callable[[], Value]) -> Value:
        """Return the value of ``key``; it is computed unless it is cached."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        return self.keep(key, compute())

    def keep(self, key: Hashable, value: Value) -> Value:
        """Cache a value; if another thread has, return that one, which others may already use."""
        with self._lock:
            found = self._kept.setdefault(key, value)
            while len(self._kept) > self._size:
                self._kept.popitem(last=False)
        return found


class QueryVectors:
    """Encodes query texts and caches the last 2,048 vectors; thread-safe."""

    def __init__(self, encode: Callable[[Sequence[str]], FloatArray]) -> None:
        """``encode`` turns texts into vectors (n, d)."""
        self._encode = encode
        self._kept: Memo[FloatArray] = Memo(KEPT)

    def __call__(self, text: str) -> FloatArray:
        """Return the vector (d,) of a text."""
        return self._kept.get(text, lambda: self._encoded([text])[0])

    def warm(self, texts: Sequence[str]) -> None:
        """Encode the texts (at most 2,048) that are not cached yet, in one batch."""
        fresh = [text for text in dict.fromkeys(texts) if text not in self._kept]
        for text, vector in zip(fresh, self._encoded(fresh) if fresh else (), strict=True):
            self._kept.keep(text, vector)

    def _encoded(self, texts: Sequence[str]) -> list[FloatArray]:
        rows = [row.copy() for row in elsewhere(lambda: self._encode(texts))]
        for row in rows:
            row.flags.writeable = False  # the array is shared: zero steering returns it unchanged
        return rows
