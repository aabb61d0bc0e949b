"""Two indexes seen as one, to compare them: their records below each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from saeindex.analysis.stats.groups import Groups
from saeindex.errors import MismatchError

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from saeindex.collection.snapshot import Snapshot

MARKS = ("a:", "b:")


def joined(first: Snapshot, second: Snapshot) -> tuple[Snapshot, Groups]:
    """Return both snapshots as one, and each as a group; MismatchError where their spaces differ.

    The records' ids get the name of their group before them: both indexes may have the same ids.
    """
    from scipy.sparse import vstack

    ours, theirs = (one.space.fingerprint for one in (first, second))
    if ours != theirs:
        raise MismatchError(
            "a comparison of two indexes",
            f"they were built with different feature spaces or levels ({ours[:12]} and {theirs[:12]})",
            "Index both with one space, and calibrate neither or both alike.",
        )
    place = {word: column for column, word in enumerate(first.vocabulary)}
    for word in second.vocabulary:
        place.setdefault(word, len(place))
    moved = np.array([place[word] for word in second.vocabulary], np.int64)
    words = [_widened(first.words, None, len(place)), _widened(second.words, moved, len(place))]
    both = replace(
        first,
        ids=tuple(mark + one for mark, each in zip(MARKS, (first, second), strict=True) for one in each.ids),
        vectors=np.concatenate([first.vectors, second.vectors]),
        activations=vstack([first.activations, second.activations], "csr"),
        words=vstack(words, "csr"),
        vocabulary=tuple(place),
        lengths=np.concatenate([first.lengths, second.lengths]),
        metadata=[*first.metadata, *second.metadata],
        read_texts=partial(_texts, (first, second)),
        _levels={},
        _columns={},
    )
    end = len(first)
    return both, Groups(("a", "b"), (np.arange(end), np.arange(end, end + len(second))))


def _texts(snapshots: tuple[Snapshot, Snapshot], wanted: Sequence[str]) -> list[str]:
    """Return the texts of records, by their marked ids, from the index of each."""
    found: dict[str, str] = {}
    for mark, each in zip(MARKS, snapshots, strict=True):
        own = [one for one in wanted if one.startswith(mark)]
        found |= dict(zip(own, each.read_texts([one[len(mark) :] for one in own]), strict=True))
    return [found[one] for one in wanted]


def _widened(
    words: csr_matrix, moved: np.ndarray[tuple[int, ...], np.dtype[np.int64]] | None, width: int
) -> csr_matrix:
    from scipy.sparse import csr_matrix

    indices = words.indices if moved is None else moved[words.indices]
    return csr_matrix((words.data, indices, words.indptr), shape=(words.shape[0], width))
