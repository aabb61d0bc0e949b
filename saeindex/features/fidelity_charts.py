"""A fidelity report as one HTML page with charts: it needs no network and no other file."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saeindex.features.fidelity_report import figures, verdict
from saeindex.files import replacing
from saeindex.report.charts import BLUE, GREEN, GREY, INK, ORANGE, Chart, alt, colour_scale, inline, page_of
from saeindex.report.model import table
from saeindex.report.numbers import Number

if TYPE_CHECKING:
    from saeindex.features.fidelity import FidelityReport

WIDTH, HEIGHT = 560, 240


def write_page(report: FidelityReport, path: str | Path) -> Path:
    """Write the page under a temporary name, then rename it over ``path``."""
    target = Path(path)
    with replacing(target) as draft:
        draft.write_text(page_html(report), encoding="utf-8")
    return target


def page_html(report: FidelityReport) -> str:
    """Return the page: a verdict, what was measured, the figures, and interactive charts."""
    what = (
        f"{report.n_features:,} features, at most {report.k} active, on {report.records:,} records. "
        f"Fingerprint {report.fingerprint[:12]}."
    )
    columns = {"figure": "name", "value": lambda one: Number(one.value), "what it is": "meaning"}
    measured = table("Figures", figures(report), columns, shown=len(figures(report)))
    charts = [_error(report), _density(report), _retained(report), _by_k(report)]
    if report.stability:
        charts.append(_stability(report))
    return page_of(charts, f"Fidelity of {report.space}", verdict(report), [what, measured])


def _error(report: FidelityReport) -> Chart:
    rows = [
        {"low": low, "high": high, "records": count}
        for (low, high), count in zip(pairwise(report.error_edges), report.error_counts, strict=True)
    ]
    bars = _histogram(
        rows, "error", "records", BLUE, [alt.Tooltip("low:Q", format=".3f", title="error from")]
    )
    mean = (
        alt.Chart(inline([{"nmse": report.nmse}])).mark_rule(color=ORANGE, strokeWidth=2).encode(x="nmse:Q")
    )
    caption = "Squared, over the mean variance. The line is the mean; the last bar holds all beyond."
    return Chart("Error of each record", caption, alt.layer(bars, mean))


def _density(report: FidelityReport) -> Chart:
    rows = [
        {"low": 10**low, "high": 10**high, "features": count}
        for (low, high), count in zip(pairwise(report.density.edges), report.density.counts, strict=True)
    ]
    title = f"share of records; {report.density.never:,} features in none"
    tooltip = [
        alt.Tooltip("low:Q", format=".2%", title="active in, from"),
        alt.Tooltip("high:Q", format=".2%"),
    ]
    bars = _histogram(rows, title, "features", GREEN, tooltip, alt.Scale(type="log", nice=False))
    return Chart("Density of the features", "In what share of the records each feature is active.", bars)


def _histogram(
    rows: Sequence[dict[str, Any]], x: str, y: str, colour: str, tooltip: Sequence[Any], scale: Any = None
) -> Any:
    return (
        alt.Chart(inline(rows), width=WIDTH, height=HEIGHT)
        .mark_rect(color=colour, stroke="white", strokeWidth=0.5)
        .encode(
            x=alt.X("low:Q", title=x, **({} if scale is None else {"scale": scale})),
            x2="high:Q",
            y=alt.Y(f"{y}:Q", title=y),
            y2=alt.datum(0),
            tooltip=[*tooltip, alt.Tooltip(f"{y}:Q", format=",")],
        )
    )


def _retained(report: FidelityReport) -> Chart:
    measured = {
        "both reconstructed": [report.overlap, report.ndcg_retained],
        "dense queries": [report.overlap_dense_queries, report.ndcg_retained_dense_queries],
    }
    bars = _grouped(["top-10 overlap", "nDCG@10 retained"], measured, "share")
    return Chart("What stays of a search", "1 is what the embeddings themselves find.", bars)


def _by_k(report: FidelityReport) -> Chart:
    measured = {
        "as indexed": [each.nmse for each in report.nmse_by_k],
        "not refined": [each.nmse_unrefined for each in report.nmse_by_k],
    }
    bars = _grouped([f"k = {each.k}" for each in report.nmse_by_k], measured, "NMSE")
    return Chart("Error by active features", "Only the k strongest features of each record.", bars)


def _grouped(names: Sequence[str], measured: dict[str, list[float]], y: str) -> Any:
    """Return grouped bars: a group for each name, a bar for each measure."""
    kinds = list(measured)
    rows = [
        {"name": name, "kind": kind, "value": value}
        for kind, values in measured.items()
        for name, value in zip(names, values, strict=True)
    ]
    colours = alt.Scale(domain=kinds, range=[BLUE, GREY])
    base = alt.Chart(inline(rows), width=WIDTH, height=HEIGHT).encode(
        x=alt.X("name:N", sort=list(names), title=None, axis=alt.Axis(labelAngle=0)),
        xOffset=alt.XOffset("kind:N", sort=kinds),
        y=alt.Y("value:Q", title=y),
        tooltip=["name:N", "kind:N", alt.Tooltip("value:Q", format=".3f")],
    )
    bars = base.mark_bar().encode(
        color=alt.Color("kind:N", scale=colours, legend=alt.Legend(title=None, orient="top"))
    )
    return alt.layer(
        bars, base.mark_text(dy=-6, color=INK, fontSize=10).encode(text=alt.Text("value:Q", format=".3f"))
    )


def _stability(report: FidelityReport) -> Chart:
    rows = [
        {"colour": each.against, "features": f"{level.features:,}", "share": level.matched}
        for each in report.stability
        for level in each.levels
    ]
    sizes = list(dict.fromkeys(row["features"] for row in rows))
    lines = (
        alt.Chart(inline(rows), width=WIDTH, height=HEIGHT)
        .mark_line(point=True)
        .encode(
            x=alt.X("features:O", sort=sizes, title="first features", axis=alt.Axis(labelAngle=0)),
            y=alt.Y("share:Q", title="share found again", scale=alt.Scale(domain=[0, 1.05])),
            color=colour_scale([each.against for each in report.stability]),
            tooltip=["colour:N", "features:O", alt.Tooltip("share:Q", format=".3f")],
        )
    )
    caption = "Share of the first features that the other space has too, one to one above a cosine of .7."
    return Chart("Stability", caption, lines)
