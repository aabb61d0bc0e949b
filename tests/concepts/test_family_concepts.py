"""Families in a space: stored, and used as concepts and steering targets."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from saeindex import FeatureIndex, FeatureSpace, Record
from saeindex.concepts.resolver import ConceptResolver
from saeindex.errors import MismatchError, UnknownConceptError
from saeindex.features import FeatureLabel
from saeindex.features.families import Family, load_families, save_families
from tests.samples import RecordingEncoder, prepared

FAMILIES = (
    Family(0, "a: b", (4, 2, 1), (None, 4, 2), 0.5, 0.25),
    Family(1, "ü: d", (7, 6, 5), (None, 7, 7), 0.4, 0.125),
)


def test_families_are_loaded_unchanged_from_a_file(tmp_path: Path) -> None:
    for families in ((), FAMILIES):
        save_families(families, tmp_path / "families.json")
        assert load_families(tmp_path / "families.json", 8) == families
    assert [family.depths for family in FAMILIES] == [(0, 1, 2), (0, 1, 1)]
    assert load_families(tmp_path / "absent.json", 8) == ()


def test_a_space_keeps_its_families_and_its_fingerprint(space: FeatureSpace, tmp_path: Path) -> None:
    with_families = replace(space, families=FAMILIES)
    assert with_families.fingerprint == space.fingerprint
    folder = with_families.save(tmp_path / "space")
    assert FeatureSpace.load(folder).families == FAMILIES
    (folder / "families.json").unlink()
    assert FeatureSpace.load(folder).families == ()


def change(**values: Any) -> Callable[[list[dict[str, Any]]], object]:
    return lambda entries: entries[0].update(values)


@pytest.mark.parametrize(
    "damage",
    [
        change(id=1),
        change(id="0"),
        change(label=None),
        change(features=[4, 2]),
        change(features=[4, 2, 2]),
        change(features=[4, 2, 10**6]),
        change(features=[4, 2, -1]),
        change(parents=[None, 4, 1]),
        change(parents=[None, None, 4]),
        change(parents=[2, 4, 2]),
        change(features=[], parents=[]),
        change(colour="red"),
        lambda entries: entries[1].pop("coherence"),
        lambda entries: entries.append({}),
    ],
)
def test_a_file_without_families_is_refused(
    space: FeatureSpace, tmp_path: Path, damage: Callable[[list[dict[str, Any]]], object]
) -> None:
    folder = replace(space, families=FAMILIES).save(tmp_path / "space")
    entries = json.loads((folder / "families.json").read_text())
    damage(entries)
    (folder / "families.json").write_text(json.dumps(entries))
    with pytest.raises(MismatchError, match="feature space"):
        FeatureSpace.load(folder)
    (folder / "families.json").write_text("[")
    with pytest.raises(MismatchError, match="feature space"):
        FeatureSpace.load(folder)


# As concepts ---------------------------------------------------------------------------------------------


def informative(
    space: FeatureSpace, encoder: RecordingEncoder, records: list[Record], topic: str
) -> list[int]:
    """Return the features that distinguish the records of a topic, best first."""
    active = space.sae.encode(encoder.encode_document([r.text for r in records])).to_csr().toarray() > 0
    is_topic = np.array([record.metadata["topic"] == topic for record in records])
    difference = active[is_topic].mean(0) - active[~is_topic].mean(0)
    return [int(feature) for feature in np.argsort(-difference, kind="stable")]


@pytest.fixture(scope="module")
def space_with_families(
    space: FeatureSpace, session_encoder: RecordingEncoder, records: list[Record]
) -> FeatureSpace:
    """The default space with two manual families and fixed labels."""
    stars, planets, solar = informative(space, session_encoder, records, "astronomy")[:3]
    music, song = informative(space, session_encoder, records, "music")[:2]
    names = {stars: "stars", planets: "planets", solar: "solar", music: "music", song: "song"}
    labels, vectors = list(space.labels), space.label_vectors.copy()
    for feature, name in names.items():
        labels[feature] = FeatureLabel(name, "manual", 0.9)
        vectors[feature] = session_encoder.encode_query([name])[0]
    families = (
        Family(0, "stars: planets, solar", (stars, planets, solar), (None, stars, planets), 0.5, 0.1),
        Family(1, "music: song", (music, song), (None, music), 0.5, 0.1),
    )
    return replace(space, families=families, labels=tuple(labels), label_vectors=vectors)


@pytest.fixture(scope="module")
def index(
    tmp_path_factory: pytest.TempPathFactory,
    space_with_families: FeatureSpace,
    session_encoder: RecordingEncoder,
    records: list[Record],
) -> Iterator[FeatureIndex]:
    path = tmp_path_factory.mktemp("families") / "families.idx"
    with FeatureIndex.create(path, space_with_families, encoder=session_encoder) as created:
        created.upsert(records)
        yield created


@pytest.fixture
def resolver(space_with_families: FeatureSpace, encoder: RecordingEncoder) -> ConceptResolver:
    return ConceptResolver(space_with_families, lambda text: encoder.encode_query([text])[0])


@pytest.mark.parametrize(
    "target", ["family:#0", "family:stars", "family: Stars", "family:STARS: planets, solar", "family:a star"]
)
def test_a_family_resolves_by_id_by_name_and_by_phrase(
    resolver: ConceptResolver, space_with_families: FeatureSpace, target: str
) -> None:
    concept = resolver.resolve(target)
    assert concept.phrase == target
    assert tuple(match.id for match in concept.features) == space_with_families.families[0].features
    assert [match.score for match in concept.features] == pytest.approx([1, 1 / 2, 1 / 3])


def test_a_phrase_resolves_to_the_family_with_the_nearest_root(resolver: ConceptResolver) -> None:
    for phrase, first in (("planets", 0), ("a song", 1)):
        matches = resolver.match_families(phrase)
        assert [family.id for family, _ in matches] == [first, 1 - first]
        assert matches[0][1] > matches[1][1]
    assert len(resolver.match_families("planets", 1)) == 1


@pytest.mark.parametrize("target", ["family:prescription drugs", "family:#2", "family:#999999999", "family:"])
def test_the_error_of_an_unknown_family_says_how_to_list_families(
    resolver: ConceptResolver, target: str
) -> None:
    with pytest.raises(UnknownConceptError, match="2 families") as caught:
        resolver.resolve(target)
    assert ("Nearest: #" if "drugs" in target else "saeindex sae families") in str(caught.value)


def test_a_space_without_families_is_an_error(space: FeatureSpace, encoder: RecordingEncoder) -> None:
    bare = ConceptResolver(replace(space, families=()), lambda text: encoder.encode_query([text])[0])
    with pytest.raises(UnknownConceptError, match="none of the 0 families"):
        bare.resolve("family:stars")


def test_where_selects_records_with_any_feature_of_the_family(index: FeatureIndex) -> None:
    family = index.space.families[0]
    counts = {index.count(f'"family:{name}"') for name in ("stars", "#0")}
    assert counts == {index.count(" OR ".join(f"#{feature}" for feature in family.features))}
    assert 0 < counts.pop() < index.count()
    hits = index.search("a note", where='"family:stars" AND NOT "family:music"', limit=5)
    assert hits.plan.estimate.points <= index.count('"family:stars"')
    assert "Concept 'family:stars' (strict) = " in str(hits.plan)


def test_steering_moves_along_the_family_s_weighted_directions(index: FeatureIndex) -> None:
    plan = index.plan("a note", steer='+"family:stars":1 -"family:#1":0.5')
    assert [steer.target for steer in plan.steer] == ["family:stars", "family:#1"]
    space, family = index.space, index.space.families[0]
    weights = np.array([1, 1 / 2, 1 / 3]) / (1 + 1 / 2 + 1 / 3)
    direction = weights @ space.directions[list(family.features)]
    assert prepared(index, "a note", steer='+"family:stars":1').steers[
        0
    ].direction.unit @ direction == pytest.approx(np.linalg.norm(direction), rel=1e-5)
    assert plan.drift > 0
    # Every topic has an eighth of the records.
    for topic, name in (("astronomy", "stars"), ("music", "music")):
        found = [
            sum(
                hit.metadata["topic"] == topic
                for hit in index.search("a note", steer=f'{sign}"family:{name}":8', limit=30)
            )
            for sign in "-+"
        ]
        assert found[0] < 30 / 8
        assert found[1] > 2 * 30 / 8


def test_the_family_of_a_given_concept_is_all_that_is_below_it(space: FeatureSpace) -> None:
    labels = [FeatureLabel(f"label {feature}", trust=0.9) for feature in range(space.n_features)]
    labels[3] = FeatureLabel("groceries", "concept", trust=0.9)
    for feature in range(10, 50):
        labels[feature] = replace(labels[feature], broader=3)
    labels[60] = replace(labels[60], broader=10)
    resolver = ConceptResolver(
        replace(space, labels=tuple(labels), families=FAMILIES), lambda _: space.label_vectors[0]
    )
    found = {one.id: one.score for one in resolver.resolve("family:Groceries").features}
    assert set(found) == {3, *range(10, 50), 60}
    assert (found[3], found[10], found[60]) == (1, 1 / 2, 1 / 3)
    # A concept in the middle has a family of its own, of one narrower concept too.
    assert [one.id for one in resolver.resolve("family:label 10").features] == [10, 60]
    assert len(resolver.resolve("family:a").features) == 3
