"""Records in a store: their ids and deletion, counts of their concepts, and their metadata fields."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from saeindex.collection.sample import SAMPLE
from saeindex.config import CONCEPTS, DOCUMENT, LEVEL_STRIDE, LEVELS, LEVELS_OF, TEXT, suffixed
from saeindex.errors import InvalidInputError, NotFoundError
from saeindex.indexing.points import of_documents, point_id
from saeindex.language.evaluate import kind_of_value
from saeindex.language.fields import EACH, METADATA, RECORD_ID, field_at
from saeindex.language.literal import is_said, narrowing
from saeindex.schema import Result, check_kind
from saeindex.stores.base import PAGE, first_points, pages
from saeindex.types import LevelName

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from qdrant_client.models import Filter

    from saeindex.protocols import VectorStore

OR_DOCUMENT = "Name it as a document (documents=[…], --document) for all of them, or give the id of one."


def record_ids(store: VectorStore, condition: Filter | None) -> set[str]:
    """Return the ids of all records that match."""
    found = pages(store, condition, PAGE, ["record_id"])
    return {point.payload["record_id"] for page in found for point in page.points}


def ids_that_say(store: VectorStore, said: str, has_unspaced: bool, most: int | None = None) -> Iterator[str]:
    """Yield the ids of the records, or of the first ``most`` that may be, whose texts have what is ``said``.

    The engine's index of words narrows where to look; ``has_unspaced`` is for texts that it cannot read.
    """
    found = pages(store, narrowing(said, TEXT, has_unspaced), PAGE, [RECORD_ID, TEXT])
    for page in islice(found, most and most // PAGE):
        payloads = (point.payload for point in page.points)
        yield from (one[RECORD_ID] for one in payloads if is_said(said, one.get(TEXT, "")))


def records_of(documents: Sequence[str]) -> Filter:
    """Return the condition of the records of some documents."""
    check_ids("the records of documents", documents)
    return of_documents([str(one) for one in documents])


def check_not_documents(store: VectorStore, ids: Sequence[str], do: str = "Give the id of one.") -> None:
    """Raise NotFoundError if one of these ids, which are of no record, is that of a document."""
    for start in range(0, len(ids), PAGE):
        page = ids[start : start + PAGE]
        found = store.scroll(records_of(page), 1, with_payload=["record_id", DOCUMENT]).points
        if found:
            document, example = found[0].payload[DOCUMENT], found[0].payload["record_id"]
            raise NotFoundError(
                f"record {document!r}",
                f"no record has this id: it is a document, with records such as {example!r}",
                do,
            )


def check_not_records(store: VectorStore, documents: Iterable[str]) -> None:
    """Raise NotFoundError if one of these names, which are of no document, is the id of a record."""
    if known := sorted(existing_ids(store, documents)):
        found = "no record is of this document: it is the id of a record"
        raise NotFoundError(f"document {known[0]!r}", found, "Give it as an id.")


def check_choice(ids: object, documents: object, has_condition: bool, asked: str = "delete") -> None:
    """Raise InvalidInputError unless records are selected in one way: ids, documents or a condition."""
    given = [ids is not None, documents is not None, has_condition]
    if sum(given) != 1:
        found = "several ways to select records" if any(given) else "nothing to select by"
        do = (
            "Give ids, or documents."
            if asked == "get"
            else "Give ids, or documents, or where and query_filter."
        )
        raise InvalidInputError(asked, found, do)
    for each in (ids, documents):
        if each is not None:
            check_ids(asked, each)


def check_ids(asked: str, ids: object) -> None:
    """Raise InvalidInputError unless ``ids`` can be a list of ids."""
    if isinstance(ids, str):
        raise InvalidInputError(asked, "one string as ids", "Give a list of ids.")
    check_kind(f"{asked} {ids!r:.80}", ids, Iterable, "Give a list of ids.")


def existing_ids(store: VectorStore, ids: Iterable[str]) -> set[str]:
    """Return those of the ids that are of a stored record."""
    wanted = sorted({str(one) for one in ids})
    found = store.get([point_id(one) for one in wanted], with_payload=["record_id"])
    return {point.payload["record_id"] for point in found}


@dataclass(frozen=True, slots=True)
class EngineCounts:
    """Counts of an index's concepts in one text field, made by the engine.

    Where a statistic needs only counts, facets take milliseconds and need no snapshot. They count records, so
    where several are of one document, they are counted in a snapshot instead.
    """

    store: VectorStore
    n_features: int
    field: str = ""

    def frequencies(self, condition: Filter | None, level: LevelName) -> tuple[int, NDArray[np.int64]]:
        """Return the number of matching points, and of those with each feature at a level (n,)."""
        counts = np.zeros(self.n_features, np.int64)
        max_codes = self.n_features * LEVELS
        for code, count in self.store.facet(suffixed(CONCEPTS, self.field), condition, max_codes):
            feature, reached = divmod(int(code), LEVEL_STRIDE)
            if reached in LEVELS_OF[level]:  # what is possible and present is possible
                counts[feature] = max(counts[feature], count)
        return self.store.count(condition), counts

    def cooccurrence(
        self, feature: int, level: LevelName, condition: Filter | None = None
    ) -> tuple[int, NDArray[np.int64]]:
        """Return the number of matching points with a feature, and of those with each other feature (n,)."""
        from qdrant_client.models import FieldCondition, Filter, MatchAny

        codes = [feature * LEVEL_STRIDE + number for number in LEVELS_OF[level]]
        having = FieldCondition(key=suffixed(CONCEPTS, self.field), match=MatchAny(any=codes))
        both = Filter(must=[having] if condition is None else [having, condition])
        return self.frequencies(both, level)


def apart(conditions: dict[str, Filter]) -> dict[str, Filter]:
    """Return each condition without the points that another condition also matches."""
    from qdrant_client.models import Filter

    return {
        name: Filter(must=[own], must_not=[other for key, other in conditions.items() if key != name])
        for name, own in conditions.items()
    }


# The maximum depth of nested objects, and number of fields, that are listed.
MAX_DEPTH, MAX_FIELDS = 4, 1_000
# The maximum number of frequent values of a field, and their characters.
MAX_VALUES, VALUE_CHARS = 20, 80


@dataclass(frozen=True, slots=True)
class MetadataField(Result):
    """A field, as a where expression writes it, and the kinds of values it holds, with one ``example``.

    ``records`` is how many records have it; in a large index that is estimated from a random sample.
    ``values`` are its most frequent texts, numbers and truth values, the most frequent first, as far as there
    are records that share one.
    """

    field: str
    kinds: tuple[str, ...]
    example: Any
    records: int
    is_estimated: bool
    values: tuple[str | int | float | bool, ...] = ()


@dataclass(slots=True)
class _Seen:
    example: Any
    kinds: dict[str, None] = field(default_factory=dict)
    records: int = 0
    values: Counter[str | int | float | bool] = field(default_factory=Counter)

    def add(self, value: Any) -> None:
        self.kinds |= dict.fromkeys(_kinds(value))
        self.records += 1
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, str | int | float) and len(str(one)) <= VALUE_CHARS:
                self.values[one] += 1

    @property
    def frequent(self) -> tuple[str | int | float | bool, ...]:
        return tuple(value for value, count in self.values.most_common(MAX_VALUES) if count > 1)


def metadata_fields(store: VectorStore, records: int) -> list[MetadataField]:
    """Return the metadata fields of a store with so many ``records``, those of most records first."""
    points = first_points(store, SAMPLE, SAMPLE // 4, [METADATA, "record_id"])
    payloads = {point.payload["record_id"]: point.payload.get(METADATA) or {} for point in points}
    seen: dict[str, _Seen] = {}
    for metadata in payloads.values():
        for path, value in _fields_of((METADATA,), metadata):
            name = field_at(path)
            if name in seen or len(seen) < MAX_FIELDS:
                one = seen.setdefault(name, _Seen(value))
                one.add(value)
    scale = records / max(1, len(payloads))
    found = [
        MetadataField(
            name, tuple(one.kinds), one.example, round(scale * one.records), scale > 1, one.frequent
        )
        for name, one in seen.items()
    ]
    return sorted(found, key=lambda one: (-one.records, one.field))


def _fields_of(path: tuple[str, ...], value: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the paths of an object's values, without null and empty lists; objects by their own fields.

    So are those in lists, each with the values of all of them.
    """
    for name, inner in value.items():
        if not name or inner is None or inner == []:
            continue
        if isinstance(inner, Mapping) and len(path) < MAX_DEPTH:
            yield from _fields_of((*path, name), inner)
            continue
        yield (*path, name), inner
        inside: dict[tuple[str, ...], list[Any]] = {}
        for one in inner if isinstance(inner, list) and len(path) < MAX_DEPTH else ():
            for own, each in _fields_of((*path, name, EACH), one) if isinstance(one, Mapping) else ():
                inside.setdefault(own, []).extend(each if isinstance(each, list) else [each])
        yield from inside.items()


def _kinds(value: Any) -> list[str]:
    if isinstance(value, list):
        return [f"lists of {kind}" for kind in dict.fromkeys(map(kind_of_value, value))]
    return [kind_of_value(value)]
