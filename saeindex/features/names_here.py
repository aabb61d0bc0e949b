"""What features mean in a collection: its own words for them, and how well names hold there.

The words are those of a lexical label that is made on half of a sample of the collection's records. Of a
composed label that fails here, some terms may hold. What reads a feature best (the words alone or beside the
label, or such terms) is chosen on the same half, and judged on the other; the feature's own label is judged
on all records. All are trusted as far as the records allow: the AUROC of few records is drawn towards what is
usual.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from saeindex.errors import InvalidInputError
from saeindex.features.calibration import Calibration
from saeindex.features.contrast_sets import auroc, contrast_sets
from saeindex.features.labels import MANUAL, MAX_ACTIVE, MEANING, SPELLING, TERM, TRUST_FLOOR, stems
from saeindex.sae.metrics import unit_rows
from saeindex.types import SparseCode

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    from saeindex.features.labels import FeatureLabel
    from saeindex.features.space import Space, SpaceT
    from saeindex.types import FloatArray

    Encode = Callable[[Sequence[str]], FloatArray]

# Typical records that words are made from, and those that they are judged on; terms that are considered.
MIN_MADE, MIN_JUDGED, MAX_TERMS = 8, 5, 4_000
# The halves of a sample that words are made from and judged on.
MADE, JUDGED = slice(0, None, 2), slice(1, None, 2)
# To be shown beside a given name, words must predict a feature so much better.
# Beside a composed label, they may do so much worse.
MIN_BETTER = 0.01
# The weight of a label beside words.
BESIDE = 2.0
# How much of a label's luck on the half that judges is taken from what is judged beside it: then the trust of
# readings of labels that fail, .825 on average over ten corpora, is what they have on further records (.828).
# Without, it is .838 for .807.
LUCK = 0.5
# An AUROC of so many records counts as much as what is usual.
USUAL_WEIGHT = 20
# The trust here from which a given name says well enough what a feature means.
SAYS_WELL = 0.9
# The share of a feature's records that are weaker than its clear ones.
CLEAR = 0.75


@dataclass(frozen=True, slots=True)
class NameHere:
    """What a feature means in a collection.

    ``words`` mark its ``records`` in the sample, the leading one first, and ``example`` is the id of the
    shortest of its clear records. ``trust`` is the AUROC of its label in this collection, ``trust_read`` that
    of the words, alone or beside the label, on records that they were not made from; None where too few
    records have it. ``part`` is what a composed label that fails is cut to: terms that hold without words, or
    () where the words hold without it.
    """

    words: tuple[str, ...]
    records: int
    trust: float | None = None
    trust_read: float | None = None
    example: str = ""
    part: tuple[str, ...] | None = None

    def of(self, label: FeatureLabel) -> FeatureLabel:
        """Return the feature's label with what it means here, and an example.

        Words are shown that the label does not have, if it predicts about as well with them, and a given name
        better. How well a person's own name predicts it is not known.
        """
        holds = self.trust is not None and self.trust >= TRUST_FLOOR and label.kind != SPELLING
        more = MIN_BETTER if _is_said(label) else -MIN_BETTER
        needed = (self.trust or 0.0) + more if holds else TRUST_FLOOR
        applies = self.part is None or label.is_composed
        predicts = applies and self.trust_read is not None and self.trust_read >= needed
        part = TERM.join(self.part) if predicts and self.part is not None else None
        known = stems(label.text if part is None else part)
        new = tuple(word for word in self.words if predicts and not stems(word) <= known)
        trusts = (self.trust, self.trust_read if predicts else None)
        is_own = label.method == MANUAL
        trust = None if is_own else max((one for one in trusts if one is not None), default=None)
        return replace(label, part=part, here=new, trust_here=trust, example=self.example)


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
    code, own_levels = _of_features(own, levels, unsaid)
    asked = _Asked([labels[i] for i in unsaid], names[unsaid], trust[unsaid], usual, code, own_levels)
    readings = dict(zip(unsaid.tolist(), _readings(sample, asked, encode, seed), strict=True))
    examples = [sample.ids[row] for row in _clear_examples(own, sample.texts)]
    names_of = {}
    for i, feature in enumerate(features.tolist()):
        read = readings.get(i, NOTHING)
        names_of[feature] = NameHere(
            read.words, int(records[i]), _score(trust[i]), read.trust, examples[i], read.part
        )
    return names_of


def _is_said(label: FeatureLabel) -> bool:
    """Return whether somebody named what the feature means."""
    return label.kind == MEANING and not label.is_composed


@dataclass(frozen=True, eq=False)
class _Asked:
    """Features that something is sought for: labels, their embeddings (n, d), their trust here (n,).

    ``usual`` is what labels are trusted here, ``code`` and ``levels`` are those of the features.
    """

    labels: Sequence[FeatureLabel]
    names: FloatArray
    trust: NDArray[np.float64]
    usual: float
    code: SparseCode
    levels: Calibration

    def judged(
        self, readings: FloatArray, sample: CodedSample, half: slice, seed: int
    ) -> NDArray[np.float64]:
        """Return the AUROC of readings (c, n, d) on half of the sample, of few drawn to the usual (c, n)."""
        code = self.code.take(np.arange(len(sample.texts))[half])
        usual = np.full(len(self.labels), self.usual)
        return _judged(readings, sample.vectors[half], code, self.levels, usual, seed)


class _Reading(NamedTuple):
    """One way to say what a feature means: see ``NameHere``; ``label_weight`` is 0 of words alone."""

    words: tuple[str, ...] = ()
    part: tuple[str, ...] | None = None
    label_weight: float = 0.0
    trust: float | None = None


NOTHING = _Reading()


def _readings(sample: CodedSample, asked: _Asked, encode: Encode, seed: int) -> list[_Reading]:
    """Return what says best what each feature means, beside its label, and how well it predicts.

    It is chosen on half of the sample and judged on the other half, less part of the label's luck there.
    """
    if not asked.labels:
        return []
    known = _Known(encode)
    words = _own_words(sample, asked, known, seed)
    fails = [
        label.kind == SPELLING or trust < TRUST_FLOOR
        for label, trust in zip(asked.labels, asked.trust, strict=True)
    ]
    terms = [label.terms if fail else () for label, fail in zip(asked.labels, fails, strict=True)]
    known(list(dict.fromkeys(term for own in terms for term in own if len(own) > 1)))
    readings = [_options(*one) for one in zip(words, terms, asked.labels, fails, strict=True)]
    vectors = np.zeros((max(1, *map(len, readings)), *asked.names.shape), np.float32)
    for i, (own, name) in enumerate(zip(readings, asked.names, strict=True)):
        for j, one in enumerate(own):
            said = known.mean(one.words or one.part or (), len(name))
            vectors[j, i] = unit_rows((one.label_weight * name + said)[None])[0]
    made = asked.judged(vectors, sample, MADE, seed)
    best = [int(np.argmax(made[: len(own), i])) if own else 0 for i, own in enumerate(readings)]
    chosen = vectors[best, np.arange(len(best))]
    of_chosen, of_names = asked.judged(np.stack([chosen, asked.names]), sample, JUDGED, seed)
    worth = of_chosen + LUCK * (asked.trust - of_names)
    return [
        own[at]._replace(trust=_score(one)) if own else NOTHING
        for own, at, one in zip(readings, best, worth, strict=True)
    ]


def _options(
    words: tuple[str, ...], terms: tuple[str, ...], label: FeatureLabel, fails: bool
) -> list[_Reading]:
    """Return what may say what a feature means: ``words`` beside its label, or alone where that fails.

    What is named by its spelling means what words alone say, or nothing.
    """
    parts = [part for size in range(1, len(terms)) for part in combinations(terms, size)]
    alone = [_Reading(words, () if label.is_composed else None)] if words and fails else []
    if label.kind == SPELLING:
        return alone
    beside = [_Reading(words, label_weight=BESIDE)] if words else []
    return [*(_Reading((), part) for part in parts), *alone, *beside]


def _own_words(sample: CodedSample, asked: _Asked, encode: Encode, seed: int) -> list[tuple[str, ...]]:
    """Return words of the collection for the features, made on half of the sample; () without any."""
    from saeindex.features.lexical import lexical_terms

    code = asked.code.take(np.arange(len(sample.texts))[MADE])
    try:
        return lexical_terms(
            sample.texts[MADE], sample.vectors[MADE], code, asked.levels, encode, seed,
            min_active=MIN_MADE, max_terms=MAX_TERMS, is_quick=True,
        )  # fmt: skip
    except InvalidInputError:
        return [()] * len(asked.labels)


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
