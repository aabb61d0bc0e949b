"""Groups of records are named by the words and phrases that they have and others do not."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from benchmarks.snapshots import snapshot_of as records_of
from saeindex.analysis.stats.evidence import MIN_TEXTS, _distinct, _phrases, group_names
from saeindex.analysis.stats.stratified import one_hot
from saeindex.collection.snapshot import Snapshot
from saeindex.features import FeatureSpace
from saeindex.features.labels import CONCEPT

PHONES = ["the battery life of this phone is long", "what a phone has is battery life, and life goes on"]
ROUTERS = [
    "the router is a good one, no connection is lost",
    "a router with a firewall, routers with a connection",
]


@pytest.fixture(scope="module")
def space() -> FeatureSpace:
    return FeatureSpace.load("minilm-concepts")


def snapshot_of(
    space: FeatureSpace, texts: list[str], vectors: NDArray[np.float32] | None = None
) -> Snapshot:
    """Return a snapshot of texts, at the origin without vectors; features do not matter for names."""
    count = len(texts)
    vectors = np.zeros((count, space.sae.dimension), np.float32) if vectors is None else vectors
    activations = csr_matrix((count, space.n_features), dtype=np.float32)
    return records_of(space, [str(i) for i in range(count)], vectors, activations, texts, [{}] * count)


def named(space: FeatureSpace, texts: list[str], groups: list[int]) -> tuple[str, ...]:
    codes: NDArray[np.int64] = np.array(groups)
    snapshot = snapshot_of(space, texts)
    return group_names(snapshot, np.arange(len(texts)), one_hot(codes, int(codes.max()) + 1))


def test_names_are_words_and_phrases_without_forms_of_the_same_word(space: FeatureSpace) -> None:
    phones, routers = named(space, 3 * PHONES + 3 * ROUTERS, [0] * 6 + [1] * 6)
    assert phones.split(" · ")[:2] in (["battery life", "phone"], ["phone", "battery life"])
    assert set(routers.split(" · ")[:2]) == {"router", "connection"}
    assert not {"the", "life", "routers"} & set(f"{phones} · {routers}".split(" · "))


def test_two_groups_with_the_same_words_have_different_names(space: FeatureSpace) -> None:
    texts = 3 * PHONES + 3 * ROUTERS
    one, two, _ = named(space, texts, [0, 1] * 3 + [2] * 6)
    assert one != two


def test_the_same_words_in_another_order_are_the_same_name() -> None:
    ordered, turned = ["camera", "pictures", "quality"], ["camera", "quality", "pictures"]
    assert _distinct([ordered, turned]) == (
        "camera · pictures · quality (1)",
        "camera · quality · pictures (2)",
    )
    assert _distinct([[*ordered, "zoom"], turned]) == (
        "camera · pictures · quality · zoom",
        "camera · quality · pictures",
    )
    assert _distinct([ordered, ["phone"], []]) == ("camera · pictures · quality", "phone", "other")


def test_groups_that_say_nothing_of_their_own_have_names_too(space: FeatureSpace) -> None:
    names = named(space, ["it is", "it was"] * 4, [0] * 4 + [1] * 4)
    assert names == ("other (1)", "other (2)")


def test_a_given_concept_near_to_a_group_is_added_unless_its_words_say_it(space: FeatureSpace) -> None:
    phone, network = (space.label_vectors[feature_of(space, name)] for name in ("phone", "network"))
    vectors = np.array([*[phone] * 6, *[network] * 6], np.float32)
    snapshot = snapshot_of(space, 3 * PHONES + 3 * ROUTERS, vectors)
    groups = one_hot(np.repeat(np.arange(2), 6), 2)
    phones, routers = group_names(snapshot, np.arange(12), groups)
    assert "(" not in phones
    assert routers.endswith(" (network)")


def feature_of(space: FeatureSpace, name: str) -> int:
    """Return the feature of a given concept."""
    return next(i for i, label in enumerate(space.labels) if label.text == name and label.method == CONCEPT)


def test_phrases_of_equal_counts_are_those_that_come_first_in_the_text() -> None:
    """A set's order differs from process to process, and so would the names of groups."""
    words = ["alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel", "india", "juliet"]
    found = _phrases(words, [" ".join(words)] * MIN_TEXTS)
    pairs = zip(words[::2], words[1::2], strict=True)
    assert found == {word: f"{a} {b}" for a, b in pairs for word in (a, b)}
