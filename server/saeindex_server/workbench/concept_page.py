"""The page of a concept: what it means, how many records speak of it, and the sentences that do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, TypeVar
from urllib.parse import quote, urlencode

from nicegui import ui

from saeindex.errors import SaeIndexError
from saeindex.indexing.terms import Definition
from saeindex.operations.concepts import Define, Hide, Rename
from saeindex.search.query import Query
from saeindex.types import Proof, shortened
from saeindex_server.workbench.conditions import Opener, ask_word, flat, show_bars
from saeindex_server.workbench.hits import show_sentence

if TYPE_CHECKING:
    from saeindex.concepts.feature_card import FeatureCard
    from saeindex.index import FeatureIndex
    from saeindex.operations.operation import Change

# Sentences that are shown of each kind, and records in which those are sought that do as likely as not.
EXAMPLES, BORDERLINE, READ = 8, 6, 40
# What follows the name of a concept of the space in that of one that this index has of it.
HERE = "here"
R = TypeVar("R")
Judge: TypeAlias = Callable[[bool], Awaitable[None]]
MEANING = {
    "possible": "perhaps speaks of it (evidence .2 and more)",
    "present": "speaks of it (.5 and more)",
    "typical": "surely speaks of it (.7 and more)",
    "strong": "speaks of it clearly (.9 and more)",
}


class Seen(NamedTuple):
    """A concept in an index of ``total`` records.

    ``companions`` often come with it; ``borderline`` are sentences that speak of it as likely as not; ``own``
    is how this index defines it: a concept of the space has its clearest sentences as examples of one that
    this index has beside it once somebody judges a sentence.
    """

    card: FeatureCard
    total: int
    companions: list[tuple[str, float]]
    borderline: list[tuple[str, Proof]]
    own: Definition
    is_own: bool

    @property
    def judging(self) -> str:
        """What comes of a sentence that is judged."""
        if self.is_own:
            return "A sentence that you judge becomes an example of it, or of what is not meant."
        return (
            f"Judge one, and this index has a concept {self.own.name!r} beside this one, by its clearest "
            "sentences and those that you judge."
        )

    @classmethod
    def of(cls, index: FeatureIndex, feature: str) -> Seen:
        """Look at a concept, on a thread."""
        card = index.concepts.card(feature, EXAMPLES)
        beside = index.concepts.companions(card.id)
        perhaps = Query(
            text=card.label, where=f"possible(#{card.id}) AND NOT typical(#{card.id})", limit=READ
        )
        found = index.search(perhaps) if card.records_at_level[-1] > card.records_at_level[1] else ()
        borderline = [(hit.id, proof) for hit in found for proof in hit.evidence if proof.id == card.id]
        borderline.sort(key=lambda one: abs(one[1].evidence - 0.5))
        terms = index.state.manifest.terms
        place = card.id - (index.space.n_features - len(terms))
        if is_own := place >= 0 and bool((kept := terms[place]).name):
            own = Definition(kept.name, kept.description, kept.examples or (kept.name,), kept.unlike)
        else:
            clear = tuple(one.proof.sentence for one in card.strongest if one.proof is not None)
            own = Definition(f"{card.label} {HERE}", card.description, clear)
        companions = [(one.label, one.lift) for one in beside]
        return cls(card, len(index), companions, borderline[:BORDERLINE], own, is_own)


class ConceptPage:
    """One open page of a concept."""

    def __init__(self, opener: Opener, name: str, feature: str, can_write: bool) -> None:
        """``opener`` returns the index as who looks may use it at the moment."""
        self._open, self._name, self._feature, self._can_write = opener, name, feature, can_write

    def build(self) -> None:
        """Show the page, once it is there: to look at a concept may take seconds."""
        self._place = ui.column().classes("w-full")
        with self._place:
            ui.spinner(size="2rem").classes("q-ma-lg")
        ui.timer(0, self._show, once=True)

    async def _show(self) -> None:
        try:
            seen = await (await self._open()).run(lambda opened: Seen.of(opened, self._feature))
        except SaeIndexError as error:
            self._place.clear()
            with self._place, ui.column().classes("q-pa-md gap-2"):
                ui.label(f"{error.asked}: {error.found}.")
                ui.link("Search", f"/{quote(self._name)}")
            return
        self._place.clear()
        with self._place:
            self._draw(seen)

    async def _change(self, change: Change[R]) -> R | None:
        try:
            index = await self._open()
            changed = await index.change(change.name, lambda opened: opened.perform(change))
        except SaeIndexError as error:
            ui.notify(shortened(f"{error.asked}: {error.found}", 300), type="negative")
            return None
        await self._show()
        return changed

    def _draw(self, seen: Seen) -> None:
        card = seen.card
        with ui.column().classes("page w-full gap-2"):
            with ui.row().classes("w-full items-center gap-2"):
                ui.label(shortened(card.label, 120)).classes("text-h5")
                ui.label(f"#{card.id}, {card.origin}").classes("understood")
                if self._can_write:
                    self._draw_changes(card)
            if card.description:
                ui.label(shortened(card.description, 400)).classes("text")
            with ui.row().classes("gap-2"):
                self._link("Only records that speak of it", where=f"#{card.id}")
                self._link("Steer towards it", steer=f"+#{card.id}:2")
            self._draw_levels(seen)
            ui.label("Sentences that speak of it most clearly").classes("heading")
            for record in card.strongest:
                self._draw_sentence(record.id, record.proof, record.text)
            if seen.borderline:
                ui.label("Sentences that speak of it as likely as not").classes("heading")
                if self._can_write:
                    ui.label(seen.judging).classes("understood")
                for identity, proof in seen.borderline:
                    self._draw_sentence(identity, proof, "", self._judged(seen, proof.sentence))
            if card.similar:
                ui.label("Near it in meaning").classes("heading")
                with ui.row().classes("gap-2"):
                    for one in card.similar:
                        ui.link(shortened(one.label, 30), f"/{quote(self._name)}/concept/{one.id}")
            if seen.companions:
                ui.label("Often in the same records").classes("heading")
                with ui.row().classes("gap-2"):
                    for label, lift in seen.companions[:EXAMPLES]:
                        ui.label(f"{shortened(label, 30)} ×{lift:.1f}").classes("text")

    def _draw_changes(self, card: FeatureCard) -> None:
        """Show what who may write can do: name it, and hide it."""
        named = ask_word("another name", lambda name: self._change(Rename(card.id, name)), "narrow-input")
        flat("Rename", named, "size=sm")
        is_hidden = card.kind == "hidden"
        hide = partial(self._change, Hide(card.id, hidden=not is_hidden))
        button = flat("Show again" if is_hidden else "Hide", hide, "size=sm")
        button.tooltip("a hidden concept comes last, as one without a name")

    def _draw_levels(self, seen: Seen) -> None:
        present, typical, strong, possible = seen.card.records_at_level
        counts = dict(zip(MEANING, (possible, present, typical, strong), strict=True))
        ui.label("Records").classes("heading")
        show_bars(
            [
                (MEANING[level], f"{count:,}", 100 * count / max(1, seen.total), "plus")
                for level, count in counts.items()
            ]
        )

    def _draw_sentence(
        self, identity: str, proof: Proof | None, text: str, judge: Judge | None = None
    ) -> None:
        with ui.row().classes("w-full items-baseline no-wrap gap-2"):
            ui.label(shortened(identity, 24)).classes("fields narrow")
            if proof is None:
                ui.label(shortened(text, 240)).classes("text")
                return
            ui.label(f"{proof.evidence:.0%}").classes("score")
            show_sentence(proof)
            if judge is not None:
                for said, speaks in (("It does", True), ("It does not", False)):
                    flat(said, partial(judge, speaks), "size=sm")

    def _judged(self, seen: Seen, sentence: str) -> Judge | None:
        """Return what makes a sentence an example of a concept of this index, or what is unlike it."""
        if not self._can_write:
            return None
        own = seen.own

        async def judge(speaks: bool) -> None:
            examples = (*own.examples, sentence) if speaks else own.examples
            unlike = own.unlike if speaks else (*own.unlike, sentence)
            card = await self._change(Define(own.name, examples, own.description, unlike))
            if card is not None and card.id != seen.card.id:
                with self._place:  # the button of this is gone
                    ui.navigate.to(f"/{quote(self._name)}/concept/{card.id}")

        return judge

    def _link(self, text: str, **asked: str) -> None:
        ui.link(text, f"/{quote(self._name)}?{urlencode(asked)}")
