"""Mismatches of an index and its parts are refused, with the fields asked, found and do."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from saeindex import FeatureIndex, FeatureSpace, Record
from saeindex.errors import (
    DamageError,
    IndexLockedError,
    InvalidInputError,
    MismatchError,
    NotFoundError,
    SaeIndexError,
    StorageError,
)
from saeindex.sae import SparseAutoencoder
from tests.samples import RandomEncoder


@pytest.fixture
def index_path(tmp_path: Path, space: FeatureSpace) -> Path:
    """A closed index of three records."""
    path = tmp_path / "notes.idx"
    with FeatureIndex.create(path, space, encoder=RandomEncoder(space.encoder)) as index:
        index.upsert([Record(str(n), f"text {n}", {}) for n in range(3)])
    return path


def other_space(space: FeatureSpace) -> FeatureSpace:
    """Return the space with one weight changed."""
    sae = space.sae
    bias = sae.bias.clone()
    bias[0] += 0.5
    changed = SparseAutoencoder(sae.encoder, sae.encoder_bias, sae.decoder, bias, k=sae.k)
    return FeatureSpace(
        space.name, space.encoder, changed, space.calibration, space.labels, space.label_vectors, {}
    )


def edit_manifest(index_path: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    manifest = json.loads((index_path / "manifest.json").read_text())
    edit(manifest)
    (index_path / "manifest.json").write_text(json.dumps(manifest))


def test_an_index_reports_its_counts_after_each_run(index_path: Path) -> None:
    with FeatureIndex.open(index_path) as index:
        assert index.state.manifest.counts.records == 3
        index.delete(["1"])
        assert index.state.manifest.counts.records == 2
    with FeatureIndex.open(index_path) as index:
        assert index.state.manifest.counts.records == index.info()["records"] == 2


def test_another_space_is_refused(index_path: Path, space: FeatureSpace) -> None:
    other = other_space(space)
    with pytest.raises(MismatchError) as caught:
        FeatureIndex.open(index_path, space=other)
    assert other.fingerprint[:12] in caught.value.asked
    assert space.fingerprint[:12] in caught.value.found
    assert "saeindex copy" in caught.value.do
    FeatureIndex.open(index_path, space=space).close()
    FeatureIndex.open(index_path, space=replace(space, name="the same under another name")).close()


def test_another_encoder_is_refused_on_creation_and_on_opening(
    index_path: Path, tmp_path: Path, space: FeatureSpace
) -> None:
    wrong = RandomEncoder(replace(space.encoder, max_length=64))
    with pytest.raises(MismatchError, match="max_length: the space has 256, the encoder 64"):
        FeatureIndex.open(index_path, encoder=wrong)
    with pytest.raises(MismatchError, match="max_length"):
        FeatureIndex.create(tmp_path / "new.idx", space, encoder=wrong)
    assert not (tmp_path / "new.idx").exists()
    FeatureIndex.open(index_path, encoder=RandomEncoder(replace(space.encoder, model="a copy"))).close()


@pytest.mark.parametrize("version", [0, 1, 3, "2"])
def test_another_format_is_refused(index_path: Path, version: object) -> None:
    edit_manifest(index_path, lambda manifest: manifest.update(format_version=version))
    with pytest.raises(MismatchError, match=f"it has format {version!r}.*Open it with"):
        FeatureIndex.open(index_path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda manifest: manifest.pop("space"),
        lambda manifest: manifest.update(surprise=1),
        lambda manifest: manifest["space"].update(n_features="many"),
        lambda manifest: manifest.update(sentences="some"),
        lambda manifest: manifest.update(calibration={"records": 3}),
    ],
)
def test_a_damaged_manifest_is_refused(index_path: Path, damage: Callable[[dict[str, Any]], object]) -> None:
    edit_manifest(index_path, damage)
    with pytest.raises(DamageError, match="damaged manifest"):
        FeatureIndex.open(index_path)


@pytest.mark.parametrize("content", ["{", "[]", ""])
def test_a_manifest_that_is_not_a_json_object_is_refused(index_path: Path, content: str) -> None:
    (index_path / "manifest.json").write_text(content)
    with pytest.raises(StorageError, match=r"manifest\.json"):
        FeatureIndex.open(index_path)


def test_a_refused_index_is_not_left_locked(index_path: Path, space: FeatureSpace) -> None:
    for _ in range(2):
        with pytest.raises(MismatchError):
            FeatureIndex.open(index_path, space=other_space(space))
    FeatureIndex.open(index_path).close()


@pytest.mark.parametrize("name", ["absent.idx", "empty", "folder", "file.txt"])
def test_a_folder_without_an_index_is_not_opened(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").write_text("not an index")
    (tmp_path / "file.txt").write_text("not an index")
    with pytest.raises(NotFoundError) as caught:
        FeatureIndex.open(tmp_path / name)
    assert name in str(caught.value)


def test_an_unfinished_index_is_not_opened_but_completed(
    index_path: Path, space: FeatureSpace, tmp_path: Path
) -> None:
    FeatureIndex.create(tmp_path / "b.idx", space).close()
    (tmp_path / "b.idx" / "manifest.json").unlink()
    with pytest.raises(NotFoundError, match="not finished"):
        FeatureIndex.open(tmp_path / "b.idx")
    FeatureIndex.create(tmp_path / "b.idx", space).close()
    FeatureIndex.open(tmp_path / "b.idx").close()


def test_an_existing_index_is_not_created_again(index_path: Path, space: FeatureSpace) -> None:
    with pytest.raises(MismatchError, match="already an index"):
        FeatureIndex.create(index_path, space)
    with FeatureIndex.open(index_path) as index:
        assert index.count() == 3
        with pytest.raises(IndexLockedError):
            FeatureIndex.open(index_path)
    (index_path / "manifest.json").unlink()
    with pytest.raises(MismatchError, match="already an index"):
        FeatureIndex.create(index_path, space)


def test_a_folder_with_other_files_is_not_used_for_an_index(tmp_path: Path, space: FeatureSpace) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InvalidInputError, match="thesis"):
        FeatureIndex.create(tmp_path, space)
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.tex"]


def test_an_index_with_a_damaged_space_is_refused(index_path: Path) -> None:
    weights = index_path / "space" / "sae.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1_000])
    with pytest.raises(SaeIndexError):
        FeatureIndex.open(index_path)
