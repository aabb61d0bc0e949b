"""Every encoder passes the suite that is available for users' encoders."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from saeindex import open_encoder
from saeindex.protocols import TextEncoder
from saeindex.testing.seam_conformance import TextEncoderConformance
from tests.encoders.embedding_service import Service, encoder_of, running_service


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with running_service() as service:
        yield service


@pytest.fixture(scope="module")
def bundled() -> TextEncoder:
    return open_encoder()


class TestSentenceTransformers(TextEncoderConformance):
    @pytest.fixture
    def encoder(self, bundled: TextEncoder) -> TextEncoder:
        return bundled


class TestEmbeddingService(TextEncoderConformance):
    @pytest.fixture
    def encoder(self, service: Service) -> TextEncoder:
        return encoder_of(service)
