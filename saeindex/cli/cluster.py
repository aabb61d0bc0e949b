"""``saeindex cluster``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from saeindex.cli.delivery import Delivery, ending
from saeindex.cli.options import asks
from saeindex.cli.output import Index
from saeindex.errors import InvalidInputError
from saeindex.operations.associations import ClusterAlong

if TYPE_CHECKING:
    from saeindex.analysis.cluster.results import Clustering

Examples = Annotated[
    list[str] | None,
    typer.Option("--example", metavar="VALUE=ID", help="The id of a record that has a value. Repeatable."),
]


@asks(ClusterAlong, without=("examples",))
def cluster(
    index: Index,
    options: dict[str, Any],
    delivery: Delivery,
    example: Examples = None,
    assign_to: Annotated[
        Path | None,
        typer.Option(callback=ending("table"), help="Write the cluster of every record to this CSV file."),
    ] = None,
) -> None:
    """Cluster records along one axis. Exits with 1 if the space cannot express the axis.

    Values can have descriptions: 'tone: angry = furious; calm = at ease'. With a name only, they are found.
    """
    from saeindex.index import FeatureIndex

    with FeatureIndex.open(index, url=delivery.url) as opened:
        found = opened.cluster(**options, examples=read_examples(example or ()) or None)
    if assign_to is not None:
        write_assignments(found, assign_to)
    delivery.deliver(found)
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
