"""Words of texts as sparse vectors: BM25 as Qdrant computes it itself, without a model.

    weight of a word = 2.2 f / (f + 1.2 (.25 + .75 l / 256))     f: how often it stands there, of l words

The length to which texts are compared is Qdrant's constant: on questions and titles it finds as much as the
mean of the collection (.762 and 1.000 nDCG@10, .755 and .999), and a text has the same weights in every
index. How rare a word is stands in the query: see ``search/words.py``.

Qdrant's words are runs of letters and digits, without accents, stemmed. What is lost of others comes as a
further word: "C++", "C#" and ".NET"; what is joined by marks ("ERR-4521" is err, 4521 and err4521; "1.18.2"
is 1, 18, 2 and 1p18p2; "1,249.00" is 1249, too); pairs of characters where a script has no spaces.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from saeindex.config import DEFAULT_WORDS
from saeindex.errors import InvalidInputError
from saeindex.protocols import SparseVector

if TYPE_CHECKING:
    from qdrant_edge import Bm25

# The weight of a word that stands in a text infinitely often.
MOST = 2.2
_LETTERS, _WORD = re.compile(r"[^\W_]+"), r"[^\W_]"
# Thai, Lao, Burmese, Khmer, Kana and Han.
_UNSPACED = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\U00020000-\U0003ffff"
_FURTHER = re.compile(
    rf"""(?P<thousands>(?<![\d.,])\d{{1,3}}(?:,\d{{3}})+)(?![\d,])
    | (?P<joined>{_WORD}++(?:[-‐–._/@&:]{_WORD}++)+)
    | (?P<plus>{_WORD}+\+\+)(?!\+) | (?P<sharp>\b[A-Za-z]\#)(?!\w) | (?<!\w)(?P<dot>\.[A-Za-z]\w+)
    | (?P<run>[{_UNSPACED}]{{2,}})""",
    re.VERBOSE,
)
# What stands around words and is no part of them.
_BEGINS, _ENDS = "\"'([{<“‘", ".,;:!?\"')]}>”’"
# Between a letter of these and a letter or digit of another script.
_APART = re.compile(rf"(?<=[{_UNSPACED}])(?=[A-Za-z0-9])|(?<=[A-Za-z0-9])(?=[{_UNSPACED}])")
_SIGNS = {"plus": "plusplus", "sharp": "sharp"}


def words_of(texts: Sequence[str], language: str) -> list[SparseVector]:
    """Return the weights of the words of each text, by their hashes; [] where ``language`` is "off"."""
    if language == "off":
        return []
    embed, found = bm25(language).embed_document, []
    for text in map(_normalized, texts):
        vector = embed(" ".join([text, *(word for _, word in _further(text))]))
        indices = np.array(vector.indices, np.int32)
        order = indices.argsort()
        found.append(SparseVector(indices[order], np.array(vector.values, np.float32)[order]))
    return found


def words_in(text: str, language: str) -> dict[int, str]:
    """Return the words that a query asks for, as they are written, by their hashes."""
    text, embed = _normalized(text), bm25(language).embed_query
    written = [*((one, one) for one in _LETTERS.findall(text)), *_further(text)]
    found = dict[int, str]()
    for shown, word in written:
        for index in embed(word).indices:
            found.setdefault(index, shown)
    return found


def word_spans(text: str, words: Iterable[str], language: str) -> list[tuple[int, int]]:
    """Return where a text has words, or other forms of them: start and end of each, in their order."""
    embed, wanted = bm25(language).embed_query, {index for one in words for index in words_in(one, language)}
    found = [(one.span(), one[0]) for one in _LETTERS.finditer(text)]
    found += [(one.span(), word) for one in _FURTHER.finditer(text) for _, word in _further(one[0])]
    spans = [span for span, word in found if not wanted.isdisjoint(embed(word).indices)]
    kept = list[tuple[int, int]]()
    for span in sorted(spans, key=lambda span: (span[0], -span[1])):
        if not kept or span[0] >= kept[-1][1]:
            kept.append(span)
    return kept


@cache
def bm25(language: str) -> Bm25:
    """Return the model of a language; InvalidInputError if there is none."""
    import qdrant_edge as edge

    try:
        return edge.Bm25(edge.Bm25Config(language=language, ascii_folding=True))
    except (ValueError, TypeError) as error:
        do = f"Name a language in English, such as {DEFAULT_WORDS!r}, or 'off' to leave words out."
        raise InvalidInputError(f"words={language!r:.80}", str(error), do) from None


def _normalized(text: str) -> str:
    return text if text.isascii() else _APART.sub(" ", unicodedata.normalize("NFKC", text))


def _further(text: str) -> Iterator[tuple[str, str]]:
    """Yield what Qdrant's words lose, as it is written, and as a word."""
    every = (one.rstrip(_ENDS).lstrip(_BEGINS) for one in text.split())
    marked = (one for one in every if not (one.isalnum() and one.isascii()))
    for found in chain.from_iterable(map(_FURTHER.finditer, marked)):
        kind, written = str(found.lastgroup), found[0]
        parts = _LETTERS.findall(written)
        if kind == "run":
            yield from ((written[i : i + 2],) * 2 for i in range(len(written) - 1))
        elif kind == "thousands":
            yield written, "".join(parts)
        elif kind == "joined":
            bare = [parts[0].lstrip("vV"), *parts[1:]]
            is_version = all(map(str.isdigit, bare))
            if not is_version or bare == parts:
                yield written, ("p" if is_version else "").join(parts)
            else:  # "v2.4.1" is a version as "2.4.1" is
                yield from ((written, "".join(parts)), (written, "p".join(bare)))
        else:
            yield written, f"dot{parts[0]}" if kind == "dot" else f"{parts[0]}{_SIGNS[kind]}"
