"""Concepts become features by their names, and the report says which of them the encoder tells apart."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from saeindex import FeatureIndex, FeatureSpace
from saeindex.cli.app import make_app
from saeindex.concepts.feature_card import OF_SPELLING
from saeindex.errors import InvalidInputError
from saeindex.features.anchors import Anchors
from saeindex.features.labelling import with_spelling
from saeindex.features.taxonomy import DefinedConcept, read_taxonomy
from saeindex.sae import SparseAutoencoder, TrainingConfig
from tests.samples import SUBJECTS, RecordingEncoder, sample_records

RECORDS = sample_records(1_200, seed=41)
TEXTS = [record.text for record in RECORDS]
TOPICS = np.array([record.metadata["topic"] for record in RECORDS])
CONFIG = TrainingConfig(n_features=40, k=8, steps=120, batch_size=256)
EXAMPLES = {
    topic: tuple(record.text for record in sample_records(200, seed=42) if record.metadata["topic"] == topic)
    for topic in SUBJECTS
}
CONCEPTS = [
    DefinedConcept("stars", "galaxies, planets and what else is in the sky", ("astronomy",)),
    DefinedConcept("dishes", examples=EXAMPLES["cooking"][:8]),
    DefinedConcept("money", "finance and the economy", examples=EXAMPLES["finance"][:8]),
    DefinedConcept("the dishes", examples=EXAMPLES["cooking"][:8]),
    DefinedConcept("computer programs"),
    DefinedConcept("qwx", examples=tuple(of_topic[0] for of_topic in EXAMPLES.values())),
]


@pytest.fixture(scope="module")
def embeddings(session_encoder: RecordingEncoder) -> Any:
    return session_encoder.encode_document(TEXTS)


@pytest.fixture(scope="module")
def fitted(session_encoder: RecordingEncoder, embeddings: Any) -> FeatureSpace:
    return FeatureSpace.fit(
        TEXTS, config=CONFIG, encoder=session_encoder, embeddings=embeddings, concepts=CONCEPTS
    )


@pytest.mark.parametrize("is_same_encoder", [True, False])
def test_by_default_the_features_are_concepts_of_the_vocabulary_that_texts_speak_of(
    fitted: FeatureSpace,
    session_encoder: RecordingEncoder,
    embeddings: Any,
    monkeypatch: pytest.MonkeyPatch,
    is_same_encoder: bool,
) -> None:
    identity = fitted.encoder if is_same_encoder else replace(fitted.encoder, revision="another")
    labels = [replace(label, trust=0.95) for label in fitted.labels]
    by_name = {label.text: i for i, label in enumerate(labels)}
    labels[by_name["money"]] = replace(labels[by_name["money"]], trust=0.6)  # weak: not of the vocabulary
    vocabulary = replace(fitted, labels=tuple(labels), encoder=identity)
    monkeypatch.setattr(FeatureSpace, "load", lambda _: vocabulary)
    is_food = np.equal(TOPICS, "cooking")
    options: dict[str, Any] = {
        "config": replace(CONFIG, n_features=20, k=4),
        "encoder": session_encoder,
        "embeddings": embeddings[is_food],
    }
    texts = [text for text, kept in zip(TEXTS, is_food, strict=True) if kept]
    named = {
        label.text: label.description
        for label in FeatureSpace.fit(texts, **options).labels
        if label.method == "concept"
    }
    assert "dishes" in named
    assert "money" not in named
    if is_same_encoder:
        assert "stars" not in named  # no text speaks of it
    else:
        assert named["stars"] == "galaxies, planets and what else is in the sky"
    free = FeatureSpace.fit(texts, concepts=[], **options)
    assert {label.method for label in free.labels} == {"lexical"}


def test_a_concept_is_the_feature_of_its_texts(fitted: FeatureSpace, embeddings: Any) -> None:
    code = fitted.sae.encode(embeddings).to_csr().toarray()
    for name, topic in {"stars": "astronomy", "dishes": "cooking", "money": "finance"}.items():
        (feature,) = (i for i, label in enumerate(fitted.labels) if label.text == name)
        label = fitted.labels[feature]
        assert label.method == "concept"
        assert label.description == next(one.description for one in CONCEPTS if one.name == name)
        is_active = code[:, feature] > 0
        assert is_active[np.equal(TOPICS, topic)].mean() > 0.8
        assert np.equal(TOPICS, topic)[is_active].mean() > 0.7
        assert label.trust is not None
        assert label.trust > 0.6
    assert fitted.sae.n_named == 5
    assert fitted.sae.k_named == 3
    assert fitted.report["labels"]["methods"]["lexical"] >= 35


def test_texts_that_examples_are_like_speak_of_a_concept_also_without_its_words(
    fitted: FeatureSpace, embeddings: Any
) -> None:
    evidence = fitted.evidence
    assert evidence is not None
    said = evidence.of_sentences(TEXTS, embeddings)
    names = np.array([fitted.labels[one].text for one in evidence.features.tolist()])[said.concepts]
    for name, topic in (("dishes", "cooking"), ("money", "finance")):
        speaking = np.unique(said.sentences[(names == name) & (said.p >= 0.5)])
        is_meant = TOPICS[speaking] == topic
        assert np.mean(is_meant) > 0.9
        assert np.sum(is_meant) > 0.8 * np.sum(np.equal(TOPICS, topic))


def test_the_report_says_what_the_encoder_tells_apart(fitted: FeatureSpace) -> None:
    report = {one["name"]: one for one in fitted.report["concepts"]}
    assert list(report) == ["stars", "dishes", "money", "computer programs", "qwx", "the dishes"]
    assert report["dishes"]["told_apart"] > 0.9
    assert report["money"]["told_apart"] > 0.9
    assert report["qwx"]["told_apart"] < 0.7
    assert report["stars"]["told_apart"] is None  # no examples
    assert report["the dishes"] == {
        "name": "the dishes", "feature": None, "problem": "the encoder reads it as “dishes”",
    }  # fmt: skip
    assert [one["problem"] for name, one in report.items() if name not in {"the dishes", "qwx"}] == [None] * 4
    assert report["stars"]["nearest"] in report
    assert all(one["answered"] >= 0.5 for one in report.values() if not one["problem"])


def test_a_concept_that_its_own_texts_do_not_activate_loses_its_name(
    fitted: FeatureSpace, embeddings: Any, session_encoder: RecordingEncoder
) -> None:
    anchors = Anchors.of(read_taxonomy(CONCEPTS), session_encoder, embeddings)
    silent = fitted.sae.weights["threshold"].copy()
    silent[2] = np.inf
    weights = [fitted.sae.weights[name] for name in ("encoder", "encoder_bias", "decoder", "bias")]
    sae = SparseAutoencoder(*weights, threshold=silent, k=8, n_named=5, k_named=3)
    report = anchors.report(sae)
    assert (report[2]["name"], report[2]["answered"]) == ("money", 0)
    assert report[2]["problem"] == "its own texts do not activate it"
    assert {0, 1, 3} <= anchors.expressed(report).keys()
    assert 2 not in anchors.expressed(report)


def test_one_concept_alone_is_a_feature(embeddings: Any, session_encoder: RecordingEncoder) -> None:
    config = replace(CONFIG, n_features=16, steps=60)
    space = FeatureSpace.fit(
        TEXTS, config=config, encoder=session_encoder, embeddings=embeddings, concepts=["music"]
    )
    (report,) = space.report["concepts"]
    assert (report["nearest"], report["nearest_cosine"], report["problem"]) == (None, None, None)
    active = space.sae.encode(embeddings).to_csr()[:, [0]].toarray()[:, 0] > 0
    assert np.equal(TOPICS, "music")[active].mean() > 0.7
    assert space.labels[0].text == "music"


def test_descriptions_and_budgets_are_saved(fitted: FeatureSpace, tmp_path: Any) -> None:
    loaded = FeatureSpace.load(fitted.save(tmp_path / "mine"))
    assert loaded.labels[0].description == CONCEPTS[0].description
    assert loaded.labels == tuple(
        replace(label, trust=label.trust and round(label.trust, 4), f1=label.f1 and round(label.f1, 4))
        for label in fitted.labels
    )
    assert (loaded.sae.n_named, loaded.sae.k_named) == (5, 3)
    assert loaded.fingerprint == fitted.fingerprint


def test_a_feature_card_shows_the_description(
    fitted: FeatureSpace, session_encoder: RecordingEncoder, tmp_path: Any
) -> None:
    with FeatureIndex.create(tmp_path / "mine.idx", fitted, encoder=session_encoder) as index:
        index.upsert(RECORDS[:60])
        card, free = index.concepts.card(0), index.concepts.card(12)
    assert (card.method, card.description) == ("concept", CONCEPTS[0].description)
    assert CONCEPTS[0].description in card._repr_html_()
    assert "a named concept" in card._repr_html_()
    assert free.description == ""
    shown = CliRunner().invoke(make_app(), ["feature", str(tmp_path / "mine.idx"), "0"]).output
    assert CONCEPTS[0].description in shown


def test_the_commands_say_that_a_feature_answers_to_spelling(
    fitted: FeatureSpace, session_encoder: RecordingEncoder, tmp_path: Any
) -> None:
    name = str(tmp_path / "mine.idx")
    with FeatureIndex.create(name, with_spelling(fitted, [0]), encoder=session_encoder) as index:
        index.upsert(RECORDS[:60])
        said = OF_SPELLING in index.concepts.card(0)._repr_html_()
    spelt, other = (CliRunner().invoke(make_app(), ["feature", name, n]).output for n in ("0", "2"))
    assert CONCEPTS[0].description in spelt
    assert (said, OF_SPELLING in spelt, OF_SPELLING in other) == (True, True, False)
    found = CliRunner().invoke(make_app(), ["features", name, "stars", "--limit", "40", "--json"]).output
    kinds = {one["id"]: one["kind"] for one in json.loads(found)["features"]}
    assert (kinds[0], kinds[2]) == ("spelling", "meaning")


def test_a_taxonomy_makes_families(
    fitted: FeatureSpace, embeddings: Any, session_encoder: RecordingEncoder, tmp_path: Any
) -> None:
    concepts = {
        3: DefinedConcept("subjects"),
        0: DefinedConcept("stars", broader="subjects"),
        2: DefinedConcept("money", broader="subjects"),
        1: DefinedConcept("dishes", broader="of no feature"),
    }
    space = FeatureSpace.annotate(
        fitted.sae, TEXTS, embeddings, session_encoder, name="mine", report={}, concepts=concepts
    )
    assert [space.labels[i].broader for i in range(5)] == [3, None, 3, None, None]
    (family,) = (family for family in space.families if family.features[0] == 3)
    assert (set(family.features), family.parents) == ({0, 2, 3}, (None, 3, 3))
    assert family.label.startswith("subjects: ")
    loaded = FeatureSpace.load(space.save(tmp_path / "mine"))
    assert loaded.families == space.families
    assert [label.broader for label in loaded.labels] == [label.broader for label in space.labels]


def test_concepts_need_two_active_features(embeddings: Any, session_encoder: RecordingEncoder) -> None:
    options: dict[str, Any] = {"encoder": session_encoder, "embeddings": embeddings, "concepts": ["music"]}
    with pytest.raises(InvalidInputError, match="at least 2") as refused:
        FeatureSpace.fit(TEXTS, config=replace(CONFIG, k=1), **options)
    assert "prefixes" not in str(refused.value)
    with pytest.raises(InvalidInputError, match="batchtopk"):
        FeatureSpace.fit(TEXTS, config=replace(CONFIG, selection="batchtopk"), **options)


def test_more_concepts_than_features_are_refused(embeddings: Any, session_encoder: RecordingEncoder) -> None:
    config = replace(CONFIG, n_features=4, k=2)
    with pytest.raises(InvalidInputError, match="Fit more features"):
        FeatureSpace.fit(
            TEXTS, config=config, encoder=session_encoder, embeddings=embeddings, concepts=CONCEPTS
        )
