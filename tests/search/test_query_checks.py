"""Every field of a query is checked before anything runs, by each way to give one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from saeindex import FeatureIndex, Query, Record
from saeindex.errors import InvalidInputError, NotFoundError
from saeindex.stores.tracing import watched
from saeindex.types import Steer
from tests.samples import sample_records

WRONG: list[tuple[dict[str, Any], str]] = [
    (
        {"steer": {"steers": "+rain", "method": "nonsense"}},
        "steer.method='nonsense': no such choice. Use 'built'",
    ),
    ({"where": {"condition": "#5", "resolve": "nonsense"}}, "where.resolve='nonsense': no such choice"),
    ({"using": {"fusion": "rrf"}}, "using={'fusion': 'rrf'}: no such choice"),
    ({"using": "nonsense"}, "using='nonsense': no such choice"),
    ({"where": {"condition": "#5", "level": "nonsense"}}, "where.level='nonsense': no such choice"),
    ({"property": {"description": "sad", "method": "nonsense"}}, "property.method='nonsense'"),
    ({"fusion": "dbsf"}, "no option 'fusion'"),
    ({"where": {"condition": "#1", "levl": "strong"}}, "no option 'levl'. Did you mean level"),
    ({"steer": {"max_drift": 0.1}}, "steer.steers: it is missing"),
    ({"group_by": {"size": 5}}, "group_by.field: it is missing"),
    ({"group_by": "metadata"}, "not a field to group by"),
    ({"group_by": {"field": "metadata.topic", "size": 0}}, "group_by.size=0: out of range"),
    ({"group_by": {"field": "metadata.topic", "size": True}}, "size=True"),
    ({"diversity": 1.5}, "diversity=1.5: out of range"),
    ({"diversity": float("nan")}, "diversity=nan: not a finite number"),
    ({"score_threshold": float("inf")}, "score_threshold=inf: not a finite number"),
    ({"limit": 10**400}, "out of range"),
    ({"offset": -1}, "offset=-1: out of range"),
    ({"timeout": 0}, "timeout"),
    ({"explain": "yes"}, "explain='yes'"),
    ({"like": ["doc-1", "doc-2"], "unlike": ["doc-2"]}, "record 'doc-2' both in like and in unlike"),
    ({"feedback": {"like": ["doc-1"], "unlike": ["doc-1"]}}, "record 'doc-1' both in like and in unlike"),
    ({"steer": [Steer("joy", like=("doc-1",), unlike=("doc-1",))]}, "'doc-1' both in like and in unlike"),
]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FeatureIndex]:
    with FeatureIndex(tmp_path_factory.mktemp("index") / "index") as opened:
        opened.upsert(sample_records(30))
        yield opened


@pytest.mark.parametrize(("options", "message"), WRONG)
def test_a_wrong_field_is_an_error_everywhere(
    index: FeatureIndex, options: dict[str, Any], message: str
) -> None:
    for ask in (index.search, index.plan):
        with pytest.raises(InvalidInputError) as caught:
            ask("rain", **options)
        assert message in str(caught.value)
    with pytest.raises(InvalidInputError) as caught:
        index.compare("rain", "doc-1", "doc-2", **options)
    assert message in str(caught.value)


@pytest.mark.parametrize("limit", [0, -1, 2.5, "3", True])
def test_a_wrong_number_of_concepts_is_an_error(index: FeatureIndex, limit: Any) -> None:
    for ask in (index.concepts.facets, index.concepts.exclusions):
        with pytest.raises(InvalidInputError, match="limit="):
            ask("rain", limit=limit)


def test_what_is_compared_are_records(index: FeatureIndex) -> None:
    wrong: Any = 1
    with pytest.raises(InvalidInputError, match="b=1: an int"):
        index.compare("rain", "doc-1", wrong)
    index.upsert([Record("long", "It rains in the hills. " * 20)], split=40)
    with pytest.raises(NotFoundError, match="it is a document, with records such as 'long#"):
        index.compare("rain", "doc-1", "long")


@pytest.mark.parametrize("wrong", [{"where": "NOT"}, {"limit": 0}, {"group_by": "metadata"}])
def test_if_one_of_several_queries_is_wrong_none_is_run(index: FeatureIndex, wrong: dict[str, Any]) -> None:
    queries: list[Any] = [Query(f"rain {n}") for n in range(70)] + [{"text": "rain", **wrong}]
    with watched() as calls, pytest.raises(InvalidInputError, match=r"^query 71 of 71: "):
        index.search_many(queries)
    assert not any(call.action == "search" and call.what == "dense" for call in calls)
