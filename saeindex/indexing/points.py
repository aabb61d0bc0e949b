"""Conversion of records to points: ids, hashes and payloads of the layout; and what points prove."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from struct import Struct
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias
from uuid import uuid5

import numpy as np

from saeindex.config import (
    CONCEPTS,
    DENSE,
    DOCUMENT,
    EVIDENCE,
    LEVEL_STRIDE,
    LEVELS_OF,
    POINT_NAMESPACE,
    READER,
    SAE,
    SENTENCES,
    SOURCE,
    SPANS,
    SPEAKING,
    TEXT,
    TRUNCATED,
    UNSPACED,
    WORDS,
    suffixed,
)
from saeindex.errors import InvalidInputError
from saeindex.features.evidence import LEAST, Mention, TextMentions, level_codes
from saeindex.features.labels import HIDDEN, telling_order
from saeindex.indexing.sentences import Sentences, Spans, spans_from
from saeindex.language.evaluate import found_at
from saeindex.language.fields import METADATA, path_of
from saeindex.language.literal import is_unspaced
from saeindex.language.speech import as_recurring, masked, readable
from saeindex.protocols import Point, SparseVector, Vector
from saeindex.types import Activation, Proof, Record, SparseCode, whole

if TYPE_CHECKING:
    from qdrant_client.models import Filter

    from saeindex.features.space import Space
    from saeindex.types import FloatArray, Ints

CONTENT_HASH, DOCUMENT_HASH = "content_hash", "document_hash"
NO_CODE = SparseVector(np.zeros(0, np.int32), np.zeros(0, np.float32))
_NAME = re.compile(r"[a-z][a-z0-9_]*")
# The digits to which two floats are compared.
DIGITS = 12


def point_id(record_id: str) -> str:
    """Return the UUIDv5 of a record: indexing the same record again replaces it."""
    return str(uuid5(POINT_NAMESPACE, record_id))


def of_documents(names: Collection[str]) -> Filter:
    """Return the condition of the records of some documents."""
    from qdrant_client.models import FieldCondition, Filter, MatchAny

    return Filter(must=[FieldCondition(key=DOCUMENT, match=MatchAny(any=sorted(names)))])


def code_of(point: Point, field: str = "", using: str = SAE) -> SparseVector:
    """Return the sparse code that a point was fetched with; empty if it has none."""
    found = point.vectors.get(suffixed(using, field))
    return found if isinstance(found, SparseVector) else NO_CODE


def codes_of(points: Sequence[Point], n_features: int, field: str = "") -> SparseCode:
    """Return the codes that points were fetched with, as a batch."""
    return batch_of([code_of(point, field) for point in points], n_features)


def batch_of(codes: Sequence[SparseVector], n_features: int) -> SparseCode:
    """Return codes as a batch."""
    ends = np.cumsum([0, *(len(code.indices) for code in codes)], dtype=np.int64)
    indices = np.concatenate([NO_CODE.indices, *(code.indices for code in codes)])
    return SparseCode(
        ends, indices, np.concatenate([NO_CODE.values, *(code.values for code in codes)]), n_features
    )


def vectors_in(point: Point) -> int:
    """Return the number of dense vectors of a point, of texts and sentences."""
    dense = [one for one in point.vectors.values() if isinstance(one, list | np.ndarray) and len(one)]
    return sum(len(one) if isinstance(one[0], list | np.ndarray) else 1 for one in dense)


def content_hash(record: Record, split: int | None = None, unread: Collection[str] = ()) -> str:
    """Return a hash of all that is encoded of a record, and of how it is split if it is.

    A record whose hash is stored is not encoded again. Of the ``unread`` sentences of an index, those that
    its texts have are part of it: they were read before they were left out.
    """
    content: list[Any] = [record.text, dict(record.fields), record.document, split]
    if unread:
        texts = [as_recurring(readable(text)) for text in (record.text, *record.fields.values())]
        if left := sorted(one for one in unread if any(one in text for text in texts)):
            content.append(left)
    text = json.dumps(content, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def count_in(document_hash: str) -> int:
    """Return the number of pieces of the document that a hash is of."""
    return int(document_hash.rpartition(":")[2])


def with_updates(record: Record, known: Mapping[str, Any], names: Collection[str]) -> Record:
    """Return a record with what the stored one has in fields of these names, but where it has them, too."""
    stored = known.get(METADATA) or {}
    kept = {name: stored[name] for name in names if name in stored and name not in record.metadata}
    return replace(record, metadata={**record.metadata, **kept}) if kept else record


def same_metadata(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Return whether two are equal up to the last bits of floats, which engines may change."""
    return bool(a == b or rounded(a) == rounded(b))


