"""Labelling a space: any labeler, splits by document, and manual labels that are never replaced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.vocabulary.labeler import VocabularyLabeler
from saeindex import FeatureSpace
from saeindex.errors import InvalidInputError, UnknownConceptError
from saeindex.features import FeatureLabel
from saeindex.features.families import Family
from saeindex.features.labelers import Labeler, Labeling, LabelingTask, LexicalLabeler, ManualLabeler
from saeindex.features.labelling import labeling_task, relabel, split_texts, with_labeling
from saeindex.features.labels import TRUST_FLOOR
from saeindex.features.space_map import carry_manual_labels
from saeindex.sae import SparseAutoencoder, TrainingConfig
from tests.samples import SUBJECTS, RecordingEncoder, sample_records

TEXTS = [record.text for record in sample_records(2_000, seed=40)]
CONFIG = TrainingConfig(n_features=48, k=12, steps=120, batch_size=256)


class Naming:
    """A labeler that names features by a word, skips some of them, and records its task."""

    method = "guess"

    def __init__(self, word: str = "bread", leaves: Sequence[int] = ()) -> None:
        self.word, self.leaves, self.tasks = word, set(leaves), list[LabelingTask]()

    def label(self, task: LabelingTask) -> Labeling:
        self.tasks.append(task)
        phrases = {f: f"{self.word} {f}" for f in task.features if f not in self.leaves}
        left = {f: "no idea" for f in task.features if f in self.leaves}
        return Labeling(phrases, left, report={"asked": len(task.features)})


@pytest.fixture(scope="module")
def embeddings(session_encoder: RecordingEncoder) -> Any:
    return session_encoder.encode_document(TEXTS)


@pytest.fixture(scope="module")
def fitted_space(session_encoder: RecordingEncoder, embeddings: Any) -> FeatureSpace:
    return FeatureSpace.fit(
        TEXTS, config=CONFIG, encoder=session_encoder, embeddings=embeddings, name="small", concepts=[]
    )


def annotated(
    fitted_space: FeatureSpace, embeddings: Any, encoder: RecordingEncoder, **options: Any
) -> FeatureSpace:
    return FeatureSpace.annotate(
        fitted_space.sae, TEXTS, embeddings, encoder, name="small", report={}, **options
    )


def test_the_report_has_the_figures_of_the_labels(fitted_space: FeatureSpace) -> None:
    figures = fitted_space.report["labels"]
    trust = [label.trust for label in fitted_space.labels if label.trust is not None]
    assert figures["mean_trust"] == pytest.approx(np.mean(trust))
    assert figures["mean_f1"] == pytest.approx(
        np.mean([la.f1 for la in fitted_space.labels if la.f1 is not None])
    )
    assert figures["methods"] == {"lexical": 48}
    assert figures["tested"] == len(trust) > 20
    assert figures["mean_trust"] > figures["control_auroc"] + 0.2


def test_names_of_a_vocabulary_are_taken_where_they_predict_as_well(
    fitted_space: FeatureSpace, embeddings: Any, session_encoder: RecordingEncoder
) -> None:
    names = [*SUBJECTS, "the weather", "a wedding"]
    task = labeling_task(fitted_space, TEXTS, embeddings, session_encoder)
    labeling = VocabularyLabeler(names, fitted_space.label_vectors, {3: ["bread"]}).label(task)
    assert labeling.phrases.keys() | labeling.left.keys() == set(range(48))
    assert labeling.phrases
    assert labeling.left
    named = with_labeling(fitted_space, task, labeling, VocabularyLabeler.method)
    worse = []
    for feature, phrase in labeling.phrases.items():
        assert set(phrase.split(", ")) <= {*names, *(["bread"] if feature == 3 else [])}
        before, after = fitted_space.labels[feature].trust, named.labels[feature].trust
        if before is None or after is None:
            assert before is after  # too few of the texts that test labels have the feature
        else:
            worse.append(before - after)
    assert len(worse) > len(labeling.phrases) / 2
    assert max(worse) < 0.1  # at most .01 on the texts that chose the names
    # A label that says nothing gives way to any name.
    silent = np.zeros_like(fitted_space.label_vectors)
    nothing = VocabularyLabeler(names, silent).label(task)
    assert len(nothing.phrases) > len(labeling.phrases)
    # A name that other features have is only a part of a label.
    taken = set(nothing.phrases.values()) & set(names)
    assert taken
    others = VocabularyLabeler(names, silent, taken=taken).label(task)
    assert taken.isdisjoint(others.phrases.values())
    assert any(taken & set(phrase.split(", ")) for phrase in others.phrases.values())


def test_any_labeler_can_be_used_and_words_label_the_remaining_features(
    fitted_space: FeatureSpace, embeddings: Any, encoder: RecordingEncoder
) -> None:
    labeler: Labeler = Naming(leaves=[3, 5])
    space = annotated(fitted_space, embeddings, encoder, labeler=labeler)
    assert [label.method for label in space.labels[:6]] == ["guess"] * 3 + ["lexical", "guess", "lexical"]
    assert space.labels[3].text == annotated(fitted_space, embeddings, encoder).labels[3].text
    assert space.labels[0].text == "bread 0"
    assert space.report["labels"]["guess"] == {"asked": 48}
    assert space.report["labels"]["methods"] == {"guess": 46, "lexical": 2}
    np.testing.assert_allclose(space.label_vectors[0], encoder.encode_query(["bread 0"])[0], atol=1e-3)
    assert space.fingerprint == annotated(fitted_space, embeddings, encoder).fingerprint
    assert (
        annotated(fitted_space, embeddings, encoder, labeler=LexicalLabeler()).labels
        == annotated(fitted_space, embeddings, encoder).labels
    )


def test_no_document_is_used_for_both_labelling_and_testing(
    fitted_space: FeatureSpace, embeddings: Any, encoder: RecordingEncoder
) -> None:
    groups = np.arange(len(TEXTS)) // 7
    labeler = Naming()
    annotated(fitted_space, embeddings, encoder, labeler=labeler, groups=groups)
    (task,) = labeler.tasks
    assert task.shown.groups is not None
    assert task.unseen.groups is not None
    assert set(task.shown.groups).isdisjoint(task.unseen.groups)
    assert len(task.shown.texts) + len(task.unseen.texts) == len(TEXTS)
    assert len(task.shown.texts) == pytest.approx(0.7 * len(TEXTS), abs=14)
    for part in (task.shown, task.unseen):
        i = 11
        at = TEXTS.index(part.texts[i])
        np.testing.assert_array_equal(part.vectors[i], embeddings[at])
        assert part.groups is not None
        assert part.groups[i] == groups[at]
        np.testing.assert_array_equal(
            part.code.row(i)[0], fitted_space.sae.encode(embeddings[at : at + 1]).row(0)[0]
        )


def test_a_split_is_the_same_each_time_and_uneven_groups_stay_whole() -> None:
    sizes = np.random.default_rng(0).integers(1, 40, 90)
    groups = np.repeat(np.arange(90) * 3, sizes)
    first, second = split_texts(len(groups), groups, 0.7, seed=1)
    assert set(groups[first]).isdisjoint(groups[second])
    assert sorted([*first, *second]) == list(range(len(groups)))
    assert 0.6 < len(first) / len(groups) <= 0.7
    np.testing.assert_array_equal(first, split_texts(len(groups), groups, 0.7, seed=1)[0])
    assert set(first) != set(split_texts(len(groups), groups, 0.7, seed=2)[0])


def test_a_manual_label_is_never_weak_and_no_labeler_replaces_it(
    fitted_space: FeatureSpace, embeddings: Any, encoder: RecordingEncoder
) -> None:
    assert fitted_space.labels[7].trust is not None  # so it can be measured
    named = fitted_space.with_labels({7: " of the oven ", 9: "starlight"}, encoder)
    assert [named.labels[i] for i in (7, 9)] == [
        FeatureLabel("of the oven", "manual"), FeatureLabel("starlight", "manual"),
    ]  # fmt: skip
    assert not named.labels[7].is_weak
    assert named.labels[8] == fitted_space.labels[8]
    assert named.fingerprint == fitted_space.fingerprint
    assert fitted_space.labels[7].method == "lexical"
    np.testing.assert_allclose(named.label_vectors[9], encoder.encode_query(["starlight"])[0], atol=1e-3)
    labeler = Naming()
    again, done = relabel(named, TEXTS, embeddings, encoder, labeler)
    assert 7 not in done.phrases
    assert [again.labels[i].text for i in (7, 8, 9)] == ["of the oven", "bread 8", "starlight"]
    assert again.labels[7].method == "manual"
    # Its trust is measured like that of any other label, if there are texts.
    assert again.labels[7].trust is not None
    assert again.report["labels"]["methods"] == {"guess": 46, "manual": 2}
    by_hand, _ = relabel(again, TEXTS, embeddings, encoder, ManualLabeler({7: "said otherwise"}))
    assert (by_hand.labels[7].text, by_hand.labels[8]) == ("said otherwise", again.labels[8])


def of_concepts(space: FeatureSpace) -> FeatureSpace:
    """Return the space with three features that concepts name, #5 and #6 below #4."""
    labels = list(space.labels)
    labels[4] = FeatureLabel("food", "concept", 0.9, 0.8, "what is eaten")
    labels[5] = FeatureLabel("cake", "concept", 0.9, 0.8, "sweet and baked", 4)
    labels[6] = FeatureLabel("soup", "concept", 0.9, 0.8, "hot", 4)
    return replace(space, labels=tuple(labels))


