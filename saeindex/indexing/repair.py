"""Repair of a damaged index: what can be derived is made again from what is sound.

A record whose text and metadata are sound gets new vectors and concepts from its text. A record whose text is
damaged is taken out, so that indexing its source again brings it back; what could be read of it is written
to ``damaged.jsonl``. An embedded index is read from a copy of its files and written anew, and replaced when
that is complete: an interrupted repair changes nothing.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saeindex.config import (
    CACHE_FOLDER,
    CONCEPTS,
    PASSAGES,
    RECORD_CONCEPTS,
    TEXT,
    suffixed,
)
from saeindex.errors import DamageError, IndexLockedError, SaeIndexError
from saeindex.features import FeatureSpace
from saeindex.files import DRAFT, former, replacing, replacing_folder, with_checksum
from saeindex.indexing.examination import Examination, examined
from saeindex.indexing.manifest import Counts, Manifest, PassageSetting
from saeindex.indexing.passages import PassageOptions
from saeindex.indexing.pipeline import progress_bar
from saeindex.indexing.points import Coded, content_hash, point_id
from saeindex.indexing.restoration import RestoredFiles
from saeindex.protocols import Damage, Point
from saeindex.stores.checksums import MISSING
from saeindex.stores.directory import (
    GROWTH,
    DirectoryLock,
    IndexDirectory,
    require_space,
    write_json,
    write_manifest,
)
from saeindex.stores.edge import EdgeStore
from saeindex.stores.isolated import IsolatedStore
from saeindex.stores.layouts import layout_to_json
from saeindex.stores.seal import Seal
from saeindex.types import Record

if TYPE_CHECKING:
    from saeindex.indexing.create_open import IndexParts
    from saeindex.protocols import Layout, TextEncoder, Vector, VectorStore

DAMAGED_FILE = "damaged.jsonl"
# Parts that are made again from a text.
_DERIVED = (RECORD_CONCEPTS, CONCEPTS)
MAX_PASSAGES = 10_000
# Limits of the engine when it opens damaged files: bytes besides those of the files, and seconds.
MEMORY, SECONDS = 2 * 2**30, 1_800


@dataclass(frozen=True, slots=True)
class RepairReport:
    """What a repair did: restored files, sound points, records encoded again, and records taken out.

    What could be read of those taken out is in ``damaged_file``; a point of no record is named as a point.
    ``missing`` is the number of records that the index had at the end of its last run and that are not there,
    besides those taken out.
    """

    restored: tuple[str, ...]
    points: int
    encoded_again: tuple[str, ...]
    lost: tuple[str, ...]
    missing: int
    is_rebuilt: bool
    damaged_file: str | None


def repair_index(
    path: Path,
    open_encoder: Callable[[FeatureSpace], TextEncoder] | None = None,
    on_points: Callable[[int], object] = lambda _: None,
) -> RepairReport:
    """Repair the index in a directory, if it is damaged.

    Raises:
        NotFoundError: there is no index.
        IndexLockedError: it is open.
        DamageError: the engine cannot open what is left, or the feature space cannot be restored.
    """
    directory = IndexDirectory(path)
    _check_is_index(directory)
    with _owned(directory):
        if not directory.points.is_dir() and former(directory.points).is_dir():
            former(directory.points).rename(directory.points)  # an earlier repair was killed at its end
        files = RestoredFiles.of(directory)
        space, manifest = files.space, files.manifest
        mender = Mender(space, open_encoder or FeatureSpace.open_encoder)
        with _salvaged(directory, files) as (damaged, is_in_place):
            before = Examination.of(damaged, space.n_features, on_points) if is_in_place else None
            is_sound = before is not None and _is_sound(before, damaged)
            if not is_sound:
                found = _rebuild(damaged, directory, files.layout, mender, on_points)
        if is_sound:
            assert before is not None  # noqa: S101
            found = before
        write_json(directory.layout, with_checksum(layout_to_json(files.layout)))
        write_manifest(directory, _counted(manifest, found, _passage_setting(manifest, found, space)))
        shutil.rmtree(path / CACHE_FOLDER, ignore_errors=True)
        mender.write_lost(path / DAMAGED_FILE)
    return mender.report(manifest, found, tuple(files.restored), not is_sound)


def repaired(path: str | Path, opened: IndexParts | None, progress: bool) -> RepairReport:
    """Repair the index in a directory, or the ``opened`` one on a server, and close it."""
    with progress_bar(f"repairing {path}", "points", None, progress) as bar:
        if opened is None:
            return repair_index(Path(path), on_points=bar.update)
        try:
            parts = opened.store, opened.manifest, opened.space, Path(f"{path}.{DAMAGED_FILE}")
            return repair_collection(*parts, on_points=bar.update)
        finally:
            opened.store.close()


def repair_collection(
    store: VectorStore,
    manifest: Manifest,
    space: FeatureSpace,
    damaged_file: Path,
    open_encoder: Callable[[FeatureSpace], TextEncoder] | None = None,
    on_points: Callable[[int], object] = lambda _: None,
) -> RepairReport:
    """Repair the records of a collection on a server, in place."""
    mender = Mender(space, open_encoder or FeatureSpace.open_encoder)
    for page in examined(store):
        mender.take([one for one in page if isinstance(one, Damage)])
        on_points(len(page))
    store.upsert(mender.mended())
    mender.write_lost(damaged_file)  # before they are taken out
    found = _completed(store, mender)
    store.write_manifest(_counted(manifest, found, {}))
    return mender.report(manifest, found, (), is_rebuilt=False)


def _counted(manifest: Manifest, found: Examination, known: Mapping[str, Any]) -> dict[str, Any]:
    counts = Counts(records=len(found.records), points=found.points)
    return manifest.renewed().model_copy(update={"counts": counts, **known}).to_json()


class Mender:
    """Makes damaged points again from their texts, and keeps those whose texts are damaged."""

    def __init__(self, space: FeatureSpace, open_encoder: Callable[[FeatureSpace], TextEncoder]) -> None:
        """``open_encoder`` is called if a text must be encoded."""
        self._space, self._open_encoder = space, open_encoder
        self._damaged: list[Damage] = []
        self.encoded_again: set[str] = set()
        self.lost: dict[str, list[Damage]] = {}
        self.nameless: list[Damage] = []
        self.damaged_file: str | None = None

    def take(self, damaged: Sequence[Damage]) -> None:
        """Keep damaged points for :meth:`mended`."""
        self._damaged += damaged

    def mended(self) -> list[Point]:
        """Return the points that can be made again; all others are ``lost``, by record, or ``nameless``."""
        points = []
        for damage in self._damaged:
            if _has_sound_text(damage):
                points.append(self._encoded(damage.point))
                self.encoded_again.add(str(damage.point.payload["record_id"]))
            elif isinstance(name := damage.point.payload.get("record_id"), str):
                self.lost.setdefault(name, []).append(damage)
            else:
                self.nameless.append(damage)
        self._damaged = []
        return points

    def write_lost(self, path: Path) -> None:
        """Write what could be read of the points that are not mended to a file, if there are any."""
        by_record = [(record, one) for record, found in sorted(self.lost.items()) for one in found]
        rows = [
            {
                "id": r,
                "point": str(one.point.id),
                "damaged": list(one.parts),
                "payload": dict(one.point.payload),
            }
            for r, one in (*by_record, *((None, one) for one in self.nameless))
        ]
        if rows:
            with replacing(path) as draft:
                text = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
                draft.write_text(text + "\n", "utf-8", errors="backslashreplace")
            self.damaged_file = str(path)

    def report(
        self, manifest: Manifest, found: Examination, restored: tuple[str, ...], is_rebuilt: bool
    ) -> RepairReport:
        """Return what was done, when ``found`` is what there is now."""
        lost = (*sorted(self.lost), *(one.name for one in self.nameless))
        again = tuple(sorted(self.encoded_again - self.lost.keys()))
        missing = max(0, manifest.counts.records - len(found.records) - len(lost))
        return RepairReport(restored, found.points, again, lost, missing, is_rebuilt, self.damaged_file)

    def _encoded(self, point: Point) -> Point:
        names = _text_names(point.payload)
        texts = [str(point.payload[suffixed(TEXT, name)]) for name in names]
        vectors = self._open_encoder(self._space).encode_document(texts)
        coded = Coded(vectors, self._space.sae.encode(vectors), self._space.calibration)
        payload = dict(point.payload)
        named: dict[str, Vector] = {}
        for row, name in enumerate(names):
            named |= coded.vectors_of(row, name)
            payload[suffixed(CONCEPTS, name)] = coded.concepts(row)
        payload.pop(RECORD_CONCEPTS, None)
        return Point(point.id, named, payload)


def _text_names(payload: Mapping[str, Any]) -> list[str]:
    """Return the names of a point's texts: "" for the main text, and those of further fields."""
    return [key[len(TEXT) + 1 :] for key in payload if key == TEXT or key.startswith(f"{TEXT}_")]


