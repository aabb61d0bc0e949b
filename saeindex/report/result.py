"""What every analysis returns, and its files: tables that other programs read, a page that people read."""

from __future__ import annotations

import csv
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saeindex.errors import InvalidInputError, MissingDependencyError
from saeindex.files import checked_suffix, replacing
from saeindex.report.html import Described, report_html
from saeindex.report.model import describe
from saeindex.report.text import text_of

if TYPE_CHECKING:
    from pandas import DataFrame

Row = dict[str, Any]
TABLE_FORMATS = (".csv", ".parquet")
# Spreadsheets take text that begins so for a formula, and run it.
FORMULA = ("=", "+", "-", "@", "\t", "\r")


class AnalysisResult(Described, ABC):
    """What every analysis returns: it prints as text, and shows itself in a notebook."""

    __slots__ = ()

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Return all of it as plain JSON types."""

    @abstractmethod
    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """Return its tables by name, as rows of scalar cells."""

    @abstractmethod
    def __len__(self) -> int:
        """Return how much was found; 0 is nothing."""

    def to_pandas(self, table: str = "") -> DataFrame:
        """Return one of its :meth:`tables` as a pandas DataFrame, the first where none is named.

        InvalidInputError lists the tables; MissingDependencyError where pandas is not installed.
        """
        tables = self.tables()
        if table and table not in tables:
            raise InvalidInputError(f"table {table!r}", "no such table", f"Use one of {', '.join(tables)}.")
        return data_frame(tables[table] if table else next(iter(tables.values()), []))

    def __str__(self) -> str:
        return text_of(describe(self))


def data_frame(rows: Sequence[Row]) -> DataFrame:
    """Return rows as a pandas DataFrame; MissingDependencyError where pandas is not installed."""
    try:
        import pandas
    except ImportError as error:
        raise MissingDependencyError(
            "a pandas DataFrame", "pandas is not installed", 'Run pip install "saeindex[pandas]".'
        ) from error
    return pandas.DataFrame(rows)


def write_tables(result: AnalysisResult, path: str | Path) -> list[Path]:
    """Write each table beside ``path``: of ``found.csv``, to ``found-concepts.csv`` and so on.

    Return the files. InvalidInputError where the name ends neither in .csv nor in .parquet,
    MissingDependencyError where .parquet is asked for without pyarrow.
    """
    target = Path(path)
    suffix = checked_suffix(target, TABLE_FORMATS, "table")
    write = _write_csv if suffix == ".csv" else _write_parquet
    if suffix == ".parquet":
        _pyarrow(target)
    written = []
    for name, rows in result.tables().items():
        file = target.with_name(f"{target.stem}-{name}{target.suffix}")
        with replacing(file) as draft:
            write(rows, draft)
        written.append(file)
    return written


def write_report(result: AnalysisResult, path: str | Path, question: str = "") -> Path:
    """Write a result as a page (.html) under ``question``, and return its path.

    InvalidInputError for a name with another ending.
    """
    target = Path(path)
    checked_suffix(target, (".html",), "report")
    page = report_html(describe(result), question.strip())
    with replacing(target) as draft:
        draft.write_text(page, encoding="utf-8")
    return target


def _write_csv(rows: Sequence[Row], path: Path) -> None:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([_cell(name) for name in columns])
        writer.writerows([_cell(row.get(name)) for name in columns] for row in rows)


def _cell(value: Any) -> Any:
    """Return a cell of a CSV file; text never begins a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def _write_parquet(rows: Sequence[Row], path: Path) -> None:
    pyarrow = _pyarrow(path)
    columns = dict.fromkeys(name for row in rows for name in row)
    arrays = {name: _column(row.get(name) for row in rows) for name in columns}
    pyarrow.parquet.write_table(pyarrow.table(arrays), path)


def _column(cells: Iterator[Any]) -> list[Any]:
    """Return a column's cells of one type: numbers and texts in one column are all texts."""
    values = list(cells)
    kinds = {type(value) for value in values if value is not None}
    if str in kinds and len(kinds) > 1:
        return [None if value is None else str(value) for value in values]
    if kinds == {int, float}:
        return [None if value is None else float(value) for value in values]
    return values


def _pyarrow(path: Path) -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingDependencyError(
            f"Parquet file {path.name}", "pyarrow is not installed", 'Run pip install "saeindex[parquet]".'
        ) from error
    return pyarrow
