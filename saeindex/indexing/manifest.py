"""The manifest of an index: the space and the settings that it was built with."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, get_args
from uuid import uuid4

from pydantic import Field, ValidationError, field_validator

from saeindex._version import __version__
from saeindex.config import (
    CONCEPTS,
    DEFAULT_SENTENCES,
    DEFAULT_WORDS,
    DENSE,
    DOCUMENT,
    FORMAT_VERSION,
    READER,
    SAE,
    SENTENCES,
    TEXT,
    TRUNCATED,
    UNSPACED,
    WORDS,
    SentenceStorage,
    suffixed,
)
from saeindex.errors import (
    DamageError,
    InvalidInputError,
    MismatchError,
    NotFoundError,
    copy_command,
    first_fault,
)
from saeindex.features.calibration import ARRAYS, Calibration
from saeindex.features.reader_space import reader_beside
from saeindex.files import with_checksum, without_checksum
from saeindex.indexing.names import NameEdits, Strict, from_base64, to_base64
from saeindex.indexing.points import checked_field_names
from saeindex.indexing.sentences import check_storage
from saeindex.indexing.terms import KeptTerm
from saeindex.indexing.words import bm25
from saeindex.protocols import Layout, PayloadKind, Quantization, VectorStore
from saeindex.schema import check_kind
from saeindex.stores.point_checks import MAX_COUNT

if TYPE_CHECKING:
    from saeindex.features import FeatureSpace
    from saeindex.features.reader_space import ReaderSpace
    from saeindex.report.model import Description


# Fields of a manifest that ``index_info`` shows in another form or not at all.
KEPT_FOR_ITSELF = {
    "counts", "is_being_written", "points_revision", "texts_revision", "written",
    "calibration", "terms", "is_coding", "learned", "edits", "profiles", "copying",
}  # fmt: skip


SENTENCES_IN_WORDS: dict[SentenceStorage, str] = {
    "stored": "with a vector each",
    "codes": "where they are in the texts, without vectors",
    "off": "",
}


class SpaceReference(Strict):
    """The feature space that the codes come from."""

    name: str
    fingerprint: str
    n_features: int
    k: int
    calibration_records: int
    calibration_digest: str

    @classmethod
    def of(cls, space: FeatureSpace) -> SpaceReference:
        """Refer to ``space``, without a reader that it is beside."""
        space = space.with_reader(None)
        return cls(
            name=space.name,
            fingerprint=space.fingerprint,
            n_features=space.n_features,
            k=space.sae.k,
            calibration_records=space.calibration.records,
            calibration_digest=space.calibration.digest(),
        )


class ReaderReference(Strict):
    """The reader that the features of tokens come from."""

    name: str
    fingerprint: str
    n_features: int
    most: int

    @classmethod
    def of(cls, reader: ReaderSpace | None) -> ReaderReference | None:
        """Refer to a reader, if there is one."""
        if reader is None:
            return None
        return cls(
            name=reader.name, fingerprint=reader.fingerprint, n_features=reader.sae.n_features,
            most=reader.most,
        )  # fmt: skip


class Counts(Strict):
    """The number of records at the end of the last finished write."""

    records: int = 0


class Copying(Strict):
    """A copy that is being made into this index, of a ``source`` in words; see ``copy.py``."""

    source: str
    digest: str
    """Of the source and the options: the same copy continues it."""


class OwnCalibration(Strict):
    """The calibration of the index's own corpus: its arrays as little-endian float32 in base64."""

    records: int
    density: str
    median: str
    p90: str
    mean: str | None = None

    @field_validator("density", "median", "p90", "mean")
    @classmethod
    def _is_array(cls, text: str | None) -> str | None:
        if text is not None and len(base64.b64decode(text, validate=True)) % 4:
            raise ValueError("not an array of float32")
        return text

    @classmethod
    def keep(cls, calibration: Calibration) -> OwnCalibration:
        """Encode ``calibration`` bit for bit: its levels are part of the fingerprint."""
        arrays = {name: getattr(calibration, name) for name in (*ARRAYS, "mean")}
        kept = {name: to_base64(array, "<f4") for name, array in arrays.items() if array is not None}
        return cls(records=calibration.records, **kept)

    def calibration(self) -> Calibration:
        """Return the calibration."""
        kept = {name: getattr(self, name) for name in (*ARRAYS, "mean")}
        arrays = {name: from_base64(text, "<f4") for name, text in kept.items() if text is not None}
        return Calibration(self.records, **arrays)


