"""The page of a concept: what it means, how many records speak of it, and the sentences that do."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, urlencode

from nicegui import ui

from saeindex.types import shortened
from saeindex_server.workbench.hits import show_sentence

if TYPE_CHECKING:
    from saeindex.concepts.feature_card import FeatureCard
    from saeindex.index import FeatureIndex

EXAMPLES = 8
LEVELS = ("possible", "present", "typical", "strong")
MEANING = {
    "possible": "perhaps speaks of it (evidence .2 and more)",
    "present": "speaks of it (.5 and more)",
    "typical": "surely speaks of it (.7 and more)",
    "strong": "speaks of it clearly (.9 and more)",
}


class Seen(NamedTuple):
    """A concept as it is in an index of ``total`` records, and the concepts that often come with it."""

    card: FeatureCard
    total: int
    companions: list[tuple[str, float]]


def look(index: FeatureIndex, feature: str) -> Seen:
    """Look at a concept, on a thread."""
    card = index.concepts.card(feature, EXAMPLES)
    beside = index.concepts.companions(card.id)
    return Seen(card, len(index), [(one.label, one.lift) for one in beside])


def show_concept(name: str, seen: Seen) -> None:
    """Show a concept of an index of this name."""
    card, present, typical, strong, possible = seen.card, *seen.card.records_at_level
    counts = dict(zip(LEVELS, (possible, present, typical, strong), strict=True))
    with ui.column().classes("page w-full gap-2"):
        ui.label(shortened(card.label, 120)).classes("text-h5")
        if card.description:
            ui.label(shortened(card.description, 400)).classes("text")
        with ui.row().classes("gap-2"):
            _link("Only records that speak of it", name, where=f"#{card.id}")
            _link("Steer towards it", name, steer=f"+#{card.id}:2")
        ui.label("Records").classes("heading")
        with ui.element("table").classes("bars"):
            for level in LEVELS:
                with ui.element("tr"):
                    for classes, text in (("name", MEANING[level]), ("value", f"{counts[level]:,}")):
                        with ui.element("td").classes(classes):
                            ui.label(text)
                    with ui.element("td").classes("bar"):
                        share = 100 * counts[level] / max(1, seen.total)
                        ui.element("div").classes("plus").style(f"width:{share:.1f}%")
        ui.label("Sentences that speak of it most clearly").classes("heading")
        for record in card.strongest:
            with ui.row().classes("w-full items-baseline no-wrap gap-2"):
                ui.label(shortened(record.id, 24)).classes("fields narrow")
                if record.proof is not None:
                    show_sentence(record.proof)
                else:
                    ui.label(shortened(record.text, 240)).classes("text")
        _chips("Near it in meaning", name, [(one.label, one.id) for one in card.similar])
        if seen.companions:
            ui.label("Often in the same records").classes("heading")
            ui.label(
                ", ".join(
                    f"{shortened(label, 30)} (×{lift:.1f})" for label, lift in seen.companions[:EXAMPLES]
                )
            )


def _link(text: str, name: str, **asked: str) -> None:
    ui.link(text, f"/{quote(name)}?{urlencode(asked)}")


def _chips(title: str, name: str, concepts: list[tuple[str, int]]) -> None:
    if concepts:
        ui.label(title).classes("heading")
        with ui.row().classes("gap-2"):
            for label, feature in concepts:
                ui.link(shortened(label, 30), f"/{quote(name)}/concept/{feature}")
