"""What a feature means in a collection: its words are found there, and names are trusted as they hold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from saeindex.features import Calibration, FeatureLabel, FeatureSpace
from saeindex.features.labels import CONCEPT, HIDDEN, MANUAL, SPELLING, TRUST_FLOOR
from saeindex.features.names_here import MIN_MADE, CodedSample, NameHere, names_here
from saeindex.types import SparseCode
from tests.features.test_labels import FILLERS, PLANTED, commaless, embed, planted

ELSEWHERE = "cello"  # in none of the texts


def space_of(space: FeatureSpace, code: SparseCode, labels: list[FeatureLabel]) -> FeatureSpace:
    """Return a space with these labels, for codes of the planted texts."""
    vectors = embed(commaless([label.text for label in labels]))
    return replace(space, calibration=Calibration.measure(code), labels=tuple(labels), label_vectors=vectors)


def sample(texts: list[str], code: SparseCode) -> CodedSample:
    """Return texts and their codes as a sample of a collection, with their numbers as ids."""
    return CodedSample([str(row) for row in range(len(texts))], texts, embed(texts), code)


def test_a_feature_is_named_by_the_collection_s_word_for_it(space: FeatureSpace) -> None:
    texts, code = planted()
    labels = [FeatureLabel(ELSEWHERE, trust=0.9)] * len(PLANTED)
    found = names_here(space_of(space, code, labels), sample(texts, code), embed)
    assert [found[feature].words[0] for feature in range(len(PLANTED))] == PLANTED
    assert [one.records for one in found.values()] == _typical(code).tolist()


def test_a_name_that_holds_elsewhere_only_loses_trust_and_the_words_have_it(space: FeatureSpace) -> None:
    texts, code = planted()
    labels = [FeatureLabel(ELSEWHERE, trust=0.9), *(FeatureLabel(word, trust=0.6) for word in PLANTED[1:])]
    found = names_here(space_of(space, code, labels), sample(texts, code), embed)
    assert (found[0].trust or 1) < 0.65
    assert (found[0].trust_read or 0) > 0.85
    assert all((found[feature].trust or 0) > 0.85 for feature in range(1, len(PLANTED)))


def test_few_records_move_the_trust_little(space: FeatureSpace) -> None:
    texts, code = planted()
    for rows, low, high in ((160, 0.6, 0.85), (1_500, 0.5, 0.65)):
        labels = [FeatureLabel(ELSEWHERE, trust=0.9)] * len(PLANTED)
        kept = np.arange(rows)
        part = space_of(space, code, labels)
        found = names_here(part, sample(texts[:rows], code.take(kept)), embed)
        trusts = [one.trust for one in found.values() if one.trust is not None]
        assert trusts
        assert low < np.mean(trusts) < high


def test_features_of_few_records_and_texts_without_words_get_no_words(space: FeatureSpace) -> None:
    texts, code = planted(rows=4 * MIN_MADE)
    labels = [FeatureLabel(word) for word in PLANTED]
    made = space_of(space, code, labels)
    few = names_here(made, sample(texts[:MIN_MADE], code.take(np.arange(MIN_MADE))), embed)
    assert few == {}
    texts, code = planted(rows=400)
    wordless = replace(sample(texts, code), texts=["1 2 3"] * 400)
    found = names_here(space_of(space, code, labels), wordless, embed)
    assert found
    assert all(one.words == () and one.trust_read is None for one in found.values())


def test_the_example_is_the_shortest_of_the_strongest(space: FeatureSpace) -> None:
    texts, code = planted()
    labels = [FeatureLabel(word) for word in PLANTED]
    found = names_here(space_of(space, code, labels), sample(texts, code), embed)
    for feature, here in found.items():
        values = code.to_csr()[:, [feature]].toarray().ravel()
        clear = np.flatnonzero(values >= np.quantile(values[values > 0], 0.75))
        assert int(here.example) in clear
        assert len(texts[int(here.example)]) == min(len(texts[row]) for row in clear)


def test_of_a_label_that_fails_the_terms_that_hold_are_kept(space: FeatureSpace) -> None:
    texts, code = planted()
    several = ", ".join([*FILLERS[:3], PLANTED[0]])
    labels = [FeatureLabel(several, trust=0.9), *map(FeatureLabel, PLANTED[1:])]
    wordless = replace(sample(texts, code), texts=["1 2 3"] * len(texts))
    found = names_here(space_of(space, code, labels), wordless, lambda t: embed(commaless(t)))
    assert (found[0].part, [found[i].part for i in range(1, len(PLANTED))]) == (
        (PLANTED[0],),
        [None] * (len(PLANTED) - 1),
    )
    assert (found[0].trust_read or 0) > 0.85 > TRUST_FLOOR > (found[0].trust or 1)
    assert found[0].of(labels[0]).said == PLANTED[0]


RAIL, BRISKET, TRUSTED = FeatureLabel("rail", trust=0.6), ("brisket",), FeatureLabel("meals", trust=0.9)
TWO = FeatureLabel("rail, brisket", trust=0.9)
GIVEN = replace(TRUSTED, method=CONCEPT)


@pytest.mark.parametrize(
    ("label", "here", "name", "is_weak"),
    [
        (TRUSTED, NameHere(("brisket", "bbq"), 40, 0.7, 0.9), "meals · here: brisket, bbq", False),
        (TRUSTED, NameHere(("brisket", "bbq"), 40, 0.7, 0.9, "", ()), "here: brisket, bbq", False),
        (TRUSTED, NameHere(("brisket", "bbq"), 40, 0.7, 0.7, "", ()), "meals", True),
        (TWO, NameHere((), 40, 0.7, 0.9, "", BRISKET), "brisket", False),
        (TWO, NameHere((), 40, 0.7, 0.7, "", BRISKET), "rail, brisket", True),
        (TRUSTED, NameHere(("meal", "tasty meal"), 40, 0.9, 0.95), "meals · here: tasty meal", False),
        (RAIL, NameHere(BRISKET, 40, 0.7, 0.9), "rail · here: brisket", False),
        (RAIL, NameHere(BRISKET, 40, 0.9, 0.7), "rail", False),
        (TRUSTED, NameHere(BRISKET, 40, 0.95, 0.93), "meals", False),
        (TRUSTED, NameHere(BRISKET, 40, 0.95, 0.945), "meals · here: brisket", False),
        (TRUSTED, NameHere(BRISKET, 40, 0.9, 0.9), "meals · here: brisket", False),
        (GIVEN, NameHere(BRISKET, 40, 0.9, 0.9), "meals", False),
        (GIVEN, NameHere(BRISKET, 40, 0.9, 0.92), "meals · here: brisket", False),
        (GIVEN, NameHere(BRISKET, 40, 0.7, 0.8), "meals · here: brisket", False),
        (GIVEN, NameHere((), 40, 0.7, 0.9, "", BRISKET), "meals", True),
        (RAIL, NameHere(BRISKET, 40, 0.795, 0.8), "rail · here: brisket", False),
        (RAIL, NameHere(BRISKET, 40, 0.7, 0.7), "rail", True),
        (replace(TRUSTED, kind=SPELLING), NameHere(BRISKET, 40, 0.7, 0.9), "meals · here: brisket", False),
        (replace(TRUSTED, kind=SPELLING), NameHere(BRISKET, 40, 0.9, 0.9), "meals · here: brisket", False),
        (replace(TRUSTED, kind=SPELLING), NameHere(BRISKET, 40, 0.9, 0.7), "meals", True),
        (TRUSTED, NameHere(BRISKET, 40, 0.7, 0.7), "meals", True),
        (TRUSTED, NameHere(BRISKET, 40), "meals", False),
        (replace(RAIL, method=MANUAL), NameHere((), 40, 0.5), "rail", False),
        (replace(RAIL, method=MANUAL, kind=HIDDEN), NameHere((), 40, 0.5), "rail", True),
    ],
)
def test_a_name_is_shown_with_words_that_are_trusted_and_new(
    label: FeatureLabel, here: NameHere, name: str, is_weak: bool
) -> None:
    assert (here.of(label).name, here.of(label).is_weak) == (name, is_weak)


@pytest.fixture(scope="module")
def space() -> FeatureSpace:
    return FeatureSpace.load("minilm-concepts")


def _typical(code: SparseCode) -> NDArray[np.int64]:
    matrix = code.to_csr()
    median = Calibration.measure(code).median
    counts: NDArray[np.int64] = np.bincount(
        matrix.indices[matrix.data >= median[matrix.indices]], minlength=code.n_features
    )
    return counts
