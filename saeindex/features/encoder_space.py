"""Spaces made for an encoder: all named concepts, their evidence, and an autoencoder over its vectors.

What names and words say is the dictionary's (see :mod:`saeindex.features.dictionary`). An encoder adds the
directions of the concepts, how much nearness says (:mod:`saeindex.features.evidence_fit`), an autoencoder
whose first features stand for concepts, and its calibration. It is trained on definitions of WordNet, the
judged sentences, and texts of one's own.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from saeindex.features.anchors import Anchors
from saeindex.features.dictionary import definitions, dictionary
from saeindex.features.evidence import Evidence
from saeindex.features.evidence_fit import Design, described, evidence_for
from saeindex.features.fitting import MIN_CHARS, draw_views, train_and_measure
from saeindex.features.labels import CONCEPT, FeatureLabel
from saeindex.features.lexicon import Lexicon
from saeindex.features.taxonomy import DefinedConcept
from saeindex.features.trust import auroc
from saeindex.language.speech import sentence_spans
from saeindex.sae.training_config import TrainingConfig, suitable_steps

if TYPE_CHECKING:
    from saeindex.encoders.cache import CachedEncoder
    from saeindex.features.space import Space, SpaceT
    from saeindex.protocols import TextEncoder
    from saeindex.sae.train import TrainingStatus
    from saeindex.types import FloatArray, Ints, Record

# The autoencoder of a space that is made: as the default one's, trained once.
FEATURES, K, K_NAMED, STEPS, NOISE, REFINE_STEPS = 6_144, 48, 24, 2_500, 0.3, 3
# Definitions among the texts by which features without a concept are labelled, at most.
LABELLED = 20_000
# The shares of texts in which a concept may be active: those of the default space, within these.
RAREST, COMMONEST = 0.002, 0.1
# Texts of one's own that a sentence of each searches, at most, and at least.
PAIRS, MIN_PAIRS = 500, 20


@dataclass(frozen=True, eq=False)
class Material:
    """What a space is made of: ``judged`` sentences, ``own`` texts with their documents (m,), definitions.

    ``pairs`` are sentences of texts of one's own, and the rest of each of these texts, which it should find.
    """

    judged: tuple[str, ...]
    own: tuple[str, ...]
    owners: Ints
    defined: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, texts: Sequence[str | Record]) -> Material:
        """Take the package's texts, and the texts of one's own with a sentence of each."""
        judged = dictionary().judged
        said = [one for use in ("fit", "calibrate") for one in judged[use].sentences]
        views, owners = draw_views(texts, ("whole", "sentence")) if texts else ([], np.zeros(0, np.int64))
        return cls(tuple(said), tuple(views), owners, tuple(definitions()), tuple(_pairs(texts)))

    @property
    def texts(self) -> list[str]:
        """All of them, definitions at last."""
        return [*self.judged, *self.own, *self.defined]

    @property
    def groups(self) -> Ints:
        """The document of each text."""
        count = len(self.judged) + len(self.owners)
        others = [np.arange(len(self.judged)), count + np.arange(len(self.defined))]
        return np.concatenate([others[0], len(self.judged) + self.owners, others[1]])

    @property
    def digest(self) -> str:
        """What tells texts of one's own from others."""
        return hashlib.sha256("\0".join(self.own).encode("utf-8", "surrogatepass")).hexdigest()[:8]

    def missing(self, labels: Sequence[FeatureLabel], encoder: CachedEncoder) -> list[str]:
        """Return what is not cached of all that is encoded for concepts with these labels."""
        concepts = [(label.text, *own) for label, own in zip(labels, dictionary().words, strict=True)]
        defined = [described(label.text, label.description) for label in labels]
        documents = [*self.texts, *dictionary().judged["held out"].sentences, *defined]
        asked, rest = zip(*self.pairs, strict=True) if self.pairs else ((), ())
        return encoder.missing([*documents, *rest], [*chain.from_iterable(concepts), *asked])


def training_of(material: Material) -> TrainingConfig:
    """Return the options of the training."""
    steps = min(STEPS, suitable_steps(len(material.texts)))
    return TrainingConfig(FEATURES, K, steps, k_named=K_NAMED, input_noise=NOISE)


