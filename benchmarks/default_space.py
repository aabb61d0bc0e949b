"""Fits the default feature space, `minilm-concepts`: `python -m benchmarks.default_space`.

The first features stand for the concepts of :mod:`benchmarks.vocabulary`, the others are free. Those are
labelled, and then drawn towards what they should mean (:mod:`benchmarks.aims`) and labelled anew. Needs the
corpora; embedding them takes a quarter of an hour on two cores that multiply in bf16, two hours on others,
and is cached. The training takes three quarters of an hour, the labels twice 20 minutes.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from benchmarks import data, mixture, vocabulary
from benchmarks.aims import aims
from benchmarks.enrichment import enriched
from benchmarks.suites.legibility.conceptuality import SynsetSets, described, half
from benchmarks.vocabulary.labeler import VocabularyLabeler
from benchmarks.vocabulary.read_names import with_read_names
from benchmarks.vocabulary.words import common_words
from saeindex.encoders import open_encoder
from saeindex.features import FeatureSpace
from saeindex.features.anchors import Anchors
from saeindex.features.calibration import Calibration
from saeindex.features.fitting import split_by_group, train_and_measure
from saeindex.features.labelling import labeling_task, with_labeling, with_spelling
from saeindex.features.labels import CONCEPT
from saeindex.features.taxonomy import DefinedConcept
from saeindex.sae import SparseAutoencoder, TrainingConfig
from saeindex.sae.batches import sample
from saeindex.sae.metrics import fidelity
from saeindex.sae.train import TrainingStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from saeindex.protocols import TextEncoder
    from saeindex.types import FloatArray

TARGET = Path(__file__).parents[1] / "saeindex" / "spaces" / "minilm-concepts"
GATE = 2.0
# Features are trained, those are dropped that answer to spelling most of all, and the others go on, with
# fewer active.
TRAINED, FEATURES = 6_656, 6_144
CONFIG = TrainingConfig(
    n_features=TRAINED, k=48, k_named=24, steps=2_500, refined_phase=0.0, input_noise=0.3, seed=0
)
GOING_ON = replace(CONFIG, n_features=FEATURES, k=44, steps=1_500, refined_phase=0.25, learning_rate=1.5e-3)
# At last, free features are drawn towards names.
DRAWN = replace(GOING_ON, k=48, steps=1_300, aim_weight=0.1)
# Steps by which amplitudes are refined once trained: one more than in training keeps a hundredth more of
# the neighbours, for 8 % of the time to encode.
REFINE_STEPS = 3
CHOOSE_RECORDS, CALIBRATED = 1_500, 20_000
ATTRIBUTION = (
    "Names and definitions of concepts: Open English WordNet (https://en-word.net), CC BY 4.0, derived from "
    "WordNet, Copyright Princeton University."
)
# Cosine of two concepts from which on one may be the broader of the other.
KIN = 0.3
# Synsets of a set, in each half, by which features are marked as answering to spelling.
MIN_MARKED = 8


def main() -> None:
    """Embed the mixture, fit, measure on parts that were not fitted, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=TARGET)
    parser.add_argument("--weights", type=Path, help="label and calibrate these weights instead of training")
    arguments = parser.parse_args()
    material = Material.read(open_encoder())
    if arguments.weights:
        sae = SparseAutoencoder.load(arguments.weights / "sae.safetensors")
        report = json.loads((arguments.weights / "space.json").read_text())["report"]
    else:
        sae, report = trained(material)
        arguments.out.mkdir(parents=True, exist_ok=True)  # what took longest survives a failure
        sae.save(arguments.out / "sae.safetensors")
        (arguments.out / "space.json").write_text(json.dumps({"report": report}))
    sae.refine_steps = REFINE_STEPS
    space = labelled(sae, report, material)
    print(json.dumps(space.report, indent=2))
    print(space.save(arguments.out))


