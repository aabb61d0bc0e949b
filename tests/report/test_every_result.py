"""Every kind of result has a description, which is the same in every rendering."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from saeindex.analysis.diff.results import StratumChange
from saeindex.errors import InvalidInputError
from saeindex.operations.surfaces import OPERATIONS
from saeindex.report.charts import charts_of
from saeindex.report.model import Table, describe
from saeindex.report.result import AnalysisResult
from tests.report.html_page import Page
from tests.report.sample_results import correlations, diff, empty_results, results

RESULTS = results()


def test_every_kind_of_result_has_a_sample() -> None:
    analyses = [kind.returns() for kind in OPERATIONS.values() if kind.is_analysis]
    kinds = {
        kind.__qualname__ for kind in analyses if isinstance(kind, type) and issubclass(kind, AnalysisResult)
    }
    assert {type(result).__qualname__ for result in RESULTS.values()} == kinds


@pytest.mark.parametrize("kind", RESULTS)
def test_all_renderings_have_the_same_summary(kind: str, tmp_path: Path) -> None:
    result, description = RESULTS[kind], describe(RESULTS[kind])
    page = Page(result.write_report(tmp_path / "page.html").read_text(encoding="utf-8")).text
    notebook = Page(result._repr_html_()).text
    for sentence in description.summary:
        assert sentence in str(result)
        assert sentence in page
        assert sentence in notebook
    assert description.question in page


@pytest.mark.parametrize("kind", RESULTS)
def test_the_repr_is_one_line_that_summarises_the_result(kind: str) -> None:
    result = RESULTS[kind]
    assert repr(result) == f"{type(result).__name__}({describe(result).summary[0]!r})"
    assert "\n" not in repr(result)


@pytest.mark.parametrize("kind", RESULTS)
def test_each_result_has_charts_and_tables(kind: str, tmp_path: Path) -> None:
    result = RESULTS[kind]
    assert charts_of(result)
    assert result.write_tables(tmp_path / "found.csv")
    blocks = [block for section in describe(result).sections for block in section.blocks]
    main = [block for block in blocks if isinstance(block, Table) and block.in_notebook]
    assert main
    assert all(block.caption and len(row) == len(block.columns) for block in main for row in block.rows)


@pytest.mark.parametrize("kind", empty_results())
def test_empty_results_have_a_message(kind: str) -> None:
    result = empty_results()[kind]
    assert describe(result).summary[0] in str(result)
    assert not charts_of(result)


def test_an_object_that_is_not_a_result_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="a report of int"):
        describe(5)


def test_the_page_of_a_result_has_its_question_as_title_and_heading(tmp_path: Path) -> None:
    result = RESULTS["diff"]
    assert result.write_report(tmp_path / "own.html", "Why?").read_text(encoding="utf-8").count("Why?") == 2


def test_what_was_assumed_and_what_was_adjusted_is_said() -> None:
    assert "“angry” 6.1 % of the records" in str(correlations())
    found = diff()
    moved = {
        family: tuple(replace(one, effect=0.9) for one in each) for family, each in found.findings.items()
    }
    assert "adjusted difference, points" in str(replace(found, findings=moved))
    assert "  difference, points" in str(found)


def test_findings_that_the_strata_make_are_said_at_the_top() -> None:
    told = "Most concepts are found among records of the same length alone: 3, and 1 among all."
    found = replace(diff(), changes=(StratumChange("concepts", "length", 1, 3, ()),))
    assert told in " ".join(describe(found).summary)
    assert "alone" not in " ".join(describe(diff()).summary)
