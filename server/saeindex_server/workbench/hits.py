"""A hit on a page: its text, the sentences that prove what it says, and the parts of its score."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence, Set
from functools import partial
from typing import NamedTuple

from nicegui import ui

from saeindex.indexing.sentences import Spans, spans_in
from saeindex.indexing.words import word_spans
from saeindex.language.speech import masked
from saeindex.search.hits import Hit, compare
from saeindex.types import Part, Proof, cut, one_line, shortened, visible
from saeindex_server.workbench.conditions import show_bars

SENTENCE_CHARS, SENTENCES, PARTS, REASONS = 160, 2, 6, 4
UNNAMED = {"residual": "not in the dictionary", "bias": "common to all records"}


class Doing(NamedTuple):
    """What a person can do with a hit: what ``menu`` adds to a concept of it, and whether it is liked.

    ``words`` is the language of the index's words.
    """

    menu: Callable[[Proof], None]
    judge: Callable[[str, bool], Awaitable[None]]
    liked: Callable[[str], bool | None]
    words: str


def show_hit(
    rank: int, hit: Hit, was: int | None = None, doing: Doing | None = None, below: Hit | None = None
) -> None:
    """Show a hit; ``was`` is its rank without steering, ``below`` the next one."""
    with ui.card().classes("w-full hit q-pa-sm").props("flat bordered"):
        with ui.row().classes("w-full items-baseline no-wrap gap-2"):
            ui.label(f"{rank}").classes("rank")
            if was is not None and was != rank:
                icon, colour = ("arrow_upward", "positive") if was > rank else ("arrow_downward", "negative")
                with ui.row().classes("items-center no-wrap gap-0"):
                    ui.icon(icon, color=colour).props(f'aria-label="was {was}"')
                    ui.label(f"was {was}").classes("was")
            ui.label(", ".join(map(str, _fields(hit)))).classes("fields")
            if doing is not None:
                _show_thumbs(hit, doing)
            ui.label(f"{hit.score:.3f}").classes("score")
        spans, proved = _words(hit, doing), _by_sentence(hit.evidence)[:SENTENCES]
        if spans:
            _show_words(hit, spans, {proofs[0].start for proofs in proved})
        elif not hit.evidence:
            ui.label(one_line(hit.text, 2 * SENTENCE_CHARS)).classes("text")
        for proofs in proved:
            with ui.element("div").classes("w-full proof"):
                for proof in proofs:
                    _show_concept(proof, doing)
                show_sentence(proofs[0], spans)
        more = ui.expansion("Text and score").classes("w-full more").props("dense")
        more.on_value_change(lambda event: _fill(more, hit, below) if event.value else None)


def _show_concept(proof: Proof, doing: Doing | None) -> None:
    """Show a concept; its menu is made when it is first asked for, as a page has hundreds."""
    button = ui.button(f"{shortened(proof.label, 24)} {proof.evidence:.0%}")
    button.props("flat dense no-caps size=sm").classes("concept")
    if doing is None:
        return

    def choose() -> None:
        if not list(button.default_slot.children):
            with button, ui.menu() as menu:
                doing.menu(proof)
            menu.open()

    button.on_click(choose)


def _show_thumbs(hit: Hit, doing: Doing) -> None:
    """Show the two buttons that say more, or less, like this one."""
    held = doing.liked(hit.id)
    kinds = (True, "thumb_up", "more like this"), (False, "thumb_down", "less like this")
    for is_liked, icon, said in kinds:
        is_held, judged = held is is_liked, partial(doing.judge, hit.id, is_liked)
        button = ui.button(icon=icon, on_click=judged, color="primary" if is_held else "grey")
        button.props(f'flat dense round size=xs aria-label="{said}" title="{said}"')
        button.props(f"aria-pressed={str(is_held).lower()}")


def _fill(more: ui.expansion, hit: Hit, below: Hit | None) -> None:
    """Show the whole text of a hit, and its score, when they are asked for."""
    more.clear()
    with more:
        _show_text(hit)
        if hit.explanation is None:
            return
        _show_bars(hit.explanation.parts, hit.explanation.total)
        if below is not None and below.explanation is not None:
            found = compare(hit, below)
            first, others = found.differences[:REASONS], found.differences[REASONS:]
            shown = [(one.value, UNNAMED.get(one.kind, one.label)) for one in first if one.value]
            shown.append((sum(one.value for one in others), "the rest"))
            parts = ", ".join(f"{value:+.3f} {name}" for value, name in shown)
            ui.label(f"Why above the next one, by {found.total:.3f}: {parts}").classes("understood")


def _fields(hit: Hit) -> list[str]:
    simple = [value for value in hit.metadata.values() if isinstance(value, str | int | float)]
    return [shortened(str(value), 40) for value in simple][:4] or [shortened(hit.id, 60)]


def _by_sentence(evidence: Sequence[Proof]) -> list[list[Proof]]:
    """Return what is proved by each sentence, in the order of the evidence."""
    starts = dict.fromkeys(proof.start for proof in evidence)
    return [[proof for proof in evidence if proof.start == start] for start in starts]


def show_sentence(proof: Proof, spans: Spans = ()) -> None:
    """Show the sentence of a proof, its word marked, and what of its text is in ``spans``."""
    own = [(a - proof.start, b - proof.start) for a, b in spans if a >= proof.start]
    _show_marked(proof.sentence, [*own, proof.word] if proof.word else own)


def _show_marked(sentence: str, spans: Spans) -> None:
    """Show a sentence with marked spans, cut before the first and after the last."""
    at, shown = 0, list[tuple[str, str]]()
    for start, end in sorted(spans):
        if at <= start and end <= len(sentence):
            before = sentence[at:start]
            if not shown and len(before) > SENTENCE_CHARS // 2:
                before = f"… {before[-SENTENCE_CHARS // 2 :].partition(' ')[2]}"
            shown += [(before, "inline"), (sentence[start:end], "inline word")]
            at = end
    shown.append((cut(sentence[at:], SENTENCE_CHARS), "inline"))
    with ui.element("div").classes("sentence"):
        for part, classes in shown:
            if part:
                ui.label(visible(part)).classes(classes)


def _words(hit: Hit, doing: Doing | None) -> Spans:
    """Return where the words of the query are in the text of a hit that is explained."""
    if doing is None or hit.explanation is None:
        return []
    named = [part.label for part in hit.explanation.parts if part.kind == "word"]
    return word_spans(hit.text, named, doing.words) if named else []


def _show_words(hit: Hit, spans: Spans, shown: Set[int]) -> None:
    """Show the sentence with most words of the query, unless it is one of those that start at ``shown``."""
    sentences = spans_in(hit.text)
    counts = [sum(start <= a < end for a, _ in spans) for start, end in sentences]
    start, end = sentences[counts.index(max(counts))]
    if start not in shown:
        _show_marked(hit.text[start:end], [(a - start, b - start) for a, b in spans if a >= start])


def _show_text(hit: Hit) -> None:
    """Show the whole text, with the sentences that prove a concept marked by its name on hover."""
    text, at, by_start = masked(hit.text), 0, {proof.start: proof for proof in reversed(hit.evidence)}
    with ui.element("div").classes("whole"):
        for start in sorted(by_start):
            proof = by_start[start]
            if start < at:
                continue
            ui.label(text[at:start]).classes("inline")
            at = start + len(proof.sentence)
            with ui.label(proof.sentence).classes("inline marked").props("tabindex=0"):
                said = [one for one in hit.evidence if one.start == start]
                ui.tooltip(", ".join(f"{one.label} {one.evidence:.0%}" for one in said))
        ui.label(text[at:]).classes("inline")


def _show_bars(parts: tuple[Part, ...], total: float) -> None:
    """Show the parts of a score as bars, which add up to it."""
    named = [part for part in parts if part.kind == "feature"]
    rows = [(part.label, part.value) for part in named[:PARTS]]
    if rest := named[PARTS:]:
        rows.append((f"{len(rest)} further concepts", sum(part.value for part in rest)))
    rows += [(UNNAMED.get(part.kind, part.label), part.value) for part in parts if part.kind != "feature"]
    largest = max((abs(value) for _, value in rows), default=1.0) or 1.0
    bars = [
        (shortened(name, 32), f"{value:+.3f}", 100 * abs(value) / largest, "minus" if value < 0 else "plus")
        for name, value in rows
    ]
    show_bars([*bars, ("the score", f"{total:+.3f}", 0, "plus")])
