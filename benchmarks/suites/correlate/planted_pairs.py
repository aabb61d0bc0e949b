"""Planted pairs: records with two unrelated classes, among records of one class each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import data
from benchmarks.snapshots import as_indexed
from saeindex import FeatureSpace
from saeindex.concepts.inference import units
from saeindex.indexing.split import piece_id

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    from saeindex.collection.snapshot import Snapshot


RECORDS = 1_000
# The features of a class: the best three by correlation; a class whose best is below this is not planted.
FEATURES, MIN_CORRELATION = 3, 0.5
# Classes in the test of named pairs: 1,770 pairs.
CLASSES = 60


@dataclass(frozen=True, eq=False)
class Classes:
    """A corpus's texts by class, and each class's informative features, best first, from another part."""

    name: str
    texts: Mapping[str, Sequence[str]]
    features: Mapping[str, NDArray[np.int64]]
    named: Sequence[str]
    means: Mapping[str, NDArray[np.float64]]

    def unrelated(self, rng: np.random.Generator) -> tuple[str, str]:
        """Draw two classes without a common informative feature, and with dissimilar texts."""
        while True:
            a, b = (str(label) for label in rng.choice(self.named, 2, replace=False))
            is_alike = float(self.means[a] @ self.means[b]) > 0.0
            if not is_alike and not set(self.features[a]) & set(self.features[b]):
                return a, b


@dataclass(frozen=True, eq=False)
class Planted:
    """Records or documents of which ``count`` have texts of both classes ``a`` and ``b``.

    ``classes`` are those of each record.
    """

    snapshot: Snapshot
    a: str
    b: str
    count: int
    classes: Sequence[frozenset[str]]


def open_classes(name: str, field: str, part: str, space: FeatureSpace) -> Classes:
    """Read a part of a corpus; features are chosen on ``choose``, or on ``test`` if that is the part."""
    texts: dict[str, list[str]] = {}
    for record in data.read(name, part):
        texts.setdefault(record.metadata[field], []).append(record.text)
    texts.pop("oos", None)  # texts without a class
    other: list[str] = []
    labels: list[str] = []
    for record in data.read(name, "test" if part == "choose" else "choose"):
        other.append(record.text)
        labels.append(record.metadata[field])
    snapshot = of_texts(other, space)
    present = snapshot.at("typical")
    label_of_row = np.array(labels)[[int(one) for one in snapshot.ids]]
    features, named, means = {}, [], {}
    centred = snapshot.vectors - snapshot.vectors.mean(0)
    for label in sorted(texts):
        own = label_of_row == label
        if own.any():
            phi = correlation(present, own)
            means[label] = units(centred[own].mean(0))
            features[label] = np.argsort(-phi, kind="stable")[:FEATURES]
            if phi.max() >= MIN_CORRELATION:
                named.append(label)
    return Classes(name, texts, features, named, means)


def correlation(present: csr_matrix, own: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return phi of each column of ones (m, n) and membership (m,)."""
    m, size, shares = len(own), own.mean(), np.asarray(present.mean(0), np.float64).ravel()
    joint = np.asarray(present[own].sum(0), np.float64).ravel() / m
    spread = np.sqrt(size * (1 - size) * np.maximum(shares * (1 - shares), 1e-12))
    phi: NDArray[np.float64] = (joint - size * shares) / spread
    return phi


def of_texts(texts: Sequence[str], space: FeatureSpace) -> Snapshot:
    """Return texts as records named by their position, in a random order."""
    order = np.random.default_rng(0).permutation(len(texts))
    return as_indexed([texts[i] for i in order], [str(i) for i in order], space=space)


def planted_pairs(
    classes: Classes, counts: Sequence[int], repeats: int, space: FeatureSpace
) -> Iterator[Planted]:
    """Yield records of one text each, of which ``count`` are two texts of two unrelated classes, joined."""
    labelled = [(label, text) for label in sorted(classes.texts) for text in classes.texts[label]]
    for repeat in range(repeats):
        rng = np.random.default_rng([repeat, 7])
        a, b = classes.unrelated(rng)
        for count in counts:
            background = [labelled[i] for i in rng.permutation(len(labelled))[: RECORDS - count]]
            both = [f"{x.rstrip()} {y}" for x, y in joined(classes, a, b, count, rng)]
            texts = [text for _, text in background] + both
            sets = [frozenset([label]) for label, _ in background] + [frozenset([a, b])] * count
            snapshot = of_texts(texts, space)
            yield Planted(snapshot, a, b, count, [sets[int(one)] for one in snapshot.ids])


def planted_in_parts(classes: Classes, count: int, repeats: int, space: FeatureSpace) -> Iterator[Planted]:
    """Yield documents of two pieces of random classes, of which ``count`` have both planted classes."""
    for repeat in range(repeats):
        rng = np.random.default_rng([repeat, 11])
        a, b = classes.unrelated(rng)
        others = [label for label in classes.named if label not in (a, b)]
        used = [a, b, *(str(label) for label in rng.choice(others, CLASSES - 2, replace=False))]
        labelled = [(label, text) for label in used for text in classes.texts[label]]
        pairs: list[tuple[tuple[str, str], tuple[str, str]]] = []
        while len(pairs) < RECORDS - count:
            first, second = (labelled[int(i)] for i in rng.integers(len(labelled), size=2))
            if first[0] != second[0] and {first[0], second[0]} != {a, b}:
                pairs.append((first, second))
        pairs += [((a, x), (b, y)) for x, y in joined(classes, a, b, count, rng, in_order=True)]
        pairs = [pairs[i] for i in rng.permutation(len(pairs))]
        texts = [text for pair in pairs for _, text in pair]
        documents = [str(number) for number in range(len(pairs)) for _ in range(2)]
        ids = [piece_id(document, row % 2) for row, document in enumerate(documents)]
        snapshot = as_indexed(texts, ids, space=space)
        classes_of_rows = [frozenset([label]) for pair in pairs for label, _ in pair]
        yield Planted(replace(snapshot, documents=documents), a, b, count, classes_of_rows)


def joined(
    classes: Classes, a: str, b: str, count: int, rng: np.random.Generator, in_order: bool = False
) -> list[tuple[str, str]]:
    """Return ``count`` pairs of texts of the two classes, in either order unless ``in_order``."""
    first, second = (
        [classes.texts[label][int(i)] for i in rng.integers(len(classes.texts[label]), size=count)]
        for label in (a, b)
    )
    swapped = np.zeros(count, bool) if in_order else rng.random(count) < 0.5
    return [(y, x) if swap else (x, y) for x, y, swap in zip(first, second, swapped, strict=True)]
