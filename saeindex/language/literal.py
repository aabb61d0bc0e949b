"""What a text says word for word: ``says("in so many words")``, and quotes and minus as in a search box.

Upper and lower case, white space, curly and straight quotes and the forms of Unicode (NFC, NFD) are the same,
and nothing else is. What begins or ends with a letter or a digit does so where a word does, a run of letters
and digits, but in scripts that put no spaces between words; after ``*`` the word may go on.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from saeindex.config import UNSPACED

if TYPE_CHECKING:
    from qdrant_client.models import Filter

# A word of an engine's index of texts, which are in lower case there.
INDEXED = re.compile(r"[^\W_]+")
# Letters of scripts that put no spaces between words: a phrase of these can begin anywhere.
UNSPACED_LETTERS = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_UNSPACED = re.compile(f"[{UNSPACED_LETTERS}]")
_LETTER = rf"[^\W_{UNSPACED_LETTERS}]"
_BOUND = re.compile(_LETTER)
_PLAIN = re.compile(r"[A-Za-z0-9]+")
_SAME = str.maketrans(dict.fromkeys("“”„«»", '"') | dict.fromkeys("‘’ʼ", "'"))
# A part of a query: -word, -"so", NOT "so", "in so many words", OR "so", "ERR-45"*, ERR-45*, a word. -5 °C is
# text.
_TYPED = re.compile(
    r"""(?<!\S)[(\[]*(?P<either>(?i:or)\s+)?(?:(?P<minus>-|NOT\s+)?[(\[]*["“”„](?P<quoted>[^"“”„]*\w[^"“”„]*["“”]\*?)[)\]]*
      | (?P<begun>\w\S*\w\S*\*)(?!\S))
    | (?<!\S)-(?P<denied>\.?[^\W\d_]\S*) | (?P<word>\S+)""",
    re.VERBOSE,
)
# Words and characters of a query that is typed, at most.
MOST_WORDS, MOST_TYPED = 40, 2_000
_ENDS = ".,;:!?)"


class Typed(NamedTuple):
    """A query as it is typed: the ``text`` that ranks, what texts must say (one of each), and must not."""

    text: str
    said: list[list[str]]
    unsaid: list[str]

    @classmethod
    def of(cls, query: str) -> Typed:
        """Read quotes, OR before them, minus and the star of a beginning; everything else is text."""
        text, said, unsaid = list[str](), list[list[str]](), list[str]()
        if is_pasted(query):
            return cls(query, said, unsaid)
        for one in _TYPED.finditer(query):
            written = one["begun"] or re.sub('["“”]', "", one["quoted"] or "")
            if one["word"]:
                text.append(one["word"])
            elif one["denied"]:
                unsaid.append(one["denied"].rstrip(_ENDS))
            elif one["minus"]:
                unsaid.append(written)
            else:
                said.append([*(said.pop() if one["either"] and said else ()), written])
                text.append(written.removesuffix("*"))
        return cls(" ".join(text), said, unsaid)


def is_pasted(query: str) -> bool:
    """Return whether a query has several lines or more than anybody types: its marks are its own."""
    is_long = len(query) > MOST_TYPED or len(query.split()) > MOST_WORDS
    return is_long or len(query.strip().splitlines()) > 1


def is_unspaced(text: str) -> bool:
    """Return whether a text has letters of a script without spaces between words."""
    return _UNSPACED.search(text) is not None


def is_said(said: str, text: str) -> bool:
    """Return whether a text says something word for word."""
    return _pattern(said).search(text.translate(_SAME)) is not None


def is_plain(said: str) -> bool:
    """Return whether it is one word, of which an engine's index of words knows what texts say it.

    But not of texts that are :func:`is_unspaced`.
    """
    return _PLAIN.fullmatch(said) is not None


def narrowing(said: str, key: str, has_unspaced: bool) -> Filter | None:
    """Return a condition that all texts in a field fulfil that say it, by an engine's index of words.

    ``has_unspaced`` says that some texts are marked as :func:`is_unspaced`.
    """
    from qdrant_client.models import FieldCondition, Filter, MatchText, MatchValue

    found: list[FieldCondition] = []
    for form in _forms(said):
        words = INDEXED.findall(form)
        kept = [one for one in (words[:-1] if said.endswith("*") else words) if not is_unspaced(one)]
        if not kept:
            return None
        found.append(FieldCondition(key=key, match=MatchText(text=" ".join(kept))))
    unspaced = [FieldCondition(key=UNSPACED, match=MatchValue(value=True))] if has_unspaced else []
    return Filter(should=[*found, *unspaced])


def _forms(said: str) -> dict[str, None]:
    """Return the forms of Unicode that texts may have of it, without the star of a beginning."""
    bare = " ".join(said.removesuffix("*").translate(_SAME).split())
    return dict.fromkeys(unicodedata.normalize(form, bare) for form in ("NFC", "NFD"))


@lru_cache(1_024)
def _pattern(said: str) -> re.Pattern[str]:
    forms = _forms(said)
    first, last = ({one[place] for one in forms} for place in (0, -1))
    begins = f"(?<!{_LETTER})" if all(map(_BOUND.match, first)) else ""
    ends = f"(?!{_LETTER})" if not said.endswith("*") and any(map(_BOUND.match, last)) else ""
    written = "|".join(r"\s+".join(map(re.escape, one.split())) for one in forms)
    return re.compile(f"{begins}(?:{written}){ends}", re.IGNORECASE)
