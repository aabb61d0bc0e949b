"""Copies: a new index of the stored records of another one.

Pages of points are read in the order of their ids, and written with vectors as they are (the same space),
with codes made anew from the stored vectors (another space of the encoder, or levels of this corpus), or with
vectors of another encoder made from the texts. Sentences that the source does not keep are encoded. Until the
copy is complete its manifest says so: it cannot be opened, and the same copy continues it. At the end every
record is read back and compared.

Names that a person gave and profiles, which refer to features by number, move to the features that
correspond, and are listed where there is none. Between spaces of two encoders these are the named concepts;
profiles are fitted again there, on the records that they were fitted on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from saeindex.config import (
    CONCEPTS,
    DEFAULT_SENTENCES,
    DEFAULT_SPACE,
    DEFAULT_WORDS,
    DENSE,
    DOCUMENT,
    EVIDENCE,
    LEVEL_STRIDE,
    LEVELS_OF,
    READER,
    SENTENCES,
    SPACE_FOLDER,
    SPANS,
    SPEAKING,
    TEXT,
    TRUNCATED,
    UNSPACED,
    WORDS,
    SentenceStorage,
    suffixed,
)
from saeindex.devices import precision_of
from saeindex.errors import DamageError, InvalidInputError, MismatchError, StorageError
from saeindex.features import FeatureSpace
from saeindex.features.calibration import CalibrationMeter
from saeindex.features.evidence import TextMentions
from saeindex.features.labels import MANUAL
from saeindex.features.reader_space import reader_beside
from saeindex.features.space_io import space_for
from saeindex.features.space_map import carry_manual_labels, map_spaces, named_alike
from saeindex.features.terms import MAX_TERMS
from saeindex.indexing.create_open import IndexParts, Place, create_index, given_space, parts_of
from saeindex.indexing.manifest import Copying, Counts, Manifest, OwnCalibration
from saeindex.indexing.pipeline import progress_bar
from saeindex.indexing.points import (
    CONTENT_HASH,
    DIGITS,
    DOCUMENT_HASH,
    Coded,
    batch_of,
    code_of,
    codes_of,
    content_hash,
    mentions_of,
    payload_of,
    point_id,
    rounded,
    stored_record,
)
from saeindex.indexing.sentences import (
    Sentences,
    check_storage,
    completed,
    is_all,
    spans_from,
    spans_in,
)
from saeindex.indexing.split import is_cut
from saeindex.indexing.terms import Definition, Surroundings, first_texts, is_to_learn, recoded, terms_of
from saeindex.indexing.words import words_of
from saeindex.language.speech import masked, readable
from saeindex.protocols import Point, TextEncoder, Vector, VectorStore
from saeindex.schema import Result
from saeindex.stores.base import first_points, pages
from saeindex.stores.directory import EmbeddedStore, check_outside
from saeindex.types import Record, SparseCode, runs

if TYPE_CHECKING:
    from saeindex.features.reader_space import ReaderSpace
    from saeindex.indexing.sentences import Spans
    from saeindex.types import FloatArray

# Characters of the texts that are written at once, unless one record has more: bounds their sentences.
RUN_CHARACTERS = 100_000
# Records whose activations match the features of two spaces.
MATCHED_RECORDS = 20_000


@dataclass(frozen=True, slots=True)
class CopyReport(Result):
    """What a copy did: its number of ``records``, and what of the index it could not carry over.

    ``skipped`` are points without an id, a text or a vector. ``lost_names`` and ``lost_profiles`` are those
    that have no counterpart in the new space; ``lost_edits`` has, by profile, the labels of concepts whose
    weights were lost. ``redefined`` has, by own concept that was defined again for another encoder, in how
    many records it was and is present. Of an index that has no (sound) manifest, names and profiles are
    unknown.
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
    redefined: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    skipped: tuple[str, ...] = ()
    has_manifest: bool = True


