"""``saeindex upgrade``: move an index to another feature space, and what refers to its features."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from saeindex.cli.output import Json, Url, console, print_json, say
from saeindex.config import DEFAULT_SPACE
from saeindex.errors import MismatchError
from saeindex.report.numbers import counted

if TYPE_CHECKING:
    from saeindex.index import FeatureIndex
    from saeindex.indexing.upgrade import UpgradeReport

SHOWN = 10


def upgrade(
    index: Annotated[str, typer.Argument(help="The index.")],
    space: Annotated[
        str | None, typer.Option(help="The new feature space.", show_default=DEFAULT_SPACE)
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")] = False,
    undo: Annotated[
        bool, typer.Option("--undo", help="Go back to the space before, if no record changed since.")
    ] = False,
    query: Annotated[
        str | None, typer.Option(help="Print this query of before the upgrade with the new feature numbers.")
    ] = None,
    baseline: Annotated[
        Path | None,
        typer.Option(help="Rewrite this monitor's baseline of before the upgrade; FILE.former keeps it."),
    ] = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Move an index to another feature space of its encoder, from its stored vectors.

    No text is encoded again. If it is interrupted, run the same command again: it only finishes what was
    begun.
    """
    from saeindex.index import FeatureIndex

    is_read = dry_run or query is not None or baseline is not None
    with FeatureIndex.open(index, url=url, resume=not is_read) as opened:
        if query is not None:
            _print_query(opened, query, as_json)
        elif baseline is not None:
            _rewrite_baseline(opened, baseline, as_json)
        elif opened.finished_upgrade is not None:
            _check_asked(index, opened.finished_upgrade, space, undo)
            _print_report(index, opened.finished_upgrade, as_json, is_resumed=True)
        elif undo:
            _print_report(index, opened.undo_upgrade(progress=True), as_json)
        else:
            report = opened.upgrade(space or DEFAULT_SPACE, dry_run=dry_run, progress=True)
            _print_report(index, report, as_json)


def _print_report(index: str, report: UpgradeReport, as_json: bool, is_resumed: bool = False) -> None:
    if as_json:
        space = report.before if report.is_dry_run else report.after
        print_json({"index": index, "space": space, **report.to_json(), "resumed": is_resumed})
        return
    of_points = counted(report.points, "point")
    if is_resumed:
        say(f"{index}: the interrupted upgrade is finished, and nothing else was done")
    if report.is_undo:
        say(f"{index}: back to {report.after}")
        _print_lost(report)
        return
    if not report.is_dry_run:
        changed = "all" if is_resumed else f"{report.changed:,}"
        say(f"{index}: {changed} of {of_points} have concepts of {report.after} now")
    elif report.before == report.after and not report.lost:
        say(f"{index}: it has the concepts of {report.after} already")
        return
    else:
        say(f"{index}: {report.before} → {report.after}, {of_points}; nothing is written")
    say(f"  {counted(report.matched, 'feature')} have a counterpart, {report.lost:,} have none")
    table = Table("Concept before", "Points", "Concept after", box=None)
    for label, points, new in report.concepts:
        table.add_row(label, f"{points:,}", new or "–")
    console().print(table)
    _print_lost(report)


def _print_lost(report: UpgradeReport) -> None:
    for name, (mapped, lost) in report.profiles.items():
        moved = ", ".join(f"#{old} → #{new}" for old, new in mapped.items()) or "none"
        gone = ", ".join(f"#{old} {label}" for old, label in lost.items())
        if report.is_undo:
            say(f"  profile {name}: edits made after the upgrade, lost: {gone}")
        else:
            say(f"  profile {name}: edits moved: {moved}{'; lost: ' + gone if gone else ''}")
    if report.lost_labels:
        what = "after the upgrade, lost" if report.is_undo else "without a counterpart"
        say(f"  labels given by hand {what}: {', '.join(report.lost_labels)}")


def _check_asked(index: str, done: UpgradeReport, space: str | None, undo: bool) -> None:
    """Raise MismatchError if another upgrade was asked for than the one that is finished now."""
    from saeindex.features import FeatureSpace

    if undo:
        is_other, do = not done.is_undo, f"saeindex upgrade {index} --undo"
    else:
        is_other = space is not None and (done.is_undo or FeatureSpace.load(space).name != done.after)
        do = f"saeindex upgrade {index} --space {space}"
    if is_other:
        raise MismatchError(
            f"upgrade index {index}",
            f"it had been interrupted on the way from {done.before} to {done.after}; that is finished now",
            f"Run it once more: `{do}`.",
        )


def _print_query(index: FeatureIndex, query: str, as_json: bool) -> None:
    translated, gone = index.upgraded_query(query)
    if as_json:
        print_json({"query": translated, "gone": list(gone)})
        return
    say(translated)
    if gone:
        named = ", ".join(each if isinstance(each, str) else f"#{each}" for each in gone)
        say(f"No counterpart, left as before: {named}", is_error=True)


def _rewrite_baseline(index: FeatureIndex, path: Path, as_json: bool) -> None:
    from saeindex.analysis.monitor.baseline import Baseline

    upgraded, lost = index.upgraded_baseline(Baseline.load(path))
    shutil.copyfile(path, f"{path}.former")
    upgraded.save(path)
    if as_json:
        print_json({"written": [str(path), f"{path}.former"], "lost": lost})
        return
    say(f"wrote {path}; {path}.former is what it was")
    if lost:
        more = "" if len(lost) <= SHOWN else f" and {len(lost) - SHOWN:,} more"
        say(f"  concepts without a counterpart, left out: {', '.join(lost[:SHOWN])}{more}")
