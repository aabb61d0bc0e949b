"""The page of a search: results as they are and steered, sliders of concepts, and conditions."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from nicegui import ui

from saeindex.config import PROFILE
from saeindex.errors import SaeIndexError
from saeindex.operations.concepts import FitProfile
from saeindex.types import Proof, shortened
from saeindex_server.workbench.conditions import ConditionBlank, Opener, ask_word, both, flat, show_message
from saeindex_server.workbench.hits import Doing, show_hit

if TYPE_CHECKING:
    from saeindex.index import FeatureIndex
    from saeindex.search.facets import ConceptFacet, Exclusion
    from saeindex.search.hits import Hits
    from saeindex.search.plan import Plan
    from saeindex_server.workbench.asked import Asked

STRONGEST, STEP, SUGGESTED = 4.0, 0.5, 8
# Seconds between two places of a slider that is moved: what comes sooner is not sent.
THROTTLE = 0.05


def _safe(text: str) -> str:
    """Return a text as a part of an attribute: letters, digits and spaces."""
    return "".join(one if one.isalnum() else " " for one in text)


class Unsteered(NamedTuple):
    """The results of a search as it is, what could be steered or left out next, and the words' language."""

    asked: tuple[str, str]
    plain: Hits
    facets: list[ConceptFacet]
    exclusions: list[Exclusion]
    words: str

    @classmethod
    def of(cls, index: FeatureIndex, asked: Asked) -> Unsteered:
        """Search an index, on a thread."""
        plain = index.search(asked.query(is_steered=False))
        query = plain.plan.query
        further = index.concepts.facets(query), index.concepts.exclusions(query)
        return cls((asked.text, asked.where), plain, *further, index.state.manifest.words)


