"""The memory-mapped files of snapshots: written in one scroll over the points, or of those that changed.

The points are appended to the columns page by page, so only one page is in memory.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from saeindex.collection.sample import Words
from saeindex.collection.snapshot import OF_LEVELS, OF_PERCENT, Snapshot
from saeindex.config import (
    CONCEPTS,
    DENSE,
    DOCUMENT,
    EVIDENCE,
    LEVEL_STRIDE,
    SAE,
    SPEAKING,
    TEXT,
    suffixed,
)
from saeindex.files import (
    changed_files,
    checksums_of_files,
    replacing_folder,
    with_checksum,
    without_checksum,
)
from saeindex.indexing.points import POSSIBLE, codes_of, integers, numbers_in
from saeindex.language.fields import METADATA
from saeindex.protocols import Point, PointId, VectorStore
from saeindex.stores.base import pages
from saeindex.stores.point_checks import id_order

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from saeindex.features import FeatureSpace
    from saeindex.types import Ints, JsonObject

FORMAT = 6
PAGE = 2_000
ARRAYS = {
    "keys": "S18",
    "vectors": "<f4",
    "sizes": "<i4",
    "indices": "<i4",
    "values": "<f4",
    "level_sizes": "<i4",
    "level_indices": "<i4",
    "levels": "<i4",
    "word_sizes": "<i4",
    "word_indices": "<i4",
    "lengths": "<i4",
    "text_sizes": "<i4",
}
LINES = ("ids", "documents", "metadata")
TEXTS, VOCABULARY = "texts", "vocabulary.json"
# The columns that have several entries a row, by the column that has their number.
RAGGED = {
    "sizes": ("indices", "values"),
    "level_sizes": ("level_indices", "levels"),
    "word_sizes": ("word_indices",),
    "text_sizes": (TEXTS,),
}


def take_snapshot(
    store: VectorStore,
    space: FeatureSpace,
    revisions: tuple[str, str | None],
    cache: Path | None,
    field: str = "",
    changed: Collection[PointId] = (),
) -> Snapshot:
    """Return a snapshot of the points of a revision; a cached one is used if it is of this revision.

    If it is of the second, earlier one of the ``revisions``, only the points that ``changed`` since are read.
    ``cache`` is a folder of the index; without one the files live as long as the snapshot.
    """
    wanted, earlier = (_fingerprint(space, revision) for revision in revisions)
    kept = None if cache is None else cache / f"snapshot{'-' + field if field else ''}"
    if kept is None:
        temporary = TemporaryDirectory(prefix="saeindex-")
        _write(Path(temporary.name), store, space, field, wanted)
        return _opened(Path(temporary.name), space, field, temporary)
    described = _described(kept)
    if described.get("fingerprint") != wanted or changed_files(kept, described["files"]):
        with replacing_folder(kept) as draft:  # mapped files stay readable until they are released
            if described.get("fingerprint") == earlier and not changed_files(kept, described["files"]):
                _write_again(draft, kept, store, space, field, wanted, changed)
            else:
                _write(draft, store, space, field, wanted)
    return _opened(kept, space, field)


def _fingerprint(space: FeatureSpace, revision: str | None) -> str:
    return hashlib.sha256(json.dumps([FORMAT, space.fingerprint, revision]).encode()).hexdigest()[:24]


def _described(folder: Path) -> JsonObject:
    """Return what a folder's snapshot says of itself; {} where there is none that is as it was written."""
    try:
        described = _json(folder / "snapshot.json")
        return without_checksum(described) or {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _write(folder: Path, store: VectorStore, space: FeatureSpace, field: str, fingerprint: str) -> None:
    """Write a snapshot of all points."""
    read = (page.points for page in pages(store, None, PAGE, *_read_of(field)))
    words = Words()
    count = _write_columns(folder, read, space, field, words)
    _describe(folder, space, fingerprint, count, words)


def _write_again(
    folder: Path,
    former: Path,
    store: VectorStore,
    space: FeatureSpace,
    field: str,
    fingerprint: str,
    changed: Collection[PointId],
) -> None:
    """Write a snapshot of which only some points differ from a former one: what is as it was is copied."""
    words = Words(_json(former / VOCABULARY))
    points = sorted(store.get(list(changed), *_read_of(field)), key=lambda point: id_order(point.id))
    with TemporaryDirectory(dir=folder) as fresh:
        _write_columns(Path(fresh), [points], space, field, words)
        folders = former, Path(fresh)
        keys = [_mapped(one / "keys.bin", ARRAYS["keys"]) for one in folders]
        stay = np.flatnonzero(~np.isin(keys[0], np.array([_key(one) for one in changed], ARRAYS["keys"])))
        places = np.searchsorted(keys[0][stay], keys[1])
        rows = np.insert(stay, places, np.arange(len(keys[1])))
        source = np.insert(np.zeros(len(stay), np.int64), places, 1)
        begins = np.flatnonzero((np.diff(rows, prepend=-2) != 1) | (np.diff(source, prepend=0) != 0))
        ends = np.append(begins[1:], len(rows))[: len(begins)]
        runs = [(source[a], rows[a], rows[b - 1] + 1) for a, b in zip(begins, ends, strict=True)]
        for name in (*(f"{name}.bin" for name in (*ARRAYS, TEXTS)), *(f"{name}.jsonl" for name in LINES)):
            parts = [_mapped(one / name, "u1") for one in folders]
            starts = [_starts(one, name, space.sae.dimension) for one in folders]
            with (folder / name).open("wb") as file:
                for one, first, last in runs:
                    file.write(parts[one][starts[one][first] : starts[one][last]])
    _describe(folder, space, fingerprint, len(rows), words)


def _starts(folder: Path, name: str, dimension: int) -> Ints:
    """Return where each row of a column begins, and the last ends, in bytes."""
    column, _, kind = name.partition(".")
    if kind == "jsonl":
        lines = np.flatnonzero(_mapped(folder / name, "u1") == ord("\n"))
        return np.concatenate([[0], lines + 1])
    width = np.dtype(ARRAYS.get(column, "u1")).itemsize
    if sizes := next((sizes for sizes, ragged in RAGGED.items() if column in ragged), None):
        counts = _mapped(folder / f"{sizes}.bin", ARRAYS[sizes])
        return np.concatenate([[0], np.cumsum(counts, dtype=np.int64) * width])
    width *= dimension if column == "vectors" else 1
    return np.arange(0, (folder / name).stat().st_size + 1, width)


def _read_of(field: str) -> tuple[bool, list[str]]:
    """Return the payload and the vectors to read; a whole payload takes the engine half of the time."""
    return True, [suffixed(name, field) for name in (DENSE, SAE)]


def _write_columns(
    folder: Path,
    read: Iterable[Sequence[Point]],
    space: FeatureSpace,
    field: str,
    words: Words,
) -> int:
    """Write points as columns, and number further words as they come; return the number of points."""
    text, as_json, count = suffixed(TEXT, field), json.JSONEncoder(ensure_ascii=False).encode, 0
    with ExitStack() as opened:
        files: dict[str, IO[Any]] = {
            name: opened.enter_context((folder / f"{name}.bin").open("wb")) for name in (*ARRAYS, TEXTS)
        }
        lines = {
            name: opened.enter_context((folder / f"{name}.jsonl").open("w", encoding="utf-8"))
            for name in LINES
        }
        for points in read:
            count += len(points)
            arrays = _arrays(points, field, space, words)
            arrays |= level_columns([point.payload for point in points], field)
            for name, array in arrays.items():
                files[name].write(array.astype(ARRAYS[name]).tobytes())
            for point in points:
                metadata = point.payload.get(METADATA) or {}
                row = point.payload["record_id"], point.payload.get(DOCUMENT), metadata
                for name, value in zip(LINES, row, strict=True):
                    lines[name].write(as_json(value) + "\n")
                files[TEXTS].write((point.payload.get(text) or "").encode())
    return count


def _describe(folder: Path, space: FeatureSpace, fingerprint: str, count: int, words: Words) -> None:
    """Write the words, and last what the snapshot is of, and how to tell that its files are as written."""
    (folder / VOCABULARY).write_text(json.dumps(list(words.numbers), ensure_ascii=False), "utf-8")
    described = {
        "format": FORMAT,
        "fingerprint": fingerprint,
        "points": count,
        "dimension": space.sae.dimension,
        "n_features": space.n_features,
        "files": checksums_of_files(folder, without="snapshot.json"),
    }
    (folder / "snapshot.json").write_text(json.dumps(with_checksum(described)), "utf-8")


def _key(point_id: PointId) -> bytes:
    """Return an id as bytes whose order is that of ids: integers first."""
    kind, digits = (2, point_id.replace("-", "")) if isinstance(point_id, str) else (1, f"{point_id:032x}")
    return bytes([kind, *bytes.fromhex(digits), 46])


def _arrays(
    points: Sequence[Point], field: str, space: FeatureSpace, words: Words
) -> dict[str, np.ndarray[Any, Any]]:
    """Return a page of points as columns."""
    dense, text = (suffixed(name, field) for name in (DENSE, TEXT))
    none = np.zeros(space.sae.dimension, np.float32)
    codes = codes_of(points, space.n_features, field)
    texts = [point.payload.get(text) or "" for point in points]
    word_sizes, word_indices = words.of(texts)
    return {
        "keys": np.array([_key(point.id) for point in points], ARRAYS["keys"]),
        "vectors": np.array([point.vectors.get(dense, none) for point in points], np.float32),
        "sizes": np.diff(codes.indptr),
        "indices": codes.indices,
        "values": codes.values,
        "word_sizes": word_sizes,
        "word_indices": word_indices,
        "lengths": np.array([len(one.split()) for one in texts]),
        "text_sizes": np.array([len(one.encode()) for one in texts]),
    }


def level_columns(payloads: Sequence[JsonObject], field: str) -> dict[str, np.ndarray[Any, Any]]:
    """Return the features that records reach, with their levels and evidence in one number each."""
    listed = [payload.get(suffixed(CONCEPTS, field)) or () for payload in payloads]
    owners = np.repeat(np.arange(len(payloads)), [len(own) for own in listed])
    features, levels = np.divmod(integers(listed), LEVEL_STRIDE)
    bits = 1 << levels
    kept = [suffixed(name, field) for name in (EVIDENCE, SPEAKING)]
    has_evidence = np.array([kept[0] in payload for payload in payloads], bool)
    is_said = (levels == POSSIBLE) & has_evidence[owners]
    for key, shift in zip(kept, (OF_LEVELS, OF_LEVELS + OF_PERCENT), strict=True):
        bits[is_said] |= numbers_in(payload[key] for payload in payloads if key in payload) << shift
    most = int(features.max(initial=0)) + 1
    reached = owners * most + features
    order = np.argsort(reached, kind="stable")
    firsts = np.flatnonzero(np.diff(reached[order], prepend=-1))
    reached = reached[order][firsts]
    sizes = np.bincount(reached // most, minlength=len(payloads))
    packed = np.bitwise_or.reduceat(bits[order], firsts)
    return {"level_sizes": sizes, "level_indices": reached % most, "levels": packed}


def reached_of(levels: Mapping[str, np.ndarray[Any, Any]], n_features: int) -> csr_matrix:
    """Return what :func:`level_columns` found as a matrix (m, n), as :class:`Snapshot` has it."""
    from scipy.sparse import csr_matrix

    sizes, indices, packed = (levels[name] for name in ("level_sizes", "level_indices", "levels"))
    starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
    return csr_matrix((packed, indices, starts), shape=(len(sizes), n_features))


def _opened(folder: Path, space: FeatureSpace, field: str, owner: object = None) -> Snapshot:
    from scipy.sparse import csr_matrix

    described = _json(folder / "snapshot.json")
    found = {name: _mapped(folder / f"{name}.bin", kind) for name, kind in ARRAYS.items()}
    vocabulary = _json(folder / VOCABULARY)
    count = described["points"]
    starts, word_starts, text_starts = (
        np.concatenate([[0], np.cumsum(found[name], dtype=np.int64)])
        for name in ("sizes", "word_sizes", "text_sizes")
    )
    shape = count, described["n_features"]
    words = np.ones(int(word_starts[-1]), np.float32)
    ids, documents = (
        json.loads(f"[{','.join(_lines(folder / name))}]") for name in ("ids.jsonl", "documents.jsonl")
    )
    texts, places = _mapped(folder / f"{TEXTS}.bin", "u1"), dict[str, int]()

    def read_texts(wanted: Sequence[str]) -> list[str]:
        _ = owner  # a reference, so that the temporary files exist as long as this reader
        if not places:
            places.update({record: row for row, record in enumerate(ids)})
        rows = [places[one] for one in wanted]
        return [texts[text_starts[row] : text_starts[row + 1]].tobytes().decode() for row in rows]

    return Snapshot(
        space,
        field,
        tuple(ids),
        found["vectors"].reshape(count, described["dimension"]),
        csr_matrix((found["values"], found["indices"], starts), shape=shape),
        reached_of(found, described["n_features"]),
        csr_matrix((words, found["word_indices"], word_starts), shape=(count, max(1, len(vocabulary)))),
        tuple(vocabulary),
        found["lengths"],
        _lines(folder / "metadata.jsonl"),
        read_texts,
        documents,
    )


def _json(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def _mapped(path: Path, kind: str) -> np.ndarray[Any, Any]:
    return np.memmap(path, kind, "r") if path.stat().st_size else np.zeros(0, kind)


def _lines(path: Path) -> list[str]:
    return path.read_text("utf-8").split("\n")[:-1]
