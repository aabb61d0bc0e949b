"""An index moves to another space: as if it had been made with it, and back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from qdrant_client import QdrantClient

from saeindex import FeatureIndex, FeatureSpace, Record
from saeindex.config import SPACE_FOLDER
from saeindex.errors import InvalidInputError, MismatchError, NotFoundError
from saeindex.features import Calibration, FeatureLabel
from saeindex.indexing import upgrade
from saeindex.sae import SparseAutoencoder
from tests.indexing.recalibrated import N, fill, long_records, small_space
from tests.samples import RandomEncoder, all_points, contents

LOST = 8


@pytest.fixture(scope="module")
def old_space(space: FeatureSpace) -> FeatureSpace:
    labels = tuple(FeatureLabel(f"old {i}", trust=0.9) for i in range(N))
    return replace(small_space(space.encoder), labels=labels)


@pytest.fixture(scope="module")
def new_space(old_space: FeatureSpace) -> FeatureSpace:
    """The features of the old space in the reverse order, but for the last eight, which are new."""
    torch.manual_seed(7)
    sae = old_space.sae
    decoder = torch.flip(sae.decoder, [0])
    decoder[-LOST:] = torch.nn.functional.normalize(torch.randn(LOST, decoder.shape[1]), dim=1)
    other = SparseAutoencoder(decoder, sae.encoder_bias, decoder, sae.bias, k=10).half()
    x = np.random.default_rng(6).normal(0.02, 0.03, size=(400, decoder.shape[1])).astype(np.float32)
    return replace(
        old_space,
        name="new",
        sae=other,
        calibration=Calibration.measure(other.encode(x), x),
        labels=tuple(FeatureLabel(f"new {i}", trust=0.9) for i in range(N)),
    )


@pytest.fixture(params=["edge", "memory"])
def client(request: pytest.FixtureRequest) -> QdrantClient | None:
    return QdrantClient(":memory:") if request.param == "memory" else None


@pytest.fixture
def index(
    client: QdrantClient | None, old_space: FeatureSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FeatureIndex]:
    monkeypatch.chdir(tmp_path)
    with fill("notes", old_space, client) as index:
        yield index


@pytest.fixture
def folder(old_space: FeatureSpace, tmp_path: Path) -> Path:
    """A closed index in a directory, with a profile."""
    path = tmp_path / "kept"
    with fill(path, old_space, None) as index:
        profile = index.fit_profile("liked", like=["r1", "r2"])
        index.save_profile(profile.edited({2: 0.5, N - 1 - 3: -0.5, 3: 0.25}))
    return path


def test_an_upgraded_index_is_as_if_made_with_the_new_space(
    index: FeatureIndex,
    client: QdrantClient | None,
    new_space: FeatureSpace,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(upgrade, "PAGE", 7)
    report = index.upgrade(new_space)
    assert (report.matched, report.lost, report.points) == (N - LOST, LOST, index.store.count())
    assert report.changed == report.points
    with fill("made", new_space, client) as made:
        upgraded, expected = contents(index), contents(made)
        assert [point[0] for point in upgraded] == [point[0] for point in expected]
        for mine, theirs in zip(all_points(index), all_points(made), strict=True):
            assert mine.payload == theirs.payload
        hits = [h.id for h in index.search("quantum field", steer="+#3:0.5", limit=5)]
        assert hits == [h.id for h in made.search("quantum field", steer="+#3:0.5", limit=5)]
    assert index.manifest.space.fingerprint == new_space.fingerprint


def test_further_texts_are_upgraded_too(
    old_space: FeatureSpace, new_space: FeatureSpace, tmp_path: Path
) -> None:
    records = [Record(r.id, r.text, fields={"prompt": f"about {r.id}"}) for r in long_records(12)]
    made = []
    for name, space in (("a", old_space), ("b", new_space)):
        encoder = RandomEncoder(space.encoder)
        made.append(FeatureIndex.create(tmp_path / name, space, encoder=encoder, fields=("prompt",)))
        made[-1].add(records)
    made[0].upgrade(new_space)
    assert [p.payload for p in all_points(made[0])] == [p.payload for p in all_points(made[1])]
    for index in made:
        index.close()


def test_a_dry_run_reports_and_changes_nothing(folder: Path, new_space: FeatureSpace) -> None:
    with FeatureIndex.open(folder) as index:
        before, manifest = contents(index), index.manifest
        report = index.upgrade(new_space, dry_run=True)
        assert report.is_dry_run
        assert report.before == "small"
        assert report.to_json()["concepts"][0].keys() == {"label", "records", "becomes"}
        assert contents(index) == before
        assert index._manifest.read() == manifest
    assert not (folder / upgrade.NEXT_SPACE).exists()


def test_edits_of_profiles_move_to_the_features_that_correspond(
    folder: Path, new_space: FeatureSpace
) -> None:
    with FeatureIndex.open(folder) as index:
        report = index.upgrade(new_space)
        # Feature i is now N - 1 - i; the first eight of the old ones have no counterpart.
        assert report.profiles == {"liked": ({N - 1 - 3: 3}, {2: "old 2", 3: "old 3"})}
        assert index.steering_profile("liked").edits == {3: -0.5}
    with FeatureIndex.open(folder) as index:
        assert index.space.name == "new"
        assert index.steering_profile("liked").edits == {3: -0.5}


def test_labels_given_by_hand_move_or_are_named(
    old_space: FeatureSpace, new_space: FeatureSpace, tmp_path: Path
) -> None:
    labels = list(old_space.labels)
    labels[2], labels[20] = FeatureLabel("lost by hand", "manual"), FeatureLabel("kept by hand", "manual")
    named = replace(old_space, labels=tuple(labels))
    with fill(tmp_path / "notes", named, None) as index:
        report = index.upgrade(new_space)
        assert report.lost_labels == ("lost by hand",)
        assert index.space.labels[N - 1 - 20].text == "kept by hand"


def test_numbers_in_queries_are_translated_or_named(folder: Path, new_space: FeatureSpace) -> None:
    with FeatureIndex.open(folder) as index:
        with pytest.raises(NotFoundError, match="not upgraded"):
            index.upgraded_query("#20")
        index.upgrade(new_space)
        new = N - 1 - 20
        asked = '#20 AND NOT (#5 OR "like #20") AND metadata.n = 20'
        assert index.upgraded_query(asked) == (
            f'#{new} AND NOT (#5 OR "like #20") AND metadata.n = 20',
            (5,),
        )
        in_json = '{"kind": "not", "part": {"kind": "feature", "feature": %d}}'
        assert index.upgraded_query(in_json % 20) == (in_json % new, ())


def test_baselines_keep_words_and_the_concepts_that_have_a_counterpart(
    folder: Path, new_space: FeatureSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upgrade, "FEW", 1)
    with FeatureIndex.open(folder) as index:
        before = index.baseline("metadata.n < 60", unit=None)
        index.upgrade(new_space)
        with pytest.raises(InvalidInputError, match="a baseline of the feature space"):
            index.monitor(before, "metadata.n >= 60", unit=None)
        after, lost = index.upgraded_baseline(before)
        assert after.counts["words"] == before.counts["words"]
        with pytest.raises(InvalidInputError, match="the index has that space"):
            index.upgraded_baseline(after)
        with pytest.raises(InvalidInputError, match="was upgraded from"):
            index.upgraded_baseline(replace(before, fingerprint="0" * 64))
        assert {f"old {i}" for i in range(LOST)} & set(lost)
        made_now = index.baseline("metadata.n < 60", unit=None).counts["concepts"]
        assert after.counts["concepts"]
        for key, counts in after.counts["concepts"].items():
            assert abs(sum(counts) - sum(made_now.get(key, [0]))) <= 10  # of 60 records
        index.monitor(after, "metadata.n >= 60", unit=None)


def test_an_upgrade_can_be_undone_until_records_change(
    folder: Path, old_space: FeatureSpace, new_space: FeatureSpace
) -> None:
    with FeatureIndex.open(folder) as index:
        before, edits = contents(index), index.steering_profile("liked").edits
        with pytest.raises(InvalidInputError, match="not upgraded"):
            index.undo_upgrade()
        index.upgrade(new_space)
        assert contents(index) != before
        index.undo_upgrade()
        assert contents(index) == before
        assert (index.space.fingerprint, index.steering_profile("liked").edits) == (
            old_space.fingerprint,
            edits,
        )
    with FeatureIndex.open(folder, encoder=RandomEncoder(old_space.encoder)) as index:
        assert index.space.name == "small"
        index.upgrade(new_space)
        index.delete(["r5"])
        with pytest.raises(MismatchError, match="added or deleted") as refused:
            index.undo_upgrade()
        assert "--space small" in refused.value.do


def test_undoing_brings_edits_back_and_names_what_was_made_since(
    folder: Path, old_space: FeatureSpace, new_space: FeatureSpace
) -> None:
    with FeatureIndex.open(folder, encoder=RandomEncoder(old_space.encoder)) as index:
        before = index.steering_profile("liked").edits
        index.upgrade(new_space)
        FeatureSpace.load(folder / SPACE_FOLDER).with_labels(
            {6: "labelled since"}, RandomEncoder(old_space.encoder)
        ).save(folder / SPACE_FOLDER)
    with FeatureIndex.open(folder, encoder=RandomEncoder(old_space.encoder)) as index:
        index.rename(5, "named since")
        index.save_profile(index.steering_profile("liked").edited({7: 0.5}))
        index.save_profile(index.fit_profile("since", like=["r3"]).edited({9: 0.5}))
        report = index.undo_upgrade()
        assert report.profiles == {"liked": ({}, {7: "new 7"}), "since": ({}, {9: "new 9"})}
        assert report.lost_labels == ("labelled since", "named since")
        assert index.steering_profile("liked").edits == before
        assert not index.steering_profile("since").edits


def test_what_deletes_nothing_does_not_keep_an_upgrade_from_being_undone(
    folder: Path, old_space: FeatureSpace, new_space: FeatureSpace
) -> None:
    with FeatureIndex.open(folder) as index:
        index.upgrade(new_space)
        revision = index.manifest.revision
        assert index.delete(["nope"]) == 0
        assert index.delete(where="metadata.n > 100000") == 0
        assert index.manifest.revision == revision
        index.undo_upgrade()
        assert index.space.fingerprint == old_space.fingerprint


def test_undoing_after_new_levels_says_that_they_are_new(folder: Path, new_space: FeatureSpace) -> None:
    with FeatureIndex.open(folder) as index:
        index.upgrade(new_space)
        index.recalibrate()
        with pytest.raises(MismatchError, match="levels were measured anew"):
            index.undo_upgrade()


def test_a_space_of_another_encoder_is_refused(index: FeatureIndex, new_space: FeatureSpace) -> None:
    other = replace(new_space, encoder=replace(new_space.encoder, max_length=8))
    with pytest.raises(MismatchError, match="max_length"):
        index.upgrade(other)


class Stop(Exception):
    """Stands for the end of the process."""


@pytest.mark.parametrize("is_undo", [False, True])
@pytest.mark.parametrize("step", range(9))
def test_an_interrupted_upgrade_is_finished(
    folder: Path,
    old_space: FeatureSpace,
    new_space: FeatureSpace,
    monkeypatch: pytest.MonkeyPatch,
    step: int,
    is_undo: bool,
) -> None:
    with FeatureIndex.open(folder) as index:
        expected = contents(index)
        index.upgrade(new_space)
        expected = expected if is_undo else contents(index)
        if not is_undo:
            index.undo_upgrade()
        left, is_stopped = step, False

        def counted(call: Any) -> Any:
            def stopping(*arguments: Any, **options: Any) -> Any:
                nonlocal left, is_stopped
                left -= 1
                if left < 0:
                    is_stopped = True
                    raise Stop
                return call(*arguments, **options)

            return stopping

        with monkeypatch.context() as patched:
            patched.setattr(upgrade, "PAGE", 40)
            for name in ("upsert", "write_manifest", "flush"):
                patched.setattr(index.store, name, counted(getattr(index.store, name)))
            for name in ("rename", "unlink"):
                patched.setattr(Path, name, counted(getattr(Path, name)))
            with suppress(Stop):
                index.undo_upgrade() if is_undo else index.upgrade(new_space)
    assert is_stopped
    with FeatureIndex.open(folder, resume=True) as index:
        wanted = old_space if is_undo else new_space
        if index.space.fingerprint != wanted.fingerprint:  # stopped before anything was marked
            index.undo_upgrade() if is_undo else index.upgrade(new_space)
        assert contents(index) == expected
        assert index.space.fingerprint == wanted.fingerprint
