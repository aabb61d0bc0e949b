"""What records say of named concepts, as blind readers judged: `python -m benchmarks.run mentions`.

The evidence is fitted on `fit` parts and calibrated on `choose`; us_speeches, agnews, alpaca_eval and
product_reviews (consecutive sentences of a review joined again) are in no fitting. All pairs are of `test`
parts. The key of the quiz has the evidence of each pair when it was asked; the reader's answers are committed
beside it, see :mod:`.quiz`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.evidence.pairs import CLEAR, WEAK
from benchmarks.outcome import Figure, Outcome, at_least, at_most
from benchmarks.suites.mentions.quiz import FOLDER, Question, read_key
from benchmarks.suites.mentions.records import CORPORA, POSSIBLE, PRESENT, RECORDS, SEED, TYPICAL

JUDGE, SECOND = "reader", "second"
BINS = 10
MIN_IN_BIN = 30
STORED = ("said", "meant")


class Judged:
    """Questions with their answers, as arrays."""

    def __init__(self, questions: Sequence[Question], answers: Sequence[int]) -> None:
        """Take questions that a reader answered."""
        self.corpus = np.array([one.corpus for one in questions])
        self.stratum = np.array([one.stratum for one in questions])
        self.p = np.array([one.p for one in questions])
        self.share = np.array([one.share for one in questions])
        self.answer = np.array(answers)

    def precision(self, chosen: NDArray[np.bool_], least: int = CLEAR) -> float:
        """Return the share of the chosen pairs that are at least so right, as many as each stratum has."""
        return float(np.average(self.answer[chosen] >= least, weights=self.share[chosen]))

    def stored(self, least: float, kinds: Sequence[str] = STORED) -> NDArray[np.bool_]:
        """Return which questions are on stored codes with so much evidence."""
        return np.isin(self.stratum, kinds) & (self.p >= least)

    def found(self, stratum: str, least: float) -> float:
        """Return the share of clear uses that have so much evidence."""
        own = (self.stratum == stratum) & (self.answer == CLEAR)
        return float((self.p[own] >= least).mean())


def answers_of(judge: str) -> dict[int, int]:
    """Return what a reader answered, by the place of the question in the key."""
    return {int(i): a for i, a in json.loads((FOLDER / f"answers-{judge}.json").read_text()).items()}


def judged(judge: str = JUDGE) -> Judged:
    """Return the questions that a reader answered."""
    answers, questions = answers_of(judge), read_key()
    return Judged([questions[i] for i in answers], list(answers.values()))


def run(quick: bool = False) -> Outcome:
    """Report what the readers judged; both forms are the same, they compute nothing."""
    outcome, read = Outcome("mentions", quick, SEED), judged()
    add = outcome.figures
    by_corpus = {corpus: read.corpus == corpus for corpus in CORPORA}
    for level, least, goals in (("", PRESENT, (0.70, 0.85)), ("_typical", TYPICAL, (0.85, None))):
        for kinds, suffix, aims in (
            (STORED, "", goals),
            (("meant",), "_only_meant", (0.50, 0.80) if not level else (None, None)),
        ):
            own = read.stored(least, kinds)
            for name, worst, goal in (("clear", CLEAR, aims[0]), ("related", WEAK, aims[1])):
                values = [read.precision(own & is_of, worst) for is_of in by_corpus.values()]
                n = int(own.sum())
                add[f"precision_{name}{level}{suffix}"] = _least(min(values), goal, n)
                add[f"precision_{name}{level}{suffix}_mean"] = Figure(
                    float(np.mean(values)), "share, mean of corpora", n=n
                )
    shares = {corpus: _meant_share(read, is_of) for corpus, is_of in by_corpus.items()}
    add["only_meant_share"] = at_least(min(shares.values()), 0.10, "of stored pairs")
    add["recall_said"] = at_least(read.found("used", PRESENT), 0.90, "of right uses", _clear(read, "used"))
    add["recall_withheld"] = at_least(
        read.found("withheld", PRESENT), 0.20, "of right uses", _clear(read, "withheld")
    )
    leaks = {
        name: 1 - np.mean([read.found(each, least) for each in ("used", "withheld")])
        for name, least in (("not", PRESENT), ("not_possible", POSSIBLE))
    }
    add["not_leak"] = at_most(float(leaks["not"]), 0.30, "of records that speak of it")
    add["not_possible_leak"] = at_most(float(leaks["not_possible"]), 0.15, "of records that speak of it")
    rows = _bins(read)
    add["calibration_error"] = at_most(
        max(abs(row[0] - row[1]) for row in rows if row[2] >= MIN_IN_BIN), 0.10, "largest of ten bins"
    )
    now, before = (_right(read, own) for own in (read.stored(PRESENT), read.stratum == "before"))
    add["right_concepts_per_record"] = Figure(now, "clear concepts")
    add["right_concepts_over_before"] = at_least(now / before, 3.0, "×")
    outcome.tables.update(_tables(read, by_corpus, rows, shares))
    return outcome


def _least(value: float, goal: float | None, n: int) -> Figure:
    unit = "share, worst corpus"
    return Figure(value, unit, n=n) if goal is None else at_least(value, goal, unit, n)


def _clear(read: Judged, stratum: str) -> int:
    return int(((read.stratum == stratum) & (read.answer == CLEAR)).sum())


def _meant_share(read: Judged, is_of: NDArray[np.bool_]) -> float:
    sizes = [read.share[read.stored(PRESENT, kinds) & is_of].sum() for kinds in (("meant",), STORED)]
    return float(sizes[0] / sizes[1])


def _right(read: Judged, own: NDArray[np.bool_]) -> float:
    """Return the number of clear concepts of a record, if what is not yet read is like what is."""
    asked_over_read = len(read_key()) / len(read.p)
    return asked_over_read * float(read.share[own & (read.answer == CLEAR)].sum() / (RECORDS * len(CORPORA)))


def _bins(read: Judged) -> list[tuple[float, float, int]]:
    """Return the mean evidence and the share of clear pairs in bins of the evidence, and their numbers."""
    stored = read.stored(POSSIBLE)
    place = np.minimum((read.p * BINS).astype(int), BINS - 1)
    found = []
    for one in range(BINS):
        own = stored & (place == one)
        if own.any():
            found.append(
                (float(np.average(read.p[own], weights=read.share[own])), read.precision(own), int(own.sum()))
            )
    return found


def _tables(
    read: Judged, by_corpus: dict[str, NDArray[np.bool_]], rows: Any, shares: dict[str, float]
) -> dict[str, Any]:
    corpora = [
        {
            "corpus": corpus,
            **{
                f"{level}_{name}": round(read.precision(read.stored(least) & is_of, worst), 3)
                for level, least in (("present", PRESENT), ("typical", TYPICAL))
                for name, worst in (("clear", CLEAR), ("related", WEAK))
            },
            "meant_clear": round(read.precision(read.stored(PRESENT, ("meant",)) & is_of), 3),
            "meant_related": round(read.precision(read.stored(PRESENT, ("meant",)) & is_of, WEAK), 3),
            "meant_share": round(shares[corpus], 3),
        }
        for corpus, is_of in by_corpus.items()
    ]
    tables: dict[str, Any] = {
        "corpora": corpora,
        "bins": [{"evidence": round(p, 3), "clear": round(share, 3), "n": n} for p, share, n in rows],
        "judges": [
            {"judge": "a language model that saw sentences, names and definitions only", "pairs": len(read.p)}
        ],
    }
    if (FOLDER / f"answers-{SECOND}.json").is_file():
        tables["agreement"] = _agreement()
    return tables


def _agreement() -> list[dict[str, Any]]:
    """Return how two readers agree on the pairs that both read."""
    first, second = answers_of(JUDGE), answers_of(SECOND)
    both = sorted(first.keys() & second.keys())
    a, b = (np.array([answers[i] for i in both]) for answers in (first, second))
    expected = sum(float((a == one).mean() * (b == one).mean()) for one in range(3))
    same = float((a == b).mean())
    clear = float(((a == CLEAR) == (b == CLEAR)).mean())
    return [
        {
            "pairs": len(both),
            "same": round(same, 3),
            "kappa": round((same - expected) / (1 - expected), 3),
            "clear or not": round(clear, 3),
        }
    ]
