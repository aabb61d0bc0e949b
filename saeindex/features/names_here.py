"""What features mean in a collection: its own words for them, and how well names hold there.

The words are those of a lexical label that is made on half of a sample of the collection's records, and
judged on the other half; the feature's own label is judged on all of them. Both are trusted as far as the
records allow: the AUROC of few records is drawn towards what is usual.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from saeindex.errors import InvalidInputError
from saeindex.features.calibration import Calibration
from saeindex.features.contrast_sets import auroc, contrast_sets
from saeindex.features.labels import MANUAL, MAX_ACTIVE, MEANING, TRUST_FLOOR, stems
from saeindex.sae.metrics import unit_rows
from saeindex.types import SparseCode

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    from saeindex.features.labels import FeatureLabel
    from saeindex.features.space import Space, SpaceT
    from saeindex.types import FloatArray

    Encode = Callable[[Sequence[str]], FloatArray]
    OwnWords = tuple[tuple[str, ...], float | None]

# Typical records that words are made from, and those that they are judged on; terms that are considered.
MIN_MADE, MIN_JUDGED, MAX_TERMS = 8, 5, 4_000
# The halves of a sample that words are made from and judged on.
MADE, JUDGED = slice(0, None, 2), slice(1, None, 2)
# How much better words must predict a feature than a given name does, to be shown beside it.
MIN_BETTER = 0.01
# An AUROC of so many records counts as much as what is usual.
USUAL_WEIGHT = 20
# The trust here from which a given name says well enough what a feature means.
SAYS_WELL = 0.9
# A feature that the collection has no words for.
NO_WORDS: OwnWords = ((), None)
# The share of a feature's records that are weaker than its clear ones.
CLEAR = 0.75


@dataclass(frozen=True, slots=True)
class NameHere:
    """What a feature means in a collection.

    ``words`` mark its ``records`` in the sample, the leading one first, and ``example`` is the id of the
    shortest of its clear records. ``trust`` is the AUROC of its label in this collection, ``trust_of_words``
    that of the words, alone or beside the label, on records that they were not made from; None where too few
    records have it.
    """

    words: tuple[str, ...]
    records: int
    trust: float | None = None
    trust_of_words: float | None = None
    example: str = ""

    def of(self, label: FeatureLabel) -> FeatureLabel:
        """Return the feature's label with what it means here, and an example.

        Words are shown that predict it here and that the label does not have; beside a given name, they must
        predict it better. How well a person's own name predicts it is not known.
        """
        says = self.trust is not None and self.trust >= TRUST_FLOOR and _is_said(label)
        needed = (self.trust or 0.0) + MIN_BETTER if says else TRUST_FLOOR
        predict = self.trust_of_words is not None and self.trust_of_words >= needed
        known = stems(label.text)
        new = tuple(word for word in self.words if predict and not stems(word) <= known)
        trusts = (self.trust, self.trust_of_words if predict else None)
        is_own = label.method == MANUAL
        trust = None if is_own else max((one for one in trusts if one is not None), default=None)
        return replace(label, here=new, trust_here=trust, example=self.example)


@dataclass(frozen=True, eq=False)
class CodedSample:
    """A random sample of a collection's records: ``ids``, texts, embeddings (m, d), and codes."""

    ids: Sequence[str]
    texts: Sequence[str]
    vectors: FloatArray
    code: SparseCode


def with_names_here(space: SpaceT, found: Mapping[int, NameHere]) -> SpaceT:
    """Return the space with labels that say what features mean in a collection."""
    labels = [
        found[feature].of(label) if feature in found else label for feature, label in enumerate(space.labels)
    ]
    return replace(space, labels=tuple(labels))


