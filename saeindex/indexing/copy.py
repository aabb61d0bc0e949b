"""Copies: a new index of the stored records of another one, whatever its format.

Pages of points are read in the order of their ids, and written with vectors as they are (the same space),
with codes made anew from the stored vectors (another space of the encoder, or levels of this corpus), or with
vectors of another encoder made from the texts. Until the copy is complete its manifest says so: it cannot be
opened, and the same copy continues it. At the end every record is read back and compared.

An index of format 1 may have *passages*: points of one record. They become the records ``ID#0``, ``ID#1``, …
of a document. What refers to features by number (names that a person gave, profiles, baselines) moves to the
features that correspond, and is listed where there is none.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import AliasChoices, BaseModel, Field, ValidationError

from saeindex.config import (
    CONCEPTS,
    DEFAULT_SPACE,
    DENSE,
    DOCUMENT,
    FORMAT_VERSION,
    SAE,
    SPACE_FOLDER,
    TEXT,
    TRUNCATED,
    suffixed,
)
from saeindex.errors import DamageError, InvalidInputError, MismatchError, NotFoundError, StorageError
from saeindex.features import FeatureSpace
from saeindex.features.calibration import Calibration, CalibrationMeter
from saeindex.features.labels import MANUAL
from saeindex.features.space_map import SpaceMapping, carry_manual_labels, map_spaces
from saeindex.files import without_checksum
from saeindex.indexing.create_open import PLACE, IndexParts, create_index
from saeindex.indexing.manifest import Copying, Counts, Manifest, OwnCalibration
from saeindex.indexing.names import MIN_RECORDS, NameEdits, OwnNames, learned, read_sample
from saeindex.indexing.pipeline import progress_bar
from saeindex.indexing.points import (
    CONTENT_HASH,
    DOCUMENT_HASH,
    Coded,
    codes_of,
    content_hash,
    point_id,
    stored_record,
)
from saeindex.indexing.split import is_cut, piece_id
from saeindex.protocols import Point
from saeindex.schema import check_kind
from saeindex.stores.base import pages
from saeindex.stores.directory import check_outside
from saeindex.stores.open import open_store
from saeindex.types import Record

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from qdrant_client import QdrantClient

    from saeindex.protocols import TextEncoder, Vector, VectorStore
    from saeindex.types import FloatArray

PAGE = 500
# Records whose activations match the features of two spaces.
MATCHED_RECORDS = 20_000
# Records that a feature needs at a level to say how much commoner its counterpart is.
FEW = 20
# Payload fields that saeindex writes; others, of other programs, are copied as they are.
OURS = frozenset({"record_id", "metadata", "passage", "passages", "record_concepts", "checksums"}
                 | {CONTENT_HASH, DOCUMENT, DOCUMENT_HASH, TRUNCATED})  # fmt: skip


@dataclass(frozen=True, slots=True)
class FeatureTranslation:
    """What became of each feature: the new number by the old one, or its label if it is ``gone``.

    ``ratios`` say how many records have the new feature for one that has the old, by level; None where few
    have it.
    """

    features: Mapping[int, int]
    gone: Mapping[int, str]
    ratios: Mapping[int, Sequence[float | None]]
    fingerprint: str

    @classmethod
    def of(
        cls, mapping: SpaceMapping, old: FeatureSpace, new: FeatureSpace, vectors: FloatArray
    ) -> FeatureTranslation:
        """Take the matches of two spaces, and count their features in embeddings (m, d)."""
        before, after = (_level_counts(space, vectors) for space in (old, new))
        features = {match.old: match.new for match in mapping.matches}
        ratios = {
            a: [
                round(float(new / old), 4) if old >= FEW else None
                for old, new in zip(before[:, a], after[:, b], strict=True)
            ]
            for a, b in features.items()
        }
        return cls(features, {lost.id: lost.label for lost in mapping.lost}, ratios, new.fingerprint)


@dataclass(frozen=True, slots=True)
class CopyReport:
    """What a copy did: its number of ``records``, and what of the index it could not carry over.

    ``skipped`` are points without an id, a text or a vector. ``lost_names`` and ``lost_profiles`` are those
    that have no counterpart in the new space; ``lost_edits`` has, by profile, the labels of concepts whose
    weights were lost. ``translation`` says what became of each feature, if the features are others. Of an
    index that has no (sound) manifest, names and profiles are unknown.
    """

    source: str
    target: str
    space: str
    records: int
    names: int = 0
    profiles: tuple[str, ...] = ()
    lost_names: tuple[str, ...] = ()
    lost_profiles: tuple[str, ...] = ()
    lost_edits: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    skipped: tuple[str, ...] = ()
    translation: FeatureTranslation | None = None
    has_manifest: bool = True

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types, without the translation."""
        kept = {name: getattr(self, name) for name in self.__slots__ if name != "translation"}
        return {key: list(one) if isinstance(one, tuple) else one for key, one in kept.items()}


