"""Real, labelled corpora for fitting, selection and tests; read from `SAEINDEX_DATA` or `../shared/data`."""

from __future__ import annotations

import io
import json
import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import zstandard

from saeindex.errors import NotFoundError
from saeindex.types import Record

FOLDER_VARIABLE = "SAEINDEX_DATA"
DEFAULT_FOLDER = Path(__file__).resolve().parents[2] / "shared" / "data"


def folder() -> Path:
    """Return the folder of the corpora; NotFoundError says where to get them."""
    path = Path(os.environ.get(FOLDER_VARIABLE, DEFAULT_FOLDER))
    if not (path / "MANIFEST.md").is_file():
        raise NotFoundError(
            f"the benchmark corpora in {path}",
            "it has no MANIFEST.md",
            f"Set {FOLDER_VARIABLE} to their folder; docs/data.md lists the source of each corpus.",
        )
    return path


def is_present() -> bool:
    """Return whether the corpora are on this machine."""
    try:
        return folder().is_dir()
    except NotFoundError:
        return False


def read(corpus: str, part: str | None = None, limit: int | None = None) -> Iterator[Record]:
    """Yield the records of ``corpus`` (of its ``fit``, ``choose`` or ``test`` part), in file order."""
    count = 0
    with (folder() / f"{corpus}.jsonl.zst").open("rb") as raw:
        lines = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(raw), encoding="utf-8")
        for line in lines:
            entry: dict[str, Any] = json.loads(line)
            if part is not None and entry["metadata"].get("part") != part:
                continue
            if count == limit:
                return
            count += 1
            yield Record(entry["id"], entry["text"], entry["metadata"])


def properties() -> dict[str, list[dict[str, Any]]]:
    """Return the fixed property queries by corpus."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in (folder() / "properties.jsonl").read_text().splitlines():
        entry = json.loads(line)
        found[entry["corpus"]].append(entry)
    return dict(found)


def has_value(metadata: Any, field: str, value: Any) -> bool:
    """Return whether a record is relevant: its field equals the value or contains it."""
    found = metadata.get(field)
    return value in found if isinstance(found, list) else found == value
