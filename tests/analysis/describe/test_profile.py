"""Profiles of sets: distinctive concepts are over-represented, and records are central, borderline or odd."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from saeindex import FeatureIndex, FeatureSpace
from saeindex.analysis.describe.describe import describe_set, nearness, standings, themes_of
from saeindex.errors import InvalidInputError
from tests.analysis.planted_snapshots import made_snapshot

RNG = np.random.default_rng(2)


def test_a_topic_is_characterised_by_its_concepts_and_words(papers: FeatureIndex) -> None:
    found = papers.describe('metadata.topic = "music"', shown=3)
    assert found.size + found.rest == 240 and len(found) == found.size
    words = {one.key for one in found.distinctive["words"]}
    assert words & {"violin", "jazz", "opera", "guitar"}
    for each in found.distinctive.values():
        assert all(one.effect > 0 and one.freq["set"] > one.freq["rest"] for one in each)
    topics = dict(zip(papers.state.snapshot().ids, papers.state.snapshot().metadata, strict=True))
    for one in (*found.central, *found.borderline, *found.odd):
        assert "music" in topics[one.example.id]
    assert {"size", "distinctive", "central", "borderline", "odd", "themes"} <= found.to_json().keys()
    assert len(found.tables()["central"]) == 3
    assert "Central records:" in str(found)


def test_central_records_are_those_of_the_highest_cosine(papers: FeatureIndex) -> None:
    snapshot = papers.state.snapshot()
    rows = np.arange(0, 240, 3)
    found = describe_set(snapshot, rows, shown=4)
    x = np.asarray(snapshot.vectors[rows], np.float64)
    centre = x.mean(0) / np.linalg.norm(x.mean(0))
    order = rows[np.argsort(-(x @ centre))[:4]]
    assert [one.example.id for one in found.central] == [snapshot.ids[row] for row in order]
    assert found.cohesion == pytest.approx(float((x @ centre).mean()), abs=1e-5)


def test_similarity_is_the_mean_of_the_ten_nearest() -> None:
    x = RNG.standard_normal((50, 8)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    cosines = x @ x.T
    for row in range(50):
        others = np.sort(np.delete(cosines[row], row))[-10:]
        assert nearness(x, x, is_own=True)[row] == pytest.approx(others.mean(), abs=1e-5)
    assert nearness(x[:5], x[5:8], is_own=False) == pytest.approx(cosines[:5, 5:8].mean(1), abs=1e-5)


def test_outliers_and_borderline_records_are_found(space: FeatureSpace) -> None:
    d = space.encoder.dimension
    own, other, elsewhere = (np.eye(d, dtype=np.float32)[i] for i in range(3))
    base = np.concatenate([np.tile(own, (40, 1)), np.tile(other, (40, 1))])
    base[0] = 0.7 * own + 0.75 * other  # in the set, and near the rest
    base[1] = elsewhere  # in the set, and near nothing
    noisy = base + 0.02 * RNG.standard_normal(base.shape).astype(np.float32)
    present = np.zeros((80, 2), bool)
    present[1:40, 0], present[1] = True, (False, True)
    made = made_snapshot(space, present, [3, 9])
    snapshot = replace(made, vectors=noisy / np.linalg.norm(noisy, axis=1, keepdims=True))
    rows = np.arange(40)
    standing = standings(snapshot, rows, np.arange(40, 80))
    assert np.argmin(standing.margin) == 0
    assert np.argmax(standing.oddity) == 1
    found = describe_set(snapshot, rows, shown=1)
    assert found.borderline[0].example.id == "r0" and found.odd[0].example.id == "r1"


def test_themes_partition_a_set(papers: FeatureIndex) -> None:
    snapshot = papers.state.snapshot()
    column = snapshot.column("metadata.topic")
    chosen = [column.values.index(one) for one in ("music", "cooking", "finance")]
    rows = np.flatnonzero(np.isin(column.codes, chosen))
    found = themes_of(snapshot, rows)
    assert sum(theme.size for theme in found) == len(rows) and len(found) >= 2
    ids = {snapshot.ids[row] for row in rows.tolist()}
    assert all({one.id for one in theme.central} <= ids and theme.name for theme in found)
    assert themes_of(snapshot, rows[:59]) == ()


def test_the_set_of_all_records_has_no_distinctive_findings(papers: FeatureIndex) -> None:
    found = papers.describe(list(papers.state.snapshot().ids))
    assert (
        not any(found.distinctive.values()) and not found.borderline and "no others" in found.not_comparable
    )


def test_a_set_needs_exactly_one_definition(papers: FeatureIndex) -> None:
    with pytest.raises(InvalidInputError, match="records: it is missing"):
        papers.describe()  # type: ignore[call-arg]
    with pytest.raises(InvalidInputError, match="no record"):
        papers.describe("metadata.year > 3000")
