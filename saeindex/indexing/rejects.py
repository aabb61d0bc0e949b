"""The rejects file: every record that could not be indexed, with its position and the reason."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Self

from saeindex.files import replacing

if TYPE_CHECKING:
    from saeindex.protocols import Rejected

# What differs between reasons of one kind.
_PARTICULARS = re.compile(r"'[^']*'|\"[^\"]*\"|\d[\d,.]*|: line .*")


class RejectsFile:
    """Collects the rejects of one source and keeps those of other sources in the same file.

    A run over a source replaces the rejects of an earlier run over it, so a resumed run repeats none.
    """

    def __init__(self, path: Path, source: str) -> None:
        """``path`` is the rejects file, ``source`` the name of the source whose rejects are written."""
        self.path, self.source = path, source
        self._lines: IO[str] | None = None

    def __enter__(self) -> Self:
        if self.path.exists():
            self._forget_source()
        return self

    def add(self, rejected: Rejected) -> None:
        """Append a reject; the first reject creates the file."""
        if self._lines is None:
            self._lines = self.path.open("a", encoding="utf-8")
        line = {"source": self.source, **asdict(rejected)}
        self._lines.write(json.dumps(line, ensure_ascii=True) + "\n")
        self._lines.flush()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        if self._lines is not None:
            self._lines.close()

    def _forget_source(self) -> None:
        with (
            replacing(self.path) as draft,
            self.path.open(encoding="utf-8") as lines,
            draft.open("w", encoding="utf-8") as kept,
        ):
            # A line cut off by a crash has no line end; add it, or the next line would be appended to it.
            kept.writelines(line.rstrip("\n") + "\n" for line in lines if _source_of(line) != self.source)
        if not self.path.stat().st_size:
            self.path.unlink()


def rejects_in(path: Path, source: str) -> Iterator[dict[str, Any]]:
    """Yield the rejects of a source in a file, which may be absent: the position, reason and id of each."""
    if not path.exists():
        return
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if _source_of(line) == source:
                found: dict[str, Any] = json.loads(line)
                del found["source"]
                yield found


def reasons(rejects: Iterable[Mapping[str, Any]], shown: int = 5) -> tuple[str, ...]:
    """Return the reasons of rejects, each with its number and first position, most common first.

    Those that differ only in numbers and names are one, shown as it was first. A file of which the rest is
    lost comes before all.
    """
    first: dict[str, Mapping[str, Any]] = {}
    counts = Counter[str]()
    for reject in rejects:
        kind = _PARTICULARS.sub("", reject["reason"])
        first.setdefault(kind, reject)
        counts[kind] += 1
    order = sorted(first, key=lambda kind: ("the rest is lost" not in kind, -counts[kind]))
    said = [
        f"{counts[kind]:,} × {first[kind]['reason']} (first: {first[kind]['position']})"
        for kind in order[:shown]
    ]
    rest = sum(counts[kind] for kind in order[shown:])
    return (*said, f"{rest:,} × other reasons") if rest else tuple(said)


def no_field(name: str) -> str:
    """Return why a record with this further text is rejected."""
    return f"the index has no further text field {name!r}"


def _source_of(line: str) -> str | None:
    try:
        source: str | None = json.loads(line).get("source")
    except (json.JSONDecodeError, AttributeError):
        return None  # a line cut off by a crash; it is kept for inspection
    return source
