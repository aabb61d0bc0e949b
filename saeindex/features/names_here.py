"""What features mean in a collection: its own words for them, and how well names hold there.

The words are those of a lexical label that is made on half of a sample of the collection's records, and
judged on the other half; the feature's own label is judged on all of them. Both are trusted as far as the
records allow: the AUROC of few records is drawn towards what is usual.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from saeindex.errors import InvalidInputError
from saeindex.features.calibration import Calibration
from saeindex.features.contrast_sets import auroc, contrast_sets
from saeindex.features.labels import MAX_ACTIVE
from saeindex.features.lexical import lexical_terms
from saeindex.sae.metrics import unit_rows
from saeindex.types import SparseCode

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    from saeindex.features.space import Space
    from saeindex.types import FloatArray

    Encode = Callable[[Sequence[str]], FloatArray]

# Typical records that words are made from, and those that they are judged on; terms that are considered.
MIN_MADE, MIN_JUDGED, MAX_TERMS = 8, 5, 4_000
# An AUROC of so many records counts as much as what is usual.
USUAL_WEIGHT = 20


@dataclass(frozen=True, slots=True)
class NameHere:
    """What a feature means in a collection.

    ``words`` mark its ``records`` in the sample, the leading one first. ``trust`` is the AUROC of its label
    in this collection, ``trust_of_words`` that of the words on records that they were not made from; None
    where too few records have it.
    """

    words: tuple[str, ...]
    records: int
    trust: float | None = None
    trust_of_words: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return asdict(self) | {"words": list(self.words)}

    @classmethod
    def from_json(cls, line: Mapping[str, Any]) -> Self:
        """Read the result of :meth:`to_json`."""
        words = tuple(map(str, line["words"]))
        return cls(words, int(line["records"]), line["trust"], line["trust_of_words"])


def names_here(
    space: Space, texts: Sequence[str], vectors: FloatArray, code: SparseCode, encode: Encode, seed: int = 0
) -> dict[int, NameHere]:
    """Return what features mean in a collection, from a random sample of its records: by feature.

    ``vectors`` (m, d) are the embeddings of the ``texts``, ``code`` their codes; ``encode`` embeds phrases as
    queries. Features of few records are left out.
    """
    typical = _typical(code, space.calibration.median)
    made, judged = np.arange(0, len(texts), 2), np.arange(1, len(texts), 2)
    features = np.flatnonzero(np.diff(typical[made].tocsc().indptr) >= MIN_MADE)
    records = np.diff(typical.tocsc().indptr)[features]
    own, levels = _of_features(code, space.calibration, features)
    known = _Known(encode)
    try:
        found = lexical_terms(
            [texts[i] for i in made.tolist()], vectors[made], own.take(made), levels, known, seed,
            min_active=MIN_MADE, max_terms=MAX_TERMS, is_quick=True,
        )  # fmt: skip
    except InvalidInputError:  # the texts share no words
        return {}
    of_words = np.stack([known.mean(words, vectors.shape[1]) for words in found]) if found else vectors[:0]
    given = np.array([space.labels[f].trust or np.nan for f in features.tolist()], np.float64)
    trust = _judged(space.label_vectors[features], vectors, own, levels, given, seed)
    of_half = own.take(judged)
    trust_of_words = _judged(of_words, vectors[judged], of_half, levels, np.full(len(found), np.nan), seed)
    return {
        feature: NameHere(words, int(count), _score(label), _score(worth) if words else None)
        for feature, words, count, label, worth in zip(
            features.tolist(), found, records, trust, trust_of_words, strict=True
        )
    }


def _judged(
    labels: FloatArray,
    vectors: FloatArray,
    code: SparseCode,
    calibration: Calibration,
    given: NDArray[np.float64],
    seed: int,
) -> NDArray[np.float64]:
    """Return the AUROC of each of ``labels`` (n, d), of few records drawn towards what is usual.

    That is the ``given`` score (n,), or the mean of all where it is NaN.
    """
    scores, counts = np.full(len(labels), np.nan), np.zeros(len(labels))
    sets = contrast_sets(vectors, code, calibration, MAX_ACTIVE, seed, MIN_JUDGED)
    for i, contrast in enumerate(sets):
        if contrast is not None:
            scores[i] = auroc(vectors[contrast.texts] @ labels[i][:, None], contrast.is_active)[0]
            counts[i] = contrast.is_active.sum()
    mean = np.nanmean(scores) if counts.any() else np.nan
    usual = np.where(np.isnan(given), mean, given)
    drawn: NDArray[np.float64] = np.nan_to_num(scores) * counts + usual * USUAL_WEIGHT
    return drawn / (counts + USUAL_WEIGHT)


def _score(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 4)


def _typical(code: SparseCode, median: FloatArray) -> csr_matrix:
    """Return where features are typical (m, n)."""
    matrix = code.to_csr().copy()
    matrix.data = (matrix.data >= median[matrix.indices]).astype(np.float32)
    matrix.eliminate_zeros()
    return matrix


def _of_features(
    code: SparseCode, calibration: Calibration, features: NDArray[np.int64]
) -> tuple[SparseCode, Calibration]:
    """Return the codes of some features only, renumbered, and their levels."""
    part = code.to_csr()[:, features].tocsr()
    part.sort_indices()
    indptr, indices = part.indptr.astype(np.int64), part.indices.astype(np.int32)
    levels = (getattr(calibration, name)[features] for name in ("density", "median", "p90"))
    return SparseCode(indptr, indices, part.data, len(features)), Calibration(calibration.records, *levels)


class _Known:
    """Encodes phrases, and keeps their vectors."""

    def __init__(self, encode: Encode) -> None:
        self._encode = encode
        self._vectors: dict[str, FloatArray] = {}

    def __call__(self, phrases: Sequence[str]) -> FloatArray:
        vectors = self._encode(phrases)
        self._vectors.update(zip(phrases, vectors, strict=True))
        return vectors

    def mean(self, phrases: Sequence[str], dimension: int) -> FloatArray:
        """Return the mean direction of phrases (d,), 0 of none."""
        if not phrases:
            return np.zeros(dimension, np.float32)
        total = np.stack([self._vectors[one] for one in phrases]).sum(0, keepdims=True)
        mean: FloatArray = unit_rows(total)[0]
        return mean
