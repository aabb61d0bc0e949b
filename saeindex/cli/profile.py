"""``saeindex profile``: the profile of a set of records."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from saeindex.cli.delivery import Plot, Report, Table, deliver
from saeindex.cli.diff import Alpha, Field, Level, Unit, unit_of
from saeindex.cli.drift import Index, Where
from saeindex.cli.output import Json, Url


def profile(
    index: Index,
    where: Where = None,
    record: Annotated[
        list[str] | None, typer.Option(help="Id of a record of the set, in place of --where. Repeatable.")
    ] = None,
    shown: Annotated[int, typer.Option(min=1, help="Records to show of each kind.")] = 5,
    unit: Unit = "auto",
    level: Level = "typical",
    alpha: Alpha = 0.05,
    field: Field = "",
    table: Table = None,
    plot: Plot = None,
    report: Report = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Show the distinctive concepts, words and themes of a set, and its central and odd records."""
    from saeindex.index import FeatureIndex

    options: dict[str, Any] = {"unit": unit_of(unit), "level": level, "alpha": alpha}
    with FeatureIndex.open(index, url=url) as opened:
        found = opened.profile(where, ids=record or None, field=field, shown=shown, **options)
    deliver(found, as_json, table, plot, report, f"What is distinctive of {where or 'this set'}?")
