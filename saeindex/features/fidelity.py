"""The fidelity report: how much of the embeddings a feature space preserves, on records it was not fitted on.

The embeddings are read block by block, and may be a memory-mapped file larger than memory. For
neighbours every record is compared with every other; of more than 5,000 records a sample.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from saeindex.errors import InvalidInputError
from saeindex.sae.metrics import errors, neighbour_overlap, seed_stability
from saeindex.schema import Result

if TYPE_CHECKING:
    from saeindex.features.space import Space
    from saeindex.sae.autoencoder import SparseAutoencoder
    from saeindex.types import FloatArray

NEIGHBOURS = 10
MIN_RECORDS = NEIGHBOURS + 1
MAX_COMPARED = 5_000
# Bounds of NMSE, judged on the corpora of our own benchmark: the default space reaches the first, a space on
# texts of another kind the second; above the third, steering and explanations say little about the text.
JUDGED = ((0.2, "faithful"), (0.3, "usable"), (0.5, "rough"), (1.0, "too little to rely on"))
# Records needed to call a feature dead: in fewer, rare features may not appear.
ENOUGH_FOR_DEAD = 50_000


@dataclass(frozen=True, slots=True)
class FidelityReport(Result):
    """All figures; errors are shares of the variance, neighbours are among ``compared`` records.

    ``mean_of`` names the texts whose mean is x̄. ``nmse_unrefined`` is with the encoder's own amplitudes.
    ``dead_share`` is the share of features never active in ``records``. ``overlap`` (of the ten nearest)
    searches reconstructions with reconstructed queries, ``…_dense_queries`` with the embeddings.
    ``stability`` is by the name of another space the share of the features that it has, too: one to one, at a
    cosine of the decoder directions above .7.
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
    compared: int
    overlap: float
    overlap_dense_queries: float
    stability: dict[str, float]


def measure_fidelity(
    space: Space,
    x: FloatArray,
    *,
    against: Mapping[str, FloatArray] | None = None,
    seed: int = 0,
    progress: Callable[[int], object] = lambda _: None,
) -> FidelityReport:
    """Measure a space on embeddings ``x`` (m, d) of records, ideally records that it was not fitted on.

    ``against`` are the decoder directions (o, d) of other autoencoders over the same encoder, by name.
    ``progress(n)`` is called with the number of records just done. Raises InvalidInputError for another
    dimension, NaN, fewer than 11 records, or records that are all the same.
    """
    wanted = space.sae.dimension
    if x.ndim != 2 or x.shape[1] != wanted or len(x) < MIN_RECORDS:
        do = f"Give {MIN_RECORDS} or more records, encoded by {space.encoder.model}."
        asked = f"a report on embeddings of shape {x.shape}"
        raise InvalidInputError(asked, f"space {space.name!r} takes (m, {wanted})", do)
    mean, mean_of = space.calibration.mean, "the calibration corpus"
    if mean is None:
        mean, mean_of = np.asarray(np.mean(x, 0, np.float64), np.float32), "the evaluated records"
    measured = errors(space.sae, x, mean, progress)
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
        nmse_unrefined=errors(one_shot(space.sae), x, mean)["nmse"],
        **measured,
        compared=len(compared),
        overlap=neighbour_overlap(compared, reconstructed, NEIGHBOURS),
        overlap_dense_queries=neighbour_overlap(compared, reconstructed, NEIGHBOURS, compared),
        stability={
            name: seed_stability(space.sae.directions, directions)
            for name, directions in (against or {}).items()
        },
    )


def verdict(report: FidelityReport) -> list[str]:
    """Return a few plain sentences, the most important first."""
    judged = next((words for limit, words in JUDGED if report.nmse < limit), "")
    error = (
        f"The codes keep {1 - report.nmse:.0%} of the variance of these {report.records:,} records "
        f"(NMSE {report.nmse:.3f}): {judged}."
    )
    if not judged:
        error = (
            f"The reconstructions are no better than one mean for all (NMSE {report.nmse:.2f}): the space "
            "was made for other embeddings."
        )
    neighbours = (
        f"Of a record's ten nearest neighbours {10 * report.overlap:.1f} stay when queries and documents are "
        f"both reconstructed, {10 * report.overlap_dense_queries:.1f} when only the documents are "
        f"(among {report.compared:,} records)."
    )
    dead = f"{report.dead_share:.1%} of the {report.n_features:,} features are active in none of the records"
    if report.records < ENOUGH_FOR_DEAD:
        dead += f"; {ENOUGH_FOR_DEAD:,} records or more would show which are dead"
    stable = [f"{name} has {share:.0%} of the features too." for name, share in report.stability.items()]
    return [error, neighbours, f"{dead}.", *stable]


def figures(report: FidelityReport) -> list[tuple[str, str, str]]:
    """Return each figure's name, value and meaning, in reading order."""
    of_variance = f"squared error as a share of the variance about the mean of {report.mean_of}"
    never = f"never active in these {report.records:,} records"
    documents = "only the documents are reconstructed"
    return [
        ("NMSE", f"{report.nmse:.3f}", of_variance),
        ("NMSE, not refined", f"{report.nmse_unrefined:.3f}", "with the encoder's own amplitudes"),
        ("cosine", f"{report.cosine:.3f}", "mean, of an embedding and its reconstruction"),
        ("cosine, 5th percentile", f"{report.cosine_p5:.3f}", "one record in twenty lies below"),
        ("active features", f"{report.active:.1f}", f"mean per record, at most {report.k}"),
        ("dead features", f"{report.dead_share:.1%}", never),
        ("top-10 overlap", f"{report.overlap:.3f}", "neighbours that stay, among reconstructions"),
        ("… dense queries", f"{report.overlap_dense_queries:.3f}", documents),
    ]


def one_shot(sae: SparseAutoencoder) -> SparseAutoencoder:
    """Return the autoencoder with the amplitudes of its encoder: no refinement, one round of selection."""
    plain = copy(sae)
    plain.refine_steps = plain.support_rounds = 0
    return plain
