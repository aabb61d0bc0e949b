"""The readable part of a docstring: its prose, without parameter lists, code and markup."""

from __future__ import annotations

import re
from collections.abc import Iterator
from inspect import cleandoc

MIN_LETTERS = 100
MAX_CHARACTERS = 1500

_LISTING_TITLE = re.compile(
    r"((other |keyword |call )?(parameters|params|args|arguments|kwargs)|returns?|yields|receives|raises"
    r"|warns|attributes|methods|(example )?usage|examples?|see also|references|inputs|outputs|shape|todo"
    r"|variables|options|members|fields|properties|exports)\s*:*",
    re.IGNORECASE,
)
_KEPT_DIRECTIVES = frozenset({"note", "warning", "tip", "important", "caution", "hint", "attention"})

_UNDERLINE = re.compile(r"^\s*([-=~^*#])\1{2,}\s*$")
_TITLE = re.compile(r"^\s*\**([A-Za-z][A-Za-z ]{2,24}?)\**\s*:{1,2}\**\s*$")
_FIELD = re.compile(
    r"^\s*[:@](param|type|arg|keyword|kwarg|returns?|rtype|raises?|i?var|cvar|yields?|meta|vartype)\b"
)
_DIRECTIVE = re.compile(r"^\s*\.\.(?:\s+(?P<name>[\w-]+)::\s*(?P<rest>.*)|\s.*|)$")
_ADMONITION = re.compile(r'^\s*!!! abstract "Usage')
_CODE_START = re.compile(r"^\s*(>>>|\.\.\. |\$ |In \[\d+\])")
_FENCE = re.compile(r"^\s*(```|~~~)")
_TABLE = re.compile(r"^\s*([+|].*[+|]|[=\-+ ]{6,})\s*$")

_INLINE = (
    (re.compile(r":[\w:+-]+:`~(?:[^`<>]*\.)?([^`<>.]+)`"), r"\1"),
    (re.compile(r":[\w:+-]+:`([^`<>]+?)\s*<[^`>]*>`"), r"\1"),
    (re.compile(r":[\w:+-]+:`([^`]+)`"), r"\1"),
    (re.compile(r"`([^`<>]+?)\s*<[^`>]+>`__?"), r"\1"),
    (re.compile(r"\[`~?([^`\]]+)`\](?:\([^)]*\))?"), r"\1"),
    (re.compile(r"``?([^`]+)``?_?"), r"\1"),
    (re.compile(r"\s*\[[\w, #]+\]_"), ""),
    (re.compile(r"\[([^\]]+)\]\(https?:[^)]*\)"), r"\1"),
    (re.compile(r"\*\*([^*\n]+)\*\*"), r"\1"),
)
# An introduction whose code or list was left out.
_DANGLING = re.compile(r"\s*(\n\n|(?<=[.!?])\s)[^\n.!?]*(\n[^\n.!?]+)?:\Z")
_NOISE = re.compile(
    r"copyright|licen[cs]ed? under|auto-?generated|automatically generated|generated (?:from|by) |do not edit"
    r"|\bdeprecated\b|\{\{|%\(\w+\)s|inherits? from \[?`?PreTrained|configuration class to store"
    r"|instantiate an? \S+ (?:model|configuration)|for internal use|compatibility shim|mailto:"
    r"|internal helper|see (?:help|the documentation|documentation) (?:for|of) |^\s*refer to ",
    re.IGNORECASE | re.MULTILINE,
)


def readable_prose(docstring: str) -> str | None:
    """Return the prose of a docstring, at most 1,500 characters, or None where there is too little.

    Listings (parameters, returns, examples, references), code, tables and directives are left out; inline
    markup is replaced by its visible text. Licence headers, deprecated stubs, generated texts and unfilled
    templates do not count as prose.
    """
    cleaned = cleandoc(docstring)
    if ".. deprecated::" in cleaned:
        return None
    prose = "\n".join(_prose_lines(cleaned.splitlines()))
    for pattern, shown in _INLINE:
        prose = pattern.sub(shown, prose)
    prose = cut_at_paragraph(re.sub(r"\n\s*\n+", "\n\n", prose).strip(), MAX_CHARACTERS)
    prose = _DANGLING.sub("", prose)
    if _NOISE.search(prose) or not _reads_as_prose(prose):
        return None
    return prose


def cut_at_paragraph(text: str, limit: int) -> str:
    """Return at most ``limit`` characters, ending at a paragraph, else a sentence, else a word."""
    if len(text) <= limit:
        return text
    head = text[: limit + 1]
    for separator, kept in (("\n\n", 0), (".\n", 1), (". ", 1), ("\n", 0), (" ", 0)):
        end = head.rfind(separator)
        if end >= limit // 4:
            return head[: end + kept].rstrip()
    return head[:limit].rstrip()


def _reads_as_prose(prose: str) -> bool:
    letters = sum(map(str.isalpha, prose))
    spaces = sum(map(str.isspace, prose))
    words = re.findall(r"[a-z]{2,}", prose)
    ends_sentence = re.search(r"[.!?:](\s|$)", prose) is not None
    return (
        letters >= MIN_LETTERS and letters + spaces >= 0.8 * len(prose) and len(words) >= 12 and ends_sentence
    )


def _prose_lines(lines: list[str]) -> Iterator[str]:
    """Yield the lines of prose; a skipped block ends at the next line that is not indented deeper."""
    skipped_indent: int | None = None
    in_fence = in_listing = in_code = False
    for number, line in enumerate(lines):
        indent = len(line) - len(line.lstrip())
        following = lines[number + 1] if number + 1 < len(lines) else ""
        if _FENCE.match(line):
            in_fence = not in_fence
            continue
        if skipped_indent is not None and line.strip() and indent <= skipped_indent:
            skipped_indent = None
        in_code = bool(line.strip()) and (in_code or _CODE_START.match(line) is not None)
        if _UNDERLINE.match(following) and line.strip() and indent == 0:
            in_listing = _is_listing(line)
            skipped_indent = None
            if not in_listing and line.strip().lower() != "notes":
                yield line
            continue
        if in_fence or in_listing or in_code or skipped_indent is not None or _is_ornament(line):
            continue
        if _opens_skipped_block(line):
            skipped_indent = indent
            continue
        directive = _DIRECTIVE.match(line)
        if directive:
            yield directive["rest"] or ""
        elif line.rstrip().endswith("::"):
            skipped_indent = indent
            yield line.rstrip()[:-1]
        else:
            yield line.strip() if _is_listed(line) else line.lstrip()


def _opens_skipped_block(line: str) -> bool:
    directive = _DIRECTIVE.match(line)
    if directive:
        return (directive["name"] or "").lower() not in _KEPT_DIRECTIVES
    title = _TITLE.match(line)
    is_listing = title is not None and _is_listing(title[1])
    return is_listing or _FIELD.match(line) is not None or _ADMONITION.match(line) is not None


def _is_listing(title: str) -> bool:
    return _LISTING_TITLE.fullmatch(title.strip()) is not None


def _is_ornament(line: str) -> bool:
    return _UNDERLINE.match(line) is not None or _TABLE.match(line) is not None


def _is_listed(line: str) -> bool:
    return line.lstrip()[:2] in {"- ", "* ", "+ "}
