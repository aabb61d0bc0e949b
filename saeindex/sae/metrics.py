"""Measures of the error of sparse codes, and of the stability of dictionaries between trainings.

Plain functions on arrays: errors, neighbours, decoder directions. Similarities are
cosines, as in the store. All functions work in blocks: memory grows with the rows, not with their square.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from saeindex.errors import InvalidInputError

if TYPE_CHECKING:
    from saeindex.sae.autoencoder import SparseAutoencoder
    from saeindex.types import FloatArray, Ints

QUERY_BLOCK, BLOCK = 512, 4_096
# Decoder cosine from which a feature recurs in another dictionary; chance gives far lower cosines.
RECURS = 0.7
# Maximum number of features of an assignment, whose matrix of all pairs in double precision takes 2 GB.
MAX_ASSIGNED = 16_384


# Errors -----------------------------------------------------------------------------------------------


def nmse(x: FloatArray, reconstructed: FloatArray, fit_mean: FloatArray) -> float:
    """Return mean |x - x̂|² / mean |x - x̄|², with x̄ the mean of the *fit* records."""
    error = np.square(x - reconstructed).sum(1).mean()
    return float(error / np.square(x - fit_mean).sum(1).mean())


def cosines(x: FloatArray, reconstructed: FloatArray) -> FloatArray:
    """Return cos(x, x̂) (m,) of each row; 0 if x or x̂ is 0."""
    dot = np.einsum("ij,ij->i", x, reconstructed)
    norms = np.linalg.norm(x, axis=1) * np.linalg.norm(reconstructed, axis=1)
    return np.asarray(np.divide(dot, norms, out=np.zeros_like(norms), where=norms > 0))


def errors(
    sae: SparseAutoencoder,
    x: FloatArray,
    mean: FloatArray,
    progress: Callable[[int], object] = lambda _: None,
) -> dict[str, float]:
    """Return the errors of the codes of embeddings (m, d), read block by block; ``mean`` (d,) is x̄ of NMSE.

    ``nmse``, the mean and the 5th percentile of the cosine, the mean number of active features, and the share
    of those that are never active. InvalidInputError for NaN, and where all embeddings are the mean.
    """
    squared = variance = 0.0
    present, cosine = np.zeros(sae.n_features, np.int64), [np.zeros(0, np.float32)]
    for start in range(0, len(x), BLOCK):
        block = np.asarray(x[start : start + BLOCK], np.float32)
        if not (is_finite := np.isfinite(block).all(1)).all():
            found = f"NaN or infinity in row {start + int(np.argmin(is_finite))}"
            raise InvalidInputError(f"a report on {len(x)} embeddings", found, "Leave that row out.")
        code = sae.encode(block)
        reconstructed = sae.decode(code)
        squared += float(np.square(block - reconstructed).sum(dtype=np.float64))
        variance += float(np.square(block - mean).sum(dtype=np.float64))
        cosine.append(cosines(block, reconstructed))
        present += np.bincount(code.indices, minlength=sae.n_features)
        progress(len(block))
    if variance <= 0:
        raise InvalidInputError(f"a report on {len(x)} records", "all are the same", "Give other records.")
    every = np.concatenate(cosine)
    return {
        "nmse": squared / variance,
        "cosine": float(every.mean(dtype=np.float64)),
        "cosine_p5": float(np.quantile(every, 0.05)),
        "active": float(present.sum() / len(x)),
        "dead_share": float((present == 0).mean()),
    }


def fidelity(sae: SparseAutoencoder, x: FloatArray, fit_mean: FloatArray) -> dict[str, float]:
    """Return NMSE, mean cosine and the mean number of active features on held-out embeddings (m, d)."""
    found = errors(sae, x, fit_mean)
    return {name: found[name] for name in ("nmse", "cosine", "active")}


# Neighbours -------------------------------------------------------------------------------------------


def nearest(queries: FloatArray, documents: FloatArray, k: int = 10, *, without_itself: bool = False) -> Ints:
    """Return the rows (q, k) of ``documents`` (m, d) nearest to ``queries`` (q, d) by cosine, best first.

    ``without_itself`` leaves out document i for query i. InvalidInputError if fewer than k are left.
    """
    if k > len(documents) - without_itself:
        raise InvalidInputError(f"the {k} nearest", f"{len(documents)} records", "Give more records.")
    against, found = unit_rows(documents).T, np.zeros((len(queries), k), np.int64)
    for start in range(0, len(queries), QUERY_BLOCK):
        similarity = unit_rows(queries[start : start + QUERY_BLOCK]) @ against
        if without_itself:
            rows = np.arange(len(similarity))
            similarity[rows, start + rows] = -2  # below every cosine
        some = np.sort(np.argpartition(-similarity, k - 1, axis=1)[:, :k], axis=1)
        order = np.argsort(-np.take_along_axis(similarity, some, 1), axis=1, kind="stable")
        found[start : start + QUERY_BLOCK] = np.take_along_axis(some, order, 1)
    return found


def neighbour_overlap(
    x: FloatArray, reconstructed: FloatArray, k: int = 10, queries: FloatArray | None = None
) -> float:
    """Return the mean share of the k nearest neighbours in ``x`` (m, d) also found in ``reconstructed``.

    The queries there are ``queries`` (m, d), else the reconstructions. A record is not its own neighbour.
    """
    true = nearest(x, x, k, without_itself=True)
    searched = reconstructed if queries is None else queries
    found = nearest(searched, reconstructed, k, without_itself=True)
    return float((true[:, :, None] == found[:, None, :]).any(2).mean())


def unit_rows(x: FloatArray) -> FloatArray:
    """Return rows (m, d) of length 1; a row of zeros stays one."""
    return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True).clip(1e-12))


# Stability --------------------------------------------------------------------------------------------


def seed_stability(
    directions: FloatArray, other: FloatArray, prefix: int | None = None, threshold: float = RECURS
) -> float:
    """Return the share of the first ``prefix`` (None: all) of ``directions`` (n, d) that recur in ``other``.

    They are matched one to one with directions (o, d), so that the summed cosine is largest (the Hungarian
    algorithm), and recur at a cosine above ``threshold``. Raises InvalidInputError above 16,384 features.
    """
    from scipy.optimize import linear_sum_assignment

    if directions.shape[1] != other.shape[1] or max(len(directions), len(other)) > MAX_ASSIGNED:
        asked = f"compare dictionaries of shape {directions.shape} and {other.shape}"
        do = "Give smaller autoencoders, or autoencoders over the same encoder."
        raise InvalidInputError(asked, f"different dimensions, or more than {MAX_ASSIGNED:,} features", do)
    cosine = unit_rows(directions[:prefix]) @ unit_rows(other).T
    pairs = cosine[linear_sum_assignment(cosine, maximize=True)]
    return float((pairs > threshold).sum() / len(cosine))
