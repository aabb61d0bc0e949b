"""First screens of test records, as a blind reader judged: `python -m benchmarks.run screens`.

The reader saw names, the sentence that proves each, and the labels of groups, and nothing else. us_speeches,
agnews, product_reviews and alpaca_eval are in no fitting. The key has the names as they were shown; the
answers are committed beside it, see :mod:`.quiz`.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from benchmarks.outcome import Figure, Outcome, at_least
from benchmarks.suites.mentions.records import CORPORA
from benchmarks.suites.screens.coverage import token_coverage
from benchmarks.suites.screens.quiz import FOLDER, is_swapped
from benchmarks.suites.screens.shown import SEED, records_of
from saeindex import FeatureSpace
from saeindex.config import DEFAULT_SPACE
from saeindex.features.terms import Term, find_terms


def run(quick: bool = False) -> Outcome:
    """Report what the reader judged; both forms are the same, they compute nothing."""
    outcome, figures = Outcome("screens", quick, SEED), {}
    asked: list[dict[str, Any]] = json.loads((FOLDER / "key.json").read_text())
    answers: dict[str, str] = json.loads((FOLDER / "answers.json").read_text())
    judged = [
        (number, one, answers[str(number)]) for number, one in enumerate(asked, 1) if str(number) in answers
    ]
    names = [(one, answer) for _, one, answer in judged if one["kind"] == "Shown" and len(answer) == 2]
    groups = [(number, one, answer) for number, one, answer in judged if one["kind"] == "Compared"]
    choices = [(one, answer) for _, one, answer in judged if one["kind"] == "Choice"]
    figures["names_one_idea"] = at_least(
        share([answer[0] == "1" for _, answer in names]), 0.95, "of names", len(names)
    )
    figures["names_fit_sentence"] = at_least(
        share([answer[1] == "1" for _, answer in names]), 0.90, "of names", len(names)
    )
    right = [answer == ("2" if is_swapped(number) else "1") for number, _, answer in groups]
    figures["groups_told_by_names"] = at_least(share(right), 0.80, "of comparisons", len(groups))
    figures["groups_not_told"] = Figure(
        share([answer == "0" for *_, answer in groups]), "of comparisons", n=len(groups)
    )
    chosen = [answer == str(one["answer"]) for one, answer in choices]
    figures["class_label_hit_blind"] = at_least(share(chosen), 0.75, "of classes", len(choices))
    figures["unnamed_share"] = Figure(
        float(np.mean([one["unnamed"] for _, one, _ in groups])),
        "of findings, mean of comparisons",
        n=len(groups),
    )
    covered = coverage()
    figures["token_coverage"] = at_least(min(covered.values()), 0.70, "of content words, worst corpus")
    figures["token_coverage_mean"] = Figure(float(np.mean([*covered.values()])), "of content words")
    outcome.figures.update(figures)
    outcome.tables["coverage"] = [
        {"corpus": corpus, "of content words": round(value, 3)} for corpus, value in covered.items()
    ]
    outcome.tables["by_screen"] = [
        {
            "screen": where,
            "names": len(own),
            "understood": round(share([answer[0] == "1" for answer in own]), 3),
            "fit": round(share([answer[1] == "1" for answer in own]), 3),
        }
        for where in ("difference", "search", "cluster", "card")
        if (own := [answer for one, answer in names if one["where"] == where])
    ]
    return outcome


def coverage() -> dict[str, float]:
    """Return the coverage of content words by concepts and terms, by corpus."""
    space, found = FeatureSpace.load(DEFAULT_SPACE), dict[str, float]()
    assert space.evidence is not None
    nothing = np.zeros_like(space.evidence.mean)
    for corpus in CORPORA:
        texts = [one.text for one in records_of(corpus)]
        found_in = find_terms(texts, space.evidence.covered, space.names)
        terms = [Term(name, nothing, nothing, "") for name, _ in found_in]
        found[corpus] = token_coverage(texts, space.with_terms(terms))
    return found


def share(right: list[bool]) -> float:
    """Return the share that is right."""
    return float(np.mean(right)) if right else float("nan")