class SearchPage:
    """One open page; a change while a search runs is searched for when that ends, and only the last."""

    def __init__(self, opener: Opener, name: str, asked: Asked, server: str, can_write: bool) -> None:
        """``opener`` returns the index as who looks may use it at the moment; ``server`` is its address."""
        self._open, self._name, self._asked, self._server = opener, name, asked, server
        self._can_write = can_write
        self._is_busy = self._is_late = False
        self._unsteered: Unsteered | None = None

    def build(self) -> None:
        """Show the page."""
        with ui.row().classes("w-full no-wrap page"):
            with ui.column().classes("side gap-2"):
                self._text = ui.input("Search", value=self._asked.text).classes("w-full")
                self._text.props("outlined dense clearable autofocus")
                self._text.on("keydown.enter", self._submit)
                self._where = ConditionBlank(
                    self._open, "Only records where", self._asked.where, '"crime" AND NOT "war"', self._submit
                )
                ui.button("Search", on_click=self._submit).classes("w-full").props("unelevated no-caps")
                self._sliders = ui.column().classes("w-full gap-1")
                self._next = ui.column().classes("w-full gap-1")
            self._results = ui.column().classes("results gap-2")
        self._draw_sliders()
        ui.timer(0, self._search, once=True)

    async def _submit(self) -> None:
        self._asked.text, self._asked.where = self._text.value or "", self._where.value
        await self._search()

    async def _steer(self, target: str, strength: float) -> None:
        self._asked.steers[target] = strength
        await self._search()

    async def _add(self, target: str) -> None:
        if target and target not in self._asked.steers:
            self._asked.steers[target] = 1.0
            await self._again()

    async def _remove(self, target: str) -> None:
        self._asked.steers.pop(target, None)
        await self._again()

    async def _again(self, forgets: bool = False) -> None:
        """Search for what is asked now; where thumbs changed, also for what no slider changes."""
        self._unsteered = None if forgets else self._unsteered
        self._draw_sliders()
        await self._search()

    async def _restrict(self, clause: str) -> None:
        self._where.value = self._asked.where = both(self._asked.where, clause)
        await self._search()

    async def _judge(self, record: str, is_liked: bool) -> None:
        """Like or dislike a hit; a second time takes it back."""
        if self._asked.judged.pop(record, None) is not is_liked:
            self._asked.judged[record] = is_liked
        await self._again(forgets=True)

    async def _forget(self) -> None:
        self._asked.judged.clear()
        await self._again(forgets=True)

    async def _search(self) -> None:
        self._is_late = True
        if self._is_busy:
            return
        self._is_busy = True
        try:
            with self._results:  # what asked for it may be gone by now
                while self._is_late:
                    self._is_late = False
                    await self._search_once()
        finally:
            self._is_busy = False

    async def _search_once(self) -> None:
        asked = self._asked.copy()
        ui.navigate.history.replace(asked.address(f"/ui/{quote(self._name)}"))
        if asked.is_empty:
            self._say("Search for a topic, or say which records to keep.", "search")
            return
        try:
            plain, steered = await (await self._open()).run(lambda opened: self._find(opened, asked))
        except SaeIndexError as error:
            self._say(f"{error.asked}: {error.found}", "error_outline", error.do)
            return
        if plain is not self._unsteered:
            self._unsteered = plain
            self._draw_next(plain)
            self._draw_results(plain.plain)
        if plain.plain:
            self._draw_steered(plain.plain, steered, asked)

    def _find(self, index: FeatureIndex, asked: Asked) -> tuple[Unsteered, Hits | None]:
        """Search, on a thread; what a slider does not change is searched for once."""
        known, now = self._unsteered, ((asked.text, asked.where), index.state.revision)
        if known is None or (known.asked, known.plain.plan.revision) != now:
            known = Unsteered.of(index, asked)
        return known, index.search(asked.query(is_steered=True)) if asked.all_steers else None

    def _say(self, text: str, icon: str, do: str = "") -> None:
        """Show a sentence in place of results."""
        self._unsteered = None
        self._next.clear()
        self._results.clear()
        with self._results:
            show_message(text, do, icon)

    def _draw_sliders(self) -> None:
        self._sliders.clear()
        with self._sliders:
            ui.label("Steer: less or more of").classes("heading")
            for target, strength in self._asked.steers.items():
                with ui.row().classes("w-full items-center no-wrap gap-2"):
                    ui.label(shortened(target, 18)).classes("target")
                    slider = ui.slider(min=-STRONGEST, max=STRONGEST, step=STEP, value=strength)
                    slider.props(f'aria-label="less or more {_safe(target)}"').classes("col")
                    moved = (
                        "update:model-value",
                        lambda event, one=target: self._steer(one, float(event.args)),
                    )
                    slider.on(*moved, throttle=THROTTLE)
                    shown = ui.label().classes("strength")
                    shown.bind_text_from(slider, "value", lambda value: f"{value:+g}")
                    close = ui.button(icon="close", on_click=partial(self._remove, target))
                    close.props('flat dense round size=sm aria-label="remove"')
            ask_word("a concept, and Enter", self._add, "w-full")
            if self._asked.judged:
                self._draw_judged()

    def _draw_judged(self) -> None:
        """Show how many hits were liked and disliked, and what can be done with that."""
        liked, disliked = len(self._asked.records(True)), len(self._asked.records(False))
        with ui.row().classes("w-full items-center no-wrap gap-2"):
            said = f"{liked} liked, {disliked} disliked" + ("" if liked else ": like one, too")
            ui.label(said).classes("understood col")
            flat("Forget", self._forget, "size=sm")
        if self._can_write and liked:
            with ui.row().classes("w-full items-center no-wrap gap-2"):
                flat("Save as profile", ask_word("a name for it", self._save, "col"), "size=sm")

    async def _save(self, name: str) -> None:
        """Save what was liked as a profile, and steer by that."""
        fitted = FitProfile(name, self._asked.records(True), self._asked.records(False))
        try:
            index = await self._open()
            await index.change("profiles/fit", lambda opened: opened.perform(fitted))
        except SaeIndexError as error:
            ui.notify(f"{error.asked}: {error.found}", type="negative")
            return
        self._asked.judged.clear()
        self._asked.steers[f"{PROFILE}{name}"] = 1.0
        await self._again(forgets=True)

    def _draw_results(self, plain: Hits) -> None:
        """Show the results as asked, and room for those that are steered."""
        self._results.clear()
        with self._results:
            if not plain:
                self._draw_understood(plain.plan)
                with ui.column().classes("w-full items-center empty gap-1"):
                    if self._asked.where:
                        ui.label("No record matches. Loosen the condition.")
                    else:
                        ui.label("The index has no records.")
                        if self._can_write:
                            ui.link("Add some", f"/{quote(self._name)}/add")
                return
            self._understood = ui.column().classes("w-full gap-2")
            with ui.row().classes("w-full no-wrap columns"):
                with ui.column().classes("list gap-2"):
                    self._draw_list("As asked", plain)
                self._steered = ui.column().classes("list gap-2")
            self._same = ui.expansion("The same in Python, as a command, or over HTTP").classes("w-full")
            self._same.on_value_change(lambda event: self._draw_same() if event.value else None)

    def _draw_steered(self, plain: Hits, steered: Hits | None, asked: Asked) -> None:
        """Show what a slider changes."""
        self._understood.clear()
        with self._understood:
            self._draw_understood((plain if steered is None else steered).plan)
        self._steered.clear()
        self._steered.set_visibility(steered is not None)
        if steered is not None:
            judged = ["towards what was liked"] if asked.records(True) else []
            moved = ", ".join([asked.steer, *judged] if asked.steer else judged)
            with self._steered:
                self._draw_list(f"Steered {moved}", steered)
        if self._same.value:
            self._draw_same()

    def _draw_understood(self, plan: Plan) -> None:
        """Show how the query was read, and what is in records in place of a word that is in none."""
        for line in plan.understood:
            ui.label(shortened(line, 300)).classes("understood")
        for one in plan.absent:
            if one.nearest and not one.is_replaced:
                spelled = self._asked.text.replace(one.word, one.nearest)
                flat(f"Search for {shortened(one.nearest, 40)}", partial(self._spell, spelled), "size=sm")

    async def _spell(self, text: str) -> None:
        self._text.value = text
        await self._submit()

    def _draw_same(self) -> None:
        """Show the search in Python, as a command, and as a request."""
        asked = self._asked
        self._same.clear()
        with self._same:
            ui.code(asked.as_python(self._name), language="python").classes("w-full")
            for text in (asked.as_command(self._name), asked.as_curl(self._name, self._server)):
                ui.code(text, language="bash").classes("w-full")

    def _draw_list(self, title: str, hits: Hits) -> None:
        assert self._unsteered is not None  # noqa: S101
        doing = Doing(self._menu, self._judge, self._asked.judged.get, self._unsteered.words)
        ui.label(shortened(title, 90)).classes("heading")
        if hits.drift:
            self._draw_gauge(hits.drift)
        for rank, (hit, below) in enumerate(zip(hits, [*hits[1:], None], strict=True), 1):
            was = None if hit.steered is None else hit.steered.rank_before
            show_hit(rank, hit, was, doing, below)

    def _draw_gauge(self, drift: float) -> None:
        """Show how far the query was moved: 0 is the question, 1 is nothing of it."""
        with ui.row().classes("w-full items-center no-wrap gap-2 gauge"):
            ui.label("your question").classes("understood")
            track = ui.element("div").classes("track")
            track.props(
                'role="meter" aria-label="how far the query was moved" aria-valuemin=0 aria-valuemax=1'
            )
            with track.props(f"aria-valuenow={drift:.2f}"):
                ui.element("div").classes("plus").style(f"width:{100 * min(1.0, drift):.0f}%")
            ui.label("nothing of it").classes("understood")
            ui.tooltip(f"drift {drift:.2f}: 1 − cosine of the query before and after")

    def _menu(self, proof: Proof) -> None:
        """Fill the menu of a concept."""
        ui.menu_item("More of it", on_click=lambda: self._add(proof.label))
        ui.menu_item("Only records with it", on_click=lambda: self._restrict(f'"{proof.label}"'))
        ui.menu_item("None with it", on_click=lambda: self._restrict(f'NOT "{proof.label}"'))
        if proof.id is not None:
            page = f"/{quote(self._name)}/concept/{proof.id}"
            ui.menu_item("About it", on_click=lambda: ui.navigate.to(page))

    def _draw_next(self, found: Unsteered) -> None:
        self._next.clear()
        with self._next:
            if found.facets:
                ui.label("Frequent in these results").classes("heading")
                with ui.row().classes("gap-1"):
                    for one in found.facets[:SUGGESTED]:
                        chip = ui.chip(f"{shortened(one.label, 20)} {one.count}").props(
                            "clickable outline dense"
                        )
                        chip.on_click(partial(self._add, one.label))
                        chip.tooltip(
                            f"in {one.share:.0%} of these, {one.index_share:.1%} of all: steer by it"
                        )
            if found.exclusions:
                ui.label("Leave out").classes("heading")
                with ui.row().classes("gap-1"):
                    for each in found.exclusions[:SUGGESTED]:
                        chip = ui.chip(f"{shortened(each.facet.label, 20)} −{each.removes}")
                        chip.props("clickable outline dense color=negative")
                        chip.on_click(partial(self._restrict, each.clause))
                        chip.tooltip(f"{each.clause} removes {each.removes} of these")
