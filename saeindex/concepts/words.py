"""Whether a sentence says a phrase: as it is written, or with all its telling words."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from saeindex.errors import UnknownConceptError
from saeindex.features.lexicon import TOKEN, Lexicon, forms

# What counts as a space between words, and what as an apostrophe: each is one character, so places are kept.
SAME = str.maketrans(dict.fromkeys("-‐‑‒–—―/_", " ") | {"’": "'", "ʼ": "'"})
# Signs around a phrase that are not of it.
OPENING, CLOSING = "\"'“‘«‹([{¿¡ ", "\"'”’»›)]}.,;:!?… "
# Letters of scripts that put no spaces between words: a phrase of these can begin anywhere.
UNSPACED = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
# Words that deny: one stands for another.
DENYING = frozenset({
    "no", "not", "never", "none", "nothing", "nobody", "nor", "neither", "without", "cannot", "can't",
    "won't", "don't", "doesn't", "didn't", "isn't", "aren't", "wasn't", "weren't", "hasn't", "haven't",
    "hadn't", "couldn't", "wouldn't", "shouldn't", "ain't",
})  # fmt: skip
# Only texts with the first letters of all telling words are read word by word.
BEGINNING = 3


class Words:
    """Finds a ``phrase`` in sentences.

    Upper and lower case, hyphens and spaces, and the forms of Unicode (NFC) are the same. A telling word is
    none of the commonest ones, and is found in all its forms; what has digits or signs is found as it is
    written. ``plain`` is the phrase with single spaces; ``is_single`` if it is one word of letters.
    """

    def __init__(self, phrase: str) -> None:
        """Find its telling words; UnknownConceptError if it has none."""
        from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

        self.phrase, parts = phrase, _plain(phrase).lstrip(OPENING).rstrip(CLOSING).split()
        self.plain = " ".join(parts)
        words = [part.lower() for part in parts if TOKEN.fullmatch(part)]
        telling = [word for word in words if word not in ENGLISH_STOP_WORDS | DENYING]
        self.is_single = len(parts) == len(words) == 1
        codes = [part for part in parts if not TOKEN.fullmatch(part)]
        if not telling and not codes:
            raise UnknownConceptError(
                f"the phrase {phrase!r:.80}",
                "all its words are common ones that say little",
                "Add a word for what you look for.",
            )
        self._written = _pattern(parts)
        self._codes = [_pattern([part]) for part in codes]
        self._count = len(telling) + (not DENYING.isdisjoint(words))
        names = {(form, row): (1.0, True) for row, word in enumerate(telling) for form in forms(word)}
        if self._count > len(telling):
            names |= {(word, len(telling)): (1.0, True) for word in DENYING}
        self._is_scattered = self._count + len(codes) > (len(parts) > 1)
        self._forms = Lexicon.of(names)
        self._begins = [word[:BEGINNING] for word in telling]

    def can_mean(self, sentences: Iterable[str]) -> bool:
        """Return whether a record of these sentences has what must be there as it is written."""
        return not self._codes or all(
            any(code.search(_plain(one)) for one in sentences) for code in self._codes
        )

    def said_in(self, sentences: Iterable[str]) -> tuple[int | None, list[int]]:
        """Return the number of the first sentence that has the phrase as it is written, None if none has.

        And of all that have its telling words, where none has: a single word in another form is written.
        """
        plain = [_plain(one) for one in sentences]
        written = next((row for row, one in enumerate(plain) if self._written.search(one)), None)
        scattered = [] if written is not None else [row for row, one in enumerate(plain) if self._among(one)]
        return (scattered[0], []) if self.is_single and scattered else (written, scattered)

    def in_one(self, sentence: str) -> tuple[int, int] | None:
        """Return the span of the phrase, or of its first telling word; None if it is not there."""
        plain = _plain(sentence)
        if len(plain) != len(sentence):
            return None
        found = self._written.search(plain)
        return found.span() if found else self._among(plain)

    def _among(self, plain: str) -> tuple[int, int] | None:
        """Return the span of the first telling word, if all are in a sentence, in any order."""
        lower = plain.lower()
        if not self._is_scattered or not all(begins in lower for begins in self._begins):
            return None
        codes = [found.span() if (found := code.search(plain)) else None for code in self._codes]
        spans = [*(self._forms.name_in(plain, row) for row in range(self._count)), *codes]
        return spans[0] if all(spans) else None


def _plain(text: str) -> str:
    return unicodedata.normalize("NFC", text).translate(SAME)


def _pattern(parts: list[str]) -> re.Pattern[str]:
    letter, written = rf"[^\W{UNSPACED}]", r"\s+".join(map(re.escape, parts))
    begins = rf"(?<!{letter})" if re.match(letter, parts[0]) else ""
    ends = rf"(?!{letter})" if re.match(letter, parts[-1][-1]) else ""
    return re.compile(begins + written + ends, re.IGNORECASE)
