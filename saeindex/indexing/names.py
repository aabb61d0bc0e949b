"""Names of features in an index: what they mean in its records, and what a person calls or hides.

What is learned from records and what a person does are kept in the manifest, the latter with its history.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from saeindex.config import DENSE, SAE
from saeindex.errors import InvalidInputError, MismatchError, NotFoundError, first_fault
from saeindex.features.labels import HIDDEN, MANUAL
from saeindex.features.names_here import CodedSample, NameHere, names_here
from saeindex.files import replacing, writable
from saeindex.indexing.points import codes_of
from saeindex.protocols import PhraseEncoder
from saeindex.schema import check_kind
from saeindex.stores.base import PAGE, first_points

if TYPE_CHECKING:
    from saeindex.features import FeatureSpace
    from saeindex.features.names_here import Encode
    from saeindex.features.space import SpaceT
    from saeindex.protocols import TextEncoder, VectorStore
    from saeindex.types import FloatArray

MAX_NAMES, MAX_HISTORY, MAX_FILE_BYTES = 2_000, 5_000, 10_000_000
# Records that are read, and records from which on names are learned.
SAMPLED, MIN_RECORDS = 4_096, 64


class Strict(BaseModel):
    """Takes what is declared and nothing else, and does not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class OwnNames(Strict):
    """What features mean in the index, learned when it had so many records; see ``NameHere``.

    ``parts`` has what labels are cut to here.
    """

    records: int
    features: dict[int, tuple[tuple[str, ...], int, float | None, float | None, str]]
    parts: dict[int, tuple[str, ...]] = Field(default_factory=dict)

    @classmethod
    def keep(cls, found: Mapping[int, NameHere], records: int) -> OwnNames:
        """Keep what was found."""
        features = {f: (n.words, n.records, n.trust, n.trust_read, n.example) for f, n in found.items()}
        parts = {f: n.part for f, n in found.items() if n.part is not None}
        return cls(records=records, features=features, parts=parts)

    def found(self) -> dict[int, NameHere]:
        """Return what was kept."""
        return {f: NameHere(*one, self.parts.get(f)) for f, one in self.features.items()}


def is_to_learn(known: OwnNames | None, records: int, written: int) -> bool:
    """Return whether names are to be learned now, in an index of ``records``.

    They are once it has ``MIN_RECORDS``, and again when as many records were ``written`` as it had then.
    """
    return records >= MIN_RECORDS and (known is None or written >= known.records)


def read_sample(store: VectorStore, n_features: int) -> CodedSample:
    """Return the first records of a store, from which names are learned: their ids are random."""
    points = first_points(store, SAMPLED, PAGE, ["record_id", "text"], [DENSE, SAE])
    dense = [np.asarray(point.vectors[DENSE], np.float32) for point in points]
    return CodedSample(
        [point.payload["record_id"] for point in points],
        [point.payload["text"] for point in points],
        np.stack(dense) if dense else np.zeros((0, store.layout.dense[DENSE]), np.float32),
        codes_of(points, n_features),
    )


def learned(
    sample: CodedSample, records: int, space: FeatureSpace, encoder: Callable[[], TextEncoder]
) -> OwnNames:
    """Return what features mean in an index of ``records``, of which ``sample`` is one.

    The ``encoder`` embeds phrases, with ``encode_phrases`` if it has that.
    """
    own = encoder()
    encode = own.encode_phrases if isinstance(own, PhraseEncoder) else own.encode_query
    return OwnNames.keep(names_here(space, sample, encode), records)


class GivenName(Strict):
    """A name, and its embedding as little-endian float16 in base64."""

    name: str
    vector: str

    @classmethod
    def of(cls, name: str, vector: FloatArray) -> GivenName:
        """Keep a name and its embedding (d,)."""
        return cls(name=name, vector=base64.b64encode(vector.astype("<f2").tobytes()).decode("ascii"))

    def embedding(self) -> FloatArray:
        """Return the embedding (d,)."""
        half = np.frombuffer(base64.b64decode(self.vector, validate=True), "<f2")
        return half.astype(np.float32)


class NameEdit(Strict):
    """What was done to a feature, and when; the ``name`` is None where it was only hidden or shown."""

    at: str
    feature: int
    name: str | None = None
    is_hidden: bool = False


