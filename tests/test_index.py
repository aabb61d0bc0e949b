"""The façade: the same results on every store, and deletion."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qdrant_client import QdrantClient
from qdrant_client.models import FieldCondition, Filter, MatchValue, Range

from saeindex import FeatureIndex, FeatureSpace, Query, Record
from saeindex.errors import (
    InvalidInputError,
    NotFoundError,
    QuerySyntaxError,
    SaeIndexError,
    UnknownConceptError,
)
from saeindex.operations.search import Search, searcher_of
from saeindex.schema import from_json
from saeindex.types import Using
from tests.samples import RecordingEncoder, all_points, code_of, dense, sample_records

SINCE_2010 = Filter(must=[FieldCondition(key="metadata.year", range=Range(gte=2010))])
LONG = {
    "bread": "Knead the dough for ten minutes. Let it rise overnight in the fridge. Bake it very hot. " * 3,
    "stars": "The spectrum shows hydrogen lines. The galaxy rotates too fast. Dark matter may be why. " * 4,
    "brief": "A short note on tax law.",
}


@pytest.fixture(params=["edge", "memory"])
def growing_index(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    space: FeatureSpace,
    encoder: RecordingEncoder,
) -> Iterator[FeatureIndex]:
    """An empty index on every store in turn."""
    monkeypatch.chdir(tmp_path)  # where an index without a directory reports rejects
    client = QdrantClient(":memory:") if request.param == "memory" else None
    with FeatureIndex.create("notes", space, client=client, encoder=encoder) as index:
        yield index


def numbered(index: FeatureIndex, count: int) -> list[Record]:
    records = sample_records(count, seed=21)
    index.upsert(records)
    return records


# Search -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("using", ["dense", "sae"])
def test_dense_and_sparse_search_equal_brute_force(any_papers: FeatureIndex, using: Any) -> None:
    points = all_points(any_papers)
    ids = np.array([point.payload["record_id"] for point in points])
    for record in sample_records(10, seed=8):
        query = any_papers.encoder.encode_query([record.text])
        if using == "dense":
            scores = np.stack([dense(p) for p in points]).astype(np.float64) @ query[0].astype(np.float64)
        else:
            query_code = any_papers.space.sae.encode(query).to_csr().toarray()[0]
            scores = np.array(
                [code_of(p).values.astype(float) @ query_code[code_of(p).indices] for p in points]
            )
        best = np.argsort(-scores)[:5]
        hits = any_papers.search(record.text, using=using, limit=5)
        np.testing.assert_allclose([hit.score for hit in hits], scores[best], atol=1e-5)
        found = [scores[ids == hit.id][0] for hit in hits]
        np.testing.assert_allclose(found, [hit.score for hit in hits], atol=1e-5)


@pytest.mark.parametrize("using", ["dense", "sae"])
@pytest.mark.parametrize("steer", ["", "+#7:0.5 -#100"])
def test_a_client_and_a_directory_give_the_same_hits(
    papers: FeatureIndex, memory_papers: FeatureIndex, using: Using, steer: str
) -> None:
    for record in sample_records(10, seed=9):
        query = Query(record.text, using=using, steer=steer, query_filter=SINCE_2010, limit=20, explain=True)
        ours, theirs = papers.search(query), memory_papers.search(query)
        assert [hit.id for hit in ours] == [hit.id for hit in theirs]
        np.testing.assert_allclose([h.score for h in ours], [h.score for h in theirs], atol=1e-5)
        assert all(a.metadata == pytest.approx(b.metadata) for a, b in zip(ours, theirs, strict=True))
        assert [[a.id for a in h.features] for h in ours] == [[a.id for a in h.features] for h in theirs]
        assert ours.drift == theirs.drift


def test_offset_continues_where_limit_ended(any_papers: FeatureIndex) -> None:
    whole = [hit.id for hit in any_papers.search("the price of copper", limit=30)]
    pages = [any_papers.search("the price of copper", limit=10, offset=offset) for offset in (0, 10, 20)]
    assert [hit.id for page in pages for hit in page] == whole


def test_a_score_threshold_keeps_hits_at_or_above_it(papers: FeatureIndex) -> None:
    hits = papers.search("jazz improvisation", limit=20)
    threshold = hits[7].score
    kept = papers.search("jazz improvisation", limit=20, score_threshold=threshold)
    assert [hit.id for hit in kept] == [hit.id for hit in hits if hit.score >= threshold]


@pytest.mark.parametrize(
    "options",
    [
        {"limit": 0},
        {"limit": True},
        {"limit": 2.5},
        {"offset": -1},
        {"using": "reader"},
        {"text": "  "},
        {"text": "x" * 100_001},
        {"text": "half a pair \ud800"},
        {"score_threshold": float("nan")},
        {"colour": "red"},
    ],
)
def test_an_invalid_query_is_refused(papers: FeatureIndex, options: dict[str, object]) -> None:
    with pytest.raises(InvalidInputError):
        papers.search(**{"text": "some text", **options})  # type: ignore[call-overload]


def test_a_superscript_is_not_a_digit_of_an_id(papers: FeatureIndex) -> None:
    with pytest.raises(QuerySyntaxError):
        papers.count("#²")
    assert searcher_of(papers.state).planner.resolver.match("#²")  # a phrase like any other


def test_half_a_surrogate_pair_is_refused_in_every_text(papers: FeatureIndex) -> None:
    half = "half a pair \ud800"
    native = {"must": [{"key": "metadata.topic", "match": {"value": half}}]}
    for asked in (
        lambda: papers.search("a", exclude=[half]),
        lambda: papers.search("a", query_filter=native),
        lambda: papers.search_many(["a", {"text": "b", "like": [half]}]),  # type: ignore[list-item]
        lambda: papers.get([half]),
        lambda: papers.compare("a", half, "b"),
        lambda: papers.cluster(f"tone: {half}, calm"),
        lambda: from_json(Search, {"text": "a", "exclude": [half]}),
    ):
        with pytest.raises(InvalidInputError, match="no valid Unicode"):
            asked()
    assert half not in papers


@pytest.mark.parametrize("where", ['"half a pair \ud800"', '"' + "x" * 999 + '"'])
def test_an_unusual_phrase_raises_a_saeindex_error(papers: FeatureIndex, where: str) -> None:
    with pytest.raises(SaeIndexError):
        papers.search("some text", where=where)


def test_an_empty_index_answers(growing_index: FeatureIndex) -> None:
    assert (
        len(growing_index.search("anything"))
        == len(growing_index.search("anything", using="sae", steer="+#1"))
        == 0
    )
    assert growing_index.count() == growing_index.count("NOT #1") == growing_index.delete(where="#1") == 0
    assert growing_index.concepts.card(0).records_at_level == (0, 0, 0, 0)


# Deletion ---------------------------------------------------------------------------------------------


def test_records_are_deleted_by_id(growing_index: FeatureIndex) -> None:
    growing_index.upsert([Record(key, text, {}) for key, text in LONG.items()])
    assert growing_index.delete(["bread", "absent", "bread"]) == 1
    assert {point.payload["record_id"] for point in all_points(growing_index)} == {"stars", "brief"}
    assert "brief" in growing_index and "bread" not in growing_index and 3 not in growing_index
    assert growing_index.delete([]) == 0
    assert growing_index.state.manifest.counts.records == growing_index.count() == 2


def test_records_are_deleted_by_concept_and_filter(growing_index: FeatureIndex) -> None:
    records = numbered(growing_index, 60)
    active: dict[str, set[int]] = {}
    for point in all_points(growing_index):
        active.setdefault(point.payload["record_id"], set()).update(code_of(point).indices.tolist())
    frequency = np.bincount([feature for found in active.values() for feature in found])
    feature = int(np.argmin(np.abs(frequency - 25)))
    recent = {record.id for record in records if record.metadata["year"] >= 2010}
    deleted = {key for key, found in active.items() if feature in found} & recent
    assert growing_index.delete(where=f"#{feature}", query_filter=SINCE_2010) == len(deleted) > 0
    music = Filter(must=[FieldCondition(key="metadata.topic", match=MatchValue(value="music"))])
    deleted |= {record.id for record in records if record.metadata["topic"] == "music"}
    growing_index.delete(query_filter=music)
    assert {p.payload["record_id"] for p in all_points(growing_index)} == set(active) - deleted
    assert growing_index.upsert(records).indexed == len(deleted)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"where": 'metadata.topik != "music"'}, "Did you mean metadata.topic"),
        ({"where": 'NOT (metadata.nothing = 1 AND "rain")'}, "no record has metadata.nothing"),
        ({"query_filter": {}}, "without a condition"),
        ({"query_filter": {"must": []}}, "without a condition"),
        ({"query_filter": {"must": [{"must": []}]}}, "without a condition"),
        ({"query_filter": {"should": [{"must_not": [{"must_not": [{}]}]}]}}, "without a condition"),
        (
            {"query_filter": {"should": [{"must": []}, {"key": "metadata.year", "match": {"value": 1}}]}},
            "without a condition",
        ),
        ({"query_filter": {"min_should": {"conditions": [{}, {}], "min_count": 2}}}, "without a condition"),
    ],
)
def test_what_must_be_a_mistake_deletes_nothing(
    papers: FeatureIndex, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(InvalidInputError, match=says):
        papers.delete(**options)
    assert papers.count() == 240


def test_a_deletion_needs_exactly_one_selection(papers: FeatureIndex) -> None:
    with pytest.raises(InvalidInputError, match="nothing to select by"):
        papers.delete()
    with pytest.raises(InvalidInputError, match="several ways"):
        papers.delete(["a"], where="#1")
    with pytest.raises(InvalidInputError, match="Give a list"):
        papers.delete("doc-1")
    assert papers.count() == 240


# A client ---------------------------------------------------------------------------------------------


def test_an_index_behind_a_client_can_be_opened_again(
    space: FeatureSpace, encoder: RecordingEncoder, records: list[Record]
) -> None:
    client = QdrantClient(":memory:")
    with pytest.raises(NotFoundError):
        FeatureIndex.open("notes", client=client)
    FeatureIndex.create("notes", space, client=client, encoder=encoder).upsert(records[:20])
    again = FeatureIndex.open("notes", client=client, space=space, encoder=encoder)
    assert again.count() == again.state.manifest.counts.records == 20
    assert again.search(records[3].text, limit=1)[0].id == records[3].id
    assert again.state.folder is None
    assert again.state.rejects_path == Path("notes.rejects.jsonl")


# Features ---------------------------------------------------------------------------------------------


def test_a_feature_card_counts_levels_and_shows_the_strongest(papers: FeatureIndex) -> None:
    points = all_points(papers)
    counts = np.bincount(np.concatenate([code_of(p).indices for p in points]))
    feature = int(counts.argmax())
    card = papers.concepts.card(feature)
    levels = [[p for p in points if feature * 4 + level in p.payload["concepts"]] for level in range(3)]
    assert card.records_at_level == (*map(len, levels), len(levels[0]))
    assert card.records_at_level[0] == counts[feature]
    activations = {
        p.payload["record_id"]: float(code_of(p).values[code_of(p).indices == feature][0]) for p in levels[0]
    }
    assert [one.activation for one in card.strongest] == pytest.approx(sorted(activations.values())[::-1][:5])
    assert all(activations[one.id] == pytest.approx(one.activation) for one in card.strongest)
    assert feature not in [similar.id for similar in card.similar]
    assert all(similar.is_weak == papers.space.labels[similar.id].is_weak for similar in card.similar)
    with pytest.raises(UnknownConceptError):
        papers.concepts.card(papers.space.n_features)


def test_a_label_resolves_to_all_features_with_that_label(papers: FeatureIndex) -> None:
    named = papers.space.is_named
    trusted = [i for i, label in enumerate(papers.space.labels) if named[i] and not label.is_weak]
    for feature in trusted[:: max(1, len(trusted) // 20)]:
        label = papers.space.labels[feature].text
        resolved = [match.id for match in papers.concepts.resolve(label).features]
        same = {i for i, other in enumerate(papers.space.labels) if other.text.casefold() == label.casefold()}
        assert set(resolved) <= same
        assert feature in resolved or len(same) > len(resolved)


def test_an_unknown_concept_lists_the_nearest_labels(papers: FeatureIndex) -> None:
    with pytest.raises(UnknownConceptError) as caught:
        papers.concepts.resolve("qxzzyv plomfrt")
    nearest = papers.concepts.find("qxzzyv plomfrt", limit=5)
    assert all(f"#{match.id} {match.label!r}" in caught.value.do for match in nearest)
    with pytest.raises(InvalidInputError):
        papers.concepts.find("  ")
