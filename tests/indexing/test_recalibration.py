"""An index takes its levels from its own corpus: the same on every store."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qdrant_client import QdrantClient

from saeindex import FeatureIndex, FeatureSpace, Record
from saeindex.config import RECORD_CONCEPTS
from saeindex.errors import InvalidInputError, MismatchError, SaeIndexError
from saeindex.features import Calibration
from saeindex.indexing import recalibration
from saeindex.protocols import Point
from saeindex.types import SparseCode
from tests.indexing.recalibrated import N, fill, has_own_levels, other_weights, small_space
from tests.samples import RandomEncoder, all_points, code_of, contents, dense


@pytest.fixture(scope="module")
def tiny_space(space: FeatureSpace) -> FeatureSpace:
    return small_space(space.encoder)


@pytest.fixture(scope="module")
def filled_path(tiny_space: FeatureSpace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("filled") / "notes"
    fill(path, tiny_space, None).close()
    return path


@pytest.fixture(params=["edge", "memory"])
def client(request: pytest.FixtureRequest) -> QdrantClient | None:
    return QdrantClient(":memory:") if request.param == "memory" else None


@pytest.fixture
def index(
    client: QdrantClient | None, tiny_space: FeatureSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FeatureIndex]:
    """An index of records with several passages, on every store in turn."""
    monkeypatch.chdir(tmp_path)
    with fill("notes", tiny_space, client) as index:
        yield index


def stored_code(points: list[Point]) -> SparseCode:
    codes = [code_of(point) for point in points]
    ends = np.cumsum([0, *(len(code.indices) for code in codes)])
    indices, values = (np.concatenate([getattr(c, part) for c in codes]) for part in ("indices", "values"))
    return SparseCode(ends, indices, values, N)


def expected_levels(points: list[Point], tiny_space: FeatureSpace, min_count: int) -> Calibration:
    """Return the levels of this corpus, computed from the stored codes one feature at a time."""
    z = stored_code(points).to_csr().toarray()
    own = [z[z[:, i] > 0, i] for i in range(N)]
    is_rare = np.array([len(values) < min_count for values in own])
    median, p90 = (
        np.array([np.quantile(values, share) if len(values) else np.inf for values in own], np.float32)
        for share in (0.5, 0.9)
    )
    assert is_rare.any()
    assert not is_rare.all()
    fit = tiny_space.calibration
    density = (z > 0).mean(0).astype(np.float32)
    return Calibration(
        len(points), density, np.where(is_rare, fit.median, median), np.where(is_rare, fit.p90, p90)
    )


# Effects ----------------------------------------------------------------------------------------------


def test_the_corpus_of_an_index_is_measured_from_what_it_stores(index: FeatureIndex) -> None:
    points = all_points(index)
    measured = index.measure_calibration()
    vectors = np.stack([dense(point) for point in points])
    expected = Calibration.measure(stored_code(points), vectors)
    assert measured.records == len(points) == index.store.count()
    for name in ("density", "median", "p90"):
        np.testing.assert_array_equal(getattr(measured, name), getattr(expected, name))
    np.testing.assert_allclose(measured.mean, vectors.mean(0), atol=1e-6)  # type: ignore[arg-type]


def test_each_point_gets_the_levels_of_its_corpus_and_is_otherwise_unchanged(
    index: FeatureIndex, tiny_space: FeatureSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recalibration, "PAGE", 7)
    before = all_points(index)
    min_count = int(np.median(np.bincount(stored_code(before).indices, minlength=N)))
    with_rare_levels_of = Calibration.with_rare_levels_of
    monkeypatch.setattr(
        Calibration, "with_rare_levels_of", lambda own, fit: with_rare_levels_of(own, fit, min_count)
    )
    expected = expected_levels(before, tiny_space, min_count)
    report = index.recalibrate()
    after = all_points(index)
    unions: dict[str, set[int]] = {}
    for old, new in zip(before, after, strict=True):
        code = code_of(new)
        assert new.payload["concepts"] == expected.concept_codes(code.indices, code.values).tolist()
        unions.setdefault(new.payload["record_id"], set()).update(new.payload["concepts"])
        assert code.values.tobytes() == code_of(old).values.tobytes()
        assert dense(new).tobytes() == dense(old).tobytes()
        assert [k for k in old.payload if old.payload[k] != new.payload[k]] in (
            [],
            ["concepts"],
            ["concepts", RECORD_CONCEPTS],
            [RECORD_CONCEPTS],
        )
    firsts = [point for point in after if RECORD_CONCEPTS in point.payload]
    assert len(firsts) > 40
    for point in firsts:
        assert point.payload[RECORD_CONCEPTS] == sorted(unions[point.payload["record_id"]])
    changed = sum(old.payload != new.payload for old, new in zip(before, after, strict=True))
    assert (report.points, report.changed) == (len(after), changed)
    assert changed > len(after) / 2


def test_wrong_levels_are_right_afterwards(index: FeatureIndex) -> None:
    report = index.recalibrate()
    assert report.before.levels_are_off
    assert not report.after.levels_are_off
    assert report.after.typical_share == pytest.approx(0.5, abs=0.02)
    assert report.after.strong_share == pytest.approx(0.1, abs=0.03)


def test_the_index_opens_with_new_levels_and_a_second_run_changes_nothing(
    index: FeatureIndex, client: QdrantClient | None, tiny_space: FeatureSpace
) -> None:
    report = index.recalibrate()
    assert index.space.fingerprint == report.fingerprint != tiny_space.fingerprint
    again = index.recalibrate()
    assert (again.changed, again.fingerprint) == (0, report.fingerprint)
    stored = contents(index)
    index.close()
    with FeatureIndex.open("notes", client=client, space=tiny_space if client else None) as opened:
        assert opened.space.fingerprint == report.fingerprint
        assert contents(opened) == stored
        assert opened.info()["levels_of"] == "its own corpus"
        opened.encoder = RandomEncoder(tiny_space.encoder)
        opened.add([Record("new", "One more note about bread and the stars above", {})])
        assert has_own_levels(opened)
    if client is None:
        kept = FeatureSpace.load("notes/space")
        assert (kept.fingerprint, kept.labels) == (report.fingerprint, tiny_space.labels)
    with pytest.raises(MismatchError):
        FeatureIndex.open(
            "notes", client=client, space=replace(tiny_space, sae=other_weights(tiny_space.sae))
        )


def test_an_empty_index_is_not_calibrated(tiny_space: FeatureSpace, tmp_path: Path) -> None:
    with FeatureIndex.create(tmp_path / "empty", tiny_space) as index:
        with pytest.raises(InvalidInputError, match="no records"):
            index.recalibrate()
        assert index.level_drift().summary() == "nothing is stored yet"
        assert index.count() == 0


# Two processes on one collection -----------------------------------------------------------------------


def test_an_earlier_handle_can_no_longer_write(
    tiny_space: FeatureSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    client = QdrantClient(":memory:")
    stale = fill("notes", tiny_space, client)
    with FeatureIndex.open("notes", client=client, space=tiny_space) as index:
        index.recalibrate()
        expected, manifest = contents(index), index.store.read_manifest()
        with pytest.raises(MismatchError, match="Open it again"):
            stale.add([Record("late", "A late note", {})])
        with pytest.raises(MismatchError, match="Open it again"):
            stale.delete(["r1"])
        with pytest.raises(MismatchError, match="Open it again"):
            stale.recalibrate()
        assert contents(index) == expected
        assert index.store.read_manifest() == manifest


def test_a_point_written_with_old_levels_is_found_and_the_mark_restored(
    tiny_space: FeatureSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(recalibration, "PAGE", 50)
    index = fill("notes", tiny_space, QdrantClient(":memory:"))
    old = {point.id: {"concepts": point.payload["concepts"]} for point in all_points(index)}
    plain, set_payload, pages = index.store.read_manifest(), index.store.set_payload, 0

    def write_in_between(payloads: Any) -> None:
        nonlocal pages
        set_payload(payloads)
        pages += 1
        if pages == 3:  # like a run that was in the middle of a write
            set_payload(dict(list(old.items())[:20]))
            index.store.write_manifest(plain)

    monkeypatch.setattr(index.store, "set_payload", write_in_between)
    index.recalibrate()
    assert has_own_levels(index)
    assert index.store.read_manifest()["space"]["fingerprint"] == index.space.fingerprint


# The manifest -----------------------------------------------------------------------------------------


def test_an_older_manifest_opens(filled_path: Path, tmp_path: Path) -> None:
    path = tmp_path / "notes"
    shutil.copytree(filled_path, path)
    manifest = json.loads((path / "manifest.json").read_text())
    del manifest["calibration"], manifest["recalibration"], manifest["checksum"]
    (path / "manifest.json").write_text(json.dumps(manifest))
    with FeatureIndex.open(path) as index:
        assert index.manifest.calibration is None
        assert index.manifest.recalibration is None
        assert index.count() == 80


@pytest.mark.parametrize("damage", ["not base64!", "AAAA", "AAAAAA==", ""])
def test_damaged_levels_are_refused(filled_path: Path, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "notes"
    shutil.copytree(filled_path, path)
    with FeatureIndex.open(path) as index:
        index.recalibrate()
    shutil.rmtree(path / "space")
    shutil.copytree(filled_path / "space", path / "space")  # so that the manifest's levels are needed
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["calibration"]["median"] = damage
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(SaeIndexError):
        FeatureIndex.open(path)