def made_space(
    annotate: Callable[..., SpaceT],
    default: Space,
    encoder: CachedEncoder,
    material: Material,
    config: TrainingConfig | None = None,
    name: str | None = None,
    checkpoint: Path | None = None,
    progress: Callable[[TrainingStatus], None] | None = None,
) -> SpaceT:
    """Return a space with the named concepts of ``default``; see :meth:`FeatureSpace.make`.

    ``annotate`` is its ``annotate``.
    """
    started, before = time.perf_counter(), encoder.seconds
    texts, known, labels = material.texts, default.evidence, labels_of(default)
    assert known is not None  # noqa: S101 - the default space has evidence
    x = encoder.encode_document(texts)
    usual = len(material.judged) + len(material.own)
    fitted = evidence_for(known, labels, encoder, x[:usual].mean(0))
    config = config or training_of(material)
    rows = _anchored(default, known, config.n_features // 2)
    concepts = [DefinedConcept(labels[row].text, labels[row].description) for row in rows]
    shares = np.clip(default.calibration.density[known.features[rows]], RAREST, COMMONEST)
    anchors = Anchors.given(concepts, fitted.directions[rows], shares.astype(np.float32), encoder)
    sae, report = train_and_measure(
        x, anchors.within(config), groups=material.groups, anchors=anchors, checkpoint=checkpoint,
        progress=progress,
    )  # fmt: skip
    sae.refine_steps = REFINE_STEPS
    expressed, shown = anchors.expressed(anchors.report(sae)), slice(usual + LABELLED)
    name = name or f"{encoder.identity.model.rsplit('/')[-1]}-concepts"
    space = annotate(
        sae, texts[shown], x[shown], encoder, name=name, report=report, groups=material.groups[shown],
        concepts=expressed,
    )  # fmt: skip
    packaged = default.open_encoder()
    judged = {"this": told_apart(fitted, encoder), "default": told_apart(known, packaged)}
    counts = {"texts": len(texts), "own": len(material.own), "expressed": len(expressed)}
    space.report["made"] = {**counts, "judged": judged}
    if material.pairs:
        found = {
            "this": found_again(material.pairs, encoder),
            "default": found_again(material.pairs, packaged),
        }
        space.report["made"]["ndcg10"] = found
    space.report["attribution"] = default.report.get("attribution", [])
    made = named_by(space, fitted, labels, {int(rows[one]): one for one in expressed}, encoder)
    encoding, whole = encoder.seconds - before, time.perf_counter() - started
    parts = {"encoding": encoding, "training": whole - encoding}
    made.report["made"]["minutes"] = {name: round(one / 60, 1) for name, one in parts.items()}
    return made


def labels_of(default: Space) -> list[FeatureLabel]:
    """Return the labels of the concepts of the default space (c), in the order of the dictionary."""
    assert default.evidence is not None  # noqa: S101 - it has
    return [default.labels[feature] for feature in default.evidence.features.tolist()]


def _pairs(texts: Sequence[str | Record]) -> list[tuple[str, str]]:
    """Return a sentence of each of some different texts, and the rest of it; none of too few texts."""
    rng, found = random.Random(0), list[tuple[str, str]]()  # noqa: S311  (no secret)
    different = list(dict.fromkeys(one if isinstance(one, str) else one.text for one in texts))
    rng.shuffle(different)
    for text in different:
        spans = [(start, end) for start, end in sentence_spans(text) if end - start > MIN_CHARS]
        if len(spans) > 1 and len(found) < PAIRS:
            start, end = rng.choice(spans)
            found.append((text[start:end], f"{text[:start]}{text[end:]}".strip()))
    return found if len(found) >= MIN_PAIRS else []


def found_again(pairs: Sequence[tuple[str, str]], encoder: TextEncoder) -> float:
    """Return the nDCG@10 of sentences that search, among the rests of all texts, that of their own."""
    asked, rest = ([*part] for part in zip(*pairs, strict=True))
    near = encoder.encode_query(asked) @ encoder.encode_document(rest).T
    rank = (near > near.diagonal()[:, None]).sum(1)
    return round(float(np.where(rank < 10, 1 / np.log2(rank + 2), 0).mean()), 4)


def _anchored(default: Space, known: Evidence, most: int) -> Ints:
    """Return the rows of the concepts that have a feature of the default autoencoder, the commonest first."""
    features = known.features
    rows = np.array([
        row
        for row, feature in enumerate(features.tolist())
        if feature < default.sae.n_features and default.labels[feature].method == CONCEPT
    ])  # fmt: skip
    common = np.argsort(-default.calibration.density[features[rows]], kind="stable")[:most]
    return np.sort(rows[common])


def named_by(
    space: SpaceT,
    fitted: Evidence,
    labels: Sequence[FeatureLabel],
    features: Mapping[int, int],
    encoder: TextEncoder,
) -> SpaceT:
    """Return a space with the evidence of concepts (c), and their labels.

    ``features`` are those that stand for concepts, by row; the others come beside the autoencoder's.
    """
    n = space.sae.n_features
    order = [*sorted(features, key=lambda row: features[row]), *sorted({*range(len(labels))} - {*features})]
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    own = np.array([features.get(row, n + at - len(features)) for at, row in enumerate(order)], np.int32)
    lexicon = fitted.lexicon
    words = np.repeat(np.arange(len(lexicon.words)), np.diff(lexicon.starts))
    by_word = np.lexsort((place[lexicon.concepts], words))
    moved = Lexicon(
        lexicon.words, lexicon.starts, place[lexicon.concepts].astype(np.int32)[by_word],
        lexicon.weights[by_word], lexicon.is_name[by_word],
    )  # fmt: skip
    evidence = replace(fitted, features=own, directions=fitted.directions[order], lexicon=moved)
    vectors = encoder.encode_query([label.text for label in labels]).astype(np.float16).astype(np.float32)
    texts, label_vectors = list(space.labels), space.label_vectors.copy()
    for row, feature in features.items():
        known = labels[row]
        texts[feature] = replace(
            texts[feature], sure=known.sure, description=known.description, also=known.also
        )
        label_vectors[feature] = vectors[row]
    beside = [
        FeatureLabel(one.text, CONCEPT, sure=one.sure, description=one.description, also=one.also)
        for one in (labels[row] for row in order[len(features) :])
    ]
    bare = replace(space, labels=tuple(texts), label_vectors=label_vectors)
    return bare.with_concepts(beside, vectors[order[len(features) :]], evidence)


def told_apart(evidence: Evidence, encoder: TextEncoder) -> dict[str, float]:
    """Return the AUROC of concepts on held-out judged pairs: of all, of those said, of those only meant."""
    design = Design.of(dictionary().judged["held out"], evidence, encoder)
    log_odds: FloatArray = design.log_odds(evidence.near, evidence.named)
    parts: dict[str, Any] = {"all": slice(None), "said": design.is_said, "meant": ~design.is_said}
    return {
        name: round(float(auroc(log_odds[own, None], design.is_clear[own])[0]), 4)
        for name, own in parts.items()
    }