def test_a_manual_label_keeps_the_description_and_the_place_of_a_concept(
    fitted_space: FeatureSpace, embeddings: Any, encoder: RecordingEncoder
) -> None:
    given = of_concepts(fitted_space)
    named = given.with_labels({5: "gateau"}, encoder)
    assert named.labels[5] == FeatureLabel("gateau", "manual", None, None, "sweet and baked", 4)
    again, _ = relabel(given, TEXTS, embeddings, encoder, ManualLabeler({5: "gateau"}))
    assert (again.labels[5].description, again.labels[5].broader) == ("sweet and baked", 4)
    # A refit with a new definition has that one, and keeps the name.
    labels = list(given.labels)
    labels[5] = replace(labels[5], description="of flour, eggs and sugar")
    carried = carry_manual_labels(named, replace(given, labels=tuple(labels)))
    assert (carried.labels[5].text, carried.labels[5].description) == ("gateau", "of flour, eggs and sugar")


def test_names_of_concepts_are_replaced_only_where_their_features_are_asked_for(
    fitted_space: FeatureSpace, embeddings: Any, encoder: RecordingEncoder
) -> None:
    given = of_concepts(fitted_space)
    after, done = relabel(given, TEXTS, embeddings, encoder, Naming())
    assert after.labels[4:7] == given.labels[4:7]
    assert done.phrases.keys() == set(range(48)) - {4, 5, 6}
    after, _ = relabel(given, TEXTS, embeddings, encoder, Naming(), features=[5, 8])
    assert [after.labels[i].text for i in (4, 5, 6, 8)] == ["food", "bread 5", "soup", "bread 8"]
    assert (after.labels[5].description, after.labels[5].broader) == ("", None)


