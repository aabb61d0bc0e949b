"""Named concepts: the records that have them, for every kind of definition, and correlations of pairs."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom, fisher_exact, pearsonr

from benchmarks.snapshots import snapshot_of
from saeindex import FeatureSpace, Record
from saeindex.analysis.correlate.named_pairs import correlate_named, correlation_z, pair_tables, z_scores
from saeindex.analysis.correlate.pair_tests import Units
from saeindex.analysis.stats.options import CorrelateOptions
from saeindex.collection.snapshot import Snapshot
from saeindex.concepts.named_concept import ConceptReader, Membership, NamedConcept, parse_concept, threshold
from saeindex.errors import InvalidInputError, NotFoundError, UnknownConceptError
from saeindex.features.labels import MANUAL, FeatureLabel
from tests.analysis.planted_snapshots import made_snapshot, unlike_features
from tests.samples import RecordingEncoder, sample_records


@pytest.fixture(scope="module")
def texts() -> list[Record]:
    return sample_records(300, seed=9)


@pytest.fixture(scope="module")
def topics_snapshot(space: FeatureSpace, session_encoder: RecordingEncoder, texts: list[Record]) -> Snapshot:
    """Records of eight topics, with real embeddings."""
    written = [record.text for record in texts]
    x = session_encoder.encode_document(written)
    codes = space.encode(x).to_csr()
    metadata = [{**record.metadata, "tags": [record.metadata["topic"], "any"]} for record in texts]
    return snapshot_of(space, [r.id for r in texts], x, codes, written, metadata)


def having(texts: list[Record], topic: str) -> np.ndarray[Any, np.dtype[np.bool_]]:
    return np.array([record.metadata["topic"] == topic for record in texts])


# Memberships ------------------------------------------------------------------------------------------


def test_metadata_and_features_give_exact_membership(topics_snapshot: Snapshot, texts: list[Record]) -> None:
    reader = ConceptReader(topics_snapshot)
    music = having(texts, "music")
    for field in ("metadata.topic", "metadata.tags"):
        member = reader.membership(NamedConcept("music", metadata=field, value="music"))
        np.testing.assert_array_equal(member.weights, music)
        assert member.is_exact
    pair = [
        int(feature) for feature in np.argsort(-np.asarray(topics_snapshot.at("strong").sum(0)).ravel())[:2]
    ]
    member = reader.membership(NamedConcept("both", features=pair, level="strong"))
    expected = topics_snapshot.at("strong")[:, pair].toarray().any(axis=1)
    np.testing.assert_array_equal(member.weights, expected)
    assert 0 < member.weights.sum() < len(texts)


def test_ten_examples_find_the_others_and_are_exact_themselves(
    topics_snapshot: Snapshot, texts: list[Record]
) -> None:
    medicine = having(texts, "medicine")
    ids = np.array(topics_snapshot.ids)
    like, unlike = ids[medicine][:10].tolist(), ids[~medicine][:10].tolist()
    share = float(medicine.mean())
    member = ConceptReader(topics_snapshot).membership(
        NamedConcept("medical", like=like, unlike=unlike, share=share)
    )
    rows, against = topics_snapshot.rows_of(like), topics_snapshot.rows_of(unlike)
    assert (member.weights[rows] == 1).all()
    assert (member.weights[against] == 0).all()
    assert (member.evidence[rows] > 1).all()
    others = np.setdiff1d(np.arange(len(texts)), np.concatenate([rows, against]))
    assert (
        member.weights[others][medicine[others]].mean() > 3 * member.weights[others][~medicine[others]].mean()
    )
    assert not member.is_exact
    assert ((member.weights >= 0) & (member.weights <= 1)).all()


def test_a_description_with_contrasting_ones_finds_its_records(
    topics_snapshot: Snapshot, texts: list[Record], session_encoder: RecordingEncoder
) -> None:
    cooking = having(texts, "cooking")
    concept = NamedConcept("cooking", "about food and recipes", ["about music", "about the weather"])
    scores = ConceptReader(topics_snapshot, session_encoder).scores(concept)
    assert cooking[np.argsort(-scores)[:20]].mean() > 0.7
    np.testing.assert_allclose([scores.mean(), scores.std()], [0.0, 1.0], atol=1e-6)


def test_features_whose_names_say_the_description_are_evidence(
    topics_snapshot: Snapshot, session_encoder: RecordingEncoder
) -> None:
    space, text = topics_snapshot.space, "about food and recipes"
    typical = topics_snapshot.at("typical")
    feature = int(np.asarray(typical.sum(0)).argmax())
    labels, vectors = list(space.labels), space.label_vectors.copy()
    labels[feature], vectors[feature] = FeatureLabel(text, MANUAL), session_encoder.encode_query([text])[0]
    named = replace(topics_snapshot, space=replace(space, labels=tuple(labels), label_vectors=vectors))
    before, after = (
        ConceptReader(one, session_encoder).scores(NamedConcept("cooking", text))
        for one in (topics_snapshot, named)
    )
    has = typical[:, [feature]].toarray().ravel() > 0
    assert (after - before)[has].mean() > (after - before)[~has].mean() + 0.1


def test_scores_do_not_depend_on_how_many_rows_are_read_at_once(
    topics_snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    concept = NamedConcept("some", like=list(topics_snapshot.ids[:5]))
    whole = ConceptReader(topics_snapshot).scores(concept)
    monkeypatch.setattr("saeindex.concepts.named_concept.BLOCK", 37)
    np.testing.assert_allclose(ConceptReader(topics_snapshot).scores(concept), whole, atol=1e-9)


def test_the_threshold_gives_the_known_share() -> None:
    scores = np.random.default_rng(0).standard_normal(500)
    for share in (0.01, 0.3, 0.9):
        weights = 1 / (1 + np.exp(-3.0 * (scores - threshold(scores, share))))
        assert weights.mean() == pytest.approx(share, rel=1e-6)


# Pairs ------------------------------------------------------------------------------------------------


def test_exact_concepts_are_tested_by_fisher_s_test(space: FeatureSpace) -> None:
    rng = np.random.default_rng(2)
    has = rng.random((200, 2)) < 0.3
    has[:, 1] |= has[:, 0] & (rng.random(200) < 0.4)
    features = unlike_features(space, 2)
    metadata = [{"kind": "a" if one else "b"} for one in has[:, 1]]
    snapshot = made_snapshot(space, has[:, :1], features[:1], metadata=metadata)
    kind = NamedConcept("kind", metadata="metadata.kind", value="a")
    concepts = [NamedConcept("feature", features=features[:1]), kind]
    found = correlate_named(snapshot, concepts)
    (pair,) = found.results
    cells = np.array([[(a & b).sum() for b in (has[:, 1], ~has[:, 1])] for a in (has[:, 0], ~has[:, 0])])
    assert pair.support == cells[0, 0]
    # Mid-p counts half of the observed table: it is slightly below Fisher's p.
    p = fisher_exact(cells).pvalue
    assert 0.3 * p < pair.p < p
    assert (pair.a.label, pair.b.label, pair.a.feature) == ("feature", "kind", None)
    assert all(has[int(one.id[1:])].all() for one in pair.examples)


def test_estimated_concepts_are_tested_by_the_correlation_of_weights() -> None:
    rng = np.random.default_rng(3)
    weights = rng.random((3, 100))
    members = [Membership(row, row**2, False, np.zeros(100, bool)) for row in weights]
    z = z_scores(members, [(0, 1), (1, 2)])
    expected = [
        pearsonr(weights[i] ** 2, weights[j] ** 2).statistic * np.sqrt(99) for i, j in ((0, 1), (1, 2))
    ]
    np.testing.assert_allclose(z, expected)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["examples", "description"])
def test_named_pairs_are_found_by_chance_no_more_than_alpha(
    topics_snapshot: Snapshot, session_encoder: RecordingEncoder, how: str
) -> None:
    rng = np.random.default_rng(4)
    reader, m = ConceptReader(topics_snapshot, session_encoder), len(topics_snapshot)
    definitions: dict[str, list[dict[str, Any]]] = {
        "examples": [{"like": list(topics_snapshot.ids[s : s + 10])} for s in (0, 50)],
        "description": [{"description": text} for text in ("about medicine", "about galaxies")],
    }
    first, second = (reader.membership(NamedConcept("some", **one)) for one in definitions[how])
    runs = 2_000
    units = Units(np.arange(m), np.ones(m, np.int64))
    p = [pair_tables([first, second.take(rng.permutation(m))], [(0, 1)], units)[1][0] for _ in range(runs)]
    for level in (0.05, 0.01, 0.001):
        assert binom.sf(np.sum(np.array(p) <= level) - 1, runs, level) > 1e-4


def test_examples_are_no_evidence_for_the_pair_that_they_define(topics_snapshot: Snapshot) -> None:
    reader, rng = ConceptReader(topics_snapshot), np.random.default_rng(6)
    ids = list(topics_snapshot.ids[:10])
    one = reader.membership(NamedConcept("one", like=ids))
    # The same examples, and nothing else in common.
    other = one.take(np.concatenate([np.arange(10), 10 + rng.permutation(len(topics_snapshot) - 10)]))
    units = Units(np.arange(len(topics_snapshot)), np.ones(len(topics_snapshot), np.int64))
    assert one.examples[:10].all() and other.examples[:10].all()
    assert pair_tables([one, other], [(0, 1)], units)[1][0] > 0.001
    assert z_scores([one, other], [(0, 1)])[0] > 8


def test_columns_of_ones_correlate_with_weights_as_in_numpy(topics_snapshot: Snapshot) -> None:
    weights = np.random.default_rng(5).random(len(topics_snapshot))
    present = topics_snapshot.at("typical")[
        :, np.flatnonzero(np.asarray(topics_snapshot.at("typical").sum(0)).ravel() > 2)
    ]
    expected = [pearsonr(column, weights).statistic for column in present.toarray().T[:20]]
    np.testing.assert_allclose(
        correlation_z(present, weights)[:20],
        np.array(expected) * np.sqrt(len(topics_snapshot) - 1),
        rtol=1e-5,
    )


def test_topics_avoid_each_other_and_a_universal_tag_correlates_with_none(
    topics_snapshot: Snapshot, session_encoder: RecordingEncoder
) -> None:
    topics = [NamedConcept(t, metadata="metadata.topic", value=t) for t in ("music", "cooking", "weather")]
    described = NamedConcept("sounds musical", "about music and instruments", ["about food", "about rain"])
    found = correlate_named(topics_snapshot, topics, [described], encoder=session_encoder)
    assert found.tested == 3
    assert found.results[0].a.label == "music"
    assert {pair.a.label for pair in found.avoided} <= {"cooking", "weather"}
    assert (
        len(
            correlate_named(
                topics_snapshot, topics, options=CorrelateOptions(min_support=3, unit=None)
            ).avoided
        )
        == 3
    )
    assert not correlate_named(
        topics_snapshot, topics, options=CorrelateOptions(min_support=200, unit=None)
    ).found
    json.dumps(found.to_json())


def test_concepts_without_a_usable_definition_are_refused(topics_snapshot: Snapshot) -> None:
    music = NamedConcept("music", metadata="metadata.topic", value="music")
    refused: list[tuple[NamedConcept, type[Exception], str]] = [
        (NamedConcept("x", "a description"), InvalidInputError, "no encoder"),
        (NamedConcept("x", like=["nobody"]), NotFoundError, "nobody"),
        (NamedConcept("x", features=[99_999]), UnknownConceptError, "99999"),
        (NamedConcept("x", metadata="metadata.topic", value="chess"), InvalidInputError, "'astronomy'"),
        (NamedConcept("x", features=[1], field="prompt"), InvalidInputError, "'prompt'"),
    ]
    for concept, error, message in refused:
        with pytest.raises(error, match=message):
            correlate_named(topics_snapshot, [music, concept])
    with pytest.raises(InvalidInputError, match="two or more"):
        correlate_named(topics_snapshot, [music])


@pytest.mark.parametrize(
    "options", [{}, {"against": ["b"]}, {"features": [1], "description": "a"}, {"like": ["1"], "share": 1.5}]
)
def test_a_concept_has_exactly_one_definition(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match="concept 'x'"):
        NamedConcept("x", **options)


# As text ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sad=feeling sad", NamedConcept("sad", "feeling sad")),
        (
            "sad = feeling sad; against: being happy; against: being calm; share: 0.05",
            NamedConcept("sad", "feeling sad", ["being happy", "being calm"], share=0.05),
        ),
        ("odd=like: a-1, b 2; unlike: c", NamedConcept("odd", like=["a-1", "b 2"], unlike=["c"])),
        ("two=#12, #1041@strong", NamedConcept("two", features=[12, 1041], level="strong")),
        ("one=#7; field: prompt", NamedConcept("one", features=[7], field="prompt")),
        ("new=metadata.year=2015", NamedConcept("new", metadata="metadata.year", value=2015)),
        ("m=metadata.topic = a b", NamedConcept("m", metadata="metadata.topic", value="a b")),
        ('m=metadata.code="7"', NamedConcept("m", metadata="metadata.code", value="7")),
    ],
)
def test_a_concept_is_parsed_from_text(text: str, expected: NamedConcept) -> None:
    assert parse_concept(text) == expected


@pytest.mark.parametrize("text", ["", "sad", "=x", "sad= ", "x=#1@loud", "x=#1; a text", "x=a; share: much"])
def test_a_text_that_is_not_a_concept_is_refused_with_the_syntax(text: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_concept(text)
    assert caught.value.do
