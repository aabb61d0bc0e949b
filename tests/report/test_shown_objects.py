"""The display of an index and of hits in a notebook: one line, and a table."""

from __future__ import annotations

import re
from typing import Any

import pytest

from saeindex import FeatureIndex, Record
from saeindex.search.hits import Hits, compare
from tests.report.html_page import Page

MARKUP = "A galaxy <script>alert(1)</script> of stars & dust"


@pytest.fixture(scope="module")
def hits(papers: FeatureIndex) -> Hits:
    return papers.search("galaxies", limit=5, explain=True)


@pytest.fixture(scope="module")
def shown(papers: FeatureIndex, hits: Hits) -> dict[str, Any]:
    by_property = papers.search(property="sounds disappointed", against=["a question"], limit=3)
    assert by_property.feedback is not None
    return {
        "FeatureIndex": papers,
        "Hits": hits,
        "Hit": hits[0],
        "Plan": hits.plan,
        "Feedback": by_property.feedback,
        "FeatureCard": papers.concepts.card(hits[0].features[0].id),
        "Explanation": hits[0].explanation,
        "Comparison": compare(hits[0], hits[1]),
    }


KINDS = ["FeatureIndex", "Hits", "Hit", "Plan", "Feedback", "FeatureCard"]


@pytest.mark.parametrize("kind", [*KINDS, "Explanation", "Comparison"])
def test_the_repr_is_one_short_line(shown: dict[str, Any], kind: str) -> None:
    line = repr(shown[kind])
    assert line.startswith(f"{kind}(")
    assert line.endswith(")")
    assert "\n" not in line
    assert len(line) < 160


@pytest.mark.parametrize("kind", KINDS)
def test_a_notebook_displays_a_table_without_scripts_or_external_resources(
    shown: dict[str, Any], kind: str
) -> None:
    html = shown[kind]._repr_html_()
    page = Page(html)
    assert page.tags["table"] >= 1
    assert page.tags["tr"] >= 2
    assert not re.search(r"<script|src=|href=", html)
    assert "object at 0x" not in page.text


def test_the_table_of_hits_has_text_score_and_named_concepts(hits: Hits) -> None:
    text = Page(hits._repr_html_()).text
    assert f"5 hits for {'galaxies'!r}." in text
    for hit in hits:
        assert hit.id in text
        assert f"{hit.score:.3f}".replace("-", "−") in text
        assert hit.features[0].label in text
        assert " ".join(hit.text.split())[:60] in text


def test_the_parts_that_a_hit_shows_sum_to_its_score(hits: Hits) -> None:
    html = hits[0]._repr_html_()
    table = html.split("Why this score</caption>")[1].split("</table>")[0]
    cells = re.findall(r'<td class="number">([^<]+)</td>', table)
    *parts, total = [float(cell.replace("−", "-")) for cell in cells]
    assert sum(parts) == pytest.approx(total, abs=1e-3)
    assert total == pytest.approx(hits[0].score, abs=1e-4)


def test_steered_hits_report_their_rank_without_steering(papers: FeatureIndex) -> None:
    feature = papers.concepts.find("galaxy")[0].id
    steered = papers.search("stars", steer=f"+#{feature}:0.5", limit=3, explain=True)
    text = Page(steered._repr_html_()).text
    assert "Rank before steering" in text
    assert "Steering moved the query" in text


def test_grouped_hits_are_a_table_for_each_group(papers: FeatureIndex) -> None:
    grouped = papers.search("stars", group_by="metadata.year", limit=2)
    text = Page(grouped._repr_html_()).text
    assert all(f"metadata.year = {group.value}" in text for group in grouped.groups)
    assert list(grouped.to_pandas()["group"]) == [group.value for group in grouped.groups for _ in group.hits]


def test_an_empty_list_of_hits_is_displayed(papers: FeatureIndex) -> None:
    none = papers.search("stars", where="metadata.year = 1800")
    assert repr(none) == "Hits(0 for 'stars': no point matches)"
    assert "0 hits for 'stars'." in Page(none._repr_html_()).text
    assert len(none.to_pandas()) == 0


def test_hits_are_a_data_frame_with_the_column_names_of_filters(hits: Hits) -> None:
    frame = hits.to_pandas()
    assert list(frame["id"]) == [hit.id for hit in hits]
    assert list(frame["score"]) == [hit.score for hit in hits]
    assert list(frame["metadata.year"]) == [hit.metadata["year"] for hit in hits]
    assert frame["concepts"][0][0].startswith(hits[0].features[0].label)


def test_markup_in_a_record_is_text(tmp_path: Any, papers: FeatureIndex) -> None:
    with FeatureIndex.create(tmp_path / "x.idx", papers.space, encoder=papers.encoder) as index:
        index.upsert([Record("<b>1</b>", MARKUP, {"<i>": "<u>"})])
        found = index.search("galaxy")
        for one in (found, found[0]):
            html = one._repr_html_()
            assert "<script>alert" not in html
            assert "<b>1</b>" not in html
            assert "<u>" not in html
            assert MARKUP in Page(html).text
        assert repr(index).startswith(f"FeatureIndex({str(tmp_path / 'x.idx')!r}, 1 record")
    assert "1 record" in repr(index)
