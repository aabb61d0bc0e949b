"""Profiles: fitted, stored with the index, applied, edited and deleted."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from saeindex import FeatureIndex, FeatureSpace, Record, Steer
from saeindex.errors import InvalidInputError, MismatchError, NotFoundError, UnknownConceptError
from saeindex.steering.saved_profile import Profile
from saeindex.steering.steering import built_direction
from tests.samples import RecordingEncoder, prepared, sample_records

LIKE, UNLIKE = ["doc-4", "doc-17", "doc-30"], ["doc-5", "doc-6"]


@pytest.fixture(scope="module")
def index_folder(
    tmp_path_factory: pytest.TempPathFactory, space: FeatureSpace, session_encoder: RecordingEncoder
) -> Path:
    path = tmp_path_factory.mktemp("profiles") / "notes.idx"
    with FeatureIndex.create(path, space, encoder=session_encoder) as index:
        index.upsert(sample_records(60))
    return path


@pytest.fixture
def index(index_folder: Path, session_encoder: RecordingEncoder) -> Iterator[FeatureIndex]:
    """An index of 60 records without profiles."""
    with FeatureIndex.open(index_folder, encoder=session_encoder) as opened:
        yield opened
        for name in opened.profiles.names():
            keep(opened, {n: k for n, k in opened.state.manifest.profiles.items() if n != name})


def keep(index: FeatureIndex, profiles: dict[str, dict[str, Any]]) -> None:
    """Write profiles to the manifest as they are."""
    index._current.change(lambda _: {"profiles": profiles})


def test_a_profile_is_the_direction_of_its_examples(index: FeatureIndex) -> None:
    profile = index.profiles.fit("mine", like=LIKE, unlike=UNLIKE, description="sad")
    steer = Steer("sad", like=tuple(LIKE), unlike=tuple(UNLIKE))
    direction = built_direction(index.state, steer)
    np.testing.assert_allclose(profile.vector, direction.unit, atol=1e-7)
    assert profile.typical == direction.typical
    assert (profile.like, profile.unlike, profile.description) == (tuple(LIKE), tuple(UNLIKE), "sad")


def test_a_profile_steers_any_query_as_its_examples_would(index: FeatureIndex) -> None:
    index.profiles.fit("my voice", like=LIKE, unlike=UNLIKE)
    by_name = index.search("galaxies", steer='+"profile:my voice":0.7')
    by_examples = index.search("galaxies", steer=[Steer("", 0.7, like=tuple(LIKE), unlike=tuple(UNLIKE))])
    assert [hit.id for hit in by_name] == [hit.id for hit in by_examples]
    assert by_name.drift == pytest.approx(by_examples.drift, abs=1e-6)
    assert by_name.drift > 0
    assert by_name.plan.to_json()["steer"][0]["target"] == "profile:my voice"


def test_a_profile_is_stored_with_the_index(index_folder: Path, encoder: RecordingEncoder) -> None:
    with FeatureIndex.open(index_folder, encoder=encoder) as first:
        fitted = first.profiles.fit("kept", like=LIKE)
        hits = first.search("galaxies", steer="+profile:kept:1")
    with FeatureIndex.open(index_folder, encoder=encoder) as again:
        assert again.profiles.names() == ["kept"]
        assert again.profiles.get("kept") == fitted
        found = again.search("galaxies", steer="+profile:kept:1")
        assert [(hit.id, hit.score) for hit in found] == [(hit.id, hit.score) for hit in hits]
        again.profiles.delete("kept")
    with FeatureIndex.open(index_folder, encoder=encoder) as last:
        assert last.profiles.names() == []


def test_edits_change_the_direction_and_are_stored(index: FeatureIndex) -> None:
    profile = index.profiles.fit("mine", like=LIKE)
    removed = profile.direction(index.space).parts[0].feature
    index.profiles.save(profile.edited({removed: 0.0}).edited({7: 0.5}))
    kept = index.profiles.get("mine")
    assert kept.edits == {removed: 0.0, 7: 0.5}
    assert kept.unit == profile.unit
    before, after = profile.direction(index.space).unit, kept.direction(index.space).unit
    atoms = index.space.directions
    assert after @ atoms[removed] < before @ atoms[removed]
    assert after @ atoms[7] > before @ atoms[7]
    plan = prepared(index, "galaxies", steer="+profile:mine:1")
    np.testing.assert_allclose(plan.steers[0].direction.unit, after)


def test_fitting_again_replaces_a_profile(index: FeatureIndex) -> None:
    first = index.profiles.fit("mine", like=LIKE)
    second = index.profiles.fit("mine", like=UNLIKE)
    assert index.profiles.names() == ["mine"]
    assert index.profiles.get("mine") == second != first


def test_deleting_removes_one_profile(index: FeatureIndex) -> None:
    index.profiles.fit("mine", like=LIKE)
    index.profiles.fit("other", like=UNLIKE)
    index.profiles.delete("mine")
    assert index.profiles.names() == ["other"]
    with pytest.raises(NotFoundError, match="the index has other"):
        index.search("galaxies", steer="+profile:mine:1")


def test_an_unknown_profile_lists_the_existing_ones(index: FeatureIndex) -> None:
    index.profiles.fit("first", like=LIKE)
    index.profiles.fit("second", like=LIKE)
    for asked in (index.profiles.get, index.profiles.delete):
        with pytest.raises(NotFoundError, match="profile 'third': the index has first, second"):
            asked("third")


@pytest.mark.parametrize("name", ["", " x", "a:b", 'a"b', "a/b", "x" * 65, "-x", "a\nb", "a\n", "…"])
def test_names_that_a_steer_text_cannot_contain_are_refused(index: FeatureIndex, name: str) -> None:
    with pytest.raises(InvalidInputError, match="not a name"):
        index.profiles.fit(name, like=LIKE)


@pytest.mark.parametrize("name", ["a", "my-voice.2", "Größe 2", "2024", "x" * 64, "_x"])
def test_other_names_are_stored_and_usable_in_a_steer_text(index: FeatureIndex, name: str) -> None:
    index.profiles.fit(name, like=LIKE)
    assert index.profiles.names() == [name]
    assert index.plan("galaxies", steer=f'+"profile:{name}":0.5').drift > 0


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({}, "no liked record"),
        ({"unlike": ["doc-1"]}, "no liked record"),
        ({"description": "  "}, "no liked record"),
        ({"like": "doc-1"}, "Give a list"),
        ({"like": ["doc-1"], "unlike": "doc-2"}, "Give a list"),
        ({"like": ["doc-1"], "description": "x" * 10_001}, "at most 10000 characters"),
        ({"like": [f"doc-{i}" for i in range(1_001)]}, "1001 ids"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_unusable_examples_of_a_profile_are_refused(
    index: FeatureIndex, options: dict[str, Any], found: str
) -> None:
    with pytest.raises(InvalidInputError, match=found):
        index.profiles.fit("mine", **options)
    assert index.profiles.names() == []


def test_unknown_records_are_named(index: FeatureIndex) -> None:
    with pytest.raises(NotFoundError, match="no record 'doc-999'"):
        index.profiles.fit("mine", like=["doc-1", "doc-999"])


def test_invalid_edits_are_refused_before_they_are_stored(index: FeatureIndex) -> None:
    profile = index.profiles.fit("mine", like=LIKE)
    for weight in (float("nan"), float("inf"), 101.0):
        with pytest.raises(InvalidInputError, match=r"profile 'mine': edits\.7 should be "):
            profile.edited({7: weight})
    with pytest.raises(UnknownConceptError):
        index.profiles.save(profile.edited({9_999: 1.0}))
    assert index.profiles.get("mine") == profile


def of(vector: np.ndarray) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        ({"unit": "not base64"}, "base64"),
        ({"unit": of(np.ones(10) / 10**0.5)}, "10 dimensions, not 384"),
        ({"unit": of(np.full(384, np.nan))}, "not a unit vector"),
        ({"unit": of(np.zeros(384))}, "not a unit vector"),
        ({"typical": -1.0}, "typical should be greater than or equal to 0"),
        ({"typical": "much"}, "typical should be a valid number"),
        ({"mood": 1}, "mood is not known here"),
        ({"edits": {"x": 1.0}}, "edits.x"),
        ({"name": "other"}, "the profile saved under this name is 'other'"),
    ],
    ids=str,
)
def test_a_damaged_profile_is_detected(index: FeatureIndex, damage: dict[str, Any], found: str) -> None:
    kept = index.profiles.fit("mine", like=LIKE).model_dump(mode="json")
    keep(index, {"mine": {**kept, **damage}})
    with pytest.raises(MismatchError, match=f"profile 'mine': .*{found}.*Fit it again"):
        index.search("galaxies", steer="+profile:mine:1")
    assert len(index.search("galaxies")) == 10
    index.profiles.fit("mine", like=LIKE)
    assert index.search("galaxies", steer="+profile:mine:1").drift > 0


def test_a_damaged_profile_can_be_deleted(index: FeatureIndex) -> None:
    keep(index, {"mine": {"mood": 1}})
    index.profiles.delete("mine")
    assert index.profiles.names() == []


def test_at_most_a_hundred_profiles_are_stored(index: FeatureIndex) -> None:
    profile = index.profiles.fit("mine", like=LIKE)
    kept = profile.model_dump(mode="json")
    keep(index, {f"p{i}": {**kept, "name": f"p{i}"} for i in range(100)})
    with pytest.raises(InvalidInputError, match="100 profiles already"):
        index.profiles.save(profile)
    index.profiles.save(Profile.read(kept, "mine", 384).model_copy(update={"name": "p7"}))
    index.profiles.delete("p8")
    index.profiles.save(profile)
    assert len(index.profiles.names()) == 100


def test_profiles_survive_more_records(
    tmp_path: Path, space: FeatureSpace, encoder: RecordingEncoder
) -> None:
    records = sample_records(70)
    with FeatureIndex.create(tmp_path / "notes.idx", space, encoder=encoder) as index:
        index.upsert(records[:60])
        profile = index.profiles.fit("mine", like=LIKE)
        index.upsert(records[60:])
        assert index.profiles.get("mine") == profile
        index.delete([records[0].id])
        assert index.search("galaxies", steer="+profile:mine:1").drift > 0
    with FeatureIndex.open(tmp_path / "notes.idx", encoder=encoder) as again:
        assert again.profiles.get("mine") == profile


def test_two_handles_keep_each_other_s_changes(space: FeatureSpace, encoder: RecordingEncoder) -> None:
    from qdrant_client import QdrantClient

    client = QdrantClient(":memory:")
    with FeatureIndex.create("notes", space, client=client, encoder=encoder) as one:
        one.upsert([Record("a", "a spiral galaxy"), Record("b", "a lentil soup")])
        two = FeatureIndex.open("notes", client=client, encoder=encoder)
        one.profiles.fit("first", like=["a"])
        two.profiles.fit("second", like=["b"])
        assert two.profiles.names() == ["first", "second"]


def test_the_info_of_an_index_names_its_profiles(index: FeatureIndex) -> None:
    index.profiles.fit("mine", like=LIKE)
    assert index.info()["profiles"] == ["mine"]
