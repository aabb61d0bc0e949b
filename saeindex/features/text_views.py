"""Views of a text: more training embeddings of the same corpus, and a space that fits short texts as well."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from saeindex.errors import InvalidInputError
from saeindex.types import Record

if TYPE_CHECKING:
    from numpy.typing import NDArray

KINDS = ("whole", "sentence", "window", "title")
SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9])|\n+")
LEAST_CHARS = 20


def draw_views(
    records: Iterable[Record | str], kinds: Sequence[str] = ("whole",), seed: int = 0
) -> tuple[list[str], NDArray[np.int64]]:
    """Return the views of every record, and the number of the record (m,) that each is of.

    ``whole`` is the text, ``sentence`` a random sentence, ``window`` two of them in a row, ``title`` the
    metadata field of that name. A view that a record does not have, or that is its whole text, is left out.
    """
    unknown = set(kinds) - set(KINDS)
    if unknown or not kinds:
        raise InvalidInputError(f"views {sorted(unknown)}", "no such views", f"Use some of {KINDS}.")
    dice = random.Random(seed)  # noqa: S311  (no secret)
    views, owners = [], []
    for owner, entry in enumerate(records):
        record = Record("", entry) if isinstance(entry, str) else entry
        for view in _views(record, kinds, dice):
            views.append(view)
            owners.append(owner)
    return views, np.array(owners, np.int64)


def sentences(text: str, count: int, dice: random.Random) -> str:
    """Return a random run of ``count`` sentences, fewer where the text has fewer."""
    pieces = [piece for piece in SENTENCE_END.split(text) if len(piece) > LEAST_CHARS] or [text]
    start = dice.randrange(max(1, len(pieces) - count + 1))
    return " ".join(pieces[start : start + count])


def _views(record: Record, kinds: Sequence[str], dice: random.Random) -> Iterator[str]:
    if "whole" in kinds:
        yield record.text
    for kind, count in (("sentence", 1), ("window", 2)):
        if kind in kinds:
            view = sentences(record.text, count, dice)
            if view != record.text or "whole" not in kinds:
                yield view
    title = record.metadata.get("title")
    if "title" in kinds and isinstance(title, str) and title.strip() and title != record.text:
        yield title
