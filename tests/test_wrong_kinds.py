"""An argument of a wrong type is an error with its three parts: asked, found and do."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qdrant_client.models import FieldCondition, Filter, Range

from saeindex import AsyncFeatureIndex, FeatureIndex, Query, copy_index
from saeindex.analysis.cluster.axis import Axis, AxisValue
from saeindex.errors import InvalidInputError
from saeindex.types import Steer

QUERY = "galaxies"
EARLY = {"must": [{"key": "metadata.year", "range": {"lt": 2016}}]}
NATIVE = Filter(must=[FieldCondition(key="metadata.year", range=Range(lt=2016))])

SEARCHES: dict[str, dict[str, Any]] = {
    "steer": {"steer": 5},
    "a steer in a list": {"steer": [5]},
    "a dict of steers": {"steer": {"camera": 0.5}},
    "a strength": {"steer": [Steer("#3", "a")]},  # type: ignore[arg-type]
    "a target": {"steer": [Steer(3)]},  # type: ignore[arg-type]
    "other values of a steer": {"steer": [Steer("sad", against=5)]},  # type: ignore[arg-type]
    "a weight of a steer": {"steer": [Steer("sad", edits={7: "a"})]},  # type: ignore[dict-item]
    "property": {"property": 5},
    "against": {"property": "sad", "against": 5},
    "one against": {"property": "sad", "against": "happy"},
    "against in a list": {"property": "sad", "against": [5]},
    "like": {"like": 5},
    "where": {"where": 5},
    "a filter as where": {"where": EARLY},
    "query_filter": {"query_filter": 5},
    "a misspelt filter": {"query_filter": {"musst": []}},
    "limit": {"limit": "5"},
    "a limit that is a bool": {"limit": True},
    "max_drift": {"max_drift": "a"},
    "explain": {"explain": "no"},
    "group_by": {"group_by": 5},
    "score_threshold": {"score_threshold": "a"},
}
CALLS: dict[str, Callable[[FeatureIndex], object]] = {
    "search_many of one text": lambda index: index.search_many(QUERY),
    "search_many of a number": lambda index: index.search_many(5),  # type: ignore[arg-type]
    "search of a list": lambda index: index.search([QUERY]),  # type: ignore[call-overload]
    "feature of a list": lambda index: index.concepts.card(["camera"]),  # type: ignore[arg-type]
    "companions of a list": lambda index: index.concepts.companions(["camera"]),  # type: ignore[arg-type]
    "features of a number": lambda index: index.concepts.find(5),  # type: ignore[arg-type]
    "concept of a number": lambda index: index.concepts.resolve(5),  # type: ignore[arg-type]
    "add of a number": lambda index: index.upsert(5),  # type: ignore[arg-type]
    "delete of a number": lambda index: index.delete(5),  # type: ignore[arg-type]
    "diff of numbers": lambda index: index.diff(5, 6),  # type: ignore[arg-type]
    "diff by a number": lambda index: index.diff(by=5),  # type: ignore[arg-type]
    "diff with a text as rate": lambda index: index.diff(where(True), where(False), alpha="x"),  # type: ignore[arg-type]
    "correlate of a number": lambda index: index.correlate(5),  # type: ignore[arg-type]
    "drift over a number": lambda index: index.drift(5),  # type: ignore[arg-type]
    "a profile's name": lambda index: index.profiles.fit(5),  # type: ignore[arg-type]
    "opening nothing": lambda _: FeatureIndex.open(None),  # type: ignore[arg-type]
    "an axis of texts": lambda index: index.cluster(Axis("tone", ("a", "b"))),  # type: ignore[arg-type]
    "an axis of numbers": lambda index: index.cluster(Axis("tone", (AxisValue("a", 5), AxisValue("b")))),  # type: ignore[arg-type]
    "a payload index": lambda _: FeatureIndex.create("never.idx", payload_indexes={"metadata.x": "year"}),  # type: ignore[dict-item]
    "payload indexes": lambda _: FeatureIndex.create("never.idx", payload_indexes=["metadata.x"]),  # type: ignore[arg-type]
    "creating nothing": lambda _: FeatureIndex.create(None),  # type: ignore[arg-type]
    "an encoder": lambda _: FeatureIndex.create("never.idx", encoder=5),  # type: ignore[arg-type]
    "an encoder of a new index": lambda _: FeatureIndex("never.idx", encoder=5),  # type: ignore[arg-type]
    "an async index of a path": lambda _: AsyncFeatureIndex("never.idx"),  # type: ignore[arg-type]
    "a writer": lambda index: index.diff(where(True), writer=5),
    "a column": lambda index: index.upsert([{"text": "a"}], columns={"text": 5}),
    "an export to nothing": lambda index: index.export(None),  # type: ignore[arg-type]
    "names to nothing": lambda index: index.concepts.export(None),  # type: ignore[arg-type]
    "names of a number": lambda index: index.concepts.import_names(5),  # type: ignore[arg-type]
    "a copy of a number": lambda _: copy_index(5, "never.idx"),  # type: ignore[arg-type]
    "parts that are a number": lambda index: index.get(["a"], include=5),  # type: ignore[arg-type]
    "no families": lambda index: index.diff(where(True), families=[]),
    "a text in bytes": lambda index: index.search(b"galaxies"),  # type: ignore[call-overload]
    "a report in no folder": lambda index: index.diff(where(True)).write_report("no/folder.html"),
    "a space that is a number": lambda _: FeatureIndex.create("never.idx", space=5),  # type: ignore[arg-type]
}


def where(is_early: bool) -> str:
    return f"metadata.year {'<' if is_early else '>='} 2016"


def check(error: InvalidInputError) -> None:
    assert error.asked
    assert error.found
    assert error.do
    assert "Traceback" not in str(error)
    assert " a int" not in str(error)


@pytest.mark.parametrize("kind", SEARCHES)
def test_a_query_field_of_the_wrong_type_is_refused(papers: FeatureIndex, kind: str) -> None:
    with pytest.raises(InvalidInputError) as by_name:
        papers.search(QUERY, **SEARCHES[kind]) if kind != "property" else papers.search(**SEARCHES[kind])
    check(by_name.value)
    with pytest.raises(InvalidInputError) as whole:
        papers.search(Query("" if "property" in SEARCHES[kind] else QUERY, **SEARCHES[kind]))
    check(whole.value)


@pytest.mark.parametrize("kind", CALLS)
def test_an_argument_of_the_wrong_type_is_refused(papers: FeatureIndex, kind: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        CALLS[kind](papers)
    check(caught.value)
    assert not Path("never.idx").exists()


def test_a_filter_as_json_equals_the_filter(papers: FeatureIndex) -> None:
    native = papers.search(QUERY, query_filter=NATIVE)
    assert [hit.id for hit in papers.search(QUERY, query_filter=EARLY)] == [hit.id for hit in native]
    assert papers.search(Query(QUERY, query_filter=EARLY)).plan.query.query_filter == NATIVE
    assert papers.count(query_filter=EARLY) == papers.count(query_filter=NATIVE)
    assert papers.diff(EARLY).to_json() == papers.diff(NATIVE).to_json()


def test_a_feature_is_given_by_any_integer_or_by_its_text(papers: FeatureIndex) -> None:
    card = papers.concepts.card(5)
    assert papers.concepts.card(np.int64(5)) == card  # type: ignore[arg-type]
    assert papers.concepts.card("#5") == card


FIRST = """
import threading
from saeindex.operations.search import Search
both = threading.Barrier(2)
made = []
def first():
    both.wait()
    made.append(Search("zoom", limit=2))
threads = [threading.Thread(target=first) for _ in range(2)]
[one.start() for one in threads]
[one.join() for one in threads]
print([(one.text, one.where, one.limit) for one in [*made, Search("again")]])
"""


def test_two_threads_may_make_the_first_request_of_a_process() -> None:
    done = subprocess.run([sys.executable, "-c", FIRST], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[('zoom', None, 2), ('zoom', None, 2), ('again', None, 10)]", done.stderr
