"""The LLM labeler against a real HTTP server: labels, cache, budget, bad replies, and requests."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from saeindex.errors import LabelerError
from saeindex.features.labelers import LLMLabeler
from saeindex.llm.chat import count_tokens
from tests.llm.chat_service import (
    KEY,
    REQUESTS_PER_FEATURE,
    WORDS,
    ChatService,
    answer_of,
    blocks,
    is_interpreter,
    labeler_of,
    model_reply,
    phrase_of,
    planted_task,
    running_service,
)


@pytest.fixture
def service() -> Iterator[ChatService]:
    with running_service() as service:
        yield service


def test_features_get_the_phrase_of_the_interpreter_and_the_predictor_s_scores(service: ChatService) -> None:
    done = labeler_of(service, predictor_model="judge").label(planted_task())
    assert done.phrases == dict(enumerate(WORDS))
    assert done.left == {}
    for scores in done.evidence.values():
        # The weak texts (5 of the 15 others) have the word too: a label does not say how strong it is.
        assert scores["auroc"] == pytest.approx(1 - 0.5 * 5 / 15)
        assert scores["texts"] == 25
        assert 0.5 < scores["pearson"] < 1
    assert {body["model"] for body in service.requests if is_interpreter(body)} == {"writer"}
    assert {body["model"] for body in service.requests if not is_interpreter(body)} == {"judge"}
    assert len(service.requests) == len(WORDS) * REQUESTS_PER_FEATURE
    assert done.report["spent"] == {"requests": 16, "input_tokens": 16 * 500, "output_tokens": 16 * 20}
    assert (done.report["labelled"], done.report["left"]) == (len(WORDS), 0)
    assert done.report["predictor"]["auroc"] == pytest.approx(1 - 0.5 * 5 / 15)


def test_the_predictor_sees_none_of_the_texts_of_the_interpreter(
    service: ChatService,
) -> None:
    task = planted_task([1])
    labeler_of(service).label(task)
    z, x = task.shown.code.to_csr().toarray()[:, 1], task.shown.vectors
    interpreted, *predicted = service.requests
    strong, weak, absent = ([task.shown.texts.index(text) for text in block] for block in blocks(interpreted))
    assert sorted(z[strong], reverse=True) == sorted(z, reverse=True)[:10]
    assert all(0 < z[i] < task.calibration.median[1] for i in weak)
    assert all(z[i] == 0 for i in absent)
    # Half of the absent ones are near: nearer to the typical texts than nine in ten of all absent texts.
    centred = (x - x.mean(0)) / np.linalg.norm(x - x.mean(0), axis=1, keepdims=True)
    similarity = centred @ (x[z >= task.calibration.median[1]].mean(0) - x.mean(0))
    bar = sorted(similarity[z == 0])[int((z == 0).sum() * 0.9)]
    assert sum(similarity[i] >= bar for i in absent[:5]) == 5
    shown = {text for block in blocks(interpreted) for text in block}
    tested = [text for body in predicted for text in blocks(body)[0]]
    assert len(tested) == len(set(tested)) == 25
    assert shown.isdisjoint(tested)
    assert all(phrase_of(body) == WORDS[1] for body in predicted)
    unseen = task.unseen.code.to_csr().toarray()[:, 1]
    levels = [unseen[task.unseen.texts.index(text)] for text in tested]
    assert sum(level == 0 for level in levels) == 10
    assert sum(0 < level < task.calibration.median[1] for level in levels) == 5


def test_a_resumed_run_repeats_no_request(service: ChatService, tmp_path: Path) -> None:
    task = planted_task()
    # Killed after six requests: two features, of which one is half done.
    service.script = [lambda body: (200, answer_of(model_reply(body), service.usage))] * 6
    service.default_reply = lambda body: None
    first = labeler_of(service, cache=tmp_path, concurrency=1).label(task)
    assert len(first.phrases) == 1
    service.requests.clear()
    service.default_reply = model_reply
    again = labeler_of(service, cache=tmp_path, concurrency=1)
    estimate = again.estimate(task)
    done = again.label(task)
    assert done.phrases == dict(enumerate(WORDS))
    first_requests = len(service.requests)
    service.requests.clear()
    finished = labeler_of(service, cache=tmp_path)
    assert finished.estimate(task).requests == 0
    assert finished.estimate(task).cached >= 16
    last = finished.label(task)
    assert service.requests == []
    assert (last.phrases, last.evidence) == (done.phrases, done.evidence)
    assert last.report["spent"]["input_tokens"] == 0
    assert (
        first_requests <= 16 - 6 + 3
    )  # the invalid first replies are not requested again, but their corrections are
    assert estimate.cached >= 6


def test_an_interrupted_run_continues_where_it_stopped(service: ChatService, tmp_path: Path) -> None:
    task = planted_task()
    service.script = [lambda body: (200, answer_of(model_reply(body), service.usage))] * 6
    service.default_reply = lambda body: pytest.fail("not reached")
    service.fail(401, times=50)
    with pytest.raises(LabelerError, match="refuses the key"):
        labeler_of(service, cache=tmp_path, concurrency=1).label(task)
    service.script, service.default_reply = [], model_reply
    service.requests.clear()
    assert len(labeler_of(service, cache=tmp_path).label(task).phrases) == len(WORDS)
    assert len(service.requests) == 16 - 6


def test_another_model_or_service_has_its_own_cached_replies(service: ChatService, tmp_path: Path) -> None:
    task = planted_task([0])
    labeler_of(service, cache=tmp_path).label(task)
    assert labeler_of(service, cache=tmp_path, predictor_model="judge").estimate(task).requests == 3
    elsewhere = LLMLabeler("writer", base_url="http://elsewhere.test/v1", api_key=KEY, cache=tmp_path)
    assert elsewhere.estimate(task).requests == 4
    other_port = LLMLabeler("writer", base_url="http://127.0.0.1:9/v1", api_key=KEY, cache=tmp_path)
    assert other_port.estimate(task).requests == 0


def test_the_cache_contains_neither_texts_nor_the_key(service: ChatService, tmp_path: Path) -> None:
    task = planted_task([0])
    service.default_reply = lambda body: '{"label": "sky"}' if is_interpreter(body) else model_reply(body)
    labeler_of(service, cache=tmp_path).label(task)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == REQUESTS_PER_FEATURE
    kept = " ".join(path.read_text() for path in files)
    assert KEY not in kept
    assert not any(filler in kept for filler in ("zorak", "plimol"))
    files[0].write_text("{damaged")
    assert labeler_of(service, cache=tmp_path).estimate(task).requests >= 1


def test_the_estimate_equals_the_requests_of_the_run(service: ChatService) -> None:
    task = planted_task()
    labeler = labeler_of(service)
    estimate = labeler.estimate(task)
    assert service.requests == []
    done = labeler.label(task)
    assert (estimate.features, estimate.requests) == (4, len(service.requests))
    sent = sum(count_tokens(body["messages"]) for body in service.requests)
    assert estimate.input_tokens == pytest.approx(sent, rel=0.03)
    assert done.report["spent"]["input_tokens"] == 16 * 500
    assert "16 requests" in str(estimate)


def test_a_cap_is_never_exceeded_and_finished_work_is_kept(service: ChatService, tmp_path: Path) -> None:
    service.usage = {"prompt_tokens": 2_000, "completion_tokens": 200, "total_tokens": 2_200}
    done = labeler_of(service, cache=tmp_path, concurrency=1, max_tokens=14_000).label(planted_task())
    spent = done.report["spent"]
    assert spent["input_tokens"] + spent["output_tokens"] <= 14_000
    assert 1 <= len(done.phrases) < len(WORDS)
    assert set(done.left.values()) == {"the budget was reached"}
    assert len(done.phrases) + len(done.left) == len(WORDS)
    more = labeler_of(service, cache=tmp_path, max_tokens=140_000)
    assert len(more.label(planted_task()).phrases) == len(WORDS)
    assert len(service.requests) == 16


def test_pending_requests_count_towards_the_cap(service: ChatService) -> None:
    together = threading.Barrier(2, timeout=60)

    def wait(body: dict[str, Any]) -> str:
        together.wait()
        end = time.monotonic() + 60
        while not labeler._chat.ledger._is_closed and time.monotonic() < end:  # a third request is refused
            time.sleep(0.01)
        return model_reply(body)

    # Four requests at a time are allowed; the cap permits two of them before any is answered.
    longest = count_tokens(_interpreter_request(service)["messages"]) + 200
    service.default_reply = wait
    labeler = labeler_of(service, concurrency=4, max_tokens=int(2.5 * longest))
    done = labeler.label(planted_task())
    assert service.most_under_way == 2
    assert done.report["spent"]["requests"] == len(service.requests) == 2
    assert set(done.left.values()) == {"the budget was reached"}


def _interpreter_request(service: ChatService) -> dict[str, Any]:
    labeler_of(service).label(planted_task([0]))
    request = next(body for body in service.requests if is_interpreter(body))
    service.requests.clear()
    return request


def test_no_more_requests_are_pending_than_allowed(service: ChatService) -> None:
    together = threading.Barrier(2, timeout=60)

    def wait(body: dict[str, Any]) -> str:
        together.wait()
        return model_reply(body)

    service.default_reply = wait
    labeler_of(service, concurrency=2).label(planted_task([0, 1]))
    assert service.most_under_way == 2


@pytest.mark.parametrize(
    "bad",
    [
        "A galaxy.",
        '```json\n{"label": "galaxy"}\n```',
        '{"label": "galaxy", "why": "they all have it"}',
        '{"label": ""}',
        '{"label": " , "}',
        '{"label": "..."}',
        '{"label": "two\\nlines"}',
        '{"label": "\\u001b[31mred"}',
        json.dumps({"label": "x" * 81}),
        '{"label": 7}',
        '["galaxy"]',
        "",
        '{"label": "galaxy"' + " " * 30_000 + "}",
    ],
)
def test_an_invalid_reply_is_requested_again_with_the_reason(service: ChatService, bad: str) -> None:
    service.reply(bad)
    done = labeler_of(service).label(planted_task([0]))
    assert done.phrases == {0: "galaxy"}
    first, second = service.requests[:2]
    assert second["messages"][1]["content"].startswith(first["messages"][1]["content"])
    assert "could not be used" in second["messages"][1]["content"]
    assert [message["role"] for message in second["messages"]] == ["system", "user"]


@pytest.mark.parametrize(
    "bad",
    [
        '{"scores": [90]}',
        '{"scores": [101, 0, 0, 0, 0, 0, 0, 0, 0, 0]}',
        '{"scores": ["90", 0, 0, 0, 0, 0, 0, 0, 0, 0]}',
        '{"scores": [true, 0, 0, 0, 0, 0, 0, 0, 0, 0]}',
        '{"scores": [NaN, 0, 0, 0, 0, 0, 0, 0, 0, 0]}',
        '{"scores": null}',
    ],
)
def test_a_feature_with_only_invalid_replies_is_skipped_with_the_reason(
    service: ChatService, bad: str
) -> None:
    service.default_reply = lambda body: model_reply(body) if is_interpreter(body) else bad
    done = labeler_of(service).label(planted_task([0, 1]))
    assert done.phrases == {}
    assert set(done.left) == {0, 1}
    assert all(reason.startswith("bad reply") for reason in done.left.values())
    assert len(service.requests) == 2 * 3  # a phrase, its test, the test again


def test_texts_with_nothing_in_common_get_no_label(service: ChatService) -> None:
    service.default_reply = lambda body: '{"label": "Unclear."}'
    done = labeler_of(service).label(planted_task([0]))
    assert (done.phrases, list(done.left)) == ({}, [0])
    assert len(service.requests) == 1


def test_a_feature_with_too_few_texts_gets_no_request(service: ChatService) -> None:
    task = planted_task(rows=40)
    done = labeler_of(service).label(task)
    assert set(done.left.values()) == {"too few texts have it"}
    assert service.requests == []
    assert labeler_of(service).estimate(task).skipped == len(done.left)


@pytest.mark.parametrize("usage", [None, {"prompt_tokens": -5, "completion_tokens": 1, "total_tokens": 1}])
def test_a_service_that_counts_no_tokens_is_charged_by_the_estimate(
    service: ChatService, usage: dict[str, int] | None
) -> None:
    service.usage = usage
    done = labeler_of(service).label(planted_task([0]))
    sent = sum(count_tokens(body["messages"]) for body in service.requests)
    assert done.report["spent"]["input_tokens"] == sent


def test_progress_counts_features(service: ChatService) -> None:
    seen: list[tuple[int, int]] = []
    labeler_of(service, progress=lambda done, total: seen.append((done, total))).label(planted_task())
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
