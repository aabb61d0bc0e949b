"""``saeindex sae calibrate``: the levels of an index, measured on its own corpus."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from saeindex.cli.output import Json, Url, print_json, say

if TYPE_CHECKING:
    from saeindex.index import FeatureIndex
    from saeindex.indexing.recalibration import RecalibrationReport


def calibrate(
    index: Annotated[str, typer.Argument(help="The index.")],
    space: Annotated[
        str | None, typer.Option(help="Space of a collection on a server. Default: the space of this name.")
    ] = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Measure the levels (typical, strong) on the index's own records and rewrite them in place.

    No text is encoded again. If it is interrupted, run the same command again to finish it.
    """
    from saeindex.index import FeatureIndex

    with FeatureIndex.open(index, url=url, space=space, resume=True) as opened:
        report = opened.recalibrate(progress=True)
        described = _described(opened, report)
    if as_json:
        print_json(described)
        return
    say(f"{index}: {report.changed:,} of {report.points:,} points have new levels")
    say(f"  before  {report.before.summary()}")
    say(f"  now     {report.after.summary()}")
    say(f"  space   {described['space']} ({report.fingerprint[:12]})")


def _described(index: FeatureIndex, report: RecalibrationReport) -> dict[str, Any]:
    return {
        "index": index.name,
        "space": index.space.name,
        "fingerprint": report.fingerprint,
        "points": report.points,
        "changed": report.changed,
        "before": report.before.to_json(),
        "after": report.after.to_json(),
    }
