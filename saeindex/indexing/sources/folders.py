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

    def __init__(self, root: Path, files: Sequence[Path], unread: Sequence[Rejected] = ()) -> None:
        """``files`` are read in this order; all are below ``root``, as are the folders in ``unread``."""
        self._root, self._unread = root, tuple(unread)
        self._files = tuple(files)
        self.name = root.name if len(files) != 1 else files[0].name

    @property
    def total(self) -> int:
        """The number of files, and of what cannot be read."""
        return len(self._files) + len(self._unread)

    def __iter__(self) -> Iterator[Record | Rejected]:
        yield from self._unread
        yield from map(self._record, self._files)

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

    Hidden files and folders, links that lead out of the folder, and linked folders are skipped; folders that
    cannot be read, and links that lead nowhere, are rejected. Raises ``NotFoundError`` if no text file is
    left.
    """
    unread: list[Rejected] = []
    files = sorted(_text_files(folder, unread), key=lambda file: file.relative_to(folder).as_posix())
    if not files:
        raise NotFoundError(
            f"text files in {folder}",
            f"none that ends in {', '.join(TEXT_SUFFIXES)}",
            "Give a folder of text or Markdown, or the data files themselves.",
        )
    return TextFiles(folder, files, unread)


def _text_files(folder: Path, unread: list[Rejected]) -> Iterator[Path]:
    """Yield the text files below a folder; what cannot be read is added to ``unread``."""
    inside = folder.resolve()

    def refused(error: OSError) -> None:
        reason = f"the folder cannot be read: {error.strerror}"
        unread.append(Rejected(os.path.relpath(str(error.filename), folder), reason))

    for parent, subfolders, names in os.walk(folder, onerror=refused):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        for name in names:
            file = Path(parent, name)
            if file.suffix.lower() not in TEXT_SUFFIXES or name.startswith("."):
                continue
            if file.is_symlink() and not file.exists():
                unread.append(Rejected(os.path.relpath(file, folder), "the link leads nowhere"))
            elif file.is_file() and file.resolve().is_relative_to(inside):
                yield file
