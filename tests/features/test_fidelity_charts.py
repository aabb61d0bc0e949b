"""The page of a fidelity report: complete, offline, and safe against hostile text."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from saeindex.features import fidelity_charts as fidelity_page
from saeindex.features.fidelity import ErrorAtK, FidelityReport, SpaceStability
from saeindex.features.fidelity_charts import page_html, write_page
from saeindex.features.fidelity_report import figures, verdict
from saeindex.sae.metrics import DensityHistogram, SeedStability

STABILITY = SpaceStability(
    "another", (SeedStability(256, 0.8, 0.7, 0.75), SeedStability(2_048, 0.5, 0.4, 0.6))
)
REPORT = FidelityReport(
    space="my-space",
    fingerprint="ab" * 32,
    n_features=2_048,
    k=32,
    records=60_000,
    mean_of="the calibration corpus",
    nmse=0.19,
    nmse_unrefined=0.22,
    cosine=0.9,
    cosine_p5=0.8,
    active=31.5,
    dead_share=0.02,
    density=DensityHistogram((-2.0, -1.0, 0.0), (1_900, 100), 48),
    error_edges=(0.0, 0.2, 0.4),
    error_counts=(40_000, 20_000),
    compared=5_000,
    nmse_by_k=(ErrorAtK(8, 0.4, 0.45), ErrorAtK(32, 0.19, 0.22)),
    overlap=0.73,
    overlap_dense_queries=0.78,
    ndcg_retained=0.97,
    ndcg_retained_dense_queries=0.98,
    ndcg_of="similarities",
    stability=(STABILITY,),
)


class Elements(HTMLParser):
    """Collects tags with their attributes, and the text outside scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if not self.tags or self.tags[-1][0] not in {"script", "style"}:
            self.text += data


@pytest.fixture(scope="module")
def page() -> str:
    return page_html(REPORT)


def test_the_page_has_the_verdict_the_figures_and_the_plots(page: str) -> None:
    text = Elements(page).text
    for sentence in verdict(REPORT):
        assert sentence in text
    for row in figures(REPORT):
        assert row.name in text
        assert row.value in text
        assert row.meaning in text
    chart = '<script type="application/json"'
    assert page.count(chart) >= 5
    without = page_html(replace(REPORT, stability=()))
    assert without.count(chart) == page.count(chart) - 1


def test_the_page_loads_no_external_resources(page: str) -> None:
    for tag, attributes in Elements(page).tags:
        assert tag not in {"link", "img", "iframe", "object", "base"}
        assert not {"src", "href"} & attributes.keys(), tag
    markup = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert "http" not in markup.replace("http-equiv", "")
    assert "vegaEmbed" in page
    own = re.sub(r"<script>.*?</script>", "", page.split("<body>", 1)[1], flags=re.DOTALL)
    assert "cdn" not in own.lower()


@pytest.mark.parametrize(
    "name", ["</script><script>alert(1)</script>", "<img src=x onerror=alert(1)>", "a & b"]
)
def test_names_from_input_stay_text(name: str) -> None:
    plain = [tag for tag, _ in Elements(page_html(REPORT)).tags]
    odd = page_html(replace(REPORT, space=name, stability=(replace(STABILITY, against=name),)))
    found = Elements(odd)
    assert [tag for tag, _ in found.tags] == plain
    assert f"Fidelity of {name}" in found.text
    assert name not in odd


def test_a_page_is_replaced_completely_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "deep" / "page.html"
    assert write_page(REPORT, target) == target
    first = target.read_text()
    assert first.startswith("<!doctype html>")
    assert target.stat().st_mode & 0o777 == 0o644

    def broken(_: FidelityReport) -> str:
        raise RuntimeError("no plots today")

    monkeypatch.setattr(fidelity_page, "page_html", broken)
    with pytest.raises(RuntimeError):
        write_page(REPORT, target)
    assert target.read_text() == first
    assert [path.name for path in target.parent.iterdir()] == ["page.html"]
