"""The OpenAI-compatible encoder against a real HTTP server on loopback."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from saeindex.encoders.openai import OpenAIEncoder, estimate_tokens
from saeindex.errors import EncoderError, InvalidInputError, MissingDependencyError
from tests.encoders.embedding_service import (
    DIMENSION,
    KEY,
    Service,
    answer_of,
    encoder_of,
    running_service,
    unit_vectors,
)


@pytest.fixture
def service() -> Iterator[Service]:
    with running_service() as service:
        yield service


@pytest.mark.parametrize("encoding_format", ["base64", "float"])
def test_vectors_are_unit_float32_in_the_order_of_the_texts(service: Service, encoding_format: Any) -> None:
    texts = ["first", "zweite – größer", "第三", "😀 fourth"]
    vectors = encoder_of(service, encoding_format=encoding_format).encode_document(texts)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, unit_vectors(texts), atol=1e-6)
    assert service.requests[0]["encoding_format"] == encoding_format


def test_a_service_that_ignores_the_requested_format_is_supported(service: Service) -> None:
    service.script.append(lambda body: (200, {}, answer_of(body | {"encoding_format": "float"})))
    vectors = encoder_of(service, encoding_format="base64").encode_document(["a"])
    np.testing.assert_allclose(vectors, unit_vectors(["a"]), atol=1e-6)


def test_items_out_of_order_are_put_back(service: Service) -> None:
    service.alter(lambda items: items[::-1])
    texts = ["a", "b", "c"]
    np.testing.assert_allclose(encoder_of(service).encode_document(texts), unit_vectors(texts), atol=1e-6)


def test_items_without_an_index_keep_their_order(service: Service) -> None:
    service.alter(lambda items: [{"embedding": item["embedding"]} for item in items])
    np.testing.assert_allclose(
        encoder_of(service).encode_document(["a", "b"]), unit_vectors(["a", "b"]), atol=1e-6
    )


def test_batches_are_limited_by_texts_and_by_tokens(service: Service) -> None:
    texts = [f"text {i}" for i in range(10)]
    encoder_of(service, batch_texts=4).encode_document(texts)
    assert [len(request["input"]) for request in service.requests] == [4, 4, 2]
    service.requests.clear()
    vectors = encoder_of(service, batch_tokens=4).encode_document(texts)  # a text has two
    assert [len(request["input"]) for request in service.requests] == [2] * 5
    np.testing.assert_allclose(vectors, unit_vectors(texts), atol=1e-6)


def test_prompts_precede_the_texts(service: Service) -> None:
    encoder = encoder_of(service, query_prompt="query: ", document_prompt="passage: ")
    encoder.encode_query(["a"])
    encoder.encode_document(["a"])
    assert [request["input"] for request in service.requests] == [["query: a"], ["passage: a"]]


def test_long_texts_are_truncated_to_the_model_length(service: Service) -> None:
    encoder_of(service, max_length=50).encode_document(["word " * 1000])
    (sent,) = service.requests[0]["input"]
    assert 30 < estimate_tokens(sent) <= 50
    assert encoder_of(service, max_length=50).max_tokens == 50
    assert encoder_of(service, max_length=50, document_prompt="passage: ").max_tokens < 50


def test_the_identity_has_the_dimension_and_no_address_or_key(service: Service) -> None:
    encoder = encoder_of(service)
    identity = encoder.identity
    assert encoder.identity == identity
    assert (identity.kind, identity.model, identity.dimension) == ("openai", "tiny-embedding", DIMENSION)
    assert identity.normalized
    assert len(service.requests) == 1
    assert KEY not in repr(identity) + repr(encoder)
    assert service.keys == [f"Bearer {KEY}"]


def test_an_empty_list_has_the_dimension_of_the_model(service: Service) -> None:
    assert encoder_of(service).encode_query([]).shape == (0, DIMENSION)
    assert encoder_of(service, dimensions=4).encode_query([]).shape == (0, 4)
    assert len(service.requests) == 1


def test_shorter_vectors_are_requested_and_checked(service: Service) -> None:
    encoder = encoder_of(service, dimensions=4)
    assert encoder.encode_document(["a"]).shape == (1, 4)
    assert service.requests[0]["dimensions"] == 4
    assert encoder.identity.dimension == 4
    service.alter(lambda items: [item | {"embedding": [1.0] * 8} for item in items])
    with pytest.raises(EncoderError, match="8 dimensions, not 4"):
        encoder.encode_document(["a"])


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_a_temporary_failure_is_retried(service: Service, status: int) -> None:
    service.fail(status, times=2)
    np.testing.assert_allclose(encoder_of(service).encode_document(["a"]), unit_vectors(["a"]), atol=1e-6)
    assert len(service.requests) == 3


def test_permanent_failures_are_errors_with_a_remedy(service: Service) -> None:
    service.fail(500, times=3, message="out of memory")
    with pytest.raises(EncoderError, match=r"status 500.*out of memory.*Try again later"):
        encoder_of(service).encode_document(["a"])
    assert len(service.requests) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_a_refusal_is_not_retried_and_never_contains_the_key(service: Service, status: int) -> None:
    service.fail(status, message=f"refused key {KEY}")
    with pytest.raises(EncoderError) as caught:
        encoder_of(service).encode_document(["a"])
    assert len(service.requests) == 1
    assert KEY not in str(caught.value)
    assert caught.value.__suppress_context__


def test_an_unreachable_service_is_an_encoder_error(service: Service) -> None:
    service.server.server_close()
    with pytest.raises(EncoderError, match=r"127\.0\.0\.1: no usable answer"):
        encoder_of(service, max_retries=0).encode_document(["a"])


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda items: items[:1], "1 vectors"),
        (lambda items: [], "no usable answer"),
        (lambda items: [items[0], items[0]], "indices"),
        (lambda items: [items[0], items[1] | {"embedding": [1.0]}], "unequal length"),
        (lambda items: [item | {"embedding": "%%"} for item in items], "not numbers"),
        (lambda items: [item | {"embedding": None} for item in items], "not numbers"),
        (lambda items: [item | {"embedding": [float("nan")] * 8} for item in items], "not finite"),
        (lambda items: [item | {"embedding": [0.0] * 8} for item in items], "zero"),
    ],
)
def test_responses_without_vectors_are_refused(service: Service, change: Any, found: str) -> None:
    service.alter(change)
    with pytest.raises(EncoderError, match=found):
        encoder_of(service).encode_document(["a", "b"])


@pytest.mark.parametrize(
    ("content_type", "payload"), [("text/html", b"<html>"), ("application/json", b"{nonsense")]
)
def test_a_response_that_is_not_json_is_an_encoder_error(
    service: Service, content_type: str, payload: bytes
) -> None:
    service.script.append(lambda body: (200, {"Content-Type": content_type}, payload))
    with pytest.raises(EncoderError):
        encoder_of(service).encode_document(["a"])


def test_empty_texts_and_single_strings_are_refused_before_a_request(service: Service) -> None:
    with pytest.raises(InvalidInputError, match="text 1"):
        encoder_of(service).encode_document(["a", ""])
    with pytest.raises(InvalidInputError, match="one string"):
        encoder_of(service).encode_document("a")
    with pytest.raises(InvalidInputError, match="batch_texts"):
        encoder_of(service, batch_texts=0)
    assert service.requests == []


def test_token_spans_cover_everything_except_single_spaces(service: Service) -> None:
    text = "Quantization, 12345 – 星座  é😀\n"
    spans = encoder_of(service).token_spans(text)
    assert spans == sorted(spans)
    covered = {i for begin, stop in spans for i in range(begin, stop)}
    assert {text[i] for i in set(range(len(text))) - covered} == {" "}
    assert len(spans) == estimate_tokens(text)
    assert estimate_tokens("星") == 2
    assert estimate_tokens("é") == 1


def test_a_missing_key_and_a_missing_package_are_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_ADMIN_KEY", raising=False)
    with pytest.raises(EncoderError, match="OPENAI_API_KEY"):
        OpenAIEncoder("tiny-embedding")
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(MissingDependencyError, match="saeindex\\[openai\\]"):
        OpenAIEncoder("tiny-embedding", api_key=KEY)


def test_the_address_and_key_are_read_from_the_environment(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", service.url)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert OpenAIEncoder("tiny-embedding").encode_query(["a"]).shape == (1, DIMENSION)
