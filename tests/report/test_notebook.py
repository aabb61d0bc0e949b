"""Results in a notebook: short tables, escaped, with no script."""

from __future__ import annotations

from dataclasses import replace

import pytest

from saeindex.report.html import notebook_html
from saeindex.report.model import NOTEBOOK_ROWS, describe
from tests.report.html_page import Page
from tests.report.sample_results import EVIL, diff, empty_results, finding, results

RESULTS = results()


@pytest.mark.parametrize("kind", RESULTS)
def test_a_result_is_shown_as_tables_without_script(kind: str) -> None:
    page = Page(notebook_html(describe(RESULTS[kind])))
    assert page.tags["table"] >= 1 and page.tags["script"] == page.tags["img"] == 0
    assert EVIL in page.text and not page.loads and not page.handlers


@pytest.mark.parametrize("kind", RESULTS)
def test_notebooks_display_a_result_without_a_call(kind: str) -> None:
    assert RESULTS[kind]._repr_html_() == notebook_html(describe(RESULTS[kind]))


@pytest.mark.parametrize("kind", empty_results())
def test_an_empty_result_is_displayed(kind: str) -> None:
    page = Page(notebook_html(describe(empty_results()[kind])))
    assert page.tags["table"] == 0 and page.tags["p"] >= 1


def test_only_the_first_findings_are_displayed_with_notes_below() -> None:
    groups = ("old", "new")
    many = tuple(finding(place, f"label{place}", groups) for place in range(30))
    page = Page(notebook_html(describe(replace(diff(groups), findings={"concepts": many}))))
    assert page.tags["tr"] == NOTEBOOK_ROWS + 1 and f"the first {NOTEBOOK_ROWS} of 30" in page.text
    assert "#0 label0" in page.text and "#9 label9" not in page.text
    assert "Two & more authors wrote both." in page.text