@dataclass(frozen=True, slots=True)
class CopyTarget:
    """Where a copy is made, and how; see :func:`copy_index`."""

    path: str | Path
    space: FeatureSpace | str | Path | None
    client: QdrantClient | None
    url: str | None
    encoder: TextEncoder | None
    calibrate: bool
    progress: bool

    @property
    def folder(self) -> Path | None:
        """The directory of the copy; None for a collection on a server."""
        return Path(self.path) if self.client is None and self.url is None else None


@dataclass(frozen=True, slots=True)
class _Source:
    """An index to copy: its store, and what its manifest says, or what can be told without one."""

    name: str
    store: VectorStore
    folder: Path | None
    space: FeatureSpace | None
    fields: tuple[str, ...]
    payload_indexes: Mapping[str, Any]
    revision: str
    has_passages: bool
    has_codes: bool
    calibration: Calibration | None = None
    names: OwnNames | None = None
    edits: NameEdits = field(default_factory=NameEdits)
    profiles: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    has_manifest: bool = True
    wanted: str = ""
    """The fingerprint of its space, if that is lost."""


def copy_index(
    source: str | Path,
    target: str | Path,
    space: FeatureSpace | str | Path | None = None,
    *,
    source_client: QdrantClient | None = None,
    source_url: str | None = None,
    client: QdrantClient | None = None,
    url: str | None = None,
    encoder: TextEncoder | None = None,
    calibrate: bool = False,
    progress: bool = False,
) -> CopyReport:
    """Make a new index of the records of another one, which may be of an earlier format or lack its manifest.

    Each is a directory, or a collection if a client or a url is given. ``space`` is another feature space: of
    the same encoder, codes are made from the stored vectors; of another one (given as ``encoder``, else
    opened by the space), the texts are encoded again. ``calibrate`` measures the levels (typical, strong) on
    these records. An interrupted copy is continued by the same call. To switch over, rename the directory, or
    point the collection's alias at the copy.

    Raises:
        NotFoundError: there is no index at ``source``.
        MismatchError: there is another index at ``target``.
        StorageError: the copy is not what was read.
    """
    check_kind(f"index {source!r:.80}", source, (str, Path), "Give its path, or its name on a server.")
    store = open_store(source, client=source_client, url=source_url)
    try:
        is_directory = source_client is None and source_url is None
        read = _read_source(str(source), store, Path(source) if is_directory else None)
        return _copied(read, CopyTarget(target, space, client, url, encoder, calibrate, progress))
    finally:
        store.close()


def copy_parts(name: str, parts: IndexParts, target: CopyTarget) -> CopyReport:
    """Copy an open index; see :func:`copy_index`."""
    return _copied(_of_parts(name, parts), target)


# What is copied ---------------------------------------------------------------------------------------


class _FormerSpace(BaseModel):
    name: str = ""
    fingerprint: str = ""


class _FormerNames(OwnNames):
    records: int = Field(validation_alias=AliasChoices("points", "records"))


class _Former(BaseModel):
    """What is read of a manifest of format 1; other fields are ignored."""

    revision: str = ""
    space: _FormerSpace = _FormerSpace()
    calibration: OwnCalibration | None = None
    names: _FormerNames | None = None
    edits: NameEdits | None = None
    profiles: dict[str, dict[str, Any]] | None = None
    recalibration: Any = None
    upgrade: Any = None


