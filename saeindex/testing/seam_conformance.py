"""Suites for encoders, labelers and record sources. Subclass a suite in your tests.

class TestMyEncoder(TextEncoderConformance):
    @pytest.fixture
    def encoder(self):
        return MyEncoder()
"""

# ruff: noqa: S101, D102 - suites of tests: asserts are their point, and names tell the behaviour

from __future__ import annotations

import json

import numpy as np
import pytest

from saeindex.errors import SaeIndexError
from saeindex.features.labelers import Labeler, LabelingTask
from saeindex.features.labelers.labeler import checked_phrase
from saeindex.protocols import RecordSource, Rejected, TextEncoder
from saeindex.types import Record

TEXTS = [
    "Spiral galaxies rotate.",
    "größer – 第二 😀",
    "a",
    "One more sentence, a little longer than the others.",
]


class TextEncoderConformance:
    """The requirements of every :class:`TextEncoder`; needs a fixture ``encoder``."""

    def test_vectors_are_unit_float32_of_the_dimension_it_says(self, encoder: TextEncoder) -> None:
        for vectors in (encoder.encode_document(TEXTS), encoder.encode_query(TEXTS)):
            assert vectors.shape == (len(TEXTS), encoder.identity.dimension)
            assert vectors.dtype == np.float32
            np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-3)

    def test_vectors_stand_in_the_order_of_the_texts_whatever_is_beside_them(
        self, encoder: TextEncoder
    ) -> None:
        together = encoder.encode_document(TEXTS)
        alone = np.concatenate([encoder.encode_document([text]) for text in TEXTS])
        np.testing.assert_allclose((together * alone).sum(1), 1.0, atol=1e-4)
        turned = encoder.encode_document(TEXTS[::-1])[::-1]
        np.testing.assert_allclose((together * turned).sum(1), 1.0, atol=1e-4)

    def test_no_texts_are_no_vectors(self, encoder: TextEncoder) -> None:
        encoder.encode_document(TEXTS[:1])
        assert encoder.encode_document([]).shape == (0, encoder.identity.dimension)

    def test_one_string_is_not_a_list_of_letters(self, encoder: TextEncoder) -> None:
        with pytest.raises(SaeIndexError):
            encoder.encode_document("one string")

    def test_its_identity_stays_and_can_be_kept_as_json(self, encoder: TextEncoder) -> None:
        before = encoder.identity
        encoder.encode_query(TEXTS[:1])
        assert not before.differences(encoder.identity)
        assert json.loads(json.dumps(before.signature())) == before.signature()
        assert before.normalized
        assert before.max_length > 0

    def test_token_spans_are_in_the_text_and_in_order(self, encoder: TextEncoder) -> None:
        for text in TEXTS:
            spans = list(encoder.token_spans(text))
            assert spans
            assert all(0 <= start <= end <= len(text) for start, end in spans)
            assert spans == sorted(spans)


class LabelerConformance:
    """The requirements of every :class:`Labeler`; needs fixtures ``labeler`` and ``task``."""

    def test_each_feature_gets_a_phrase_or_a_reason(self, labeler: Labeler, task: LabelingTask) -> None:
        found = labeler.label(task)
        assert set(found.phrases) | set(found.left) == set(task.features)
        assert not set(found.phrases) & set(found.left)

    def test_phrases_can_be_shown_and_searched(self, labeler: Labeler, task: LabelingTask) -> None:
        for feature, phrase in labeler.label(task).phrases.items():
            assert checked_phrase(feature, phrase) == phrase

    def test_what_it_measured_is_json(self, labeler: Labeler, task: LabelingTask) -> None:
        found = labeler.label(task)
        assert set(found.evidence) <= set(task.features)
        json.dumps([dict(found.report), {feature: dict(each) for feature, each in found.evidence.items()}])

    def test_it_says_the_same_twice_and_how_it_labels(self, labeler: Labeler, task: LabelingTask) -> None:
        assert labeler.label(task).phrases == labeler.label(task).phrases
        assert labeler.method.isidentifier()


class RecordSourceConformance:
    """The requirements of every :class:`RecordSource`; needs a fixture ``source`` of a few records."""

    def test_it_gives_records_and_rejects_and_nothing_else(self, source: RecordSource) -> None:
        found = list(source)
        assert found
        assert all(isinstance(each, Record | Rejected) for each in found)

    def test_records_have_an_id_a_text_and_metadata_of_json(self, source: RecordSource) -> None:
        for record in source:
            if isinstance(record, Record):
                assert record.id
                assert record.text.strip()
                json.dumps(record.metadata, allow_nan=False)
            else:
                assert record.position
                assert record.reason

    def test_it_can_be_read_again_in_the_same_order(self, source: RecordSource) -> None:
        assert list(source) == list(source)

    def test_its_total_is_what_it_gives_or_unknown(self, source: RecordSource) -> None:
        assert source.total is None or source.total == len(list(source))

    def test_its_name_is_one_line(self, source: RecordSource) -> None:
        assert source.name.strip()
        assert source.name.isprintable()
