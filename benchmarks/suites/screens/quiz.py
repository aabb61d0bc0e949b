"""The quiz of first screens: `python -m benchmarks.suites.screens.quiz FOLDER` writes it, and the key.

`--answers FOLDER` collects what a reader wrote.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.corpora import CachedEncoder
from benchmarks.suites.screens.shown import FIELDS, SEED, Choice, Compared, Shown, asked_of, indexed

FOLDER = Path(__file__).parent / "reading"
INSTRUCTIONS = (Path(__file__).parent / "instructions.txt").read_text("utf-8")
MAX_CHARS = 300


def questions(encoder: CachedEncoder) -> list[Shown | Compared | Choice]:
    """Return all questions in an order that says nothing."""
    found: list[Shown | Compared | Choice] = []
    for corpus in FIELDS:
        with indexed(corpus, encoder) as index:
            found += dict.fromkeys(asked_of(corpus, index))
    return [found[i] for i in np.random.default_rng(SEED).permutation(len(found)).tolist()]


def is_swapped(number: int) -> bool:
    """Return whether the lists of a comparison stand in the other order."""
    return bool(np.random.default_rng([SEED, number]).integers(2))


def text_of(number: int, one: Shown | Compared | Choice) -> str:
    """Return a question as a reader sees it."""
    if isinstance(one, Shown):
        return f"{number}. NAME  {one.name}\n      “{' '.join(one.sentence.split())[:MAX_CHARS]}”"
    if isinstance(one, Choice):
        options = "  ".join(f"{place}) {value}" for place, value in enumerate(one.values, 1))
        return f"{number}. CHOICE  {'; '.join(one.names)}\n      {options}"
    first, second = one.names[::-1] if is_swapped(number) else one.names
    groups = f"first group: {one.values[0]}   second group: {one.values[1]}   ({FIELDS[one.corpus]})"
    return f"{number}. GROUP  {groups}\n      I: {'; '.join(first)}\n      II: {'; '.join(second)}"


def write(folder: Path) -> None:
    """Write the quiz and the key."""
    asked = questions(CachedEncoder())
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "INSTRUCTIONS.txt").write_text(INSTRUCTIONS, "utf-8")
    lines = [text_of(number, one) for number, one in enumerate(asked, 1)]
    (folder / "quiz.txt").write_text("\n\n".join(lines) + "\n", "utf-8")
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "key.json").write_text(json.dumps([keyed(one) for one in asked]) + "\n")
    print(f"{len(asked):,} questions")


def keyed(one: Shown | Compared | Choice) -> dict[str, Any]:
    """Return what the key keeps of a question: no text of a corpus."""
    kept = {"kind": type(one).__name__, **one._asdict()}
    kept.pop("sentence", None)
    return kept


def collect(folder: Path) -> None:
    """Keep what a reader wrote, by the number of the question."""
    lines: Sequence[list[str]] = [
        line.split() for line in (folder / "ANSWERS.txt").read_text("utf-8").splitlines() if line.strip()
    ]
    answers = {line[0].rstrip("."): "".join(line[1:]) for line in lines}
    (FOLDER / "answers.json").write_text(json.dumps(answers) + "\n")
    print(f"{len(answers):,} answers")


def main() -> None:
    """Write the quiz, or collect answers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--answers", action="store_true")
    arguments = parser.parse_args()
    (collect if arguments.answers else write)(arguments.folder)


if __name__ == "__main__":
    main()
