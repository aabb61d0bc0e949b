"""A fidelity report as one HTML page with plots: it needs no network and no other file."""

from __future__ import annotations

from html import escape
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saeindex._version import __version__
from saeindex.features.fidelity_report import figures, verdict
from saeindex.files import replacing

if TYPE_CHECKING:
    from saeindex.features.fidelity import FidelityReport

BLUE, GREY, GREEN, AMBER = "#2f6f9f", "#9aa5b1", "#3b8f6b", "#c07f2a"
STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.55 system-ui, sans-serif; color: #1f2933; background: #fff; margin: 0; }
main { max-width: 62rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.7rem; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2.4rem 0 .4rem; }
.what { color: #52606d; margin: 0 0 1.5rem; overflow-wrap: anywhere; }
.verdict { background: #f3f6f9; border-left: 4px solid #2f6f9f; padding: .9rem 1.2rem; }
.verdict p { margin: .35rem 0; }
.verdict p:first-child { font-weight: 600; }
table { border-collapse: collapse; width: 100%; }
td { padding: .35rem .8rem .35rem 0; border-bottom: 1px solid #e4e7eb; vertical-align: top; }
td.value { text-align: right; font-variant-numeric: tabular-nums; font-weight: 600; white-space: nowrap; }
td.name { white-space: nowrap; }
td.meaning { color: #52606d; overflow-wrap: anywhere; }
.plots { display: grid; grid-template-columns: 1fr 1fr; gap: 1rem 1.5rem; }
.plots section { min-width: 0; overflow: hidden; }
.plots p { color: #52606d; font-size: .9rem; margin: 0 0 .3rem; }
footer { color: #7b8794; font-size: .85rem; margin-top: 3rem; }
@media (max-width: 48rem) {
  .plots { grid-template-columns: 1fr; }
  tr { display: grid; grid-template-columns: 1fr auto; border-bottom: 1px solid #e4e7eb; }
  td { border: 0; padding: .2rem 0; }
  td.name { white-space: normal; }
  td.meaning { grid-column: 1 / -1; }
}
"""


def write_page(report: FidelityReport, path: str | Path) -> Path:
    """Write the page under a temporary name, then rename it over ``path``."""
    target = Path(path)
    with replacing(target) as draft:
        draft.write_text(page_html(report), encoding="utf-8")
    return target


def page_html(report: FidelityReport) -> str:
    """Return the page: what was measured, a verdict, the figures, and plots that answer to the pointer."""
    from plotly.offline import get_plotlyjs

    name = escape(report.space)
    what = (
        f"{report.n_features:,} features, at most {report.k} active, on {report.records:,} records. "
        f"Fingerprint {escape(report.fingerprint[:12])}."
    )
    said = "".join(f"<p>{escape(sentence)}</p>" for sentence in verdict(report))
    rows = "".join(
        f'<tr><td class="name">{escape(row.name)}</td><td class="value">{escape(row.value)}</td>'
        f'<td class="meaning">{escape(row.meaning)}</td></tr>'
        for row in figures(report)
    )
    plots = "".join(
        f"<section><h2>{escape(title)}</h2><p>{escape(caption)}</p>{_plot_html(figure)}</section>"
        for title, caption, figure in _plots(report)
    )
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Fidelity of {name}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style><script>{get_plotlyjs()}</script></head>\n"
        f'<body><main><h1>Fidelity of {name}</h1><p class="what">{what}</p>'
        f'<div class="verdict">{said}</div><h2>Figures</h2><table>{rows}</table>'
        f'<div class="plots">{plots}</div>'
        f"<footer>Measured by saeindex {escape(__version__)}.</footer></main></body></html>\n"
    )


def _plots(report: FidelityReport) -> list[tuple[str, str, Any]]:
    """Return (title, caption, figure) of each plot."""
    plots = [
        (
            "Error of each record",
            "Squared, over the mean variance. The line is the mean; the last bar holds all beyond.",
            _error,
        ),
        ("Density of the features", "In what share of the records each feature is active.", _density),
        ("What stays of a search", "1 is what the embeddings themselves find.", _retained),
        ("Error by active features", "Only the k strongest features of each record.", _by_k),
    ]
    found = [(title, caption, draw(report)) for title, caption, draw in plots]
    if report.stability:
        caption = "Share of the first features that the other space has too, one to one above a cosine of .7."
        found.append(("Stability", caption, _stability(report)))
    return found


def _error(report: FidelityReport) -> Any:
    import plotly.graph_objects as go

    edges = report.error_edges
    middles = [(low + high) / 2 for low, high in pairwise(edges)]
    bars = go.Bar(x=middles, y=report.error_counts, width=edges[1] - edges[0], marker_color=BLUE)
    bars.hovertemplate = "error %{x:.3f}: %{y:,} records<extra></extra>"
    figure = _figure([bars], "error", "records")
    figure.add_vline(x=report.nmse, line_color=AMBER, line_width=2)
    return figure


def _density(report: FidelityReport) -> Any:
    import plotly.graph_objects as go

    edges = report.density.edges
    middles = [(low + high) / 2 for low, high in pairwise(edges)]
    ranges = [f"{10**low:.2%} to {10**high:.2%}" for low, high in pairwise(edges)]
    bars = go.Bar(
        x=middles, y=report.density.counts, width=edges[1] - edges[0], customdata=ranges, marker_color=GREEN
    )
    bars.hovertemplate = "active in %{customdata}: %{y:,} features<extra></extra>"
    figure = _figure([bars], f"share of records; {report.density.never:,} features in none", "features")
    decades = list(range(int(edges[0]) - (edges[0] != int(edges[0])), 1))
    figure.update_xaxes(tickvals=decades, ticktext=[f"{10.0**decade:.12g}" for decade in decades])
    return figure


def _retained(report: FidelityReport) -> Any:
    import plotly.graph_objects as go

    names = ["top-10 overlap", "nDCG@10 retained"]
    both, documents = (
        [report.overlap, report.ndcg_retained],
        [report.overlap_dense_queries, report.ndcg_retained_dense_queries],
    )
    bars = [
        go.Bar(name="both reconstructed", x=names, y=both, marker_color=BLUE, texttemplate="%{y:.3f}"),
        go.Bar(name="dense queries", x=names, y=documents, marker_color=GREY, texttemplate="%{y:.3f}"),
    ]
    figure = _figure(bars, "", "")
    figure.update_yaxes(range=[0, max(1.05, *both, *documents)])
    return figure


def _by_k(report: FidelityReport) -> Any:
    import plotly.graph_objects as go

    names = [f"k = {each.k}" for each in report.nmse_by_k]
    refined = [each.nmse for each in report.nmse_by_k]
    plain = [each.nmse_unrefined for each in report.nmse_by_k]
    bars = [
        go.Bar(name="as indexed", x=names, y=refined, marker_color=BLUE, texttemplate="%{y:.3f}"),
        go.Bar(name="not refined", x=names, y=plain, marker_color=GREY, texttemplate="%{y:.3f}"),
    ]
    return _figure(bars, "", "NMSE")


def _stability(report: FidelityReport) -> Any:
    import plotly.graph_objects as go

    lines = []
    for each, color in zip(
        report.stability, [BLUE, GREEN, AMBER, GREY] * len(report.stability), strict=False
    ):
        sizes = [f"{level.features:,}" for level in each.levels]
        shares = [level.matched for level in each.levels]
        # A name from outside must not become markup: plotly reads some HTML in text.
        lines.append(go.Scatter(name=escape(each.against), x=sizes, y=shares, mode="lines+markers"))
        lines[-1].line.color = color
    figure = _figure(lines, "first features", "share found again")
    figure.update_yaxes(range=[0, 1.05])
    figure.update_xaxes(type="category")
    return figure


def _figure(traces: list[Any], x: str, y: str) -> Any:
    import plotly.graph_objects as go

    figure = go.Figure(traces)
    figure.update_layout(
        template="plotly_white",
        height=300,
        margin={"l": 60, "r": 15, "t": 10, "b": 50},
        font={"family": "system-ui, sans-serif", "size": 13, "color": "#1f2933"},
        xaxis_title=x or None,
        yaxis_title=y or None,
        legend={"orientation": "h", "y": 1.15, "x": 0},
        showlegend=len(traces) > 1 or bool(traces[0].name),
        bargap=0.25,
        barmode="group",
    )
    return figure


def _plot_html(figure: Any) -> str:
    from plotly.io import to_html

    config = {"displayModeBar": False, "responsive": True}
    html: str = to_html(figure, include_plotlyjs=False, full_html=False, config=config)
    return html
