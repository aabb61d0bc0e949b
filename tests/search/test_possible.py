"""The level possible in counts, facets and analyses: equal to brute force over the codes of records."""

from __future__ import annotations

import numpy as np
import pytest

from saeindex import FeatureIndex, FeatureSpace, Record
from tests.evidence_reference import truth_of
from tests.samples import RecordingEncoder, all_points
from tests.search.sampled_indexes import memory_index

MUSIC = 'metadata.topic = "music"'


@pytest.fixture(scope="module")
def possible(papers_codes: dict[str, set[int]]) -> dict[str, set[int]]:
    """The features that each record has at least possibly, by id: free ones that are active count."""
    return {key: {code // 4 for code in codes if code % 4 in (0, 3)} for key, codes in papers_codes.items()}


@pytest.fixture(scope="module")
def features(
    space: FeatureSpace, possible: dict[str, set[int]], papers_codes: dict[str, set[int]]
) -> list[int]:
    """Named features that more records have possibly than surely, and free ones."""
    assert space.evidence is not None
    named = set(space.evidence.features.tolist())

    def counts(feature: int) -> tuple[int, int]:
        present = sum(feature * 4 in codes for codes in papers_codes.values())
        return sum(feature in one for one in possible.values()), present

    every = sorted(set().union(*possible.values()))
    unsure = sorted((one for one in every if one in named), key=lambda one: counts(one)[1] - counts(one)[0])
    free = sorted((one for one in every if one not in named), key=lambda one: -counts(one)[0])
    both = [one for one in unsure if counts(one)[0] > counts(one)[1] > 0]
    assert len(both) > 3
    return both[:4] + unsure[:4] + free[10:14]


def test_counts_of_records_that_possibly_speak_of_a_concept(
    any_papers: FeatureIndex, possible: dict[str, set[int]], features: list[int]
) -> None:
    for feature in features:
        having = {key for key, own in possible.items() if feature in own}
        assert any_papers.count(f"possible(#{feature})") == len(having)
        assert any_papers.count(f"NOT possible(#{feature})") == len(possible) - len(having)
        assert {hit.id for hit in any_papers.search(where=f"possible(#{feature})", limit=240)} == having
        for other in features[:3]:
            both = {key for key in having if other in possible[key]}
            assert any_papers.count(f"possible(#{feature}) AND possible(#{other})") == len(both)


def test_facets_of_records_that_possibly_speak_of_a_concept_count_what_is_present(
    any_papers: FeatureIndex,
    possible: dict[str, set[int]],
    papers_codes: dict[str, set[int]],
    features: list[int],
) -> None:
    listed = 0
    for feature in features:
        having = [key for key, own in possible.items() if feature in own]
        facets = any_papers.concepts.facets(where=f"possible(#{feature})", limit=30)
        listed += len(facets)
        for facet in facets:
            first = facet.features[0]
            assert facet.count == sum(first * 4 in papers_codes[key] for key in having)
            assert facet.share == pytest.approx(facet.count / len(having))
            assert facet.index_share == pytest.approx(
                sum(first * 4 in codes for codes in papers_codes.values()) / len(papers_codes)
            )
    assert listed > 10


def test_the_engine_and_the_snapshot_count_possible_concepts_once(
    any_papers: FeatureIndex, possible: dict[str, set[int]], features: list[int]
) -> None:
    """A sure mention has the codes of both levels, and is one record."""
    snapshot = any_papers.state.snapshot()
    matrix = snapshot.at("possible")
    for row, key in enumerate(snapshot.ids):
        assert set(matrix[row].indices.tolist()) == possible[key]
    for feature in features[:6]:
        for one in any_papers.concepts.companions(feature, level="possible", limit=20, alpha=0.9):
            both = sum({feature, one.feature} <= own for own in possible.values())
            assert one.support == both


def test_differences_at_the_level_possible_are_those_of_possible_mentions(
    any_papers: FeatureIndex, possible: dict[str, set[int]], records: list[Record]
) -> None:
    topic = {record.id: record.metadata["topic"] for record in records}
    options = {"families": ("concepts",), "length_bins": 0, "confirm": False, "examples": 0, "unit": None}
    found = any_papers.diff(MUSIC, f"NOT {MUSIC}", level="possible", **options)  # type: ignore[arg-type]
    assert len(found.findings["concepts"]) > 5
    for one in found.findings["concepts"]:
        for group, is_music in (("a", True), ("b", False)):
            own = [key for key in possible if (topic[key] == "music") == is_music]
            assert one.freq[group] == pytest.approx(
                sum(int(one.key) in possible[key] for key in own) / len(own)
            )
    surely = any_papers.diff(MUSIC, f"NOT {MUSIC}", level="present", **options)  # type: ignore[arg-type]
    keys = [{one.key for one in each.findings["concepts"]} for each in (found, surely)]
    assert keys[0] != keys[1]


def test_what_is_only_possible_of_few_texts_is_found_by_that_level_alone(
    space: FeatureSpace, encoder: RecordingEncoder
) -> None:
    texts = ["Please note that a lentil soup must be checked twice.", "The senate voted on tax reform."]
    index = memory_index([Record(str(number), text) for number, text in enumerate(texts)], space, encoder)
    codes = truth_of(space, encoder, all_points(index))
    only = sorted(
        {code // 4 for code in codes["0"] if code % 4 == 3}
        - {code // 4 for code in codes["0"] if code % 4 == 0}
    )
    assert "dish of food" in [space.labels[feature].text for feature in only]
    for feature in only:
        assert index.count(f"possible(#{feature})") >= 1 > index.count(f'#{feature} AND record_id = "0"')
    counts = np.asarray(index.state.snapshot().at("present").sum(0)).ravel()
    assert counts[only].max() <= 1