def _read_source(name: str, store: VectorStore, folder: Path | None) -> _Source:
    kept: Mapping[str, Any] = {}
    with suppress(DamageError):
        kept = without_checksum(store.read_manifest()) or {}
    if kept.get("copying"):
        found = "it is itself a copy that is not complete"
        raise MismatchError(f"copy {name}", found, "Finish it, or copy the index that it is a copy of.")
    version = kept.get("format_version", 1)
    if version not in {1, FORMAT_VERSION}:
        Manifest.parse(kept, name)  # raises
    if version != 1:
        with suppress(MismatchError, DamageError, NotFoundError):
            manifest = Manifest.parse(kept, name)
            space = FeatureSpace.load(manifest.space.name if folder is None else folder / SPACE_FOLDER)
            parts = IndexParts(store, manifest.with_own_levels(space, name), manifest, folder)
            return _of_parts(name, parts)
    fields = tuple(one.removeprefix(f"{DENSE}_") for one in store.layout.dense if one != DENSE)
    try:
        former = _Former.model_validate(kept)
    except ValidationError:  # as good as lost
        kept, former = {}, _Former()
    calibration = None if former.calibration is None else former.calibration.calibration()
    return _Source(
        name,
        store,
        folder,
        _old_space(former, folder, calibration),
        fields,
        _own_indexes(store),
        former.revision,
        _has_passages(store),
        # An interrupted change of levels or codes left some of both.
        has_codes=bool(kept) and not (former.recalibration or former.upgrade),
        calibration=calibration,
        names=former.names,
        edits=former.edits or NameEdits(),
        profiles=former.profiles or {},
        has_manifest=bool(kept),
        wanted=former.space.fingerprint,
    )


def _of_parts(name: str, parts: IndexParts) -> _Source:
    store, manifest = parts.store, parts.manifest
    own = manifest.calibration
    return _Source(
        name,
        store,
        parts.folder,
        parts.space,
        tuple(manifest.fields),
        _own_indexes(store),
        manifest.revision,
        has_passages=False,
        has_codes=True,
        calibration=None if own is None else own.calibration(),
        names=manifest.names,
        edits=manifest.edits,
        profiles=manifest.profiles,
    )


def _old_space(kept: _Former, folder: Path | None, calibration: Calibration | None) -> FeatureSpace | None:
    """Return the space of an index of format 1, or of a directory without a manifest; None if it is lost."""
    with suppress(NotFoundError, MismatchError):
        space = FeatureSpace.load(kept.space.name if folder is None else folder / SPACE_FOLDER)
        wanted = kept.space.fingerprint or space.fingerprint
        if space.fingerprint != wanted and calibration is not None:
            space = replace(space, calibration=calibration)
        return space if space.fingerprint == wanted else None
    return None


def _own_indexes(store: VectorStore) -> dict[str, Any]:
    """Return the payload indexes that a person asked for."""
    indexes = store.layout.payload_indexes.items()
    return {key: kind for key, kind in indexes if key.startswith("metadata.")}


def _has_passages(store: VectorStore) -> bool:
    from qdrant_client.models import FieldCondition, Filter, Range

    later = FieldCondition(key="passage", range=Range(gte=1))
    return bool(store.scroll(Filter(must=[later]), 1, with_payload=False).points)


# The copy ---------------------------------------------------------------------------------------------


def _copied(source: _Source, target: CopyTarget) -> CopyReport:
    check_kind(f"a copy at {target.path!r:.80}", target.path, (str, os.PathLike), PLACE)
    if target.folder is not None:
        check_outside(source.folder, target.folder, "a copy of the index")
    new = _target_space(source, target.space)
    source = _with_lost_space(source, new, target.space is not None)
    is_encoded = source.space is not None and bool(source.space.encoder.differences(new.encoder))
    if source.store.layout.dense.get(DENSE) != new.encoder.dimension and not is_encoded:
        found = f"its vectors have {source.store.layout.dense.get(DENSE)} dimensions"
        do = f"Name a space whose encoder has as many; {new.name!r} has {new.encoder.dimension}."
        raise MismatchError(f"copy {source.name}", found, do)
    if target.encoder is not None:
        new.check_encoder(target.encoder)
    place = source.name if source.folder is None else str(source.folder.resolve())
    mark = json.dumps([place, source.revision, new.fingerprint, is_encoded, target.calibrate])
    digest = hashlib.sha256(mark.encode()).hexdigest()[:32]
    opened = cache(lambda: new.open_encoder() if target.encoder is None else target.encoder)
    converter = _Converter(source, new, opened, is_encoded)
    if target.calibrate:
        converter = converter.calibrated()
        new = converter.space
    manifest = Manifest.describe(new, source.payload_indexes, source.fields).model_copy(
        update={"copying": Copying(source=source.name, digest=digest)}
    )
    if target.calibrate or (source.calibration is not None and target.space is None):
        manifest = manifest.model_copy(update={"calibration": OwnCalibration.keep(new.calibration)})
    parts = _begun(target, new, manifest)
    try:
        report = _filled(source, converter, parts, target)
        return _settled(source, converter, parts, report)
    finally:
        parts.store.close()


