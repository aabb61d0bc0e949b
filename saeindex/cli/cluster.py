"""``saeindex cluster``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from saeindex.cli.delivery import Plot, Report, Table, deliver, ending
from saeindex.cli.output import Json, Url
from saeindex.errors import InvalidInputError

if TYPE_CHECKING:
    from saeindex.analysis.cluster.results import Clustering

Examples = Annotated[
    list[str] | None,
    typer.Option("--example", metavar="VALUE=ID", help="The id of a record that has a value. Repeatable."),
]


def cluster(
    index: Annotated[str, typer.Argument(help="The index.")],
    axis: Annotated[
        str,
        typer.Option(
            help="The axis to cluster along and its values: 'tone: angry, calm, joking'. Values can have "
            "descriptions: 'tone: angry = furious; calm = at ease'. With a name only, values are found."
        ),
    ],
    example: Examples = None,
    where: Annotated[
        str | None, typer.Option(help="Condition of the records to cluster: 'metadata.year >= 2015'.")
    ] = None,
    field: Annotated[str, typer.Option(help="The text field (the main text has no name).")] = "",
    method: Annotated[str, typer.Option(help="Clustering method: anchored or interpembed.")] = "anchored",
    limit: Annotated[int, typer.Option(min=1, help="Records to show for each cluster.")] = 3,
    assign_to: Annotated[
        Path | None,
        typer.Option(callback=ending("table"), help="Write the cluster of every record to this CSV file."),
    ] = None,
    table: Table = None,
    plot: Plot = None,
    report: Report = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Cluster records along one axis. Exits with 1 if the space cannot express the axis."""
    from saeindex.analysis.cluster.cluster import METHODS
    from saeindex.index import FeatureIndex

    if method not in METHODS:
        raise InvalidInputError(f"method {method!r}", "no such method", f"Use one of {', '.join(METHODS)}.")
    examples = read_examples(example or ())
    with FeatureIndex.open(index, url=url) as opened:
        found = opened.cluster(axis, examples=examples, where=where, field=field, method=method, shown=limit)
    if assign_to is not None:
        write_assignments(found, assign_to)
    deliver(found, as_json, table, plot, report)
    if not found.verdict.expressible:
        raise typer.Exit(1)


def read_examples(given: list[str] | tuple[str, ...]) -> dict[str, list[str]]:
    """Return record ids by value; InvalidInputError for a text that is not VALUE=ID."""
    found: dict[str, list[str]] = {}
    for text in given:
        value, equals, record = text.partition("=")
        if not equals or not value.strip() or not record.strip():
            raise InvalidInputError(f"--example {text!r}", "not VALUE=ID", "Write --example angry=doc-17.")
        found.setdefault(value.strip(), []).append(record.strip())
    return found


def write_assignments(found: Clustering, path: Path) -> None:
    """Write a CSV file with the id, the cluster and the confidence of every record."""
    from saeindex.files import replacing
    from saeindex.report.result import write_csv

    rows = found.tables()["assignments"]
    with replacing(path) as draft:
        write_csv({name: [row[name] for row in rows] for name in ("id", "cluster", "confidence")}, draft)
