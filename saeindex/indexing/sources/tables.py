"""Rows of JSON, JSON Lines, CSV, TSV and Parquet files, and of data frames."""

from __future__ import annotations

import csv
import json
import re
import shlex
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from itertools import chain, count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeVar

from saeindex.errors import InvalidInputError, installed, kind_of
from saeindex.indexing.sources.columns import GAPS, OF_METADATA, Row, words_of
from saeindex.indexing.sources.streams import (
    DAMAGE,
    MAX_LINE_BYTES,
    Lines,
    LineTooLongError,
    damage_reason,
    open_bytes,
    open_lines,
)
from saeindex.indexing.sources.values import CONVERT
from saeindex.protocols import Rejected
from saeindex.types import whole

if TYPE_CHECKING:
    from narwhals import DataFrame

T = TypeVar("T")
_PARQUET_ROWS_PER_BATCH = 256
# The largest file of JSON that is read as a whole.
MAX_JSON_BYTES = 64 * 2**20
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,17}")
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,14})\.([0-9]{1,15})")
_DELIMITERS = (";", "\t", "|", ",")
# Columns with such a word in their names hold codes, not numbers.
CODES = frozenset({
    "zip", "zipcode", "postcode", "postal", "plz", "phone", "telephone", "fax", "isbn", "ean", "sku",
    "version",
})  # fmt: skip


# JSON Lines -------------------------------------------------------------------------------------------


def json_rows(path: Path) -> Iterator[Row | Rejected]:
    """Yield the objects of a JSON Lines file; empty lines are skipped."""
    with open_bytes(path) as stream:
        lines = Lines(stream)
        for line in _sound(path, lines, lines):
            if isinstance(line, Rejected):
                yield line
            elif not line.isspace():
                yield _json_row(line, f"{path.name}:{lines.number}")


def _sound(path: Path, lines: Lines, read: Iterator[T]) -> Iterator[T | Rejected]:
    """Yield what is read of ``lines``; an overlong line is a reject, as is the rest of a damaged file."""
    while True:
        try:
            found = next(read)
        except StopIteration:
            return
        except LineTooLongError:
            yield Rejected(f"{path.name}:{lines.number}", f"the line is longer than {MAX_LINE_BYTES} bytes")
        except csv.Error as error:
            yield Rejected(f"{path.name}:{lines.number}", f"the line is not valid CSV: {error}")
        except DAMAGE as error:
            yield Rejected(f"{path.name}:{lines.number + 1}", damage_reason(error))
            return
        else:
            yield found


def _json_row(line: bytes, position: str) -> Row | Rejected:
    try:
        value = _DECODER.decode(line.decode())
    except UnicodeDecodeError:
        return Rejected(position, f"the line is not valid UTF-8: {CONVERT}")
    except RecursionError:
        return Rejected(position, "nested too deeply")
    except ValueError as error:
        return Rejected(position, f"the line is not valid JSON: {error}")
    if not isinstance(value, dict):
        return Rejected(position, f"the line holds {kind_of(value)}, not an object")
    return Row(position, value)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=lambda text: whole(float(text)))


