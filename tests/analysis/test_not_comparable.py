"""What cannot be compared is said to be so, on every surface: it is never "no difference"."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from saeindex import FeatureIndex, Record
from saeindex.analysis.correlate.all_pairs import correlate_open
from saeindex.analysis.diff.diff import diff
from saeindex.analysis.diff.results import Diff
from saeindex.analysis.drift.drift import drift
from saeindex.analysis.stats.groups import Groups
from saeindex.analysis.stats.options import DiffOptions, DriftOptions
from saeindex.errors import InvalidInputError
from saeindex.report.model import describe
from tests.analysis.planted_snapshots import made_snapshot, unlike_features
from tests.cli.test_cli import call

if TYPE_CHECKING:
    from pathlib import Path

    from saeindex import FeatureSpace
    from tests.samples import RecordingEncoder

SHORT = ("Parcel late!", "Where is it?", "Box is broken.", "Not here yet.")
LONG = (
    "Dear customer service, I am writing about the invoice of last month, which I paid by transfer from my "
    "account, and I would like to ask for a refund of the sum that was charged twice, as the contract shows. "
)
A, B = 'metadata.kind = "short"', 'metadata.kind = "long"'


@pytest.fixture(scope="module")
def messages(
    space: FeatureSpace, session_encoder: RecordingEncoder, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FeatureIndex]:
    """Short messages and long ones: no length is of both."""
    texts = [(SHORT[i % 4] + f" {i}", "short") for i in range(40)] + [
        (LONG + f"No. {i}.", "long") for i in range(40)
    ]
    path = tmp_path_factory.mktemp("messages") / "messages.idx"
    with FeatureIndex.create(path, space, encoder=session_encoder) as index:
        index.upsert([Record(str(i), text, {"kind": kind, "day": i}) for i, (text, kind) in enumerate(texts)])
        yield index


@pytest.mark.parametrize("asked", ["diff", "monitor", "describe"])
def test_groups_whose_lengths_do_not_overlap_are_not_comparable(messages: FeatureIndex, asked: str) -> None:
    found: Any = messages.describe(A) if asked == "describe" else getattr(messages, asked)(A, B)
    told = " ".join(describe(found).summary)
    assert found.status == "not comparable" and "length_bins=0" in found.not_comparable
    assert "Not comparable" in told and "No difference" not in told and "No change" not in told
    assert set(found.tested.values()) == {0} and not list(found) if asked != "describe" else found.tested
    assert found.to_json()["status"] == "not comparable"
    assert type(found).from_json(found.to_json()).not_comparable == found.not_comparable


def test_a_comparison_that_is_none_has_no_power_and_no_hints(messages: FeatureIndex) -> None:
    found = messages.diff(A, B)
    assert not found.power and not found.hints and "could have been found" not in str(found)
    assert len(str(found).splitlines()) < 8
    assert messages.diff(A, B, length_bins=0).has_findings


def test_groups_too_small_for_any_test_are_not_comparable(messages: FeatureIndex) -> None:
    found = messages.diff(["0", "1"], ["2", "3"])
    assert found.status == "not comparable" and "none is in 5 records" in found.not_comparable


def test_a_saved_baseline_of_other_lengths_is_not_comparable(messages: FeatureIndex) -> None:
    alert = messages.monitor(messages.baseline(B), A)
    assert alert.status == "not comparable" and not len(alert)


def test_the_command_line_exits_2_and_json_says_why(messages: FeatureIndex, tmp_path: Path) -> None:
    messages.copy(tmp_path / "copy.idx")
    done = call("diff", str(tmp_path / "copy.idx"), "--a", A, "--b", B, "--json")
    assert done.returncode == 2 and json.loads(done.stdout)["status"] == "not comparable"
    asked = ("--reference", A, "--window", B)
    assert call("monitor", str(tmp_path / "copy.idx"), *asked).returncode == 2


def test_periods_that_share_no_stratum_are_not_comparable(space: FeatureSpace) -> None:
    features = unlike_features(space, 2)
    present = np.random.default_rng(0).random((90, 2)) < 0.5
    metadata = [{"year": 2_000 + i // 30, "source": f"s{i // 30}"} for i in range(90)]
    snapshot = made_snapshot(space, present, features, metadata=metadata)
    options = DriftOptions(strata=("metadata.source",), length_bins=0, families=("concepts",))
    found = drift(snapshot, "metadata.year", options=options)
    assert found.status == "not comparable" and found.tested == {"concepts": 0}
    assert "Nothing was found to drift" not in str(found)


def test_pairs_of_concepts_that_nobody_has_are_not_comparable(space: FeatureSpace) -> None:
    features = unlike_features(space, 2)
    snapshot = made_snapshot(space, np.eye(40, 2, dtype=bool), features)
    found = correlate_open(snapshot)
    assert found.status == "not comparable" and "Not comparable" in describe(found).summary[0]


def test_clusters_of_equal_texts_are_not_called_expressible(
    space: FeatureSpace, encoder: RecordingEncoder, tmp_path: Path
) -> None:
    with FeatureIndex.create(tmp_path / "equal.idx", space, encoder=encoder) as index:
        index.upsert([Record(str(i), "The same words again.") for i in range(20)])
        verdict = index.cluster("tone: angry, calm").verdict
    assert not verdict.expressible and "nothing tells" in verdict.reason


def alike(space: FeatureSpace, seed: int = 0, planted: bool = True) -> tuple[Any, Groups]:
    """Return four groups, two and two alike: the first concept is of A and A2, the second of B and B2."""
    rng, features = np.random.default_rng(seed), unlike_features(space, 12)
    group = np.repeat(np.arange(4), 50)
    share = np.full((200, 12), 0.3)
    if planted:
        share[:, 0], share[:, 1] = np.where(group < 2, 0.7, 0.1), np.where(group < 2, 0.1, 0.7)
    snapshot = made_snapshot(space, rng.random((200, 12)) < share, features, seed=seed)
    return snapshot, Groups(("A", "A2", "B", "B2"), tuple(np.flatnonzero(group == g) for g in range(4)))


def test_groups_that_resemble_each_other_differ_from_some(space: FeatureSpace) -> None:
    snapshot, groups = alike(space)
    found = diff(snapshot, groups, DiffOptions(families=("concepts",), length_bins=0))
    assert not len(found) and found.has_findings
    told = " ".join(describe(found).summary)
    assert "apart from every other" in told and "Between some of the groups differ: " in told
    keys = {one.key for one in found.any_difference["concepts"]}
    assert keys >= set(unlike_features(space, 12)[:2]) and len(keys) <= 3
    assert "Differences between some of the groups" in str(found) and "any-concepts" in found.tables()
    assert Diff.from_json(found.to_json()).any_difference == found.any_difference


def test_any_difference_has_its_error_rate_where_there_is_none(space: FeatureSpace) -> None:
    options = DiffOptions(families=("concepts",), length_bins=0, examples=0)
    runs = [diff(*alike(space, seed, planted=False), options).has_findings for seed in range(60)]
    assert sum(runs) <= 8  # of 60 at .05: 9 or more have a chance of .4 %


def test_a_group_of_nothing_but_examples_is_an_error(messages: FeatureIndex) -> None:
    with pytest.raises(InvalidInputError, match=r"the group 'a'.*examples"):
        messages.diff(["0", "1"], B, named=["late=like: 0, 1"], length_bins=0)