@dataclass(frozen=True, eq=False)
class Material:
    """The mixture, its embeddings (m, d), their encoder, and WordNet; what is slow to make is made once."""

    mixture: mixture.Mixture
    x: FloatArray
    encoder: TextEncoder
    wordnet: vocabulary.WordNet

    @classmethod
    def read(cls, encoder: TextEncoder) -> Material:
        """Read the corpora, and embed what is not cached."""
        corpus = mixture.load()
        return cls(corpus, corpus.embed(encoder), encoder, vocabulary.WordNet())

    @cached_property
    def common_words(self) -> list[str]:
        """The common words of the mixture, the most common first."""
        return common_words(self.wordnet, self.mixture.texts)

    @cached_property
    def synset_sets(self) -> SynsetSets:
        """Sets of the synsets of the `fit` part: half chooses a feature's best sets, half judges these."""
        synsets = list(data.read("oewn", "fit"))
        vectors = mixture.embed([record.text for record in synsets], self.encoder, "synsets")
        return SynsetSets.of(synsets, vectors, half(len(synsets)), MIN_MARKED)

    def anchors(self, taken: Sequence[int] | None = None) -> Anchors:
        """Return concepts of the vocabulary as anchors, all or those ``taken``.

        A broader concept is the nearest above in WordNet that the encoder reads as a relative.
        """
        concepts, directions = vocabulary.load()
        if taken is not None:
            concepts, directions = [concepts[i] for i in taken], directions[taken]
        above = broader(concepts, directions, self.wordnet)
        defined = tuple(
            DefinedConcept(one.name, one.gloss, tuple(one.words), broader=above.get(one.name))
            for one in concepts
        )
        shares = gate_shares(np.array([one.share for one in concepts]), GATE)
        return Anchors.given(defined, directions, shares, self.encoder)


def labelled(sae: SparseAutoencoder, report: dict[str, Any], material: Material) -> FeatureSpace:
    """Return the space of an autoencoder, its features named by concepts, words and the vocabulary."""
    corpus, x = material.mixture, material.x
    anchors = material.anchors(report["concepts_taken"])
    held_out, mean = split_by_group(corpus.groups, CONFIG.seed).held_out, x.mean(0)
    found = {
        "mixture": corpus.sizes,
        "attribution": [ATTRIBUTION],
        "held_out": fidelity(sae.half(), x[held_out], mean),
        "by_corpus": by_corpus(sae, mean),
    }
    expressed = anchors.expressed(anchors.report(sae))
    print(f"{len(anchors) - len(expressed)} of {len(anchors)} concepts are not expressed", flush=True)
    space = FeatureSpace.annotate(
        sae, corpus.texts, x, material.encoder,
        name=TARGET.name, report=report | found, seed=CONFIG.seed, groups=corpus.groups, concepts=expressed,
    )  # fmt: skip
    return with_vocabulary(space, material)


def trained(material: Material) -> tuple[SparseAutoencoder, dict[str, Any]]:
    """Train, drop what answers to spelling, go on, and draw towards names; return also the report."""
    anchors, groups = material.anchors(), material.mixture.groups
    first, _ = train_and_measure(
        material.x, anchors.within(CONFIG), groups=groups, anchors=anchors, progress=show
    )
    kept = meaningful(first, material)
    taken = [feature for feature in kept if feature < first.n_named]
    anchors = material.anchors(taken)
    sae, report = train_and_measure(
        material.x,
        anchors.within(GOING_ON),
        groups=groups,
        anchors=anchors,
        start=first.take(kept),
        progress=show,
    )
    return drawn(labelled(sae, report | {"concepts_taken": taken}, material), material)


def begun_anew(sae: SparseAutoencoder, features: Sequence[int], directions: FloatArray) -> SparseAutoencoder:
    """Return the autoencoder with new free features of unit ``directions`` (f, d) in these places.

    They are as strong as a free feature is in the middle.
    """
    rows, weights = list(features), {name: tensor.clone() for name, tensor in sae.tensors().items()}
    free = slice(sae.n_named, None)
    towards = torch.from_numpy(directions).to(weights["decoder"])
    weights["decoder"][rows] = towards
    weights["encoder"][rows] = towards * weights["encoder"][free].norm(dim=1).median()
    weights["encoder_bias"][rows] = weights["encoder_bias"][free].median()
    settings: dict[str, Any] = {**weights, **sae.settings}
    return SparseAutoencoder(**settings)


def drawn(space: FeatureSpace, material: Material) -> tuple[SparseAutoencoder, dict[str, Any]]:
    """Train on with the free features drawn towards names that they may deserve; return also the report."""
    taken = space.report["concepts_taken"]
    anchors = material.anchors(taken)
    found = described(space.sae, space.calibration.median, material.synset_sets)
    towards = aims(space, found.is_spelling(), material.common_words, material.encoder)
    sae, report = train_and_measure(
        material.x,
        anchors.within(DRAWN),
        groups=material.mixture.groups,
        anchors=anchors,
        aims=towards.directions[space.sae.n_named :],
        start=begun_anew(space.sae, towards.anew, towards.directions[towards.anew]),
        progress=show,
    )
    return sae, report | {"concepts_taken": taken, "begun_anew": len(towards.anew)}


