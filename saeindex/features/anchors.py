"""Anchors: the directions that named concepts have, and which of the concepts the encoder can tell apart.

An anchor is the sum of three unit directions, each the difference from the mean over all concepts: the
concept's name and words, its description, and, with double weight, the mean of its examples. On the intents,
question types and tags of three corpora, ten examples alone have an AUROC of .999, .982 and .976 (the median
over concepts), names and descriptions .998, .948 and .976, and all three together .999, .984 and .978.
Directions that are corrected for the covariance of the texts are worse (.999, .967, .962).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np

from saeindex.errors import InvalidInputError
from saeindex.features.evidence import LogOdds
from saeindex.features.labels import CONCEPT
from saeindex.features.taxonomy import DefinedConcept
from saeindex.features.terms import EXAMPLES_WEIGHT
from saeindex.features.trust import auroc
from saeindex.sae.batches import sample
from saeindex.sae.metrics import unit_rows

if TYPE_CHECKING:
    from saeindex.features.space import Space
    from saeindex.protocols import TextEncoder
    from saeindex.sae.autoencoder import SparseAutoencoder
    from saeindex.sae.training_config import TrainingConfig
    from saeindex.types import FloatArray, Ints

# With few concepts, their mean is their subject as well: it counts as if the corpus's mean came this often.
PRIOR = 4
# Cosine of two anchors from which on the encoder reads both concepts as one.
SAME = 0.95
# Share of its own examples in which a concept's feature must be active, or of the texts that define it.
MIN_ANSWERED = 0.5
# A concept is silent in a text unless the cosine to its anchor is so many standard deviations above the mean
# of the corpus; and, from four examples on, unless it is above the examples' mean less two deviations. On ten
# examples of each of 50 intents, the second rule brings precision from .05 to .54, and recall to .93.
MIN_DEVIATIONS, BELOW_EXAMPLES, MIN_EXAMPLES = 1.0, 2.0, 4
MEASURED_ROWS = 20_000
# Examples, left out of their anchors, from which on they tell how likely a text means a concept.
MIN_MEANT = 20
# Options of a training with the words of a vocabulary. Tied, 98 % of the names predict their feature with an
# AUROC of .8 or more, instead of 61 %. Free features that speak for a text themselves bring back the error
# that this costs, and are easier to name.
GENERAL: dict[str, Any] = {"tied_encoder": True, "named_share": 0.1, "free_share": 0.85}
# Texts of a corpus that must speak of a concept of the vocabulary.
MIN_SPOKEN = 10
# Named features that may be active in a text: the root of their number, 4 of 15 and 8 of 50, up to this.
MAX_NAMED_ACTIVE = 12


@dataclass(frozen=True, slots=True, eq=False)
class Anchors:
    """``concepts`` (a), their unit ``directions`` (a, d), and the texts that they are recognised by.

    ``shares`` (a,) are the shares of the corpus's texts that speak for each, and that it may be active in.
    ``definitions`` (e, d) are embeddings of examples, or of names and descriptions where a concept has no
    examples; ``owners`` (e,) has the concept of each. ``told_apart`` is the AUROC of a concept's examples
    against those of the others, each with the anchor that it is left out of; None with fewer than two.
    ``merged`` are concepts that the encoder reads as another one: the name of each, and of that one.
    ``meant`` is how likely a text means a concept by its cosine to the anchor, as examples tell. Those of
    a vocabulary are general (``is_general``): thousands of words that any text may have.
    """

    concepts: tuple[DefinedConcept, ...]
    directions: FloatArray
    shares: FloatArray
    definitions: FloatArray
    owners: Ints
    told_apart: tuple[float | None, ...]
    merged: dict[str, str]
    meant: LogOdds | None = None
    is_general: bool = False

    @classmethod
    def of(cls, concepts: Sequence[DefinedConcept], encoder: TextEncoder, x: FloatArray) -> Anchors:
        """Embed the concepts, for a corpus with embeddings ``x`` (m, d)."""
        rows = sample(x, MEASURED_ROWS, seed=0)
        background = rows.mean(0)
        rows -= background
        names = [[concept.name, *concept.words] for concept in concepts]
        said = [[concept.description] if concept.description.strip() else [] for concept in concepts]
        shown = [list(concept.examples) for concept in concepts]
        queries, documents = encoder.encode_query, encoder.encode_document
        named, described = (_Part.of(texts, queries, background) for texts in (names, said))
        exemplified = _Part.of(shown, documents, background)
        fixed = named.directions() + described.directions()
        merged = _merged(_sum(fixed, exemplified.directions()))
        kept = [i for i in range(len(concepts)) if i not in merged]
        named, described, exemplified = (part.take(kept) for part in (named, described, exemplified))
        fixed = named.directions() + described.directions()
        directions = _sum(fixed, exemplified.directions())
        left_out = [_left_out(fixed, exemplified, concept) for concept in range(len(kept))]
        by_concept = list(zip(directions, left_out, strict=True))
        return cls(
            tuple(concepts[i] for i in kept),
            directions,
            np.array([_share(rows @ direction, own) for direction, own in by_concept], np.float32),
            *exemplified.texts_or(described, named),
            tuple(_told_apart(exemplified, i, *each) for i, each in enumerate(by_concept)),
            {concepts[i].name: concepts[other].name for i, other in merged.items()},
            _meant(exemplified, directions, left_out),
        )

    @classmethod
    def of_vocabulary(cls, space: Space, encoder: TextEncoder, x: FloatArray, most: int) -> Anchors | None:
        """Take the concepts of a space that a corpus with embeddings ``x`` (m, d) speaks of, commonest first.

        At most ``most``; None if there are none. For another encoder they are the first of the space, by name
        and description, and as common as in general texts.
        """
        own = space.labels[: space.sae.n_features]
        named = np.flatnonzero([label.method == CONCEPT and not label.is_weak for label in own])
        shares, directions = space.calibration.density[named], space.directions[named]
        if space.encoder.signature() == encoder.identity.signature():
            rows = sample(x, MEASURED_ROWS, seed=0)
            active = space.sae.encode(rows).to_csr()[:, named].getnnz(0)
            spoken = np.argsort(-active, kind="stable")
            spoken = spoken[active[spoken] >= MIN_SPOKEN]
            shares = (active / len(rows)).astype(np.float32)
        else:
            spoken = np.arange(len(named))
            defined = [f"{space.labels[i].text}: {space.labels[i].description}" for i in named]
            directions = encoder.encode_query(defined) if defined else directions
            directions = directions - directions.mean(0)
        spoken = spoken[:most]
        if not len(spoken):
            return None
        labels = [space.labels[i] for i in named[spoken]]
        concepts = [DefinedConcept(label.text, label.description) for label in labels]
        return cls.given(concepts, directions[spoken], shares[spoken], encoder)

    @classmethod
    def given(
        cls,
        concepts: Sequence[DefinedConcept],
        directions: FloatArray,
        shares: FloatArray,
        encoder: TextEncoder,
    ) -> Anchors:
        """Take the directions (a, d) and shares (a,) of a vocabulary; a name defines its concept."""
        named = encoder.encode_query([concept.name for concept in concepts])
        told_apart = (None,) * len(concepts)
        owners = np.arange(len(concepts))
        directions = unit_rows(directions)
        return cls(tuple(concepts), directions, shares, named, owners, told_apart, {}, is_general=True)

    def __len__(self) -> int:
        """Return the number of concepts."""
        return len(self.concepts)

    def within(self, config: TrainingConfig) -> TrainingConfig:
        """Return the options of a training with these anchors; InvalidInputError for too few features."""
        if len(self) > config.n_features:
            do = "Fit more features: each concept needs one, and free ones say what the concepts leave out."
            raise InvalidInputError(f"fit {len(self):,} concepts", f"{config.n_features:,} features", do)
        budget = min(MAX_NAMED_ACTIVE, ceil(len(self) ** 0.5), max(1, config.k // 2))
        config = replace(config, k_named=config.k_named or budget)
        return replace(config, **GENERAL) if self.is_general else config

    def expressed(self, report: Sequence[Mapping[str, Any]]) -> dict[int, DefinedConcept]:
        """Return the concepts by feature that :meth:`report` found no problem with."""
        return {one["feature"]: self.concepts[one["feature"]] for one in report if not one["problem"]}

    def report(self, sae: SparseAutoencoder) -> list[dict[str, Any]]:
        """Return what became of each concept in a trained autoencoder, whose first features they are.

        ``answered`` is the share of its definitions in which its feature is active; below one half, the
        feature does not express the concept, and ``problem`` says so.
        """
        active = sae.encode(self.definitions).to_csr()[:, : len(self)].tocoo()
        own = np.zeros(len(self.definitions), bool)
        own[active.row[(self.owners[active.row] == active.col) & (active.data > 0)]] = True
        cosines = self.directions @ self.directions.T
        np.fill_diagonal(cosines, -1)
        found: list[dict[str, Any]] = []
        for feature, concept in enumerate(self.concepts):
            nearest = int(cosines[feature].argmax())
            answered = float(own[self.owners == feature].mean())
            told_apart = self.told_apart[feature]
            is_alone = len(self) == 1
            found.append({
                "name": concept.name,
                "feature": feature,
                "examples": len(concept.examples),
                "told_apart": None if told_apart is None else round(told_apart, 4),
                "nearest": None if is_alone else self.concepts[nearest].name,
                "nearest_cosine": None if is_alone else round(float(cosines[feature, nearest]), 4),
                "answered": round(answered, 4),
                "problem": None if answered >= MIN_ANSWERED else "its own texts do not activate it",
            })  # fmt: skip
        for name, other in self.merged.items():
            found.append({"name": name, "feature": None, "problem": f"the encoder reads it as “{other}”"})
        return found


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """One part of the definitions: embeddings (e, d), the concept of each (e,), and the concepts' means."""

    vectors: FloatArray
    owners: Ints
    sums: FloatArray
    counts: Ints
    background: FloatArray

    @classmethod
    def of(cls, texts: Sequence[Sequence[str]], encode: Any, background: FloatArray) -> _Part:
        flat = [text for of_one in texts for text in of_one]
        owners = np.repeat(np.arange(len(texts)), [len(of_one) for of_one in texts])
        vectors = encode(flat) if flat else np.zeros((0, len(background)), np.float32)
        sums = np.zeros((len(texts), len(background)), np.float32)
        np.add.at(sums, owners, vectors)
        return cls(vectors, owners, sums, np.bincount(owners, minlength=len(texts)), background)

    def directions(self) -> FloatArray:
        """Return a unit direction for each concept (a, d), 0 where it lacks this part."""
        return self.centred(self.sums, self.counts)

    def centred(self, sums: FloatArray, counts: Ints) -> FloatArray:
        """Return the unit directions of other sums (a, d) about the mean of all concepts."""
        has = self.counts > 0
        means = self.sums[has] / self.counts[has, None]
        centre = (means.sum(0) + PRIOR * self.background) / (len(means) + PRIOR)
        is_given = counts > 0
        directions = np.zeros_like(sums)
        directions[is_given] = unit_rows(sums[is_given] / counts[is_given, None] - centre)
        return directions

    def take(self, kept: Sequence[int]) -> _Part:
        """Return the part of these concepts."""
        position = np.full(len(self.counts), -1)
        position[kept] = np.arange(len(kept))
        is_kept = position[self.owners] >= 0
        owners = position[self.owners[is_kept]]
        return _Part(self.vectors[is_kept], owners, self.sums[kept], self.counts[kept], self.background)

    def texts_or(self, *others: _Part) -> tuple[FloatArray, Ints]:
        """Return embeddings of the texts of each concept's first part, and the concept of each."""
        vectors, owners = [], []
        for concept in range(len(self.counts)):
            part = next(part for part in (self, *others) if part.counts[concept])
            vectors.append(part.vectors[part.owners == concept])
            owners += [concept] * int(part.counts[concept])
        return np.concatenate(vectors), np.array(owners)


