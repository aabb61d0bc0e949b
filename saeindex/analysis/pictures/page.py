"""Pictures as a page that answers to the pointer, and takes nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from html import escape

from saeindex._version import __version__
from saeindex.report.charts import Picture, framed

STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1f2933; background: #fff; margin: 0; }
main { max-width: 62rem; margin: 0 auto; padding: 1.5rem 1.25rem 3rem; }
h1 { font-size: 1.5rem; margin: 0; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .2rem; }
p { color: #52606d; margin: 0 0 .8rem; max-width: 46rem; }
.chart { overflow-x: auto; }
footer { color: #616e7c; font-size: .85rem; margin-top: 2.5rem; }
#vg-tooltip-element { font: 13px/1.4 system-ui, sans-serif; max-width: 26rem; }
"""
# Draws every chart of the page; what has no chart here is not drawn.
DRAW = """
for (const part of document.querySelectorAll("script[type='application/json']")) {
  const target = document.getElementById(part.dataset.target);
  vegaEmbed(target, JSON.parse(part.textContent), {renderer: "svg", actions: false});
}
"""


def page_of(pictures: Sequence[Picture], kind: str) -> str:
    """Return a page with all charts and the program that draws them.

    Only that program may run on it (by its hash), whatever stands in labels and texts; nothing is loaded.
    """
    import vl_convert

    script = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;") + DRAW
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; script-src 'sha256-{digest}' 'unsafe-eval'; "
        "style-src 'unsafe-inline'; img-src data:"
    )
    sections = "".join(_section(picture, place) for place, picture in enumerate(pictures))
    nothing = "" if pictures else "<p>Nothing was found, so there is nothing to draw.</p>"
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(kind)}</title><style>{STYLE}</style></head>\n"
        f"<body><main><h1>{escape(kind)}</h1>{nothing}{sections}"
        f"<footer>Drawn by saeindex {escape(__version__)}.</footer></main>\n"
        f"<script>{script}</script></body></html>\n"
    )


def _section(picture: Picture, place: int) -> str:
    spec = json.dumps(framed(picture.chart).to_dict(), ensure_ascii=False, allow_nan=False)
    # Inside a script nothing is escaped but this: no text may end the element.
    safe = spec.replace("<", "\\u003c")
    return (
        f"<section><h2>{escape(picture.title)}</h2><p>{escape(picture.caption)}</p>"
        f'<div class="chart" id="chart{place}" role="figure" aria-label="{escape(picture.caption)}"></div>'
        f'<script type="application/json" data-target="chart{place}">{safe}</script></section>\n'
    )
