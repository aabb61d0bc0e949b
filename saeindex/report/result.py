"""The base class of analysis results, and their files: tables for programs, a page for people."""

from __future__ import annotations

import csv
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from saeindex.errors import InvalidInputError, installed
from saeindex.files import checked_suffix, replacing, writable
from saeindex.report.html import Described, report_html
from saeindex.report.model import describe
from saeindex.report.text import text_of
from saeindex.schema import Result

if TYPE_CHECKING:
    from pandas import DataFrame

Row = dict[str, Any]
Status: TypeAlias = Literal["found", "nothing found", "not comparable"]
TABLE_FORMATS = (".csv", ".parquet")
# Spreadsheets run text with these first characters as a formula.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class AnalysisResult(Result, Described, ABC):
    """The result of an analysis; it prints as text, and a notebook displays it as tables.

    ``revision`` is that of the index that was analysed. ``not_comparable`` says why nothing could be
    compared: then nothing was tested, and that nothing was found says nothing about the records.
    """

    revision: str = ""
    not_comparable: str = ""

    @property
    def status(self) -> Status:
        """Whether something was found, nothing was found, or nothing could be compared."""
        if self.not_comparable:
            return "not comparable"
        return "found" if self.has_findings else "nothing found"

    @property
    def has_findings(self) -> bool:
        """Whether anything was found."""
        return len(self) > 0

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON types, with its ``status``."""
        return {"status": self.status, **Result.to_json(self)}

    @classmethod
    def of_schema(cls, found: dict[str, Any]) -> dict[str, Any]:
        """Return the schema of the JSON, of that of the class."""
        status = {"type": "string", "enum": list(get_args(Status))}
        return {**found, "properties": {"status": status, **found["properties"]}}

    @abstractmethod
    def tables(self) -> dict[str, list[Row]]:
        """Return its tables by name, as rows of scalar cells."""

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of findings; 0 if nothing was found."""

    def to_pandas(self, table: str = "") -> DataFrame:
        """Return one of its :meth:`tables` as a pandas DataFrame; by default, the first.

        InvalidInputError lists the tables; MissingDependencyError if pandas is not installed.
        """
        tables = self.tables()
        if table and table not in tables:
            raise InvalidInputError(f"table {table!r}", "no such table", f"Use one of {', '.join(tables)}.")
        return data_frame(tables[table] if table else next(iter(tables.values()), []))

    def write_report(self, path: str | Path, question: str = "") -> Path:
        """Write a page (.html) under ``question``, and return its path.

        InvalidInputError for a name with another ending.
        """
        target = writable(path)
        checked_suffix(target, (".html",), "report")
        page = report_html(describe(self), question.strip())
        with replacing(target) as draft:
            draft.write_text(page, encoding="utf-8")
        return target

    def write_tables(self, path: str | Path) -> list[Path]:
        """Write each table beside ``path``: of ``found.csv``, to ``found-concepts.csv`` and so on.

        Return the files. InvalidInputError if the name does not end in .csv or .parquet,
        MissingDependencyError for .parquet if pyarrow is not installed.
        """
        target = writable(path)
        write = write_csv if checked_suffix(target, TABLE_FORMATS, "table") == ".csv" else _write_parquet
        written = []
        for name, rows in self.tables().items():
            file = target.with_name(f"{target.stem}-{name}{target.suffix}")
            with replacing(file) as draft:
                names = dict.fromkeys(name for row in rows for name in row)
                write({name: [row.get(name) for row in rows] for name in names}, draft)
            written.append(file)
        return written

    def write_charts(self, path: str | Path) -> Path:
        """Write its charts to one page (.html) or image (.png), and return its path."""
        from saeindex.report.charts import save_charts

        return save_charts(self, path)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({describe(self).summary[0]!r})"

    def __str__(self) -> str:
        return text_of(describe(self))


def data_frame(rows: Sequence[Row]) -> DataFrame:
    """Return rows as a pandas DataFrame; MissingDependencyError where pandas is not installed."""
    return installed("pandas", "a pandas DataFrame", "pandas").DataFrame(rows)


def write_csv(columns: dict[str, list[Any]], path: Path) -> None:
    """Write columns as a CSV file that no spreadsheet runs."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        for row in (columns, *zip(*columns.values(), strict=True)):
            writer.writerow([_safe(cell) for cell in row])


def _safe(cell: Any) -> Any:
    """Return a cell of a CSV file; text is quoted if a spreadsheet would run it as a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell


def _write_parquet(columns: dict[str, list[Any]], path: Path) -> None:
    pyarrow = installed("pyarrow", f"Parquet file {path.name}", "parquet")
    arrays = {name: _of_one_type(cells) for name, cells in columns.items()}
    import_module("pyarrow.parquet").write_table(pyarrow.table(arrays), path)


def _of_one_type(cells: list[Any]) -> list[Any]:
    """Return a column's cells of one type: numbers and texts in one column are all texts."""
    kinds = {type(cell) for cell in cells if cell is not None}
    if len(kinds) < 2:
        return cells
    kind = str if str in kinds else float if kinds == {int, float} else lambda cell: cell
    return [None if cell is None else kind(cell) for cell in cells]