def _has_sound_text(damage: Damage) -> bool:
    """Return whether all that a point is made from is what was written."""
    payload, kinds = damage.point.payload, set(damage.parts)
    content = {one for one in kinds if not one.startswith(("vector ", *_DERIVED))}
    if content == {MISSING} and payload.get("passage") == 0 and PASSAGES not in payload:
        with suppress(TypeError, ValueError, KeyError):
            further = {name: payload[suffixed(TEXT, name)] for name in _text_names(payload) if name}
            record = Record(payload["record_id"], payload[TEXT], payload["metadata"], further)
            is_own = point_id(record.id) == damage.point.id
            return is_own and content_hash(record) == payload["content_hash"]
    return not content and "record_id" in payload and TEXT in payload


# An embedded index -----------------------------------------------------------------------------------


def _check_is_index(directory: IndexDirectory) -> None:
    kept = (directory.layout, directory.manifest, directory.manifest_copy, directory.points)
    if not any(path.exists() for path in kept):
        directory.check_complete()  # its error says what is missing
    if not directory.points.is_dir() and not former(directory.points).is_dir():
        do = "Restore it from a backup, or index the records again at another path."
        raise DamageError(f"repairing {str(directory.root)!r}", "its directory 'points' is missing", do)


def _passage_setting(
    manifest: Manifest, found: Examination, space: FeatureSpace
) -> dict[str, PassageSetting]:
    """Return how long texts are split at most, if the setting was lost and there are split texts."""
    if manifest.passages is not None or found.points == len(found.records):
        return {}
    usual = PassageOptions(space.encoder.max_length - 2)  # room for the special tokens
    return {"passages": PassageSetting(max_tokens=usual.max_tokens, overlap=usual.overlap)}


