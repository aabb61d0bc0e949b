"""``saeindex drift``, ``saeindex monitor`` and ``saeindex profile``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from saeindex.cli.delivery import Plot, Report, Table, deliver
from saeindex.cli.diff import Alpha, Bins, Field, Level, Method, Strata, Unit, comma_parts, unit_of
from saeindex.cli.output import Json, Url
from saeindex.errors import InvalidInputError

Index = Annotated[str, typer.Argument(help="The index.")]
Where = Annotated[str | None, typer.Option(help="Which records: 'metadata.kind = \"report\"'.")]
Evidence = Annotated[str, typer.Option(help="Families of evidence, with commas: concepts,words,clusters.")]
Least = Annotated[int, typer.Option(help="Records that must have a piece of evidence.")]
Examples = Annotated[int, typer.Option(help="Records that show a finding, from each side.")]
BOTH, ALL = "concepts,words", "concepts,words,clusters"


def drift(  # noqa: PLR0913, PLR0917  (one per option of a drift)
    index: Index,
    over: Annotated[str, typer.Option(help="A field of numbers or ISO dates, or one with an --order.")],
    order: Annotated[
        str | None, typer.Option(help="The field's values from early to late, with commas: 'v1, v2, v3'.")
    ] = None,
    where: Where = None,
    unit: Unit = "auto",
    strata: Strata = None,
    length_bins: Bins = None,
    periods: Annotated[int, typer.Option(help="The largest number of periods.")] = 12,
    evidence: Evidence = ALL,
    level: Level = "typical",
    alpha: Alpha = 0.05,
    method: Method = "bh",
    least: Least = 5,
    examples: Examples = 2,
    field: Field = "",
    table: Table = None,
    plot: Plot = None,
    report: Report = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Test which concepts and words drift over an ordered field; exit 1 where none does."""
    from saeindex.index import FeatureIndex

    options: dict[str, Any] = {
        "families": comma_parts(evidence), "level": level, "unit": unit_of(unit),
        "strata": tuple(strata or ()),
        "length_bins": length_bins, "periods": periods, "alpha": alpha, "method": method, "least": least,
        "examples": examples,
    }  # fmt: skip
    with FeatureIndex.open(index, url=url) as opened:
        ordered = None if order is None else comma_parts(order)
        found = opened.drift(over, where=where, field=field, order=ordered, **options)
    deliver(found, as_json, table, plot, report, f"What drifts over {over}?")


def monitor(  # noqa: PLR0913, PLR0917  (one per option of a monitor)
    index: Index,
    window: Annotated[
        str | None, typer.Option(help="The records to look at: 'metadata.year >= 2015'.")
    ] = None,
    reference: Annotated[str | None, typer.Option(help="The records to compare them with.")] = None,
    baseline: Annotated[
        Path | None, typer.Option(help="Compare with these saved counts instead of --reference.")
    ] = None,
    save_baseline: Annotated[
        Path | None, typer.Option(help="Save the counts of --reference to a file (.json).")
    ] = None,
    looks: Annotated[int, typer.Option(help="How many windows will be compared: they share --alpha.")] = 1,
    least_effect: Annotated[float, typer.Option(help="The least change of a share that counts.")] = 0.02,
    least_odds: Annotated[float, typer.Option(help="The least odds ratio that counts.")] = 1.5,
    unit: Unit = "auto",
    strata: Strata = None,
    length_bins: Bins = None,
    evidence: Evidence = BOTH,
    level: Level = "typical",
    alpha: Annotated[float, typer.Option(help="The rate of false alerts, over all looks.")] = 0.05,
    method: Method = "bh",
    least: Least = 5,
    examples: Examples = 2,
    field: Field = "",
    table: Table = None,
    plot: Plot = None,
    report: Report = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Compare a window of records with a reference; exit 0 without change, 1 with an alert."""
    from saeindex.index import FeatureIndex

    if (reference is None) == (baseline is None) or (window is None and save_baseline is None):
        found = "two references" if reference and baseline else "no reference or no window"
        raise InvalidInputError("monitor", found, "Give --window, and --reference or --baseline.")
    options: dict[str, Any] = {
        "families": comma_parts(evidence), "level": level, "unit": unit_of(unit),
        "strata": tuple(strata or ()),
        "length_bins": length_bins, "alpha": alpha, "method": method, "least": least, "examples": examples,
        "looks": looks, "least_effect": least_effect, "least_odds": least_odds,
    }  # fmt: skip
    with FeatureIndex.open(index, url=url) as opened:
        if save_baseline is not None and reference is not None:
            opened.baseline(reference, field=field, level=options["level"], unit=options["unit"]).save(
                save_baseline
            )
        if window is None:
            return
        alert = opened.monitor(baseline or reference, window, field=field, **options)
    deliver(alert, as_json, table, plot, report, "What has changed?", fails_empty=False)
    if len(alert):
        raise typer.Exit(1)


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
