"""Rows of JSON Lines, CSV, TSV and Parquet files, and of data frames."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from saeindex.errors import InvalidInputError, installed, kind_of
from saeindex.indexing.sources.columns import OF_METADATA, Row
from saeindex.indexing.sources.streams import (
    DAMAGE,
    MAX_LINE_BYTES,
    Lines,
    LineTooLongError,
    damage_reason,
    open_bytes,
)
from saeindex.indexing.sources.values import CONVERT, NumericCell
from saeindex.protocols import Rejected

if TYPE_CHECKING:
    from narwhals import DataFrame

_PARQUET_ROWS_PER_BATCH = 256
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,17}")
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,14})\.[0-9]{1,15}")
_DELIMITERS = (";", "\t", "|", ",")
_TOO_LONG = f"the line is longer than {MAX_LINE_BYTES} bytes"


# JSON Lines -------------------------------------------------------------------------------------------


def json_rows(path: Path) -> Iterator[Row | Rejected]:
    """Yield the objects of a JSON Lines file; empty lines are skipped."""
    with open_bytes(path) as stream:
        lines = Lines(stream)
        while True:
            try:
                line = next(lines, None)
            except LineTooLongError:
                yield Rejected(f"{path.name}:{lines.number}", _TOO_LONG)
                continue
            except DAMAGE as error:
                yield Rejected(f"{path.name}:{lines.number + 1}", damage_reason(error))
                return
            if line is None:
                return
            if not line.isspace():
                yield _json_row(line, f"{path.name}:{lines.number}")


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


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


# CSV and TSV ------------------------------------------------------------------------------------------


def csv_rows(path: Path, delimiter: str) -> Iterator[Row | Rejected]:
    """Yield the rows below the header of a CSV or TSV file.

    A header without the ``delimiter``, but with semicolons, tabs or bars, is separated by these. Cells are
    strings; those in plain decimal notation (``12``, ``-0.5``, but not ``007`` or ``1e3``) become
    numbers in metadata. Empty cells are null. Those of columns such as ``metadata.year`` are JSON where they
    can be read as such, as exports write them; there, empty cells are absent.
    """
    # The csv module has one limit for the whole process, none per reader.
    csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE_BYTES))
    with open_bytes(path) as stream:
        lines = Lines(stream)
        cells_of_rows = _csv_cells(path, lines, _delimiter_of(path, delimiter))
        header = next(cells_of_rows, None)
        if isinstance(header, Rejected):
            yield Rejected(header.position, f"no row can be read without the header: {header.reason}")
            return
        names = _header_names(path, header or [])
        for cells in cells_of_rows:
            position = f"{path.name}:{lines.number}"
            if isinstance(cells, Rejected):
                yield cells
            elif len(cells) != len(names):
                yield Rejected(position, f"{len(cells)} cells where the header has {len(names)}")
            else:
                yield Row(position, _fields(names, cells))


def _delimiter_of(path: Path, usual: str) -> str:
    with open_bytes(path) as stream, suppress(*DAMAGE, LineTooLongError):
        header = next(Lines(stream), b"").decode(errors="replace")
        found = {mark: header.count(mark) for mark in (usual, *_DELIMITERS)}
        if not found[usual] and any(found.values()):
            return max(found, key=lambda mark: found[mark])
    return usual


def _csv_cells(path: Path, lines: Lines, delimiter: str) -> Iterator[list[str] | Rejected]:
    # Bytes that are not valid UTF-8 become surrogates here; the record is rejected later because of them.
    text_lines = map(lambda line: line.decode(errors="surrogateescape"), lines)  # noqa: C417
    reader = csv.reader(text_lines, delimiter=delimiter, strict=True)
    while True:
        try:
            cells = next(reader, None)
        except LineTooLongError:
            yield Rejected(f"{path.name}:{lines.number}", _TOO_LONG)
            continue
        except csv.Error as error:
            yield Rejected(f"{path.name}:{lines.number}", f"the line is not valid CSV: {error}")
            continue
        except DAMAGE as error:
            yield Rejected(f"{path.name}:{lines.number + 1}", damage_reason(error))
            return
        if cells is None:
            return
        if cells:
            yield cells


def _header_names(path: Path, header: list[str]) -> list[str]:
    names = [
        name if name.startswith(OF_METADATA) else name.strip() or f"column{number}"
        for number, name in enumerate(header, start=1)
    ]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InvalidInputError(
            f"columns of {path.name}",
            f"{', '.join(repeated)} more than once",
            "Give each column its own name.",
        )
    return names


def _fields(names: list[str], cells: list[str]) -> dict[str, Any]:
    """Return a row as fields: cells of metadata as :func:`json_cell` wrote them, others as texts."""
    pairs = zip(names, cells, strict=True)
    return {
        name: _of_json(cell) if name.startswith(OF_METADATA) else _cell(cell)
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


def _cell(value: str) -> str | None:
    if _INTEGER.fullmatch(value) or _DECIMAL.fullmatch(value):
        return NumericCell(value)
    return value or None


# Parquet ----------------------------------------------------------------------------------------------


def parquet_rows(path: Path, columns: list[str] | None = None) -> Iterator[Row | Rejected]:
    """Yield the rows of a Parquet file, batch by batch; ``columns`` are the columns to read (None: all)."""
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
                        yield Row(position, fields)
        except (arrow.ArrowException, OSError) as error:
            yield Rejected(f"{path.name}:{number + 1}", f"the file is damaged, the rest is lost ({error})")


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


def frame_rows(frame: DataFrame[Any]) -> Iterator[Row]:
    """Yield the rows of a data frame, by the names of its columns; missing values are null."""
    from narwhals import all as all_columns

    names = [str(name) for name in frame.columns]
    missing = frame.select(all_columns().is_null())
    pairs = zip(frame.iter_rows(), missing.iter_rows(), strict=True)
    for number, (values, are_missing) in enumerate(pairs, 1):
        cells = (None if is_missing else value for value, is_missing in zip(values, are_missing, strict=True))
        yield Row(f"row {number}", dict(zip(names, cells, strict=True)))


def _arrow(path: Path) -> Any:
    return installed("pyarrow", f"Parquet file {path.name}", "parquet")


def _open_parquet(path: Path) -> Any:
    arrow = _arrow(path)
    try:
        return import_module("pyarrow.parquet").ParquetFile(path)
    except (arrow.ArrowException, OSError) as error:
        raise InvalidInputError(f"Parquet file {path.name}", str(error), "Write the file again.") from error
