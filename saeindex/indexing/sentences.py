"""The sentences of records: where they are in their texts, and their vectors.

A text of one sentence is encoded once: its vector is that of the sentence, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, count, repeat
from typing import TYPE_CHECKING, Any, TypeAlias, get_args

import numpy as np

from saeindex.config import MAX_SENTENCES, SENTENCES, SPANS, TEXT, SentenceStorage, suffixed
from saeindex.errors import InvalidInputError
from saeindex.language.speech import masked, plain, sentence_spans

if TYPE_CHECKING:
    from saeindex.protocols import TextEncoder, Vector
    from saeindex.types import FloatArray

Spans: TypeAlias = "Sequence[tuple[int, int]]"
# Texts encoded in one call; bounds memory when one document has thousands of records.
ENCODED_AT_ONCE = 2_048


@dataclass(frozen=True, slots=True, eq=False)
class Sentences:
    """The sentences of texts, row by row.

    Those of text ``i`` are from ``ends[i]`` to ``ends[i + 1]``. ``spans`` has start and end of each, in
    characters of its text, ``texts`` (s) are the sentences; ``vectors`` (s, d) are float32 unit vectors,
    stored if ``is_stored`` says so.
    """

    texts: Sequence[str]
    vectors: FloatArray
    ends: Sequence[int]
    spans: Spans
    is_stored: bool

    @classmethod
    def of_texts(
        cls, texts: Sequence[str], vectors: FloatArray, spans: Iterable[Spans], is_stored: bool
    ) -> Sentences:
        """Take all sentences with their vectors, and the spans of those of each text."""
        per_text = list(spans)
        flat = [span for own in per_text for span in own]
        return cls(texts, vectors, [0, *accumulate(map(len, per_text))], flat, is_stored)

    def of(self, row: int) -> tuple[Spans, FloatArray]:
        """Return the spans (k) and the vectors (k, d) of the sentences of a text."""
        own = slice(self.ends[row], self.ends[row + 1])
        return self.spans[own], self.vectors[own]

    def stored_vectors(self, row: int, field: str = "") -> dict[str, Vector]:
        """Return what is stored of the vectors of a text's sentences, under the name of a text field."""
        return {suffixed(SENTENCES, field): self.of(row)[1]} if self.is_stored else {}

    def payload(self, row: int, field: str = "") -> dict[str, Any]:
        """Return the spans as a payload has them: start, end, start, end, …, of all sentences of a text."""
        return {suffixed(SPANS, field): [place for span in self.of(row)[0] for place in span]}


def check_storage(sentences: object) -> None:
    """Raise InvalidInputError for what says nothing about sentences."""
    if sentences not in (known := get_args(SentenceStorage)):
        do = f"Use {', '.join(known)}."
        raise InvalidInputError(f"sentences={sentences!r:.80}", "no such way to keep them", do)


def spans_in(text: str) -> Spans:
    """Return the spans of the sentences of a text, of the first ``MAX_SENTENCES`` if it has more."""
    return sentence_spans(masked(text))[:MAX_SENTENCES]


def sentences_in(text: str, spans: Spans) -> list[str]:
    """Return what is read of the sentences of a text; of one that is all of it, what is read of the text."""
    seen = masked(text)
    parts = [seen] if is_all(seen, spans) else [seen[start:end] for start, end in spans]
    return parts if seen == text else [plain(part) for part in parts]


def is_all(seen: str, spans: Spans) -> bool:
    """Return whether a masked text is one sentence."""
    return len(spans) == 1 and seen[slice(*spans[0])] == seen.strip()


def encode_distinct(
    encoder: TextEncoder, texts: Sequence[str], known: Sequence[FloatArray | None] = ()
) -> tuple[FloatArray, list[int]]:
    """Return the vectors (n, d) of the distinct texts as they come first, and the row of each text.

    Those of texts with a ``known`` vector (d,) come after these.
    """
    given = [one for one in known if one is not None]
    place: dict[str, int] = {}
    each = zip(texts, known or repeat(None), strict=False)
    rows = [-1 if own is not None else place.setdefault(text, len(place)) for text, own in each]
    after = count(len(place))
    rows = [next(after) if row < 0 else row for row in rows]
    distinct = list(place)
    starts = range(0, len(distinct), ENCODED_AT_ONCE)
    chunks = [encoder.encode_document(distinct[at : at + ENCODED_AT_ONCE]) for at in starts]
    chunks += [np.stack(given)] if given else []
    nothing = np.zeros((0, encoder.identity.dimension), np.float32)
    return (np.concatenate(chunks) if chunks else nothing), rows


def known_sentences(
    text: str, spans: Spans, whole: FloatArray | None, vectors: FloatArray | None
) -> list[FloatArray | None]:
    """Return what is known of the vectors (d,) of a text's sentences; of one that is all of it, its own."""
    if vectors is not None and len(vectors) == len(spans):
        return list(vectors)
    return [whole] if is_all(masked(text), spans) else [None] * len(spans)


def completed(
    texts: Sequence[str],
    spans: Sequence[Spans],
    known: Sequence[FloatArray | None],
    opened: Callable[[], TextEncoder],
    is_stored: bool,
) -> Sentences:
    """Return the sentences of texts; those of a text whose vectors (k, d) are known are not encoded.

    ``opened`` returns the encoder, and is called if any are.
    """
    single = [sentences_in(text, own) for text, own in zip(texts, spans, strict=True)]
    asked = [one for own, vectors in zip(single, known, strict=True) if vectors is None for one in own]
    if asked:
        encoded, rows = encode_distinct(opened(), asked)
    parts, at = list[Any](), 0
    every = [one for own in single for one in own]
    for own, vectors in zip(spans, known, strict=True):
        if vectors is None:
            at += len(own)
        parts.append(encoded[rows[at - len(own) : at]] if vectors is None else vectors)
    return Sentences.of_texts(every, np.concatenate(parts), spans, is_stored)


def spans_from(stored: Any) -> Spans:
    """Return the spans of a payload."""
    return list(zip(stored[::2], stored[1::2], strict=True))


def stored_sentences(payload: Mapping[str, Any], field: str = "") -> list[str]:
    """Return the sentences of a text field of a payload, by its spans."""
    return sentences_in(payload[suffixed(TEXT, field)], spans_from(payload[suffixed(SPANS, field)]))
