"""The profile of a set of records: distinctive concepts and words, typical and odd records."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from saeindex.analysis.describe.results import SetDescription, Standing, Theme
from saeindex.analysis.diff.findings import found_between, overlap_of
from saeindex.analysis.examples import examples_of
from saeindex.analysis.stats.design import design_of
from saeindex.analysis.stats.evidence import group_names
from saeindex.analysis.stats.groups import Groups
from saeindex.analysis.stats.options import DiffOptions, Family
from saeindex.analysis.stats.stratified import one_hot
from saeindex.errors import InvalidInputError

if TYPE_CHECKING:
    from saeindex.analysis.diff.results import Finding
    from saeindex.collection.snapshot import Snapshot
    from saeindex.types import FloatArray, Ints


SET, REST = "set", "rest"
NEIGHBOURS = 10
# The maximum number of records on each side in the search for neighbours, and the rows of a block.
MAX_NEIGHBOURS, BLOCK = 20_000, 1_024
# The minimum number of records for themes, the maximum number of themes, and the mean records per theme.
THEMED, MAX_THEMES, PER_THEME, JUDGED = 60, 8, 20, 2_000
CENTRAL_OF_THEME = 3


@dataclass(frozen=True, eq=False)
class Standings:
    """Measures of the records of a set (m,): ``centrality`` is the cosine with the set's mean direction.

    ``density`` is the mean cosine with the nearest records of the set, ``margin`` that less the same with the
    nearest of the rest, ``surprise`` the mean of -log the share of the set that has each of its concepts.
    """

    centrality: FloatArray
    density: FloatArray
    margin: FloatArray
    surprise: FloatArray

    @property
    def oddity(self) -> FloatArray:
        """From 0 to 1: the mean rank of being far from the others, and of having concepts that they lack."""
        far, strange = (np.argsort(np.argsort(key, kind="stable")) for key in (-self.density, self.surprise))
        return ((far + strange) / (2 * max(1, len(far) - 1))).astype(np.float32)


def describe_set(
    snapshot: Snapshot, rows: Ints, shown: int = 5, options: DiffOptions | None = None
) -> SetDescription:
    """Return the profile of some records among all; see :class:`SetDescription`."""
    if not len(rows):
        raise InvalidInputError("a description", "no record is in the set", "Correct its condition.")
    chosen_options = options or DiffOptions(families=("concepts", "words"))
    rest = np.setdiff1d(np.arange(len(snapshot)), rows)
    distinctive, tested, notes, why = _distinctive(snapshot, rows, rest, chosen_options)
    standing = standings(snapshot, rows, rest)
    central = _standing(snapshot, rows, standing.centrality, shown, lowest=False)
    borderline = _standing(snapshot, rows, standing.margin, shown, lowest=True)
    return SetDescription(
        size=len(rows),
        rest=len(rest),
        alpha=chosen_options.alpha,
        distinctive=distinctive,
        tested=tested,
        central=central,
        borderline=borderline if len(rest) else (),
        odd=_standing(snapshot, rows, standing.oddity, shown, lowest=False),
        themes=themes_of(snapshot, rows, chosen_options.seed),
        cohesion=float(standing.centrality.mean()),
        notes=notes,
        field=snapshot.field,
        not_comparable=why,
    )


def _distinctive(
    snapshot: Snapshot, rows: Ints, rest: Ints, options: DiffOptions
) -> tuple[dict[Family, tuple[Finding, ...]], dict[Family, int], tuple[str, ...], str]:
    if not len(rest):
        return {}, {}, (), "the set is all records, so there are no others"
    groups = Groups((SET, REST), (rows, rest))
    design = design_of(snapshot, groups, options.unit, options.strata, options.length_bins, options.paired)
    found, tested, why = found_between(snapshot, groups, design, options, lambda one: one.group == SET)
    return found, tested, (*design.notes, *overlap_of(groups, design)), why


def standings(snapshot: Snapshot, rows: Ints, rest: Ints) -> Standings:
    """Return the measures of each record of the set, by its embedding and its concepts."""
    x = np.asarray(snapshot.vectors[rows])
    centre = x.mean(0)
    centrality = x @ (centre / max(float(np.linalg.norm(centre)), 1e-12))
    density = nearness(x, x, is_own=True)
    other = nearness(x, np.asarray(snapshot.vectors[_sampled(rest)]), is_own=False) if len(rest) else 0.0
    has = snapshot.at("typical")[rows]
    surprisal = -np.log((np.asarray(has.sum(0)).ravel() + 0.5) / (len(rows) + 1))
    surprise = (has @ surprisal) / np.maximum(np.asarray(has.sum(1)).ravel(), 1.0)
    return Standings(centrality, density, density - other, surprise.astype(np.float32))


def _sampled(rows: Ints) -> Ints:
    if len(rows) <= MAX_NEIGHBOURS:
        return rows
    return np.sort(np.random.default_rng(0).choice(rows, MAX_NEIGHBOURS, replace=False))


def nearness(x: FloatArray, others: FloatArray, is_own: bool) -> FloatArray:
    """Return the mean cosine (m,) of ``x`` (m, d) with the nearest of ``others``, no row with itself."""
    if is_own and len(others) > MAX_NEIGHBOURS:
        others = others[_sampled(np.arange(len(others)))]
    nearest = min(NEIGHBOURS + is_own, len(others))
    if nearest <= is_own:
        return np.zeros(len(x), np.float32)
    means = []
    for start in range(0, len(x), BLOCK):
        cosines = x[start : start + BLOCK] @ others.T
        top = np.sort(np.partition(cosines, -nearest, axis=1)[:, -nearest:], axis=1)
        means.append((top[:, :-1] if is_own else top).mean(1))
    return np.concatenate(means).astype(np.float32)


def _standing(
    snapshot: Snapshot, rows: Ints, scores: FloatArray, shown: int, lowest: bool
) -> tuple[Standing, ...]:
    """Return the records with the highest scores, or with the lowest."""
    places = np.argsort(scores if lowest else -scores, kind="stable")[:shown].tolist()
    pairs = zip(places, examples_of(snapshot, rows[places].tolist()), strict=True)
    return tuple(Standing(example, float(scores[place])) for place, example in pairs)


def themes_of(snapshot: Snapshot, rows: Ints, seed: int = 0) -> tuple[Theme, ...]:
    """Return the themes of a set of 60 records or more: k-means clusters, as many as fit them best."""
    if len(rows) < THEMED:
        return ()
    from sklearn.cluster import KMeans
    from sklearn.metrics import silhouette_score

    x = np.asarray(snapshot.vectors[rows])
    max_themes = min(MAX_THEMES, len(rows) // PER_THEME)
    models = [KMeans(k, n_init=2, random_state=seed).fit(x) for k in range(2, max_themes + 1)]
    size = JUDGED if len(x) > JUDGED else None
    judged: Any = partial(silhouette_score, metric="cosine", sample_size=size, random_state=seed)
    model = max(models, key=lambda one: float(judged(x, one.labels_)))
    codes = model.labels_.astype(np.int64)
    names = group_names(snapshot, rows, one_hot(codes, model.n_clusters))
    sizes = np.bincount(codes, minlength=model.n_clusters)
    found = []
    for cluster in np.argsort(-sizes, kind="stable").tolist():
        inside = np.flatnonzero(codes == cluster)
        order = np.argsort(-(x[inside] @ model.cluster_centers_[cluster]), kind="stable")
        central = examples_of(snapshot, rows[inside[order[:CENTRAL_OF_THEME]]].tolist())
        found.append(Theme(names[cluster], len(inside), len(inside) / len(rows), central))
    return tuple(found)
