"""The metadata fields of an index: what they hold, an example, and how many records have them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from saeindex.collection.sample import PAGE, SAMPLE
from saeindex.language.fields import METADATA, field_at
from saeindex.language.kinds import kind_of_value
from saeindex.schema import Result
from saeindex.stores.base import first_points

if TYPE_CHECKING:
    from saeindex.protocols import VectorStore

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
    points = first_points(store, SAMPLE, PAGE, [METADATA, "record_id"])
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
    """Yield the paths of an object's values, without null and empty lists; objects by their own fields."""
    for name, inner in value.items():
        if not name or inner is None or inner == []:
            continue
        if isinstance(inner, Mapping) and len(path) < MAX_DEPTH:
            yield from _fields_of((*path, name), inner)
        else:
            yield (*path, name), inner


def _kinds(value: Any) -> list[str]:
    if isinstance(value, list):
        return [f"lists of {kind}" for kind in dict.fromkeys(map(kind_of_value, value))]
    return [kind_of_value(value)]
