"""Reports: one page without scripts, with the findings, their records, methods and certainty."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from saeindex._version import __version__
from saeindex.errors import InvalidInputError
from saeindex.report.html import highlighted
from saeindex.report.model import Example
from saeindex.report.numbers import chance, counted, interval, number, percent, ratio
from saeindex.report.result import AnalysisResult
from tests.report.html_page import Page
from tests.report.sample_results import EVIL, clustering, diff, empty_results, finding, results

RESULTS = results()


def page_of(result: AnalysisResult, folder: Path, question: str = "") -> Page:
    return Page(result.write_report(folder / "out.html", question).read_text(encoding="utf-8"))


@pytest.mark.parametrize("kind", RESULTS)
def test_a_report_has_no_scripts_or_external_resources_and_labels_stay_text(
    kind: str, tmp_path: Path
) -> None:
    page = page_of(RESULTS[kind], tmp_path, f"Why {EVIL}?")
    assert not page.loads and not page.handlers
    assert page.tags["script"] == page.tags["link"] == page.tags["iframe"] == 0
    assert f"Why {EVIL}?" in page.text and page.tags["h1"] == page.tags["title"] == 1
    assert page.text.count(EVIL) > 2
    assert all(title in page.text for title in ("Method", "Limits", "How this was made"))
    assert f"saeindex {__version__}" in page.text


@pytest.mark.parametrize("kind", RESULTS)
def test_every_chart_is_an_image_in_the_page_with_a_text_alternative(kind: str, tmp_path: Path) -> None:
    page = page_of(RESULTS[kind], tmp_path)
    assert page.images and page.tags["figure"] == len(page.images)
    for image in page.images:
        assert len(image["alt"] or "") > 30
        drawn = base64.b64decode((image["src"] or "").removeprefix("data:image/svg+xml;base64,"))
        assert ElementTree.fromstring(drawn).tag.endswith("svg")


@pytest.mark.parametrize("kind", empty_results())
def test_a_report_of_an_empty_result_is_complete(kind: str, tmp_path: Path) -> None:
    page = page_of(empty_results()[kind], tmp_path)
    assert not page.images and "Limits" in page.text


def test_a_report_of_a_comparison_has_its_numbers(tmp_path: Path) -> None:
    page = page_of(diff(("old", "new")), tmp_path, "What changed?")
    for expected in (
        "#1 rain", "drizzle", "“storm”", "55.0 %", "+30.0", "+25.0 to +35.0", "0.010", "Mid-p test",
        "length (5 bins)", "metadata.author", "3 of these are confirmed in the other half", "snow", "hail",
        "have no error rate", "Two & more authors wrote both.", "never",
    ):  # fmt: skip
        assert expected in page.text, expected


def test_records_of_both_groups_are_shown_with_words_marked(tmp_path: Path) -> None:
    page = page_of(diff(("old", "new")), tmp_path)
    assert "A <i>storm</i> & a Storm." in page.text and "doc-<b>1</b>" in page.text
    assert page.tags["i"] == 0 and page.tags["mark"] == 2 * page.tags["blockquote"]
    assert "In old" in page.text and "No record." in page.text


def test_only_whole_words_are_marked() -> None:
    assert highlighted(Example("1", "Storm, stormy <storm>", (), ("storm",))) == (
        "<mark>Storm</mark>, stormy &lt;<mark>storm</mark>&gt;"
    )
    assert highlighted(Example("1", "a+b", ())) == "a+b"


def test_many_findings_are_collapsed_and_none_is_lost(tmp_path: Path) -> None:
    groups = ("old", "new")
    many = tuple(finding(place, f"label{place}", groups) for place in range(45))
    page = page_of(replace(diff(groups), findings={"concepts": many}), tmp_path)
    assert all(f"#{place} label{place}" in page.text for place in range(45))
    assert "25 more" in page.text


def test_each_of_several_groups_is_reported_against_the_next(tmp_path: Path) -> None:
    found = diff(("old", "new"))
    page = page_of(replace(found, groups={"old": 9, "new": 9, "third": 9}, power=()), tmp_path)
    assert "between old, new and third" in page.text and "(new)" in page.text


def test_a_failed_clustering_has_a_warning(tmp_path: Path) -> None:
    assert "Do not use these clusters" in page_of(clustering(expressible=False), tmp_path).text
    assert "Do not use these clusters" not in page_of(clustering(), tmp_path).text


def test_an_unknown_file_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"Use \.html"):
        diff().write_report(tmp_path / "out.pdf")


def test_numbers_are_formatted() -> None:
    assert [percent(0.1234), interval(-0.05, 0.123), chance(1e-9), chance(0.0123)] == [
        "12.3 %", "−5.0 to +12.3", "< 0.001", "0.012"
    ]  # fmt: skip
    assert [ratio(x) for x in (0.0, 3.0, -1.5, -4.0, 99.0, -99.0)] == [
        "1.0", "20", "0.22", "0.018", "over 1,000", "under 0.001"
    ]  # fmt: skip
    assert [number(1234.5, 0), number(-0.5), number(float("nan"))] == ["1,234", "−0.50", "–"]
    assert [counted(1, "finding"), counted(2000, "finding")] == ["1 finding", "2,000 findings"]
