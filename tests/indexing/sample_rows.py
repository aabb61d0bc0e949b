"""Rows, and files of them, for the tests of sources."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zstandard

from saeindex.types import Record

ROWS: list[dict[str, Any]] = [
    {"id": "a", "text": "Spiral arms – größer", "metadata": {"year": 2015}},
    {"id": "b", "text": "第二 star\u2028clusters", "metadata": {"year": 2016}},
    {"id": "c", "text": "Dark matter", "metadata": {"year": 2017}},
]
RECORDS = [Record(row["id"], row["text"], row["metadata"]) for row in ROWS]
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".zst": lambda content: zstandard.ZstdCompressor().compress(content),
}


def json_lines(rows: list[Any]) -> bytes:
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


def write(folder: Path, name: str, content: bytes | str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path
