"""What is copied: an open index, or what can be told of one of an earlier format or without its manifest."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from saeindex.config import DENSE, FORMAT_VERSION, SPACE_FOLDER, SPANS, SentenceStorage
from saeindex.errors import DamageError, MismatchError, NotFoundError
from saeindex.features import FeatureSpace
from saeindex.features.calibration import Calibration
from saeindex.files import without_checksum
from saeindex.indexing.create_open import IndexParts
from saeindex.indexing.manifest import Manifest, OwnCalibration
from saeindex.indexing.names import NameEdits
from saeindex.indexing.terms import KeptTerm

if TYPE_CHECKING:
    from saeindex.protocols import VectorStore


@dataclass(frozen=True, slots=True)
class CopySource:
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
    sentences: SentenceStorage = "off"
    calibration: Calibration | None = None
    terms: tuple[KeptTerm, ...] = ()
    learned: int | None = None
    edits: NameEdits = field(default_factory=NameEdits)
    profiles: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    has_manifest: bool = True
    wanted: str = ""
    """The fingerprint of its space, if that is lost."""


class _FormerSpace(BaseModel):
    name: str = ""
    fingerprint: str = ""


class _Former(BaseModel):
    """What is read of a manifest of format 1; other fields are ignored."""

    revision: str = ""
    space: _FormerSpace = _FormerSpace()
    calibration: OwnCalibration | None = None
    edits: NameEdits | None = None
    profiles: dict[str, dict[str, Any]] | None = None
    recalibration: Any = None
    upgrade: Any = None


def read_source(name: str, store: VectorStore, folder: Path | None) -> CopySource:
    """Return what can be told of the index in a store; MismatchError for what cannot be copied."""
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
            return source_of_parts(name, parts)
    fields = tuple(one.removeprefix(f"{DENSE}_") for one in store.layout.dense if one != DENSE)
    try:
        former = _Former.model_validate(kept)
    except ValidationError:  # as good as lost
        kept, former = {}, _Former()
    calibration = None if former.calibration is None else former.calibration.calibration()
    return CopySource(
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
        sentences=_sentences(store),
        calibration=calibration,
        edits=former.edits or NameEdits(),
        profiles=former.profiles or {},
        has_manifest=bool(kept),
        wanted=former.space.fingerprint,
    )


def source_of_parts(name: str, parts: IndexParts) -> CopySource:
    """Return an open index as a source."""
    store, manifest = parts.store, parts.manifest
    own = manifest.calibration
    return CopySource(
        name,
        store,
        parts.folder,
        parts.space,
        tuple(manifest.fields),
        _own_indexes(store),
        manifest.revision,
        has_passages=False,
        has_codes=True,
        sentences=manifest.sentences,
        calibration=None if own is None else own.calibration(),
        terms=manifest.terms,
        learned=manifest.learned,
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


def _sentences(store: VectorStore) -> SentenceStorage:
    """Return what an index keeps of sentences, told from its layout and its first record."""
    if store.layout.multi:
        return "stored"
    first = store.scroll(limit=1, with_payload=[SPANS]).points
    return "codes" if first and SPANS in first[0].payload else "off"


def _has_passages(store: VectorStore) -> bool:
    from qdrant_client.models import FieldCondition, Filter, Range

    later = FieldCondition(key="passage", range=Range(gte=1))
    return bool(store.scroll(Filter(must=[later]), 1, with_payload=False).points)
