"""A second space of an index: features of the tokens of its texts, which an encoder reads anyway.

The activations of a feature at a text's tokens are summed, and weigh as a word does by BM25:

    w = 1.15 t / (t + .15 (.25 + .75 l / L))        t the sum, l of L tokens on average

How rare a feature is, i = ln(1 + (N - n + .5) / (n + .5)) in n of the N texts that the space was fitted on,
stands in the query. So neither a filter nor the collection has a say in a score. (Features of the tokens of a
frozen encoder, summed and ranked so: Latent Terms, arXiv 2605.29384.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from saeindex.config import CAUSAL, READER
from saeindex.encoders import opened_as
from saeindex.errors import InvalidInputError, kind_of
from saeindex.features.space import Space
from saeindex.features.space_io import load_space, save_space
from saeindex.protocols import Point, SparseVector, TextEncoder, TokenReader
from saeindex.sae.pooling import Pool, Pooling, activations_of
from saeindex.types import Part, SparseCode

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.types import FloatArray, Ints

# Chosen, as the number of features, on questions of a `choose` part.
K1, B, MOST = 0.15, 0.75, 1.15


@dataclass(frozen=True, eq=False)
class ReaderSpace(Space):
    """Turns the tokens of texts into features, and says what they mean.

    ``encoder`` gives the tokens: that of the index, or a language model. ``pool`` says what the activations
    at a text's tokens become, ``most`` is the number of features of a text that are kept, ``length`` the mean
    number of tokens of the texts that ``calibration`` is of. Levels are of what features weigh in texts: the
    sum, as it says above, or else the pooled activation itself.
    """

    SETTINGS: ClassVar[tuple[str, ...]] = ("most", "length", "pool")

    most: int = 256
    length: float = 0.0
    pool: Pool = "sum"

    @cached_property
    def is_named(self) -> NDArray[np.bool_]:
        """Which features have a name that predicts them (n,)."""
        return ~self.has_weak_label

    @cached_property
    def rarity(self) -> FloatArray:
        """How much a feature says of a text that has it (n,)."""
        n = self.calibration.density * self.calibration.records
        found = np.log1p((self.calibration.records - n + 0.5) / (n + 0.5))
        return np.asarray(found, np.float32)

    def reading(self, encoder: TextEncoder) -> TokenReader:
        """Return what gives the tokens of texts: the encoder of an index, or the language model."""
        return tokens_of(self.model if self.encoder.kind == CAUSAL else encoder)

    @cached_property
    def model(self) -> TextEncoder:
        """The language model, which is loaded when it is first used."""
        return opened_as(self.encoder)

    def read(self, encoder: TextEncoder, texts: Sequence[str]) -> tuple[FloatArray | None, SparseCode]:
        """Return the weights of the features of texts, and, of one pass, the vectors (n, d) of its encoder.

        A language model gives no vectors of an index.
        """
        place = {text: row for row, text in enumerate(dict.fromkeys(texts))}
        pooling = Pooling(self.sae, len(place), self.pool)
        vectors = self.reading(encoder).read_document([*place], pooling.add)
        rows = np.array([place[text] for text in texts], np.int64)
        own = None if self.encoder.kind == CAUSAL else vectors[rows]
        return own, self.strongest(self.weighed(pooling.codes(), pooling.lengths)).take(rows)

    def weighed(self, code: SparseCode, lengths: Ints) -> SparseCode:
        """Return what features weigh in texts of so many tokens, by their pooled activations."""
        t, counts = code.values, np.diff(code.indptr)
        relative = np.repeat(0.25 + B * lengths / self.length, counts) if self.length else 1.0
        weights = (MOST * t / (t + K1 * relative)).astype(np.float32) if self.pool == "sum" else t
        return replace(code, values=weights)

    def strongest(self, code: SparseCode) -> SparseCode:
        """Return the features of texts that are kept: first those that are typical of a text."""
        weights, counts = code.values, np.diff(code.indptr)
        owners = np.repeat(np.arange(len(code)), counts)
        is_typical = weights >= self.calibration.median[code.indices]
        order = np.lexsort((-weights * self.rarity[code.indices], ~is_typical, owners))
        rank = np.arange(len(order)) - np.repeat(code.indptr[:-1], counts)
        kept = np.sort(order[rank < self.most])
        ends = np.concatenate([[0], np.cumsum(np.bincount(owners[kept], minlength=len(code)))])
        return SparseCode(ends.astype(np.int64), code.indices[kept], weights[kept], code.n_features)

    def asked(self, encoder: TextEncoder, text: str) -> AskedTokens:
        """Return what a query asks for."""
        reader, names = self.reading(encoder), list[str]()
        tokens = reader.read_query(text)
        active, first, end = activations_of(tokens, self.sae), list[int](), 0
        for place, (start, stop) in enumerate(reader.token_spans(text)[: len(tokens)]):
            if names and start == end and names[-1][-1:].isalnum() and text[start : start + 1].isalnum():
                names[-1] += text[start:stop]  # a word of several tokens
            else:
                names.append(text[start:stop].strip())
                first.append(place)
            end = stop
        total = active.sum(0)
        indices = np.flatnonzero(total)
        weights = total[indices] * self.rarity[indices]
        by_name = np.add.reduceat(active[:, indices], first, axis=0) if first else active[:, indices]
        shares = by_name / np.maximum(total[indices], 1e-9)
        values = (weights / max(1e-9, MOST * float(weights.sum()))).astype(np.float32)
        return AskedTokens(SparseVector(indices.astype(np.int32), values), tuple(names), shares)

    def save(self, path: str | Path) -> Path:
        """Write the directory under a temporary name, then rename it over ``path``."""
        return save_space(self, Path(path))

    @classmethod
    def load(cls, name_or_path: str | Path) -> Self:
        """Load a space that comes with the package, by name, or one from a directory."""
        return load_space(name_or_path, cls)


@dataclass(frozen=True, eq=False)
class AskedTokens:
    """The features that a query asks for.

    The weights ``vector`` of its k features sum to 1 / 1.15, so that no score is above 1; ``shares`` (w, k)
    says how much of each comes from each of its ``words``.
    """

    vector: SparseVector
    words: tuple[str, ...]
    shares: FloatArray

    def parts(self, vector: SparseVector, point: Point) -> list[Part]:
        """Return what each word adds to a point's score by a multiple of these weights, largest first."""
        own = point.vectors.get(READER)
        if not isinstance(own, SparseVector):
            return []
        _, ours, theirs = np.intersect1d(vector.indices, own.indices, assume_unique=True, return_indices=True)
        values = self.shares[:, ours] @ (vector.values[ours] * own.values[theirs])
        found = zip(self.words, values.tolist(), strict=True)
        return sorted((Part("reader", None, *one) for one in found if one[1]), key=lambda part: -part.value)


def reader_beside(space: Space) -> ReaderSpace | None:
    """Return the reader of the space of an index, if it has one."""
    return space.reader if isinstance(space.reader, ReaderSpace) else None


def tokens_of(encoder: TextEncoder) -> TokenReader:
    """Return an encoder that gives the vectors of tokens; InvalidInputError if it does not."""
    if not isinstance(encoder, TokenReader):
        do = "Use a model of sentence-transformers; services give vectors of texts alone."
        raise InvalidInputError("a reader", f"{kind_of(encoder)}, which gives no tokens", do)
    return encoder
