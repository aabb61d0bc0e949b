"""The fidelity report: how much of the embeddings a feature space preserves, on records it was not fitted on.

The embeddings are read block by block, and may be a memory-mapped file larger than memory. Neighbours and
rankings compare every record with every other; of more than 5,000 records a sample is compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from saeindex.errors import InvalidInputError, MismatchError
from saeindex.sae.metrics import (
    DensityHistogram,
    SeedStability,
    cosines,
    density_histogram,
    neighbour_overlap,
    nmse,
    relevance_ndcg,
    seed_stability,
    similarity_ndcg,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.features.space import Space
    from saeindex.sae.autoencoder import SparseAutoencoder
    from saeindex.types import FloatArray

NEIGHBOURS = 10
MIN_RECORDS = NEIGHBOURS + 1
MAX_COMPARED = 5_000
BLOCK = 4_096
LEVELS = (256, 1_024, 4_096)
ERROR_BINS = 40


@dataclass(frozen=True, slots=True, eq=False)
class Relevance:
    """Queries with known answers: embeddings (q, d), and for each query the rows of its relevant records."""

    queries: FloatArray
    relevant: Sequence[Sequence[int]]


@dataclass(frozen=True, slots=True)
class ErrorAtK:
    """NMSE with only the k strongest features, with refined amplitudes and with the encoder's amplitudes."""

    k: int
    nmse: float
    nmse_unrefined: float


@dataclass(frozen=True, slots=True)
class SpaceStability:
    """The share of a space's features that another space has too, for its first features and for all."""

    against: str
    levels: tuple[SeedStability, ...]


