"""What an index has of its records, for another one that need not compute it: vectors and evidence."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from saeindex.config import DENSE, EVIDENCE, SENTENCES, SOURCE, suffixed
from saeindex.features.evidence import Mention
from saeindex.indexing.points import CONTENT_HASH, DOCUMENT_HASH, Given, mentions_of
from saeindex.protocols import Point, VectorStore

if TYPE_CHECKING:
    from saeindex.features.space import Space
    from saeindex.types import FloatArray, JsonObject

MENTION = 3
# The mark of a document, which ends with the number of its pieces.
MARK = re.compile(r"[0-9a-f]{1,128}:\d{1,5}", re.ASCII)


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """Vectors by name and evidence by text field; they hold for an encoder, an evidence and texts.

    These three are digests. ``source`` is the name of what gave the record, if it has one, ``document`` the
    mark of the whole text that it is a piece of.
    """

    encoder: str
    evidence: str
    content: str
    vectors: Mapping[str, FloatArray]
    mentions: Mapping[str, Sequence[Mention]]
    source: str | None = None
    document: str | None = None

    @classmethod
    def of(cls, point: Point, space: Space, fields: Sequence[str]) -> Known:
        """Take what a point has."""
        evidence, bases = space.evidence, (DENSE, SENTENCES)
        names = [suffixed(base, name) for base in bases for name in ("", *fields)]
        terms: frozenset[int] = frozenset() if evidence is None else evidence.own_terms
        mentions = {
            name: [one for one in mentions_of(point.payload, name) if one.feature not in terms]
            for name in ("", *fields)
        }
        return cls(
            space.encoder.digest,
            "" if evidence is None or EVIDENCE not in point.payload else evidence.digest,
            point.payload[CONTENT_HASH],
            {name: np.asarray(point.vectors[name], np.float32) for name in names if name in point.vectors},
            mentions,
            point.payload.get(SOURCE),
            point.payload.get(DOCUMENT_HASH),
        )

    def given(self, space: Space, field: str, count: int) -> Given:
        """Return what holds in a space, of a text field with so many sentences."""
        if space.encoder.digest != self.encoder:
            return Given()
        width = space.encoder.dimension
        whole, single = (suffixed(base, field) for base in (DENSE, SENTENCES))
        dense, sentences = self.vectors.get(whole), self.vectors.get(single)
        dense = dense if dense is not None and dense.shape == (width,) else None
        sentences = sentences if sentences is not None and sentences.shape == (count, width) else None
        return Given(dense, sentences, self._mentions_in(space, field, count))

    def _mentions_in(self, space: Space, field: str, count: int) -> Sequence[Mention] | None:
        """Return the evidence of a text field, None where it may be another in a space."""
        evidence, own = space.evidence, self.mentions.get(field)
        if evidence is None or evidence.digest != self.evidence or own is None:
            return None
        features = np.array([one.feature for one in own], np.int32)
        is_known = bool(evidence.is_named(features).all() and (np.diff(features) > 0).all())
        return own if is_known and all(one.sentence < count for one in own) else None

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object, vectors as little-endian float32 in base64."""
        vectors = {
            name: [*one.shape, base64.b64encode(one.astype("<f4").tobytes()).decode()]
            for name, one in self.vectors.items()
        }
        mentions = {
            name: [number for one in own for number in (one.feature, round(100 * one.p), one.sentence)]
            for name, own in self.mentions.items()
        }
        own = {"encoder": self.encoder, "evidence": self.evidence, "content": self.content}
        of = {"source": self.source, "document": self.document}
        return {**own, "vectors": vectors, "mentions": mentions, **of}

    @classmethod
    def from_json(cls, given: JsonObject) -> Known:
        """Return what :meth:`to_json` wrote; ValueError, TypeError or KeyError for anything else."""
        vectors = {}
        for name, (*shape, text) in given["vectors"].items():
            flat = np.frombuffer(base64.b64decode(text, validate=True), "<f4").astype(np.float32)
            vectors[name] = flat.reshape(shape)
            if len(shape) not in {1, 2} or not np.isfinite(flat).all():
                raise ValueError("not a vector")
        mentions = {}
        for name, numbers in given["mentions"].items():
            rows = np.array(numbers, np.int64).reshape(-1, MENTION).tolist()
            if any(feature < 0 or not 0 <= p <= 100 or sentence < 0 for feature, p, sentence in rows):
                raise ValueError("no evidence")
            mentions[name] = [Mention(feature, p / 100, sentence) for feature, p, sentence in rows]
        encoder, evidence, content = (str(given[name]) for name in ("encoder", "evidence", "content"))
        of = (None if given.get(name) is None else str(given[name]) for name in ("source", "document"))
        source, document = of
        if document is not None and not MARK.fullmatch(document):
            raise ValueError("no mark of a document")
        return cls(encoder, evidence, content, vectors, mentions, source, document)


def vectors_kept(store: VectorStore) -> list[str]:
    """Return the names of the vectors that :meth:`Known.of` takes."""
    return [*store.layout.dense, *store.layout.multi]
