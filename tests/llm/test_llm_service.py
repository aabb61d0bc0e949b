"""The LLM labeler with services that fail, refuse or reply too much; keys and texts are never shown."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Iterator

import pytest

from saeindex.errors import InvalidInputError, LabelerError, MissingDependencyError
from saeindex.features.labelers import LLMLabeler
from tests.llm.chat_service import (
    KEY,
    REQUESTS_PER_FEATURE,
    WORDS,
    ChatService,
    blocks,
    labeler_of,
    planted_task,
    running_service,
)


@pytest.fixture
def service() -> Iterator[ChatService]:
    with running_service() as service:
        yield service


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_temporary_failure_is_retried(service: ChatService, status: int) -> None:
    service.fail(status, times=2)
    assert labeler_of(service).label(planted_task([0])).phrases == {0: "galaxy"}
    assert len(service.requests) == REQUESTS_PER_FEATURE + 2


@pytest.mark.parametrize(
    ("status", "message"), [(401, "refuses the key"), (404, "no such model"), (500, "busy")]
)
def test_a_permanent_failure_ends_the_run_with_a_remedy(
    service: ChatService, status: int, message: str
) -> None:
    service.fail(status, "no such model" if status == 404 else "busy", times=200)
    with pytest.raises(LabelerError, match=message):
        labeler_of(service, max_retries=0).label(planted_task())
    assert len(service.requests) <= 4


def test_a_refused_request_skips_one_feature(service: ChatService) -> None:
    service.fail(400, "content filter")
    done = labeler_of(service, concurrency=1).label(planted_task())
    assert len(done.phrases) == len(WORDS) - 1
    assert list(done.left.values()) == ["refused: status 400: content filter"]


def test_options_that_a_service_refuses_by_name_are_omitted_afterwards(service: ChatService) -> None:
    service.fail(400, "Unsupported value: 'temperature' does not support 0.", param="temperature")
    service.fail(400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens'.", param="max_tokens")
    service.fail(400, "response_format is not available with this model")
    done = labeler_of(service, concurrency=1).label(planted_task([0, 1]))
    assert done.phrases == {0: "galaxy", 1: "violin"}
    for body in service.requests[3:]:
        assert "max_completion_tokens" in body
        assert {"temperature", "max_tokens", "response_format"}.isdisjoint(body)
    assert len(service.requests) == 3 + 2 * REQUESTS_PER_FEATURE
    service.fail(400, "max_completion_tokens is unknown", times=3)
    assert labeler_of(service, concurrency=1).label(planted_task([0])).left


def test_the_key_is_sent_and_never_shown(service: ChatService, caplog: pytest.LogCaptureFixture) -> None:
    labeler = labeler_of(service, max_retries=0)
    with caplog.at_level(logging.DEBUG):
        labeler.label(planted_task([0]))
        service.fail(401, f"Incorrect API key provided: {KEY}", times=9)
        with pytest.raises(LabelerError) as refused:
            labeler.label(planted_task([1]))
        service.script.clear()
        service.fail(404, f"no access for {KEY}", times=9)
        with pytest.raises(LabelerError) as missing:
            labeler.label(planted_task([1]))
    assert set(service.keys) == {f"Bearer {KEY}"}
    for error in (refused.value, missing.value):
        assert KEY not in "".join(traceback.format_exception(error))
    assert KEY not in caplog.text + repr(labeler)


def test_texts_quoted_by_a_service_do_not_get_into_messages(service: ChatService) -> None:
    service.script = [
        lambda body: (400, {"error": {"message": f"filtered: {blocks(body)[0][0]}"}})
    ] * 2  # fmt: skip
    done = labeler_of(service, concurrency=1).label(planted_task([0]))
    assert done.left == {0: "refused: status 400: a message that quotes the texts (withheld)"}


def test_a_missing_key_and_a_missing_package_are_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(LabelerError, match="OPENAI_API_KEY"):
        LLMLabeler("writer")
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(MissingDependencyError, match="saeindex\\[openai\\]"):
        LLMLabeler("writer", api_key=KEY)


def test_invalid_caps_and_limits_are_refused(service: ChatService) -> None:
    with pytest.raises(InvalidInputError, match="max_tokens"):
        labeler_of(service, max_tokens=0)
    with pytest.raises(InvalidInputError, match="concurrency"):
        labeler_of(service, concurrency=0)
