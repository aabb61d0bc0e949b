"""A feature space: fitted, saved, loaded, fingerprinted and validated."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from saeindex import FeatureIndex, FeatureSpace
from saeindex.errors import InvalidInputError, MismatchError, NotFoundError, UnknownConceptError
from saeindex.features import Calibration, FeatureLabel
from saeindex.sae import SparseAutoencoder, TrainingConfig
from tests.samples import SUBJECTS, RecordingEncoder, sample_records

TEXTS = [record.text for record in sample_records(1_500, seed=40)]
CONFIG = TrainingConfig(n_features=64, k=8, steps=120, batch_size=256)
Damage = Callable[[Path], object]


@pytest.fixture(scope="module")
def fitted_space(session_encoder: RecordingEncoder) -> FeatureSpace:
    return FeatureSpace.fit(TEXTS, config=CONFIG, encoder=session_encoder, name="small")


@pytest.fixture
def saved(fitted_space: FeatureSpace, tmp_path: Path) -> Path:
    return fitted_space.save(tmp_path / "small")


def test_a_fitted_space_reconstructs_held_out_texts_and_names_its_features(
    fitted_space: FeatureSpace,
) -> None:
    assert (fitted_space.n_features, fitted_space.sae.k, len(fitted_space.labels)) == (64, 8, 64)
    assert (fitted_space.report["texts"], fitted_space.report["held_out_texts"]) == (1_350, 75)
    assert fitted_space.report["held_out"]["nmse"] < 0.6
    assert fitted_space.report["held_out"]["active"] <= 8
    named = {word for label in fitted_space.labels for word in label.text.replace(",", "").split()}
    told = {word.lower() for subjects in SUBJECTS.values() for one in subjects for word in one.split()}
    assert len(named & {word for word in told if len(word) > 3}) >= 30
    np.testing.assert_allclose(np.linalg.norm(fitted_space.label_vectors, axis=1), 1, atol=1e-2)


def test_fitting_is_deterministic_and_embeddings_can_be_given(
    fitted_space: FeatureSpace, session_encoder: RecordingEncoder
) -> None:
    embeddings = session_encoder.encode_document(TEXTS)
    again = FeatureSpace.fit(TEXTS, config=CONFIG, encoder=session_encoder, embeddings=embeddings)
    assert again.fingerprint == fitted_space.fingerprint
    assert again.labels == fitted_space.labels
    with pytest.raises(InvalidInputError, match="one row for each text"):
        FeatureSpace.fit(TEXTS, config=CONFIG, encoder=session_encoder, embeddings=embeddings[1:])


def test_a_saved_space_is_loaded_unchanged(
    fitted_space: FeatureSpace, saved: Path, encoder: RecordingEncoder
) -> None:
    loaded = FeatureSpace.load(saved)
    assert loaded.fingerprint == fitted_space.fingerprint
    assert (loaded.name, loaded.encoder, loaded.report) == (
        fitted_space.name,
        fitted_space.encoder,
        fitted_space.report,
    )
    assert [(label.text, label.is_weak) for label in loaded.labels] == [
        (label.text, label.is_weak) for label in fitted_space.labels
    ]
    np.testing.assert_array_equal(loaded.label_vectors, fitted_space.label_vectors)
    x = encoder.encode_document(TEXTS[:50])
    assert loaded.sae.encode(x).values.tobytes() == fitted_space.sae.encode(x).values.tobytes()
    assert {path.name for path in saved.iterdir()} == {
        "space.json", "sae.safetensors", "calibration.safetensors", "labels.jsonl", "labels.safetensors",
        "families.json", "evidence.safetensors", "words.txt",
    }  # fmt: skip


def test_a_fingerprint_changes_with_weights_levels_and_encoder_but_not_with_names(
    fitted_space: FeatureSpace,
) -> None:
    sae, calibration = fitted_space.sae, fitted_space.calibration
    encoder = sae.encoder.clone()
    encoder[3, 3] += 0.25
    median = calibration.median.copy()
    median[5] *= 1.5
    changed = [
        replace(
            fitted_space, sae=SparseAutoencoder(encoder, sae.encoder_bias, sae.decoder, sae.bias, k=sae.k)
        ),
        replace(fitted_space, calibration=Calibration(9, calibration.density, median, calibration.p90)),
        replace(fitted_space, encoder=replace(fitted_space.encoder, max_length=128)),
    ]  # fmt: skip
    assert len({space.fingerprint for space in [fitted_space, *changed]}) == 4
    same = [
        replace(fitted_space, name="other"),
        replace(fitted_space, labels=tuple(FeatureLabel("x") for _ in fitted_space.labels)),
        replace(fitted_space, label_vectors=fitted_space.label_vectors * 0),
        replace(fitted_space, encoder=replace(fitted_space.encoder, model="a copy of it")),
        replace(fitted_space, report={}),
    ]
    assert {space.fingerprint for space in same} == {fitted_space.fingerprint}


def test_saving_over_a_space_replaces_it_completely(fitted_space: FeatureSpace, saved: Path) -> None:
    (saved / "stray.txt").write_text("from an earlier version")
    replace(fitted_space, name="second").save(saved)
    assert FeatureSpace.load(saved).name == "second"
    assert not (saved / "stray.txt").exists()
    assert [path.name for path in saved.parent.iterdir()] == ["small"]


def test_a_save_that_fails_leaves_the_old_space(
    fitted_space: FeatureSpace, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError("no space left on device")

    for broken in (Calibration, SparseAutoencoder):
        with monkeypatch.context() as patch, pytest.raises(OSError, match="no space left"):
            patch.setattr(broken, "save", full)
            replace(fitted_space, name="second").save(saved)
        assert FeatureSpace.load(saved).name == "small"
    replace(fitted_space, name="third").save(saved)
    assert FeatureSpace.load(saved).name == "third"
    assert [path.name for path in saved.parent.iterdir()] == ["small"]


def edit(name: str, change: Callable[[bytes], bytes]) -> Damage:
    return lambda folder: (folder / name).write_bytes(change((folder / name).read_bytes()))


@pytest.mark.parametrize(
    "damage",
    [
        edit("sae.safetensors", lambda raw: raw[:-8] + bytes(8)),
        edit("sae.safetensors", lambda raw: raw[:-100]),
        edit("sae.safetensors", lambda _: b""),
        edit("calibration.safetensors", lambda raw: raw[:-4] + bytes(4)),
        edit("calibration.safetensors", lambda raw: raw[:40]),
        edit("labels.jsonl", lambda raw: raw[: raw.index(b"\n") + 1]),
        edit("labels.jsonl", lambda raw: raw[:-10]),
        edit("labels.safetensors", lambda raw: raw[:-1]),
        edit("space.json", lambda raw: raw.replace(b'"max_length": 256', b'"max_length": 128')),
        edit("space.json", lambda raw: raw.replace(b'"encoder"', b'"encodr"')),
        edit("space.json", lambda raw: raw[:50]),
        edit("space.json", lambda _: b"[]"),
        edit("space.json", lambda raw: raw.replace(b'"format_version": 1', b'"format_version": 99')),
        lambda folder: (folder / "sae.safetensors").unlink(),
        lambda folder: (folder / "labels.jsonl").unlink(),
    ],
)
def test_a_tampered_space_is_refused(saved: Path, damage: Damage) -> None:
    damage(saved)
    with pytest.raises(MismatchError, match="feature space"):
        FeatureSpace.load(saved)


def test_labels_in_another_order_are_refused(saved: Path) -> None:
    lines = (saved / "labels.jsonl").read_text().splitlines()
    (saved / "labels.jsonl").write_text("\n".join(lines[::-1]) + "\n")
    with pytest.raises(MismatchError, match="feature space"):
        FeatureSpace.load(saved)


def test_indexes_of_one_space_share_it_also_where_its_files_were_changed_since(
    fitted_space: FeatureSpace, tmp_path: Path, encoder: RecordingEncoder
) -> None:
    read = FeatureSpace.load(fitted_space.save(tmp_path / "space"))

    def opened(name: str, space: FeatureSpace) -> FeatureSpace:
        FeatureIndex.create(tmp_path / name, space, encoder=encoder).close()
        with FeatureIndex.open(tmp_path / name, encoder=encoder) as index:
            return index.space

    assert opened("a.idx", read) is read is opened("b.idx", read)
    assert opened("c.idx", read.with_labels({1: "renamed"}, encoder)).labels[1].text == "renamed"
    labels = tmp_path / "space" / "labels.jsonl"
    labels.write_text(labels.read_text().replace("{", "{ ", 1))
    assert opened("d.idx", read).labels == read.labels
    edited = FeatureSpace.load(tmp_path / "space")
    assert edited is not read
    assert opened("e.idx", edited).labels == read.labels
    own = tmp_path / "space" / "space.json"
    described = json.loads(own.read_text())
    own.write_text(json.dumps({key: described[key] for key in described.keys() - {"files", "checksum"}}))
    assert opened("f.idx", FeatureSpace.load(tmp_path / "space")).labels == read.labels


def test_indexes_beside_each_other_share_the_files_of_their_space(
    fitted_space: FeatureSpace, tmp_path: Path, encoder: RecordingEncoder
) -> None:
    read = FeatureSpace.load(fitted_space.save(tmp_path / "made" / "space"))
    (tmp_path / "all").mkdir()

    def files_of(name: str, space: FeatureSpace) -> dict[str, int]:
        FeatureIndex.create(tmp_path / "all" / name, space, encoder=encoder).close()
        return {one.name: one.stat().st_ino for one in (tmp_path / "all" / name / "space").iterdir()}

    first, other = files_of("a.idx", read), files_of("b.idx", read.with_labels({1: "x"}, encoder))
    assert files_of("c.idx", read) == first and not {*first.values()} & {*other.values()}
    shutil.rmtree(tmp_path / "all" / "a.idx")
    (tmp_path / "all" / "c.idx").rename(tmp_path / "d.idx")
    with FeatureIndex.open(tmp_path / "d.idx", encoder=encoder) as index:
        assert index.space.fingerprint == read.fingerprint
    shutil.rmtree(tmp_path / "made")
    assert {*files_of("e.idx", read).values()} & {*first.values()} == set()


def test_an_unknown_space_lists_the_packaged_ones(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="minilm-concepts"):
        FeatureSpace.load("minilm-genral")
    with pytest.raises(NotFoundError):
        FeatureSpace.load(tmp_path)


def test_a_feature_outside_the_space_is_unknown(fitted_space: FeatureSpace) -> None:
    assert fitted_space.label(63) == fitted_space.labels[63]
    for feature in (-1, 64):
        with pytest.raises(UnknownConceptError, match="#0 to #63"):
            fitted_space.label(feature)


def test_the_packaged_space_belongs_to_the_bundled_encoder(
    space: FeatureSpace, encoder: RecordingEncoder
) -> None:
    space.check_encoder(encoder)
    assert (space.n_features, space.sae.k) == (len(space.labels), space.report["training"]["k"])
    described = json.dumps(space.report)
    assert "held_out" in described


def test_a_dense_space_has_no_concept_in_any_text(encoder: RecordingEncoder, tmp_path: Path) -> None:
    dense = FeatureSpace.dense(encoder)
    vectors = encoder.encode_document(TEXTS[:50])
    assert len(dense.encode(vectors).values) == len(dense.sae.encode_one(-vectors[0])[0]) == 0
    assert FeatureSpace.load(dense.save(tmp_path / "dense")).fingerprint == dense.fingerprint
    dense.check_encoder(encoder)
    with pytest.raises(InvalidInputError, match=r"^steer: .* no concepts\."):
        dense.check_concepts("steer")


def test_other_spaces_have_concepts(fitted_space: FeatureSpace) -> None:
    fitted_space.check_concepts("steer")
