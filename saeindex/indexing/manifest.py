"""The manifest of an index: the space and the settings that it was built with."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np
from pydantic import Field, ValidationError, field_validator

from saeindex._version import __version__
from saeindex.config import CONCEPTS, DENSE, FORMAT_VERSION, RECORD_CONCEPTS, SAE, suffixed
from saeindex.errors import DamageError, InvalidInputError, MismatchError, NotFoundError, repair_of
from saeindex.features.calibration import ARRAYS, Calibration
from saeindex.features.names_here import with_names_here
from saeindex.files import with_checksum, without_checksum
from saeindex.indexing.names import NameEdits, OwnNames, Strict
from saeindex.indexing.points import checked_field_names
from saeindex.protocols import Layout, PayloadKind

if TYPE_CHECKING:
    from saeindex.features import FeatureSpace
    from saeindex.indexing.passages import PassageOptions
    from saeindex.protocols import VectorStore
    from saeindex.report.model import Description
    from saeindex.types import FloatArray


# Fields of a manifest that ``index_info`` shows in another form or not at all.
KEPT_FOR_ITSELF = {
    "counts", "calibration", "names", "edits", "recalibration", "upgrade", "upgraded", "profiles",
}  # fmt: skip


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
        """Refer to ``space``."""
        return cls(
            name=space.name,
            fingerprint=space.fingerprint,
            n_features=space.n_features,
            k=space.sae.k,
            calibration_records=space.calibration.records,
            calibration_digest=space.calibration.digest(),
        )


class PassageSetting(Strict):
    """How long texts are split."""

    max_tokens: int
    overlap: int


class Counts(Strict):
    """The number of records and points at the end of the last complete run."""

    records: int = 0
    points: int = 0


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
        kept = {name: _to_text(array) for name, array in arrays.items() if array is not None}
        return cls(records=calibration.records, **kept)

    def calibration(self) -> Calibration:
        """Return the calibration."""
        arrays = {name: _from_text(getattr(self, name)) for name in ARRAYS}
        mean = None if self.mean is None else _from_text(self.mean)
        return Calibration(self.records, **arrays, mean=mean)


class Recalibration(Strict):
    """New levels that are being written, and the fingerprint of their space; points may have old or new."""

    fingerprint: str
    calibration: OwnCalibration


class Upgrade(Strict):
    """An upgrade to another space, while it is being written, and after it until points change.

    ``space``, ``calibration``, ``profiles`` and ``edits`` are those of the index afterwards, ``former…``
    those before; ``revision`` is that of the manifest when it was finished.
    """

    space: SpaceReference
    calibration: OwnCalibration | None = None
    profiles: dict[str, dict[str, Any]] = Field(default_factory=dict)
    edits: NameEdits = NameEdits()
    former: SpaceReference
    former_calibration: OwnCalibration | None = None
    former_profiles: dict[str, dict[str, Any]] = Field(default_factory=dict)
    former_edits: NameEdits = NameEdits()
    is_undo: bool = False
    report: dict[str, Any] = Field(default_factory=dict)
    """What is to be said when it is finished, for one that is interrupted."""
    revision: str = ""


class Manifest(Strict):
    """The settings stored with the points; without a manifest the creation of the index was not finished."""

    format_version: int = FORMAT_VERSION
    created: str
    created_by: str
    space: SpaceReference
    encoder: dict[str, Any]
    dense: dict[str, int]
    sparse: list[str]
    payload_indexes: dict[str, PayloadKind]
    fields: list[str] = Field(default_factory=list)
    """Further text fields; each has its own vectors and concepts, with its name as suffix."""
    passages: PassageSetting | None = None
    counts: Counts = Counts()
    revision: str = ""
    """A random id that changes whenever points change; it identifies the state that a cache was read from."""
    calibration: OwnCalibration | None = None
    """The calibration of the points' levels, if it is not that of the original space."""
    names: OwnNames | None = None
    """What features mean in this index; None until it has enough points."""
    edits: NameEdits = NameEdits()
    """Names that a person gave to features in this index, and features that they hid."""
    recalibration: Recalibration | None = None
    upgrade: Upgrade | None = None
    """An upgrade that is being written."""
    upgraded: Upgrade | None = None
    """The last upgrade, which can be undone until points change."""
    profiles: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Saved steering profiles by name; :class:`saeindex.steering.saved_profile.Profile` reads them."""

    @classmethod
    def describe(
        cls,
        space: FeatureSpace,
        passages: PassageOptions | None,
        payload_indexes: Mapping[str, PayloadKind],
        fields: Sequence[str] = (),
    ) -> Manifest:
        """Describe a new index over ``space``."""
        names = ("", *checked_field_names(fields))
        return cls(
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            created_by=f"saeindex {__version__}",
            space=SpaceReference.of(space),
            encoder=asdict(space.encoder),
            dense={suffixed(DENSE, name): space.encoder.dimension for name in names},
            sparse=[suffixed(SAE, name) for name in names],
            fields=list(fields),
            payload_indexes={
                "record_id": "keyword",
                "passage": "integer-range",
                **{suffixed(CONCEPTS, name): "integer" for name in names},
                RECORD_CONCEPTS: "integer",
                **{_key(field): kind for field, kind in payload_indexes.items()},
            },
            passages=None
            if passages is None
            else PassageSetting(max_tokens=passages.max_tokens, overlap=passages.overlap),
        )

    @property
    def layout(self) -> Layout:
        """The layout of the collection."""
        return Layout(self.dense, tuple(self.sparse), self.payload_indexes)

    @property
    def passage_options(self) -> PassageOptions | None:
        """How long texts are split; None if they are not split."""
        from saeindex.indexing.passages import PassageOptions

        return None if self.passages is None else PassageOptions(**self.passages.model_dump())

    def renewed(self) -> Manifest:
        """Return a copy with a new revision."""
        return self.model_copy(update={"revision": uuid4().hex})

    @classmethod
    def parse(cls, raw: Mapping[str, Any], name: str, is_lost: bool = False) -> Manifest:
        """Return the manifest of a store's JSON; NotFoundError if it is empty, MismatchError if invalid.

        ``is_lost`` says that an empty one cannot be of an unfinished creation: there are points.
        """
        if not raw and is_lost:
            do = f"Run {repair_of(name)}."
            raise DamageError(f"index {name}", "its manifest.json is missing or empty", do)
        if not raw:
            raise NotFoundError(
                f"index {name}",
                "its creation was not finished, or saeindex did not make it",
                f"Run `saeindex index … --into {name}` to make it.",
            )
        if raw.get("format_version") != FORMAT_VERSION:
            raise MismatchError(
                f"index {name}",
                f"format version {raw.get('format_version')!r}, this saeindex reads {FORMAT_VERSION}",
                "Open it with the saeindex version that wrote it, or index again.",
            )
        do = f"Run {repair_of(name)}."
        bare = without_checksum(raw)
        try:
            if bare is not None:
                return cls.model_validate(bare)
            found = "it is not what was written"
        except ValidationError as error:
            found = error.errors()[0]["msg"]
        raise MismatchError(f"index {name}", f"a damaged manifest: {found}", do)

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
            raise MismatchError(
                f"index {name} with feature space {space.name!r} ({space.fingerprint[:12]})",
                f"it was built with {self.space.name!r} ({self.space.fingerprint[:12]})",
                "Open it without naming a space, or index the records again into a new index.",
            )
        return own

    def with_own_names(self, space: FeatureSpace) -> FeatureSpace:
        """Return ``space`` with labels that say what features mean in this index, and own names."""
        named = self.edits.applied(space)
        return named if self.names is None else with_names_here(named, self.names.found())

    def check_settled(self, name: str, fingerprint: str | None = None) -> None:
        """Raise MismatchError if new levels or codes are being written, or are not of ``fingerprint``."""
        if self.recalibration is not None:
            raise MismatchError(
                f"index {name}",
                "its levels are being replaced, or the replacement was interrupted",
                f"Run `saeindex sae calibrate {name}` to finish it (in Python: open it with resume=True).",
            )
        if self.upgrade is not None:
            raise MismatchError(
                f"index {name}",
                "it is being upgraded to another feature space, or the upgrade was interrupted",
                f"Run `saeindex upgrade {name}` to finish it (in Python: open it with resume=True).",
            )
        if fingerprint not in (None, self.space.fingerprint):
            raise MismatchError(
                f"write to index {name}", "its levels were replaced since it was opened", "Open it again."
            )


class KeptManifest:
    """The manifest of an open index; ``current`` is its state when this process last read or wrote it."""

    def __init__(self, store: VectorStore, manifest: Manifest, name: str) -> None:
        """``store`` has the manifest; ``name`` is the index's name in errors."""
        self._store, self._name, self.current = store, name, manifest

    def read(self) -> Manifest:
        """Read the manifest again and return it; MismatchError if the levels were replaced meanwhile."""
        kept = Manifest.parse(self._store.read_manifest(), self._name)
        kept.check_settled(self._name, self.current.space.fingerprint)
        return kept

    def write(self, manifest: Manifest) -> None:
        """Replace the manifest."""
        self.current = manifest
        self._store.write_manifest(manifest.to_json())

    def change(self, is_renewed: bool = False, /, **fields: Any) -> Manifest:
        """Replace fields of the manifest as it is stored, and its revision if asked; return it."""
        changed = self.read().model_copy(update=fields)
        self.write(changed.renewed() if is_renewed else changed)
        return self.current

    def renew(self) -> None:
        """Write a new revision, before points change."""
        self.write(self.read().renewed())

    def before_write(self, revision: str) -> None:
        """Raise MismatchError if the levels were replaced; write a new revision before the first write.

        It is written before the points, so that after a killed run no cache counts as current.
        """
        if self.current.revision == revision:
            self.renew()
        else:
            self.read()


