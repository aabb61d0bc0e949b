"""Output of an analysis: JSON or text, tables, charts and a page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from saeindex.cli.output import Json, Url, console, print_json

if TYPE_CHECKING:
    from saeindex.report.result import AnalysisResult


# Nothing could be compared, as asked: wrong use, as an empty group is.
NOT_COMPARABLE = 2


def ending(what: str, *known: str) -> Callable[[Path | None], Path | None]:
    """Return an option callback that refuses files that cannot be written, or do not end in one of ``known``.

    Any ending is accepted if none is given.
    """

    def checked(path: Path | None) -> Path | None:
        if path is not None:
            from saeindex.files import checked_suffix, writable

            if known:
                checked_suffix(path, known, what)
            writable(path)
        return path

    return checked


Table = Annotated[
    Path | None,
    typer.Option(
        callback=ending("table", ".csv", ".parquet"),
        help="Write the tables: t.csv (or .parquet) makes t-concepts.csv, t-words.csv and so on.",
    ),
]
Plot = Annotated[
    Path | None,
    typer.Option(
        callback=ending("chart", ".html", ".png"),
        help="Write the charts: .html (one file, works offline) or .png.",
    ),
]
Report = Annotated[
    Path | None,
    typer.Option(
        callback=ending("report", ".html"), help="Write a page (.html) with method, findings and limits."
    ),
]


@dataclass(frozen=True, slots=True)
class Delivery:
    """The options of every analysis: where the index is, and what is made of the result."""

    table: Table = None
    plot: Plot = None
    report: Report = None
    url: Url = None
    as_json: Json = False

    def deliver(self, result: AnalysisResult, question: str = "", fails_empty: bool = True) -> None:
        """Print a result and write the requested files; exit with 1 if nothing was found.

        Where nothing could be compared the exit is 2. With ``fails_empty`` off, an empty result does not
        exit: the caller decides.
        """
        written = self._written(result, question)
        if self.as_json:
            print_json(result.to_json() | ({"written": written} if written else {}))
        else:
            console().print(str(result), markup=False, soft_wrap=True)
            for path in written:
                console().print(f"wrote {path}", style="dim", markup=False)
        if result.not_comparable and not len(result):
            raise typer.Exit(NOT_COMPARABLE)
        if fails_empty and not result.has_findings:
            raise typer.Exit(1)

    def _written(self, result: AnalysisResult, question: str) -> list[str]:
        written: list[Path] = []
        if self.table is not None:
            written += result.write_tables(self.table)
        if self.plot is not None:
            written.append(result.write_charts(self.plot))
        if self.report is not None:
            written.append(result.write_report(self.report, question))
        return [str(path) for path in written]