def test_relabelling_some_features_leaves_the_others_unchanged(
    fitted_space: FeatureSpace, embeddings: Any, encoder: RecordingEncoder
) -> None:
    first, second = [i for i in range(48) if (fitted_space.labels[i].trust or 0) > TRUST_FLOOR][:2]
    after, done = relabel(
        fitted_space, TEXTS, embeddings, encoder, Naming(leaves=[second]), features=[first, second]
    )
    assert (done.phrases, done.left) == ({first: f"bread {first}"}, {second: "no idea"})
    assert [i for i in range(48) if after.labels[i] != fitted_space.labels[i]] == [first]
    assert 0 < (after.labels[first].trust or 0) < (fitted_space.labels[first].trust or 0)
    assert after.labels[first].f1 is not None
    assert after.report["labels"]["guess"] == {"asked": 2}
    assert "guess" not in fitted_space.report["labels"]


def test_families_are_named_after_the_current_labels(
    fitted_space: FeatureSpace, encoder: RecordingEncoder
) -> None:
    family = Family(0, "old name", (3, 5, 8), (None, 3, 3), 0.5, 0.1)
    space = replace(fitted_space, families=(family,))
    named = space.with_labels({3: "baking", 5: "cakes", 8: "biscuits"}, encoder)
    (renamed,) = named.families
    assert set(renamed.label.replace(":", ",").replace(",", " ").split()) == {"baking", "cakes", "biscuits"}
    assert replace(renamed, label="old name") == family