def rounded(value: Any, digits: int = DIGITS) -> Any:
    """Return a JSON value whose floats have so many digits: engines change the last bits of some."""
    if isinstance(value, float):
        return whole(float(format(value, f".{digits}g")))
    if isinstance(value, Mapping):
        return {key: rounded(one, digits) for key, one in value.items()}
    return [rounded(one, digits) for one in value] if isinstance(value, list | tuple) else value


class Given(NamedTuple):
    """What is known of a text: its vector (d,), those of its sentences (k, d), and its evidence."""

    dense: FloatArray | None = None
    sentences: FloatArray | None = None
    mentions: Sequence[Mention] | None = None


@dataclass(slots=True)
class PreparedRecord:
    """A record to write: the hash of its content, of the document that it was split from, if it was.

    ``document_hash`` ends with the number of pieces: a document of which one is missing is not complete.
    ``is_truncated`` says that the encoder does not read all of its text. ``spans`` has the sentences of each
    of its texts, if the index keeps any. ``source`` is the name of what gave it last, if it has one.
    """

    record: Record
    content_hash: str
    document_hash: str | None = None
    is_truncated: bool = False
    spans: tuple[Spans, ...] = ()
    source: str | None = None

    @property
    def n_vectors(self) -> int:
        """The number of vectors of its texts and sentences, at most."""
        return 1 + len(self.record.fields) + sum(map(len, self.spans))

    def texts(self, fields: Sequence[str]) -> list[str]:
        """Return the texts to encode: its text, then its further texts in field order."""
        own = self.record.fields
        return [self.record.text, *(own[name] for name in fields if name in own)]

    def given(self, space: Space, fields: Sequence[str]) -> Iterator[Given]:
        """Yield what is known of each of its :meth:`texts`."""
        known = self.record.known
        is_same = known is not None and known.content == self.content_hash
        names = ("", *(name for name in fields if name in self.record.fields))
        for place, name in enumerate(names):
            count = len(self.spans[place]) if self.spans else 0
            own = known.given(space, name, count) if known is not None and is_same else Given()
            vector = None if name else self.record.vector
            yield own if vector is None else own._replace(dense=vector)


def build_points(
    prepared: Sequence[PreparedRecord], coded: Coded, fields: Sequence[str] = ()
) -> Iterator[Point]:
    """Yield the points of records; ``coded`` has their texts, one after another."""
    row = 0
    for one in prepared:
        vectors: dict[str, Vector] = {}
        payload = payload_of(one.record, one.content_hash, one.document_hash, one.is_truncated)
        payload |= of_source(one)
        for name in ("", *(name for name in fields if name in one.record.fields)):
            vectors |= coded.vectors_of(row, name)
            payload |= coded.payload_of(row, name)
            row += 1
        yield Point(point_id(one.record.id), vectors, payload)


def of_source(made: PreparedRecord) -> dict[str, Any]:
    """Return what a point keeps of the source that gave its record."""
    return {} if made.source is None else {SOURCE: made.source}


def payload_of(record: Record, content: str, document_hash: str | None, is_truncated: bool) -> dict[str, Any]:
    """Return what a point keeps of its record, with the hashes of its content and of its document."""
    marks: dict[str, Any] = {DOCUMENT: record.document, DOCUMENT_HASH: document_hash}
    marks |= {TRUNCATED: is_truncated or None, UNSPACED: is_unspaced(record.text) or None}
    return {
        "record_id": record.id,
        "metadata": dict(record.metadata),
        CONTENT_HASH: content,
        TEXT: record.text,
        **{suffixed(TEXT, name): text for name, text in record.fields.items()},
        **{key: mark for key, mark in marks.items() if mark is not None},
    }


