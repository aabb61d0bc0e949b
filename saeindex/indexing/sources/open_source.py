"""``open_source`` opens records of every format: files, folders, data frames and Python iterables."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from functools import cache, partial
from itertools import chain, islice, starmap
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from saeindex.errors import InvalidInputError, InvalidRecordError, NotFoundError, kind_of
from saeindex.indexing.sources.columns import (
    METADATA_NAME,
    ColumnPicker,
    Columns,
    MadeIds,
    Row,
    choose_columns,
    unique_columns,
)
from saeindex.indexing.sources.streams import COMPRESSIONS, check_utf8, count_lines
from saeindex.indexing.sources.tables import (
    CellKinds,
    csv_rows,
    frame_rows,
    has_bare_quotes,
    json_file_rows,
    json_rows,
    parquet_length,
    parquet_rows,
)
from saeindex.indexing.sources.values import MAX_TEXT_CHARACTERS, checked_record
from saeindex.protocols import RecordSource, Rejected
from saeindex.types import UNSAFE, Record

if TYPE_CHECKING:
    from narwhals.typing import IntoDataFrame

PathLike: TypeAlias = str | os.PathLike[str]
Readable: TypeAlias = "PathLike | IntoDataFrame | Iterable[Any]"
_HEAD_ROWS = 16
QUOTE = b'"'
# Held for the first import of narwhals: its modules import each other, and a second thread would see a part.
_IMPORTING = Lock()
TEXT_SUFFIXES = (".txt", ".text", ".md", ".markdown", ".rst", ".html", ".htm")
_LINE_SUFFIXES = (".jsonl", ".ndjson", ".csv", ".tsv")
_KNOWN_SUFFIXES = (*_LINE_SUFFIXES, ".json", ".parquet", *TEXT_SUFFIXES)
# What makes a file of another kind readable.
_HINTS = {
    ".pdf": "Make text of it: pdftotext {path}",
    ".docx": "Make text of it: pandoc {path} -o text.md",
    ".xlsx": "Save it as CSV (UTF-8).",
    ".xls": "Save it as CSV (UTF-8).",
    ".zip": "Unpack it: unzip {path}",
}
# UTF-8 takes at most 4 bytes for a character.
_MAX_FILE_BYTES = 4 * MAX_TEXT_CHARACTERS
# The files that are named of those of one kind that a folder leaves out.
_NAMED = 3


def open_source(what: Readable, *, columns: Columns = Columns()) -> RecordSource:  # noqa: B008
    """Open any source of records.

    ``what`` is the path of a file (``.jsonl``, ``.ndjson``, ``.json``, ``.csv`` or ``.tsv``, each also
    followed by ``.gz`` or ``.zst``, ``.parquet``, or a text file), the path of a folder of text files, a
    sequence of paths, a DataFrame (of pandas, polars or any library that narwhals supports; of its row
    labels, those that pandas names are read), a Hugging Face data set, or an iterable of ``Record`` or dict.
    A one-shot iterator can be read only once; all other sources give the same records again, in the same
    order. Tables are looked through first: for a column of ids, and for what the cells of CSV are.

    Raises ``NotFoundError`` for a missing path or column or a folder without text files,
    ``InvalidInputError`` for an unknown format. A single bad record becomes a ``Rejected`` when it is read.
    """
    with _IMPORTING:
        from narwhals.dependencies import is_into_dataframe

    if isinstance(what, str | os.PathLike):
        return _open_path(_path(what), columns)
    if is_into_dataframe(what):
        return _open_frame(what, columns)
    if isinstance(what, Mapping) or not isinstance(what, Iterable):
        kind = kind_of(what)
        if isinstance(what, Mapping) and what:
            kind += f" with {', '.join(map(str, what))}"
        do = "Give a path, a DataFrame, a data set, or an iterable of records."
        raise InvalidInputError("records to read", kind, do)
    if isinstance(what, Sequence) and what and all(isinstance(item, str | os.PathLike) for item in what):
        _check_paths(what)
        return _Chain([_open_path(path, own) for path, own in _named_apart([*map(_path, what)], columns)])
    return _iterable_source(what, columns)


def _path(given: PathLike) -> Path:
    return Path(os.path.expanduser(given))  # noqa: PTH111 (which does not fail without a home)


def _check_paths(what: Sequence[PathLike]) -> None:
    """Raise NotFoundError for texts where paths should be: none is there."""
    if not any(os.path.exists(path) for path in what):  # noqa: PTH110 (False for a text that is no path)
        found = f"no file or folder is called {str(what[0])!r:.80}"
        do = 'Check the paths. Texts are given as records: [{"text": …}, …].'
        raise NotFoundError("records in a list of paths", found, do)


def _named_apart(paths: Sequence[Path], columns: Columns) -> Iterator[tuple[Path, Columns]]:
    """Yield each path with its columns, in which sources of one name have different ones."""
    names = [path.name for path in paths]
    common = os.path.commonpath([path.absolute().parent for path in paths])
    for path, name in zip(paths, names, strict=True):
        own = name if names.count(name) == 1 else Path(os.path.relpath(path, common)).as_posix()
        yield path, replace(columns, source=own if columns.source is None else f"{columns.source}/{own}")


def _open_path(path: Path, columns: Columns) -> RecordSource:
    if path.is_dir():
        return open_folder(path)
    if not path.exists():
        raise NotFoundError(f"records in {path}", "no file or folder has that name", "Check the path.")
    if path.suffix.lower() in TEXT_SUFFIXES:
        return TextFiles(path.parent, [path])
    return rows_of(path, columns).checked()


def rows_of(path: Path, columns: Columns = Columns()) -> _Rows:  # noqa: B008
    """Return the rows of a table; its columns are not looked at."""
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return _parquet(path, columns)
    if suffix in COMPRESSIONS:
        suffix = path.with_suffix("").suffix.lower()
    if suffix not in (*_LINE_SUFFIXES, ".json"):
        do = _HINTS.get(suffix, f"Use one of {', '.join(_KNOWN_SUFFIXES)}.").format(path=path)
        raise InvalidInputError(f"records in {path}", f"a file that ends in {path.suffix or path.name!r}", do)
    check_utf8(path)
    if suffix == ".json":
        return _Rows(path.name, lambda: json_file_rows(path), columns)
    if suffix in (".jsonl", ".ndjson"):
        return _Rows(path.name, lambda: json_rows(path), columns, count_rows=lambda: count_lines(path))
    delimiter = "\t" if suffix == ".tsv" else ","
    is_bare = cache(lambda: has_bare_quotes(path, delimiter))  # once: it is read several times
    return _Rows(
        path.name,
        lambda: csv_rows(path, delimiter, is_bare()),
        columns,
        has_fixed_columns=True,
        has_cells=True,
        count_rows=lambda: max(0, count_lines(path, b"" if is_bare() else QUOTE) - 1),
    )


def _parquet(path: Path, columns: Columns) -> _Rows:
    left_out: dict[str, None] = {}
    table = _Rows(
        path.name,
        lambda: parquet_rows(path, None, left_out),
        columns,
        has_fixed_columns=True,
        count_rows=lambda: parquet_length(path),
        bytes_in=left_out,
    )
    if columns.text and columns.id and columns.metadata is not None:  # else an id may be made of all of a row
        names = [columns.text, METADATA_NAME, columns.id, *columns.metadata, *columns.further.values()]
        wanted = list(dict.fromkeys(part for name in names for part in (name, name.partition(".")[0])))
        table.picker()  # an error lists all columns
        return replace(table, read=lambda: parquet_rows(path, wanted, left_out))
    return table


def _open_frame(frame: Any, columns: Columns) -> RecordSource:
    from narwhals import from_native
    from narwhals.exceptions import NarwhalsError

    labels = [name for name in getattr(getattr(frame, "index", None), "names", ()) if name is not None]
    labels = [name for name in labels if name not in frame.columns]
    try:
        read = from_native(frame.reset_index(labels) if labels else frame, eager_only=True)
    except NarwhalsError as error:
        do = "Give each column a different name."
        raise InvalidInputError("records in a DataFrame", str(error), do) from error
    left_out: dict[str, None] = {}
    rows = _Rows(
        "DataFrame",
        partial(frame_rows, read, left_out),
        replace(columns, source=columns.source or ""),
        has_fixed_columns=True,
        count_rows=lambda: len(read),
        labels=tuple(map(str, labels)),
        bytes_in=left_out,
    )
    return rows.checked()


def _iterable_source(items: Iterable[Any], columns: Columns) -> RecordSource:
    is_source = hasattr(items, "total") and isinstance(getattr(items, "name", None), str)
    total = len(items) if isinstance(items, Sized) else getattr(items, "total", None)
    return _Rows(
        str(getattr(items, "name", "")) if is_source else f"{type(items).__name__} of records",
        lambda: starmap(_item_row, enumerate(items, 1)),
        replace(columns, source=columns.source or ""),
        count_rows=lambda: total,
        is_one_shot=iter(items) is items,
        left_out_before=partial(left_out_of, items),
    )


def _item_row(number: int, item: Any) -> Row | Rejected:
    if isinstance(item, Rejected):
        return item
    if isinstance(item, Mapping | Record):
        return Row(f"record {number}", item)
    found = f"{kind_of(item)}, not a Record or a dict such as {{'text': …}}"
    return Rejected(f"record {number}", found)


class Preview(NamedTuple):
    """The first rows of a table, and which of its ``names`` would be the text and the id, if any would."""

    names: tuple[str, ...]
    rows: list[Mapping[str, Any]]
    text: str | None
    id: str | None


def preview(path: Path) -> Preview:
    """Look at a table before it is indexed."""
    table = rows_of(path)
    seen = list(islice(table.read(), _HEAD_ROWS))
    rows = [row for row in seen if isinstance(row, Row)]
    if not rows and seen:
        why = next(one.reason for one in seen if isinstance(one, Rejected))
        raise InvalidInputError(f"the first rows of {path.name}", why, "Mend them, and choose it again.")
    names = tuple(dict.fromkeys(str(name) for row in rows for name in row.fields))
    if any(UNSAFE.search(name) for name in names):
        found = "a name that is no text in UTF-8, or has control characters"
        raise InvalidInputError(f"the columns of {path.name}", found, "Save it as UTF-8.")
    text = record_id = None
    with suppress(NotFoundError):  # no column has a name that texts often have
        picker = table.picker()
        text, record_id = picker.text, picker.id
    return Preview(names, [row.fields for row in rows], text if text in names else None, record_id)


def columns_of(source: RecordSource) -> list[str]:
    """Return a line for each table of a source: the columns of the text, the id and the metadata."""
    if isinstance(source, _Chain):
        return [line for each in source.sources for line in columns_of(each)]
    if isinstance(source, TextFiles):
        return [f"{source.name}: whole files, with their paths as ids"]
    assert isinstance(source, _Rows)  # noqa: S101
    rows = [row for row in islice(source.read(), _HEAD_ROWS) if isinstance(row, Row)]
    if not rows:
        return [f"{source.name}: no record"]
    return [f"{source.name}: {source.picker().described(rows, source.has_fixed_columns)}"]


def left_out_of(source: object) -> tuple[str, ...]:
    """Return what a source left out, in words: files of a folder, columns of bytes."""
    return tuple(getattr(source, "left_out", ()))


# The sources ------------------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class _Rows:
    """A source of rows; its columns are chosen from its first rows, and its id from all.

    Its rows have text cells if it ``has_cells``; ``labels`` are columns that were labels of rows. Columns
    that were left out when it was read are ``bytes_in``. A row of an iterable may be a ``Record``.
    """

    name: str
    read: Callable[[], Iterator[Row | Rejected]]
    columns: Columns
    has_fixed_columns: bool = False
    has_cells: bool = False
    count_rows: Callable[[], int | None] = lambda: None
    labels: tuple[str, ...] = ()
    bytes_in: Mapping[str, None] = field(default_factory=dict)
    is_one_shot: bool = False
    left_out_before: Callable[[], Sequence[str]] = tuple
    _chosen: ColumnPicker | None = None
    _was_read: bool = False

    @property
    def total(self) -> int | None:
        return self.count_rows()

    @property
    def left_out(self) -> list[str]:
        own = [f"column {name}: bytes that are no text" for name in self.bytes_in]
        vectors = () if self._chosen is None else self._chosen.vectors
        own += [f"column {name}: vectors; columns={{'vector': '{name}'}} uses them" for name in vectors]
        return [*self.left_out_before(), *own]

    def checked(self) -> _Rows:
        """Choose the columns, so that a wrong name is an error before any record is indexed."""
        self.picker()
        return self

    def picker(self, head: Iterable[Row | Rejected] | None = None) -> ColumnPicker:
        """Return what turns its rows into records; ``head`` are the first, if they are read already."""
        if self._chosen is None:
            first = islice(self.read(), _HEAD_ROWS) if head is None else head
            tables = [row for row in first if isinstance(row, Row) and isinstance(row.fields, Mapping)]
            picker = choose_columns(
                self.columns, tables, self.name, self.has_fixed_columns, self.labels, not self.is_one_shot
            )
            self._chosen = self._looked_through(picker)
        return self._chosen

    def _looked_through(self, picker: ColumnPicker) -> ColumnPicker:
        """Choose the id among the likely columns, and tell what the cells of a table are."""
        if self.is_one_shot or not (self.has_cells or picker.likely):
            return picker.with_id(picker.likely)
        kinds = CellKinds()

        def looked_at() -> Iterator[Mapping[str, Any]]:
            for row in self.read():
                if isinstance(row, Row) and isinstance(row.fields, Mapping):
                    if self.has_cells:
                        kinds.add(row.fields)
                    yield row.fields

        rows = looked_at()
        picker = picker.with_id(unique_columns(picker.likely, rows))
        if self.has_cells:
            for _ in rows:  # those that were not needed to tell that no column is an id
                pass
        return replace(picker, typed=kinds.typed())

    def __iter__(self) -> Iterator[Record | Rejected]:
        if self.is_one_shot and self._was_read:
            found = "an iterator that gives its records only once"
            do = "Give a list, or an object whose __iter__ starts again."
            raise InvalidInputError(f"a second reading of a {self.name}", found, do)
        self._was_read = True
        return self._records()

    def _records(self) -> Iterator[Record | Rejected]:
        rows = self.read()
        head = list(islice(rows, _HEAD_ROWS))
        picker = self.picker(head)
        source = self.name if self.columns.source is None else self.columns.source
        with closing(MadeIds(source)) as made:
            for row in chain(head, rows):
                if isinstance(row, Rejected):
                    yield row
                elif isinstance(row.fields, Record):
                    yield _checked_record(row.fields, row.position)
                else:
                    yield picker.record(row, made)


def _checked_record(record: Record, position: str) -> Record | Rejected:
    try:
        texts = record.id, record.text, record.metadata, record.fields, record.document
        return checked_record(*texts, record.vector, record.known)
    except InvalidRecordError as error:
        return Rejected(position, error.found, record.id if isinstance(record.id, str) else None)


class _Chain:
    """Several sources, one after another."""

    def __init__(self, sources: Sequence[RecordSource]) -> None:
        self.sources = tuple(sources)
        others = len(sources) - 1
        self.name = sources[0].name + (f" and {others} more" if others else "")

    @property
    def total(self) -> int | None:
        totals = [source.total for source in self.sources]
        known = [total for total in totals if total is not None]
        return sum(known) if len(known) == len(totals) else None

    @property
    def left_out(self) -> list[str]:
        return [f"{one.name}: {line}" for one in self.sources for line in left_out_of(one)]

    def __iter__(self) -> Iterator[Record | Rejected]:
        return chain.from_iterable(self.sources)


# Folders ----------------------------------------------------------------------------------------------


class TextFiles:
    """Records from text files: the id is the path below ``root``, the metadata has ``path`` and ``name``."""

    def __init__(
        self, root: Path, files: Sequence[Path], unread: Sequence[Rejected] = (), others: Sequence[str] = ()
    ) -> None:
        """``files`` are read in this order; all are below ``root``, as are the folders in ``unread``.

        ``others`` are the names of further files there, which are left out.
        """
        self._root, self._unread, self._others = root, tuple(unread), others
        self._files = tuple(files)
        self.name = root.name if len(files) != 1 else files[0].name

    @property
    def total(self) -> int:
        """The number of files, and of what cannot be read."""
        return len(self._files) + len(self._unread)

    @property
    def left_out(self) -> list[str]:
        """The files that are left out, by their endings: how many, and the names of some."""
        kinds: dict[str, list[str]] = {}
        for name in self._others:
            kinds.setdefault(Path(name).suffix.lower() or "without an ending", []).append(name)
        return [
            f"{len(names):,} × {kind} ({', '.join(names[:_NAMED])}{', …' if len(names) > _NAMED else ''})"
            for kind, names in sorted(kinds.items(), key=lambda one: (-len(one[1]), one[0]))
        ]

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
    cannot be read, and links that lead nowhere, are rejected; files of other kinds are ``left_out``. Raises
    ``NotFoundError`` if no text file is left.
    """
    unread: list[Rejected] = []
    others: list[str] = []
    files = sorted(_text_files(folder, unread, others), key=lambda one: one.relative_to(folder).as_posix())
    found = TextFiles(folder, files, unread, sorted(others))
    if not files:
        kinds = ", ".join(found.left_out)
        raise NotFoundError(
            f"text files in {folder}",
            f"none that ends in {', '.join(TEXT_SUFFIXES)}" + (f", but {kinds}" if kinds else ""),
            "Give a folder of text or Markdown, or the data files themselves.",
        )
    return found


def _text_files(folder: Path, unread: list[Rejected], others: list[str]) -> Iterator[Path]:
    """Yield the text files below a folder; what cannot be read is added to ``unread``, else to ``others``."""
    inside = folder.resolve()

    def refused(error: OSError) -> None:
        reason = f"the folder cannot be read: {error.strerror}"
        unread.append(Rejected(os.path.relpath(str(error.filename), folder), reason))

    for parent, subfolders, names in os.walk(folder, onerror=refused):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        for name in names:
            file = Path(parent, name)
            if name.startswith("."):
                continue
            if file.suffix.lower() not in TEXT_SUFFIXES:
                others.append(os.fsencode(file.relative_to(folder)).decode(errors="replace"))
            elif file.is_symlink() and not file.exists():
                unread.append(Rejected(os.path.relpath(file, folder), "the link leads nowhere"))
            elif file.is_file() and file.resolve().is_relative_to(inside):
                yield file
