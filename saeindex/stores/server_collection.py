"""Creating a collection on a Qdrant server, reading its layout, and converting the client's errors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, get_args

from saeindex.errors import InvalidInputError, MismatchError, NotFoundError, SaeIndexError, StorageError
from saeindex.protocols import Layout, PayloadKind
from saeindex.stores.base import layout_from_json, layout_to_json

if TYPE_CHECKING:
    from qdrant_client import QdrantClient, models

LAYOUT_KEY = "saeindex_layout"
MANIFEST_KEY = "saeindex_manifest"
STATE_KEY = "saeindex_state"

OPTIONS = frozenset({
    "shard_number", "replication_factor", "write_consistency_factor", "on_disk_payload", "on_disk",
})  # fmt: skip


def is_local(client: QdrantClient) -> bool:
    """Return whether ``client`` uses its local mode, in memory or in a directory."""
    options = client.init_options
    return options.get("location") == ":memory:" or options.get("path") is not None


def create_collection(client: QdrantClient, name: str, layout: Layout, options: dict[str, Any]) -> None:
    """Create the collection and its payload indexes; the state in its metadata marks completion."""
    unknown = sorted(options.keys() - OPTIONS)
    if unknown:
        do = f"Use {sorted(OPTIONS)}."
        raise InvalidInputError(f"creating {name!r}", f"the options {unknown} are not known", do)
    if not client.collection_exists(name):
        _create(client, name, layout, options)
    _check_unfinished(client, name, layout)
    # A local collection has no payload indexes, and the client warns about each.
    if not is_local(client):
        for key, kind in layout.payload_indexes.items():
            client.create_payload_index(name, key, schema_of(kind), wait=True)
    client.update_collection(name, metadata={STATE_KEY: "complete"})


def read_metadata(client: QdrantClient, name: str) -> dict[str, Any]:
    """Return the metadata of a collection ({} if it has none)."""
    return dict(client.get_collection(name).config.metadata or {})


def read_layout(client: QdrantClient, name: str) -> Layout:
    """Return the layout of a collection.

    Its vectors are in its configuration, its indexes in what was kept when saeindex created it; for another
    collection they are read from its payload schema.
    """
    described = client.get_collection(name)
    metadata = described.config.metadata or {}
    if metadata.get(STATE_KEY, "complete") != "complete":
        raise NotFoundError(
            f"opening the collection {name!r}",
            "its creation was interrupted",
            "Create it again with the same options.",
        )
    dense, multi = _dense(name, described.config.params.vectors)
    sparse = tuple(described.config.params.sparse_vectors or {})
    if LAYOUT_KEY in metadata:
        kept = metadata[LAYOUT_KEY]
        own = layout_from_json(kept, f"the collection {name!r}")
        return Layout(dense, sparse, own.payload_indexes, multi, own.quantization)
    kinds = {key: _kind(schema) for key, schema in described.payload_schema.items()}
    return Layout(dense, sparse, {key: kind for key, kind in kinds.items() if kind is not None}, multi)


def _create(client: QdrantClient, name: str, layout: Layout, options: dict[str, Any]) -> None:
    from qdrant_client import models

    small = models.ScalarQuantizationConfig(type=models.ScalarType.INT8, always_ram=True)
    dense = {
        key: models.VectorParams(
            size=size, distance=models.Distance.COSINE, on_disk=options.get("on_disk"),
            quantization_config=models.ScalarQuantization(scalar=small) if layout.quantization else None,
        )
        for key, size in layout.dense.items()
    }  # fmt: skip
    max_sim = models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM)
    multi = {  # half precision, which every server has; without a graph
        key: models.VectorParams(
            size=size, distance=models.Distance.COSINE, on_disk=True, multivector_config=max_sim,
            datatype=models.Datatype.FLOAT16, hnsw_config=models.HnswConfigDiff(m=0),
        )
        for key, size in layout.multi.items()
    }  # fmt: skip
    client.create_collection(
        name,
        vectors_config=dense | multi,
        sparse_vectors_config={key: models.SparseVectorParams() for key in layout.sparse},
        metadata={STATE_KEY: "creating", LAYOUT_KEY: layout_to_json(layout)},
        **{name: value for name, value in options.items() if name != "on_disk"},
    )
    if LAYOUT_KEY not in read_metadata(client, name):
        client.delete_collection(name)
        raise MismatchError(
            f"creating the collection {name!r}",
            "the server does not keep metadata with a collection",
            "Upgrade Qdrant to 1.16 or newer.",
        )


def _check_unfinished(client: QdrantClient, name: str, layout: Layout) -> None:
    metadata = read_metadata(client, name)
    asked = f"creating the collection {name!r}"
    if metadata.get(STATE_KEY) != "creating":
        raise MismatchError(asked, "it is already a collection", "Open it, or choose another name.")
    if metadata.get(LAYOUT_KEY) != layout_to_json(layout):
        found = "an interrupted creation left it with another layout"
        raise MismatchError(asked, found, "Delete that empty collection, or choose another name.")


def _dense(name: str, vectors: Any) -> tuple[dict[str, int], dict[str, int]]:
    """Return the dimensions of single vectors, and of multivectors."""
    from qdrant_client import models

    asked = f"opening the collection {name!r}"
    if isinstance(vectors, models.VectorParams):
        raise MismatchError(asked, "its vector has no name", "Use a collection with named vectors.")
    found: tuple[dict[str, int], dict[str, int]] = {}, {}
    for key, params in (vectors or {}).items():
        if params.distance != models.Distance.COSINE:
            kind = f"its vector {key!r} is not compared by cosine"
            raise MismatchError(asked, kind, "Use a collection that saeindex created.")
        found[params.multivector_config is not None][key] = int(params.size)
    return found


def schema_of(kind: PayloadKind) -> Any:
    """Return what the client makes an index of."""
    from qdrant_client import models

    if kind == "text":
        # Unindexed text matching uses the word tokenizer too: an index must not change the result.
        return models.TextIndexParams(
            type=models.TextIndexType.TEXT,
            tokenizer=models.TokenizerType.WORD,
            lowercase=True,
            phrase_matching=True,
        )
    if kind in {"integer", "integer-range"}:
        ranged = kind == "integer-range"
        return models.IntegerIndexParams(type=models.IntegerIndexType.INTEGER, lookup=True, range=ranged)
    return models.PayloadSchemaType(kind)


def _kind(schema: models.PayloadIndexInfo) -> PayloadKind | None:
    found: Any = schema.data_type.value
    if found == "integer":
        return "integer" if getattr(schema.params, "range", True) is False else "integer-range"
    return found if found in get_args(PayloadKind) else None


# Errors -----------------------------------------------------------------------------------------------


@contextmanager
def translated(action: str, name: str) -> Iterator[None]:
    """Convert the client's errors to ours, without their chain: a client's error may quote its API key."""
    try:
        yield
    except SaeIndexError:
        raise
    except Exception as error:
        raise _our_error(
            f"{action} {f'on the collection {name!r}' if name else 'of the server'}", error
        ) from None


def _our_error(asked: str, error: Exception) -> SaeIndexError:
    from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

    if isinstance(error, UnexpectedResponse):
        return _response_error(asked, error)
    if isinstance(error, ResponseHandlingException):
        # Report only the kind of error: its text may quote the request's headers, including the key.
        found = f"the server did not answer ({type(error.source).__name__})"
        return StorageError(asked, found, "Check the URL and that Qdrant runs there, or raise the timeout.")
    if isinstance(error, ValueError | TypeError):
        return InvalidInputError(asked, f"the client refused: {_line(str(error))}", "Correct the value.")
    code = getattr(error, "code", None)
    found = f"{type(error).__name__} {code() if callable(code) else ''}".strip()
    return StorageError(asked, f"the client failed with {found}", "Check the server and repeat.")


def _response_error(asked: str, error: Any) -> SaeIndexError:
    found = f"the server answered {error.status_code}: {_reason(error.content)}"
    if error.status_code in {401, 403}:
        return StorageError(asked, found, "Set QDRANT_API_KEY to a key with the right to do this.")
    if error.status_code == 404:
        return NotFoundError(asked, found, "Create it first, or correct the name.")
    if error.status_code == 409:
        return MismatchError(asked, found, "Open it, or choose another name.")
    if error.status_code in {400, 422}:
        return InvalidInputError(asked, found, "Correct the request.")
    return StorageError(asked, found, "Check the server's log and repeat.")


def _reason(content: bytes) -> str:
    try:
        return _line(str(json.loads(content)["status"]["error"]))
    except (ValueError, KeyError, TypeError):
        return _line(content.decode(errors="replace"))


def _line(text: str) -> str:
    return next(iter(text.splitlines()), "")[:300]
