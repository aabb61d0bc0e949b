"""The manifest of an index: which lens it was built with, and how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from saeindex._version import __version__
from saeindex.config import CONCEPTS, DENSE, FORMAT_VERSION, RECORD_CONCEPTS, SAE
from saeindex.errors import MismatchError, NotFoundError
from saeindex.protocols import Layout, PayloadKind

if TYPE_CHECKING:
    from saeindex.features import FeatureSpace
    from saeindex.indexing.passages import PassageOptions


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SpaceReference(_Strict):
    """The feature space that the codes come from."""

    name: str
    fingerprint: str
    n_features: int
    k: int
    calibration_records: int
    calibration_digest: str


class PassageSetting(_Strict):
    """How long texts are split."""

    max_tokens: int
    overlap: int


class Counts(_Strict):
    """What the index held when it was last written to the end of a run."""

    records: int = 0
    points: int = 0


class Manifest(_Strict):
    """Kept beside the points; an index without one was never finished being created."""

    format_version: int = FORMAT_VERSION
    created: str
    created_by: str
    space: SpaceReference
    encoder: dict[str, Any]
    dense: dict[str, int]
    sparse: list[str]
    payload_indexes: dict[str, PayloadKind]
    passages: PassageSetting | None = None
    counts: Counts = Counts()

    @classmethod
    def describe(
        cls,
        space: FeatureSpace,
        passages: PassageOptions | None,
        payload_indexes: Mapping[str, PayloadKind],
    ) -> Manifest:
        """Describe a new index over ``space``."""
        return cls(
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            created_by=f"saeindex {__version__}",
            space=SpaceReference(
                name=space.name,
                fingerprint=space.fingerprint,
                n_features=space.n_features,
                k=space.sae.k,
                calibration_records=space.calibration.records,
                calibration_digest=space.calibration.digest(),
            ),
            encoder=asdict(space.encoder),
            dense={DENSE: space.encoder.dimension},
            sparse=[SAE],
            payload_indexes={
                "record_id": "keyword",
                "passage": "integer-range",
                CONCEPTS: "integer",
                RECORD_CONCEPTS: "integer",
                **payload_indexes,
            },
            passages=None
            if passages is None
            else PassageSetting(max_tokens=passages.max_tokens, overlap=passages.overlap),
        )

    @property
    def layout(self) -> Layout:
        """The collection's shape."""
        return Layout(self.dense, tuple(self.sparse), self.payload_indexes)

    @classmethod
    def parse(cls, raw: Mapping[str, Any], name: str) -> Manifest:
        """Check what a store kept; NotFoundError where nothing was, MismatchError for another format."""
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
        try:
            return cls.model_validate(raw)
        except ValidationError as error:
            raise MismatchError(
                f"index {name}",
                f"a damaged manifest: {error.errors()[0]['msg']}",
                "Restore it from a backup.",
            ) from error

    def check_space(self, space: FeatureSpace, name: str) -> None:
        """Raise MismatchError unless the index was built with ``space``."""
        if space.fingerprint != self.space.fingerprint:
            raise MismatchError(
                f"index {name} with feature space {space.name!r} ({space.fingerprint[:12]})",
                f"it was built with {self.space.name!r} ({self.space.fingerprint[:12]})",
                "Open it without naming a space, or index the records again into a new index.",
            )
