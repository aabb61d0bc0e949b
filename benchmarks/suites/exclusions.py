"""Questions that leave something out in plain English, read by the index, and idioms that leave nothing out.

Both were written by somebody who knew no rule: cases of `rag` as people would ask them (``{topic}`` stands
for the disease), and questions with "without", "but", "except" and the like. One half of each was seen when
the rules were written (``choose``; what a quick run takes), the other judges them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import data
from benchmarks.outcome import Figure, Outcome, at_least, at_most
from benchmarks.suites.rag import CORPUS, RANKED, STRENGTH, Case, exclusion_cases, measured
from benchmarks.suites.words import indexed
from saeindex import FeatureIndex
from saeindex.language.exclusions import Interpreted

QUESTIONS = Path(__file__).parents[1] / "questions"
# Questions that leave nothing out.
PLAIN, EACH, TITLES, SHOWN = ("nq_open", "gsm8k"), 2_500, 5_000, 20


def run(quick: bool) -> Outcome:
    """Measure; ``quick`` takes the half of the questions that the rules were written with."""
    outcome, half = Outcome("exclusions", quick), "choose" if quick else "test"
    records = list(data.read(CORPUS, "test"))
    rows, cases = {one.id: row for row, one in enumerate(records)}, exclusion_cases(records)
    with indexed(records) as index:
        asked = [
            (cases[one["case"]], one["question"].replace("{topic}", cases[one["case"]].text))
            for one in lines("exclusions", half)
        ]
        index.state.encode.warm([text for _, text in asked])

        def ranked(text: str, **options: Any) -> list[int]:
            return [rows[hit.id] for hit in index.search(text, limit=RANKED, **options)]

        ways: dict[str, Callable[[Case, str], list[int]]] = {
            "dense": lambda case, text: ranked(text, using="dense"),
            "as_written": lambda case, text: ranked(text),
            "steered_by_hand": lambda case, text: ranked(case.text, steer=f'-"{case.excluded}":{STRENGTH}'),
            "read": lambda case, text: ranked(text, interpret=True),
        }
        found = {
            name: float(np.mean([measured(way(case, text), case.relevant)[1] for case, text in asked]))
            for name, way in ways.items()
        }
        figures = outcome.figures
        for name, value in found.items():
            figures[f"ndcg10_{name}"] = Figure(value, "nDCG", n=len(asked))
        for name, least in {"steered_by_hand": 0.98, "dense": 1.1}.items():
            figures[f"read_over_{name}"] = at_least(found["read"] / found[name], least, "ratio", len(asked))
        add_shares(outcome, index, [text for _, text in asked], half)
    return outcome


def add_shares(outcome: Outcome, index: FeatureIndex, asked: Sequence[str], half: str) -> None:
    """Add how many of the questions are read, and how many that leave nothing out are read otherwise."""
    figures = outcome.figures
    unread = [text for text in asked if not is_read(index, text)]
    figures["share_read"] = Figure(1 - len(unread) / len(asked), "share", n=len(asked))
    idioms = [one["question"] for one in lines("idioms", half)]
    split = [text for text in idioms if is_read(index, text)]
    figures["idioms_split"] = at_most(len(split) / len(idioms), 0.01, "share", len(idioms))
    plain = [one.text for name in PLAIN for one in data.read(name, limit=EACH)]
    changed = [text for text in plain if is_read(index, text)]
    figures["questions_read_otherwise"] = at_most(len(changed) / len(plain), 0.002, "share", len(plain))
    # Whatever the index has texts on: an idiom is rarely about diseases, as these are.
    first = 0 if half == "choose" else TITLES
    titles = [one.text for one in islice(data.read("stackoverflow_titles"), first, first + TITLES)]
    anywhere = {"idioms_split_anywhere": idioms, "titles_read_otherwise_anywhere": titles}
    for name, texts in anywhere.items():
        share = sum(bool(Interpreted.of(text).unwanted) for text in texts) / len(texts)
        figures[name] = Figure(share, "share", n=len(texts))
    outcome.tables["unread"] = unread[:SHOWN]
    outcome.tables["split"] = split[:SHOWN]


def lines(name: str, half: str) -> list[dict[str, Any]]:
    """Return the questions of one half of a file."""
    every = map(json.loads, (QUESTIONS / f"{name}.jsonl").read_text("utf-8").splitlines())
    return [one for one in every if one["part"] == half]


def is_read(index: FeatureIndex, text: str) -> bool:
    """Return whether an index reads a question as one that leaves something out."""
    return bool(Interpreted.of(text).unwanted and index.plan(text, interpret=True).unwanted)
