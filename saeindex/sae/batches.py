"""Batches of training embeddings, from an array in memory or a memory-mapped file larger than memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from saeindex.types import FloatArray, Ints

BUFFER_BYTES = 2**30
# Rows that are read together, with one seek per block instead of one per row.
BLOCK = 512


class Batches:
    """Batches of embeddings; batch i depends only on the seed and i, so a resumed training sees the same.

    An epoch visits every row once, except for a remainder of less than a batch in each buffer. If the rows
    exceed ``buffer_bytes``, they are read in shuffled blocks, and shuffled again within a buffer.
    """

    def __init__(
        self,
        x: FloatArray,
        batch_size: int,
        seed: int,
        rows: Ints | None = None,
        buffer_bytes: int = BUFFER_BYTES,
    ) -> None:
        """``x`` are embeddings (m, d), ``rows`` ascending rows to use; fewer than a batch are resampled."""
        self._x, self._batch_size, self._seed = x, batch_size, seed
        self._rows = np.arange(len(x)) if rows is None else rows
        buffered = max(1, buffer_bytes // (BLOCK * x.shape[1] * 4)) * BLOCK
        self._is_whole = len(self._rows) <= buffered
        self._per_read = len(self._rows) if self._is_whole else buffered
        self._buffers = len(self._rows) // self._per_read
        self._per_buffer = max(1, self._per_read // batch_size)
        self._filled: tuple[int, int] | None = None
        self._buffer: FloatArray = np.empty((0, x.shape[1]), np.float32)

    def __getitem__(self, step: int) -> Tensor:
        """Return the batch (b, d) float32 of a step."""
        epoch, place = divmod(step, self._buffers * self._per_buffer)
        buffer, batch = divmod(place, self._per_buffer)
        order = self._fill(epoch, buffer)
        rows = order[batch * self._batch_size : (batch + 1) * self._batch_size]
        if len(rows) < self._batch_size:
            rows = np.random.default_rng((self._seed, step)).integers(len(order), size=self._batch_size)
        return torch.from_numpy(self._buffer[rows])

    def _fill(self, epoch: int, buffer: int) -> Ints:
        """Read a buffer, unless it is loaded, and return the order of its rows."""
        if self._filled != (epoch, buffer):
            if not self._is_whole:
                self._buffer = np.asarray(self._x[self._blocks(epoch, buffer)], np.float32)
            elif not len(self._buffer):
                self._buffer = np.asarray(self._x[self._rows], np.float32)
            self._order = np.random.default_rng((self._seed, epoch, buffer)).permutation(len(self._buffer))
            self._filled = (epoch, buffer)
        return self._order

    def _blocks(self, epoch: int, buffer: int) -> Ints:
        """Return the ascending rows of a buffer: whole blocks of adjacent rows, reshuffled in each epoch."""
        blocks = np.random.default_rng((self._seed, epoch)).permutation(len(self._rows) // BLOCK)
        here = self._per_read // BLOCK
        starts = np.sort(blocks[buffer * here : (buffer + 1) * here]) * BLOCK
        places: Ints = (starts[:, None] + np.arange(BLOCK)).ravel()
        return self._rows[places]


def sample(x: FloatArray, size: int, seed: int, rows: Ints | None = None) -> FloatArray:
    """Return at most ``size`` random rows of ``x`` (m, d), or of its ``rows``, in ascending order."""
    among = np.arange(len(x)) if rows is None else rows
    chosen = np.random.default_rng(seed).choice(among, min(size, len(among)), replace=False)
    return np.asarray(x[np.sort(chosen)], np.float32)