class NameEdits(Strict):
    """The names that a person gave, the features that they hid, and how it came to that."""

    given: dict[int, GivenName] = Field(default_factory=dict, max_length=MAX_NAMES)
    hidden: tuple[int, ...] = ()
    history: tuple[NameEdit, ...] = ()

    def changed(
        self, space: FeatureSpace, names: Mapping[int, str], hidden: Mapping[int, bool], encode: Encode
    ) -> NameEdits:
        """Return the edits after further ``names`` by feature ("" takes one back), and hidings.

        Raises UnknownConceptError for a feature that the space lacks, InvalidInputError for an unusable name.
        """
        from saeindex.features.labelers.labeler import checked_phrase

        for feature in (*names, *hidden):
            space.label(feature)
        checked = {f: checked_phrase(f, name) if name.strip() else "" for f, name in names.items()}
        new = [name for name in checked.values() if name]
        vectors = dict(zip(new, encode(new), strict=True)) if new else {}
        given = {f: kept for f, kept in self.given.items() if f not in checked}
        given |= {f: GivenName.of(name, vectors[name]) for f, name in checked.items() if name}
        if len(given) > MAX_NAMES:
            do = "Label the space: `saeindex sae label`."
            raise InvalidInputError(f"{len(given):,} own names", f"more than {MAX_NAMES:,}", do)
        kept = {f for f in self.hidden if f not in hidden} | {f for f, wanted in hidden.items() if wanted}
        now = datetime.now(UTC).isoformat(timespec="seconds")
        edits = [
            NameEdit(at=now, feature=f, name=checked.get(f), is_hidden=f in kept)
            for f in dict.fromkeys((*names, *hidden))
        ]
        history = (*self.history, *edits)[-MAX_HISTORY:]
        return NameEdits(given=given, hidden=tuple(sorted(kept)), history=history)

    def applied(self, space: SpaceT) -> SpaceT:
        """Return the space with these names, and with the hidden features marked."""
        if not self.given and not self.hidden:
            return space
        labels, vectors = list(space.labels), space.label_vectors
        if self.given:
            vectors = vectors.copy()
        for feature, kept in self.given.items():
            vectors[feature] = kept.embedding()
            labels[feature] = replace(
                labels[feature],
                text=kept.name,
                given=labels[feature].text,
                method=MANUAL,
                trust=None,
                f1=None,
            )
        for feature in self.hidden:
            labels[feature] = replace(labels[feature], kind=HIDDEN)
        return replace(space, labels=tuple(labels), label_vectors=vectors)

    def moved(self, features: Mapping[int, int]) -> tuple[NameEdits, tuple[str, ...]]:
        """Return the edits of another space, with the new number of a feature by the old, and names lost.

        The history stays that of the numbers at the time.
        """
        given = {features[f]: kept for f, kept in self.given.items() if f in features}
        hidden = tuple(sorted({features[f] for f in self.hidden if f in features}))
        lost = tuple(kept.name for f, kept in self.given.items() if f not in features)
        return NameEdits(given=given, hidden=hidden, history=self.history), lost


class OwnNamesFile(Strict):
    """Own names and hidden features of an index, for an index with the same features.

    ``features_of`` is the digest of the autoencoder whose features they are.
    """

    features_of: str
    names: dict[int, str] = Field(max_length=MAX_NAMES)
    hidden: tuple[int, ...] = Field(max_length=MAX_NAMES)

    @classmethod
    def of(cls, edits: NameEdits, space: FeatureSpace) -> OwnNamesFile:
        """Take the edits of an index with this space."""
        names = {feature: kept.name for feature, kept in edits.given.items()}
        return cls(features_of=space.sae.digest(), names=names, hidden=edits.hidden)

    def save(self, path: str | Path) -> None:
        """Write the file, whole or not at all."""
        with replacing(writable(path)) as draft:
            draft.write_text(json.dumps(self.model_dump(mode="json"), ensure_ascii=False, indent=1), "utf-8")

    @classmethod
    def read(cls, given: Mapping[str, Any], space: FeatureSpace, asked: str) -> OwnNamesFile:
        """Return the names in JSON; MismatchError if they are for the features of another space."""
        try:
            kept = cls.model_validate(given)
        except ValidationError as error:
            raise InvalidInputError(
                asked, first_fault(error), "Give what `concepts.names` returned."
            ) from None
        if kept.features_of != space.sae.digest():
            found = f"they are for the features of another space than {space.name!r}"
            raise MismatchError(asked, found, "Import them into an index with the same feature space.")
        return kept


def names_in(given: str | Path) -> dict[str, Any]:
    """Return what a file of own names has."""
    check_kind("a file of own names", given, (str, Path), "Give its path.")
    path = Path(given)
    asked = f"own names in {path.name}"
    if not path.is_file():
        raise NotFoundError(asked, "no such file", "Check the path.")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise InvalidInputError(asked, f"more than {MAX_FILE_BYTES:,} bytes", "Give a file of own names.")
    try:
        found = json.loads(path.read_bytes())
    except ValueError as error:
        raise InvalidInputError(asked, f"it is not JSON: {error}", "Give a file of own names.") from None
    if not isinstance(found, dict):
        raise InvalidInputError(asked, "it is not an object", "Give a file of own names.")
    return found
