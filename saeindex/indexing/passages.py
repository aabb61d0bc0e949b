"""Splitting of long texts into overlapping passages that fit the encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from saeindex.errors import InvalidInputError

MIN_TOKENS = 8

_SENTENCE_ENDS = ".!?…"
_UNSPACED_SENTENCE_ENDS = "。！？｡"
_CLOSERS = "\"')]}”’»›」』）"
# Share of a passage, at its end, that is searched for the end of a paragraph or sentence.
_SEARCHED_SHARE = 0.4
_MAX_WHITESPACE = 64


@dataclass(frozen=True, slots=True)
class PassageOptions:
    """The maximum length of passages, and the maximum overlap with the previous passage, in tokens.

    ``max_tokens`` counts the text's own tokens: leave room for the special tokens that the encoder adds.
    """

    max_tokens: int
    overlap: int = 0

    def __post_init__(self) -> None:
        """Raise InvalidInputError for lengths with which splitting would not advance."""
        if self.max_tokens < MIN_TOKENS:
            raise InvalidInputError(
                "passage length", f"{self.max_tokens} tokens", f"Use {MIN_TOKENS} or more."
            )
        if not 0 <= self.overlap <= self.max_tokens // 2:
            raise InvalidInputError(
                "passage overlap",
                f"{self.overlap} of {self.max_tokens} tokens",
                "Use a number from 0 to half of the passage length.",
            )


def split_passages(text: str, token_spans: Sequence[tuple[int, int]], options: PassageOptions) -> list[str]:
    """Split a text into passages of at most ``max_tokens`` tokens, in order.

    ``token_spans`` are the tokens' character spans, ascending; several may cover one character. A passage
    ends at the last paragraph, else sentence, else line end of its final part, else at a word, and the next
    starts at a word up to ``overlap`` tokens earlier. Each passage is a substring of the text; every
    character of a token, other than whitespace, is in some passage. A short text is one passage, unchanged.
    """
    spans = [span for span in token_spans if span[0] < span[1]]
    if len(spans) <= options.max_tokens:
        return [text]
    passages = []
    start = 0
    while True:
        end = _passage_end(text, spans, start, options)
        last_character = max(stop for _, stop in spans[start:end])
        passage = text[spans[start][0] : last_character].strip()
        if passage:
            passages.append(passage)
        if end == len(spans):
            return passages or [text]
        start = _next_start(text, spans, end, options.overlap)


class _Cut(IntEnum):
    """The kinds of boundary between two tokens, from the worst to the best position for a cut."""

    CHARACTER = 0
    LETTERS = 1
    WORD = 2
    LINE = 3
    SENTENCE = 4
    PARAGRAPH = 5


def _passage_end(text: str, spans: Sequence[tuple[int, int]], start: int, options: PassageOptions) -> int:
    """Return the token before which a passage that begins at token ``start`` ends."""
    limit = start + options.max_tokens
    if limit >= len(spans):
        return len(spans)
    # After the overlap, so that the next passage starts after the start of this passage.
    earliest = start + options.overlap + 1
    preferred = max(earliest, limit - int(_SEARCHED_SHARE * options.max_tokens))
    cuts = [(_cut_before(text, spans, token), token) for token in range(preferred, limit + 1)]
    best = max(cuts)
    if best[0] >= _Cut.WORD:
        return best[1]
    for token in range(preferred - 1, earliest - 1, -1):
        if _cut_before(text, spans, token) >= _Cut.WORD:
            return token
    return best[1]


def _next_start(text: str, spans: Sequence[tuple[int, int]], end: int, overlap: int) -> int:
    for token in range(end - overlap, end):
        if _cut_before(text, spans, token) >= _Cut.WORD:
            return token
    return end


def _cut_before(text: str, spans: Sequence[tuple[int, int]], token: int) -> _Cut:
    """Return the kind of boundary before a token (not the first)."""
    (_, previous_end), (begin, stop) = spans[token - 1], spans[token]
    if begin < previous_end:
        return _Cut.CHARACTER
    # Byte-level tokenizers include the space before a word in its token.
    right = begin
    while right < min(stop, begin + _MAX_WHITESPACE) and text[right].isspace():
        right += 1
    left = begin
    while left > max(0, begin - _MAX_WHITESPACE) and text[left - 1].isspace():
        left -= 1
    gap = text[left:right]
    before = text[max(0, left - 8) : left].rstrip(_CLOSERS)
    if gap.count("\n") >= 2:
        return _Cut.PARAGRAPH
    if before.endswith(tuple(_UNSPACED_SENTENCE_ENDS)) or (gap and before.endswith(tuple(_SENTENCE_ENDS))):
        return _Cut.SENTENCE
    if "\n" in gap:
        return _Cut.LINE
    return _Cut.WORD if gap or _is_unspaced(text[begin]) else _Cut.LETTERS


def _is_unspaced(character: str) -> bool:
    """Return whether the character's script has no spaces between words (Chinese, Japanese, Thai, …)."""
    return "\u0e00" <= character <= "\u0eff" or "\u2e80" <= character <= "\ua4cf"