def _sum(fixed: FloatArray, exemplified: FloatArray) -> FloatArray:
    """Return unit anchors (a, d) of directions by names and descriptions, and by examples."""
    return unit_rows(fixed + EXAMPLES_WEIGHT * exemplified)


def _left_out(fixed: FloatArray, exemplified: _Part, concept: int) -> FloatArray:
    """Return how near each example of a concept is to the anchor that it is left out of, () of one."""
    own = exemplified.vectors[exemplified.owners == concept]
    if len(own) < 2:
        return np.zeros(0, np.float32)
    without = exemplified.centred(exemplified.sums[concept] - own, np.full(len(own), len(own) - 1))
    anchors = _sum(fixed[concept], without)
    return np.asarray(((own - exemplified.background) * anchors).sum(1), np.float32)


def _told_apart(
    exemplified: _Part, concept: int, direction: FloatArray, left_out: FloatArray
) -> float | None:
    """Return the AUROC of a concept's examples against those of the others, None if there are none."""
    is_own = exemplified.owners == concept
    if not len(left_out) or is_own.all():
        return None
    scores = exemplified.vectors @ direction - exemplified.background @ direction
    scores[is_own] = left_out
    return float(auroc(scores[:, None].astype(np.float32), is_own)[0])


def _meant(exemplified: _Part, directions: FloatArray, left_out: Sequence[FloatArray]) -> LogOdds | None:
    """Return how likely an example is its concept's by its cosine to the anchor that it is left out of.

    Compared with the anchors of the others; None where there are too few examples.
    """
    vectors = exemplified.vectors - exemplified.background
    lengths = np.linalg.norm(vectors, axis=1)
    rows = [np.flatnonzero(exemplified.owners == i) for i, own in enumerate(left_out) if len(own)]
    if len(directions) < 2 or sum(map(len, rows)) < MIN_MEANT:
        return None
    from sklearn.linear_model import LogisticRegression

    own = np.concatenate([one for one in left_out if len(one)]) / lengths[np.concatenate(rows)]
    others = (vectors / lengths[:, None]) @ directions.T
    others = others[exemplified.owners[:, None] != np.arange(len(directions))]
    is_own = np.repeat([True, False], [len(own), len(others)])
    model = LogisticRegression(C=100.0).fit(np.concatenate([own, others])[:, None], is_own)
    return LogOdds(float(model.coef_[0, 0]), 0.0, 0.0, float(model.intercept_[0]))


def _share(nearness: FloatArray, left_out: FloatArray) -> float:
    """Return the share of texts (m,) whose ``nearness`` to an anchor speaks for the concept."""
    least = float(nearness.mean() + MIN_DEVIATIONS * nearness.std())
    if len(left_out) >= MIN_EXAMPLES:
        least = max(least, float(left_out.mean() - BELOW_EXAMPLES * left_out.std(ddof=1)))
    return float((nearness > least).mean())


def _merged(directions: FloatArray) -> dict[int, int]:
    """Return the concepts whose direction an earlier one has already, and that one."""
    merged: dict[int, int] = {}
    for concept in range(1, len(directions)):
        cosines = directions[:concept] @ directions[concept]
        cosines[list(merged)] = -1
        if cosines.max() >= SAME:
            merged[concept] = int(cosines.argmax())
    return merged
