"""``saeindex profile``: what a set of records is like."""

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
    record: Annotated[list[str] | None, typer.Option(help="A record (id) of the set, instead.")] = None,
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
    """Tell what is distinctive of a set: concepts, words, themes; its central, borderline and odd records."""
    from saeindex.index import FeatureIndex

    options: dict[str, Any] = {"unit": unit_of(unit), "level": level, "alpha": alpha}
    with FeatureIndex.open(index, url=url) as opened:
        found = opened.profile(where, ids=record or None, field=field, shown=shown, **options)
    deliver(found, as_json, table, plot, report, f"What is {where or 'this set'} like?")