@dataclass(frozen=True, slots=True)
class CopyTarget:
    """Where a copy is made, and how; see :func:`saeindex.copy_index`."""

    place: Place
    space: FeatureSpace | str | Path | None
    encoder: TextEncoder | None
    calibrate: bool
    sentences: SentenceStorage | None
    words: str | None
    progress: bool
    fitted: Fitted
    reader: ReaderSpace | str | Path | None = None


Fitted = Callable[[IndexParts, TextEncoder, Mapping[str, Any]], dict[str, Any]]
"""Returns profiles that are fitted again in a copy; those that cannot be are left out."""


def read_parts(
    name: str, store: VectorStore, folder: Path | None, space: FeatureSpace | str | Path | None
) -> tuple[IndexParts, bool]:
    """Return the index in a store, and whether it has its manifest; without one, what its points tell."""
    try:
        manifest = Manifest.parse(store.read_manifest(), name, is_lost=store.count() > 0)
        return parts_of(store, manifest, name, folder), True
    except DamageError:
        if folder is not None:
            own = FeatureSpace.load(folder / SPACE_FOLDER)
        else:
            own = given_space(DEFAULT_SPACE if space is None else space)
    fields = [one.removeprefix(f"{DENSE}_") for one in store.layout.dense if one != DENSE]
    first = store.scroll(limit=1, with_payload=[SPANS]).points
    has_spans = bool(first) and SPANS in first[0].payload
    sentences: SentenceStorage = "stored" if store.layout.multi else "codes" if has_spans else "off"
    words = DEFAULT_WORDS if WORDS in store.layout.sparse else "off"
    return IndexParts(store, own, Manifest.describe(own, None, fields, sentences, words=words), folder), False


# The copy ---------------------------------------------------------------------------------------------


def copy_parts(name: str, source: IndexParts, target: CopyTarget, has_manifest: bool = True) -> CopyReport:
    """Copy an open index; see :func:`saeindex.copy_index`."""
    known, sentences, words = source.manifest, target.sentences, target.words
    if sentences is None:
        sentences = DEFAULT_SENTENCES if known.sentences == "off" else known.sentences
    check_storage(sentences)
    if words is None:
        words = DEFAULT_WORDS if known.words == "off" else known.words
    if target.place.folder is not None:
        check_outside(source.folder, target.place.folder, "a copy of the index")
    new = given_space(space_of_copy(source.space, target.space, target.encoder), target.reader)
    own_reader = source.space.reader
    if target.reader is None and own_reader is not None and not own_reader.unlike(new.encoder):
        new = new.with_reader(own_reader)
    is_encoded = bool(source.space.encoder.differences(new.encoder))
    if source.store.layout.dense.get(DENSE) != new.encoder.dimension and not is_encoded:
        found = f"its vectors have {source.store.layout.dense.get(DENSE)} dimensions"
        do = f"Name a space whose encoder has as many; {new.name!r} has {new.encoder.dimension}."
        raise MismatchError(f"copy {name}", found, do)
    if target.encoder is not None:
        new.check_encoder(target.encoder)
    place = name if source.folder is None else str(source.folder.resolve())
    read = "" if new.reader is None else new.reader.fingerprint
    options = is_encoded, target.calibrate, sentences, words, read
    mark = json.dumps([place, known.revision, new.fingerprint, *options])
    digest = hashlib.sha256(mark.encode()).hexdigest()[:32]
    opened = cache(lambda: new.open_encoder() if target.encoder is None else target.encoder)
    converter = PointConverter(name, source, has_manifest, new, opened, is_encoded, sentences, words)
    if target.calibrate:
        converter = converter.calibrated()
        new = converter.space
    indexes = {key: kind for key, kind in source.store.layout.payload_indexes.items() if "metadata." in key}
    form = source.store.layout.quantization
    made = precision_of(opened()) if is_encoded or known.sentences == "off" != sentences else ""
    precisions = dict.fromkeys((*(() if is_encoded else known.precisions), *([made] if made else ())))
    own = {
        "copying": Copying(source=name, digest=digest),
        "leave_out": known.leave_out,
        "updated": known.updated,
        "precisions": tuple(precisions),
    }
    manifest = Manifest.describe(new, indexes, known.fields, sentences, form, words).model_copy(update=own)
    if target.calibrate or (known.calibration is not None and target.space is None):
        levels = OwnCalibration.keep(new.with_reader(None).calibration)
        manifest = manifest.model_copy(update={"calibration": levels})
    if sentences != "off" and not is_encoded:
        manifest = manifest.model_copy(update={"terms": known.terms})
    whole = new.with_terms([one.term() for one in manifest.terms]).leaving_out(known.leave_out)
    converter = replace(converter, space=whole)
    parts = _begun(target, new, manifest)
    try:
        return _settled(converter, parts, _filled(converter, parts, target), target.fitted)
    finally:
        parts.store.close()


