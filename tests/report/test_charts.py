"""Charts: one file without external resources, labels as text, and labels that do not overlap."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from saeindex.analysis.cluster.report import neighbour_layout
from saeindex.errors import InvalidInputError
from saeindex.report.charts import (
    charts_of,
    save_charts,
    unique_labels,
)
from tests.report.html_page import Page
from tests.report.sample_results import EVIL, clustering, diff, drift, empty_results, results

RESULTS = results()
N_CHARTS = {
    "diff": 3,
    "correlations": 1,
    "triggers": 1,
    "clustering": 1,
    "drift": 1,
    "profile": 1,
    "alert": 1,
    "evaluation": 1,
}


def size_of(path: Path) -> tuple[int, int]:
    head = path.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n" and head[12:16] == b"IHDR"
    wide, high = struct.unpack(">II", head[16:24])
    return wide, high


def cells(spec: Any) -> list[Any]:
    return [cell for rows in spec.get("datasets", {}).values() for row in rows for cell in row.values()]


@pytest.mark.parametrize("kind", RESULTS)
def test_a_page_loads_nothing_and_labels_stay_text(kind: str, tmp_path: Path) -> None:
    page = Page(save_charts(RESULTS[kind], tmp_path / "found.html").read_text(encoding="utf-8"))
    assert not page.loads and not page.handlers
    assert page.tags["script"] == N_CHARTS[kind] + 1 and page.tags["link"] == 0
    specs = [json.loads(script) for script in page.scripts[:-1]]
    texts = [cell for spec in specs for cell in cells(spec) if isinstance(cell, str)]
    assert any(EVIL in cell for cell in texts)
    assert not any("url" in json.dumps(spec.get("data", {})) for spec in specs)


def test_only_the_script_of_the_page_may_run(tmp_path: Path) -> None:
    import base64
    import hashlib

    html = save_charts(diff(), tmp_path / "found.html").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(Page(html).scripts[-1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}' 'unsafe-eval'" in unescape(html)
    assert "default-src 'none'" in unescape(html)


@pytest.mark.parametrize("kind", RESULTS)
def test_an_image_has_all_charts_in_one_column(kind: str, tmp_path: Path) -> None:
    wide, high = size_of(save_charts(RESULTS[kind], tmp_path / "found.PNG"))
    parts = [ElementTree.fromstring(chart.svg()) for chart in charts_of(RESULTS[kind])]
    assert len(parts) == N_CHARTS[kind]
    assert wide >= 2 * max(float(part.get("width", 0)) for part in parts)
    assert high >= 2 * sum(float(part.get("height", 0)) for part in parts)


@pytest.mark.parametrize("kind", empty_results())
@pytest.mark.parametrize("suffix", [".html", ".png"])
def test_an_empty_result_has_a_message(kind: str, suffix: str, tmp_path: Path) -> None:
    written = save_charts(empty_results()[kind], tmp_path / f"none{suffix}")
    if suffix == ".html":
        assert "Nothing was found" in Page(written.read_text(encoding="utf-8")).text
    else:
        assert min(size_of(written)) > 100


@pytest.mark.parametrize("name", ["found.pdf", "found"])
def test_an_unknown_file_suffix_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"\.html or \.png"):
        save_charts(diff(), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_every_finding_is_plotted_with_its_interval_and_both_groups() -> None:
    volcano, forest, words = charts_of(diff(("old", "new")))
    drawn = " ".join(ElementTree.fromstring(forest.svg()).itertext())
    assert all(label in drawn for label in ("#0 <script>", "#1 rain", "more in old", "more in new"))
    assert "“storm”" in " ".join(ElementTree.fromstring(words.svg()).itertext())
    spots = [cell for cell in cells(volcano.chart.to_dict()) if isinstance(cell, str)]
    assert any("drizzle" in cell for cell in spots)


def test_values_that_are_not_finite_are_left_out_of_a_chart() -> None:
    found = diff()
    first = found.findings["concepts"][0]
    broken = replace(first, q=0.0, ci=(float("-inf"), float("inf")))
    chart = charts_of(replace(found, findings={"concepts": (broken,)}))[1]
    json.dumps(chart.chart.to_dict(), allow_nan=False)
    assert "script" in chart.svg()


def test_each_period_is_a_point_of_each_panel() -> None:
    (chart,) = charts_of(drift())
    (rows,) = chart.chart.to_dict()["datasets"].values()
    assert [row["share"] for row in rows if "script" in row["label"]] == [0.1, 0.2, 0.3]
    assert [row["period"] for row in rows if row["starts"]] == ["1990"]


def test_a_clustering_without_embeddings_has_no_map() -> None:
    assert not charts_of(replace(clustering(), vectors=None))


def test_the_map_keeps_neighbours_together() -> None:
    found = clustering(80)
    assert found.vectors is not None
    positions = neighbour_layout(found.vectors)
    squared_distances = ((positions[:, None] - positions) ** 2).sum(-1)
    np.fill_diagonal(squared_distances, np.inf)
    assert (found.codes[squared_distances.argmin(1)] == found.codes).mean() > 0.95


def test_duplicate_labels_become_unique() -> None:
    assert unique_labels(["rain", "sun", "rain"]) == ["rain", "sun", "rain (2)"]


def test_importing_loads_no_plotting_library() -> None:
    code = (
        "import sys, saeindex\n"
        "from saeindex.report import charts, html, text\n"
        "print([one for one in ('altair', 'vl_convert', 'jinja2', 'sklearn.manifold') if one in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
