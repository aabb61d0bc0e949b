"""``open_source`` opens records of every format."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import chain, count, islice
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from saeindex.errors import InvalidInputError, InvalidRecordError, NotFoundError, kind_of
from saeindex.indexing.sources.columns import METADATA_NAME, ColumnPicker, Columns, Row, choose_columns
from saeindex.indexing.sources.folders import TEXT_SUFFIXES, TextFiles, open_folder
from saeindex.indexing.sources.streams import COMPRESSIONS, check_utf8, count_lines
from saeindex.indexing.sources.tables import csv_rows, frame_rows, json_rows, parquet_length, parquet_rows
from saeindex.indexing.sources.values import checked_record
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
_LINE_SUFFIXES = (".jsonl", ".ndjson", ".csv", ".tsv")
_KNOWN_SUFFIXES = (*_LINE_SUFFIXES, ".parquet", *TEXT_SUFFIXES)


def open_source(what: Readable, *, columns: Columns = Columns()) -> RecordSource:  # noqa: B008
    """Open any source of records.

    ``what`` is the path of a file (``.jsonl``, ``.ndjson``, ``.csv`` or ``.tsv``, each also followed by
    ``.gz`` or ``.zst``, ``.parquet``, or a text file), the path of a folder of text files, a sequence of
    paths, a DataFrame (of pandas, polars or any library that narwhals supports; its row labels are not
    read), a Hugging Face data set, or an iterable of ``Record`` or dict. A one-shot iterator can be read only
    once; all other sources give the same records again, in the same order.

    Raises ``NotFoundError`` for a missing path or column or a folder without text files,
    ``InvalidInputError`` for an unknown format. A single bad record becomes a ``Rejected`` when it is read.
    """
    with _IMPORTING:
        from narwhals.dependencies import is_into_dataframe

    if isinstance(what, str | os.PathLike):
        return _open_path(Path(what), columns)
    if is_into_dataframe(what):
        return _open_frame(what, columns)
    if isinstance(what, Mapping) or not isinstance(what, Iterable):
        kind = kind_of(what)
        if isinstance(what, Mapping) and what:
            kind += f" with {', '.join(map(str, what))}"
        raise InvalidInputError(
            "records to read", kind, "Give a path, a DataFrame, a data set, or an iterable of records."
        )
    if isinstance(what, Sequence) and what and all(isinstance(item, str | os.PathLike) for item in what):
        _check_paths(what)
        return _Chain([_open_path(Path(path), columns) for path in what])
    return _iterable_source(what, columns)


def _check_paths(what: Sequence[PathLike]) -> None:
    """Raise NotFoundError for texts where paths should be: none is there."""
    if not any(os.path.exists(path) for path in what):  # noqa: PTH110 (False for a text that is no path)
        found = f"no file or folder is called {str(what[0])!r:.80}"
        do = 'Check the paths. Texts are given as records: [{"text": …}, …].'
        raise NotFoundError("records in a list of paths", found, do)


def _open_path(path: Path, columns: Columns) -> RecordSource:
    if path.is_dir():
        return open_folder(path)
    if not path.exists():
        raise NotFoundError(f"records in {path}", "no file or folder has that name", "Check the path.")
    suffix = path.suffix.lower()
    if suffix in TEXT_SUFFIXES:
        return TextFiles(path.parent, [path])
    return _open_parquet(path, columns) if suffix == ".parquet" else _checked(_lines_of(path, columns))


def _lines_of(path: Path, columns: Columns) -> _Rows:
    """Return the rows of a file of lines; its columns are not looked at."""
    suffix = path.suffix.lower()
    if suffix in COMPRESSIONS:
        suffix = path.with_suffix("").suffix.lower()
    if suffix not in _LINE_SUFFIXES:
        raise InvalidInputError(
            f"records in {path}",
            f"a file that ends in {path.suffix or path.name!r}",
            f"Use one of {', '.join(_KNOWN_SUFFIXES)}.",
        )
    check_utf8(path)
    is_json = suffix in (".jsonl", ".ndjson")
    delimiter = "\t" if suffix == ".tsv" else ","
    return _Rows(
        path.name,
        lambda: json_rows(path) if is_json else csv_rows(path, delimiter),
        columns,
        has_fixed_columns=not is_json,
        count_rows=lambda: count_lines(path) if is_json else max(0, count_lines(path, QUOTE) - 1),
    )


def _open_parquet(path: Path, columns: Columns) -> RecordSource:
    wanted: list[str] | None = None
    if columns.text and columns.metadata is not None:
        names = [columns.text, METADATA_NAME, columns.id or "", *columns.metadata]
        names += columns.further.values()
        wanted = [part for name in names for part in (name, name.partition(".")[0])]
    # All columns are read once, so that an error can list them and an id can be detected.
    picker = _checked(_Rows(path.name, lambda: parquet_rows(path), columns, has_fixed_columns=True)).picker()
    read = None if wanted is None else list(dict.fromkeys([*wanted, picker.id or ""]))
    return _Rows(
        path.name,
        lambda: parquet_rows(path, read),
        columns,
        has_fixed_columns=True,
        count_rows=lambda: parquet_length(path),
    )


def _open_frame(frame: Any, columns: Columns) -> RecordSource:
    from narwhals import from_native
    from narwhals.exceptions import NarwhalsError

    try:
        read = from_native(frame, eager_only=True)
    except NarwhalsError as error:
        raise InvalidInputError(
            "records in a DataFrame", str(error), "Give each column a different name."
        ) from error
    rows = partial(frame_rows, read)
    return _checked(_Rows("DataFrame", rows, columns, has_fixed_columns=True, count_rows=lambda: len(read)))


def _iterable_source(items: Iterable[Any], columns: Columns) -> RecordSource:
    is_source = hasattr(items, "total") and isinstance(getattr(items, "name", None), str)
    name = str(getattr(items, "name", "")) if is_source else f"{type(items).__name__} of records"
    total = len(items) if isinstance(items, Sized) else getattr(items, "total", None)
    is_one_shot = iter(items) is items
    return _Items(name, items, columns, total, is_one_shot)


class Preview(NamedTuple):
    """The first rows of a table, and which of its ``names`` would be the text and the id, if any would."""

    names: tuple[str, ...]
    rows: list[Mapping[str, Any]]
    text: str | None
    id: str | None


def preview(path: Path) -> Preview:
    """Look at a table before it is indexed."""
    is_parquet = path.suffix.lower() == ".parquet"
    read = parquet_rows(path) if is_parquet else _lines_of(path, Columns()).read()
    seen = list(islice(read, _HEAD_ROWS))
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
        picker = choose_columns(Columns(), rows, path.name, has_fixed_columns=True)
        text, record_id = picker.text, picker.id
    return Preview(names, [row.fields for row in rows], text if text in names else None, record_id)


def columns_of(source: RecordSource) -> list[str]:
    """Return a line for each table of a source: the columns of the text, the id and the metadata."""
    if isinstance(source, _Chain):
        return [line for each in source.sources for line in columns_of(each)]
    if not isinstance(source, _Rows):
        return [f"{source.name}: whole files, with their paths as ids"]
    rows = [row for row in islice(source.read(), _HEAD_ROWS) if isinstance(row, Row)]
    if not rows:
        return [f"{source.name}: no record"]
    return [f"{source.name}: {source.picker().described(rows, source.has_fixed_columns)}"]


# The sources ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Rows:
    """A source of rows; its columns are chosen from its first rows."""

    name: str
    read: Callable[[], Iterator[Row | Rejected]]
    columns: Columns
    has_fixed_columns: bool
    count_rows: Callable[[], int | None] = lambda: None

    @property
    def total(self) -> int | None:
        return self.count_rows()

    def picker(self) -> ColumnPicker:
        return self._settle(list(islice(self.read(), _HEAD_ROWS)))

    def __iter__(self) -> Iterator[Record | Rejected]:
        rows = self.read()
        head = list(islice(rows, _HEAD_ROWS))
        picker = self._settle(head)
        for row in chain(head, rows):
            yield row if isinstance(row, Rejected) else picker.record(row)

    def _settle(self, head: list[Row | Rejected]) -> ColumnPicker:
        rows = [row for row in head if isinstance(row, Row)]
        return choose_columns(self.columns, rows, self.name, self.has_fixed_columns)


def _checked(rows: _Rows) -> _Rows:
    """Choose the columns, so that a wrong name is an error before any record is indexed."""
    rows.picker()
    return rows


class _Items:
    """A source of Python objects: ``Record`` or dict."""

    def __init__(
        self, name: str, items: Iterable[Any], columns: Columns, total: int | None, is_one_shot: bool
    ) -> None:
        self.name, self.total = name, total
        self._items, self._columns, self._is_one_shot = items, columns, is_one_shot
        self._was_read = False

    def __iter__(self) -> Iterator[Record | Rejected]:
        if self._is_one_shot and self._was_read:
            raise InvalidInputError(
                f"a second reading of a {self.name}",
                "an iterator that gives its records only once",
                "Give a list, or an object whose __iter__ starts again.",
            )
        self._was_read = True
        return self._records()

    def _records(self) -> Iterator[Record | Rejected]:
        items = iter(self._items)
        head = list(islice(items, _HEAD_ROWS))
        rows = [Row("", item) for item in head if isinstance(item, Mapping)]
        picker = choose_columns(self._columns, rows, self.name)
        for number, item in zip(count(1), chain(head, items), strict=False):
            position = f"record {number}"
            if isinstance(item, Mapping):
                yield picker.record(Row(position, item))
            elif isinstance(item, Record):
                yield _checked_item(item, position)
            elif isinstance(item, Rejected):
                yield item
            else:
                yield Rejected(position, f"{kind_of(item)}, not a Record or a dict such as {{'text': …}}")


def _checked_item(record: Record, position: str) -> Record | Rejected:
    try:
        return checked_record(record.id, record.text, record.metadata, record.fields, record.document)
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

    def __iter__(self) -> Iterator[Record | Rejected]:
        return chain.from_iterable(self.sources)