def texts_of(payload: Mapping[str, Any], fields: Sequence[str]) -> list[str]:
    """Return the texts that a point was made of: its text, then its further texts in field order."""
    keys = (suffixed(TEXT, name) for name in ("", *fields))
    return [payload[key] for key in keys if key in payload]


def stored_record(payload: Mapping[str, Any], fields: Sequence[str] = ()) -> Record:
    """Return the record that a point was made of."""
    texts = {name: payload[key] for name in fields if (key := suffixed(TEXT, name)) in payload}
    document = payload.get(DOCUMENT)
    return Record(payload["record_id"], payload[TEXT], payload.get("metadata") or {}, texts, document)


@dataclass(frozen=True, slots=True)
class Coded:
    """Encoded texts, row by row, with their sentences if any are kept, and the evidence of these.

    With evidence, the levels of named concepts are those of their evidence; without it, and of all other
    features, those of their activations. The level codes of text ``i`` are those from ``ends[i]`` to
    ``ends[i + 1]``. ``unread`` sentences are no speech and have no evidence. ``words`` has the weights of the
    words of each text, if the index keeps any, ``known`` the evidence that was not found here, and ``read``
    the features of tokens, if the index has a reader.
    """

    dense: FloatArray
    code: SparseCode
    space: Space
    sentences: Sentences | None
    mentions: TextMentions | None
    levels: list[int]
    ends: list[int]
    unread: int = 0
    words: Sequence[SparseVector] = ()
    known: Sequence[Sequence[Mention] | None] = ()
    read: SparseCode | None = None

    @classmethod
    def of(
        cls,
        space: Space,
        dense: FloatArray,
        code: SparseCode,
        sentences: Sentences | None = None,
        mentions: TextMentions | None = None,
        words: Sequence[SparseVector] = (),
        known: Sequence[Sequence[Mention] | None] = (),
        read: SparseCode | None = None,
    ) -> Coded:
        """Find the levels, and the evidence of sentences, if there are any, unless ``mentions`` has it.

        Of some texts all but that of terms may be ``known``.
        """
        unread, evidence = 0, space.evidence
        if sentences is not None and evidence is not None and mentions is None:
            spoken = evidence.spoken(sentences.texts, sentences.ends)
            mentions = evidence.of_texts(sentences.texts, sentences.vectors, sentences.ends, spoken)
            unread = len(sentences.texts) - len(spoken)
            if any(own is not None for own in known):
                mentions = mentions.with_known(known, evidence.own_terms)
        indices, values, many = code.indices, code.values, space.n_features
        owners = np.repeat(np.arange(len(code)), np.diff(code.indptr))
        found = []
        if mentions is not None and evidence is not None:
            many = max(many, int(mentions.features.max(initial=-1)) + 1)  # a copy has its terms later
            is_free = ~evidence.is_named(indices)
            indices, values, owners = indices[is_free], values[is_free], owners[is_free]
            found.append(level_codes(mentions, many))
        found.append(space.calibration.concept_codes(indices, values, owners * many))
        if read is not None:
            found.append(_codes_of_tokens(read, space, many))
        levels = np.sort(np.concatenate(found))
        ends = np.searchsorted(levels, np.arange(len(code) + 1) * many * LEVEL_STRIDE)
        own = (levels % (many * LEVEL_STRIDE)).tolist()
        return cls(dense, code, space, sentences, mentions, own, ends.tolist(), unread, words, known, read)

    def vectors_of(self, row: int, field: str = "") -> dict[str, Vector]:
        """Return the vectors of a row, under the names of a text field."""
        named: dict[str, Vector] = {
            suffixed(DENSE, field): np.asarray(self.dense[row]),
            suffixed(SAE, field): SparseVector(*self.code.row(row)),
        }
        named |= {suffixed(WORDS, field): self.words[row]} if self.words else {}
        named |= {} if self.read is None else {suffixed(READER, field): SparseVector(*self.read.row(row))}
        return named if self.sentences is None else named | self.sentences.stored_vectors(row, field)

    def payload_of(self, row: int, field: str = "") -> dict[str, Any]:
        """Return the level codes of a row, its evidence and the spans of its sentences."""
        payload: dict[str, Any] = {} if self.sentences is None else self.sentences.payload(row, field)
        if self.mentions is not None:
            keys = suffixed(EVIDENCE, field), suffixed(SPEAKING, field)
            payload |= zip(keys, self.mentions.payload(row), strict=True)
        payload[suffixed(CONCEPTS, field)] = self.levels[self.ends[row] : self.ends[row + 1]]
        return payload


