"""Every field of a query is checked before anything runs, by each way to give one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from saeindex import FeatureIndex, Query, Record
from saeindex.errors import InvalidInputError, NotFoundError
from saeindex.stores.tracing import watched
from tests.samples import sample_records

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"steering": "nonsense"}, "steering='nonsense': no such choice. Use 'built', 'clamp'"),
    ({"resolve": "nonsense"}, "resolve='nonsense': no such choice"),
    ({"fusion": "nonsense"}, "fusion='nonsense': no such choice"),
    ({"using": "nonsense"}, "using='nonsense': no such choice"),
    ({"level": "nonsense"}, "level='nonsense': no such choice"),
    ({"method": "nonsense"}, "method='nonsense': no such choice"),
    ({"fusion": "dbsf"}, "fusion='dbsf': no using='fused'"),
    ({"steering": "clamp"}, "steering='clamp': no steer"),
    ({"max_drift": 0.1}, "max_drift=0.1: no steer"),
    ({"resolve": "strict"}, "resolve='strict': no where"),
    ({"level": "strong"}, "level='strong': no where"),
    ({"method": "interpembed"}, "method='interpembed': no property"),
    ({"group_size": 5}, "group_size=5: no group_by"),
    ({"group_by": "metadata"}, "not a field to group by"),
    ({"group_by": "metadata.topic", "group_size": 0}, "group_size=0: out of range"),
    ({"group_by": "metadata.topic", "group_size": True}, "group_size=True"),
    ({"diversity": 1.5}, "diversity=1.5: out of range"),
    ({"diversity": float("nan")}, "diversity=nan: out of range"),
    ({"score_threshold": float("inf")}, "score_threshold=inf: out of range"),
    ({"limit": 10**400}, "out of range"),
    ({"offset": -1}, "offset=-1: out of range"),
    ({"timeout": 0}, "timeout"),
    ({"explain": "yes"}, "explain='yes'"),
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
    for ask in (index.search, index.plan, index.explain_analyze):
        with pytest.raises(InvalidInputError) as caught:
            ask("rain", **options)
        assert message in str(caught.value)
    with pytest.raises(InvalidInputError) as caught:
        index.compare("rain", "doc-1", "doc-2", **options)
    assert message in str(caught.value)


@pytest.mark.parametrize("limit", [0, -1, 2.5, "3", True])
def test_a_wrong_number_of_concepts_is_an_error(index: FeatureIndex, limit: Any) -> None:
    for ask in (index.concept_facets, index.suggest_exclusions):
        with pytest.raises(InvalidInputError, match="limit="):
            ask("rain", limit)


def test_what_is_compared_are_records(index: FeatureIndex) -> None:
    wrong: Any = 1
    with pytest.raises(InvalidInputError, match="record 1: an int"):
        index.compare("rain", "doc-1", wrong)
    index.upsert([Record("long", "It rains in the hills. " * 20)], split=40)
    with pytest.raises(NotFoundError, match="it is a document, with records such as 'long#"):
        index.compare("rain", "doc-1", "long")


@pytest.mark.parametrize("wrong", [{"where": "NOT"}, *(options for options, _ in WRONG)])
def test_if_one_of_several_queries_is_wrong_none_is_run(index: FeatureIndex, wrong: dict[str, Any]) -> None:
    queries = [Query(f"rain {n}") for n in range(70)] + [Query("rain", **wrong)]
    with watched() as calls, pytest.raises(InvalidInputError, match=r"^query 71 of 71: "):
        index.search_many(queries)
    assert "search" not in {call.action for call in calls}
