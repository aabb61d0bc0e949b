"""Names that a person gives to features of an index, and features that they hide, with the history."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from saeindex.config import FAMILY, PROFILE
from saeindex.errors import InvalidInputError, MismatchError, NotFoundError, first_fault
from saeindex.features.labels import HIDDEN, MANUAL
from saeindex.files import replacing, writable
from saeindex.schema import check_kind

if TYPE_CHECKING:
    from saeindex.features import FeatureSpace
    from saeindex.features.space import SpaceT
    from saeindex.types import FloatArray

    Encode = Callable[[Sequence[str]], FloatArray]

MAX_NAMES, MAX_HISTORY, MAX_FILE_BYTES = 2_000, 5_000, 10_000_000


class Strict(BaseModel):
    """Takes what is declared and nothing else, and does not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def to_base64(vector: FloatArray, kind: str = "<f2") -> str:
    """Return a vector (d,) as numbers of a kind, by default little-endian float16, in base64."""
    return base64.b64encode(vector.astype(kind).tobytes()).decode("ascii")


def from_base64(text: str, kind: str = "<f2") -> FloatArray:
    """Return the vector (d,) that :func:`to_base64` wrote."""
    found: FloatArray = np.frombuffer(base64.b64decode(text, validate=True), kind).astype(np.float32)
    return found


class GivenName(Strict):
    """A name, and its embedding as little-endian float16 in base64."""

    name: str
    vector: str


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
        for name in checked.values():
            check_prefix(f"the name {name!r:.80}", name)
        new = [name for name in checked.values() if name]
        vectors = dict(zip(new, encode(new), strict=True)) if new else {}
        given = {f: kept for f, kept in self.given.items() if f not in checked}
        given |= {
            f: GivenName(name=name, vector=to_base64(vectors[name])) for f, name in checked.items() if name
        }
        if len(given) > MAX_NAMES:
            do = "Label the space: `saeindex sae label`."
            raise InvalidInputError(f"{len(given):,} own names", f"more than {MAX_NAMES:,}", do)
        kept = {f for f in self.hidden if f not in hidden} | {f for f, wanted in hidden.items() if wanted}
        now = datetime.now(UTC).isoformat(timespec="seconds")
        edited = dict.fromkeys((*names, *hidden))
        edits = [NameEdit(at=now, feature=f, name=checked.get(f), is_hidden=f in kept) for f in edited]
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
            vectors[feature] = from_base64(kept.vector)
            labels[feature] = replace(
                labels[feature],
                text=kept.name,
                also=(labels[feature].text, *labels[feature].also),
                method=MANUAL,
                trust=None,
                f1=None,
            )
        for feature in self.hidden:
            labels[feature] = replace(labels[feature], kind=HIDDEN)
        return replace(space, labels=tuple(labels), label_vectors=vectors)

    def moved(self, features: Mapping[int, int]) -> tuple[NameEdits, tuple[str, ...]]:
        """Return the edits of another space, with the new number of a feature by the old, and names lost."""
        given = {features[f]: kept for f, kept in self.given.items() if f in features}
        hidden = tuple(sorted({features[f] for f in self.hidden if f in features}))
        lost = tuple(kept.name for f, kept in self.given.items() if f not in features)
        history = tuple(
            one.model_copy(update={"feature": features[one.feature]})
            for one in self.history
            if one.feature in features
        )
        return NameEdits(given=given, hidden=hidden, history=history), lost


def check_prefix(asked: str, name: str) -> None:
    """Raise InvalidInputError for a name that would be read as a feature, a family or a profile."""
    if name.startswith(("#", FAMILY, PROFILE)):
        raise InvalidInputError(asked, "it would be read as what it begins with", "Give it another name.")


class OwnNamesFile(Strict):
    """Own names and hidden features of an index, for an index with the same features.

    ``features_of`` is the digest of the autoencoder whose features they are.
    """

    features_of: str
    names: dict[int, str] = Field(max_length=MAX_NAMES)
    hidden: tuple[int, ...] = Field(max_length=MAX_NAMES)

    @classmethod
    def of(cls, edits: NameEdits, space: FeatureSpace) -> OwnNamesFile:
        """Take the edits of an index with this space, but for its terms."""
        own = space.without_terms().n_features  # another index has other terms under these numbers
        names = {feature: kept.name for feature, kept in edits.given.items() if feature < own}
        hidden = tuple(feature for feature in edits.hidden if feature < own)
        return cls(features_of=space.sae.digest(), names=names, hidden=hidden)

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
            do = "Give what `concepts.names` returned."
            raise InvalidInputError(asked, first_fault(error), do) from None
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
