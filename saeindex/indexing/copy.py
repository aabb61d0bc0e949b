"""Copies: a new index of the stored records of another one, whatever its format.

Pages of points are read in the order of their ids, and written with vectors as they are (the same space),
with codes made anew from the stored vectors (another space of the encoder, or levels of this corpus), or with
vectors of another encoder made from the texts. Sentences that the source does not keep are encoded. Until the
copy is complete its manifest says so: it cannot be opened, and the same copy continues it. At the end every
record is read back and compared.

An index of format 1 may have *passages*: points of one record. They become the records ``ID#0``, ``ID#1``, …
of a document. What refers to features by number (names that a person gave, profiles, baselines) moves to the
features that correspond, and is listed where there is none.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from saeindex.config import DEFAULT_SENTENCES, DEFAULT_SPACE, DENSE, SPACE_FOLDER, SentenceStorage
from saeindex.errors import MismatchError, StorageError
from saeindex.features import FeatureSpace
from saeindex.features.labels import MANUAL
from saeindex.features.space_map import SpaceMapping, carry_manual_labels, map_spaces
from saeindex.indexing.copy_points import PAGE, PointConverter
from saeindex.indexing.copy_source import CopySource, read_source, source_of_parts
from saeindex.indexing.create_open import PLACE, IndexParts, create_index, given_space
from saeindex.indexing.manifest import Copying, Counts, Manifest, OwnCalibration
from saeindex.indexing.pipeline import progress_bar
from saeindex.indexing.points import CONTENT_HASH, content_hash, point_id, stored_record
from saeindex.indexing.sentences import check_storage, runs
from saeindex.indexing.terms import Definition, Surroundings, found_terms, is_to_learn, recoded
from saeindex.protocols import Point
from saeindex.schema import check_kind
from saeindex.stores.base import pages
from saeindex.stores.directory import check_outside
from saeindex.stores.open import open_store
from saeindex.types import Record

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from qdrant_client import QdrantClient

    from saeindex.protocols import TextEncoder, VectorStore
    from saeindex.types import FloatArray

# Characters of the texts that are written at once, unless one record has more: bounds their sentences.
RUN_CHARACTERS = 100_000
# Records whose activations match the features of two spaces.
MATCHED_RECORDS = 20_000
# Records that a feature needs at a level to say how much commoner its counterpart is.
FEW = 20


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
    sentences: SentenceStorage | None
    progress: bool

    @property
    def folder(self) -> Path | None:
        """The directory of the copy; None for a collection on a server."""
        return Path(self.path) if self.client is None and self.url is None else None


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
    sentences: SentenceStorage | None = None,
    progress: bool = False,
) -> CopyReport:
    """Make a new index of the records of another one, which may be of an earlier format or lack its manifest.

    Each is a directory, or a collection if a client or a url is given. ``space`` is another feature space: of
    the same encoder, codes are made from the stored vectors; of another one (given as ``encoder``, else
    opened by the space), the texts are encoded again. ``calibrate`` measures the levels (typical, strong) on
    these records. ``sentences`` says what the copy keeps of them, as in :meth:`FeatureIndex.create`: by
    default what the source does, or, if that is nothing, what a new index does; what is lacking is encoded.
    An interrupted copy is continued by the same call. To switch over, rename the directory, or point the
    collection's alias at the copy.

    Raises:
        NotFoundError: there is no index at ``source``.
        MismatchError: there is another index at ``target``.
        StorageError: the copy is not what was read.
    """
    check_kind(f"index {source!r:.80}", source, (str, Path), "Give its path, or its name on a server.")
    store = open_store(source, client=source_client, url=source_url)
    try:
        is_directory = source_client is None and source_url is None
        read = read_source(str(source), store, Path(source) if is_directory else None)
        return _copied(read, CopyTarget(target, space, client, url, encoder, calibrate, sentences, progress))
    finally:
        store.close()


def copy_parts(name: str, parts: IndexParts, target: CopyTarget) -> CopyReport:
    """Copy an open index; see :func:`copy_index`."""
    return _copied(source_of_parts(name, parts), target)


# The copy ---------------------------------------------------------------------------------------------


def _copied(source: CopySource, target: CopyTarget) -> CopyReport:
    check_kind(f"a copy at {target.path!r:.80}", target.path, (str, os.PathLike), PLACE)
    sentences = target.sentences
    if sentences is None:
        sentences = DEFAULT_SENTENCES if source.sentences == "off" else source.sentences
    check_storage(sentences)
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
    mark = json.dumps([place, source.revision, new.fingerprint, is_encoded, target.calibrate, sentences])
    digest = hashlib.sha256(mark.encode()).hexdigest()[:32]
    opened = cache(lambda: new.open_encoder() if target.encoder is None else target.encoder)
    converter = PointConverter(source, new, opened, is_encoded, sentences)
    if target.calibrate:
        converter = converter.calibrated()
        new = converter.space
    manifest = Manifest.describe(new, source.payload_indexes, source.fields, sentences).model_copy(
        update={"copying": Copying(source=source.name, digest=digest)}
    )
    if target.calibrate or (source.calibration is not None and target.space is None):
        manifest = manifest.model_copy(update={"calibration": OwnCalibration.keep(new.calibration)})
    if sentences != "off" and not is_encoded:
        manifest = manifest.model_copy(update={"terms": source.terms})
    converter = replace(converter, space=new.with_terms([one.term() for one in manifest.terms]))
    parts = _begun(target, new, manifest)
    try:
        report = _filled(source, converter, parts, target)
        return _settled(source, converter, parts, report)
    finally:
        parts.store.close()


def _with_lost_space(source: CopySource, new: FeatureSpace, is_named: bool) -> CopySource:
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


def _target_space(source: CopySource, space: FeatureSpace | str | Path | None) -> FeatureSpace:
    if space is not None:
        return given_space(space)
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


def _filled(
    source: CopySource, converter: PointConverter, parts: IndexParts, target: CopyTarget
) -> CopyReport:
    """Write all records, and read them back."""
    store, digest, records, skipped = parts.store, 0, 0, list[str]()
    with progress_bar("copy", "records", source.store.count(), target.progress) as bar:
        for page in pages(source.store, None, PAGE, True, converter.vectors_read):
            sound, unfit = converter.sound(page.points)
            wanted = {point_id(record.id): content_hash(record) for _, record in sound}
            known = {p.id: p.payload.get(CONTENT_HASH) for p in store.get([*wanted], [CONTENT_HASH])}
            missing = [one for one in sound if known.get(own := point_id(one[1].id)) != wanted[own]]
            for run in runs(missing, _characters, RUN_CHARACTERS):
                store.upsert(list(converter.written(run)))
            digest ^= _digest(wanted)
            records += len(sound)
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


def _characters(one: tuple[Point, Record]) -> int:
    """Return the length of all texts of a record."""
    _, record = one
    return len(record.text) + sum(map(len, record.fields.values()))


def _digest(hashes: Mapping[str, str]) -> int:
    """Return a number that depends on the ids of points and their content hashes, and not on their order."""
    total = 0
    for own, content in hashes.items():
        total ^= int.from_bytes(hashlib.blake2b(f"{own} {content}".encode(), digest_size=16).digest())
    return total


def _digest_of(store: VectorStore, fields: Sequence[str]) -> int:
    """Return the digest of the records of a store, from their texts and metadata."""
    total = 0
    for page in pages(store, None, PAGE):
        records = [(str(point.id), stored_record(point.payload, fields)) for point in page.points]
        total ^= _digest({own: content_hash(record) for own, record in records})
    return total


# Names, profiles and the end -----------------------------------------------------------------------------


def _settled(
    source: CopySource, converter: PointConverter, parts: IndexParts, report: CopyReport
) -> CopyReport:
    """Carry over what refers to features, and complete the copy; return the whole report."""
    manifest, space = parts.manifest, parts.space
    old = source.space
    update: dict[str, Any] = {"copying": None, "counts": Counts(records=report.records)}
    is_same = old is not None and old.sae.digest() == space.sae.digest() and not converter.is_encoded
    if is_same:
        kept = {feature: feature for feature in range(space.n_features + len(manifest.terms))}
        edits, lost_names = source.edits.moved(kept)
        profiles, lost_edits = _moved_profiles(source, space, kept)
        update |= {"edits": edits, "profiles": profiles}
        report = replace(
            report,
            names=len(edits.given),
            profiles=tuple(profiles),
            lost_names=lost_names,
            lost_edits=lost_edits,
        )
    elif old is None or converter.is_encoded:
        lost = tuple(kept.name for kept in source.edits.given.values())
        report = replace(report, lost_names=lost, lost_profiles=tuple(source.profiles))
    else:
        space, moved, report = _moved(source, old, space, report)
        update |= moved
        if parts.folder is not None:
            space.save(parts.folder / SPACE_FOLDER)
    if manifest.sentences == "stored" and space.evidence is not None:
        update |= _terms(source, converter, parts, report.records)
    settled = manifest.changed(has_other_points=True, **update)
    parts.store.write_manifest(settled.to_json())
    return report


def _terms(source: CopySource, converter: PointConverter, parts: IndexParts, records: int) -> dict[str, Any]:
    """Return the terms of the copy, which its records have then, as fields of its manifest.

    They are those of the source, defined anew for another encoder, and those that are learned now if the
    source could not.
    """
    store, space, fields = parts.store, parts.space, parts.manifest.fields
    assert space.evidence is not None  # noqa: S101
    terms, learned = parts.manifest.terms, source.learned if source.sentences == "stored" else None
    if converter.is_encoded and source.terms:
        around = Surroundings.of(store, space.evidence.mean)
        asked = [Definition(one.name, one.description, one.examples, one.unlike) for one in source.terms]
        terms = tuple(one.term(converter.opened(), around) for one in asked)
    if is_to_learn(learned, records, 0):
        known = space.with_terms([one.term() for one in terms])
        terms, learned = (*terms, *found_terms(store, known, terms, fields, converter.opened())), records
    if terms != parts.manifest.terms:
        whole = space.with_terms([one.term() for one in terms])
        for payloads in recoded(store, whole, space.n_features, fields):
            store.set_payload(payloads)
    return {"terms": terms, "learned": learned}


def _moved(
    source: CopySource, old: FeatureSpace, new: FeatureSpace, report: CopyReport
) -> tuple[FeatureSpace, dict[str, Any], CopyReport]:
    """Move names and profiles to the features of another space of the same encoder."""
    vectors = _sampled(source.store)
    mapping = map_spaces(old, new, vectors if len(vectors) else None)
    carried = carry_manual_labels(old, new, vectors)
    translation = FeatureTranslation.of(mapping, old, new, vectors)
    own = {old.n_features + place: new.n_features + place for place in range(len(source.terms))}
    features = {**translation.features, **own}
    edits, lost_names = source.edits.moved(features)
    lost_manual = [lost["label"] for lost in carried.report.get("labels", {}).get("lost_manual", [])]
    profiles, lost_edits = _moved_profiles(source, old, features)
    manual = sum(label.method == MANUAL for label in old.labels) - len(lost_manual)
    return (
        carried,
        {"edits": edits, "profiles": profiles},
        replace(
            report,
            names=len(edits.given) + manual,
            profiles=tuple(profiles),
            lost_names=(*lost_manual, *lost_names),
            lost_edits=lost_edits,
            translation=translation,
        ),
    )


def _moved_profiles(
    source: CopySource, old: FeatureSpace, features: Mapping[int, int]
) -> tuple[dict[str, Any], dict[str, tuple[str, ...]]]:
    """Return profiles with the new numbers of features, and by profile the labels of those that have none."""
    profiles, lost = dict[str, Any](), dict[str, tuple[str, ...]]()
    names = [*(label.text for label in old.labels), *(one.name for one in source.terms)]
    for name, profile in source.profiles.items():
        weights = {int(feature): weight for feature, weight in profile["edits"].items()}
        kept = {features[f]: weight for f, weight in weights.items() if f in features}
        profiles[name] = {**profile, "edits": {str(f): weight for f, weight in kept.items()}}
        if gone := tuple(names[f] for f in weights if f not in features):
            lost[name] = gone
    return profiles, lost


def _level_counts(space: FeatureSpace, vectors: FloatArray) -> NDArray[np.int64]:
    """Return how many of the embeddings have each feature (3, n), by level."""
    code = space.encode(vectors)
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
