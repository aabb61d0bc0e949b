"""A filter that cannot be meant so is warned of on every surface, at the line that asked."""

from __future__ import annotations

import json
import warnings
from typing import Any

import pytest
from qdrant_client.models import (
    FieldCondition,
    Filter,
    IsEmptyCondition,
    MatchValue,
    MinShould,
    Nested,
    NestedCondition,
    PayloadField,
    Range,
)

from saeindex import FeatureIndex, Record
from saeindex.errors import FilterWarning, collecting
from saeindex.search.checks import keys_of
from saeindex.stores.tracing import watched
from tests.samples import RecordingEncoder, sample_records

MUSIC = MatchValue(value="music")


def native(key: str) -> Filter:
    return Filter(must=[FieldCondition(key=key, match=MUSIC)])


@pytest.mark.parametrize(
    ("asked", "near"),
    [
        ({"where": "metadata.NOPE = 3"}, ""),
        ({"where": 'metadata.Topic = "music"'}, "metadata.topic"),
        ({"where": 'NOT metadata.tpoic = "music"'}, "metadata.topic"),
        ({"where": "NOT EXISTS(metadata.yaer)"}, "metadata.year"),
        ({"query_filter": native("topic")}, "metadata.topic"),
        ({"query_filter": native('metadata."metadata.topic"')}, "metadata.topic"),
        (
            {"query_filter": Filter(should=[native("metadata.topci"), native("metadata.topic")])},
            "metadata.topic",
        ),
    ],
)
@pytest.mark.parametrize("surface", ["search", "count", "scroll", "plan"])
def test_a_field_that_no_record_has_is_warned_of(
    papers: FeatureIndex, asked: dict[str, Any], near: str, surface: str
) -> None:
    given = asked if surface in ("count", "scroll") else {"text": "songs", **asked}
    with pytest.warns(FilterWarning, match="no record has") as caught:
        getattr(papers, surface)(**given)
    assert (
        f"did you mean {near}?" in str(caught[0].message) if near else "did you" not in str(caught[0].message)
    )
    assert caught[0].filename == __file__


@pytest.mark.parametrize("where", ['metadata.topic = "opera"', "metadata.year > 3000", 'record_id = "none"'])
def test_a_field_that_some_record_has_is_not(papers: FeatureIndex, where: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", FilterWarning)
        papers.search("songs", where=where)
        papers.count(where)
        papers.search("songs", exclude=["a"])


@pytest.mark.parametrize("surface", ["count", "scroll", "facets"])
@pytest.mark.parametrize(
    "where",
    [
        'metadata.topic = "Astronomy"',
        'metadata.topic != "Astronomy"',
        'metadata.topic IN ("Astronomy", "music")',
    ],
)
def test_a_value_that_no_record_has_is_told_if_one_is_near(
    papers: FeatureIndex, where: str, surface: str
) -> None:
    asked = ("metadata.topic", where) if surface == "facets" else (where,)
    with pytest.warns(FilterWarning, match='= "Astronomy"; did you mean "astronomy"?'):
        getattr(papers, surface)(*asked)
    assert any("did you mean" in one for one in papers.search("songs", where=where).plan.warnings)


def test_a_field_of_one_late_record_is_known(tmp_path: Any, encoder: RecordingEncoder) -> None:
    with FeatureIndex(tmp_path / "i", encoder=encoder) as index:
        index.upsert([*sample_records(30), Record("last", "One more.", {"rare": {"deep": True}})])
        with warnings.catch_warnings():
            warnings.simplefilter("error", FilterWarning)
            assert index.count("metadata.rare.deep = true") == 1
        with pytest.warns(FilterWarning, match="holds true or false"):
            index.count("metadata.rare.deep = 1")
        index.delete(["last"])
        with pytest.warns(FilterWarning, match="no record has metadata.rare.deep"):
            index.count("metadata.rare.deep = true")


def test_a_field_is_looked_up_once_for_a_state(papers: FeatureIndex) -> None:
    def ask() -> int:
        return papers.count(query_filter=native("metadata.genre"))

    with pytest.warns(FilterWarning):
        ask()
    with watched() as notes, pytest.warns(FilterWarning):
        ask()
    assert [note.action for note in notes] == ["count"]


def test_a_part_says_nothing_of_fields_that_its_records_do_not_have(
    tmp_path: Any, encoder: RecordingEncoder
) -> None:
    with FeatureIndex(tmp_path / "i", encoder=encoder) as index:
        index.upsert(
            [Record("a", "Mine.", {"owner": "me"}), Record("b", "Theirs.", {"owner": "x", "salary": 1})]
        )
        part = index.part('metadata.owner = "me"')
        with pytest.warns(FilterWarning) as caught:
            part.search("anything", where="metadata.salry = 1")
    assert "salary" not in str(caught[0].message)


def test_what_is_collected_is_not_shown(papers: FeatureIndex) -> None:
    with warnings.catch_warnings(), collecting() as told:
        warnings.simplefilter("error", FilterWarning)
        papers.count("metadata.NOPE = 3")
    assert told == ["no record has metadata.NOPE"]


def test_keys_of_every_part_of_a_filter_are_found() -> None:
    inner = Filter(must=[FieldCondition(key="b", range=Range(gt=1))])
    parts: list[Any] = [
        FieldCondition(key="a", match=MUSIC),
        NestedCondition(nested=Nested(key="n", filter=inner)),
    ]
    empty = IsEmptyCondition(is_empty=PayloadField(key="e"))
    found = Filter(must=parts, must_not=[empty], min_should=MinShould(conditions=[inner], min_count=1))
    assert [*keys_of(found)] == ["a", "n[].b", "e", "b"]


def test_the_json_of_a_search_has_it(papers: FeatureIndex) -> None:
    with pytest.warns(FilterWarning):
        found = papers.search("songs", where="metadata.yaer = 3").to_json()
    assert json.dumps(found["plan"]["warnings"]).count("did you mean metadata.year?") == 1
