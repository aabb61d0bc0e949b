"""Conceptuality: how well some set of WordNet's synsets describes where a feature is at least typical.

The sets are subtrees of the hierarchy and lexicographer files ("tree"), words of the definition ("word"), and
the first three letters of the lemmas ("spelling"). A feature's best set has the highest F1 on the
`choose` part, and its F1 is taken on the `test` part. A feature whose best set of all is one of spellings
answers to how words are written.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_matrix

from benchmarks import data
from benchmarks.vocabulary import TOKEN

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.protocols import TextEncoder
    from saeindex.sae.autoencoder import SparseAutoencoder
    from saeindex.types import FloatArray, Record

KINDS = ("tree", "word", "spelling")
PREFIX, SEED = 3, 0
# Synsets that a set, and a feature, must have in each part.
MIN_MEMBERS, MIN_ACTIVE = 2, 5


@dataclass(frozen=True, slots=True, eq=False)
class SynsetSets:
    """Sets (s) of synsets: ``kinds`` and ``names`` (s,), and which synsets are in them (m, s)."""

    vectors: FloatArray
    is_test: NDArray[np.bool_]
    kinds: NDArray[np.str_]
    names: NDArray[np.str_]
    members: csr_matrix

    @classmethod
    def read(cls, encoder: TextEncoder, parts: Sequence[str] = ("choose", "test")) -> SynsetSets:
        """Read the synsets: the first of the parts chooses, the last judges; one part is divided in two."""
        records = [record for part in parts for record in data.read("oewn", part)]
        is_test = np.array([record.metadata["part"] == parts[-1] for record in records])
        if len(parts) == 1:
            is_test = half(len(records))
        return cls.of(records, encoder.encode_document([record.text for record in records]), is_test)

    @classmethod
    def of(
        cls,
        records: Sequence[Record],
        vectors: FloatArray,
        is_test: NDArray[np.bool_],
        min_members: int = MIN_MEMBERS,
    ) -> SynsetSets:
        """Build every set that has enough synsets that choose, and that judge."""
        from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

        broader = {record.id: record.metadata["hypernyms"] for record in data.read("oewn")}
        sets: dict[tuple[str, str], list[int]] = defaultdict(list)
        for row, record in enumerate(records):
            described = record.metadata
            for above in _above(record.id, broader):
                sets["tree", above].append(row)
            sets["tree", described["lexfile"]].append(row)
            for word in set(TOKEN.findall(described["definition"].lower())) - ENGLISH_STOP_WORDS:
                sets["word", word].append(row)
            for beginning in {lemma[:PREFIX].lower() for lemma in described["lemmas"]}:
                sets["spelling", beginning].append(row)
        kept = {
            name: rows
            for name, rows in sets.items()
            if min_members <= is_test[rows].sum() <= len(rows) - min_members
        }
        rows = np.concatenate([np.array(own) for own in kept.values()])
        columns = np.repeat(np.arange(len(kept)), [len(own) for own in kept.values()])
        members = csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), (len(records), len(kept)))
        kinds, names = (np.array(parts) for parts in zip(*kept, strict=True))
        return cls(vectors, is_test, kinds, names, members)

    def without(self, synsets: Iterable[str]) -> NDArray[np.bool_]:
        """Return the subtrees (s,) that are of none of these synsets."""
        is_tree = self.kinds == "tree"
        is_kept: NDArray[np.bool_] = is_tree & ~np.isin(self.names, sorted(synsets))
        return is_kept


@dataclass(frozen=True, slots=True, eq=False)
class Described:
    """For each feature its best set of each kind: the set (k, n), -1 for none, and F1 on both parts (k, n).

    ``is_live`` (n,) are the features that enough synsets have.
    """

    sets: NDArray[np.int64]
    chosen_by: NDArray[np.float64]
    f1: NDArray[np.float64]
    is_live: NDArray[np.bool_]

    def best(self) -> NDArray[np.int64]:
        """Return the kind (n,) of the best set of each feature, by the part that chooses."""
        kinds: NDArray[np.int64] = self.chosen_by.argmax(0)
        return kinds

    def is_spelling(self) -> NDArray[np.bool_]:
        """Return the live features (n,) whose best set is one of spellings."""
        is_spelling: NDArray[np.bool_] = self.is_live & (self.best() == KINDS.index("spelling"))
        return is_spelling

    def is_confirmed_spelling(self) -> NDArray[np.bool_]:
        """Return those of them for which spelling is the best description on the part that judges, too."""
        is_confirmed: NDArray[np.bool_] = self.is_spelling() & (self.f1.argmax(0) == KINDS.index("spelling"))
        return is_confirmed

    def best_f1(self) -> NDArray[np.float64]:
        """Return the F1 (n,) of the best set of each feature, on the part that judges."""
        return np.asarray(np.take_along_axis(self.f1, self.best()[None], 0)[0])

    def means(self) -> dict[str, float]:
        """Return the mean F1 by kind and of the best, over live features, and the share of spellings."""
        live = self.is_live
        by_kind = {kind: float(f1[live].mean()) for kind, f1 in zip(KINDS, self.f1, strict=True)}
        spelling = float(self.is_spelling()[live].mean())
        return by_kind | {"best": float(self.best_f1()[live].mean()), "spelling_share": spelling}


def half(count: int) -> NDArray[np.bool_]:
    """Return which of ``count`` synsets (m,) judge, a random half."""
    is_test = np.arange(count) >= count // 2
    return np.random.default_rng(SEED).permutation(is_test)


def described(
    sae: SparseAutoencoder,
    typical: FloatArray,
    sets: SynsetSets,
    among: Sequence[NDArray[np.bool_]] | None = None,
) -> Described:
    """Describe the features of an autoencoder, which are typical from ``typical`` (n,) on.

    ``among`` are the sets (s,) of each kind, by default all.
    """
    has = typical_in(sae, typical, sets.vectors)
    choosing, judging = (_f1(has[part], sets.members[part]) for part in (~sets.is_test, sets.is_test))
    among = among or [sets.kinds == kind for kind in KINDS]
    chosen = [np.where(kept, choosing, -1).argmax(1) for kept in among]
    rows = np.arange(len(choosing))
    counts = [np.asarray(has[part].sum(0)).ravel() for part in (~sets.is_test, sets.is_test)]
    return Described(
        np.stack(chosen),
        np.stack([choosing[rows, own] for own in chosen]).astype(np.float64),
        np.stack([judging[rows, own] for own in chosen]).astype(np.float64),
        np.minimum(*counts) >= MIN_ACTIVE,
    )


def typical_in(sae: SparseAutoencoder, typical: FloatArray, vectors: FloatArray) -> csr_matrix:
    """Return the features that are typical, from ``typical`` (n,) on, in each of the embeddings (m, n)."""
    active = sae.encode(vectors).to_csr().tocoo()
    kept = active.data >= typical[active.col]
    return csr_matrix((np.ones(kept.sum(), np.float32), (active.row[kept], active.col[kept])), active.shape)


def _f1(has: csr_matrix, members: csr_matrix) -> FloatArray:
    """Return F1 (n, s) of every feature (m, n) as a description of every set (m, s), and the other way."""
    both = (has.T @ members).toarray()
    sizes = np.asarray(has.sum(0)).T + np.asarray(members.sum(0))
    f1: FloatArray = 2 * both / np.maximum(sizes, 1)
    return f1


def _above(synset: str, broader: dict[str, list[str]]) -> set[str]:
    """Return the synset and all that is broader."""
    found, ahead = {synset}, [synset]
    while ahead:
        for one in broader.get(ahead.pop(), []):
            if one not in found:
                found.add(one)
                ahead.append(one)
    return found
