"""Concepts that stand beside the features of the autoencoder filter, count, steer and differ as others do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from saeindex import FeatureIndex, FeatureSpace
from tests.samples import RecordingEncoder

GOOD = ["A very good lamp.", "It arrived on time and looks fine.", "My daughter reads by its light."]
BAD = [
    "The lamp has a problem with its switch.",
    "There were problems, and then more problems.",
    "No problem!",
]


@pytest.fixture
def index(tmp_path: Path, space: FeatureSpace, encoder: RecordingEncoder) -> Iterator[FeatureIndex]:
    with FeatureIndex.create(tmp_path / "lamps.idx", space, encoder=encoder) as made:
        texts = [(f"{kind}-{i}-{n}", text) for kind, own in (("good", GOOD), ("bad", BAD))
                 for i, text in enumerate(own) for n in range(8)]  # fmt: skip
        made.upsert(
            [
                {"id": name, "text": f"{text} Lamp {name[-1]}.", "metadata": {"kind": name.split("-")[0]}}
                for name, text in texts
            ]
        )
        yield made


@pytest.fixture
def problem(space: FeatureSpace) -> int:
    feature = next(i for i, label in enumerate(space.labels) if label.text == "problem")
    assert feature >= space.sae.n_features and space.n_features == len(space.directions)
    return feature


def test_they_filter_by_name_and_number_and_are_counted(index: FeatureIndex, problem: int) -> None:
    assert index.count('"problem"') == index.count(f"#{problem}") == 24
    assert index.count('NOT "problem" AND metadata.kind = "bad"') == 0
    (hit,) = index.search(where='"problem"', limit=1)
    assert [(proof.id, proof.word is not None) for proof in hit.evidence] == [(problem, True)]
    assert index.concepts.card(problem).records_at_level[0] == 24


def test_they_differ_between_groups(index: FeatureIndex, problem: int) -> None:
    found = index.diff('metadata.kind = "bad"', 'metadata.kind = "good"')
    findings = found.findings["concepts"]
    assert problem in [one.key for finding in findings for one in (finding, *finding.related)]


def test_they_steer_along_their_direction_and_scores_owe_nothing_to_them(
    index: FeatureIndex, problem: int
) -> None:
    plain, steered = (index.search("a lamp", steer=steer, explain=True) for steer in (None, f"+#{problem}:1"))
    assert steered.drift > 0
    assert all(hit.explanation is not None for hit in steered)
    for hit in plain:
        assert hit.explanation is not None
        assert problem not in [part.feature for part in hit.explanation.parts]
        assert sum(part.value for part in hit.explanation.parts) == pytest.approx(hit.score, abs=1e-5)


def test_their_codes_are_as_wide_as_the_space(space: FeatureSpace) -> None:
    code = space.encode(np.eye(2, space.encoder.dimension, dtype=np.float32))
    assert code.n_features == space.n_features > max(code.indices)
    beside = space.calibration.median[space.sae.n_features :]
    assert len(beside) and np.isinf(beside).all()