def index_info(
    name: str, manifest: Manifest, store: VectorStore, records: int, space: FeatureSpace
) -> dict[str, Any]:
    """Return the description of an index as JSON: counts, space, encoder, vectors and settings."""
    return {
        "name": name,
        "store": type(store).__name__,
        "records": records,
        "points": store.count(),
        **manifest.model_dump(mode="json", exclude=KEPT_FOR_ITSELF),
        "profiles": sorted(manifest.profiles),
        "levels_of": "its own corpus" if manifest.calibration else "the space",
        "space_report": space.report.get("held_out", {}),
    }


def index_description(name: str, manifest: Manifest) -> Description:
    """Return the description of an index in words, from its manifest."""
    from saeindex.report.model import Description, listing
    from saeindex.report.numbers import counted

    space, encoder, passages = manifest.space, manifest.encoder, manifest.passages
    split = "whole texts" if passages is None else f"passages of up to {passages.max_tokens} tokens"
    rows = [
        ["Records", f"{manifest.counts.records:,} ({manifest.counts.points:,} points, {split})"],
        ["Feature space", f"{space.name}: {space.n_features:,} features, {space.k} active in a text"],
        ["Levels", "measured on this index" if manifest.calibration else "as measured with the space"],
        ["Encoder", f"{encoder['model']}, {encoder['dimension']} dimensions"],
        ["Vectors", ", ".join([*manifest.dense, *manifest.sparse])],
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


def _key(field: str) -> str:
    """Return the engines' key of a field to index; InvalidInputError if they have none."""
    from saeindex.language.fields import field_at, is_addressable, path_of

    key = field_at(path_of(field))
    if not is_addressable(key):
        raise InvalidInputError(
            f"an index on {field}", 'its name holds " or \\', "Leave it without an index."
        )
    return key


def _to_text(array: FloatArray) -> str:
    return base64.b64encode(array.astype("<f4").tobytes()).decode("ascii")


def _from_text(text: str) -> FloatArray:
    array: FloatArray = np.frombuffer(base64.b64decode(text, validate=True), "<f4").astype(np.float32)
    return array