class Manifest(Strict):
    """The settings stored with the points; without a manifest the creation of the index was not finished."""

    format_version: int = FORMAT_VERSION
    created: str
    created_by: str
    space: SpaceReference
    encoder: dict[str, Any]
    precisions: tuple[str, ...] = ()
    """In which vectors were made: fp32 and bf16 agree to .9999, so any encoder may go on with an index."""
    dense: dict[str, int]
    sparse: list[str]
    payload_indexes: dict[str, PayloadKind]
    fields: list[str] = Field(default_factory=list)
    """Further text fields; each has its own vectors and concepts, with its name as suffix."""
    sentences: SentenceStorage = "off"
    """What is kept of the sentences of records: vectors and spans, spans alone, or nothing."""
    words: str = "off"
    """The language in which words are kept, or "off"."""
    reader: ReaderReference | None = None
    """The second space, of the tokens of texts, if the index has one."""
    quantization: Quantization | None = None
    """In what form dense vectors are kept beside themselves, for faster searches."""
    leave_out: tuple[str, ...] = ()
    """Sentences that are not read as speech, such as a footer."""
    updated: tuple[str, ...] = ()
    """Fields of metadata that an update set: they stay where a source does not have them."""
    counts: Counts = Counts()
    is_being_written: bool = False
    """Whether a write has begun and not ended: the counts are those before it."""
    revision: str = ""
    """An id that changes with every write."""
    points_revision: str = ""
    texts_revision: str = ""
    """The revision when points changed last; it identifies the state that a snapshot was read from."""
    calibration: OwnCalibration | None = None
    """The calibration of the points' levels, if it is not that of the original space."""
    terms: tuple[KeptTerm, ...] = ()
    """The terms of this collection, whose features come after those of the space."""
    is_coding: bool = False
    """Whether records are being given terms: until it ends, some may lack theirs."""
    learned: int | None = None
    """The number of records when terms were learned last; None until they are."""
    written: int = 0
    """The number of records that were written or deleted since."""
    edits: NameEdits = NameEdits()
    """Names that a person gave to features in this index, and features that they hid."""
    copying: Copying | None = None
    """The copy that this index is being made by, until it is complete."""
    profiles: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Saved steering profiles by name; :class:`saeindex.steering.saved_profile.Profile` reads them."""

    @classmethod
    def describe(
        cls,
        space: FeatureSpace,
        payload_indexes: Mapping[str, PayloadKind] | None = None,
        fields: Sequence[str] = (),
        sentences: SentenceStorage = DEFAULT_SENTENCES,
        quantization: Quantization | None = None,
        words: str = DEFAULT_WORDS,
    ) -> Manifest:
        """Describe a new index over ``space``; InvalidInputError for options that no index has."""
        check_storage(sentences)
        check_kind(
            f"payload_indexes={payload_indexes!r:.80}", payload_indexes or {}, Mapping,
            'Give a mapping: {"metadata.year": "integer-range"}.',
        )  # fmt: skip
        for field, kind in (payload_indexes or {}).items():
            _check_kind(field, kind)
        if quantization not in (None, *(forms := get_args(Quantization))):
            found, do = "no such form", f"Use {' or '.join(map(repr, forms))}, or None."
            raise InvalidInputError(f"quantization={quantization!r:.80}", found, do)
        if words != "off":
            bm25(words)
        names = ("", *checked_field_names(fields))
        sparse = (SAE, *[WORDS] * (words != "off"), *[READER] * (space.reader is not None))
        return cls(
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            created_by=f"saeindex {__version__}",
            space=SpaceReference.of(space),
            encoder=asdict(space.encoder),
            dense={suffixed(DENSE, name): space.encoder.dimension for name in names},
            sparse=[suffixed(one, name) for name in names for one in sparse],
            fields=list(fields),
            sentences=sentences,
            words=words,
            reader=ReaderReference.of(reader_beside(space)),
            quantization=quantization,
            payload_indexes={
                "record_id": "keyword",
                DOCUMENT: "keyword",
                TRUNCATED: "bool",
                UNSPACED: "bool",
                **{suffixed(CONCEPTS, name): "integer" for name in names},
                **({TEXT: "text"} if sentences == "stored" else {}),  # for phrases
                **{_key(field): kind for field, kind in (payload_indexes or {}).items()},
            },
        )

    @property
    def layout(self) -> Layout:
        """The layout of the collection."""
        names = ["", *self.fields] if self.sentences == "stored" else []
        multi = {suffixed(SENTENCES, name): self.dense[suffixed(DENSE, name)] for name in names}
        return Layout(self.dense, tuple(self.sparse), self.payload_indexes, multi, self.quantization)

    def changed(
        self, has_other_points: bool = False, has_other_texts: bool = False, **fields: Any
    ) -> Manifest:
        """Return a copy with other fields, under another revision."""
        revision = uuid4().hex
        points = {"points_revision": revision} if has_other_points else {}
        texts = {"texts_revision": revision} if has_other_texts else {}
        return self.model_copy(update={**fields, "revision": revision, **points, **texts})

    @classmethod
    def parse(cls, raw: Mapping[str, Any], name: str, is_lost: bool = False) -> Manifest:
        """Return the manifest of a store's JSON; NotFoundError if it is empty, MismatchError if it is of a
        copy that is not complete, or has another format.

        ``is_lost`` says that an empty one cannot be of an unfinished creation: there are points.
        """
        if not raw and is_lost:
            found = "its manifest is missing or empty"
            raise DamageError(f"index {name}", found, f"Run {copy_command(name)}: it reads the records.")
        if not raw:
            found = "its creation was not finished, or saeindex did not make it"
            raise NotFoundError(f"index {name}", found, f"Run `saeindex index … --into {name}` to make it.")
        if (version := raw.get("format_version")) != FORMAT_VERSION:
            do = "Open it with the saeindex version that wrote it, or index the records again."
            found = f"it has format {version!r}, and this version reads {FORMAT_VERSION}"
            raise MismatchError(f"index {name}", found, do)
        do = f"Run {copy_command(name)}: it makes a new index of its records."
        bare = without_checksum(raw)
        try:
            if bare is not None:
                kept = cls.model_validate(bare)
                if kept.copying is None:
                    return kept
                found = f"it is a copy of {kept.copying.source} that is not complete"
                again = "Run the same `saeindex copy` command again: it continues."
                raise MismatchError(f"index {name}", found, again)
            found = "it is not what was written"
        except ValidationError as error:
            found = first_fault(error)
        raise DamageError(f"index {name}", f"a damaged manifest: {found}", do)

    def to_json(self) -> dict[str, Any]:
        """Return the manifest as JSON with a checksum, for :meth:`parse`."""
        return with_checksum(self.model_dump(mode="json"))

    def with_own_levels(self, space: FeatureSpace, name: str) -> FeatureSpace:
        """Return ``space`` with the levels of this index.

        ``space`` may be any space of the same encoder and autoencoder; MismatchError for another space.
        """
        own = space
        if own.fingerprint != self.space.fingerprint and self.calibration is not None:
            own = replace(space, calibration=self.calibration.calibration())
        if own.fingerprint != self.space.fingerprint:
            asked = f"index {name} with feature space {space.name!r} ({space.fingerprint[:12]})"
            found = f"it was built with {self.space.name!r} ({self.space.fingerprint[:12]})"
            do = f"Open it without naming a space, or run {copy_command(name)} with --space."
            raise MismatchError(asked, found, do)
        return own

    def with_own_names(self, space: FeatureSpace) -> FeatureSpace:
        """Return ``space`` with the terms of this index, and the names that a person gave."""
        terms = [one.term() for one in self.terms]
        return self.edits.applied(space.with_terms(terms).leaving_out(self.leave_out))


def index_info(
    name: str, manifest: Manifest, store: VectorStore, records: int, space: FeatureSpace
) -> dict[str, Any]:
    """Return the description of an index as JSON: counts, space, encoder, vectors and settings.

    ``truncated`` records have a text that is longer than the encoder reads. ``evidence`` is the number of
    concepts that are found by what sentences say; the others are found by activations of whole texts.
    """
    evidence = None if manifest.sentences == "off" else space.evidence
    return {
        "name": name,
        "store": type(store).__name__,
        "records": records,
        "documents": len(store.facet(DOCUMENT, limit=MAX_COUNT)),
        "truncated": truncated_records(store),
        **manifest.model_dump(mode="json", exclude=KEPT_FOR_ITSELF),
        "profiles": sorted(manifest.profiles),
        "levels_of": "its own corpus" if manifest.calibration else "the space",
        "evidence": 0 if evidence is None else len(evidence.features),
        "terms": sum(bool(one.name) for one in manifest.terms),
        "space_report": space.report.get("held_out", {}),
    }


def truncated_records(store: VectorStore) -> int:
    """Return the number of records with a text that is longer than the encoder reads."""
    return sum(count for _, count in store.facet(TRUNCATED))


def index_description(name: str, manifest: Manifest) -> Description:
    """Return the description of an index in words, from its manifest."""
    from saeindex.report.model import Description, listing
    from saeindex.report.numbers import counted

    space, encoder = manifest.space, manifest.encoder
    rows = [
        ["Records", f"{manifest.counts.records:,}"],
        ["Feature space", f"{space.name}: {space.n_features:,} features, {space.k} active in a text"],
        ["Levels", "measured on this index" if manifest.calibration else "as measured with the space"],
        [
            "Encoder",
            ", ".join([f"{encoder['model']}, {encoder['dimension']} dimensions", *manifest.precisions]),
        ],
        ["Reader", "" if manifest.reader is None else manifest.reader.name],
        ["Vectors", ", ".join(manifest.layout.names)],
        ["Sentences", SENTENCES_IN_WORDS[manifest.sentences]],
        ["Words", "" if manifest.words == "off" else manifest.words],
        ["Indexed payload", ", ".join(manifest.payload_indexes)],
        ["Saved profiles", ", ".join(manifest.profiles)],
        ["Made", f"{manifest.created} by {manifest.created_by}"],
    ]
    columns = {"Property": lambda row: row[0], "Value": lambda row: row[1]}
    return Description(
        question="What is this index?",
        summary=[f"{name}: {counted(manifest.counts.records, 'record')}"],
        method=[],
        sections=[listing("Index", [row for row in rows if row[1]], columns)],
    )


def payload_key(field: str, kind: object) -> str:
    """Return the key of a field of the metadata to index; InvalidInputError for another field or kind."""
    from saeindex.language.fields import METADATA

    key = _key(field)
    if not key.startswith(f"{METADATA}."):
        found, do = "it is no field of the metadata", "Name one: metadata.year."
        raise InvalidInputError(f"an index on {field!r:.80}", found, do)
    if kind is not None:
        _check_kind(field, kind)
    return key


def _check_kind(field: str, kind: object) -> None:
    if kind not in (kinds := get_args(PayloadKind)):
        found = f"no kind {kind!r:.80}"
        raise InvalidInputError(f"payload index of {field!r:.80}", found, f"Use {', '.join(kinds)}.")


def _key(field: str) -> str:
    """Return the engines' key of a field to index; InvalidInputError if they have none."""
    from saeindex.language.fields import field_at, is_addressable, path_of

    key = field_at(path_of(field))
    if not is_addressable(key):
        found = 'its name holds " or \\'
        raise InvalidInputError(f"an index on {field}", found, "Leave it without an index.")
    return key