def _with_lost_space(source: _Source, new: FeatureSpace, is_named: bool) -> _Source:
    """Return the source with the space of the copy, if that is the source's, which has lost it.

    MismatchError if it is another one, which nobody named.
    """
    if source.space is not None or not source.wanted:
        return source
    own = source.calibration
    same = new if own is None or new.fingerprint == source.wanted else replace(new, calibration=own)
    if same.fingerprint == source.wanted:
        return replace(source, space=same)
    if is_named:
        return source
    lost = f"its feature space ({source.wanted[:12]}) is lost"
    raise MismatchError(f"copy {source.name}", lost, "Name it, or another one, with --space.")


def _target_space(source: _Source, space: FeatureSpace | str | Path | None) -> FeatureSpace:
    if space is not None:
        return space if isinstance(space, FeatureSpace) else FeatureSpace.load(space)
    return FeatureSpace.load(DEFAULT_SPACE) if source.space is None else source.space


def _begun(target: CopyTarget, space: FeatureSpace, manifest: Manifest) -> IndexParts:
    """Create the target, or continue the same copy."""
    assert manifest.copying is not None  # noqa: S101
    try:
        return create_index(target.path, space, manifest, target.client, target.url, False, {})
    except MismatchError as exists:
        store = open_store(target.path, client=target.client, url=target.url)
        begun = store.read_manifest().get("copying") or {}
        if begun.get("digest") == manifest.copying.digest:
            return IndexParts(store, space, manifest, target.folder)
        store.close()
        if not begun:
            raise
        found = f"it is an incomplete copy of {begun.get('source')}, of another state or with other options"
        raise MismatchError(exists.asked, found, "Delete it, and copy again.") from None


def _filled(source: _Source, converter: _Converter, parts: IndexParts, target: CopyTarget) -> CopyReport:
    """Write all records, and read them back."""
    store, digest, records, skipped = parts.store, 0, 0, list[str]()
    with progress_bar("copy", "records", source.store.count(), target.progress) as bar:
        for page in pages(source.store, None, PAGE, True, True):
            points, unfit = converter.converted(page.points)
            known = {
                p.id: p.payload.get(CONTENT_HASH) for p in store.get([p.id for p in points], [CONTENT_HASH])
            }
            store.upsert([p for p in points if known.get(p.id) != p.payload[CONTENT_HASH]])
            digest ^= _digest(points)
            records += len(points)
            skipped += unfit
            bar.update(len(page.points))
    store.flush()
    if (store.count(), _digest_of(store, source.fields)) != (records, digest):
        found = "what is stored in the copy is not what was read"
        raise StorageError(
            f"copy {source.name} to {target.path}", found, "Delete the copy, and copy it again."
        )
    kept = {"skipped": tuple(skipped), "has_manifest": source.has_manifest}
    return CopyReport(source.name, str(target.path), parts.space.name, records, **kept)  # type: ignore[arg-type]


def _digest(points: Sequence[Point]) -> int:
    """Return a number that depends on the ids and contents of points, and not on their order."""
    total = 0
    for point in points:
        text = f"{point.id} {point.payload[CONTENT_HASH]}".encode()
        total ^= int.from_bytes(hashlib.blake2b(text, digest_size=16).digest())
    return total


def _digest_of(store: VectorStore, fields: Sequence[str]) -> int:
    """Return the digest of the records of a store, from their texts and metadata."""
    total = 0
    for page in pages(store, None, PAGE):
        hashed = [
            replace(point, payload={CONTENT_HASH: content_hash(stored_record(point.payload, fields))})
            for point in page.points
        ]
        total ^= _digest(hashed)
    return total


