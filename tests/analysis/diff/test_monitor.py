"""Alerts: raised on real change, not on chance or on small effects; against records and stored counts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from saeindex import FeatureIndex, FeatureSpace
from saeindex.analysis.diff.baseline import Baseline, baseline_of, monitor
from saeindex.analysis.stats.options import MonitorOptions
from saeindex.collection.snapshot import Snapshot
from saeindex.errors import InvalidInputError
from tests.analysis.planted_snapshots import made_snapshot, unlike_features

ONLY = {"families": ("concepts",), "length_bins": 0, "examples": 1}


@pytest.fixture(scope="module")
def features(space: FeatureSpace) -> list[int]:
    return unlike_features(space, 40)


def windows(space: FeatureSpace, features: list[int], rises: float, seed: int) -> Snapshot:
    """Return 3,000 records, of which the last 600 are a window where the first feature is more frequent."""
    rng = np.random.default_rng(seed)
    share = np.full((3_000, len(features)), 0.1)
    share[2_400:, 0] += rises
    texts = [f"word{number} and {'more ' * int(rng.integers(1, 40))}" for number in range(3_000)]
    return made_snapshot(space, rng.random(share.shape) < share, features, texts=texts)


BEFORE, AFTER = np.arange(2_400), np.arange(2_400, 3_000)


def test_a_real_change_raises_an_alert(space: FeatureSpace, features: list[int]) -> None:
    alert = monitor(windows(space, features, 0.2, 0), BEFORE, AFTER, MonitorOptions(**ONLY))  # type: ignore[arg-type]
    (one,) = alert
    assert one.key == features[0] and one.effect == pytest.approx(0.2, abs=0.05)
    as_json = alert.to_json()
    assert as_json["alert"] and as_json["severity"] == "high"
    changed = as_json["changed"]["concepts"][0]
    assert changed["freq"].keys() == {"window", "reference"} and changed["effect"] > 0
    assert str(alert).startswith("Alert (high): 1 changes, 600 records against 2,400.")
    assert alert.tables()["concepts"][0]["severity"] == "high"


def test_random_windows_raise_few_alerts(space: FeatureSpace, features: list[int]) -> None:
    raised = [
        len(monitor(windows(space, features, 0.0, seed), BEFORE, AFTER, MonitorOptions(**ONLY))) > 0  # type: ignore[arg-type]
        for seed in range(1, 21)
    ]
    assert sum(raised) <= 3  # of 20, where 1 is expected


def test_looks_and_families_share_the_error_rate() -> None:
    assert MonitorOptions(alpha=0.06, looks=3).spent == pytest.approx(0.01)
    for wrong in ({"looks": 0}, {"min_effect": 1.5}, {"min_odds_ratio": 0.5}, {"alpha": 1.0}):
        with pytest.raises(InvalidInputError):
            MonitorOptions(**wrong)


def test_a_negligible_change_is_not_an_alert(space: FeatureSpace, features: list[int]) -> None:
    snapshot = windows(space, features, 0.2, 0)
    for bound in ({"min_effect": 0.4}, {"min_odds_ratio": 8.0}):
        assert not len(monitor(snapshot, BEFORE, AFTER, MonitorOptions(**ONLY, **bound)))  # type: ignore[arg-type]


def test_stored_counts_and_records_give_the_same_alerts(
    space: FeatureSpace, features: list[int], tmp_path: Path
) -> None:
    snapshot = windows(space, features, 0.2, 2)
    kept = baseline_of(snapshot, BEFORE)
    kept.save(tmp_path / "kept.json")
    read = Baseline.load(tmp_path / "kept.json")
    assert read.to_json() == kept.to_json() and read.records == 2_400
    column = snapshot.at("typical")[BEFORE][:, features[0]]
    assert sum(read.counts["concepts"][str(features[0])]) == column.sum()
    options = MonitorOptions(min_effect=0.0, min_odds_ratio=1.0)
    (one,) = [found for found in monitor(snapshot, read, AFTER, options) if found.family == "concepts"]
    by_records = next(iter(monitor(snapshot, BEFORE, AFTER, options)))
    assert one.key == by_records.key == features[0]
    assert one.freq == pytest.approx(by_records.freq)
    assert one.effect == pytest.approx(by_records.effect, abs=0.01)


def test_a_baseline_of_another_space_is_refused(
    space: FeatureSpace, features: list[int], tmp_path: Path
) -> None:
    snapshot = windows(space, features, 0.0, 3)
    kept = baseline_of(snapshot, BEFORE, "strong")
    with pytest.raises(InvalidInputError, match="the level"):
        monitor(snapshot, kept, AFTER)
    for content in (
        "{",
        "[]",
        json.dumps({"format": 9}),
        json.dumps({"format": 1, "edges": [], "sizes": []}),
        json.dumps({**baseline_of(snapshot, BEFORE).to_json(), "sizes": [3]}),
        json.dumps({**baseline_of(snapshot, BEFORE).to_json(), "counts": {"words": {"a": ["many"]}}}),
    ):
        (tmp_path / "no.json").write_text(content)
        with pytest.raises(InvalidInputError, match="baseline"):
            Baseline.load(tmp_path / "no.json")
    with pytest.raises(InvalidInputError, match="no record"):
        monitor(snapshot, baseline_of(snapshot, BEFORE), np.zeros(0, np.int64))
    with pytest.raises(InvalidInputError, match="no record"):
        baseline_of(snapshot, np.zeros(0, np.int64))


def test_an_index_is_monitored(papers: FeatureIndex) -> None:
    music, others = 'metadata.topic = "music"', 'metadata.topic != "music"'
    alert = papers.monitor(others, music)
    assert {one.key for one in alert.changed["words"]} & {"violin", "jazz", "opera", "guitar"}
    kept = papers.baseline(others)
    from_kept = papers.monitor(kept, music)
    assert {one.key for one in from_kept.changed["words"]} & {"violin", "jazz", "opera", "guitar"}
    ids = list(papers.state.snapshot().ids)
    assert not len(papers.monitor(ids[:160], ids[160:]))
