"""A user's taxonomy: does the feature of a concept tell the texts that have it, on records it never saw?

A space is fitted on the `fit` part of a corpus, whose labels it does not see, with the corpus's labels as
concepts: described in one line each, and described with ten examples. What is judged on `test` is the AUROC
of the activation of a concept's own feature, beside scores of the same descriptions and examples that need no
space. The same concepts with ten examples are defined in an index of the `test` part, in the default space:
there it is the AUROC of the log-odds of their evidence. Rules and weights were chosen on `choose`.
"""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import logit

from benchmarks import data
from benchmarks.corpora import CachedEncoder
from benchmarks.outcome import Figure, Outcome, at_least, at_most
from saeindex import FeatureIndex, FeatureSpace
from saeindex.features.taxonomy import DefinedConcept
from saeindex.features.trust import auroc
from saeindex.indexing.sentences import sentences_in, spans_in
from saeindex.sae.metrics import unit_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.types import FloatArray

SEED = 0
FOLDER = Path(__file__).parents[1] / "taxonomies"
# Corpora and the field of their labels; the intents are 50, drawn with seed 0.
FIELDS = {"clinc150": "intent", "medquad": "question_type", "stackoverflow_titles": "tag"}
N_FEATURES, EXAMPLES = 1_024, 10


@dataclass(frozen=True, slots=True)
class Fitted:
    """The AUROC of each concept, of simpler scores too, and the seconds of the fit on embeddings at hand."""

    auroc: Mapping[str, float]
    simpler: Mapping[str, Sequence[float]]
    seconds: float

    @property
    def median(self) -> float:
        """The median AUROC of the concepts."""
        return float(np.median(list(self.auroc.values())))


def run(quick: bool) -> Outcome:
    """Measure; ``quick`` fits one corpus with 256 features."""
    outcome, encoder = Outcome("taxonomy", quick, SEED), CachedEncoder()
    found: dict[str, dict[str, Fitted]] = {"described": {}, "10 examples": {}}
    defined: dict[str, Fitted] = {}
    for corpus in ("stackoverflow_titles",) if quick else FIELDS:
        concepts, values = read_concepts(corpus)
        described = [replace(concept, examples=()) for concept in concepts]
        for name, given in (("described", described), ("10 examples", concepts)):
            found[name][corpus] = fitted(corpus, values, given, encoder, 256 if quick else N_FEATURES)
        defined[corpus] = defined_in_index(corpus, values, concepts, encoder)
    figures = outcome.figures
    for name, figure in (
        ("described", "auroc_median_described"),
        ("10 examples", "auroc_median_10_examples"),
    ):
        worst = min(one.median for one in found[name].values())
        figures[figure] = at_least(worst, 0.93, "AUROC") if name != "described" else Figure(worst, "AUROC")
    shares = [np.mean(np.array(list(one.auroc.values())) >= 0.8) for one in found["10 examples"].values()]
    figures["share_above_80"] = at_least(float(min(shares)), 0.9, "of concepts")
    figures["fit_s"] = at_most(max(one.seconds for of in found.values() for one in of.values()), 180, "s")
    figures["auroc_median_defined"] = at_least(min(one.median for one in defined.values()), 0.93, "AUROC")
    behind = max(one.median - defined[corpus].median for corpus, one in found["10 examples"].items())
    figures["auroc_defined_behind_fitted"] = at_most(behind, 0.02, "AUROC, worst corpus")
    figures["define_s"] = at_most(max(one.seconds for one in defined.values()), 10, "s each, slowest corpus")
    outcome.tables["taxonomy_defined"] = {corpus: table_row(one) for corpus, one in defined.items()}
    for name, of in found.items():
        outcome.tables[f"taxonomy_{name.replace(' ', '_')}"] = {
            corpus: table_row(one) for corpus, one in of.items()
        }
    return outcome


def read_concepts(corpus: str) -> tuple[list[DefinedConcept], list[str]]:
    """Return the concepts with ten examples of the `fit` part, and the label of each in the corpus."""
    with (FOLDER / f"{corpus}.csv").open() as file:
        rows = list(csv.DictReader(file))
    records = list(data.read(corpus, "fit"))
    labels = np.array([str(record.metadata[FIELDS[corpus]]) for record in records])
    rng = np.random.default_rng(SEED)
    concepts = []
    for row in rows:
        chosen = rng.permutation(np.flatnonzero(labels == row["value"]))[:EXAMPLES]
        texts = tuple(records[i].text for i in chosen)
        concepts.append(DefinedConcept(row["name"], row["description"], examples=texts))
    return concepts, [row["value"] for row in rows]


