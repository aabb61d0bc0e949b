"""``saeindex correlate`` and ``saeindex triggers``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from saeindex.cli.delivery import Plot, Report, Table, deliver, ending
from saeindex.cli.diff import Unit, unit_of
from saeindex.cli.output import Json, Url

INDEX = typer.Argument(help="The index.")
CONCEPT_HELP = (
    "A named concept: NAME=DESCRIPTION (further parts after semicolons: against: TEXT; share: 0.05), "
    "NAME=like: ID, ID; unlike: ID, NAME=#12,#41@strong, or NAME=metadata.FIELD=VALUE."
)
Where = Annotated[str | None, typer.Option(help="Condition of the records to use: 'metadata.year >= 2015'.")]
Field = Annotated[str, typer.Option(help="The text field (the main text has no name).")]
Level = Annotated[str, typer.Option(help="Minimum strength of a concept: present, typical or strong.")]
Alpha = Annotated[float, typer.Option(help="False discovery rate.")]
Method = Annotated[str, typer.Option(help="Control of the rate: bh, or by (any dependence).")]
MinSupport = Annotated[int, typer.Option(min=1, help="Minimum records of a pair, observed or expected.")]
Limit = Annotated[int, typer.Option(min=1, max=100_000, help="Maximum number of pairs to list.")]
Graph = Annotated[
    Path | None,
    typer.Option(
        callback=ending("graph", ".graphml", ".json"), help="Write the pairs as a graph: .graphml or .json."
    ),
]


def correlate(  # noqa: PLR0913, PLR0917  (one per setting)
    index: Annotated[str, INDEX],
    concept: Annotated[list[str] | None, typer.Option(help=f"{CONCEPT_HELP} Repeatable.")] = None,
    with_concept: Annotated[
        list[str] | None,
        typer.Option(help="Second concept of each pair. Default: all pairs of --concept. Repeatable."),
    ] = None,
    field: Field = "",
    other_field: Annotated[
        str | None, typer.Option(help="Text field of the second concept of each pair.")
    ] = None,
    where: Where = None,
    unit: Unit = "auto",
    level: Level = "typical",
    alpha: Alpha = 0.05,
    method: Method = "bh",
    min_support: MinSupport = 5,
    limit: Limit = 100,
    graph: Graph = None,
    table: Table = None,
    plot: Plot = None,
    report: Report = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Find concepts that occur together more often, or less often, than by chance."""
    from saeindex.analysis.correlate.results import write_graph
    from saeindex.index import FeatureIndex

    options: Any = {
        "unit": unit_of(unit),
        "alpha": alpha,
        "method": method,
        "min_support": min_support,
        "limit": limit,
    }
    if not concept:
        options["level"] = level
    with FeatureIndex.open(index, url=url) as opened:
        found = opened.correlate(
            concept or (), with_concept or (), field=field, other_field=other_field, where=where, **options
        )
    if graph is not None:
        write_graph(found, graph)
    deliver(
        found,
        as_json,
        table,
        plot,
        report,
        f"Which concepts occur with {', '.join(concept)}?" if concept else "",
    )


def triggers(  # noqa: PLR0913, PLR0917  (one per setting)
    index: Annotated[str, INDEX],
    behaviour: Annotated[str, typer.Argument(help=f"The behaviour of the responses. {CONCEPT_HELP}")],
    prompt_field: Annotated[str, typer.Option(help="The text field of the prompts.")] = "prompt",
    field: Field = "",
    where: Where = None,
    unit: Unit = "auto",
    level: Level = "typical",
    alpha: Alpha = 0.05,
    method: Method = "bh",
    min_support: MinSupport = 5,
    limit: Limit = 10,
    table: Table = None,
    plot: Plot = None,
    report: Report = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Find concepts of prompts that trigger a behaviour of the responses, with examples."""
    from saeindex.index import FeatureIndex

    options: Any = {
        "unit": unit_of(unit), "level": level, "alpha": alpha, "method": method, "min_support": min_support,
        "limit": limit,
    }  # fmt: skip
    with FeatureIndex.open(index, url=url) as opened:
        found = opened.find_triggers(
            behaviour, prompt_field=prompt_field, field=field, where=where, **options
        )
    deliver(found, as_json, table, plot, report)
