"""A folder of text and Markdown files: one record per file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from saeindex.errors import InvalidRecordError, NotFoundError
from saeindex.indexing.sources.values import MAX_TEXT_CHARACTERS, checked_record
from saeindex.protocols import Rejected
from saeindex.types import Record

TEXT_SUFFIXES = (".txt", ".text", ".md", ".markdown", ".rst")
# UTF-8 takes at most 4 bytes for a character.
_MAX_FILE_BYTES = 4 * MAX_TEXT_CHARACTERS


class TextFiles:
    """Records from text files: the id is the path below ``root``, the metadata has ``path`` and ``name``."""

    def __init__(self, root: Path, files: Sequence[Path]) -> None:
        """``files`` are read in this order; all are below ``root``."""
        self._root = root
        self._files = tuple(files)
        self.name = root.name if len(files) != 1 else files[0].name

    @property
    def total(self) -> int:
        """The number of files."""
        return len(self._files)

    def __iter__(self) -> Iterator[Record | Rejected]:
        return (self._record(file) for file in self._files)

    def _record(self, file: Path) -> Record | Rejected:
        position = file.relative_to(self._root).as_posix()
        # A name that is not valid UTF-8 could not be written to the rejects file.
        shown = position.encode(errors="replace").decode()
        try:
            if file.stat().st_size > _MAX_FILE_BYTES:
                return Rejected(shown, f"the file has more than {_MAX_FILE_BYTES} bytes")
            text = file.read_text(encoding="utf-8-sig")
            return checked_record(position, text, {"path": position, "name": file.name})
        except UnicodeDecodeError:
            return Rejected(shown, "the file is not valid UTF-8", shown)
        except InvalidRecordError as error:
            return Rejected(shown, error.found, shown)
        except OSError as error:
            return Rejected(shown, f"the file cannot be read: {error.strerror}", shown)


def open_folder(folder: Path) -> TextFiles:
    """Open all text files below a folder, in the order of their paths.

    Hidden files and folders, links that lead out of the folder, and linked folders are skipped. Raises
    ``NotFoundError`` if no text file is left.
    """
    files = sorted(_text_files(folder), key=lambda file: file.relative_to(folder).as_posix())
    if not files:
        raise NotFoundError(
            f"text files in {folder}",
            f"none that ends in {', '.join(TEXT_SUFFIXES)}",
            "Give a folder of text or Markdown, or the data files themselves.",
        )
    return TextFiles(folder, files)


def _text_files(folder: Path) -> Iterator[Path]:
    inside = folder.resolve()
    for parent, subfolders, names in os.walk(folder):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        for name in names:
            file = Path(parent, name)
            is_text = file.suffix.lower() in TEXT_SUFFIXES and not name.startswith(".")
            if is_text and file.is_file() and file.resolve().is_relative_to(inside):
                yield file
