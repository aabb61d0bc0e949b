"""Hypotheses of a language model: the claims of a real HTTP service on loopback are verified."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from saeindex import FeatureIndex
from saeindex.analysis.diff.hypotheses import HypothesisWriter, findings_shown
from saeindex.errors import InvalidInputError, LabelerError
from saeindex.report.charts import save_charts
from tests.llm.chat_service import KEY, ChatService, blocks, phrase_of, running_service

MUSIC, OTHERS = 'metadata.topic = "music"', 'metadata.topic != "music"'
MUSIC_WORDS = ("violin", "jazz", "opera", "guitar")


@pytest.fixture
def service() -> Iterator[ChatService]:
    with running_service() as running:
        running.default_reply = reader
        yield running


def reader(body: dict[str, Any]) -> str:
    """Claim something true and something false, and judge by whether a text is about music."""
    if "hypotheses" in body["messages"][-1]["content"]:
        claims = [
            {"group": 1, "hypothesis": "is about music"},
            {"group": 2, "hypothesis": "has many letters"},
        ]
        return json.dumps({"hypotheses": claims})
    (texts,) = blocks(body)
    about = phrase_of(body) == "is about music"
    return json.dumps(
        {"scores": [90 if not about or any(t in text for t in MUSIC_WORDS) else 5 for text in texts]}
    )


def writer_of(service: ChatService, **options: Any) -> HypothesisWriter:
    return HypothesisWriter("writer", base_url=service.url, api_key=KEY, max_retries=1, **options)


def test_true_hypotheses_hold_and_false_ones_do_not(service: ChatService, papers: FeatureIndex) -> None:
    found = papers.diff(MUSIC, OTHERS, families=("words",), writer=writer_of(service))
    music, letters = found.hypotheses
    assert (music.text, music.group, music.holds) == ("is about music", "a", True)
    assert music.verified["a"] == 1.0 and music.verified["b"] == 0.0
    assert not letters.holds and letters.verified == {"a": 1.0, "b": 1.0}
    assert "✓ holds" in str(found) and "not verified" in str(found)
    assert found.to_json()["hypotheses"][0]["holds"] is True


def test_hypotheses_are_judged_on_records_that_were_not_shown(
    service: ChatService, papers: FeatureIndex
) -> None:
    found = papers.diff(MUSIC, OTHERS, families=("words",), writer=writer_of(service))
    shown = {
        one.text for finding in findings_shown(found) for each in finding.examples.values() for one in each
    }
    judged = {text for body in service.requests[1:] for text in blocks(body)[0]}
    assert not {text for text in judged if text in shown}
    assert all("Group" not in body["messages"][-1]["content"] for body in service.requests[1:])


def test_replies_are_cached_and_capped(service: ChatService, papers: FeatureIndex, tmp_path: Path) -> None:
    for _ in range(2):
        papers.diff(MUSIC, OTHERS, families=("words",), writer=writer_of(service, cache=tmp_path))
    assert len(service.requests) == 1 + 2 * 4
    with pytest.raises(LabelerError, match="cap on tokens"):
        papers.diff(MUSIC, OTHERS, families=("words",), writer=writer_of(service, max_tokens=800))


def test_an_estimate_is_an_upper_bound_of_the_requests(service: ChatService, papers: FeatureIndex) -> None:
    plain = papers.diff(MUSIC, OTHERS, families=("words",))
    estimate = writer_of(service).estimate(plain)
    assert not service.requests
    papers.diff(MUSIC, OTHERS, families=("words",), writer=writer_of(service))
    assert len(service.requests) <= estimate.requests


def test_without_findings_there_are_no_requests(service: ChatService, papers: FeatureIndex) -> None:
    found = papers.diff(
        "metadata.score < 0.5", "metadata.score >= 0.5", families=("clusters",), alpha=1e-6,
        writer=writer_of(service),
    )  # fmt: skip
    assert found.hypotheses == () and not service.requests
    with pytest.raises(InvalidInputError, match="8 groups"):
        papers.diff(by="metadata.topic", writer=writer_of(service))


def test_texts_are_quoted_as_data(service: ChatService, papers: FeatureIndex) -> None:
    papers.diff(MUSIC, OTHERS, families=("concepts",), writer=writer_of(service))
    assert all(body["messages"][-1]["content"].count("TEXTS>>>") >= 1 for body in service.requests)
    assert all(KEY not in json.dumps(body) for body in service.requests)


def test_a_report_has_hypotheses_and_their_findings(
    service: ChatService, papers: FeatureIndex, tmp_path: Path
) -> None:
    named = ["law=a court decision"]
    found = papers.diff(MUSIC, OTHERS, families=("words",), named=named, writer=writer_of(service))
    page = found.write_report(tmp_path / "page.html", "What is music?").read_text()
    assert "is about music" in page and "not verified" in page and "A language model wrote" in page
    assert "Named properties" in page
    save_charts(found, tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 1_000
