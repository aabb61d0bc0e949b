"""Rules that detect properties of a model's answer: lists, hedges, first person, code, headings."""

from __future__ import annotations

import re
from collections.abc import Mapping

HEDGES = re.compile(
    r"\b(may|might|could|perhaps|possibly|likely|generally|typically|often|it depends|it seems|in some cases"
    r"|it is important to note|please note)\b",
    re.IGNORECASE,
)
DETECTORS: Mapping[str, re.Pattern[str]] = {
    "lists": re.compile(r"(?:^\s*(?:[-*•]|\d+[.)])\s+\S.*\n?){2,}", re.MULTILINE),
    "hedges": re.compile(rf"(?:{HEDGES.pattern}[\s\S]*){{3,}}", re.IGNORECASE),
    "first person": re.compile(r"\b(I|I'm|I've|I'd|my|me)\b"),
    "code": re.compile(
        r"```|^\s{4,}(?:def|for|if|import|return|int|print)\b|\w+\([^)]*\)\s*[;{]", re.MULTILINE
    ),
    "headings": re.compile(
        r"^\s*(?:#{1,6}\s+\S|\*\*[^*\n]{3,60}\*\*:?\s*$|[A-Z][\w ]{2,40}:\s*$)", re.MULTILINE
    ),
}


def detected(name: str, text: str) -> bool:
    """Return whether a text matches a rule."""
    return DETECTORS[name].search(text) is not None