@dataclass(frozen=True, slots=True)
class _Converter:
    """Turns points of a source into points of its copy."""

    source: _Source
    space: FeatureSpace
    opened: Callable[[], TextEncoder]
    """Returns the encoder of the copy, opened once if it is needed."""
    is_encoded: bool

    @property
    def keeps_codes(self) -> bool:
        """Whether codes and levels are copied as they are."""
        old = self.source.space
        is_same = old is not None and old.fingerprint == self.space.fingerprint
        return is_same and self.source.has_codes and not self.is_encoded

    def calibrated(self) -> _Converter:
        """Return the converter to levels that are measured on the source's records."""
        meter = CalibrationMeter(self.space.n_features)
        for page in pages(self.source.store, None, PAGE, True, True):
            points, _ = self.converted(page.points)
            dense = [np.asarray(point.vectors[DENSE]) for point in points]
            meter.add(codes_of(points, self.space.n_features), np.stack(dense) if dense else None)
        measured = meter.measured()
        if not measured.records:
            raise InvalidInputError(f"calibrate a copy of {self.source.name}", "it is empty", "Leave it out.")
        own = measured.with_rare_levels_of(self.space.calibration)
        report = {**self.space.report, "calibrated_on": measured.records}
        return replace(self, space=replace(self.space, calibration=own, report=report))

    def converted(self, points: Sequence[Point]) -> tuple[list[Point], list[str]]:
        """Return the points of a page in the copy, and the names of those that are no records."""
        firsts = self._firsts(points)
        sound, unfit = list[tuple[Point, Record]](), list[str]()
        for point in points:
            payload = point.payload
            has_text = isinstance(payload.get("record_id"), str) and isinstance(payload.get(TEXT), str)
            if not has_text or (DENSE not in point.vectors and not self.is_encoded):
                unfit.append(str(payload.get("record_id", point.id)))
                continue
            whole = firsts.get(payload["record_id"], point)
            sound.append((self._with_fields(point, whole), self._record(point, whole)))
        return list(self._written(sound)), unfit

    def _firsts(self, points: Sequence[Point]) -> dict[str, Point]:
        """Return the first passages of records, which alone have their further texts."""
        if not (self.source.has_passages and self.source.fields):
            return {}
        from qdrant_client.models import FieldCondition, Filter, MatchAny, MatchValue

        wanted = sorted({str(p.payload.get("record_id")) for p in points if p.payload.get("passage")})
        own = FieldCondition(key="record_id", match=MatchAny(any=wanted))
        first = FieldCondition(key="passage", match=MatchValue(value=0))
        found = pages(self.source.store, Filter(must=[own, first]), PAGE, True, True) if wanted else ()
        return {point.payload["record_id"]: point for page in found for point in page.points}

    def _record(self, point: Point, first: Point) -> Record:
        texts = stored_record(first.payload, self.source.fields).fields
        record = replace(stored_record(point.payload), fields=texts)
        if not self.source.has_passages:
            return record
        return replace(record, id=piece_id(record.id, point.payload["passage"]), document=record.id)

    def _with_fields(self, point: Point, first: Point) -> Point:
        """Return a passage with the further vectors and codes of its record."""
        if first is point:
            return point
        names = [suffixed(base, name) for base in (DENSE, SAE) for name in self.source.fields]
        further = {name: first.vectors[name] for name in names if name in first.vectors}
        keys = [suffixed(CONCEPTS, name) for name in self.source.fields]
        concepts = {key: first.payload[key] for key in keys if key in first.payload}
        return replace(point, vectors={**point.vectors, **further}, payload={**point.payload, **concepts})

    def _written(self, sound: Sequence[tuple[Point, Record]]) -> Iterator[Point]:
        fields = ("", *self.source.fields)
        has = [[name for name in fields if not name or name in record.fields] for _, record in sound]
        coded = None if self.keeps_codes else self._coded(sound, has)
        row = 0
        for (point, record), names in zip(sound, has, strict=True):
            vectors: dict[str, Vector] = dict(point.vectors)
            payload = {key: one for key, one in point.payload.items() if _is_kept(key)}
            payload |= {"record_id": record.id, TEXT: record.text, "metadata": dict(record.metadata)}
            payload |= {suffixed(TEXT, name): text for name, text in record.fields.items()}
            payload[CONTENT_HASH] = content_hash(record)
            if record.document is not None:
                payload[DOCUMENT] = record.document
            if DOCUMENT_HASH in point.payload:
                payload[DOCUMENT_HASH] = point.payload[DOCUMENT_HASH]
            if self._is_truncated(point, record):
                payload[TRUNCATED] = True
            if coded is not None:
                for name in names:
                    vectors |= coded.vectors_of(row, name)
                    payload[suffixed(CONCEPTS, name)] = coded.concepts(row)
                    row += 1
            yield Point(point_id(record.id), vectors, payload)

    def _coded(self, sound: Sequence[tuple[Point, Record]], has: Sequence[Sequence[str]]) -> Coded:
        """Return new codes of the stored vectors, or of the texts."""
        if self.is_encoded:
            texts = [
                record.fields[name] if name else record.text
                for (_, record), names in zip(sound, has, strict=True) for name in names
            ]  # fmt: skip
            dense = self.opened().encode_document(texts)
        else:
            rows = [
                np.asarray(point.vectors[suffixed(DENSE, name)], np.float32)
                for (point, _), names in zip(sound, has, strict=True) for name in names
            ]  # fmt: skip
            dense = np.stack(rows) if rows else np.zeros((0, self.space.encoder.dimension), np.float32)
        return Coded(dense, self.space.sae.encode(dense), self.space.calibration)

    def _is_truncated(self, point: Point, record: Record) -> bool:
        if "passage" not in point.payload and not self.is_encoded:
            return bool(point.payload.get(TRUNCATED))
        return any(is_cut(text, self.opened()) for text in (record.text, *record.fields.values()))