@dataclass(frozen=True, slots=True)
class FidelityReport:
    """All figures; errors are shares of the variance, neighbours and nDCG are among ``compared`` records.

    ``mean_of`` names the texts whose mean is x̄. ``dead_share`` is the share of features never active in
    ``records``. ``overlap`` searches reconstructions with reconstructed queries, ``overlap_dense_queries``
    with the embeddings. ``ndcg_retained`` uses the cosines of the embeddings as gains; or, if ``ndcg_of`` is
    "relevance", it is nDCG@10 by reconstruction over nDCG@10 by embedding. ``error_counts`` are records by
    their error, in bins between ``error_edges``; the last bin includes all larger errors.
    """

    space: str
    fingerprint: str
    n_features: int
    k: int
    records: int
    mean_of: str
    nmse: float
    nmse_unrefined: float
    cosine: float
    cosine_p5: float
    active: float
    dead_share: float
    density: DensityHistogram
    error_edges: tuple[float, ...]
    error_counts: tuple[int, ...]
    compared: int
    nmse_by_k: tuple[ErrorAtK, ...]
    overlap: float
    overlap_dense_queries: float
    ndcg_retained: float
    ndcg_retained_dense_queries: float
    ndcg_of: str
    ndcg_dense: float | None = None
    stability: tuple[SpaceStability, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON."""
        return asdict(self)

    def held_out(self) -> dict[str, float]:
        """Return the figures that a space's own report and its model card keep."""
        return {
            "nmse": self.nmse,
            "nmse_unrefined": self.nmse_unrefined,
            "cosine": self.cosine,
            "active": self.active,
            "dead_share": self.dead_share,
            "overlap10": self.overlap,
            "ndcg_retained": self.ndcg_retained,
        }


def measure_fidelity(
    space: Space,
    x: FloatArray,
    *,
    relevance: Relevance | None = None,
    against: Mapping[str, FloatArray] | None = None,
    seed: int = 0,
    progress: Callable[[int], object] = lambda _: None,
) -> FidelityReport:
    """Measure a space on embeddings ``x`` (m, d) of records, ideally records that it was not fitted on.

    ``against`` are the decoder directions (o, d) of other autoencoders over the same encoder, by name.
    ``progress(n)`` is called with the number of records just done. Raises InvalidInputError for another
    dimension, NaN, fewer than 11 records, or records that are all the same.
    """
    _check(space, x)
    for directions in (against or {}).values():
        _check_directions(space, directions)
    mean, mean_of = space.calibration.mean, "the calibration corpus"
    if mean is None:
        mean, mean_of = _mean(x), "the evaluated records"
    sums = _errors(space.sae, x, mean, progress)
    sample = np.sort(np.random.default_rng(seed).permutation(len(x))[:MAX_COMPARED])
    compared = np.asarray(x[sample], np.float32)
    reconstructed = space.sae.decode(space.sae.encode(compared))
    return FidelityReport(
        space=space.name,
        fingerprint=space.fingerprint,
        n_features=space.n_features,
        k=space.sae.k,
        records=len(x),
        mean_of=mean_of,
        **sums.figures(),
        compared=len(compared),
        nmse_by_k=_by_k(space.sae, compared, mean),
        overlap=neighbour_overlap(compared, reconstructed, NEIGHBOURS),
        overlap_dense_queries=neighbour_overlap(compared, reconstructed, NEIGHBOURS, compared),
        **_ranking(space.sae, x, compared, reconstructed, relevance),
        stability=tuple(
            SpaceStability(name, stability_by_level(space.sae.directions, directions))
            for name, directions in (against or {}).items()
        ),
    )


def stability_by_level(directions: FloatArray, other: FloatArray) -> tuple[SeedStability, ...]:
    """Return the stability of the first 256, 1,024 and 4,096 features, and of all (n, d) of them."""
    n = len(directions)
    prefixes = [level for level in LEVELS if level < n] + [n]
    return tuple(seed_stability(directions, other, prefix) for prefix in prefixes)


def one_shot(sae: SparseAutoencoder, k: int | None = None) -> SparseAutoencoder:
    """Return the autoencoder with the amplitudes of its encoder: no refinement, one round of selection."""
    plain = _truncated(sae, k or sae.k)
    plain.refine_steps = plain.support_rounds = 0
    return plain


def _truncated(sae: SparseAutoencoder, k: int) -> SparseAutoencoder:
    truncated = copy(sae)
    truncated.k = k
    return truncated


@dataclass(frozen=True, slots=True, eq=False)
class _Errors:
    """Per record (m,): squared errors and cosine; per feature (n,): the records in which it is active."""

    squared: FloatArray
    squared_unrefined: FloatArray
    cosine: FloatArray
    present: NDArray[np.int64]
    variance: float

    def figures(self) -> dict[str, Any]:
        records = len(self.squared)
        error = self.squared / self.variance
        last = max(float(np.quantile(error, 0.99)), 1e-6)
        edges = np.linspace(0, last, ERROR_BINS + 1)
        counts, _ = np.histogram(np.minimum(error, last), edges)
        return {
            "nmse": float(error.mean(dtype=np.float64)),
            "nmse_unrefined": float(self.squared_unrefined.mean(dtype=np.float64) / self.variance),
            "cosine": float(self.cosine.mean(dtype=np.float64)),
            "cosine_p5": float(np.quantile(self.cosine, 0.05)),
            "active": float(self.present.sum() / records),
            "dead_share": float((self.present == 0).mean()),
            "density": density_histogram(self.present / records),
            "error_edges": tuple(edges.tolist()),
            "error_counts": tuple(counts.tolist()),
        }


def _errors(
    sae: SparseAutoencoder, x: FloatArray, mean: FloatArray, progress: Callable[[int], object]
) -> _Errors:
    plain, present, variance = one_shot(sae), np.zeros(sae.n_features, np.int64), 0.0
    squared, unrefined, cosine = [], [], []
    for block in _blocks(x):
        code = sae.encode(block)
        reconstructed = sae.decode(code)
        squared.append(np.square(block - reconstructed).sum(1))
        unrefined.append(np.square(block - plain.decode(plain.encode(block))).sum(1))
        cosine.append(cosines(block, reconstructed))
        present += np.bincount(code.indices, minlength=sae.n_features)
        variance += float(np.square(block - mean).sum(dtype=np.float64))
        progress(len(block))
    if variance <= 0:
        raise InvalidInputError(f"a report on {len(x)} records", "all are the same", "Give other records.")
    parts = [np.concatenate(each) for each in (squared, unrefined, cosine)]
    return _Errors(parts[0], parts[1], parts[2], present, variance / len(x))


def _by_k(sae: SparseAutoencoder, x: FloatArray, mean: FloatArray) -> tuple[ErrorAtK, ...]:
    found = []
    for k in sorted({max(1, sae.k // 4), max(1, sae.k // 2), sae.k}):
        pair = (_truncated(sae, k), one_shot(sae, k))
        found.append(ErrorAtK(k, *(nmse(x, each.decode(each.encode(x)), mean) for each in pair)))
    return tuple(found)


def _ranking(
    sae: SparseAutoencoder,
    x: FloatArray,
    compared: FloatArray,
    reconstructed: FloatArray,
    relevance: Relevance | None,
) -> dict[str, Any]:
    if relevance is None:
        return {
            "ndcg_retained": similarity_ndcg(compared, reconstructed, NEIGHBOURS),
            "ndcg_retained_dense_queries": similarity_ndcg(compared, reconstructed, NEIGHBOURS, compared),
            "ndcg_of": "similarities",
        }
    documents = np.concatenate([sae.decode(sae.encode(block)) for block in _blocks(x)])
    dense = relevance_ndcg(relevance.queries, x, relevance.relevant, NEIGHBOURS)
    if not dense:
        raise InvalidInputError("nDCG retained", "the embeddings find nothing relevant", "Check the rows.")
    kept = [
        relevance_ndcg(queries, documents, relevance.relevant, NEIGHBOURS) / dense
        for queries in (sae.decode(sae.encode(relevance.queries)), relevance.queries)
    ]
    return {
        "ndcg_retained": kept[0],
        "ndcg_retained_dense_queries": kept[1],
        "ndcg_of": "relevance",
        "ndcg_dense": dense,
    }


def _blocks(x: FloatArray) -> Iterator[FloatArray]:
    for start in range(0, len(x), BLOCK):
        block = np.asarray(x[start : start + BLOCK], np.float32)
        is_finite = np.isfinite(block).all(1)
        if not is_finite.all():
            row = start + int(np.argmin(is_finite))
            raise InvalidInputError(
                f"a report on {len(x)} embeddings", f"NaN or infinity in row {row}", "Leave that row out."
            )
        yield block


def _mean(x: FloatArray) -> FloatArray:
    total = np.sum([block.sum(0, dtype=np.float64) for block in _blocks(x)], axis=0)
    mean: FloatArray = (total / len(x)).astype(np.float32)
    return mean


def _check(space: Space, x: FloatArray) -> None:
    wanted = space.sae.dimension
    if x.ndim != 2 or x.shape[1] != wanted or len(x) < MIN_RECORDS:
        raise InvalidInputError(
            f"a report on embeddings of shape {x.shape}",
            f"space {space.name!r} takes (m, {wanted})",
            f"Give {MIN_RECORDS} or more records, encoded by {space.encoder.model}.",
        )


def _check_directions(space: Space, directions: FloatArray) -> None:
    if directions.ndim != 2 or directions.shape[1] != space.sae.dimension:
        raise MismatchError(
            f"compare space {space.name!r} with directions of shape {directions.shape}",
            f"it has {space.sae.dimension} dimensions",
            "Compare autoencoders over one encoder.",
        )
