"""The sentences of a text: where they begin and end, as ``sentencex`` finds them."""

from __future__ import annotations

import re

# A shorter sentence says too little alone; a longer one says more than one thing. In words.
MIN_WORDS, MAX_WORDS = 3, 60
# Two characters of a script without spaces (Thai, Chinese, Japanese, …) count as a word.
_UNSPACED = "\u0e00-\u0eff\u2e80-\ua4cf"
_WORD = re.compile(rf"[{_UNSPACED}]{{1,2}}|[^\s{_UNSPACED}]+")
_CLAUSE_ENDS = (",", ";", ":", "–", "—", ")")
# Share of a sentence that is cut, at its end, in which the end of a clause is looked for.
_SEARCHED_SHARE = 0.5


def sentence_ends(text: str) -> frozenset[int]:
    """Return the places after each sentence and each paragraph break, and after the white space there."""
    return frozenset(end for _, end, _ in _found(text))


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """Return the spans of the sentences of a text, without white space around them; none of an empty text.

    One of fewer than ``MIN_WORDS`` words belongs to the one before it in its paragraph, else to the next. One
    of more than ``MAX_WORDS`` is cut after a clause, else between words.
    """
    joined: list[tuple[int, int]] = []
    is_first = True  # of its paragraph
    for begin, end, is_break in _found(text):
        start, stop = _stripped(text, begin, end)
        if start == stop:
            is_first |= is_break
            continue
        both = () if is_first else ((start, stop), joined[-1])  # the second may be very long
        if any(_words(text, *one) < MIN_WORDS for one in both):
            joined[-1] = joined[-1][0], stop
        else:
            joined.append((start, stop))
        is_first = False
    return [part for span in joined for part in _cut(text, *span)]


def _found(text: str) -> list[tuple[int, int, bool]]:
    """Return each sentence, and each run of line breaks, with whether it is a paragraph's end."""
    from sentencex import get_sentence_boundaries

    found = get_sentence_boundaries("en", text)
    return [(one["start_index"], one["end_index"], one["is_paragraph_break"]) for one in found]


def _stripped(text: str, begin: int, end: int) -> tuple[int, int]:
    part = text[begin:end]
    start = begin + len(part) - len(part.lstrip())
    return start, max(start, begin + len(part.rstrip()))


def _words(text: str, start: int, stop: int) -> int:
    return sum(1 for _ in _WORD.finditer(text, start, stop))


def _cut(text: str, start: int, stop: int) -> list[tuple[int, int]]:
    """Return the parts of a sentence, of at most ``MAX_WORDS`` words."""
    words = [match.span() for match in _WORD.finditer(text, start, stop)]
    parts, first = [], 0
    while len(words) - first > MAX_WORDS:
        searched = range(first + round(MAX_WORDS * (1 - _SEARCHED_SHARE)), first + MAX_WORDS)
        ends = [at for at in searched if text[words[at][1] - 1] in _CLAUSE_ENDS]
        last = ends[-1] if ends else first + MAX_WORDS - 1
        parts.append((words[first][0], words[last][1]))
        first = last + 1
    return [*parts, (words[first][0], words[-1][1])]
