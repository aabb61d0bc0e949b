"""Spaces made for an encoder: the named concepts, their evidence, and where they are found again."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from saeindex import FeatureIndex, FeatureSpace, Record
from saeindex.encoders import open_encoder
from saeindex.errors import MismatchError
from saeindex.features import encoder_space
from saeindex.features.dictionary import USES, definitions, dictionary
from saeindex.features.encoder_space import Material, told_apart
from saeindex.features.evidence_fit import directions_of, evidence_for
from saeindex.features.space_io import place_for, space_for
from saeindex.files import CACHE_VARIABLE
from saeindex.operations.copies import copy_cost
from saeindex.sae.training_config import TrainingConfig
from tests.cli.test_cli import call
from tests.samples import RandomEncoder, sample_records

SMALL = TrainingConfig(n_features=96, k=8, steps=60, k_named=4, refined_phase=0.0)


@pytest.fixture(scope="module")
def other(space: FeatureSpace) -> RandomEncoder:
    """An encoder that reads nothing, of 32 dimensions: what is found is found by words."""
    return RandomEncoder(replace(space.encoder, model="other", revision="sha256:other", dimension=32))


@pytest.fixture(scope="module")
def made(other: RandomEncoder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FeatureSpace]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(tmp_path_factory.mktemp("cache")))
        patch.setattr(encoder_space, "definitions", lambda: definitions()[::400])
        patch.setattr(encoder_space, "LABELLED", 100)
        yield FeatureSpace.make(other, [one.text for one in sample_records(60)], config=SMALL)


def test_the_dictionary_has_the_concepts_of_the_default_space(space: FeatureSpace) -> None:
    assert space.evidence is not None
    assert len(dictionary().words) == len(space.evidence.features)
    label = space.labels[space.evidence.features[0]]
    assert (label.text, dictionary().words[0][:2]) == ("product", ("merchandise", "goods"))
    counts = {use: len(dictionary().judged[use].rows) for use in USES}
    assert counts["fit"] > 7_000
    assert counts["held out"] >= 900
    assert len(definitions()) > 90_000
    sentences = [set(dictionary().judged[use].sentences) for use in USES]
    assert not sentences[0] & sentences[2]


def test_all_concepts_have_evidence_and_names(
    made: FeatureSpace, space: FeatureSpace, tmp_path: Path
) -> None:
    assert space.evidence is not None
    assert made.evidence is not None
    features = made.evidence.features
    assert len(features) == len(space.evidence.features)
    assert (np.diff(features) > 0).all()
    names = {made.labels[feature].text for feature in features.tolist()}
    assert names == {space.labels[feature].text for feature in space.evidence.features.tolist()}
    own = [one for one in features.tolist() if one < made.sae.n_features]
    assert len(own) == made.report["made"]["expressed"]
    for phrase in ("product", "war", "battery"):
        ours = {made.labels[one].text for one, _ in made.evidence.named_by(phrase)}
        assert ours == {space.labels[one].text for one, _ in space.evidence.named_by(phrase)}
    judged = made.report["made"]["judged"]
    assert judged["this"]["all"] > 0.8  # by words alone
    assert judged["default"]["all"] > judged["this"]["all"]
    again = FeatureSpace.load(made.save(tmp_path / "made"))
    assert again.fingerprint == made.fingerprint


def test_an_index_over_it_finds_concepts(made: FeatureSpace, other: RandomEncoder, tmp_path: Path) -> None:
    records = [Record("a", "The war went on for years."), Record("b", "We ate soup and bread.")]
    with FeatureIndex.create(tmp_path / "a.idx", made, encoder=other) as index:
        index.upsert(records)
        assert [one.id for one in index.search(where='"war"')] == ["a"]
        hit = index.search("soup", where='NOT "war"', explain=True)[0]
        assert hit.id == "b"
        assert hit.explanation is not None
        assert hit.explanation.total == pytest.approx(hit.score, abs=1e-5)


def test_the_next_index_with_the_encoder_finds_it(
    made: FeatureSpace, other: RandomEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    with pytest.raises(MismatchError, match=r"no space was made for it.*saeindex space make"):
        FeatureIndex(tmp_path / "a.idx", encoder=other)
    place = place_for(other.identity, Material.of(["a text"]).digest)
    place.parent.mkdir(parents=True)
    made.save(place)
    with FeatureIndex(tmp_path / "a.idx", encoder=other) as index:
        assert index.space.fingerprint == made.fingerprint
    with FeatureIndex.create(tmp_path / "b.idx", encoder=other) as index:
        assert index.space.fingerprint == made.fingerprint
    assert space_for(None) == space_for(open_encoder()) == "minilm-concepts"


def test_a_copy_for_it_carries_what_a_person_made(
    made: FeatureSpace, other: RandomEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    place = place_for(other.identity, "1")
    place.parent.mkdir(parents=True)
    made.save(place)
    texts = ["The war went on for years.", "We ate soup and bread.", "The parcel came a week late."]
    records = [Record(f"{text[:5]}{row}", f"{text} {row} of them.") for row in range(12) for text in texts]
    with FeatureIndex.create(tmp_path / "a.idx") as index:
        index.upsert(records)
        index.update(where='"war"', set={"is_read": True})
        soup = index.concepts.find("soup")[0].id
        index.concepts.rename("war", "armed conflict")
        index.concepts.hide(soup)
        index.concepts.define("slow delivery", examples=["It arrived a week late."])
        told = [index.concepts.card(one.feature).label for one in index.concepts.history()]
        slow = index.count('"slow delivery"')
        profile = index.profiles.fit("of mine", like=["The w0"], unlike=["We at0"])
        index.profiles.edit("of mine", {soup: 0.5})
        report = index.copy(tmp_path / "b.idx", encoder=other)
    assert copy_cost(tmp_path / "a.idx").texts == 0
    cost = copy_cost(tmp_path / "a.idx", encoder=other)
    assert cost.texts == 3 * len(records)
    assert (report.lost_names, report.lost_profiles, report.names) == ((), (), 1)
    before, now = report.redefined["slow delivery"]
    with FeatureIndex.open(tmp_path / "b.idx", encoder=other) as copied:
        assert copied.space.fingerprint == made.fingerprint
        assert {one.id[:5] for one in copied.search(where='"armed conflict"')} == {"The w"}
        assert all(one.metadata["is_read"] for one in copied.search(where='"armed conflict"'))
        assert (before, now) == (slow, copied.count('"slow delivery"'))
        assert slow and now
        assert [copied.concepts.card(one.feature).label for one in copied.concepts.history()] == told
        assert copied.concepts.find("slow delivery")[0].label == "slow delivery"
        again = copied.profiles.get("of mine")
        assert (again.like, again.unlike, len(again.vector)) == (profile.like, profile.unlike, 32)
        assert [copied.space.labels[one].text for one in again.edits] == ["soup"]
        assert copied.search("anything", steer='+"profile:of mine"')


def test_a_command_refuses_what_it_cannot_make_or_would_overwrite(tmp_path: Path) -> None:
    refused = call("space", "make", "no/such-model", "--into", "a", cwd=tmp_path)
    assert "no/such-model" in refused.stderr
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("x")
    refused = call("space", "make", "minilm", "--into", "full", cwd=tmp_path)
    assert "it contains other files" in refused.stderr


@pytest.mark.slow
def test_a_command_makes_one_and_takes_an_index_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(encoder_space, "definitions", lambda: definitions()[::400])
    monkeypatch.setattr(encoder_space, "training_of", lambda _: SMALL)
    texts = tmp_path / "notes.jsonl"
    records = [
        Record(one.id, f"{one.text} It was said by number {row}.")
        for row, one in enumerate(sample_records(40))
    ]
    texts.write_text("".join(json.dumps({"id": one.id, "text": one.text}) + "\n" for one in records))
    command = (
        "space",
        "make",
        "sentence-transformers/all-MiniLM-L6-v2",
        "--dimensions",
        "64",
        "--texts",
        "notes.jsonl",
    )
    made = call(*command, "--into", "mine", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    said, table = made.stdout.split("\n", 1)
    cost = r"\d\d,\d{3} texts of about \d{3},\d{3} tokens to encode, about .* minutes?"
    assert re.fullmatch(rf"{cost}; and 60 steps of training, about a minute\.", said)
    assert re.search(r"no word says it +0\.\d{3}   default space 0\.\d{3}", table)
    assert re.search(r"searches the rest of it.*\n +all +0\.\d{3}   default space 0\.\d{3}", table)
    assert "saeindex copy OLD NEW --space mine" in table
    again = call(*command, "--into", "again", cwd=tmp_path)
    assert again.stdout.startswith("No text to encode")
    spaces = [FeatureSpace.load(tmp_path / name) for name in ("mine", "again")]
    assert spaces[0].fingerprint == spaces[1].fingerprint
    assert spaces[0].encoder.dimension == 64
    assert call("index", "notes.jsonl", "--into", "a.idx", cwd=tmp_path).returncode == 0
    copied = call("copy", "a.idx", "b.idx", "--space", "mine", cwd=tmp_path)
    assert re.match(r"\d+ texts of about \d,\d{3} tokens to encode, about a minute\.", copied.stdout)
    with FeatureIndex.open(tmp_path / "b.idx") as index:
        assert len(index) == len(records)
        assert index.search(records[3].text, limit=1)[0].id == records[3].id


@pytest.mark.slow
def test_evidence_fitted_on_the_shipped_pairs_is_as_good_as_the_packaged_one(space: FeatureSpace) -> None:
    assert space.evidence is not None
    encoder, known = space.open_encoder(), space.evidence
    labels = [space.labels[feature] for feature in known.features.tolist()]
    named = [(one.text, one.description, own) for one, own in zip(labels, dictionary().words, strict=True)]
    np.testing.assert_allclose(directions_of(named, encoder), known.directions, atol=0.02)
    ours = told_apart(evidence_for(known, labels, encoder, known.mean), encoder)
    theirs = told_apart(known, encoder)
    assert all(ours[part] > theirs[part] - 0.01 for part in theirs), json.dumps([ours, theirs])
