"""``saeindex drift`` and ``saeindex monitor``: what changes over time."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from saeindex.cli.delivery import Delivery, ending
from saeindex.cli.options import asks
from saeindex.cli.output import Index, print_json, say
from saeindex.errors import InvalidInputError
from saeindex.operations.differences import DriftOver, Monitor


@asks(DriftOver)
def drift(
    index: Index,
    options: dict[str, Any],
    delivery: Delivery,
) -> None:
    """Test which concepts and words drift over an ordered field. Exits with 1 if none does."""
    from saeindex.index import FeatureIndex

    with FeatureIndex.open(index, url=delivery.url) as opened:
        found = opened.drift(**options)
    delivery.deliver(found, f"What drifts over {options['over']}?")


@asks(Monitor, without=("reference", "window"))
def monitor(
    index: Index,
    options: dict[str, Any],
    delivery: Delivery,
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
) -> None:
    """Compare a window of records with a reference. Exits with 0 if unchanged, 1 with an alert."""
    from saeindex.index import FeatureIndex

    if (reference is None) == (baseline is None) or (window is None and save_baseline is None):
        found = "two references" if reference and baseline else "no reference or no window"
        raise InvalidInputError("monitor", found, "Give --window, and --reference or --baseline.")
    with FeatureIndex.open(index, url=delivery.url) as opened:
        if save_baseline is not None and reference is not None:
            kept = {name: one for name, one in options.items() if name in ("field", "level", "unit")}
            opened.baseline(reference, **kept).save(save_baseline)
        if window is None:
            written = str(save_baseline)
            print_json({"written": [written]}) if delivery.as_json else say(f"wrote {written}")
            return
        against: Any = baseline or reference
        alert = opened.monitor(against, window, **options)
    delivery.deliver(alert, "What has changed?", fails_empty=False)
    if len(alert):
        raise typer.Exit(1)
