"""How well searches answered questions, as JSON, tables and a report."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from saeindex.analysis.evaluate.questions import Question
from saeindex.files import replacing, writable
from saeindex.report import charts
from saeindex.report.charts import WIDTH, Chart, alt, inline
from saeindex.report.model import LISTED_ROWS, Description, Figure, Section, describe, table
from saeindex.report.numbers import Number, counted, number, series
from saeindex.report.result import AnalysisResult
from saeindex.types import JsonObject, one_line

SHOWN_TEXT, SHOWN_HIT = 70, 60
# A number with three digits after the point.
THREE = partial(number, digits=3)
LIMITS = (
    "What no question names as an answer counts as wrong, also a record that would answer it.",
    "An interval says what other questions of the same kind would show, not what other kinds would.",
)


@dataclass(frozen=True, slots=True)
class Gain:
    """A mean difference to the first search, over the same questions, with its simultaneous interval."""

    mean: float
    low: float
    high: float

    @property
    def is_sure(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0

    def __str__(self) -> str:
        return f"{self.mean:+.3f} ({self.low:+.3f} to {self.high:+.3f})"


@dataclass(frozen=True, slots=True)
class SearchQuality:
    """How well a search with ``options`` answers the questions: mean nDCG, recall and reciprocal rank.

    ``gains`` are those over the first search, by measure; that one has none.
    """

    name: str
    options: JsonObject
    ndcg: float
    recall: float
    mrr: float
    gains: Mapping[str, Gain]


@dataclass(frozen=True, slots=True)
class Answered:
    """A question, and for each search its nDCG and the rank of the first answer, 0 if it was not found."""

    question: Question
    ndcg: tuple[float, ...]
    ranks: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Differing:
    """A question that a search and the first one answer differently well, with the first hit of each."""

    question: int
    search: int
    hits: tuple[str, str]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Evaluation(AnalysisResult):
    """How well ``searches`` answer ``questions``, of whose hits the first ``limit`` count.

    The intervals of gains hold together, all of them with the probability 1 - ``alpha``. ``differing`` are
    the questions on which a search and the first one differ most.
    """

    limit: int
    alpha: float
    searches: tuple[SearchQuality, ...]
    questions: tuple[Answered, ...]
    differing: tuple[Differing, ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.questions)

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """Return the searches, and the questions with what each search has for them."""
        searches = [
            {"search": one.name, "ndcg": one.ndcg, "recall": one.recall, "mrr": one.mrr}
            | {
                f"{name}_{part}": getattr(gain, part)
                for name, gain in one.gains.items()
                for part in ("mean", "low", "high")
            }
            for one in self.searches
        ]
        names = [one.name for one in self.searches]
        questions = [
            {"question": one.question.text, "relevant": " ".join(one.question.relevant)}
            | {f"ndcg_{name}": value for name, value in zip(names, one.ndcg, strict=True)}
            | {f"rank_{name}": value or None for name, value in zip(names, one.ranks, strict=True)}
            for one in self.questions
        ]
        return {"searches": searches, "questions": questions}

    def save_questions(self, path: str | Path) -> Path:
        """Write the questions as JSON lines, to be corrected and asked again; return the path."""
        target = writable(path)
        with replacing(target) as draft, draft.open("w", encoding="utf-8") as file:
            for one in self.questions:
                file.write(json.dumps(one.question.to_json(), ensure_ascii=False) + "\n")
        return target


@describe.register(Evaluation)
def _(found: Evaluation) -> Description:
    first, *others = found.searches
    best = max(found.searches, key=lambda one: one.ndcg)
    asked = counted(len(found), "question")
    summary = [f"Over {asked}, {best.name} answers best: nDCG@{found.limit} {number(best.ndcg, 3)}."]
    if not best.ndcg:
        summary = [f"Over {asked}, no search finds an answer among its first {found.limit} hits."]
    for verb, is_so in (
        ("Surely better than", lambda gain: gain.low > 0),
        ("Surely worse than", lambda gain: gain.high < 0),
        ("Not told apart from", lambda gain: not gain.is_sure),
    ):
        names = [one.name for one in others if is_so(one.gains["ndcg"])]
        if names:
            summary.append(f"{verb} {first.name}: {series(names)}.")
    columns = {
        "search": "name",
        f"nDCG@{found.limit}": (THREE, "ndcg"),
        f"recall@{found.limit}": (THREE, "recall"),
        f"MRR@{found.limit}": (THREE, "mrr"),
        f"nDCG over {first.name}": lambda one: Number(str(one.gains["ndcg"])) if one.gains else "",
    }
    rows = table("How well each search answers", found.searches, columns, in_notebook=LISTED_ROWS)
    return Description(
        question="Which search answers the questions best?",
        summary=summary,
        method=[
            f"Each question is asked of each search, and its first {found.limit} hits count. Differences are "
            f"paired, by question; all intervals together hold with {1 - found.alpha:.0%} (Student's t, "
            "Bonferroni over searches and measures)."
        ],
        sections=[
            Section("Searches", [Figure(means, found), rows]),
            *_differing(found),
        ],
        notes=found.notes,
        limits=LIMITS,
    )


def means(found: Evaluation) -> Chart:
    """Return the mean nDCG of each search, with the interval of its difference to the first."""
    first = found.searches[0]
    unique = zip(found.searches, charts.unique_labels([one.name for one in found.searches]), strict=True)
    rows = []
    for one, label in unique:
        gain = one.gains.get("ndcg", Gain(0.0, 0.0, 0.0))
        rows.append(
            {"label": label, "ndcg": one.ndcg, "low": first.ndcg + gain.low, "high": first.ndcg + gain.high}
        )
    base = alt.Chart(inline(rows), width=WIDTH - 230, height=alt.Step(22)).encode(
        y=alt.Y("label:N", sort=None, axis=charts.name_axis())
    )
    title = f"mean nDCG@{found.limit}"
    shown = charts.tooltip(("label:N", "search"), ("ndcg:Q", title, ".3f"))
    caption = f"The bars are intervals of the difference to {first.name}, whose mean is the line."
    return Chart("Searches", caption, charts.intervals(base, "ndcg", title, shown, first.ndcg))


def _differing(found: Evaluation) -> Iterator[Section]:
    first = found.searches[0].name

    def rank(one: Differing, search: int) -> str:
        asked = found.questions[one.question]
        found_at = f"rank {asked.ranks[search]}" if asked.ranks[search] else "not found"
        return f"{found_at}, {asked.ndcg[search]:.2f}"

    columns = {
        "question": lambda one: one_line(found.questions[one.question].question.text, SHOWN_TEXT),
        "search": lambda one: found.searches[one.search].name,
        f"first answer, nDCG (with {first})": lambda one: f"{rank(one, one.search)} ({rank(one, 0)})",
        "its first hit": lambda one: one_line(one.hits[0], SHOWN_HIT),
        f"that of {first}": lambda one: one_line(one.hits[1], SHOWN_HIT),
    }
    if found.differing:
        yield Section("Questions", [table("Where they differ most", found.differing, columns)])