def _is_kept(key: str) -> bool:
    return key not in OURS and not key.endswith("_checksum")


# Names, profiles and the end -----------------------------------------------------------------------------


def _settled(source: _Source, converter: _Converter, parts: IndexParts, report: CopyReport) -> CopyReport:
    """Carry over what refers to features, and complete the copy; return the whole report."""
    manifest, space = parts.manifest, converter.space
    old = source.space
    update: dict[str, Any] = {"copying": None, "counts": Counts(records=report.records)}
    is_same = old is not None and old.sae.digest() == space.sae.digest() and not converter.is_encoded
    if is_same:
        # Names name records as examples, which passages no longer are.
        names = None if source.has_passages else source.names
        update |= {"names": names, "edits": source.edits, "profiles": dict(source.profiles)}
        report = replace(report, names=len(source.edits.given), profiles=tuple(source.profiles))
    elif old is None or converter.is_encoded:
        lost = tuple(kept.name for kept in source.edits.given.values())
        report = replace(report, lost_names=lost, lost_profiles=tuple(source.profiles))
    else:
        space, moved, report = _moved(source, old, space, report)
        update |= moved
        if parts.folder is not None:
            space.save(parts.folder / SPACE_FOLDER)
    if update.get("names") is None and report.records >= MIN_RECORDS:
        sample = read_sample(parts.store, space.n_features)
        update["names"] = learned(sample, report.records, space, converter.opened)
    settled = manifest.changed(has_other_points=True, **update)
    parts.store.write_manifest(settled.to_json())
    return report


def _moved(
    source: _Source, old: FeatureSpace, new: FeatureSpace, report: CopyReport
) -> tuple[FeatureSpace, dict[str, Any], CopyReport]:
    """Move names and profiles to the features of another space of the same encoder."""
    vectors = _sampled(source.store)
    mapping = map_spaces(old, new, vectors if len(vectors) else None)
    carried = carry_manual_labels(old, new, vectors)
    translation = FeatureTranslation.of(mapping, old, new, vectors)
    edits, lost_names = source.edits.moved(translation.features)
    lost_manual = [lost["label"] for lost in carried.report.get("labels", {}).get("lost_manual", [])]
    profiles, lost_edits = {}, {}
    for name, profile in source.profiles.items():
        own = {int(feature): weight for feature, weight in profile["edits"].items()}
        kept = {translation.features[f]: weight for f, weight in own.items() if f in translation.features}
        profiles[name] = {**profile, "edits": {str(f): weight for f, weight in kept.items()}}
        lost_edits[name] = tuple(old.labels[f].text for f in own if f not in translation.features)
    manual = sum(label.method == MANUAL for label in old.labels) - len(lost_manual)
    return (
        carried,
        {"edits": edits, "profiles": profiles},
        replace(
            report,
            names=len(edits.given) + manual,
            profiles=tuple(profiles),
            lost_names=(*lost_manual, *lost_names),
            lost_edits={name: lost for name, lost in lost_edits.items() if lost},
            translation=translation,
        ),
    )


def _level_counts(space: FeatureSpace, vectors: FloatArray) -> NDArray[np.int64]:
    """Return how many of the embeddings have each feature (3, n), by level."""
    code = space.sae.encode(vectors)
    levels = space.calibration.levels(code.indices, code.values)
    n = space.n_features
    return np.stack([np.bincount(code.indices[levels >= level], minlength=n) for level in range(3)])


def _sampled(store: VectorStore) -> FloatArray:
    """Return the dense vectors of the first points by their ids, which are random."""
    found: list[FloatArray] = []
    for page in pages(store, None, PAGE, False, [DENSE]):
        found += [np.asarray(point.vectors[DENSE]) for point in page.points if DENSE in point.vectors]
        if len(found) >= MATCHED_RECORDS:
            break
    return np.stack(found) if found else np.zeros((0, store.layout.dense[DENSE]), np.float32)
