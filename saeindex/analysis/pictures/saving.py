"""Pictures of a result as one file: a page that needs no network, or an image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from saeindex.analysis.pictures.stack import stacked
from saeindex.errors import InvalidInputError
from saeindex.files import checked_suffix, replacing
from saeindex.report.charts import Picture, framed, titled

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from saeindex.report.export import Analysed

FORMATS = (".html", ".png")
# Pixels of an image for each pixel of a chart.
SCALE = 2.0


def pictures_of(result: Analysed) -> list[Picture]:
    """Return the pictures of a result, none where it found nothing; InvalidInputError for an unknown kind."""
    drawn = _drawer(result)
    if drawn is None:
        kind = type(result).__name__
        raise InvalidInputError(f"a picture of {kind}", "no way to draw it", "Use its tables.")
    return drawn(result)


def save_picture(result: Analysed, path: str | Path) -> Path:
    """Draw a result to one .html file that works offline, or to one .png, and return its path.

    InvalidInputError where the name ends in anything else.
    """
    target = Path(path)
    suffix = checked_suffix(target, FORMATS, "picture")
    pictures = pictures_of(result)
    with replacing(target) as draft:
        if suffix == ".png":
            draft.write_bytes(png_of(pictures))
        else:
            from saeindex.analysis.pictures.page import page_of

            draft.write_text(page_of(pictures, type(result).__name__), encoding="utf-8")
    return target


def png_of(pictures: Sequence[Picture]) -> bytes:
    """Return all pictures below each other as one PNG."""
    import vl_convert

    charts = [titled(picture) for picture in pictures] or [_nothing()]
    image: bytes = vl_convert.svg_to_png(stacked([_drawn(chart) for chart in charts]), scale=SCALE)
    return image


def svg_of(picture: Picture) -> str:
    """Return a picture as SVG, without title and caption."""
    return _drawn(picture.chart)


def _drawn(chart: Any) -> str:
    import vl_convert

    drawn: str = vl_convert.vegalite_to_svg(framed(chart).to_dict())
    return drawn


def _nothing() -> Any:
    """Return a chart that says that there is none."""
    import altair as alt

    text = alt.Chart(alt.InlineData(values=[{"told": "Nothing was found, so there is nothing to draw."}]))
    return text.mark_text(fontSize=15).encode(text="told:N").properties(width=480, height=80)


def _drawer(result: Analysed) -> Callable[[Any], list[Picture]] | None:
    """Return what draws results of this kind; each kind's module is read when it is drawn."""
    from saeindex.analysis.cluster import charts as cluster
    from saeindex.analysis.correlate import charts as correlate
    from saeindex.analysis.diff import charts as diff
    from saeindex.analysis.drift import charts as drift

    known: dict[str, Callable[[Any], list[Picture]]] = {
        "Diff": diff.pictures_of_diff,
        "Correlations": correlate.pictures_of_correlations,
        "Triggers": correlate.pictures_of_triggers,
        "Clustering": cluster.pictures_of_clustering,
        "Drift": drift.pictures_of_drift,
        "Alert": diff.pictures_of_alert,
        "SetProfile": diff.pictures_of_profile,
    }
    return known.get(type(result).__name__)
