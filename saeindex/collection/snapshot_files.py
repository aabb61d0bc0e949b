"""Taking a snapshot: one scroll over the points, into files that are mapped and used until a write.

The columns are appended page by page, so memory holds one page; only where records have several passages
are they brought together in memory, some 300 bytes a passage.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from saeindex.collection.rows import tokens
from saeindex.collection.snapshot import Snapshot
from saeindex.config import DENSE, SAE, TEXT, suffixed
from saeindex.files import replacing_folder
from saeindex.indexing.points import point_id
from saeindex.protocols import Point, SparseVector
from saeindex.stores.engine import pages

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    from saeindex.features import FeatureSpace
    from saeindex.protocols import VectorStore

FORMAT = 1
PAGE = 2_000
# A write that saeindex did not make changes no revision: so many points are looked at as well.
PROBED = 1_000
ARRAYS = {
    "vectors": "<f4",
    "sizes": "<i4",
    "indices": "<i4",
    "values": "<f4",
    "word_sizes": "<i4",
    "word_indices": "<i4",
    "lengths": "<i4",
    "passages": "<i4",
}
LINES = ("ids", "metadata")


def content_fingerprint(store: VectorStore, space: FeatureSpace, revision: str) -> str:
    """Return what tells one state of a collection from another: revision, number of points, a sample."""
    points = store.scroll(None, PROBED, with_payload=["content_hash"]).points
    probe = [[str(point.id), point.payload.get("content_hash")] for point in points]
    parts = [FORMAT, space.fingerprint, revision, store.count(), probe]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]


def take_snapshot(
    store: VectorStore, space: FeatureSpace, revision: str, cache: Path | None, field: str = ""
) -> Snapshot:
    """Return the snapshot of a collection as it is; taken anew where it changed since the last one.

    ``cache`` is a folder of the index; without one the files live as long as the snapshot.
    """
    fingerprint = content_fingerprint(store, space, revision)
    kept = None if cache is None else cache / f"snapshot{'-' + field if field else ''}"
    if kept is not None and _fingerprint_of(kept) == fingerprint:
        return _opened(kept, store, space, field)
    if kept is None:
        held = TemporaryDirectory(prefix="saeindex-")
        _write(Path(held.name), store, space, field, fingerprint)
        return _opened(Path(held.name), store, space, field, held)
    with replacing_folder(kept) as draft:  # what is mapped stays readable until it is let go
        _write(draft, store, space, field, fingerprint)
    return _opened(kept, store, space, field)


def _fingerprint_of(folder: Path) -> str | None:
    try:
        found = json.loads((folder / "snapshot.json").read_text("utf-8"))["fingerprint"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return str(found)


def _write(folder: Path, store: VectorStore, space: FeatureSpace, field: str, fingerprint: str) -> None:
    dense, sae, text = (suffixed(name, field) for name in (DENSE, SAE, TEXT))
    places: dict[str, int] = {}
    count = 0
    with ExitStack() as opened:
        files: dict[str, IO[Any]] = {
            name: opened.enter_context((folder / f"{name}.bin").open("wb")) for name in ARRAYS
        }
        lines = {
            name: opened.enter_context((folder / f"{name}.jsonl").open("w", encoding="utf-8"))
            for name in LINES
        }
        payload = ["record_id", "passage", text, "metadata"]
        for page in pages(store, None, PAGE, payload, [dense, sae]):
            count += len(page.points)
            for name, array in _arrays(page.points, dense, sae, text, space, places).items():
                files[name].write(array.astype(ARRAYS[name]).tobytes())
            for point in page.points:
                lines["ids"].write(json.dumps(point.payload["record_id"], ensure_ascii=False) + "\n")
                metadata = point.payload.get("metadata") or {}
                lines["metadata"].write(json.dumps(metadata, ensure_ascii=False) + "\n")
    (folder / "vocabulary.json").write_text(json.dumps(list(places), ensure_ascii=False), "utf-8")
    described = {
        "format": FORMAT,
        "fingerprint": fingerprint,
        "points": count,
        "dimension": space.sae.dimension,
        "n_features": space.n_features,
    }
    (folder / "snapshot.json").write_text(json.dumps(described), "utf-8")


def _arrays(
    points: Sequence[Point], dense: str, sae: str, text: str, space: FeatureSpace, places: dict[str, int]
) -> dict[str, np.ndarray[Any, Any]]:
    """Return one page as columns; ``places`` gets the words that it adds."""
    none = np.zeros(space.sae.dimension, np.float32)
    codes = [point.vectors.get(sae) for point in points]
    rows = [code for code in codes if isinstance(code, SparseVector)]
    texts = [point.payload.get(text) or "" for point in points]
    words = [sorted(places.setdefault(word, len(places)) for word in sorted(tokens(one))) for one in texts]
    return {
        "vectors": np.array([point.vectors.get(dense, none) for point in points], np.float32),
        "sizes": np.array([len(code.indices) if isinstance(code, SparseVector) else 0 for code in codes]),
        "indices": np.concatenate([np.zeros(0, np.int32), *(code.indices for code in rows)]),
        "values": np.concatenate([np.zeros(0, np.float32), *(code.values for code in rows)]),
        "word_sizes": np.array([len(one) for one in words]),
        "word_indices": np.fromiter((place for one in words for place in one), np.int32),
        "lengths": np.array([len(one.split()) for one in texts]),
        "passages": np.array([point.payload.get("passage", 0) for point in points]),
    }


def _opened(
    folder: Path, store: VectorStore, space: FeatureSpace, field: str, held: object = None
) -> Snapshot:
    from scipy.sparse import csr_matrix

    described = json.loads((folder / "snapshot.json").read_text("utf-8"))
    found = {name: _mapped(folder / f"{name}.bin", kind) for name, kind in ARRAYS.items()}
    vocabulary = json.loads((folder / "vocabulary.json").read_text("utf-8"))
    count = described["points"]
    starts, word_starts = (np.concatenate([[0], np.cumsum(found[name])]) for name in ("sizes", "word_sizes"))
    words = np.ones(int(word_starts[-1]), np.float32)
    text = suffixed(TEXT, field)

    def read_texts(ids: Sequence[str]) -> list[str]:
        _ = held  # the files live as long as what reads beside them
        points = {point.id: point for point in store.get([point_id(one) for one in ids], [text])}
        return [str(points[point_id(one)].payload.get(text) or "") for one in ids]

    snapshot = Snapshot(
        space,
        field,
        tuple(json.loads(line) for line in _lines(folder / "ids.jsonl")),
        found["vectors"].reshape(count, described["dimension"]),
        csr_matrix((found["values"], found["indices"], starts), shape=(count, described["n_features"])),
        csr_matrix((words, found["word_indices"], word_starts), shape=(count, max(1, len(vocabulary)))),
        tuple(vocabulary),
        found["lengths"],
        _lines(folder / "metadata.jsonl"),
        read_texts,
    )
    return merged_passages(snapshot, found["passages"]) if found["passages"].any() else snapshot


def _mapped(path: Path, kind: str) -> np.ndarray[Any, Any]:
    return np.memmap(path, kind, "r") if path.stat().st_size else np.zeros(0, kind)


def _lines(path: Path) -> list[str]:
    with path.open(encoding="utf-8") as lines:
        return [line.rstrip("\n") for line in lines]


def merged_passages(snapshot: Snapshot, numbers: NDArray[np.int32]) -> Snapshot:
    """Return one row per record of a snapshot whose rows are passages with these ``numbers`` (p,).

    A record has the strongest activation of each feature, the mean direction of its passages (of those that
    have a vector), all their words, and the sum of their lengths. Its row stands where its first passage
    stood, so the order stays random.
    """
    first = np.flatnonzero(np.asarray(numbers) == 0).tolist()
    place = {snapshot.ids[row]: position for position, row in enumerate(first)}
    # A passage whose first is missing is what an interrupted write left: it belongs to no whole record.
    owner = np.array([place.get(record, -1) for record in snapshot.ids], np.int64)
    kept = owner >= 0
    vectors = np.zeros((len(first), snapshot.vectors.shape[1]), np.float32)
    np.add.at(vectors, owner[kept], snapshot.vectors[kept])
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    lengths = np.bincount(owner[kept], snapshot.lengths[kept], len(first)).astype(np.int32)
    words = strongest(snapshot.words, owner, len(first))
    return replace(
        snapshot,
        ids=tuple(snapshot.ids[row] for row in first),
        vectors=vectors,
        activations=strongest(snapshot.activations, owner, len(first)),
        words=words,
        lengths=lengths,
        metadata=[snapshot.metadata[row] for row in first],
    )


def strongest(matrix: csr_matrix, owner: NDArray[np.int64], count: int) -> csr_matrix:
    """Return the maximum over the rows of each owner (count, n); rows of owner -1 are left out."""
    from scipy.sparse import csr_matrix

    rows = np.repeat(owner, np.diff(matrix.indptr))
    kept = rows >= 0
    keys = rows[kept] * matrix.shape[1] + np.asarray(matrix.indices)[kept]
    order = np.argsort(keys, kind="stable")
    keys, values = keys[order], np.asarray(matrix.data)[kept][order]
    distinct, starts = np.unique(keys, return_index=True)
    highest = np.maximum.reduceat(values, starts) if len(starts) else values
    return csr_matrix((highest, divmod(distinct, matrix.shape[1])), shape=(count, matrix.shape[1]))
