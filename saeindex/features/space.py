"""The data of a feature space: encoder identity, autoencoder, calibration and labels."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from numbers import Integral
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar, Unpack

import numpy as np

from saeindex.config import CAUSAL, READER, SAE, SPACE_FORMAT
from saeindex.encoders import EncoderKeywords, opened_as
from saeindex.errors import InvalidInputError, MismatchError, UnknownConceptError, kind_of
from saeindex.features.calibration import Calibration
from saeindex.features.evidence import Evidence
from saeindex.features.families import Family
from saeindex.features.labels import CONCEPT, HIDDEN, MANUAL, OF_COLLECTION, FeatureLabel
from saeindex.features.lexicon import forms
from saeindex.language.speech import as_recurring
from saeindex.protocols import EncoderIdentity, TextEncoder
from saeindex.sae.autoencoder import SparseAutoencoder
from saeindex.schema import check_kind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.features.terms import Term
    from saeindex.types import FloatArray, SparseCode

SpaceT = TypeVar("SpaceT", bound="Space")
MAX_DIGITS = 9


@dataclass(frozen=True, eq=False)
class Space:
    """Turns texts into features, and says what they mean; :class:`FeatureSpace` adds the operations.

    ``labels[i]`` names feature i, ``label_vectors`` (n, d) are the labels' embeddings, ``report`` has the
    figures measured on held-out texts, ``evidence`` tells which named concepts a sentence speaks of; None for
    a space without named concepts. ``reader`` is the second space of an index that has one, of the tokens of
    its texts: its features follow those of the space ``alone``, before the terms of a collection. Both are
    saved as safetensors and JSON, each by itself; never pickled.
    """

    SETTINGS: ClassVar[tuple[str, ...]] = ()
    """What kinds of spaces have besides, saved as JSON."""

    name: str
    encoder: EncoderIdentity
    sae: SparseAutoencoder
    calibration: Calibration
    labels: tuple[FeatureLabel, ...]
    label_vectors: FloatArray
    report: dict[str, Any]
    families: tuple[Family, ...] = ()
    evidence: Evidence | None = None
    reader: Space | None = None
    alone: Self | None = None

    @cached_property
    def fingerprint(self) -> str:
        """The hash of all that affects activations or levels (labels and terms do not)."""
        # Families do not either: they group features in queries, and no stored data depends on them.
        levels = self.with_reader(None).calibration
        parts = [SPACE_FORMAT, self.encoder.signature(), self.sae.digest(), levels.digest()]
        parts += [] if self.evidence is None else [self.evidence.digest]
        if self.SETTINGS:  # of a reader, whose weights depend on how rare features are
            rare = hashlib.sha256(self.calibration.density.tobytes()).hexdigest()
            parts += [rare, *(getattr(self, name) for name in self.SETTINGS)]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    @property
    def n_features(self) -> int:
        """Number of features: those of the autoencoder, and the concepts that stand beside them."""
        return len(self.labels)

    def check_concepts(self, asked: str) -> None:
        """Raise InvalidInputError if the space has no concepts: it is of :meth:`FeatureSpace.dense`."""
        if self.n_features == 1:
            found = "the index has vectors alone, and no concepts"
            do = (
                "Make a copy with a space: of FeatureSpace.make(encoder), or fitted on its texts and vectors."
            )
            raise InvalidInputError(asked, found, do)

    @cached_property
    def directions(self) -> FloatArray:
        """The unit directions of the features (n, d); features of tokens have none."""
        found = np.zeros((self.n_features, self.sae.dimension), np.float32)
        found[: self.sae.n_features] = self.sae.directions
        if self.evidence is not None:
            is_beside = self.evidence.features >= self.sae.n_features
            found[self.evidence.features[is_beside]] = self.evidence.directions[is_beside]
        return found

    @cached_property
    def has_weak_label(self) -> NDArray[np.bool_]:
        """Which features have a weak label (n,)."""
        return np.array([label.is_weak for label in self.labels], bool)

    @cached_property
    def is_named(self) -> NDArray[np.bool_]:
        """Which features have a name that people are shown (n,).

        Of a space with evidence they are its concepts, but for those whose name mostly means something else,
        and what a person renamed; of another one, all. Of a reader, those whose names predict them.
        """
        named = np.full(self.n_features, self.evidence is None)
        if self.evidence is not None:
            named[[label.method == MANUAL for label in self.labels]] = True
            named[[one for one in self.evidence.features.tolist() if not self.labels[one].is_unsure]] = True
        named[self.of_reader] = ~self.has_weak_label[self.of_reader]
        return named

    @cached_property
    def names(self) -> frozenset[str]:
        """The names that people are shown, in the forms of :func:`saeindex.features.lexicon.forms`."""
        shown = [self.labels[row] for row in np.flatnonzero(self.is_named).tolist()]
        return frozenset(form for label in shown for name in label.names for form in forms(name))

    def with_concepts(
        self, labels: Sequence[FeatureLabel], label_vectors: FloatArray, evidence: Evidence
    ) -> Self:
        """Return the space with further concepts beside its features; ``evidence`` has them at its end.

        Each has a label, and its embedding, (c, d).
        """
        return replace(
            self,
            labels=(*self.labels, *labels),
            label_vectors=np.concatenate([self.label_vectors, label_vectors]),
            calibration=self.calibration.extended(len(labels)),
            evidence=evidence,
        )

    def with_terms(self, terms: Sequence[Term]) -> Self:
        """Return the space with the terms of a collection as further concepts."""
        if not terms or self.evidence is None:
            return self
        labels = [
            FeatureLabel(one.name, OF_COLLECTION, one.trust, description=one.description)
            if one.name
            else FeatureLabel("unused", OF_COLLECTION, kind=HIDDEN)
            for one in terms
        ]
        vectors = np.stack([one.vector for one in terms])
        return self.with_concepts(labels, vectors, self.evidence.with_terms(self.n_features, terms))

    @property
    def of_reader(self) -> slice:
        """The numbers of the features of its reader; none without one."""
        terms = len(self.evidence.terms) if self.evidence is not None else 0
        end = self.n_features - terms
        return slice(end - (0 if self.reader is None else self.reader.n_features), end)

    def with_reader(self, reader: Space | None) -> Self:
        """Return the space without terms, beside a reader; MismatchError if that has another encoder.

        Names of its features that another encoder embedded are found by their words alone.
        """
        bare, n = self.without_terms(), self.of_reader.start
        if bare.alone is not None:
            labels, vectors = bare.labels[:n], bare.label_vectors[:n]
            is_as_it_was = bare.alone.labels == labels
            bare = bare.alone if is_as_it_was else replace(bare.alone, labels=labels, label_vectors=vectors)
        if reader is None:
            return bare
        if differing := reader.unlike(self.encoder):
            asked = f"reader {reader.name!r} of {reader.encoder.model!r} with encoder {self.encoder.model!r}"
            found, do = f"another {', '.join(differing)}", "Fit a reader to this encoder, or leave it out."
            raise MismatchError(asked, found, do)
        vectors = reader.label_vectors
        if reader.report.get("named_by") != self.encoder.digest:
            vectors = np.zeros((reader.n_features, bare.label_vectors.shape[1]), np.float32)
        return replace(
            bare,
            alone=bare,
            reader=reader,
            labels=(*bare.labels, *reader.labels),
            label_vectors=np.concatenate([bare.label_vectors, vectors]),
            calibration=bare.calibration.beside(reader.calibration),
        )

    def unlike(self, encoder: EncoderIdentity) -> Collection[str]:
        """Return in what the encoder of a reader differs from that of an index; a language model may."""
        return () if self.encoder.kind == CAUSAL else self.encoder.differences(encoder)

    def stored(self, feature: int) -> tuple[str, int, SparseAutoencoder]:
        """Return the sparse vector that has a feature, its number there, and whose feature it is."""
        if self.reader is not None and feature in range(self.of_reader.start, self.of_reader.stop):
            return READER, feature - self.of_reader.start, self.reader.sae
        return SAE, feature, self.sae

    def cosines(self, feature: int) -> FloatArray:
        """Return the cosines (n,) of a feature's direction with those of others; 0 with those of tokens."""
        using, place, sae = self.stored(feature)
        if using == SAE:
            return np.asarray(self.directions @ self.directions[feature])
        found = np.zeros(self.n_features, np.float32)
        found[self.of_reader] = sae.directions @ sae.directions[place]
        return found

    def leaving_out(self, sentences: Collection[str]) -> Self:
        """Return the space with these sentences being no speech, as footers."""
        if not sentences or self.evidence is None:
            return self
        unread = frozenset(map(as_recurring, sentences))
        return replace(self, evidence=replace(self.evidence, unread=unread))

    def without_terms(self) -> Self:
        """Return the space without the terms of a collection."""
        if self.evidence is None or (own := self.evidence.base) is None:
            return self
        n = self.n_features - len(self.evidence.features) + len(own.features)
        return replace(
            self,
            labels=self.labels[:n],
            label_vectors=self.label_vectors[:n],
            calibration=self.calibration.first(n),
            evidence=own,
        )

    def encode(self, vectors: FloatArray) -> SparseCode:
        """Return the sparse codes (m) of embeddings (m, d), as wide as the space has features."""
        return replace(self.sae.encode(vectors), n_features=self.n_features)

    def number(self, feature: int | str) -> int:
        """Return the number of a feature given as 5, "#5" or by its name.

        UnknownConceptError if there is none, InvalidInputError if several have the name.
        """
        if isinstance(feature, str):
            digits = feature.removeprefix("#")
            is_number = digits.isascii() and digits.isdigit() and len(digits) <= MAX_DIGITS
            feature = int(digits) if is_number else self._named(feature)
        self.label(feature)
        return int(feature)

    def _named(self, name: str) -> int:
        """Return the feature whose own name this is, else the one that has it, too; concepts first."""
        wanted, ranked = name.casefold(), dict[tuple[bool, ...], list[int]]()
        for feature, label in enumerate(self.labels):
            if wanted in label.names:
                rank = label.text.casefold() != wanted, label.is_weak, label.method not in (CONCEPT, MANUAL)
                ranked.setdefault(rank, []).append(feature)
        several = ranked[min(ranked)] if ranked else []
        if len(several) != 1:
            shown = ", ".join(f"#{one} {self.labels[one].text!r}" for one in several[:8])
            found = f"several have this name: {shown}" if several else "no feature has this name"
            do = "Give its number. Run `saeindex features INDEX PHRASE` to find one."
            error = InvalidInputError if several else UnknownConceptError
            raise error(f"feature {name!r:.80}", found, do)
        return several[0]

    def label(self, feature: int) -> FeatureLabel:
        """Return a feature's label; raise UnknownConceptError outside 0 … n - 1."""
        do = "Give its number; index.concepts.find(PHRASE) finds one."
        check_kind(f"feature {feature!r:.80}", feature, Integral, do)
        if not 0 <= feature < self.n_features:
            asked = f"feature #{feature}"
            found = f"space {self.name!r} has features #0 to #{self.n_features - 1}"
            raise UnknownConceptError(asked, found, "Run `saeindex features INDEX PHRASE` to find one.")
        return self.labels[feature]

    def open_encoder(self, **options: Unpack[EncoderKeywords]) -> TextEncoder:
        """Open the encoder that this space was fitted on; raise MismatchError if its weights differ."""
        encoder = opened_as(self.encoder, **options)
        self.check_encoder(encoder)
        return encoder

    def check_encoder(self, encoder: TextEncoder) -> None:
        """Raise MismatchError unless ``encoder`` makes the vectors that this space was fitted on."""
        if not hasattr(encoder, "identity"):
            raise InvalidInputError("encoder", kind_of(encoder), "Give a TextEncoder, as open_encoder makes.")
        if differing := self.encoder.differences(encoder.identity):
            raise MismatchError(
                f"space {self.name!r} of {self.encoder.model!r} with encoder {encoder.identity.model!r}",
                "; ".join(
                    f"{key}: the space has {_brief(wanted)!r}, the encoder {_brief(found)!r}"
                    for key, (wanted, found) in differing.items()
                ),
                "Leave the encoder out: the space opens its own. `saeindex copy` goes to another one.",
            )

    @classmethod
    def unlabelled(
        cls,
        sae: SparseAutoencoder,
        encoder: EncoderIdentity,
        *,
        name: str,
        report: dict[str, Any],
        vectors: FloatArray | None = None,
    ) -> Self:
        """Make a space without texts: it has no labels, and levels only if ``vectors`` are given."""
        sae = sae.half()
        never = np.full(sae.n_features, np.inf, np.float32)
        calibration = Calibration(0, np.zeros(sae.n_features, np.float32), never, never.copy())
        if vectors is not None:
            calibration = Calibration.measure(sae.encode(vectors), vectors)
        labels = (FeatureLabel("unlabelled", "none"),) * sae.n_features
        return cls(name, encoder, sae, calibration, labels, np.zeros(sae.decoder.shape, np.float32), report)


def _brief(value: object) -> object:
    """Return a value of an encoder's identity as errors show it: of a hash, the beginning."""
    return f"{value[:15]}…" if isinstance(value, str) and value.startswith("sha256:") else value
