"""Splitting of long texts into records that the encoder reads whole: ``ID#0``, ``ID#1``, … of a document."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence, Set
from dataclasses import replace
from enum import IntEnum
from typing import TYPE_CHECKING

from saeindex.errors import InvalidInputError
from saeindex.language.speech import UNSPACED, sentence_ends

if TYPE_CHECKING:
    from saeindex.protocols import TextEncoder
    from saeindex.types import Record

MIN_TOKENS = 8

# Share of a piece, at its end, that is searched for the end of a paragraph or sentence.
_SEARCHED_SHARE = 0.4
_MAX_WHITESPACE = 64
_UNSPACED = re.compile(f"[{UNSPACED}]")
_PIECE = re.compile(r"(.*)#(?:0|[1-9]\d*)", re.DOTALL)


def piece_id(document: str, number: int) -> str:
    """Return the id of a piece of a document that was split."""
    return f"{document}#{number}"


def document_in(record_id: str) -> str | None:
    """Return the document that the id of a piece names: ``a`` of ``a#3``; None for another id."""
    found = _PIECE.fullmatch(record_id)
    return found[1] if found else None


def piece_number(record_id: str) -> int:
    """Return the number of a piece, by its id."""
    return int(record_id.rpartition("#")[2])


def is_cut(text: str, encoder: TextEncoder) -> bool:
    """Return whether a text is longer than the encoder reads; a token has a byte at least."""
    if len(text.encode()) <= (most := encoder.max_tokens):
        return False
    # An encoder may count tokens faster than it finds them; to ask for a protocol takes longer than to count.
    count = getattr(encoder, "count_tokens", None)
    return (len(encoder.token_spans(text)) if count is None else int(count(text))) > most


def check_split(split: object, encoder: Callable[[], TextEncoder]) -> None:
    """Raise InvalidInputError for a number of tokens that texts cannot be split into."""
    if split is None:
        return
    asked = f"split={split!r:.80}"
    if isinstance(split, bool) or not isinstance(split, int):
        raise InvalidInputError(asked, "not a whole number", "Give a number of tokens, such as 200.")
    if split < MIN_TOKENS:
        raise InvalidInputError(asked, "too few tokens", f"Use {MIN_TOKENS} or more.")
    if split > (most := encoder().max_tokens):
        found = f"the encoder reads {most} tokens of a text, and would cut such pieces"
        raise InvalidInputError(asked, found, f"Use {most} or less.")


def split_record(record: Record, split: int, encoder: TextEncoder) -> list[Record]:
    """Return the pieces of a record, of at most ``split`` tokens; a short text is one piece.

    Their texts, one after another, are the text, character for character.
    """
    texts = enumerate(split_text(record.text, encoder.token_spans(record.text), split))
    return [replace(record, id=piece_id(record.id, at), text=text, document=record.id) for at, text in texts]


def split_text(text: str, token_spans: Sequence[tuple[int, int]], max_tokens: int) -> list[str]:
    """Split a text into pieces of at most ``max_tokens`` tokens; joined, they are the text.

    ``token_spans`` are the tokens' character spans, ascending; several may cover one character. A piece ends
    after the last paragraph, else sentence (as ``sentencex`` finds them), else line of its final part, else
    at a word. White space between tokens belongs to the piece before it.
    """
    spans = [span for span in token_spans if span[0] < span[1]]
    if len(spans) <= max_tokens:
        return [text]
    ends = sentence_ends(text)
    pieces: list[str] = []
    at = start = 0
    while len(spans) - start > max_tokens:
        end = _piece_end(text, spans, ends, start, max_tokens)
        stop = max(last for _, last in spans[start:end])
        while stop < spans[end][0] and text[stop].isspace():
            stop += 1
        pieces.append(text[at:stop])
        at, start = stop, end
        while start < len(spans) and spans[start][1] <= at:  # tokens of characters that the piece has
            start += 1
    if at < len(text) or not pieces:
        pieces.append(text[at:])
    return pieces


class _Cut(IntEnum):
    """The kinds of boundary between two tokens, from the worst to the best position for a cut."""

    CHARACTER = 0
    LETTERS = 1
    WORD = 2
    LINE = 3
    SENTENCE = 4
    PARAGRAPH = 5


def _piece_end(
    text: str, spans: Sequence[tuple[int, int]], ends: Set[int], start: int, max_tokens: int
) -> int:
    """Return the token before which a piece from token ``start`` on ends; ``ends`` are those of sentences."""
    limit = start + max_tokens
    preferred = max(start + 1, limit - int(_SEARCHED_SHARE * max_tokens))
    best = max((_cut_before(text, spans, ends, token), token) for token in range(preferred, limit + 1))
    if best[0] >= _Cut.WORD:
        return best[1]
    for token in range(preferred - 1, start, -1):
        if _cut_before(text, spans, ends, token) >= _Cut.WORD:
            return token
    if best[0] > _Cut.CHARACTER:
        return best[1]
    whole = [
        token for token in range(start + 1, limit) if _cut_before(text, spans, ends, token) > _Cut.CHARACTER
    ]
    return whole[-1] if whole else limit


def _cut_before(text: str, spans: Sequence[tuple[int, int]], ends: Set[int], token: int) -> _Cut:
    """Return the kind of boundary before a token (not the first)."""
    (_, previous_end), (begin, stop) = spans[token - 1], spans[token]
    if begin < previous_end:
        return _Cut.CHARACTER
    # Byte-level tokenizers include the space before a word in its token.
    before, after = text[max(0, begin - _MAX_WHITESPACE) : begin], text[begin:stop][:_MAX_WHITESPACE]
    left = begin - len(before) + len(before.rstrip())
    right = begin + len(after) - len(after.lstrip())
    gap = text[left:right]
    if gap.count("\n") >= 2:
        return _Cut.PARAGRAPH
    if not ends.isdisjoint(range(left, right + 1)):
        return _Cut.SENTENCE
    if "\n" in gap:
        return _Cut.LINE
    return _Cut.WORD if gap or _UNSPACED.match(text[begin]) else _Cut.LETTERS