def space_of_copy(
    own: FeatureSpace, space: FeatureSpace | str | Path | None, encoder: TextEncoder | None
) -> FeatureSpace:
    """Return the given space, else the one that was made for another encoder than that of ``own``."""
    if space is not None:
        return given_space(space)
    is_own = encoder is None or not own.encoder.differences(encoder.identity)
    return own if is_own else given_space(space_for(encoder))


def _begun(target: CopyTarget, space: FeatureSpace, manifest: Manifest) -> IndexParts:
    """Create the target, or continue the same copy."""
    assert manifest.copying is not None  # noqa: S101
    try:
        return create_index(target.place, space, manifest)
    except MismatchError as exists:
        store = target.place.opened()
        begun = store.read_manifest().get("copying") or {}
        if begun.get("digest") == manifest.copying.digest:
            return IndexParts(store, space, manifest, target.place.folder)
        store.close()
        if not begun:
            raise
        found = f"it is an incomplete copy of {begun.get('source')}, of another state or with other options"
        raise MismatchError(exists.asked, found, "Delete it, and copy again.") from None


def _filled(converter: PointConverter, parts: IndexParts, target: CopyTarget) -> CopyReport:
    """Write all records, and read them back."""
    source, name = converter.source, converter.name
    store, digest, records, skipped = parts.store, 0, 0, list[str]()
    with progress_bar("copy", "records", source.store.count(), target.progress) as bar:
        for page in pages(source.store, None, PAGE, True, converter.vectors_read):
            sound, unfit = converter.sound(page.points)
            wanted = {point_id(record.id): record for _, record in sound}
            known = _records(store.get([*wanted]), parts.manifest.fields)
            missing = [one for one in sound if known.get(point_id(one[1].id)) != one[1]]
            for run in runs(missing, lambda one: _characters(one[1]), RUN_CHARACTERS):
                store.upsert(list(converter.written(run)))
            digest ^= _digest(wanted)
            records += len(sound)
            skipped += unfit
            bar.update(len(page.points))
    if isinstance(store, EmbeddedStore):
        store.optimize()  # and flush
    if (store.count(), _digest_of(store, parts.manifest.fields)) != (records, digest):
        found, do = "what is stored in the copy is not what was read", "Delete the copy, and copy it again."
        raise StorageError(f"copy {name} to {target.place.given}", found, do)
    return CopyReport(
        name, str(target.place.given), parts.space.name, records,
        skipped=tuple(skipped), has_manifest=converter.has_manifest,
    )  # fmt: skip


def _characters(record: Record) -> int:
    """Return the length of all texts of a record."""
    return len(record.text) + sum(map(len, record.fields.values()))


