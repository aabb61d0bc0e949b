"""Records of documents: what a condition, a count, a statistic and a deletion mean where texts are split."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from saeindex import FeatureIndex, FeatureSpace, Record
from saeindex.search.query import GroupBy
from tests.samples import RandomEncoder, sample_records, small_space

WORDS = [record.text for record in sample_records(400, 3)]


@pytest.fixture
def index(tmp_path: Path, space: FeatureSpace) -> Iterator[FeatureIndex]:
    """Forty texts of up to ten sentences, of 16 tokens at most each; the first is short."""
    small = small_space(space.encoder)
    with FeatureIndex(tmp_path / "index", space=small, encoder=RandomEncoder(space.encoder)) as made:
        made.upsert(
            (
                Record(f"doc-{n}", " ".join(WORDS[n * 10 : n * 10 + 1 + n % 10]), {"side": "ab"[n % 2]})
                for n in range(40)
            ),
            split=16,
        )
        yield made


def test_a_condition_and_its_negation_share_out_the_records(index: FeatureIndex) -> None:
    total = len(index)
    assert total > 100 and len(index.get(["doc-0#0"])) == 1
    for feature in range(0, 60, 7):
        having = {record.id for record in index.scroll(f"#{feature}", limit=1_000)[0]}
        assert len(having) == index.count(f"#{feature}") == total - index.count(f"NOT #{feature}")
        both = index.count(f"#{feature} AND #{feature + 1}")
        other = {record.id for record in index.scroll(f"#{feature + 1}", limit=1_000)[0]}
        assert both == len(having & other)
    feature = index.search("x", limit=1)[0].features[0].id
    kept = {record.id for record in index.scroll(f"#{feature}", limit=1_000)[0]}
    assert index.delete(where=f"NOT #{feature}") == total - len(kept)
    assert {record.id for record in index.scroll(limit=1_000)[0]} == kept


def test_a_document_that_lost_records_is_indexed_again_as_a_whole(index: FeatureIndex) -> None:
    text = " ".join(WORDS[90:100])
    assert index.upsert([Record("doc-9", text, {"side": "b"})], split=16).unchanged == 1
    index.delete([index.get(documents=["doc-9"], include=())[1].id])
    assert index.upsert([Record("doc-9", text, {"side": "b"})], split=16).indexed == 1
    assert "".join(one.text for one in index.get(documents=["doc-9"], include=())) == text


def test_groups_are_documents_and_sizes_are_records(index: FeatureIndex) -> None:
    found = index.search("rain", group_by=GroupBy("document", size=2), limit=5)
    assert len({group.value for group in found.groups}) == 5
    for group in found.groups:
        assert {hit.document for hit in group.hits} == {group.value} and len(group.hits) <= 2


def test_the_document_is_the_unit_of_every_test(index: FeatureIndex) -> None:
    a, b = 'metadata.side = "a"', 'metadata.side = "b"'
    assert index.diff(a, b).unit == "document"
    assert index.correlate(min_support=2).units == 40
    assert index.correlate(min_support=2, unit=None).units == len(index)
    assert index.monitor(a, b).unit == "document"


def test_companions_do_not_count_the_records_of_one_document_as_independent(
    tmp_path: Path, space: FeatureSpace
) -> None:
    """Two long texts that repeat themselves are no evidence; many that agree are."""
    small = small_space(space.encoder)
    texts = [f"{WORDS[n % 2]} " * 20 for n in range(2)]
    others = [Record(f"other-{n}", WORDS[n + 10]) for n in range(60)]
    with FeatureIndex(tmp_path / "few", space=small, encoder=RandomEncoder(space.encoder)) as few:
        few.upsert([Record(str(n), text) for n, text in enumerate(texts)] + others, split=20)
        feature = max(few.get(documents=["0"])[0].concepts, key=lambda one: one.activation).id
        within = few.concepts.companions(feature)
        assert all(one.q > 0.01 for one in within), [one.q for one in within]
    with FeatureIndex(tmp_path / "many", space=small, encoder=RandomEncoder(space.encoder)) as many:
        many.upsert([Record(f"{n}-{m}", texts[n]) for n in range(2) for m in range(20)] + others, split=20)
        assert len(many.concepts.companions(feature)) > len(within)
