"""The points of a copy: as they are in its source, or with new codes, vectors or sentences."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from saeindex.config import (
    DENSE,
    DOCUMENT,
    EVIDENCE,
    SENTENCES,
    SPANS,
    SPEAKING,
    TEXT,
    TRUNCATED,
    SentenceStorage,
    suffixed,
)
from saeindex.errors import InvalidInputError
from saeindex.features import FeatureSpace
from saeindex.features.calibration import CalibrationMeter
from saeindex.indexing.create_open import IndexParts
from saeindex.indexing.points import (
    CONTENT_HASH,
    DOCUMENT_HASH,
    Coded,
    codes_of,
    content_hash,
    point_id,
    stored_record,
)
from saeindex.indexing.proof import mentions_of
from saeindex.indexing.sentences import Sentences, completed, is_whole, spans_from, spans_in
from saeindex.indexing.split import is_cut
from saeindex.language.speech import readable
from saeindex.protocols import Point
from saeindex.stores.base import pages
from saeindex.types import Record

if TYPE_CHECKING:
    from saeindex.indexing.sentences import Spans
    from saeindex.protocols import TextEncoder, Vector
    from saeindex.types import FloatArray

PAGE = 500
# Payload fields that saeindex writes; others, of other programs, are copied as they are.
OURS = frozenset({"record_id", "metadata", CONTENT_HASH, DOCUMENT, DOCUMENT_HASH, TRUNCATED})


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

    @property
    def keeps_codes(self) -> bool:
        """Whether codes and levels are copied as they are."""
        is_same = self.source.space.fingerprint == self.space.fingerprint
        is_read_alike = (self.source.manifest.sentences == "off") == (self.sentences == "off")
        return is_same and self.has_manifest and is_read_alike and not self.is_encoded

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
        """The vectors of a page; those of sentences are read for a few records at a time."""
        return [*self.source.store.layout.dense, *self.source.store.layout.sparse]

    @property
    def sentences_read(self) -> list[str]:
        """The vectors of sentences that are copied."""
        is_used = self.sentences == "stored" or (self.sentences == "codes" and not self.keeps_sentences)
        return [*self.source.store.layout.multi] if is_used and not self.is_encoded else []

    def calibrated(self) -> PointConverter:
        """Return the converter to levels that are measured on the source's records."""
        meter, coded = CalibrationMeter(self.space.n_features), replace(self, sentences="off")
        for page in pages(self.source.store, None, PAGE, True, self.vectors_read):
            points = list(coded.written(self.sound(page.points)[0]))
            dense = [np.asarray(point.vectors[DENSE]) for point in points]
            meter.add(codes_of(points, self.space.n_features), np.stack(dense) if dense else None)
        measured = meter.measured()
        if not measured.records:
            raise InvalidInputError(f"calibrate a copy of {self.name}", "it is empty", "Leave it out.")
        own = measured.with_rare_levels_of(self.space.calibration)
        report = {**self.space.report, "calibrated_on": measured.records}
        return replace(self, space=replace(self.space, calibration=own, report=report))

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
        vectors = {name: vector for name, vector in point.vectors.items() if name not in gone}
        payload = {key: one for key, one in point.payload.items() if key not in gone | OURS}
        payload |= {"record_id": record.id, TEXT: record.text, "metadata": dict(record.metadata)}
        payload |= {suffixed(TEXT, name): text for name, text in record.fields.items()}
        payload[CONTENT_HASH] = content_hash(record)
        if record.document is not None:
            payload[DOCUMENT] = record.document
        if DOCUMENT_HASH in point.payload:
            payload[DOCUMENT_HASH] = point.payload[DOCUMENT_HASH]
        is_truncated = bool(point.payload.get(TRUNCATED))
        if self.is_encoded:
            is_truncated = any(is_cut(one, self.opened()) for one in (record.text, *record.fields.values()))
        payload |= {TRUNCATED: True} if is_truncated else {}
        return vectors, payload

    def _coded(self, rows: Sequence[tuple[Point, str, str]]) -> tuple[Coded | None, Sentences | None]:
        """Return the codes and sentences of texts (points, fields, texts), unless they are kept."""
        has_sentences = self.sentences != "off" and not self.keeps_sentences
        if not rows or (self.keeps_codes and not has_sentences):
            return None, None
        if self.is_encoded:
            dense = self.opened().encode_document([readable(text) for _, _, text in rows])
        else:
            dense = np.stack(
                [np.asarray(point.vectors[suffixed(DENSE, name)], np.float32) for point, name, _ in rows]
            )
        sentences = self._sentences(rows, dense) if has_sentences else None
        if self.keeps_codes:
            return None, sentences
        code = self.space.encode(dense)
        if sentences is None or not self.keeps_evidence:
            return Coded.of(self.space, dense, code, sentences), None
        mentions = [mentions_of(point.payload, name) for point, name, _ in rows]
        return Coded(dense, code, self.space, sentences, mentions), None

    def _sentences(self, rows: Sequence[tuple[Point, str, str]], dense: FloatArray) -> Sentences:
        """Return the sentences of texts; only those without a stored vector are encoded."""
        spans: list[Spans] = []
        known: list[FloatArray | None] = []
        for (point, name, text), whole in zip(rows, dense, strict=True):
            stored = None if self.is_encoded else point.payload.get(suffixed(SPANS, name))
            own = spans_in(text) if stored is None else spans_from(stored)
            vectors: Any = None if stored is None else point.vectors.get(suffixed(SENTENCES, name))
            if is_whole(text, own):
                vectors = whole[None]
            spans.append(own)
            known.append(vectors if vectors is not None and len(vectors) == len(own) else None)
        texts = [text for _, _, text in rows]
        return completed(texts, spans, known, self.opened, self.sentences == "stored")
