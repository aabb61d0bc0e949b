"""A page of an analysis: what is asked, a chart, the findings, and the records of the one that is chosen."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, TypeVar
from urllib.parse import quote, urlencode

from nicegui import ui

from saeindex.errors import SaeIndexError
from saeindex.report.model import Example, describe
from saeindex.report.result import AnalysisResult
from saeindex.search.query import Query
from saeindex.types import shortened
from saeindex_server.workbench.conditions import MOST_CHARS, ConditionBlank, Opener, flat, show_message
from saeindex_server.workbench.hits import show_hit

if TYPE_CHECKING:
    from nicegui.events import EChartPointClickEventArguments

    from saeindex.operations.analysis import Analysis
    from saeindex.search.hits import Hits

R = TypeVar("R", bound=AnalysisResult)
CHARS, RECORDS, NOTE = 220, 8, 300
# Colours of charts that can be told apart on light and on dark ground, also by who sees no red or green.
BLUE, ORANGE, GREY = "#3f8fd2", "#d9822b", "#888888"
AXIS = {"axisLabel": {"color": GREY}, "nameTextStyle": {"color": GREY}, "splitLine": {"show": False}}


class Blank(NamedTuple):
    """What the form asks for: the name in the address, its label and an example."""

    name: str
    label: str
    example: str
    is_condition: bool = True
    is_needed: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """A finding as a person sees it.

    ``where`` are its records, nearest first to what it is ``about``; without it, ``examples`` stand for them.
    """

    label: str
    numbers: str
    remark: str = ""
    side: str = ""
    concept: int | None = None
    where: str = ""
    about: str = ""
    examples: Sequence[Example] = ()


class AnalysisPage(ABC, Generic[R]):
    """One open page of an analysis."""

    path: ClassVar[str]
    verb: ClassVar[str]
    blanks: ClassVar[tuple[Blank, ...]]
    purpose: ClassVar[str]
    waiting: ClassVar[str]

    def __init__(self, opener: Opener, name: str, given: Mapping[str, str]) -> None:
        """``opener`` returns the index as who looks may analyse it at the moment; ``given`` is an address."""
        self._open, self._name = opener, name
        self.given = {one.name: given.get(one.name, "").strip()[:MOST_CHARS] for one in self.blanks}
        self._seen: list[Seen] = []

    @abstractmethod
    def asked(self) -> Analysis[R]:
        """Return what is asked for."""

    def said(self, found: R) -> str:
        """Return what was found in a sentence or two."""
        return " ".join(describe(found).summary)

    @abstractmethod
    def lists(self, found: R) -> list[tuple[str, list[Seen]]]:
        """Return the findings in lists, each with its heading."""

    @abstractmethod
    def chart(self, found: R, seen: list[Seen]) -> dict[str, Any]:
        """Return a chart; a point of it has ``finding``, a place in ``seen``, and perhaps ``where``."""

    def none(self, found: R) -> str:
        """Return what it means that nothing was found."""
        return "Nothing was found; what is smaller than these records can show may be there."

    def more(self, found: R) -> list[str]:
        """Return further lines."""
        return []

    @property
    def _is_complete(self) -> bool:
        return all(self.given[one.name] for one in self.blanks if one.is_needed)

    def build(self) -> None:
        """Show the page."""
        self._blanks: dict[str, Any] = {}
        with ui.column().classes("page w-full gap-2"):
            with ui.row().classes("w-full items-start gap-2 groups"):
                for one in self.blanks:
                    value = self.given[one.name]
                    if one.is_condition:
                        made: Any = ConditionBlank(self._open, one.label, value, one.example, self._submit)
                    else:
                        made = ui.input(one.label, value=value, placeholder=one.example).classes("col")
                        made.props("outlined dense clearable stack-label")
                        made.on("keydown.enter", self._submit)
                    self._blanks[one.name] = made
                ui.button(self.verb, on_click=self._submit).props("unelevated no-caps")
            self._results = ui.column().classes("w-full gap-2")
        if self._is_complete:
            ui.timer(0, self._analyse, once=True)
        else:
            with self._results:
                ui.label(self.purpose).classes("empty self-center")

    async def _submit(self) -> None:
        self.given = {name: (one.value or "").strip()[:MOST_CHARS] for name, one in self._blanks.items()}
        given = {name: value for name, value in self.given.items() if value}
        address = f"/ui/{quote(self._name)}/{self.path}"
        ui.navigate.history.replace(f"{address}?{urlencode(given)}" if given else address)
        if self._is_complete:
            await self._analyse()

    async def _analyse(self) -> None:
        self._results.clear()
        with self._results, ui.row().classes("items-center gap-2"):
            ui.spinner(size="2rem")
            ui.label(self.waiting)
        try:
            asked = self.asked()
            found: R = asked.result_of(json.loads(await (await self._open()).analysed(asked)))
            shown = partial(self._draw, found)
        except SaeIndexError as error:
            shown = partial(show_message, f"{error.asked}: {error.found}", error.do)
        self._results.clear()
        with self._results:
            shown()

    def _draw(self, found: R) -> None:
        if why := getattr(found, "not_comparable", ""):
            ui.label(f"Not comparable: {why}.").classes("text")
            return
        lists = self.lists(found)
        self._seen = [one for _, seen in lists for one in seen]
        ui.label(self.said(found)).classes("text")
        for note in getattr(found, "notes", ()):
            ui.label(shortened(note, NOTE)).classes("understood")
        if not self._seen:
            ui.label(self.none(found)).classes("text")
            for line in self.more(found):
                ui.label(line).classes("text")
            return
        with ui.row().classes("w-full no-wrap columns"):
            with ui.column().classes("findings gap-2"):
                chart = ui.echart(self.chart(found, self._seen), on_point_click=self._clicked)
                said = "the findings as a chart; the list below has them in words"
                chart.classes("w-full chart").props(f'role="img" aria-label="{said}"')
                with ui.row().classes("w-full no-wrap columns"):
                    number = 0
                    for heading, seen in lists:
                        with ui.column().classes("list gap-2"):
                            ui.label(heading).classes("heading")
                            for one in seen:
                                self._draw_finding(number, one)
                                number += 1
                for line in self.more(found):
                    ui.label(line).classes("text")
                content = partial(json.dumps, found.to_json())
                file = f"{self.path}.json", "application/json"
                flat("Download", lambda: ui.download.content(content(), *file))
            self._beside = ui.column().classes("beside gap-2")
        with self._beside:
            ui.label("Choose a finding to see its records.").classes("empty")

    def _draw_finding(self, number: int, one: Seen) -> None:
        with ui.card().classes("w-full hit q-pa-sm").props("flat bordered"):
            with ui.row().classes("w-full items-baseline no-wrap gap-2"):
                flat(shortened(one.label, 40), lambda _: self._choose(number)).classes("finding")
                ui.label(one.numbers).classes("fields")
                if one.side:
                    tip = "the share of chance findings among those up to this one"
                    ui.label(one.side).classes("score").tooltip(tip)
            if one.remark:
                ui.label(shortened(one.remark, 160)).classes("understood")
            for example in one.examples[:1]:
                show_example(example)

    async def _clicked(self, event: EChartPointClickEventArguments) -> None:
        point: Mapping[str, Any] = event.data if isinstance(event.data, Mapping) else {}
        if isinstance(point.get("finding"), int):
            await self._choose(point["finding"], str(point.get("where") or ""))

    async def _choose(self, number: int, where: str = "") -> None:
        """Show the records of a finding: all, or those of a point of the chart."""
        if not 0 <= number < len(self._seen):
            return
        one = self._seen[number]
        where = where or one.where
        hits: Hits | None = None
        error = ""
        if where:
            query = Query(text=one.about or one.label, where=where, limit=RECORDS)
            try:
                index = await self._open()
                hits = await index.run(lambda opened: opened.search(query))
            except SaeIndexError as refused:
                error = f"{refused.asked}: {refused.found}"
        self._beside.clear()
        with self._beside:
            with ui.row().classes("w-full items-baseline no-wrap gap-2"):
                ui.label(one.label).classes("heading")
                ui.space()
                if where:
                    asked = urlencode({"q": one.about or one.label, "where": where})
                    ui.link("All of them", f"/{quote(self._name)}?{asked}")
                if one.concept is not None:
                    ui.link("The concept", f"/{quote(self._name)}/concept/{one.concept}")
            if error:
                ui.label(shortened(error, NOTE)).classes("empty")
            if hits is not None:
                for line in hits.plan.understood:
                    ui.label(shortened(line, NOTE)).classes("understood")
                for rank, hit in enumerate(hits, 1):
                    show_hit(rank, hit)
            for example in one.examples if hits is None else ():
                with ui.card().classes("w-full hit q-pa-sm").props("flat bordered"):
                    ui.label(shortened(example.id, 60)).classes("understood")
                    show_example(example)


def show_example(example: Example) -> None:
    """Show the start of an example's text, its words marked."""
    with ui.element("div").classes("sentence"):
        for place, part in enumerate(example.parts(CHARS)):
            if part:
                ui.label(" ".join(part.splitlines())).classes("inline word" if place % 2 else "inline")