def json_file_rows(path: Path) -> Iterator[Row | Rejected]:
    """Yield the objects of a ``.json`` file: an array, an object with one array of objects, or JSON Lines.

    Raises InvalidInputError for JSON that is not valid, and for what is no lines and too large to be read.
    """
    with open_bytes(path) as stream, suppress(*DAMAGE, LineTooLongError, ValueError, RecursionError):
        lines = Lines(stream)
        first = _DECODER.decode(next(lines, b"").decode())
        if isinstance(first, dict) and any(not line.isspace() for line in lines):
            yield from json_rows(path)
            return
    with open_bytes(path) as stream:
        try:
            content = stream.read(MAX_JSON_BYTES + 1)
            if len(content) > MAX_JSON_BYTES:
                large = f"JSON of more than {MAX_JSON_BYTES >> 20} MiB"
                do = f"Make JSON Lines of it (jq -c '.[]' {shlex.quote(str(path))} > records.jsonl)."
                raise InvalidInputError(f"records in {path}", large, do)
            found = _DECODER.decode(content.decode("utf-8-sig")) if content.strip() else []
        except DAMAGE as error:
            yield Rejected(f"{path.name}:1", damage_reason(error))
            return
        except UnicodeDecodeError:
            raise InvalidInputError(f"records in {path}", "not valid UTF-8", f"Then {CONVERT}.") from None
        except (ValueError, RecursionError) as error:
            raise InvalidInputError(f"records in {path}", f"not valid JSON: {error}", "Mend it.") from None
    for number, value in enumerate(_objects_in(found), 1):
        position = f"{path.name}[{number}]"
        is_row = isinstance(value, dict)
        yield Row(position, value) if is_row else Rejected(position, f"{kind_of(value)}, not an object")


def _objects_in(value: Any) -> list[Any]:
    """Return the values of an array, of the one array of objects in an object, or else the value itself."""
    if not isinstance(value, dict):
        return value if isinstance(value, list) else [value]
    lists = [one for one in value.values() if isinstance(one, list) and one and isinstance(one[0], dict)]
    return lists[0] if len(lists) == 1 else [value]


# CSV and TSV ------------------------------------------------------------------------------------------


def csv_rows(path: Path, delimiter: str, is_bare: bool) -> Iterator[Row | Rejected]:
    """Yield the rows below the header of a CSV or TSV file; see :class:`CellKinds` for their metadata.

    The separator is what Excel's first line ``sep=;`` says; else, a header without the ``delimiter``, but
    with semicolons, tabs or bars, is separated by these. With ``is_bare``, quotes are characters as
    others. Cells are strings, empty ones null. Those of columns such as ``metadata.year`` are JSON where they
    can be read as such, as exports write them; there, empty cells are absent.
    """
    # The csv module has one limit for the whole process, none per reader.
    csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE_BYTES))
    with open_lines(path) as stream:
        lines = Lines(stream)
        delimiter, is_said = _delimiter_of(path, delimiter)
        if is_said:
            next(lines)
        cells_of_rows = _csv_cells(path, lines, delimiter, csv.QUOTE_NONE if is_bare else csv.QUOTE_MINIMAL)
        header = next(cells_of_rows, None)
        if isinstance(header, Rejected):
            yield Rejected(header.position, f"no row can be read without the header: {header.reason}")
            return
        names = _header_names(header or [])
        rows = ((f"{path.name}:{lines.number}", cells) for cells in cells_of_rows)
        ahead = list(islice(rows, 2))  # of Qualtrics: what was asked, and objects, as further headers
        is_header = len(ahead) == 2 and '{"ImportId"' in str(ahead[1][1])
        for position, cells in rows if is_header else chain(ahead, rows):
            if isinstance(cells, Rejected):
                yield cells
            elif len(cells) != len(names):
                yield Rejected(position, f"{len(cells)} cells where the header has {len(names)}")
            else:
                yield Row(position, _fields(names, cells))


def _delimiter_of(path: Path, usual: str) -> tuple[str, bool]:
    """Return what separates cells, and whether the first line only says that."""
    with open_lines(path) as stream, suppress(*DAMAGE, LineTooLongError):
        header = next(Lines(stream), b"").decode(errors="replace")
        said = header.strip("\r\n")
        if said.startswith("sep=") and len(said) == len("sep=;"):
            return said[-1], True
        found = {mark: header.count(mark) for mark in (usual, *_DELIMITERS)}
        if not found[usual] and any(found.values()):
            return max(found, key=lambda mark: found[mark]), False
    return usual, False


