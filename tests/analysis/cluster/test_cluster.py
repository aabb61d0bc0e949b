"""Clusters of an index along an axis: descriptions, examples, names; new records; invalid inputs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from saeindex import FeatureIndex, Record
from saeindex.analysis.cluster import cluster as module
from saeindex.analysis.cluster.axis import Axis
from saeindex.analysis.cluster.cluster import cluster
from saeindex.analysis.cluster.quality import agreement
from saeindex.analysis.cluster.results import Clustering
from saeindex.collection.snapshot import Snapshot
from saeindex.errors import InvalidInputError, NotFoundError
from tests.samples import SUBJECTS, RecordingEncoder, sample_records

TOPICS = {"topic": list(SUBJECTS)}


@pytest.fixture(scope="module")
def snapshot(papers: FeatureIndex) -> Snapshot:
    return papers.state.snapshot()


@pytest.fixture(scope="module")
def by_topic(papers: FeatureIndex, snapshot: Snapshot) -> Clustering:
    return cluster(papers.state, snapshot, TOPICS)


def truth(snapshot: Snapshot) -> NDArray[np.int32]:
    return snapshot.column("metadata.topic").codes


def ids_by_topic(snapshot: Snapshot, count: int) -> dict[str, list[str]]:
    column = snapshot.column("metadata.topic")
    rows = {str(v): np.flatnonzero(column.codes == code)[:count] for code, v in enumerate(column.values)}
    return {name: [snapshot.ids[row] for row in found.tolist()] for name, found in rows.items()}


def test_described_values_find_their_records(snapshot: Snapshot, by_topic: Clustering) -> None:
    assert by_topic.names == tuple(SUBJECTS)
    assert agreement(truth(snapshot), by_topic.codes)["ari"] > 0.6
    named = {name: snapshot.column("metadata.topic").values.index(name) for name in SUBJECTS}
    right = [named[by_topic.names[code]] for code in by_topic.codes]
    assert np.mean(np.array(right) == truth(snapshot)) > 0.75
    assert by_topic.verdict.expressible
    assert by_topic.leakage["metadata.topic"]["ari"] > 0.6 > by_topic.leakage["metadata.year"]["ari"]


def test_records_without_content_are_in_no_cluster(tmp_path: Path, session_encoder: RecordingEncoder) -> None:
    with FeatureIndex.create(tmp_path / "survey.idx", encoder=session_encoder) as index:
        empty = [Record(f"e{i}", text) for i, text in enumerate(("none", "-", "n/a", "ok", "No comment."))]
        index.upsert([*sample_records(60), *empty])
        found = index.cluster(TOPICS)
        assert found.left_out == len(empty) and len(found.ids) == 60
        assert not {record.id for record in empty} & set(found.ids)
        assert "5 records without content left out" in str(found)


def test_clusters_have_a_description(snapshot: Snapshot, by_topic: Clustering) -> None:
    assert sum(one.size for one in by_topic.clusters) == len(snapshot)
    assert sum(one.share for one in by_topic.clusters) == pytest.approx(1.0)
    for code, one in enumerate(by_topic.clusters):
        inside = {by_topic.ids[row] for row in np.flatnonzero(by_topic.codes == code).tolist()}
        assert {each.id for each in (*one.central, *one.borderline)} <= inside
        assert 0 <= one.conductance <= 1 and -1 <= one.silhouette <= 1
        assert all(concept.lift > 1 and 0 < concept.share <= 1 for concept in one.concepts)
    sure = dict(zip(by_topic.ids, by_topic.confidence.tolist(), strict=True))
    for one in by_topic.clusters:
        assert sure[one.central[0].id] >= sure[one.borderline[0].id]
    assert any(one.concepts for one in by_topic.clusters)


@pytest.mark.parametrize(
    "axis",
    ["author: written by Anna, written by Bob", "day: monday, tuesday, wednesday", "side: left, right"],
)
def test_an_axis_that_the_records_do_not_express_is_rejected(
    papers: FeatureIndex, snapshot: Snapshot, axis: str
) -> None:
    found = cluster(papers.state, snapshot, axis)
    assert not found.verdict.expressible
    assert "NOT EXPRESSIBLE" in str(found)


def test_new_texts_are_assigned_to_similar_records(papers: FeatureIndex) -> None:
    texts = ["The opera house and a violin concerto.", "A spiral galaxy and a distant quasar."]
    assert papers.cluster(TOPICS, assign=texts).assigned == ("music", "astronomy")


def test_records_assigned_again_stay_in_their_cluster(
    papers: FeatureIndex, by_topic: Clustering, records: list[Record]
) -> None:
    texts = {record.id: record.text for record in records}
    placed = papers.cluster(TOPICS, assign=[texts[one] for one in by_topic.ids]).assigned
    same = [name == by_topic.names[code] for name, code in zip(placed, by_topic.codes, strict=True)]
    assert np.mean(same) > 0.9


@pytest.mark.parametrize("is_named", [True, False])
def test_examples_define_values_with_or_without_descriptions(
    papers: FeatureIndex, snapshot: Snapshot, is_named: bool
) -> None:
    examples = ids_by_topic(snapshot, 4)
    axis = {"topic": {name: [name] if is_named else [] for name in examples}}
    found = cluster(papers.state, snapshot, axis, examples=examples)
    assert agreement(truth(snapshot), found.codes)["ari"] > 0.6
    assigned = found.assignments()
    assert all(assigned[one] == name for name, ids in examples.items() for one in ids)


def test_only_some_values_may_have_examples(papers: FeatureIndex, snapshot: Snapshot) -> None:
    examples = {"music": ids_by_topic(snapshot, 3)["music"]}
    found = cluster(papers.state, snapshot, TOPICS, examples=examples)
    assert agreement(truth(snapshot), found.codes)["ari"] > 0.6
    assert {found.assignments()[one] for one in examples["music"]} == {"music"}


def test_examples_may_be_outside_the_clustered_records(papers: FeatureIndex, snapshot: Snapshot) -> None:
    examples = ids_by_topic(snapshot, 3)
    outside = {one for ids in examples.values() for one in ids}
    rows = np.array([row for row, one in enumerate(snapshot.ids) if one not in outside])
    found = cluster(papers.state, snapshot, "topic", rows, examples=examples)
    assert list(found.ids) == [snapshot.ids[row] for row in rows]
    assert sum(one.size for one in found.clusters) == len(rows)
    assert not outside & {one.id for c in found.clusters for one in (*c.central, *c.borderline)}


def test_records_above_the_limit_are_assigned(
    papers: FeatureIndex, snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_RECORDS", 160)
    found = cluster(papers.state, snapshot, TOPICS)
    assert len(found.codes) == len(snapshot)
    assert agreement(truth(snapshot)[160:], found.codes[160:])["ari"] > 0.5


def test_a_name_alone_infers_values_and_shows_them(papers: FeatureIndex, snapshot: Snapshot) -> None:
    found = cluster(papers.state, snapshot, "science")
    assert found.axis.is_inferred and len(found.clusters) == len(found.axis.names) > 1
    assert "values inferred" in str(found)


def test_the_method_of_interpembed_clusters_without_a_verdict(
    papers: FeatureIndex, snapshot: Snapshot
) -> None:
    found = cluster(papers.state, snapshot, TOPICS, method="interpembed")
    assert found.verdict.failure_score is None
    assert len(set(found.names)) == 8  # named by what their records say
    assert agreement(truth(snapshot), found.codes)["ari"] > 0.05


def test_results_are_plain_json_and_tables_of_cells(by_topic: Clustering) -> None:
    found = json.loads(json.dumps(by_topic.to_json(), allow_nan=False))
    assert {"axis", "method", "verdict", "clusters", "leakage", "codes"} <= set(found)
    again = Clustering.from_json(found)
    assert again.assignments() == by_topic.assignments() and str(again) == str(by_topic)
    for rows in by_topic.tables().values():
        assert all(isinstance(cell, str | int | float) for row in rows for cell in row.values())


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"axis": TOPICS, "rows": np.arange(12)}, InvalidInputError, "12 records for 8 values"),
        ({"axis": {"t": {"a": [], "b": []}}}, InvalidInputError, "'a' has neither texts"),
        ({"axis": "t: a, b", "examples": {"a": ["no such"], "b": ["doc-1"]}}, NotFoundError, "no such"),
    ],
)
def test_invalid_inputs_of_clustering_are_refused(
    papers: FeatureIndex, snapshot: Snapshot, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        cluster(papers.state, snapshot, **options)


def test_an_axis_object_is_accepted(papers: FeatureIndex, snapshot: Snapshot) -> None:
    axis = Axis.parse("topic: astronomy, cooking")
    assert cluster(papers.state, snapshot, axis).names == ("astronomy", "cooking")
