"""Records that show a finding, from both sides, with what to look at in them."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from saeindex.analysis.diff.results import Example
from saeindex.collection.rows import tokens
from saeindex.types import shown_label

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from saeindex.analysis.diff.results import Finding
    from saeindex.analysis.stats.evidence import Evidence
    from saeindex.analysis.stats.groups import Groups
    from saeindex.collection.snapshot import Snapshot

# Findings that get examples, of each family; the start of a text that is shown, and its strongest concepts.
ILLUSTRATED, SHOWN_CHARS, SHOWN_CONCEPTS = 20, 240, 4
# Characters before the first highlight.
BEFORE = 40


def illustrated(
    snapshot: Snapshot, groups: Groups, evidence: Evidence, found: Sequence[Finding], count: int
) -> tuple[Finding, ...]:
    """Return findings, the first of them with up to ``count`` examples from each side."""
    if count < 1:
        return tuple(found)
    place = {key: column for column, key in enumerate(evidence.keys)}
    columns, codes = evidence.has.tocsc(), groups.codes
    with_examples = []
    for one in found[:ILLUSTRATED]:
        holders = columns[:, place[one.key]].indices
        examples = {}
        for name in (one.group, one.against):
            own = groups.pooled[holders[codes[holders] == groups.names.index(name)]]
            examples[name] = tuple(_examples(snapshot, _strongest(snapshot, one, own)[:count], one))
        with_examples.append(replace(one, examples=examples))
    return (*with_examples, *found[ILLUSTRATED:])


def _strongest(snapshot: Snapshot, one: Finding, rows: NDArray[np.int64]) -> list[int]:
    """Return rows in the order in which they show a finding: by activation, else as they come (at random)."""
    if one.family != "concepts" or not len(rows):
        return [int(row) for row in rows]
    activation = snapshot.activations[rows][:, int(one.key)].toarray().ravel()
    return [int(row) for row in rows[np.argsort(-activation, kind="stable")]]


def _examples(snapshot: Snapshot, rows: Sequence[int], one: Finding) -> list[Example]:
    found = []
    for row, text in zip(rows, snapshot.texts(rows), strict=True):
        found.append(example_of(snapshot, row, text, _highlights(one, text)))
    return found


def example_of(snapshot: Snapshot, row: int, text: str, highlights: tuple[str, ...] = ()) -> Example:
    """Return a record as an example: a part of its text, and its strongest concepts."""
    code = snapshot.activations[row]
    order = np.argsort(-code.data, kind="stable")[:SHOWN_CONCEPTS]
    labels = [snapshot.space.labels[int(code.indices[i])] for i in order]
    shown = tuple(shown_label(label.text, label.is_weak) for label in labels)
    return Example(snapshot.ids[row], _excerpt(" ".join(text.split()), highlights), shown, highlights)


def _excerpt(line: str, highlights: Sequence[str]) -> str:
    """Return the part of a text that begins a little before the first highlight, cut to what is shown."""
    places = [found.start() for word in highlights if (found := word_in(word, line))]
    start = max(0, min(places, default=0) - BEFORE)
    start = line.find(" ", start) + 1 if start else 0
    cut = line[start : start + SHOWN_CHARS]
    return ("…" if start else "") + cut + ("…" if start + len(cut) < len(line) else "")


def word_in(word: str, text: str) -> re.Match[str] | None:
    """Return where a word stands first in a text, as a word and whatever its case."""
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE)


def _highlights(one: Finding, text: str) -> tuple[str, ...]:
    """Return the words of a text that are the finding, or that its label names."""
    wanted = {str(one.key)} if one.family == "words" else tokens(one.label.removesuffix(" (weak)"))
    return tuple(sorted(word for word in tokens(text) if word in wanted and word.isalnum()))