# Names of the storage layout, which a further text field must not have.
RESERVED = frozenset(
    {"id", "record_id", "metadata", CONTENT_HASH, DOCUMENT_HASH, SOURCE, READER}
    | {CONCEPTS, DENSE, DOCUMENT, EVIDENCE, SAE, SENTENCES, SPANS, SPEAKING, TEXT, TRUNCATED, WORDS}
)  # fmt: skip


def checked_field_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of further text fields; InvalidInputError for a name that an index cannot have."""
    if isinstance(names, str):
        raise InvalidInputError(
            "further text fields", f"the string {names!r}", f"Give a tuple: ({names!r},)."
        )
    for name in names:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            found, do = "not a name", "Use lower-case letters, digits and _, and start with a letter."
        elif name in RESERVED:
            found, do = "a name of the storage layout", "Choose another name."
        elif names.count(name) > 1:
            found, do = "named twice", "Name each field once."
        else:
            continue
        raise InvalidInputError(f"further text field {name!r}", found, do)
    return tuple(names)


# What is read of a point to prove what its text says.
PROVING = (CONCEPTS, EVIDENCE, SPEAKING, SPANS)
POSSIBLE = LEVELS_OF["possible"][0]
# A mention, and the place and the text of its sentence.
Spoken: TypeAlias = tuple[Mention, int, str]
# The evidence from which on a record speaks of a concept, and from which on it possibly does.
PRESENT, LEAST_POSSIBLE = LEAST[0], LEAST[POSSIBLE]


def mentions_of(payload: Mapping[str, Any], field: str = "", least: float = 0.0) -> list[Mention]:
    """Return the evidence of a text field, so much at least, ascending by feature; none if none is kept."""
    return mentions_in([payload], field, least)[0]


def mentions_in(
    payloads: Sequence[Mapping[str, Any]], field: str = "", least: float = 0.0
) -> list[list[Mention]]:
    """Return :func:`mentions_of` each payload, in less time."""
    codes, percents, numbers = (suffixed(name, field) for name in (CONCEPTS, EVIDENCE, SPEAKING))
    kept = [row for row, payload in enumerate(payloads) if percents in payload]
    lists = [payloads[row].get(codes, ()) for row in kept]
    features, levels = np.divmod(integers(lists), LEVEL_STRIDE)
    rows, is_possible = np.repeat(kept, [len(own) for own in lists]), levels == POSSIBLE
    said, sentences = (numbers_in(payloads[row][name] for row in kept) for name in (percents, numbers))
    enough, found = said >= 100 * least, [list[Mention]() for _ in payloads]
    columns = rows[is_possible], features[is_possible], said, sentences
    for row, feature, p, sentence in zip(*(each[enough].tolist() for each in columns), strict=True):
        found[row].append(Mention(feature, p / 100, sentence))
    return found


def integers(lists: Sequence[Sequence[int]]) -> Ints:
    """Return the integers of lists one after the other, in a third of the time of np.fromiter."""
    return np.frombuffer(b"".join(Struct(f"{len(own)}q").pack(*own) for own in lists), np.int64)


def numbers_in(stored: Iterable[str | list[int]]) -> Ints:
    """Return the numbers of payloads, which are texts, or lists as they were before, one after the other."""
    texts = (one if isinstance(one, str) else " ".join(map(str, one)) for one in stored)
    return np.fromstring(" ".join(texts).strip(), np.int64, sep=" ")  # of spaces alone it makes a 0


def proofs(
    payload: Mapping[str, Any], space: Space, mentions: Iterable[Mention], field: str = ""
) -> tuple[Proof, ...]:
    """Return each mention of a text with its sentence, the surest first."""
    return tuple(proof_of(space, *one) for one in spoken_in(payload, mentions, field))


def spoken_in(payload: Mapping[str, Any], mentions: Iterable[Mention], field: str = "") -> list[Spoken]:
    """Return each mention of a text with the place and the text of its sentence, the surest first."""
    ordered = sorted(mentions, key=lambda one: (-one.p, one.feature))
    text = masked(payload[suffixed(TEXT, field)]) if ordered else ""
    spans = spans_from(payload.get(suffixed(SPANS, field), ()))
    return [(one, spans[one.sentence][0], text[slice(*spans[one.sentence])]) for one in ordered]


def proof_of(space: Space, mention: Mention, start: int, sentence: str) -> Proof:
    """Return the proof that a mention is, with the word that says it."""
    word = None if space.evidence is None else space.evidence.word_of(sentence, mention.feature)
    label = space.labels[mention.feature].text
    return Proof(mention.feature, label, mention.p, sentence, start, word)


def shown_features(
    point: Point, space: Space, mentions: Iterable[Mention], most: int | None = None, unnamed: bool = False
) -> tuple[Activation, ...]:
    """Return the features of a point (with its code), ``most`` of them, in the order in which they are shown.

    Those that it speaks of, its ``mentions``, come first, the surest first, but hidden ones at last; concepts
    that it does not speak of are left out, and features without a name unless ``unnamed`` asks for them.
    Without evidence, they are in the order of :func:`telling_order`.
    """
    code, labels = code_of(point), space.labels
    active = code.by_index
    said = {one.feature: one.p for one in mentions}
    surest = sorted(said, key=lambda feature: (-said[feature], -active.get(feature, 0.0)))
    shown = [*islice((one for one in surest if labels[one].kind != HIDDEN), most)]
    if most is None or len(shown) < most:
        is_shown = space.is_named[code.indices] | unnamed
        indices, values = code.indices[is_shown], code.values[is_shown]
        if EVIDENCE in point.payload and space.evidence is not None:
            is_free = ~space.evidence.is_named(indices)
            indices, values = indices[is_free], values[is_free]
        shown += indices[telling_order(labels, space.calibration, indices, values)].tolist()
        shown += [one for one in surest if labels[one].kind == HIDDEN]
    return tuple(
        Activation(one, labels[one].text, active.get(one, 0.0), labels[one].is_weak, said.get(one))
        for one in shown[:most]
    )


def _codes_of_tokens(read: SparseCode, space: Space, many: int) -> Ints:
    """Return the level codes of the named features of texts' tokens, those of text i from i ``many`` on.

    Some token or other has most features a little: one that is present in a text is typical of it.
    """
    features = read.indices + space.of_reader.start
    is_had = space.is_named[features] & (read.values >= space.calibration.median[features])
    owners = np.repeat(np.arange(len(read)), np.diff(read.indptr))
    return space.calibration.concept_codes(features[is_had], read.values[is_had], owners[is_had] * many)


def not_whole(metadata: Mapping[str, Any], kinds: Mapping[str, str]) -> str:
    """Return which value the payload index of a field would leave out: 2.5, of whole numbers; "" for none.

    ``kinds`` are the payload indexes by field.
    """
    for field, kind in kinds.items():
        value = found_at({METADATA: metadata}, path_of(field)) if kind == "integer-range" else None
        for one in value if isinstance(value, list) else (value,):
            if isinstance(one, float):
                return f"{field} is {one}, and its payload index is of whole numbers"
    return ""