def names_here(space: Space, sample: CodedSample, encode: Encode, seed: int = 0) -> dict[int, NameHere]:
    """Return what features mean in a collection, by feature; ``encode`` embeds phrases as queries.

    Features of few records are left out. Words are not sought beside a given name that says it well.
    """
    typical = _typical(sample.code, space.calibration.median)
    features = np.flatnonzero(np.diff(typical[MADE].tocsc().indptr) >= MIN_MADE)
    records = np.diff(typical.tocsc().indptr)[features]
    own, levels = _of_features(sample.code, space.calibration, features)
    labels = [space.labels[feature] for feature in features.tolist()]
    given = np.array([label.trust or np.nan for label in labels], np.float64)
    names = unit_rows(np.asarray(space.label_vectors[features], np.float32))
    trust = _judged(names[None], sample.vectors, own, levels, given, seed)[0]
    is_said = np.array([_is_said(label) for label in labels], bool)
    unsaid = np.flatnonzero(~((trust >= SAYS_WELL) & is_said))
    usual = float(np.nanmean(trust)) if np.isfinite(trust).any() else np.nan
    found = _own_words(replace(sample, code=own), levels, unsaid, names, usual, encode, seed)
    own_words = dict(zip(unsaid.tolist(), found, strict=True))
    examples = [sample.ids[row] for row in _clear_examples(own, sample.texts)]
    names_of = {}
    for i, feature in enumerate(features.tolist()):
        words, worth = own_words.get(i, NO_WORDS)
        names_of[feature] = NameHere(words, int(records[i]), _score(trust[i]), worth, examples[i])
    return names_of


def _is_said(label: FeatureLabel) -> bool:
    """Return whether somebody named what the feature means."""
    return label.kind == MEANING and not label.is_composed


def _own_words(
    sample: CodedSample,
    levels: Calibration,
    features: NDArray[np.int64],
    names: FloatArray,
    usual: float,
    encode: Encode,
    seed: int,
) -> list[OwnWords]:
    """Return words of the collection for ``features``, and how well they predict, alone or beside the name.

    They are made on half of the sample and judged on the other half, and the score of few records is drawn
    towards the ``usual`` one of names; () where the texts share no words.
    """
    from saeindex.features.lexical import lexical_terms

    if not len(features):
        return []
    code, levels = _of_features(sample.code, levels, features)
    places = np.arange(len(sample.texts))
    known = _Known(encode)
    try:
        found = lexical_terms(
            sample.texts[MADE], sample.vectors[MADE], code.take(places[MADE]), levels, known, seed,
            min_active=MIN_MADE, max_terms=MAX_TERMS, is_quick=True,
        )  # fmt: skip
    except InvalidInputError:
        return [NO_WORDS] * len(features)
    alone = np.stack([known.mean(words, names.shape[1]) for words in found])
    either = np.stack([alone, unit_rows(names[features] + alone)])
    given = np.full(len(found), usual)
    worth = _judged(either, sample.vectors[JUDGED], code.take(places[JUDGED]), levels, given, seed).max(0)
    return [(words, _score(one) if words else None) for words, one in zip(found, worth, strict=True)]


def _clear_examples(code: SparseCode, texts: Sequence[str]) -> list[int]:
    """Return for each feature the shortest text among those where it is strongest."""
    columns, lengths = code.to_csr().tocsc(), np.array([len(text) for text in texts])
    found = []
    for feature in range(code.n_features):
        part = slice(*columns.indptr[feature : feature + 2])
        rows, values = columns.indices[part], columns.data[part]
        place = int(np.ceil(CLEAR * (len(values) - 1)))
        clear = rows[values >= np.partition(values, place)[place]]
        found.append(int(clear[np.argmin(lengths[clear])]))
    return found


def _judged(
    labels: FloatArray,
    vectors: FloatArray,
    code: SparseCode,
    calibration: Calibration,
    given: NDArray[np.float64],
    seed: int,
) -> NDArray[np.float64]:
    """Return the AUROC of each of ``labels`` (c, n, d), of few records drawn towards what is usual.

    That is the ``given`` score (n,), or the mean of all where it is NaN.
    """
    scores, counts = np.full(labels.shape[:2], np.nan), np.zeros(labels.shape[1])
    sets = contrast_sets(vectors, code, calibration, MAX_ACTIVE, seed, MIN_JUDGED)
    for i, contrast in enumerate(sets):
        if contrast is not None:
            scores[:, i] = auroc(vectors[contrast.texts] @ labels[:, i].T, contrast.is_active)
            counts[i] = contrast.is_active.sum()
    mean = np.nanmean(scores, 1, keepdims=True) if counts.any() else np.full((len(labels), 1), np.nan)
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
