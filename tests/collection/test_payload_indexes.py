"""Payload indexes that come and go with an index that has records; an index that is warm."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from qdrant_client import QdrantClient

from saeindex import FeatureIndex, FeatureSpace, Record
from saeindex.errors import InvalidInputError
from saeindex.operations.copies import copy_index
from tests.samples import RandomEncoder, RecordingEncoder, sample_records

RECORDS = sample_records(60)


@pytest.fixture(params=["edge", "isolated", "memory"])
def index(
    request: pytest.FixtureRequest, tmp_path: Path, space: FeatureSpace, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FeatureIndex]:
    monkeypatch.chdir(tmp_path)
    client = QdrantClient(":memory:") if request.param == "memory" else None
    encoder, isolated = RandomEncoder(space.encoder), request.param == "isolated"
    place = "notes" if client else tmp_path / "a.idx"
    with FeatureIndex.create(place, space, client=client, encoder=encoder, isolated=isolated) as made:
        made.upsert(RECORDS, learn_terms=False)
        yield made


def test_an_index_of_a_field_changes_no_answer(index: FeatureIndex) -> None:
    count, revision = index.count("metadata.year > 2000"), index.state.revision
    index.create_payload_index("metadata.year", "integer-range")
    assert index.info()["payload_indexes"]["metadata.year"] == "integer-range"
    assert index.state.store.layout.payload_indexes["metadata.year"] == "integer-range"
    assert index.state.revision != revision and index.count("metadata.year > 2000") == count
    index.create_payload_index("metadata.topic", "keyword")
    assert sum(number for _, number in index.state.store.facet("metadata.topic")) == 60
    index.upsert(sample_records(10, seed=3, prefix="new"), learn_terms=False)
    assert sum(number for _, number in index.state.store.facet("metadata.topic")) == 70
    index.delete_payload_index("metadata.topic")
    assert "metadata.topic" not in index.info()["payload_indexes"]
    index.delete_payload_index("metadata.topic")


def test_an_index_of_whole_numbers_is_of_nothing_else(index: FeatureIndex) -> None:
    index.update(["doc-1"], set={"price": 2.5})
    index.update(["doc-2"], set={"price": 3})
    found = index.count("metadata.price > 1"), index.count("NOT metadata.price > 1")
    with pytest.raises(InvalidInputError, match=r"metadata.price is 2.5, .* of whole numbers"):
        index.create_payload_index("metadata.price", "integer-range")
    assert (index.count("metadata.price > 1"), index.count("NOT metadata.price > 1")) == found
    index.create_payload_index("metadata.price", "float")
    assert (index.count("metadata.price > 1"), index.count("NOT metadata.price > 1")) == found
    index.create_payload_index("metadata.year", "integer-range")
    with pytest.raises(InvalidInputError, match=r"metadata.year is 2001.5"):
        index.update(["doc-1"], set={"year": 2001.5})
    new = [Record("half", "A text.", {"year": 1.5}), Record("listed", "A text.", {"year": [1, 2.5]})]
    report = index.upsert([*new, Record("whole", "A text.", {"year": 1})], allow_rejects=True)
    assert (report.indexed, report.rejected) == (1, 2)
    assert "metadata.year is 1.5" in report.reasons[0]


def test_it_is_there_after_reopening_and_in_copies(tmp_path: Path, space: FeatureSpace) -> None:
    path, encoder = tmp_path / "a.idx", RandomEncoder(space.encoder)
    with FeatureIndex.create(
        path, space, encoder=encoder, payload_indexes={"metadata.score": "float"}
    ) as made:
        made.upsert(RECORDS, learn_terms=False)
        made.create_payload_index("metadata.topic", "keyword")
        made.delete_payload_index("metadata.score")
    copy_index(path, tmp_path / "b.idx")
    for one in (path, tmp_path / "b.idx"):
        with FeatureIndex.open(one, encoder=encoder) as opened:
            own = {key: kind for key, kind in opened.info()["payload_indexes"].items() if "metadata" in key}
            assert own == {"metadata.topic": "keyword"}
            assert opened.state.store.facet("metadata.topic", limit=1)[0][1] > 3


@pytest.mark.parametrize(
    ("field", "kind", "says"),
    [
        ("metadata.year", "number", "no kind 'number'"),
        ("record_id", "keyword", "no field of the metadata"),
        ("year", "keyword", "year"),
        ('metadata."a""b"', "keyword", "its name holds"),
    ],
)
def test_what_no_engine_indexes_is_refused(index: FeatureIndex, field: str, kind: str, says: str) -> None:
    with pytest.raises(InvalidInputError, match=says):
        index.create_payload_index(field, kind)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError):
        index.part("metadata.year > 0").create_payload_index("metadata.year", "integer")


def test_a_warm_index_has_what_first_searches_read(
    tmp_path: Path, space: FeatureSpace, encoder: RecordingEncoder
) -> None:
    with FeatureIndex.create(tmp_path / "a.idx", space, encoder=encoder) as index:
        index.warm()
        index.upsert(RECORDS, learn_terms=False)
        revision = index.state.revision
        index.warm()
        assert index.state._derived.keys() and index.state.revision == revision