def meaningful(sae: SparseAutoencoder, material: Material) -> list[int]:
    """Return the features without the surplus, those that spelling describes best beside anything else."""
    typical = Calibration.measure(sae.encode(sample(material.x, CALIBRATED, CONFIG.seed))).median
    found = described(sae, typical, material.synset_sets)
    *meanings, spelling = found.f1
    lead = np.where(found.is_live, spelling / np.maximum(np.max(meanings, 0), 1e-9), 0)
    dropped = np.argsort(-lead, kind="stable")[: sae.n_features - FEATURES]
    kept: list[int] = np.setdiff1d(np.arange(sae.n_features), dropped).tolist()
    return kept


def with_vocabulary(space: FeatureSpace, material: Material) -> FeatureSpace:
    """Return the space with names of concepts and kinds for its free features, and spellings marked.

    The name of a concept that has a feature of its own is a part of other names, but none alone.
    """
    corpus, wordnet = material.mixture, material.wordnet
    kinds = enriched(space, wordnet, material.synset_sets.vectors, list(wordnet.synsets))
    own = {label.text for label in space.labels if label.method == CONCEPT}
    further = {feature: list(dict.fromkeys(one.name for one in found)) for feature, found in kinds.items()}
    free = [feature for feature, label in enumerate(space.labels) if label.method != CONCEPT]
    task = labeling_task(
        space,
        corpus.texts,
        material.x,
        material.encoder,
        features=free,
        groups=corpus.groups,
        seed=CONFIG.seed,
    )
    known = [*(one.name for one in vocabulary.load()[0]), *material.common_words]
    labeler = VocabularyLabeler(list(dict.fromkeys(known)), space.label_vectors, further, taken=own)
    named = with_labeling(space, task, labeler.label(task), labeler.method)
    named = with_read_names(named, task)
    found = described(space.sae, space.calibration.median, material.synset_sets)
    return with_spelling(named, np.flatnonzero(found.is_confirmed_spelling()).tolist())


def broader(
    concepts: Sequence[vocabulary.Concept], directions: FloatArray, wordnet: vocabulary.WordNet
) -> dict[str, str]:
    """Return the name of the nearest broader concept, of those that have one and whose sense is known.

    Only of relatives: WordNet has people below "cause", and kisses below "event".
    """
    place_of = {one.synset: i for i, one in enumerate(concepts) if one.gloss}
    found: dict[str, str] = {}
    for i, one in enumerate(concepts):
        seen, ahead = {one.synset}, [one.synset] if one.gloss else []
        while ahead and one.name not in found:
            for synset in wordnet.synsets.get(ahead.pop(0), {}).get("hypernyms", []):
                other = place_of.get(synset, i)
                if other != i and directions[i] @ directions[other] >= KIN:
                    found.setdefault(one.name, concepts[other].name)
                if synset not in seen:
                    seen.add(synset)
                    ahead.append(synset)
    return found


def gate_shares(shares: NDArray[np.floating], times: float) -> FloatArray:
    """Return the shares of texts (a,) in which concepts may be active, from those that have their words."""
    found: FloatArray = np.clip(shares * times, 0.001 * times, 0.1).astype(np.float32)
    return found


def show(status: TrainingStatus) -> None:
    """Print the progress of the training, on one line."""
    held_out = "" if status.held_out is None else f", held out {status.held_out:.4f}"
    print(f"\rstep {status.step} of {status.steps}: {status.error:.4f}{held_out}", end="", flush=True)


def by_corpus(sae: SparseAutoencoder, fit_mean: FloatArray) -> dict[str, dict[str, float]]:
    """Return the fidelity on records that were not fitted: `choose` parts and held-out packages."""
    encoder = open_encoder()
    held_out = {
        corpus: [record.text for record in data.read(corpus, "choose", CHOOSE_RECORDS)]
        for corpus in mixture.OTHER_CORPORA
    }
    held_out["arxiv"] = [record.text for record in mixture.unused_abstracts()[:CHOOSE_RECORDS]]
    held_out["docstrings of other packages"] = mixture.held_out_docstrings()
    return {
        name: fidelity(sae, mixture.embed(texts, encoder, name), fit_mean)
        for name, texts in held_out.items()
        if texts
    }


if __name__ == "__main__":
    main()
