"""Whether a sentence says a phrase: as it is written, or with all its telling words."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, NamedTuple

from saeindex.errors import UnknownConceptError
from saeindex.features.function_words import DENYING, is_function_word
from saeindex.features.lexicon import TOKEN, forms, forms_of, words_of
from saeindex.language.literal import INDEXED, UNSPACED_LETTERS, is_unspaced

if TYPE_CHECKING:
    from qdrant_client.models import Filter

# What counts as a space between words, and what as an apostrophe: each is one character, so places are kept.
SAME = str.maketrans(dict.fromkeys("-‐‑‒–—―_", " ") | {"’": "'", "ʼ": "'"})
# Signs around a word that are not of it, and what may stand between two words.
OPENING, CLOSING = "\"'“‘«‹([{¿¡ ", "\"'”’»›)]}.,;:!?… "
BETWEEN = r"(?:\s+|[^\w+#]{1,3})"


class Said(NamedTuple):
    """How sentences say a phrase: the first that has it as written, if any, or all that have its words."""

    written: int | None
    scattered: list[int]


NOT_SAID = Said(None, [])


class Words:
    """Finds a ``phrase`` in sentences.

    Upper and lower case, hyphens and spaces, and the forms of Unicode (NFC) are the same. A telling word is
    none of the commonest ones, and is found in all its forms; a code, which has digits or signs or is a
    letter, is found as it is written. ``plain`` is the phrase with single spaces; ``is_single`` if it is one
    word of letters, and ``has_codes`` if some of it must be there as it is written.
    """

    def __init__(self, phrase: str) -> None:
        """Find its telling words; UnknownConceptError if it has none."""
        self.phrase = phrase
        parts = [part for each in _plain(phrase).split() if (part := each.lstrip(OPENING).rstrip(CLOSING))]
        self.plain, words = " ".join(parts), [part.lower() for part in parts if _is_word(part)]
        telling = [word for word in dict.fromkeys(words) if not is_function_word(word)]
        self.is_single = len(parts) == len(words) == 1
        codes = list(dict.fromkeys(part for part in parts if not _is_word(part)))
        self.has_codes = bool(codes)
        if not telling and not codes:
            found, do = "all its words are common ones that say little", "Add a word for what you look for."
            raise UnknownConceptError(f"the phrase {phrase!r:.80}", found, do)
        self._written, self._codes, self._coded = _pattern(parts), [_pattern([one]) for one in codes], codes
        self._forms = [forms(word) for word in telling]
        if not DENYING.isdisjoint(words):
            self._forms.append(set(DENYING))
        self._known = {form for own in self._forms for form in own if len(form) > 1}
        # The words of texts that were looked at, and the known forms of those that have any.
        self._seen, self._telling = set[str](), dict[str, list[str]]()
        self._is_scattered = len(self._forms) + len(codes) > (len(parts) > 1)

    def condition(self, key: str, codes_alone: bool = False) -> Filter | None:
        """Return a condition that texts in a field fulfil that have the words, and a few others.

        With ``codes_alone``, that have its codes. None if there is nothing that the words of an engine's
        index can tell.
        """
        from qdrant_client.models import FieldCondition, Filter, MatchText, MatchTextAny

        codes = [" ".join(INDEXED.findall(code)) for code in self._coded]
        must: list[MatchText | MatchTextAny] = [MatchText(text=code) for code in codes if code]
        for own in () if codes_alone else self._forms:
            every = {part for form in own for word in words_of(form) for part in _indexed(word)}
            must.append(MatchTextAny(text_any=" ".join(sorted(every))))
        if not must or is_unspaced(self.phrase):
            return None
        return Filter(must=[FieldCondition(key=key, match=one) for one in must])

    def can_mean(self, sentence: str) -> bool:
        """Return whether a sentence has what must be there as it is written."""
        return not self._codes or self._has_codes(_plain(sentence))

    def said_in(self, sentences: list[str]) -> Said:
        """Return the sentences that say it; a single word in another form is written."""
        plain = [_plain(one) for one in sentences]
        for row, one in enumerate(plain):
            if self._written.search(one):
                return Said(row, [])
        if not self._has_words("\n".join(plain)):
            return NOT_SAID
        scattered = [row for row, one in enumerate(plain) if self._has_words(one)]
        return Said(scattered[0], []) if self.is_single and scattered else Said(None, scattered)

    def in_one(self, sentence: str) -> tuple[int, int] | None:
        """Return the span of the phrase, or of its first telling word; None if it is not there."""
        plain = _plain(sentence)
        if len(plain) != len(sentence):
            return None
        if found := self._written.search(plain):
            return found.span()
        if not self._has_words(plain):
            return None
        first = {form for own in self._forms[:1] for form in own}
        tokens = TOKEN.finditer(plain)
        return next((one.span() for one in tokens if not first.isdisjoint(forms_of(one[0].lower()))), None)

    def _has_codes(self, plain: str) -> bool:
        return all(code.search(plain) for code in self._codes)

    def _has_words(self, plain: str) -> bool:
        """Return whether all telling words are in a text, in any order."""
        if not self._is_scattered or not self._has_codes(plain):
            return False
        words = set(TOKEN.findall(plain.lower()))
        for word in words - self._seen:
            if known := [form for form in forms_of(word) if form in self._known]:
                self._telling[word] = known
        self._seen |= words
        found = {form for word in self._telling.keys() & words for form in self._telling[word]}
        return all(not found.isdisjoint(own) for own in self._forms)


def _is_word(part: str) -> bool:
    """Return whether a part of a phrase is a word that texts may have in other forms: İ has two letters."""
    lower = part.lower()
    return TOKEN.fullmatch(lower) is not None and (len(lower) > 1 or is_function_word(lower))


def _indexed(word: str) -> set[str]:
    """Return the first part of a word that an index has, however its accents are written."""
    return {
        part for form in ("NFC", "NFD") for part in INDEXED.findall(unicodedata.normalize(form, word))[:1]
    }


def _plain(text: str) -> str:
    return unicodedata.normalize("NFC", text).translate(SAME)


def _pattern(parts: list[str]) -> re.Pattern[str]:
    letter, written = rf"[^\W{UNSPACED_LETTERS}]", BETWEEN.join(map(re.escape, parts))
    begins = rf"(?<!{letter})(?<!\d[.,])" if re.match(letter, parts[0]) else ""
    ends = rf"(?!{letter}|[.,]\d|[+#])" if re.match(letter, parts[-1][-1]) else ""
    return re.compile(begins + written + ends, re.IGNORECASE)