@pytest.mark.parametrize("text", ["", "   ", "two\nlines", "\x1b[31mred", ", ,", "x" * 201])
def test_a_label_that_cannot_be_displayed_is_refused(
    fitted_space: FeatureSpace, encoder: RecordingEncoder, text: str
) -> None:
    with pytest.raises(InvalidInputError, match="feature #7"):
        fitted_space.with_labels({7: text}, encoder)


def test_unknown_features_and_inconsistent_inputs_are_refused(
    fitted_space: FeatureSpace, embeddings: Any, encoder: RecordingEncoder
) -> None:
    with pytest.raises(UnknownConceptError, match="#48"):
        fitted_space.with_labels({48: "beyond"}, encoder)
    with pytest.raises(UnknownConceptError, match="#48"):
        relabel(fitted_space, TEXTS, embeddings, encoder, Naming(), features=[48])
    with pytest.raises(InvalidInputError, match="#48"):
        relabel(fitted_space, TEXTS, embeddings, encoder, ManualLabeler({48: "beyond"}))
    with pytest.raises(InvalidInputError, match="one row and one group"):
        labeling_task(fitted_space, TEXTS, embeddings[1:], encoder)
    with pytest.raises(InvalidInputError, match="one row and one group"):
        labeling_task(fitted_space, TEXTS, embeddings, encoder, groups=np.zeros(3, np.int64))


def test_labels_survive_a_save(fitted_space: FeatureSpace, encoder: RecordingEncoder, tmp_path: Path) -> None:
    named = fitted_space.with_labels({7: "of the oven"}, encoder)
    loaded = FeatureSpace.load(named.save(tmp_path / "named"))
    assert loaded.labels[7] == FeatureLabel("of the oven", "manual")
    assert loaded.labels[8].f1 == pytest.approx(fitted_space.labels[8].f1, abs=1e-4)
    np.testing.assert_array_equal(loaded.label_vectors, named.label_vectors)


def moved(space: FeatureSpace, order: Sequence[int]) -> FeatureSpace:
    """Return the space with feature ``order[j]`` at position j, without the remaining features."""
    sae, c, at = space.sae, space.calibration, list(order)
    return replace(
        space,
        sae=SparseAutoencoder(sae.encoder[at], sae.encoder_bias[at], sae.decoder[at], sae.bias, k=sae.k),
        calibration=replace(c, density=c.density[at], median=c.median[at], p90=c.p90[at]),
        labels=tuple(replace(space.labels[i], method="lexical") for i in order),
        label_vectors=space.label_vectors[at],
        families=(),
    )


@pytest.mark.parametrize("with_vectors", [False, True])
def test_manual_labels_survive_a_refit_and_lost_ones_are_reported(
    fitted_space: FeatureSpace, embeddings: Any, encoder: RecordingEncoder, with_vectors: bool
) -> None:
    old = fitted_space.with_labels({7: "of the oven", 0: "gone with its feature"}, encoder)
    order = [int(i) for i in np.random.default_rng(2).permutation(np.arange(1, 48))]
    new = moved(fitted_space, order)
    mapped = carry_manual_labels(old, new, embeddings if with_vectors else None)
    at = order.index(7)
    assert (mapped.labels[at].text, mapped.labels[at].method) == ("of the oven", "manual")
    assert (mapped.labels[at].trust is not None) == with_vectors
    np.testing.assert_array_equal(mapped.label_vectors[at], old.label_vectors[7])
    assert [i for i in range(47) if mapped.labels[i] != new.labels[i]] == [at]
    (lost,) = mapped.report["labels"]["lost_manual"]
    assert (lost["id"], lost["label"]) == (0, "gone with its feature")
    assert mapped.fingerprint == new.fingerprint


def test_without_manual_labels_nothing_is_mapped(fitted_space: FeatureSpace) -> None:
    assert carry_manual_labels(fitted_space, fitted_space) is fitted_space