def _digest(records: Mapping[str, Record]) -> int:
    """Return a number that depends on the ids of points and their records, and not on their order."""
    total = 0
    for own, record in records.items():
        # So few digits, since none of many floats may be where a last bit tells how it is rounded.
        metadata = json.dumps(rounded(record.metadata, DIGITS // 2), sort_keys=True)
        content = f"{own} {content_hash(record)} {metadata}"
        total ^= int.from_bytes(hashlib.blake2b(content.encode(), digest_size=16).digest())
    return total


def _records(points: Iterable[Point], fields: Sequence[str]) -> dict[str, Record]:
    return {str(point.id): stored_record(point.payload, fields) for point in points}


def _digest_of(store: VectorStore, fields: Sequence[str]) -> int:
    """Return the digest of the records of a store, from their texts and metadata."""
    total = 0
    for page in pages(store, None, PAGE):
        total ^= _digest(_records(page.points, fields))
    return total


# Names, profiles and the end -----------------------------------------------------------------------------


def _settled(converter: PointConverter, parts: IndexParts, report: CopyReport, fitted: Fitted) -> CopyReport:
    """Carry over what refers to features, and complete the copy; return the whole report."""
    source, known = converter.source, converter.source.manifest
    manifest, space, old = parts.manifest, parts.space, source.space
    kept = dict[int, int]()
    manual, lost_manual = 0, list[str]()
    if not converter.is_encoded and old.sae.digest() == space.sae.digest():
        same = space.n_features if converter.keeps_read else space.of_reader.start
        kept = {feature: feature for feature in range(same)}
    elif not converter.is_encoded:
        vectors = _sampled(source.store)
        kept = map_spaces(old, space, vectors).matches
        space = carry_manual_labels(old, space, vectors)
        lost_manual = [one["label"] for one in space.report.get("labels", {}).get("lost_manual", [])]
        manual = sum(label.method == MANUAL for label in old.labels) - len(lost_manual)
        if parts.folder is not None:
            space.save(parts.folder / SPACE_FOLDER)
    else:
        kept = named_alike(old, space)
        lost_manual = [one.text for one in old.labels if one.method == MANUAL]
    if not converter.is_encoded:
        kept |= {old.n_features + one: space.n_features + one for one in range(len(manifest.terms))}
    update: dict[str, Any] = {"copying": None, "counts": Counts(records=report.records)}
    if manifest.sentences == "stored" and space.evidence is not None:
        update |= _terms(converter, parts, report.records)
        if converter.is_encoded:
            kept |= {old.n_features + one: space.n_features + one for one in range(len(known.terms))}
    elif converter.is_encoded:
        lost_manual += [one.name for one in known.terms]
    edits, lost_names = known.edits.moved(kept)
    labels = _names_of(known, old)
    lost_names += tuple(labels[f] for f in known.edits.hidden if f not in kept and f not in known.edits.given)
    profiles, lost_edits = _moved_profiles(known, old, kept)
    if converter.is_encoded:
        names = {feature: one.name for feature, one in edits.given.items()}
        own = replace(parts, manifest=manifest.model_copy(update=update))
        whole = own.manifest.with_own_names(space)
        renamed = edits.changed(whole, names, {}, converter.opened().encode_query)
        edits = renamed.model_copy(update={"history": edits.history})
        profiles = fitted(own, converter.opened(), profiles) if profiles else {}
    report = replace(
        report,
        names=len(edits.given) + manual,
        profiles=tuple(profiles),
        lost_names=(*lost_manual, *lost_names),
        lost_profiles=tuple(known.profiles.keys() - profiles.keys()),
        lost_edits=lost_edits,
        redefined=_redefined(source, parts) if converter.is_encoded and "terms" in update else {},
    )
    update |= {"edits": edits, "profiles": profiles}
    settled = manifest.changed(has_other_points=True, **update)
    parts.store.write_manifest(settled.to_json())
    return report


def _terms(converter: PointConverter, parts: IndexParts, records: int) -> dict[str, Any]:
    """Return the terms of the copy, which its records have then, as fields of its manifest.

    They are those of the source, defined anew for another encoder, and those that are learned now if the
    source could not.
    """
    known = converter.source.manifest
    store, space, fields = parts.store, parts.space, parts.manifest.fields
    assert space.evidence is not None  # noqa: S101
    terms, learned = parts.manifest.terms, known.learned if known.sentences == "stored" else None
    if converter.is_encoded and known.terms:
        around = Surroundings.of(store, space.evidence.mean)
        asked = [Definition(one.name, one.description, one.examples, one.unlike) for one in known.terms]
        terms = tuple(one.term(converter.opened(), around) for one in asked)
    if is_to_learn(learned, records, 0):
        own = space.with_terms([one.term() for one in terms])
        texts, most = first_texts(store, fields), MAX_TERMS - len(terms)
        terms, learned = (*terms, *terms_of(texts, own, converter.opened(), most)), records
    if terms != parts.manifest.terms:
        whole = space.with_terms([one.term() for one in terms]).leaving_out(known.leave_out)
        pairs = enumerate(zip_longest(terms, parts.manifest.terms), space.n_features)
        changed = {feature for feature, (new, old) in pairs if new != old}
        for payloads in recoded(store, whole, changed, fields):
            store.set_payload(payloads)
    return {"terms": terms, "learned": learned}


def _redefined(source: IndexParts, copy: IndexParts) -> dict[str, tuple[int, int]]:
    """Return in how many records of both each own concept of a person is present."""
    return {
        one.name: (_present(source, place), _present(copy, place))
        for place, one in enumerate(source.manifest.terms)
        if one.is_defined and one.name
    }


def _present(parts: IndexParts, place: int) -> int:
    """Return the number of records in which the term at a place is present."""
    from qdrant_client.models import FieldCondition, Filter, MatchAny

    feature = parts.space.n_features + place
    codes = [feature * LEVEL_STRIDE + number for number in LEVELS_OF["present"]]
    return parts.store.count(Filter(must=[FieldCondition(key=CONCEPTS, match=MatchAny(any=codes))]))


def _moved_profiles(
    known: Manifest, old: FeatureSpace, features: Mapping[int, int]
) -> tuple[dict[str, Any], dict[str, tuple[str, ...]]]:
    """Return profiles with the new numbers of features, and by profile the labels of those that have none."""
    profiles, lost = dict[str, Any](), dict[str, tuple[str, ...]]()
    names = _names_of(known, old)
    for name, profile in known.profiles.items():
        weights = {int(feature): weight for feature, weight in profile["edits"].items()}
        kept = {features[f]: weight for f, weight in weights.items() if f in features}
        profiles[name] = {**profile, "edits": {str(f): weight for f, weight in kept.items()}}
        if gone := tuple(names[f] for f in weights if f not in features):
            lost[name] = gone
    return profiles, lost


def _names_of(known: Manifest, old: FeatureSpace) -> list[str]:
    """Return the names of all features of an index, of its terms last."""
    return [*(label.text for label in old.labels), *(one.name for one in known.terms)]


def _sampled(store: VectorStore) -> FloatArray:
    """Return the dense vectors of the first points by their ids, which are random."""
    points = first_points(store, MATCHED_RECORDS, PAGE, False, [DENSE])
    found = [np.asarray(point.vectors[DENSE]) for point in points if DENSE in point.vectors]
    return np.stack(found) if found else np.zeros((0, store.layout.dense[DENSE]), np.float32)


PAGE = 500
# Payload fields that saeindex writes; others, of other programs, are copied as they are.
OURS = frozenset({"record_id", "metadata", CONTENT_HASH, DOCUMENT, DOCUMENT_HASH, TRUNCATED, UNSPACED})


@dataclass(frozen=True, slots=True)
class PointConverter:
    """Turns points of a source into points of its copy."""

    name: str
    source: IndexParts
    has_manifest: bool
    space: FeatureSpace
    opened: Callable[[], TextEncoder]
    """Returns the encoder of the copy, opened once if it is needed."""
    is_encoded: bool
    sentences: SentenceStorage
    words: str

    @property
    def keeps_read(self) -> bool:
        """Whether the features of tokens are copied as they are, or there are none."""
        old, new = (space.reader and space.reader.fingerprint for space in (self.source.space, self.space))
        return old == new

    @property
    def keeps_codes(self) -> bool:
        """Whether codes and levels are copied as they are."""
        is_same = self.source.space.fingerprint == self.space.fingerprint
        is_read_alike = (self.source.manifest.sentences == "off") == (self.sentences == "off")
        return is_same and self.has_manifest and is_read_alike and self.keeps_read and not self.is_encoded

    @property
    def keeps_sentences(self) -> bool:
        """Whether what the copy has of sentences is copied as it is."""
        own = self.source.manifest.sentences
        return self.keeps_codes and own != "off" and self.sentences in (own, "codes")

    @property
    def keeps_evidence(self) -> bool:
        """Whether evidence is copied as it is: what sentences say does not depend on levels of activation."""
        old, new = self.source.space, self.space
        if old.evidence is None or new.evidence is None or self.is_encoded:
            return False
        return self.source.manifest.sentences != "off" and old.evidence.digest == new.evidence.digest

    @property
    def vectors_read(self) -> list[str]:
        """The vectors of a page; those of sentences are read for a few records at a time.

        Words are made anew of the texts, in less time than they are read.
        """
        sparse = [name for name in self.source.store.layout.sparse if name.partition("_")[0] != WORDS]
        return [*self.source.store.layout.dense, *sparse]

    @property
    def sentences_read(self) -> list[str]:
        """The vectors of sentences that are copied."""
        is_used = self.sentences == "stored" or (self.sentences == "codes" and not self.keeps_sentences)
        return [*self.source.store.layout.multi] if is_used and not self.is_encoded else []

    def calibrated(self) -> PointConverter:
        """Return the converter to levels that are measured on the source's records."""
        bare = self.space.with_reader(None)
        coded = replace(self, space=bare, sentences="off", words="off")
        meter = CalibrationMeter(bare.n_features)
        for page in pages(self.source.store, None, PAGE, True, self.vectors_read):
            points = list(coded.written(self.sound(page.points)[0]))
            dense = [np.asarray(point.vectors[DENSE]) for point in points]
            meter.add(codes_of(points, bare.n_features), np.stack(dense) if dense else None)
        measured = meter.measured()
        if not measured.records:
            raise InvalidInputError(f"calibrate a copy of {self.name}", "it is empty", "Leave it out.")
        own = measured.with_rare_levels_of(bare.calibration)
        report = {**self.space.report, "calibrated_on": measured.records}
        space = replace(bare, calibration=own, report=report).with_reader(self.space.reader)
        return replace(self, space=space)

    def sound(self, points: Sequence[Point]) -> tuple[list[tuple[Point, Record]], list[str]]:
        """Return the points of a page with their records, and the names of those that are no records."""
        sound, unfit = list[tuple[Point, Record]](), list[str]()
        for point in points:
            payload = point.payload
            has_text = isinstance(payload.get("record_id"), str) and isinstance(payload.get(TEXT), str)
            if not has_text or (DENSE not in point.vectors and not self.is_encoded):
                unfit.append(str(payload.get("record_id", point.id)))
                continue
            sound.append((point, stored_record(payload, self.source.manifest.fields)))
        return sound, unfit

    def written(self, sound: Sequence[tuple[Point, Record]]) -> Iterator[Point]:
        """Yield points in the copy."""
        fields = ("", *self.source.manifest.fields)
        has = [[name for name in fields if not name or name in record.fields] for _, record in sound]
        found = self._with_sentences([point for point, _ in sound])
        rows = [
            (point, name, record.fields[name] if name else record.text)
            for point, (_, record), names in zip(found, sound, has, strict=True) for name in names
        ]  # fmt: skip
        coded, sentences = self._coded(rows)
        words = words_of([text for _, _, text in rows], self.words)
        row = 0
        for point, (_, record), names in zip(found, sound, has, strict=True):
            vectors, payload = self._kept(point, record)
            for name in names:
                if coded is not None:
                    vectors |= coded.vectors_of(row, name)
                    payload |= coded.payload_of(row, name)
                if sentences is not None:
                    vectors |= sentences.stored_vectors(row, name)
                    payload |= sentences.payload(row, name)
                vectors |= {suffixed(WORDS, name): words[row]} if words else {}
                row += 1
            yield Point(point_id(record.id), vectors, payload)

    def _with_sentences(self, points: Sequence[Point]) -> list[Point]:
        """Return points with the vectors of sentences that are copied."""
        if not (names := self.sentences_read):
            return list(points)
        found = {one.id: one.vectors for one in self.source.store.get([p.id for p in points], False, names)}
        return [replace(one, vectors={**one.vectors, **found.get(one.id, {})}) for one in points]

    def _kept(self, point: Point, record: Record) -> tuple[dict[str, Vector], dict[str, Any]]:
        """Return the vectors and the payload that a point keeps, with what is told of its record."""
        gone = set[str]()
        if not self.keeps_sentences:
            bases = (SENTENCES, SPANS) if self.keeps_codes else (SENTENCES, SPANS, EVIDENCE, SPEAKING)
            gone = {suffixed(base, name) for base in bases for name in ("", *self.source.manifest.fields)}
        if not self.keeps_read:
            gone |= {suffixed(READER, name) for name in ("", *self.source.manifest.fields)}
        vectors = {name: vector for name, vector in point.vectors.items() if name not in gone}
        others = {key: one for key, one in point.payload.items() if key not in gone | OURS}
        is_truncated = bool(point.payload.get(TRUNCATED))
        if self.is_encoded:
            is_truncated = any(is_cut(one, self.opened()) for one in (record.text, *record.fields.values()))
        document_hash = point.payload.get(DOCUMENT_HASH)
        return vectors, others | payload_of(record, content_hash(record), document_hash, is_truncated)

    def _dense(self, rows: Sequence[tuple[Point, str, str]]) -> tuple[FloatArray, SparseCode | None]:
        """Return the vectors of texts (points, fields, texts), and the features of their tokens."""
        texts, reader = [readable(text) for _, _, text in rows], reader_beside(self.space)
        dense: FloatArray | None = None
        read: SparseCode | None = None
        if reader is not None and not self.keeps_read:
            dense, read = reader.read(self.opened(), texts)
        elif reader is not None:
            read = batch_of([code_of(point, name, READER) for point, name, _ in rows], reader.n_features)
        if self.is_encoded:
            return self.opened().encode_document(texts) if dense is None else dense, read
        own = [np.asarray(point.vectors[suffixed(DENSE, name)], np.float32) for point, name, _ in rows]
        return np.stack(own), read

    def _coded(self, rows: Sequence[tuple[Point, str, str]]) -> tuple[Coded | None, Sentences | None]:
        """Return the codes and sentences of texts (points, fields, texts), unless they are kept."""
        has_sentences = self.sentences != "off" and not self.keeps_sentences
        if not rows or (self.keeps_codes and not has_sentences):
            return None, None
        dense, read = self._dense(rows)
        sentences = self._sentences(rows, dense) if has_sentences else None
        if self.keeps_codes:
            return None, sentences
        code = self.space.encode(dense)
        if sentences is None or not self.keeps_evidence:
            return Coded.of(self.space, dense, code, sentences, read=read), None
        first = self.source.space.n_features
        terms = self.space.of_reader.stop - first  # how much later terms come
        own = (mentions_of(point.payload, name) for point, name, _ in rows)
        mentions = TextMentions.of([
            [one._replace(feature=one.feature + (terms if one.feature >= first else 0)) for one in of_text]
            for of_text in own
        ])  # fmt: skip
        return Coded.of(self.space, dense, code, sentences, mentions, read=read), None

    def _sentences(self, rows: Sequence[tuple[Point, str, str]], dense: FloatArray) -> Sentences:
        """Return the sentences of texts; only those without a stored vector are encoded."""
        spans: list[Spans] = []
        known: list[FloatArray | None] = []
        for (point, name, text), whole in zip(rows, dense, strict=True):
            stored = None if self.is_encoded else point.payload.get(suffixed(SPANS, name))
            own = spans_in(text) if stored is None else spans_from(stored)
            vectors: Any = None if stored is None else point.vectors.get(suffixed(SENTENCES, name))
            if is_all(masked(text), own):
                vectors = whole[None]
            spans.append(own)
            known.append(vectors if vectors is not None and len(vectors) == len(own) else None)
        texts = [text for _, _, text in rows]
        return completed(texts, spans, known, self.opened, self.sentences == "stored")