def has_bare_quotes(path: Path, usual: str) -> bool:
    """Return whether quotes between tabs are characters as others: a whole row opens one, and one follows."""
    if _delimiter_of(path, usual)[0] != "\t":
        return False
    with open_lines(path) as stream, suppress(*DAMAGE, LineTooLongError):
        width, is_open = 0, False
        for line in Lines(stream):
            cells = line.rstrip(b"\r\n").split(b"\t")
            width = width or len(cells)
            if is_open and len(cells) == width:
                return True
            opened = (cell for cell in cells if cell.startswith(b'"'))
            is_open = len(cells) == width and any(cell == b'"' or cell[-1:] != b'"' for cell in opened)
    return False


def _csv_cells(
    path: Path, lines: Lines, delimiter: str, quoting: Literal[0, 3]
) -> Iterator[list[str] | Rejected]:
    # Bytes that are not valid UTF-8 become surrogates here; the record is rejected later because of them.
    text_lines = map(lambda line: line.decode(errors="surrogateescape"), lines)  # noqa: C417
    reader = csv.reader(text_lines, delimiter=delimiter, strict=True, quoting=quoting)
    return (cells for cells in _sound(path, lines, reader) if cells)


def _header_names(header: list[str]) -> list[str]:
    """Return the names of columns: an empty one is column3, a second ``Comment`` is ``Comment_2``."""
    names: list[str] = []
    for number, given in enumerate(header, start=1):
        name = first = given if given.startswith(OF_METADATA) else given.strip() or f"column{number}"
        further = count(2)
        while name in names:
            name = f"{first}_{next(further)}"
        names.append(name)
    return names


def _fields(names: list[str], cells: list[str]) -> dict[str, Any]:
    """Return a row as fields: cells of metadata as :func:`json_cell` wrote them, others as texts."""
    pairs = zip(names, cells, strict=True)
    return {
        name: _of_json(cell) if name.startswith(OF_METADATA) else cell or None
        for name, cell in pairs
        if cell or not name.startswith(OF_METADATA)
    }


def json_cell(value: Any) -> str:
    """Return a metadata value as a cell: a text as it is, unless it would be read as another JSON value."""
    is_plain = isinstance(value, str) and value and _of_json(value) is value
    return str(value) if is_plain else json.dumps(value, ensure_ascii=False)


def _of_json(text: str) -> Any:
    try:
        return _DECODER.decode(text)
    except (ValueError, RecursionError):
        return text


@dataclass(slots=True)
class _Cells:
    """What is known of the cells of a column: their kinds, and how its numbers with decimals are written."""

    kinds: set[str] = field(default_factory=set)
    decimals: set[int] = field(default_factory=set)
    ends_in_zero: bool = False
    first: str = ""
    has_others: bool = False

    def add(self, cell: str) -> None:
        if cell.casefold() in ("true", "false"):
            self.kinds.add("truth value")
        elif _INTEGER.fullmatch(cell):
            self.kinds.add("number")
        elif found := _DECIMAL.fullmatch(cell):
            self.kinds.add("number")
            if found[2] != "0":  # else a whole number, as tools write it in a column with gaps
                self.decimals.add(len(found[2]))
                self.ends_in_zero |= found[2].endswith("0")
                self.first = self.first or cell
                self.has_others |= cell != self.first
        elif cell.casefold() not in GAPS:
            self.kinds.add("text")

    @property
    def are_text(self) -> bool:
        return "text" in self.kinds or len(self.kinds) > 1

    @property
    def are_codes(self) -> bool:
        return self.ends_in_zero and (len(self.decimals) > 1 or not self.has_others)


