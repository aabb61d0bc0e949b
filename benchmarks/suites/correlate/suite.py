"""Correlations: named and open pairs compared with labels, ranks of planted pairs, triggers, cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import rankdata

from benchmarks import snapshots
from benchmarks.outcome import Figure, Outcome, at_least, at_most
from benchmarks.suites.correlate import labelled_pairs
from benchmarks.suites.correlate.pair_scale import measured
from benchmarks.suites.correlate.planted_pairs import (
    CLASSES,
    Classes,
    Planted,
    open_classes,
    planted_in_parts,
    planted_pairs,
)
from benchmarks.suites.correlate.planted_triggers import trigger_rank
from saeindex.analysis.correlate.all_pairs import correlate_open
from saeindex.analysis.correlate.named_pairs import z_scores
from saeindex.analysis.correlate.pair_tests import PairTables, units_of
from saeindex.analysis.stats.options import AUTO, CorrelateOptions
from saeindex.concepts.named_concept import ConceptReader, NamedConcept

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.corpora import CachedEncoder
    from saeindex import FeatureSpace

# Spearman of logistic regression on ten examples in a pilot study, by corpus.
PILOT = {
    "nlupp": 0.62, "goemotions": 0.38, "medquad": 0.59, "product_reviews": 0.48, "arxiv_heldout": 0.68
}  # fmt: skip
PLANTED = {"stackoverflow_titles": "tag", "clinc150": "intent"}
COUNTS, REPEATS, DRAWS, LISTED = (10, 30, 50), 20, 10, 300
# Minimum number of common records of a pair, for baselines with this limit.
MIN_SUPPORT = 5


def run(quick: bool) -> Outcome:
    """Measure; ``quick`` takes two corpora, few records and no large index."""
    outcome = Outcome("correlate", quick)
    space, encoder = snapshots.default_space(), snapshots.encoder()
    names = ["goemotions", "medquad"] if quick else list(labelled_pairs.FIELDS)
    named = {name: by_labels(name, space, encoder, 1_500 if quick else None) for name in names}
    outcome.tables["correlate_labels"] = named
    outcome.figures.update(label_figures(named))
    planted = ["clinc150"] if quick else list(PLANTED)
    classes = {name: open_classes(name, PLANTED[name], "test", space) for name in planted}
    repeats = 4 if quick else REPEATS
    ranks = {name: open_ranks(classes[name], repeats, space) for name in planted}
    outcome.tables["correlate_planted"] = planted_table(ranks)
    outcome.figures.update(planted_figures(ranks, repeats))
    outcome.figures.update(parts_figures(classes["clinc150"], REPEATS, space))
    outcome.figures.update(trigger_figures(classes["clinc150"], repeats, space, encoder))
    outcome.figures.update(cost_figures(quick))
    return outcome


# Labels -----------------------------------------------------------------------------------------------


def by_labels(
    name: str, space: FeatureSpace, encoder: CachedEncoder, limit: int | None
) -> dict[str, float | int | None]:
    """Return the Spearman correlation of each kind of concept with the labels, on the ``test`` part."""
    corpus = labelled_pairs.open_labelled(name, "test", space, limit)
    has_choose = name != "arxiv_heldout"
    chosen = labelled_pairs.open_labelled(name, "choose", space, limit) if has_choose else None
    draws = DRAWS if len(corpus.labels) < 100 else 1
    alone, _ = labelled_pairs.described_spearman(corpus, encoder, False)
    siblings, described = labelled_pairs.described_spearman(corpus, encoder, True)
    return {
        "records": len(corpus.snapshot),
        "labels": len(corpus.labels),
        "pairs": len(corpus.pairs),
        "ceiling": corpus.ceiling(),
        "10 examples": labelled_pairs.named_spearman(corpus, draws),
        "10 examples, share unknown": labelled_pairs.named_spearman(corpus, draws, without_share),
        "logistic regression, 10 examples": labelled_pairs.logistic_spearman(corpus, draws),
        "described pairs": described,
        "described": alone,
        "described with siblings": siblings,
        "best single feature": labelled_pairs.open_spearman(corpus, chosen),
    }


def without_share(concept: NamedConcept) -> NamedConcept:
    """Return a concept of unknown frequency."""
    return replace(concept, share=None)


def label_figures(named: Mapping[str, Mapping[str, Any]]) -> dict[str, Figure]:
    """Return the figures of named and of open concepts."""
    n = len(named)

    def mean(kind: str) -> float:
        return float(np.mean([row[kind] for row in named.values()]))

    figures = {
        "named_spearman_mean": Figure(mean("10 examples"), "Spearman", n=n),
        "named_share_unknown_spearman_mean": Figure(mean("10 examples, share unknown"), "Spearman", n=n),
        "logistic_spearman_mean": Figure(mean("logistic regression, 10 examples"), "Spearman", n=n),
        "siblings_spearman_mean": Figure(mean("described with siblings"), "Spearman", n=n),
        "open_spearman_mean": Figure(mean("best single feature"), "Spearman", n=n),
        "ceiling_mean": Figure(mean("ceiling"), "Spearman", n=n),
    }
    for name, row in named.items():
        figures[f"named_spearman_{name}"] = at_least(
            row["10 examples"], PILOT[name], "Spearman", row["pairs"]
        )
    return figures


# Planted pairs ----------------------------------------------------------------------------------------

Ranks = dict[int, dict[str, list[float]]]


def open_ranks(classes: Classes, repeats: int, space: FeatureSpace) -> Ranks:
    """Return by count and score the rank of the first pair of informative features of the planted classes."""
    found: Ranks = {count: {} for count in COUNTS}
    for planted in planted_pairs(classes, COUNTS, repeats, space):
        truth = {
            frozenset((int(i), int(j)))
            for i in classes.features[planted.a]
            for j in classes.features[planted.b]
        }
        ranks = found[planted.count]
        for name, rank in {"ours": our_rank(planted, truth), **baseline_ranks(planted, truth)}.items():
            ranks.setdefault(name, []).append(rank)
    return found


def our_rank(planted: Planted, truth: set[frozenset[int]]) -> float:
    """Return the rank of the row with a true pair, or the number of all pairs if no listed row has one."""
    listed = correlate_open(planted.snapshot, options=CorrelateOptions(limit=LISTED, unit=None))
    for rank, pair in enumerate(listed.results, 1):
        if any(frozenset((one.a.feature or 0, one.b.feature or 0)) in truth for one in (pair, *pair.related)):
            return float(rank)
    return float(listed.tested)


def baseline_ranks(planted: Planted, truth: set[frozenset[int]]) -> dict[str, float]:
    """Return the rank among all pairs that occur, by other scores, without filters."""
    tables = every_pair(planted)
    keys = zip(tables.a.tolist(), tables.b.tolist(), strict=True)
    is_true = np.array([frozenset(key) in truth for key in keys])
    value, low, _ = tables.log_odds()
    is_large = tables.both >= MIN_SUPPORT
    scores = {
        "NPMI": tables.npmi,
        "NPMI, 5 records or more": np.where(is_large, tables.npmi, -9.0),
        "PMI²": tables.both**2 / (tables.of_a * tables.of_b),
        "log odds": value,
        "log odds, lower bound": low,
        "G²": tables.g2,
        "ours, nothing left out": tables.evidence,
    }
    return {name: first_rank(score, is_true) for name, score in scores.items()}


def every_pair(planted: Planted) -> PairTables:
    """Return the tables of all pairs of features that occur together in a record."""
    present = planted.snapshot.at("typical")
    counts = np.asarray(present.sum(0), np.float64).ravel()
    both = (present.T @ present).tocoo()
    kept = both.row < both.col
    a, b = both.row[kept].astype(np.int64), both.col[kept].astype(np.int64)
    together = both.data[kept].astype(np.float64)
    return PairTables(a, b, together, counts[a], counts[b], len(planted.snapshot))


def first_rank(scores: NDArray[np.float64], is_true: NDArray[np.bool_]) -> float:
    """Return the rank of the best true pair, ties at the worst rank; the last rank if no pair is true."""
    if not is_true.any():
        return float(len(scores))
    return float(rankdata(-scores, method="max")[is_true].min())


def planted_table(ranks: Mapping[str, Ranks]) -> dict[str, dict[str, float]]:
    """Return median ranks by score, corpus and number planted."""
    return {
        score: {
            f"{name}, {count}": float(np.median(ranks[name][count][score]))
            for name in ranks
            for count in COUNTS
        }
        for score in next(iter(ranks.values()))[COUNTS[0]]
    }


def planted_figures(ranks: Mapping[str, Ranks], repeats: int) -> dict[str, Figure]:
    """Return the figures of planted open pairs, over all corpora."""
    n = repeats * len(ranks)

    def median(score: str, count: int) -> float:
        return float(np.median([rank for counts in ranks.values() for rank in counts[count][score]]))

    return {
        "planted50_rank_median": at_most(median("ours", 50), 10, "rank", n),
        "planted30_rank_median": Figure(median("ours", 30), "rank", n=n),
        "planted10_rank_median": Figure(median("ours", 10), "rank", n=n),
        "npmi_rank_median": Figure(median("NPMI", 50), "rank", n=n),
        "g2_rank_median": Figure(median("G²", 50), "rank", n=n),
    }


def parts_figures(classes: Classes, repeats: int, space: FeatureSpace) -> dict[str, Figure]:
    """Return the rank of a named pair with ten planted documents of two pieces, as a share of all pairs.

    The pieces are the records, and each document counts as one unit, as for a text that was split.
    """
    changes: dict[str, Callable[[NamedConcept], NamedConcept]] = {
        "planted10_named_share_of_pairs": without_share,
        "planted10_named_share_known": lambda concept: concept,
    }
    total = CLASSES * (CLASSES - 1) / 2
    ranks: dict[str, list[int]] = {name: [] for name in changes}
    for planted in planted_in_parts(classes, 10, repeats, space):
        labels = sorted({label for classes in planted.classes for label in classes})
        having = np.array([[label in classes for label in labels] for classes in planted.classes])
        pairs = [(i, j) for i in range(len(labels)) for j in range(i + 1, len(labels))]
        first, second = sorted((labels.index(planted.a), labels.index(planted.b)))
        corpus = labelled_pairs.Labelled("", planted.snapshot, labels, [""] * len(labels), having, pairs)
        reader = ConceptReader(planted.snapshot)
        units = units_of(planted.snapshot, None, np.arange(len(planted.snapshot)), AUTO)
        for name, change in changes.items():
            members = [reader.membership(change(one)) for one in labelled_pairs.by_examples(corpus, 0)]
            z = z_scores(members, pairs, units)
            ranks[name].append(int((z >= z[pairs.index((first, second))]).sum()))
    return {
        name: at_most(float(np.median(found)) / total, 0.01, "share of pairs", repeats)
        for name, found in ranks.items()
    }


def trigger_figures(
    classes: Classes, repeats: int, space: FeatureSpace, encoder: CachedEncoder
) -> dict[str, Figure]:
    """Return the rank of the planted trigger of a behaviour by description and by examples."""
    figures = {}
    for kind in ("described", "shown"):
        ranks = [trigger_rank(classes, kind, repeat, space, encoder) for repeat in range(repeats)]
        figures[f"trigger_{kind}_first_share"] = Figure(
            float(np.mean(np.array(ranks) == 1)), "share", n=repeats
        )
        figures[f"trigger_{kind}_rank_median"] = Figure(float(np.median(ranks)), "rank", n=repeats)
    return figures


# Cost -------------------------------------------------------------------------------------------------


def cost_figures(quick: bool) -> dict[str, Figure]:
    """Return the cost of all pairs of 4,096 concepts, counting all 32 active concepts of each record."""
    records = 10_000 if quick else 100_000
    seconds, mib = measured(records)
    figures = {
        "all_pairs_seconds": at_most(seconds, 10, "s", records),
        "all_pairs_mib": at_most(mib, 1_024, "MiB", records),
    }
    if not quick:
        seconds, mib = measured(1_000_000)
        figures["all_pairs_seconds_1m"] = Figure(seconds, "s", n=1_000_000)
        figures["all_pairs_mib_1m"] = Figure(mib, "MiB", n=1_000_000)
    return figures
