"""Suggestions for a text that does not parse."""

from __future__ import annotations

import re
from collections.abc import Collection
from difflib import get_close_matches

# The keywords of each terminal, for suggestions.
WORDS = {
    "_AND": ("AND",),
    "_OR": ("OR",),
    "_NOT": ("NOT",),
    "_AT": ("AT LEAST",),
    "_LEAST": ("LEAST",),
    "_OF": ("OF",),
    "_IN": ("IN",),
    "_BETWEEN": ("BETWEEN",),
    "_EXISTS": ("EXISTS",),
    "_FAMILY": ("family",),
    "LEVEL": ("possible", "present", "typical", "strong"),
    "BOOLEAN": ("true", "false"),
    "FIELD": ("metadata", "record_id", "document"),
    "_AGAINST": ("AGAINST",),
    "NAMED": ("family", "profile"),
}
# Symbols and words of other languages, keyboards and word processors, and their replacement here.
SYMBOLS = {
    "&&": "AND", "&": "AND", "||": "OR", "|": "OR", "!": "NOT", "~": "NOT", "=>": ">=", "=<": "<=",
    "<>": "!=", "===": "=", "[": "(", "{": "(", ";": ",",
}  # fmt: skip
FOREIGN = {
    "'": 'Use double quotes: "so".',
    "“": 'Use straight quotes: "so".',
    "”": 'Use straight quotes: "so".',
    "xor": "Write (a OR b) AND NOT (a AND b).",
    "null": "Use NOT EXISTS(metadata.name).",
    "none": "Use NOT EXISTS(metadata.name).",
    "is": "Did you mean =?",
    "like": "Texts are compared whole; query_filter can match words of them.",
    "contains": "Texts are compared whole; query_filter can match words of them.",
}
_NEAR = 0.6
_WORD = re.compile(r"[^\W\d]\w*")
_COMPARED = re.compile(r"\s*([=<>]|!=|(NOT\s+)?(IN|BETWEEN)\b)", re.IGNORECASE)
_RUN = re.compile(r"[^\W\d][\w'-]*(?:\s+(?!(?:AND|OR|NOT)\b)[\w'-]+)*", re.IGNORECASE)
# A field before the place of an error, and what may be the rest of its name, up to a comparison.
_UNQUOTED = re.compile(r"metadata\.(?P<name>\w[\w-]*)\s*$")
_REST_OF_NAME = re.compile(
    r"(?!(NOT|IN|BETWEEN|AND|OR|IS|LIKE|CONTAINS)\b)[^\s=<>!()][^=<>!()]*?(?=\s*([=<>!]|\b(NOT|IN|BETWEEN)\b))",
    re.IGNORECASE,
)
_LOOSE_DATE = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?![0-9])")
_YEAR_CHARS, _SHOWN_CHARS = 4, 60


def hint(text: str, at: int, expected: Collection[str]) -> str:
    """Return a suggestion for the text at index ``at``, where ``expected`` terminals are allowed, or ""."""
    rest = text[at:]
    if rest.startswith('"') and "QUOTED" in expected:
        return "Close the quotation mark."
    if at >= _YEAR_CHARS and _LOOSE_DATE.match(text, at - _YEAR_CHARS):
        return "Write dates as 2015-03-01."
    if "OPERATOR" in expected and (named := _about_name(text, at)):
        return named
    word = _WORD.match(rest)
    foreign = FOREIGN.get(word.group().casefold() if word else rest[:1])
    if foreign:
        return foreign
    return _about_word(word.group(), rest, expected) if word else _about_symbol(text, at, expected)


def _about_name(text: str, at: int) -> str:
    """Return how a field whose name has other characters is written, if the text before ``at`` is one."""
    field = _UNQUOTED.search(text[:at])
    rest = _REST_OF_NAME.match(text, at)
    if field is None or rest is None:
        return ""
    name = text[field.start("name") : rest.end()].strip()
    return f'Quote the name: metadata."{name}".' if '"' not in name else ""


def _about_word(word: str, rest: str, expected: Collection[str]) -> str:
    if set(expected) == {"SIGN"}:
        return f"Write +{word} or -{word}."
    near = _nearest(word, expected)
    if near == "metadata" and (near == word.casefold() or rest[len(word) :].startswith(".")):
        return "Write metadata.name, or metadata.`odd name`."
    if near and near.casefold() == word.casefold():
        is_too_much = set(expected) == {"RPAR"} and near in ("AND", "OR")
        return 'A level takes one concept: strong("a") OR strong("b").' if is_too_much else ""
    if near:
        return f"Did you mean {near}?"
    if "FIELD" in expected and _COMPARED.match(rest[len(word) :]):
        return f"Did you mean metadata.{word}?"
    run = _RUN.match(rest)
    return f'Quote the phrase: "{run.group()[:_SHOWN_CHARS]}".' if run and "QUOTED" in expected else ""


def _nearest(word: str, expected: Collection[str]) -> str | None:
    """Return the keyword most similar to ``word``; keywords that are allowed here have priority."""
    for names in (expected, WORDS):
        spelt = {w.casefold(): w for name in names for w in WORDS.get(name, ())}
        near = get_close_matches(word.casefold(), spelt, n=1, cutoff=_NEAR)
        if near:
            return spelt[near[0]]
    return None


def _about_symbol(text: str, at: int, expected: Collection[str]) -> str:
    for start in (max(0, at - 1), at):
        for symbol in sorted(SYMBOLS, key=len, reverse=True):
            if text.startswith(symbol, start) and start + len(symbol) > at:
                return f"Did you mean {SYMBOLS[symbol]}?"
    if text[at : at + 1] in ('"', "#", "(") and "_AND" in expected:
        return "Put AND or OR between."
    if text[at : at + 1] == ")" and not set(expected) - {"_AND", "_OR", "$END"}:
        return "Remove the extra parenthesis."
    return ""
