"""Results as messages between a server and a client of the same version: msgpack, without pickle.

A message can only name the classes listed here, so reading one runs no code of its sender.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

import msgpack
import numpy as np

from saeindex.errors import InvalidInputError, MismatchError, kind_of
from saeindex.search.hits import Group, Hits
from saeindex.search.plan import Plan

if TYPE_CHECKING:
    from pydantic import BaseModel

MEDIA_TYPE = "application/vnd.saeindex+msgpack"
# The classes of results by module, below saeindex.
MODULES = {
    "analysis.cluster.axis": ("Axis", "AxisValue"),
    "analysis.cluster.results": ("Cluster", "Clustering", "KeyConcept"),
    "analysis.cluster.verdict": ("Signs", "Verdict"),
    "analysis.correlate.all_pairs": ("Companion",),
    "analysis.correlate.results": ("ConceptPair", "Correlations", "PairedConcept", "Trigger", "Triggers"),
    "analysis.diff.results": (
        "Confirmation", "Detectable", "Diff", "Finding", "Hint", "Hypothesis", "StratumChange",
    ),
    "analysis.drift.periods": ("Period",),
    "analysis.drift.results": ("Drift", "Trend"),
    "analysis.monitor.baseline": ("Baseline",),
    "analysis.monitor.options": ("MonitorOptions",),
    "analysis.monitor.results": ("Alert",),
    "analysis.profile.results": ("SetProfile", "Standing", "Theme"),
    "collection.metadata_fields": ("MetadataField",),
    "collection.stored": ("StoredRecord",),
    "concepts.feature_card": ("FeatureCard", "SimilarFeature"),
    "concepts.resolver": ("Concept", "FeatureMatch"),
    "protocols": ("SparseVector",),
    "report.model": ("Example",),
    "search.compare": ("Comparison", "Difference"),
    "search.explain": ("Explanation", "SourceExplanation"),
    "search.explain_analyze": ("Analysis", "Stage"),
    "search.facets": ("ConceptFacet", "Exclusion"),
    "search.hits": ("Hit", "SteeringEffect"),
    "search.plan": ("PlanSummary", "Step"),
    "search.query": ("Query",),
    "types": ("Activation", "Part", "Steer"),
}  # fmt: skip
# Those of pydantic, whose JSON is their message.
MODELS = {
    "concepts.feedback": ("Feedback",),
    "indexing.names": ("NameEdit",),
    "steering.saved_profile": ("Profile",),
}
PLACES = {name: module for table in (MODULES, MODELS) for module, names in table.items() for name in names}
TUPLE, MAPPING, ARRAY, OBJECT, MODEL, HITS, FILTER = range(7)
# Fields that are functions of the process that computed the result.
LEFT_OUT = {"Clustering": ("place",)}


def packed(value: object) -> bytes:
    """Return a result as a message."""
    message: bytes = msgpack.packb(
        value, default=_extension, strict_types=True, unicode_errors="surrogatepass"
    )
    return message


def unpacked(message: bytes) -> Any:
    """Return the result of a message; MismatchError for one of another version."""
    try:
        return _read(message)
    except (ValueError, TypeError, KeyError, AttributeError, msgpack.UnpackException) as error:
        found, do = f"it cannot be read ({error})", "Use the same version of saeindex on both sides."
        raise MismatchError("a server's answer", found, do) from error


def _read(message: bytes) -> Any:
    return msgpack.unpackb(
        message, ext_hook=_of_extension, strict_map_key=False, unicode_errors="surrogatepass"
    )


def _extension(value: Any) -> Any:
    name = type(value).__name__
    if isinstance(value, Plan):
        code, content = OBJECT, _object(value.summary)
    elif isinstance(value, Hits):
        groups = [[group.value, [hit.id for hit in group.hits]] for group in value.groups]
        code, content = HITS, [list(value), value.plan.summary, value.timings_ms, groups]
    elif isinstance(value, np.ndarray):
        code, content = ARRAY, [value.dtype.str, list(value.shape), np.ascontiguousarray(value).tobytes()]
    elif name in PLACES and not hasattr(value, "model_dump"):
        code, content = OBJECT, _object(value)
    elif name in PLACES:
        code, content = MODEL, [name, value.model_dump(mode="json")]
    elif name == "Filter":
        code, content = FILTER, value.model_dump(mode="json", exclude_none=True)
    elif isinstance(value, tuple):
        code, content = TUPLE, list(value)
    elif isinstance(value, Mapping):
        code, content = MAPPING, [[key, one] for key, one in value.items()]
    else:
        return _plain(value)
    return msgpack.ExtType(code, packed(content))


def _object(value: Any) -> list[Any]:
    """Return a dataclass or a named tuple as its name and its fields."""
    name = type(value).__name__
    if not is_dataclass(value):
        return [name, dict(value._asdict())]
    left_out = LEFT_OUT.get(name, ())
    return [name, {one.name: getattr(value, one.name) for one in fields(value) if one.name not in left_out}]


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Sequence | set | frozenset):
        return list(value)
    raise InvalidInputError("a result to send", f"it has {kind_of(value)} in it", "Report it.")


def _of_extension(code: int, data: bytes) -> Any:
    return _READERS[code](_read(data))


def _array(content: list[Any]) -> Any:
    kind, shape, numbers = content
    return np.frombuffer(bytearray(numbers), np.dtype(kind)).reshape(shape)


def _hits(content: list[Any]) -> Hits:
    hits, plan, timings_ms, groups = content
    by_id = {hit.id: hit for hit in hits}
    found = [Group(value, tuple(by_id[one] for one in ids)) for value, ids in groups]
    return Hits(hits, plan, timings_ms, found)


def _filter(content: Any) -> Any:
    from qdrant_client.models import Filter

    return Filter.model_validate(content)


def _model(content: list[Any]) -> Any:
    return cast("type[BaseModel]", _class(content[0])).model_validate(content[1])


def _instance(content: list[Any]) -> Any:
    name, values = content
    return _class(name)(**values, **dict.fromkeys(LEFT_OUT.get(name, ()), _refused))


def _class(name: str) -> type:
    found: type = getattr(import_module(f"saeindex.{PLACES[name]}"), name)
    return found


def _refused(*_: object) -> Any:
    do = "Open the index where it is, and cluster there."
    raise InvalidInputError("assign records to clusters", "the clusters are on a server", do)


_READERS: Mapping[int, Callable[[Any], Any]] = {
    TUPLE: tuple, MAPPING: dict, ARRAY: _array, OBJECT: _instance, MODEL: _model, HITS: _hits,
    FILTER: _filter,
}  # fmt: skip
