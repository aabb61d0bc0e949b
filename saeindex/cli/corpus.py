"""Texts for the commands that need a corpus and not its records."""

from __future__ import annotations

from itertools import islice

from saeindex.errors import InvalidInputError


def read_texts(paths: list[str], text_field: str | None, limit: int | None) -> list[str]:
    """Return the texts of files or folders, at most ``limit``; none for no paths, an error for no records."""
    from saeindex.indexing.sources import Columns, open_source
    from saeindex.types import Record

    if not paths:
        return []
    source = open_source(paths[0] if len(paths) == 1 else paths, columns=Columns(text=text_field))
    texts = list(islice((entry.text for entry in source if isinstance(entry, Record)), limit))
    if not texts:
        raise InvalidInputError(f"texts in {', '.join(paths)}", "no records", "Give files that hold texts.")
    return texts
