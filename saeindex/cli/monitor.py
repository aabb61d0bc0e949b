"""``saeindex monitor``: changes in a window of records against a reference."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from saeindex.cli.delivery import Plot, Report, Table, deliver, ending
from saeindex.cli.diff import Bins, Field, Level, Method, Strata, Unit, comma_parts, unit_of
from saeindex.cli.drift import BOTH, Evidence, Examples, Index, MinSupport
from saeindex.cli.output import Json, Url, print_json, say
from saeindex.errors import InvalidInputError


def monitor(  # noqa: PLR0913, PLR0917  (one per option of a monitor)
    index: Index,
    window: Annotated[
        str | None, typer.Option(help="Condition of the records to check: 'metadata.year >= 2015'.")
    ] = None,
    reference: Annotated[str | None, typer.Option(help="Condition of the records to compare with.")] = None,
    baseline: Annotated[
        Path | None, typer.Option(help="Compare with these saved counts instead of --reference.")
    ] = None,
    save_baseline: Annotated[
        Path | None,
        typer.Option(callback=ending("baseline"), help="Save the counts of --reference to a file (.json)."),
    ] = None,
    looks: Annotated[int, typer.Option(help="Number of windows that share --alpha.")] = 1,
    min_effect: Annotated[float, typer.Option(help="Minimum change of a share.")] = 0.02,
    min_odds_ratio: Annotated[float, typer.Option(help="Minimum odds ratio.")] = 1.5,
    unit: Unit = "auto",
    strata: Strata = None,
    length_bins: Bins = None,
    evidence: Evidence = BOTH,
    level: Level = "typical",
    alpha: Annotated[float, typer.Option(help="Rate of false alerts over all looks.")] = 0.05,
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
    """Compare a window of records with a reference. Exits with 0 if unchanged, 1 with an alert."""
    from saeindex.index import FeatureIndex

    if (reference is None) == (baseline is None) or (window is None and save_baseline is None):
        found = "two references" if reference and baseline else "no reference or no window"
        raise InvalidInputError("monitor", found, "Give --window, and --reference or --baseline.")
    options: dict[str, Any] = {
        "families": comma_parts(evidence), "level": level, "unit": unit_of(unit),
        "strata": tuple(strata or ()),
        "length_bins": length_bins, "alpha": alpha, "method": method,
        "min_support": min_support, "examples": examples, "looks": looks,
        "min_effect": min_effect, "min_odds_ratio": min_odds_ratio,
    }  # fmt: skip
    with FeatureIndex.open(index, url=url) as opened:
        if save_baseline is not None and reference is not None:
            opened.baseline(reference, field=field, level=options["level"], unit=options["unit"]).save(
                save_baseline
            )
        if window is None:
            print_json({"written": [str(save_baseline)]}) if as_json else say(f"wrote {save_baseline}")
            return
        against: Any = baseline or reference
        alert = opened.monitor(against, window, field=field, **options)
    deliver(alert, as_json, table, plot, report, "What has changed?", fails_empty=False)
    if len(alert):
        raise typer.Exit(1)
