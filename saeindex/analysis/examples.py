"""Records as examples: the sentences that speak for what a record is an example of, their words marked."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from saeindex.collection.sample import tokens
from saeindex.features.labels import telling_order
from saeindex.indexing.points import PRESENT
from saeindex.indexing.sentences import spans_in
from saeindex.language.speech import masked, readable
from saeindex.report.model import Example
from saeindex.types import shown_label

if TYPE_CHECKING:
    from saeindex.collection.snapshot import Snapshot

# Limits of an example: characters, sentences, and concepts.
SHOWN_CHARS, SHOWN_SENTENCES, SHOWN_CONCEPTS = 240, 2, 4
# Characters of a text before the first highlight.
BEFORE = 40


def examples_of(
    snapshot: Snapshot, rows: Iterable[int], features: Collection[int] = (), words: Collection[str] = ()
) -> tuple[Example, ...]:
    """Return records as examples, each a part of its text with the concepts that it is surest to speak of.

    The part is the sentences that speak of the ``features``, with the words that do so marked. Where there
    are none, it is that around the first of the ``words``, which are marked, or the start of the text.
    """
    chosen = list(rows)
    return tuple(
        Example(snapshot.ids[row], *_part(snapshot, row, text, features, words))
        for row, text in zip(chosen, snapshot.texts(chosen), strict=True)
    )


def beside(examples: Iterable[Example], others: Iterable[Example]) -> tuple[Example, ...]:
    """Return examples of one text field with those of another field of the same records."""
    return tuple(
        replace(one, text=_joined(one.text, other.text), highlights=(*one.highlights, *other.highlights))
        for one, other in zip(examples, others, strict=True)
    )


def _part(
    snapshot: Snapshot, row: int, text: str, features: Collection[int], words: Collection[str]
) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """Return the part of a text that is shown, its concepts, and its marked words."""
    spoken = sorted(snapshot.mentions(row), key=lambda one: -one.p)
    said = [one for one in spoken if one.feature in features]
    numbers = sorted([*dict.fromkeys(one.sentence for one in said)][:SHOWN_SENTENCES])
    concepts = _concepts(snapshot, row, [one.feature for one in spoken if one.p >= PRESENT])
    evidence = snapshot.space.evidence
    if not numbers or evidence is None:
        own = tuple(sorted(tokens(text).intersection(words)))
        return _excerpt(readable(text), own, SHOWN_CHARS), concepts, own
    text, spans, parts, marked = masked(text), spans_in(text), list[str](), dict[str, None]()
    for number in numbers:
        sentence = text[slice(*spans[number])]
        found = (evidence.word_of(sentence, one.feature) for one in said if one.sentence == number)
        own = tuple(" ".join(sentence[slice(*word)].split()) for word in found if word is not None)
        parts.append(_excerpt(sentence, own, SHOWN_CHARS // len(numbers)))
        marked |= dict.fromkeys(own)
    part = _joined(*parts)
    return part, concepts, tuple(word for word in marked if word in part)


def _concepts(snapshot: Snapshot, row: int, spoken: list[int]) -> tuple[str, ...]:
    """Return the labels of the first of the ``spoken`` features, or of the most telling if there are none."""
    code, space = snapshot.activations[row], snapshot.space
    if not spoken:
        named = space.is_named[code.indices]
        indices, values = code.indices[named], code.data[named]
        spoken = indices[telling_order(space.labels, space.calibration, indices, values)].tolist()
    labels = [space.labels[feature] for feature in spoken[:SHOWN_CONCEPTS]]
    return tuple(shown_label(label.text, label.is_weak) for label in labels)


def _joined(*parts: str) -> str:
    return re.sub("…( ?…)+", "…", " … ".join(parts))


def _excerpt(text: str, marked: tuple[str, ...], chars: int) -> str:
    """Return the part of a text that begins a little before its first marked word."""
    line = " ".join(text.split())
    before, *rest = Example("", line, (), marked).parts()
    start = max(0, len(before) - BEFORE) if rest else 0
    start = line.find(" ", start) + 1 if start else 0
    cut = line[start : start + chars]
    return ("…" if start else "") + cut + ("…" if start + len(cut) < len(line) else "")
