"""Phrase resolution: the records of ``where "<description>"`` against those with the true label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.corpora import Corpus, open_corpora
from benchmarks.outcome import Figure, Outcome, at_least
from benchmarks.ranking import Judged, by_kind, interval, overall
from saeindex.errors import UnknownConceptError
from saeindex.search.query import Where
from saeindex.stores.filters import as_filter

if TYPE_CHECKING:
    from numpy.typing import NDArray

SEED = 0
THRESHOLDS = np.round(np.arange(0.04, 0.4, 0.02), 2)
METHODS: dict[str, dict[str, Any]] = {
    "best": {},
    "strict": {"resolve": "strict"},
    "best, typical": {"level": "typical"},
    "best, strong": {"level": "strong"},
}


def run(quick: bool) -> Outcome:
    """Measure; ``quick`` takes three corpora and 300 records of each."""
    options: dict[str, Any] = {"names": ("clinc150", "goemotions", "scicite"), "limit": 300} if quick else {}
    outcome = Outcome("resolution", quick, SEED)
    with open_corpora("choose", **options) as corpora:
        thresholds = chosen_thresholds(corpora)
    with open_corpora("test", **options) as corpora:
        results = {name: resolved(corpora, method) for name, method in METHODS.items()}
        results["dense at a threshold"] = above_threshold(corpora, thresholds)
    named = {
        "f1": "best",
        "f1_strict": "strict",
        "f1_dense_threshold": "dense at a threshold",
    }
    for figure, name in named.items():
        outcome.figures[figure] = Figure(overall(results[name], 2), "F1", n=len(results[name]))
        for kind, value in by_kind(results[name], 2).items():
            outcome.figures[f"{figure}_{kind}"] = Figure(value, "F1")
    outcome.figures["f1"] = at_least(outcome.figures["f1"].value, 0.43, "F1", len(results["best"]))
    outcome.figures["precision"] = at_least(overall(results["best"], 0), 0.42, "share", len(results["best"]))
    ratio = outcome.figures["f1"].value / outcome.figures["f1_dense_threshold"].value
    outcome.figures["f1_over_dense_threshold"] = at_least(ratio, 1.0, "ratio")
    outcome.tables["resolution"] = table(results)
    return outcome


def resolved(corpora: Sequence[Corpus], method: dict[str, Any]) -> list[Judged]:
    """Return precision, recall and F1 of each description as a clause; unresolved ones select nothing."""
    found = []
    for corpus in corpora:
        place = {record.id: row for row, record in enumerate(corpus.records)}
        for query, relevant in enumerate(corpus.relevant):
            selected = np.zeros(len(relevant), bool)
            try:
                ids = selection(corpus, query, method)
            except UnknownConceptError:
                ids = []
            selected[[place[i] for i in ids]] = True
            found.append(Judged(corpus.name, corpus.kinds[query], scores(selected, relevant)))
    return found


def selection(corpus: Corpus, query: int, method: dict[str, Any]) -> list[str]:
    """Return the ids of the records that a where clause of the description selects."""
    from saeindex.collection.records import record_ids

    text = corpus.text(query).replace('"', '\\"')
    plan = corpus.index.plan(where=Where(f'"{text}"', **method))
    return sorted(record_ids(corpus.index.state.store, as_filter(plan.query_filter)))


def chosen_thresholds(corpora: Sequence[Corpus]) -> dict[str, float]:
    """Return for each corpus, and for any other (""), the cosine with the best F1 on the other corpora."""
    means = {
        corpus.name: [
            np.mean(
                [
                    scores(row >= t, r)[2]
                    for row, r in zip(corpus.vectors @ corpus.x.T, corpus.relevant, strict=True)
                ]
            )
            for t in THRESHOLDS
        ]
        for corpus in corpora
    }
    best = {}
    for left_out in ("", *means):
        others = np.mean([row for name, row in means.items() if name != left_out], axis=0)
        best[left_out] = float(THRESHOLDS[int(np.argmax(others))])
    return best


def above_threshold(corpora: Sequence[Corpus], thresholds: dict[str, float]) -> list[Judged]:
    """Return the same for the records above a cosine threshold."""
    found = []
    for corpus in corpora:
        threshold = thresholds.get(corpus.name, thresholds[""])
        for query, row in enumerate(corpus.vectors @ corpus.x.T):
            values = scores(row >= threshold, corpus.relevant[query])
            found.append(Judged(corpus.name, corpus.kinds[query], values))
    return found


def scores(selected: NDArray[np.bool_], relevant: NDArray[np.bool_]) -> tuple[float, float, float]:
    """Return precision, recall and F1 of a set; the precision of an empty one is 0."""
    found = float((selected & relevant).sum())
    both = float(selected.sum() + relevant.sum())
    return found / max(1.0, float(selected.sum())), found / float(relevant.sum()), 2 * found / both


def table(results: dict[str, list[Judged]]) -> dict[str, dict[str, float]]:
    """Return the means, the interval of F1, and how many descriptions selected nothing."""
    rows = {}
    for name, judged in results.items():
        low, high = interval(judged, 2)
        rows[name] = {
            "precision": overall(judged, 0), "recall": overall(judged, 1), "F1": overall(judged, 2),
            "from": low, "to": high, "nothing": float(np.mean([one.values[1] == 0 for one in judged])),
        }  # fmt: skip
    return rows
