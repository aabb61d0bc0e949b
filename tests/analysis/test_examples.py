"""Records as examples show the sentences that speak for what they are examples of."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from saeindex import FeatureIndex
from saeindex.analysis.examples import SHOWN_CHARS, beside, examples_of
from saeindex.collection.snapshot import Snapshot

REVIEW = (
    "We came on a rainy evening with four friends. The price of the soup was higher than last year. "
    "Afterwards we walked home along the river. The battery of my phone had died by then."
)
LONG = "The band, " + "which played on and on without a pause, " * 9 + "asked a high price for its music."


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Snapshot]:
    path: Path = tmp_path_factory.mktemp("examples") / "reviews.idx"
    with FeatureIndex(path) as index:
        texts = {"review": REVIEW, "long": LONG, "other": "A quiet walk."}
        index.upsert([{"id": name, "text": text} for name, text in texts.items()])
        yield index.state.snapshot()


def feature(snapshot: Snapshot, name: str) -> int:
    evidence = snapshot.space.evidence
    assert evidence is not None
    labels = snapshot.space.labels
    return next(one for one in map(int, evidence.features) if labels[one].text == name)


def test_the_sentence_that_speaks_of_a_feature_is_shown_and_its_word_marked(snapshot: Snapshot) -> None:
    rows = snapshot.rows_of(["review", "other"]).tolist()
    one, other = examples_of(snapshot, rows, [feature(snapshot, "price")])
    assert (one.id, one.text) == ("review", "The price of the soup was higher than last year.")
    assert one.highlights == ("price",) and len(one.concepts) > 1
    assert (other.text, other.highlights) == ("A quiet walk.", ())


def test_two_features_are_shown_in_the_order_of_the_text(snapshot: Snapshot) -> None:
    rows = snapshot.rows_of(["review"]).tolist()
    [one] = examples_of(snapshot, rows, [feature(snapshot, "battery"), feature(snapshot, "price")])
    first, second = one.text.split(" … ")
    assert first.startswith("The price") and second.startswith("The battery")
    assert set(one.highlights) == {"price", "battery"}


def test_a_long_sentence_is_cut_around_its_word_and_words_stand_in_for_evidence(snapshot: Snapshot) -> None:
    rows = snapshot.rows_of(["long"]).tolist()
    [one] = examples_of(snapshot, rows, [feature(snapshot, "price")])
    assert one.text.startswith("…") and "high price" in one.text and len(one.text) <= SHOWN_CHARS + 2
    [by_word] = examples_of(snapshot, rows, words=["pause", "absent"])
    assert by_word.highlights == ("pause",) and "pause" in by_word.text
    [start] = examples_of(snapshot, rows)
    assert start.text.startswith("The band, which") and start.text.endswith("…") and not start.highlights


def test_two_fields_of_a_record_are_one_example(snapshot: Snapshot) -> None:
    rows = snapshot.rows_of(["review"]).tolist()
    prices = examples_of(snapshot, rows, [feature(snapshot, "price")])
    [both] = beside(prices, examples_of(snapshot, rows, words=["river"]))
    assert both.text.startswith("The price") and both.highlights == ("price", "river")
