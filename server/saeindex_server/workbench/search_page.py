"""The page of a search: results as they are and steered, sliders of concepts, and conditions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from nicegui import ui

from saeindex.errors import SaeIndexError
from saeindex.types import shortened
from saeindex_server.problems import Refusal
from saeindex_server.workbench.asked import Asked
from saeindex_server.workbench.hits import show_hit

if TYPE_CHECKING:
    from saeindex.index import FeatureIndex
    from saeindex.search.facets import ConceptFacet, Exclusion
    from saeindex.search.hits import Hits
    from saeindex.types import Proof
    from saeindex_server.access import AuthorisedIndex

STRONGEST, STEP, SUGGESTED = 4.0, 0.5, 8
Opener = Callable[[], Awaitable["AuthorisedIndex"]]


def _safe(text: str) -> str:
    """Return a text as a part of an attribute: letters, digits and spaces."""
    return "".join(one if one.isalnum() else " " for one in text)


class Found(NamedTuple):
    """The results of a search: as it is, steered, and what could be steered or left out next."""

    plain: Hits
    steered: Hits | None
    facets: list[ConceptFacet]
    exclusions: list[Exclusion]


def find(index: FeatureIndex, asked: Asked) -> Found:
    """Search an index, on a thread."""
    plain = index.search(asked.query(is_steered=False))
    steered = index.search(asked.query(is_steered=True)) if any(asked.steers.values()) else None
    return Found(
        plain, steered, index.concepts.facets(plain.plan.query), index.concepts.exclusions(plain.plan.query)
    )


class SearchPage:
    """One open page; a change while a search runs is searched for when that ends, and only the last."""

    def __init__(self, opener: Opener, name: str, asked: Asked) -> None:
        """``opener`` returns the index as who looks may use it at the moment."""
        self._open, self._name, self._asked = opener, name, asked
        self._is_busy = self._is_late = False

    def build(self) -> None:
        """Show the page."""
        with ui.row().classes("w-full no-wrap page"):
            with ui.column().classes("side gap-2"):
                self._text = (
                    ui.input("Search", value=self._asked.text)
                    .classes("w-full")
                    .props("outlined dense clearable autofocus")
                )
                self._text.on("keydown.enter", self._submit)
                self._where = (
                    ui.input(
                        "Only records where", value=self._asked.where, placeholder='"crime" AND NOT "war"'
                    )
                    .classes("w-full")
                    .props("outlined dense clearable")
                )
                self._where.on("keydown.enter", self._submit)
                ui.button("Search", on_click=self._submit).classes("w-full").props("unelevated no-caps")
                self._sliders = ui.column().classes("w-full gap-1")
                self._next = ui.column().classes("w-full gap-1")
            self._results = ui.column().classes("results gap-2")
        self._draw_sliders()
        ui.timer(0, self._search, once=True)

    async def _submit(self) -> None:
        self._asked.text, self._asked.where = self._text.value or "", self._where.value or ""
        await self._search()

    async def _steer(self, target: str, strength: float) -> None:
        self._asked.steers[target] = strength
        await self._search()

    async def _add(self, target: str) -> None:
        if target and target not in self._asked.steers:
            self._asked.steers[target] = 1.0
            self._draw_sliders()
            await self._search()

    async def _remove(self, target: str) -> None:
        self._asked.steers.pop(target, None)
        self._draw_sliders()
        await self._search()

    async def _restrict(self, clause: str) -> None:
        held = self._asked.where.strip()
        self._where.value = self._asked.where = f"({held}) AND {clause}" if held else clause
        await self._search()

    async def _search(self) -> None:
        if self._is_busy:
            self._is_late = True
            return
        self._is_busy = True
        try:
            self._is_late = True
            while self._is_late:
                self._is_late = False
                await self._search_once()
        finally:
            self._is_busy = False

    async def _search_once(self) -> None:
        asked = Asked(self._asked.text, self._asked.where, dict(self._asked.steers))
        ui.navigate.history.replace(asked.address(f"/ui/{self._name}"))
        if asked.is_empty:
            self._say("Search for a topic, or say which records to keep.", "search")
            self._next.clear()
            return
        try:
            index = await self._open()
            found = await index.run(lambda opened: find(opened, asked))
        except SaeIndexError as error:
            self._say(f"{error.asked}: {error.found}", "error_outline", error.do)
            return
        except Refusal as refusal:
            self._say(f"{refusal.asked}: {refusal.found}", "error_outline", refusal.do)
            return
        self._draw_results(found, asked)
        self._draw_next(found)

    def _say(self, text: str, icon: str, do: str = "") -> None:
        """Show a sentence in place of results."""
        self._results.clear()
        with self._results, ui.column().classes("w-full items-center empty gap-1"):
            ui.icon(icon, size="2rem")
            ui.label(shortened(text, 400)).classes("text-center")
            if do:
                ui.label(shortened(do, 400)).classes("text-center do")

    def _draw_sliders(self) -> None:
        self._sliders.clear()
        with self._sliders:
            ui.label("Steer: less or more of").classes("heading")
            for target, strength in self._asked.steers.items():
                with ui.row().classes("w-full items-center no-wrap gap-2"):
                    ui.label(shortened(target, 18)).classes("target")
                    slider = ui.slider(
                        min=-STRONGEST, max=STRONGEST, step=STEP, value=strength,
                        on_change=lambda event, one=target: self._steer(one, float(event.value)),
                    ).props(f'aria-label="less or more {_safe(target)}"').classes("col")  # fmt: skip
                    ui.label().bind_text_from(slider, "value", lambda value: f"{value:+g}").classes(
                        "strength"
                    )
                    ui.button(icon="close", on_click=lambda _, one=target: self._remove(one)).props(
                        'flat dense round size=sm aria-label="remove"'
                    )
            added = ui.input(placeholder="a concept, and Enter").classes("w-full").props("dense")

            async def add() -> None:
                await self._add((added.value or "").strip())

            added.on("keydown.enter", add)

    def _draw_results(self, found: Found, asked: Asked) -> None:
        self._results.clear()
        with self._results:
            for line in found.plain.plan.understood:
                ui.label(shortened(line, 300)).classes("understood")
            if not found.plain:
                self._say("No record matches.", "inbox", "Loosen the condition.")
                return
            with ui.row().classes("w-full no-wrap columns"):
                self._draw_list("As asked", found.plain, is_steered=False)
                if found.steered is not None:
                    moved = f"Steered {asked.steer}, the query moved by {found.steered.drift:.2f}"
                    self._draw_list(moved, found.steered, is_steered=True)
            with ui.expansion("The same in Python, or as a command").classes("w-full"):
                ui.code(asked.as_python(self._name), language="python").classes("w-full")
                ui.code(asked.as_command(self._name), language="bash").classes("w-full")

    def _draw_list(self, title: str, hits: Hits, is_steered: bool) -> None:
        with ui.column().classes("list gap-2"):
            ui.label(shortened(title, 90)).classes("heading")
            for rank, hit in enumerate(hits, 1):
                was = hit.steered.rank_before if is_steered and hit.steered is not None else None
                show_hit(rank, hit, was, self._menu)

    def _menu(self, proof: Proof) -> None:
        """Add the menu of a concept to what was made last."""
        with ui.menu():
            ui.menu_item("More of it", on_click=lambda: self._add(proof.label))
            ui.menu_item("Only records with it", on_click=lambda: self._restrict(f'"{proof.label}"'))
            ui.menu_item("None with it", on_click=lambda: self._restrict(f'NOT "{proof.label}"'))
            if proof.id is not None:
                ui.menu_item(
                    "About it", on_click=lambda: ui.navigate.to(f"/{quote(self._name)}/concept/{proof.id}")
                )

    def _draw_next(self, found: Found) -> None:
        self._next.clear()
        with self._next:
            if found.facets:
                ui.label("Frequent in these results").classes("heading")
                with ui.row().classes("gap-1"):
                    for facet in found.facets[:SUGGESTED]:
                        text = f"{shortened(facet.label, 20)} {facet.count}"
                        ui.chip(text, on_click=lambda _, one=facet.label: self._add(one)).props(
                            "clickable outline dense"
                        ).tooltip(
                            f"in {facet.share:.0%} of these, {facet.index_share:.1%} of all: steer by it"
                        )
            if found.exclusions:
                ui.label("Leave out").classes("heading")
                with ui.row().classes("gap-1"):
                    for one in found.exclusions[:SUGGESTED]:
                        text = f"{shortened(one.facet.label, 20)} −{one.removes}"
                        ui.chip(text, on_click=lambda _, clause=one.clause: self._restrict(clause)).props(
                            "clickable outline dense color=negative"
                        ).tooltip(f"{one.clause} removes {one.removes} of these")