@contextmanager
def _owned(directory: IndexDirectory) -> Iterator[None]:
    lock = DirectoryLock(directory.root)
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _salvaged(directory: IndexDirectory, files: RestoredFiles) -> Iterator[tuple[IsolatedStore, bool]]:
    """Open a copy of the engine's files; say whether they were as they had been when the index was closed."""
    broken, sizes = ["seal.json"], dict[str, int]()
    with suppress(DamageError):  # the seal itself is damaged
        seal = Seal.read(directory)
        broken, sizes = list(seal.broken()), seal.sizes()
    # Damaged indexes of fields can make the engine take all memory; they are made anew anyway.
    first = [_without_indexes] if any("payload_index/" in one for one in broken) else []
    draft = directory.root / f".repair{DRAFT}"
    size = sum(file.stat().st_blocks * 512 for file in directory.points.rglob("*") if file.is_file())
    require_space(directory.root, size // GROWTH)
    try:
        described = with_checksum({**layout_to_json(files.layout), "checksums": files.has_checksums})
        for step in range(len(_REMEDIES) + 1):
            shutil.rmtree(draft, ignore_errors=True)
            shutil.copytree(directory.points, draft / "points")
            _pad(draft / "points", sizes)
            for remedy in (*first, *_REMEDIES[:step]):
                remedy(draft, files.layout)
            write_json(draft / "layout.json", described)
            try:
                store = IsolatedStore.open(draft, MEMORY + 2 * size, SECONDS)
            except IndexLockedError:
                raise
            except SaeIndexError as error:
                if step == len(_REMEDIES):
                    do = "Restore a backup, or index the records again at another path."
                    raise DamageError(f"repairing {str(directory.root)!r}", error.found, do) from error
                continue
            try:
                yield store, not broken and not step and files.has_checksums
            finally:
                store.close()
            return
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _pad(points: Path, sizes: dict[str, int]) -> None:
    """Fill the mapped files that were cut off with zeros: the engine maps them whole."""
    for name, size in sizes.items():
        path = points / name
        if path.suffix in (".dat", ".mmap") and path.is_file() and path.stat().st_size < size:
            os.truncate(path, size)


def _without_log(draft: Path, _: Layout) -> None:
    shutil.rmtree(draft / "points" / "wal", ignore_errors=True)


def _with_new_configuration(draft: Path, layout: Layout) -> None:
    """Replace the configuration of the engine and its segments by that of a new index of the same layout."""
    new = draft / "new"
    EdgeStore.create(new, layout).close()
    shutil.copy(new / "points" / "edge_config.json", draft / "points" / "edge_config.json")
    made = next((new / "points" / "segments").iterdir())
    for segment in (draft / "points" / "segments").iterdir():
        for name in ("segment.json", "version.info", "payload_index/config.json"):
            shutil.copy(made / name, segment / name)
    shutil.rmtree(new)


def _without_indexes(draft: Path, _: Layout) -> None:
    for path in (draft / "points" / "segments").glob("*/payload_index"):
        shutil.rmtree(path)


# What is tried, one after the other, if the engine cannot open its files.
_REMEDIES: tuple[Callable[[Path, Layout], None], ...] = (
    _without_log,
    _with_new_configuration,
    _without_indexes,
)


def _is_sound(found: Examination, store: VectorStore) -> bool:
    return not found.damaged and not found.incomplete and not found.wrong_facets(store)


def _rebuild(
    damaged: IsolatedStore,
    directory: IndexDirectory,
    layout: Layout,
    mender: Mender,
    on_points: Callable[[int], object],
) -> Examination:
    """Write the points of ``damaged`` into new files, and replace the engine's files by them."""
    draft = directory.root / f".rebuilt{DRAFT}"
    shutil.rmtree(draft, ignore_errors=True)
    try:
        with EdgeStore.create(draft, layout) as store:
            for page in examined(damaged):
                store.upsert([one for one in page if isinstance(one, Point)])
                mender.take([one for one in page if isinstance(one, Damage)])
                on_points(len(page))
            store.upsert(mender.mended())
            found = _completed(store, mender)
        directory.seal.unlink(missing_ok=True)
        with replacing_folder(directory.points, durable=True) as target:
            for path in (draft / "points").iterdir():
                path.rename(target / path.name)
        return found
    finally:
        shutil.rmtree(draft, ignore_errors=True)


# Both -------------------------------------------------------------------------------------------------


def _completed(store: VectorStore, mender: Mender) -> Examination:
    """Take out lost and incomplete records, renew the concepts of split ones, and examine the result."""
    found = Examination.of(store, mender._space.n_features)
    for record in found.incomplete:
        mender.lost.setdefault(record, [])
    taken_out = sorted(mender.lost)
    for start in range(0, len(taken_out), 500):
        store.delete(query_filter=_of_records(taken_out[start : start + 500]))
    store.delete([one.point.id for one in mender.nameless])
    _renew_record_concepts(store, sorted(mender.encoded_again - mender.lost.keys()))
    is_changed = taken_out or mender.nameless or mender.encoded_again
    return Examination.of(store, mender._space.n_features) if is_changed else found


def _renew_record_concepts(store: VectorStore, records: Sequence[str]) -> None:
    for record in records:
        points = store.scroll(_of_records([record]), MAX_PASSAGES, with_payload=["passage", CONCEPTS]).points
        if len(points) > 1:
            first = next(point for point in points if point.payload["passage"] == 0)
            union = sorted({code for point in points for code in point.payload[CONCEPTS]})
            store.set_payload({first.id: {RECORD_CONCEPTS: union}})


def _of_records(ids: Sequence[str]) -> Any:
    from qdrant_client.models import FieldCondition, Filter, MatchAny

    return Filter(must=[FieldCondition(key="record_id", match=MatchAny(any=list(ids)))])