class CellKinds:
    """Finds the columns of a table that hold numbers, or truth values, in every row.

    A number is in plain decimal notation: ``12``, ``-0.5``, but not ``007`` or ``1e3``. Where numbers end in
    zeros and have different numbers of decimals (``1.10``, ``1.9``), or all are one such, they are codes, as
    are those whose column is called so (a ZIP code, a version). Empty cells and those in ``GAPS`` may be
    of any kind.
    """

    def __init__(self) -> None:
        self._columns: dict[str, _Cells] = {}

    def add(self, fields: Mapping[str, Any]) -> None:
        """Look at a row."""
        for name, cell in fields.items():
            if cell is not None and not name.startswith(OF_METADATA):  # else JSON, of any kind
                known = self._columns.get(name) or self._columns.setdefault(name, _Cells())
                if not known.are_text:
                    known.add(cell)

    def typed(self) -> frozenset[str]:
        """Return the columns of numbers or truth values."""
        return frozenset(
            name
            for name, known in self._columns.items()
            if known.kinds and not known.are_text and not known.are_codes and not CODES & set(words_of(name))
        )


# Parquet and data frames ------------------------------------------------------------------------------


def parquet_rows(
    path: Path, columns: list[str] | None, left_out: dict[str, None]
) -> Iterator[Row | Rejected]:
    """Yield the rows of a Parquet file, batch by batch; ``columns`` are the columns to read (None: all).

    Bytes are text where they are UTF-8; the names of columns with others are added to ``left_out``.
    """
    number, arrow = 0, _arrow(path)
    with _open_parquet(path) as file:
        present = set(file.schema_arrow.names)
        wanted = [name for name in columns if name in present] if columns else None
        try:
            for batch in file.iter_batches(_PARQUET_ROWS_PER_BATCH, columns=wanted):
                for fields in _batch_rows(batch):
                    number += 1
                    position = f"{path.name}:{number}"
                    if fields is None:
                        yield Rejected(position, "a string in the row is not valid UTF-8")
                    else:
                        yield Row(position, _read_row(fields, left_out))
        except (arrow.ArrowException, OSError) as error:
            yield Rejected(f"{path.name}:{number + 1}", f"the file is damaged, the rest is lost ({error})")


def _read_row(fields: dict[str, Any], left_out: dict[str, None]) -> dict[str, Any]:
    """Return a row whose bytes are texts, without those that are none; what is whole is a whole number."""
    fields = {name: whole(value) for name, value in fields.items()}
    for name in [name for name, value in fields.items() if isinstance(value, bytes)]:
        try:
            fields[name] = fields[name].decode()
        except UnicodeDecodeError:
            del fields[name]
            left_out[name] = None
    return fields


def parquet_length(path: Path) -> int:
    """Return the number of rows, from the footer."""
    with _open_parquet(path) as file:
        return int(file.metadata.num_rows)


def _batch_rows(batch: Any) -> Iterator[dict[str, Any] | None]:
    try:
        yield from batch.to_pylist()
    except UnicodeDecodeError:
        for i in range(batch.num_rows):
            try:
                yield batch.slice(i, 1).to_pylist()[0]
            except UnicodeDecodeError:
                yield None


def frame_rows(frame: DataFrame[Any], left_out: dict[str, None]) -> Iterator[Row]:
    """Yield the rows of a data frame, by the names of its columns; missing values are null.

    Bytes are read as in :func:`parquet_rows`.
    """
    from narwhals import all as all_columns

    names = [str(name) for name in frame.columns]
    missing = frame.select(all_columns().is_null())
    pairs = zip(frame.iter_rows(), missing.iter_rows(), strict=True)
    for number, (values, are_missing) in enumerate(pairs, 1):
        cells = (None if is_missing else value for value, is_missing in zip(values, are_missing, strict=True))
        yield Row(f"row {number}", _read_row(dict(zip(names, cells, strict=True)), left_out))


def _arrow(path: Path) -> Any:
    return installed("pyarrow", f"Parquet file {path.name}", "parquet")


def _open_parquet(path: Path) -> Any:
    arrow = _arrow(path)
    try:
        return import_module("pyarrow.parquet").ParquetFile(path)
    except (arrow.ArrowException, OSError) as error:
        raise InvalidInputError(f"Parquet file {path.name}", str(error), "Write the file again.") from error
