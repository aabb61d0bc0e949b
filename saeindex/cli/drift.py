"""``saeindex drift``: concepts and words that drift over an ordered field."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from saeindex.cli.delivery import Plot, Report, Table, deliver
from saeindex.cli.diff import Alpha, Bins, Field, Level, Method, Strata, Unit, comma_parts, unit_of
from saeindex.cli.output import Json, Url

Index = Annotated[str, typer.Argument(help="The index.")]
Where = Annotated[str | None, typer.Option(help="Condition of the records: 'metadata.kind = \"report\"'.")]
Evidence = Annotated[
    str, typer.Option(help="Families of evidence, comma-separated: concepts,words,clusters.")
]
MinSupport = Annotated[int, typer.Option(help="Minimum records that have a concept or word.")]
Examples = Annotated[int, typer.Option(help="Example records of a finding, from each side.")]
BOTH, ALL = "concepts,words", "concepts,words,clusters"


def drift(  # noqa: PLR0913, PLR0917  (one per option of a drift)
    index: Index,
    over: Annotated[str, typer.Option(help="A field of numbers, ISO dates, or values in an --order.")],
    order: Annotated[
        str | None,
        typer.Option(help="Values of the field from first to last, comma-separated: 'v1, v2, v3'."),
    ] = None,
    where: Where = None,
    unit: Unit = "auto",
    strata: Strata = None,
    length_bins: Bins = None,
    periods: Annotated[int, typer.Option(help="Maximum number of periods.")] = 12,
    evidence: Evidence = ALL,
    level: Level = "typical",
    alpha: Alpha = 0.05,
    method: Method = "bh",
    min_support: MinSupport = 5,
    examples: Examples = 2,
    field: Field = "",
    table: Table = None,
    plot: Plot = None,
    report: Report = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Test which concepts and words drift over an ordered field. Exits with 1 if none does."""
    from saeindex.index import FeatureIndex

    options: dict[str, Any] = {
        "families": comma_parts(evidence), "level": level, "unit": unit_of(unit),
        "strata": tuple(strata or ()),
        "length_bins": length_bins, "periods": periods, "alpha": alpha, "method": method,
        "min_support": min_support, "examples": examples,
    }  # fmt: skip
    with FeatureIndex.open(index, url=url) as opened:
        ordered = None if order is None else comma_parts(order)
        found = opened.drift(over, where=where, field=field, order=ordered, **options)
    deliver(found, as_json, table, plot, report, f"What drifts over {over}?")