def fitted(
    corpus: str,
    values: Sequence[str],
    concepts: Sequence[DefinedConcept],
    encoder: CachedEncoder,
    n_features: int,
) -> Fitted:
    """Fit a space on a corpus with concepts, and judge each concept's own feature on `test`."""
    texts = [record.text for record in data.read(corpus, "fit")]
    x = encoder.encode_document(texts)
    start = perf_counter()
    space = FeatureSpace.fit(
        texts, n_features=n_features, concepts=concepts, encoder=encoder, embeddings=x, name=corpus
    )
    seconds = perf_counter() - start
    test = list(data.read(corpus, "test"))
    labels = np.array([str(record.metadata[FIELDS[corpus]]) for record in test])
    vectors = encoder.encode_document([record.text for record in test])
    code = space.encode(vectors).to_csr()
    feature_of = {one["name"]: one["feature"] for one in space.report["concepts"]}
    own = np.zeros((len(concepts), len(test)), np.float32)
    for row, concept in zip(own, concepts, strict=True):
        if (feature := feature_of[concept.name]) is not None:  # else it tells nothing
            row[:] = code[:, [feature]].toarray()[:, 0]
    has = {concept.name: labels == value for concept, value in zip(concepts, values, strict=True)}
    simpler = {
        name: list(aurocs(rows, has).values())
        for name, rows in simple_scores(concepts, vectors, encoder).items()
    }
    return Fitted(aurocs(own, has), simpler, seconds)


def defined_in_index(
    corpus: str, values: Sequence[str], concepts: Sequence[DefinedConcept], encoder: CachedEncoder
) -> Fitted:
    """Define each concept in an index of the `test` part; the seconds are the median of a definition.

    A concept whose name the space has is given another one, as the error says.
    """
    test, seconds, features = list(data.read(corpus, "test")), list[float](), list[int]()
    with (
        tempfile.TemporaryDirectory() as folder,
        FeatureIndex.create(Path(folder, "defined.idx"), encoder=encoder) as index,
    ):
        index.upsert(test)
        for concept in concepts:
            is_taken = concept.name.casefold() in index.state.named_concepts
            name = f"{concept.name} ({corpus})" if is_taken else concept.name
            started = perf_counter()
            made = index.concepts.define(name, description=concept.description, examples=concept.examples)
            seconds.append(perf_counter() - started)
            features.append(made.id)
        evidence = index.state.space.evidence
    assert evidence is not None and evidence.of_terms is not None
    cut = [sentences_in(record.text, spans_in(record.text)) for record in test]
    ends, sentences = np.cumsum([0, *map(len, cut)]), [one for own in cut for one in own]
    vectors = encoder.encode_document(sentences)
    rows = np.searchsorted(evidence.features, features)
    slope, base = evidence.of_terms[:, rows - (len(evidence.features) - len(evidence.terms))]
    meant = slope * (unit_rows(vectors - evidence.mean) @ evidence.directions[rows].T) + base
    log_odds = np.maximum.reduceat(meant, ends[:-1]).T
    place = {feature: row for row, feature in enumerate(features)}
    for column, mentions in enumerate(evidence.of_texts(sentences, vectors, ends.tolist())):
        for one in mentions:
            if (row := place.get(one.feature)) is not None:  # it may be said, rather than meant
                log_odds[row, column] = max(log_odds[row, column], logit(min(one.p, 0.995)))
    labels = np.array([str(record.metadata[FIELDS[corpus]]) for record in test])
    has = {concept.name: labels == value for concept, value in zip(concepts, values, strict=True)}
    return Fitted(aurocs(log_odds, has), {}, float(np.median(seconds)))


def aurocs(rows: FloatArray, has: Mapping[str, NDArray[np.bool_]]) -> dict[str, float]:
    """Return the AUROC of each concept that a record has, by its scores (a, m)."""
    return {
        name: float(auroc(row[:, None], of_concept)[0])
        for row, (name, of_concept) in zip(rows, has.items(), strict=True)
        if of_concept.any()
    }


def simple_scores(
    concepts: Sequence[DefinedConcept], vectors: FloatArray, encoder: CachedEncoder
) -> dict[str, FloatArray]:
    """Return scores (a, m) of the test records that use the same descriptions, or the same examples."""
    from sklearn.linear_model import LogisticRegression

    if not concepts[0].examples:
        texts = [f"{concept.name}: {concept.description}" for concept in concepts]
        return {"cosine": encoder.encode_query(texts) @ vectors.T}
    examples = [encoder.encode_document(concept.examples) for concept in concepts]
    centroids = np.stack([of_one.mean(0) for of_one in examples])
    owners = np.repeat(np.arange(len(examples)), [len(of_one) for of_one in examples])
    model = LogisticRegression(C=10, max_iter=2_000).fit(np.concatenate(examples), owners)
    return {
        "cosine": centroids @ vectors.T,
        "logistic regression": model.decision_function(vectors).T.astype(np.float32),
    }


def table_row(one: Fitted) -> dict[str, Any]:
    """Return the figures of a corpus, with its worst concepts."""
    scores = np.array(list(one.auroc.values()))
    worst = sorted(one.auroc, key=lambda name: one.auroc[name])[:3]
    return {
        "concepts": len(scores),
        "median": one.median,
        "above .80": float((scores >= 0.8).mean()),
        "worst": ", ".join(f"{name} {one.auroc[name]:.2f}" for name in worst),
        **{f"median of {name}": float(np.median(of)) for name, of in one.simpler.items()},
        "seconds": one.seconds,
    }
