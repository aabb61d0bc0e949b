"""The example of retrieval for a language model: what it reads, what it cites, and what is refused."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from runpy import run_path

import pytest

from saeindex import FeatureIndex
from saeindex.samples import speeches
from tests.llm.chat_service import ChatService, running_service

EXAMPLE = Path(__file__).parents[2] / "examples" / "rag.py"
QUESTION = "What should be done about crime and drugs?"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    made = tmp_path_factory.mktemp("rag") / "speeches.idx"
    with FeatureIndex(made) as index:
        index.upsert(speeches()[450:570])
    return str(made)


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatService]:
    with running_service() as service:
        monkeypatch.setenv("OPENAI_BASE_URL", service.url)
        monkeypatch.setenv("OPENAI_API_KEY", "any")
        yield service


@pytest.fixture
def said(path: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> object:
    def run(*options: str) -> str:
        monkeypatch.setattr(sys, "argv", ["rag.py", QUESTION, "--index", path, *options])
        run_path(str(EXAMPLE), run_name="__main__")
        return capsys.readouterr().out

    return run


def test_without_a_model_it_shows_what_one_would_read(said) -> None:  # type: ignore[no-untyped-def]
    assert said().startswith("[1] ")
    steered = said("--user", "ann", "--like", "1994-56")
    assert steered.startswith("[1] ") and steered != said()
    assert said("--only-if", '"agriculture"') == 'The question does not fulfil "agriculture".\n'
    assert "drug" not in said("--never", "drug").lower()


def test_what_is_cited_is_shown_and_must_be_there(said, service: ChatService) -> None:  # type: ignore[no-untyped-def]
    service.reply("More police [2], and laws [1].", "It is so [99].", "I do not know.")
    cited = said("--model", "m")
    first, second, *_ = (body := service.requests[0]["messages"][1]["content"]).splitlines()
    assert cited.splitlines()[0] == "More police [2], and laws [1]."
    assert cited.index(second.removeprefix("[2] ")) < cited.index(first.removeprefix("[1] "))
    assert body.endswith(f"Question: {QUESTION}")
    assert "the citation [99]: the context has" in said("--model", "m")
    assert "Nothing that is cited proves it." in said("--model", "m")
    assert said("--model", "m", "--only-if", '"agriculture"').startswith("The question does not fulfil")
    assert len(service.requests) == 3
