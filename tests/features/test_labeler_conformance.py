"""Every labeler passes the suite that is available for users' labelers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from saeindex.features.labelers import Labeler, LabelingTask, LexicalLabeler
from saeindex.features.labelers.labeler import ManualLabeler
from saeindex.testing.seam_conformance import LabelerConformance
from tests.llm.chat_service import labeler_of, planted_task, running_service


@pytest.fixture(scope="module")
def task() -> LabelingTask:
    return planted_task()


class TestLexical(LabelerConformance):
    @pytest.fixture
    def labeler(self) -> Labeler:
        return LexicalLabeler()


class TestManual(LabelerConformance):
    @pytest.fixture
    def labeler(self, task: LabelingTask) -> Labeler:
        return ManualLabeler({feature: f"concept {feature}" for feature in task.features})


class TestLanguageModel(LabelerConformance):
    @pytest.fixture
    def labeler(self) -> Iterator[Labeler]:
        with running_service() as service:
            yield labeler_of(service)
