"""An interrupted recalibration is completed, or the error has a remedy."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from qdrant_client import QdrantClient

from saeindex import FeatureIndex, FeatureSpace, files
from saeindex.errors import MismatchError, StorageError
from saeindex.indexing import recalibration
from tests.indexing.recalibrated import fill, has_own_levels, other_weights, small_space
from tests.interrupted import PATIENCE_S, processes, running
from tests.samples import contents


@pytest.fixture(scope="module")
def tiny_space(space: FeatureSpace) -> FeatureSpace:
    return small_space(space.encoder)


@pytest.fixture(scope="module")
def filled_path(tiny_space: FeatureSpace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("filled") / "notes"
    fill(path, tiny_space, None).close()
    return path


# Interrupted ------------------------------------------------------------------------------------------


def calibrate(path: Path, _: Path, reports: Connection) -> None:
    """Run `saeindex sae calibrate` in small steps that are printed."""
    torch.set_num_threads(1)
    recalibration.PAGE = 10  # type: ignore[attr-defined]
    hold = recalibration._hold

    def reporting(*arguments: Any) -> None:
        hold(*arguments)
        reports.send("page")

    recalibration._hold = reporting  # type: ignore[assignment]
    reports.send("started")
    with FeatureIndex.open(path, resume=True) as index:
        index.recalibrate()


@pytest.fixture(scope="module")
def uninterrupted(filled_path: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[Any]]:
    """The fingerprint and the points of an index whose calibration was not interrupted."""
    path = tmp_path_factory.mktemp("uninterrupted") / "notes"
    shutil.copytree(filled_path, path)
    with FeatureIndex.open(path) as index:
        return index.recalibrate().fingerprint, contents(index)


def state(path: Path, old: str, new: str) -> str:
    """Open the index as it is: with the old levels, with the new ones, or not at all."""
    try:
        with FeatureIndex.open(path) as index:
            fingerprint = index.space.fingerprint
            assert has_own_levels(index), "levels must never be mixed"
    except MismatchError as error:
        assert "saeindex sae calibrate" in error.do
        return "unfinished"
    return {old: "old", new: "new"}[fingerprint]


def test_kills_at_random_moments_lose_no_records_and_mix_no_levels(
    filled_path: Path, uninterrupted: tuple[str, list[Any]], tiny_space: FeatureSpace, tmp_path: Path
) -> None:
    new, expected = uninterrupted
    context, rng, path = processes(), np.random.default_rng(11), tmp_path / "notes"
    seen = []
    for attempt in range(12):
        if attempt % 4 == 0:  # several kills before it completes
            shutil.rmtree(path, ignore_errors=True)
            shutil.copytree(filled_path, path)
        with running(context, calibrate, path, path) as (process, reports):
            for _ in range(int(rng.integers(0, 120))):
                if reports.poll(PATIENCE_S):
                    try:
                        reports.recv()
                    except EOFError:
                        break
            reports.poll(float(rng.uniform(0, 0.05)))
            process.kill()
            process.join(PATIENCE_S)
            assert process.exitcode in (-signal.SIGKILL, 0)
        seen.append(state(path, tiny_space.fingerprint, new))
        if attempt % 4 == 3:
            with FeatureIndex.open(path, resume=True) as index:
                index.recalibrate()
                assert index.space.fingerprint == new
                assert contents(index) == expected
    assert "unfinished" in seen


class Killed(BaseException):
    """Simulates a kill at a given place: nothing may catch it."""


def kill(*_: object) -> None:
    raise Killed


def killing_after(call: Callable[..., Any], times: int) -> Callable[..., Any]:
    """Return ``call``, which raises Killed after it was called so many times."""
    left = times

    def counted(*arguments: Any) -> Any:
        nonlocal left
        result = call(*arguments)
        left -= 1
        if not left:
            raise Killed
        return result

    return counted


@pytest.mark.parametrize("place", ["mark", "first page", "before the folder", "in the folder", "manifest"])
def test_a_kill_at_each_step_is_resumed(
    place: str,
    filled_path: Path,
    uninterrupted: tuple[str, list[Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    new, expected = uninterrupted
    path = tmp_path / "notes"
    shutil.copytree(filled_path, path)
    index = FeatureIndex.open(path)
    with monkeypatch.context() as patch:
        if place == "mark":
            patch.setattr(index.store, "write_manifest", killing_after(index.store.write_manifest, 1))
        elif place == "first page":
            patch.setattr(index.store, "set_payload", killing_after(index.store.set_payload, 1))
        elif place == "before the folder":
            patch.setattr(files, "_swap", kill)
        elif place == "in the folder":
            patch.setattr(Path, "rename", killing_after(Path.rename, 1))
        else:
            patch.setattr(index.store, "write_manifest", killing_after(index.store.write_manifest, 2))
        with pytest.raises(Killed):
            index.recalibrate()
    if place != "manifest":
        with pytest.raises(MismatchError, match="sae calibrate"):
            FeatureIndex.open(path)
    with FeatureIndex.open(path, resume=True) as index:
        assert (index.space.fingerprint, contents(index)) == (new, expected)
    with FeatureIndex.open(path) as index:
        assert (index.space.fingerprint, contents(index)) == (new, expected)
    assert FeatureSpace.load(path / "space").fingerprint == new
    assert not list(path.glob(".space*"))


def test_an_error_during_recalibration_closes_the_index(
    filled_path: Path, uninterrupted: tuple[str, list[Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "notes"
    shutil.copytree(filled_path, path)
    index = FeatureIndex.open(path)

    def full(_: object) -> None:
        raise StorageError("set_payload", "the disk is full", "Free some space")

    monkeypatch.setattr(index.store, "set_payload", full)
    with pytest.raises(StorageError, match="disk is full"):
        index.recalibrate()
    with pytest.raises(StorageError, match="closed"):
        index.count()
    with FeatureIndex.open(path, resume=True) as index:
        assert contents(index) == uninterrupted[1]


def test_an_interrupted_collection_is_finished_with_the_space_that_it_was_built_on(
    tiny_space: FeatureSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    client = QdrantClient(":memory:")
    index = fill("notes", tiny_space, client)
    monkeypatch.setattr(index.store, "set_payload", killing_after(index.store.set_payload, 1))
    with pytest.raises(Killed):
        index.recalibrate()
    wrong = replace(tiny_space, sae=other_weights(tiny_space.sae))
    with pytest.raises(MismatchError, match="sae calibrate"):
        FeatureIndex.open("notes", client=client, space=tiny_space)
    with pytest.raises(MismatchError, match="built with"):
        FeatureIndex.open("notes", client=client, space=wrong, resume=True)
    with FeatureIndex.open("notes", client=client, space=tiny_space, resume=True) as resumed:
        assert resumed.recalibrate().changed == 0
        assert resumed.space.fingerprint != tiny_space.fingerprint
