"""A person's own names for features, and features that they hid: kept with the index, everywhere."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from saeindex import FeatureIndex, FeatureSpace
from saeindex.errors import InvalidInputError, MismatchError, NotFoundError, UnknownConceptError
from saeindex.indexing.names import MAX_NAMES
from tests.samples import sample_records, small_space

OWN = "queries of a database"
TOO_MANY = {str(i): "x" for i in range(MAX_NAMES + 1)}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("names") / "index"
    with FeatureIndex.create(path) as index:
        index.upsert(sample_records(200))
    return path


@pytest.fixture
def folder(built: Path, tmp_path: Path) -> Path:
    """An index of its own for a test that writes."""
    return shutil.copytree(built, tmp_path / "index")


@pytest.fixture
def index(folder: Path) -> Iterator[FeatureIndex]:
    with FeatureIndex.open(folder) as index:
        yield index


def strongest(index: FeatureIndex) -> int:
    """Return the feature that is named first for the first record."""
    return index.search("database", explain=True)[0].features[0].id


def test_an_own_name_is_shown_wherever_the_feature_is(index: FeatureIndex) -> None:
    feature = strongest(index)
    index.concepts.rename(feature, f"  {OWN} ")
    assert index.concepts.card(feature).label.startswith(OWN)
    assert not index.concepts.card(feature).is_weak
    assert OWN in str(index.get([index.search("database")[0].id])[0].concepts)
    assert index.concepts.find(OWN, 1)[0].id == feature
    assert index.concepts.resolve(OWN).features[0].id == feature
    assert index.search("database", explain=True)[0].features[0].label.startswith(OWN)


def test_own_names_survive_closing_and_can_be_taken_back(folder: Path) -> None:
    with FeatureIndex.open(folder) as index:
        feature, was = 5, index.concepts.card(5).label
        index.concepts.rename(feature, OWN)
    with FeatureIndex.open(folder) as index:
        assert index.concepts.card(feature).label.startswith(OWN)
        index.concepts.rename(feature, "")
        assert index.concepts.card(feature).label == was
        assert [(one.feature, one.name) for one in index.concepts.history()] == [(5, OWN), (5, "")]


def test_a_hidden_feature_is_shown_last_until_it_is_shown_again(index: FeatureIndex) -> None:
    feature = strongest(index)
    index.concepts.hide(feature)
    assert index.concepts.card(feature).is_weak
    assert strongest(index) != feature
    index.concepts.hide(feature, False)
    assert strongest(index) == feature
    assert [one.is_hidden for one in index.concepts.history()] == [True, False]


def test_a_shipped_name_stays_and_no_other_feature_takes_it(index: FeatureIndex) -> None:
    (shipped,) = [one for one in index.concepts.find("database") if one.label == "database"][:1]
    for taker in (5, index.space.n_features - 1):
        with pytest.raises(InvalidInputError, match=f"#{shipped.id} has that name"):
            index.concepts.rename(taker, shipped.label.upper())
    assert [one.id for one in index.concepts.resolve(shipped.label).features] == [shipped.id]
    index.concepts.rename(shipped.id, "store of records")
    for name in ("store of records", shipped.label):
        assert [one.id for one in index.concepts.resolve(name).features] == [shipped.id]
    index.concepts.hide(shipped.id)
    assert [one.id for one in index.concepts.resolve(shipped.label).features] == [shipped.id]


def test_names_move_to_another_index_of_the_same_space_as_a_file(
    index: FeatureIndex, space: FeatureSpace, tmp_path: Path
) -> None:
    index.concepts.rename(5, OWN)
    index.concepts.hide(7)
    index.concepts.export(tmp_path / "names.json")
    with FeatureIndex.create(tmp_path / "other") as other:
        assert other.concepts.import_names(tmp_path / "names.json") == 2
        assert other.concepts.card(5).label == OWN
        assert other.concepts.card(7).is_weak
        assert other.concepts.take_names(index.concepts.names()) == 2
    with (
        FeatureIndex.create(tmp_path / "small", small_space(space.encoder)) as other,
        pytest.raises(MismatchError, match="features of another space"),
    ):
        other.concepts.import_names(tmp_path / "names.json")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("[1]", "object"),
        ('{"features_of": "x", "names": {"a": "b"}, "hidden": []}', "integer"),
        ('{"features_of": "x", "names": {}, "hidden": [], "more": 1}', "more is not known here"),
        (json.dumps({"features_of": "x", "names": TOO_MANY, "hidden": []}), "at most"),
    ],
)  # fmt: skip
def test_a_file_that_is_none_is_an_error_and_changes_nothing(
    index: FeatureIndex, tmp_path: Path, content: str, found: str
) -> None:
    path = tmp_path / "names.json"
    path.write_text(content)
    with pytest.raises(InvalidInputError, match=found):
        index.concepts.import_names(path)
    with pytest.raises(NotFoundError, match="no such file"):
        index.concepts.import_names(tmp_path / "absent.json")
    assert index.concepts.history() == []


def test_bad_names_and_features_are_errors_and_change_nothing(index: FeatureIndex) -> None:
    for bad in ("two\nlines", "x" * 201, "…", "#12", "family:x", "profile:x"):
        with pytest.raises(InvalidInputError):
            index.concepts.rename(5, bad)
    for feature in (-1, 10**6, "#", "no such concept"):
        with pytest.raises(UnknownConceptError):
            index.concepts.rename(feature, OWN)
        with pytest.raises(UnknownConceptError):
            index.concepts.hide(feature)
    assert index.concepts.history() == []
