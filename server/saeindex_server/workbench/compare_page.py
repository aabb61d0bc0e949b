"""The page that compares two groups of records: what each speaks of more, with sentences and counts."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from nicegui import ui

from saeindex.analysis.diff.results import Diff
from saeindex.errors import SaeIndexError
from saeindex.operations.differences import DiffGroups
from saeindex.report.numbers import chance
from saeindex.schema import to_json
from saeindex.types import shortened
from saeindex_server.problems import Refusal, error_of

if TYPE_CHECKING:
    from saeindex.analysis.diff.results import Finding
    from saeindex.report.model import Example
    from saeindex_server.access import AuthorisedIndex

FINDINGS, WORDS, CHARS, MOST_CHARS = 12, 24, 220, 4_000
Opener = Callable[[], Awaitable["AuthorisedIndex"]]


@dataclass(slots=True)
class Groups:
    """Two conditions: the first group, and the second, all other records if it is empty."""

    a: str = ""
    b: str = ""

    def address(self, path: str) -> str:
        """Return the address of this comparison."""
        given = {name: value for name, value in (("a", self.a), ("b", self.b)) if value}
        return f"{path}?{urlencode(given)}" if given else path

    @property
    def names(self) -> dict[str, str]:
        """The groups as a person reads them."""
        return {"a": self.a, "b": self.b or f"not {self.a}"}


class ComparePage:
    """One open page of a comparison."""

    def __init__(self, opener: Opener, name: str, groups: Groups) -> None:
        """``opener`` returns the index as who looks may analyse it at the moment."""
        self._open, self._name, self._groups = opener, name, groups

    def build(self) -> None:
        """Show the page."""
        with ui.column().classes("page w-full gap-2"):
            with ui.row().classes("w-full items-center gap-2 groups"):
                self._inputs = [
                    ui.input(label, value=value, placeholder=example)
                    .classes("col")
                    .props("outlined dense clearable")
                    for label, value, example in (
                        ("Records where", self._groups.a, 'metadata.year < 1970, or "crime"'),
                        ("Against records where (all others)", self._groups.b, "metadata.year > 1990"),
                    )
                ]
                for one in self._inputs:
                    one.on("keydown.enter", self._submit)
                ui.button("Compare", on_click=self._submit).props("unelevated no-caps")
            self._results = ui.column().classes("w-full gap-2")
        if self._groups.a:
            ui.timer(0, self._compare, once=True)

    async def _submit(self) -> None:
        self._groups.a, self._groups.b = ((one.value or "").strip()[:MOST_CHARS] for one in self._inputs)
        ui.navigate.history.replace(self._groups.address(f"/ui/{quote(self._name)}/compare"))
        if self._groups.a:
            await self._compare()

    async def _compare(self) -> None:
        self._results.clear()
        with self._results, ui.row().classes("items-center gap-2"):
            ui.spinner(size="2rem")
            ui.label("Comparing: this reads all records of both groups.")
        asked = DiffGroups(a=self._groups.a, b=self._groups.b or None)
        try:
            found = await analysed(await self._open(), asked)
        except (SaeIndexError, Refusal) as error:
            self._results.clear()
            with self._results:
                ui.label(f"{error.asked}: {error.found}").classes("empty")
            return
        self._results.clear()
        with self._results:
            self._draw(found)

    def _draw(self, found: Diff) -> None:
        counts, names = found.groups, self._groups.names
        ui.label(
            f"{len(found)} findings between {counts['a']:,} and {counts['b']:,} records. In each family at "
            f"most {found.alpha:.0%} of them are expected to be chance."
        ).classes("text")
        for note in found.notes:
            ui.label(shortened(note, 300)).classes("understood")
        if not len(found):
            ui.label("No difference was found; smaller ones than these groups can show may exist.").classes(
                "empty"
            )
        with ui.row().classes("w-full no-wrap columns"):
            for group, other in (("a", "b"), ("b", "a")):
                with ui.column().classes("list gap-2"):
                    ui.label(f"More in: {shortened(names[group], 80)}").classes("heading")
                    for one in [one for one in found.findings["concepts"] if one.group == group][:FINDINGS]:
                        self._draw_finding(one, group, other, found.strata)
                    for family in ("words", "clusters"):
                        own = [one.shown for one in found.findings.get(family, ()) if one.group == group]
                        if own:
                            ui.label(f"{family.capitalize()}: {', '.join(own[:WORDS])}").classes("text")
        ui.button(
            "Download",
            on_click=lambda: ui.download.content(
                json.dumps(found.to_json()), "comparison.json", "application/json"
            ),
        ).props("flat dense no-caps")

    def _draw_finding(self, one: Finding, group: str, other: str, strata: Sequence[str]) -> None:
        with ui.card().classes("w-full hit q-pa-sm").props("flat bordered"):
            with ui.row().classes("w-full items-baseline no-wrap gap-2"):
                ui.link(shortened(one.label, 40), f"/{quote(self._name)}/concept/{one.feature}").classes(
                    "rank"
                )
                ui.label(f"{one.freq[group]:.0%} of these, {one.freq[other]:.0%} of the others").classes(
                    "fields"
                )
                ui.label(f"q {chance(one.q)}").classes("score").tooltip(
                    "the share of chance findings among those up to this one"
                )
            low, high = sorted(100 * abs(end) for end in one.ci)
            adjusted = f"compared at the same {', '.join(strata)}: " if strata else ""
            ui.label(f"{adjusted}{100 * abs(one.effect):.0f} points more ({low:.0f} to {high:.0f})").classes(
                "understood"
            )
            for example in one.examples.get(group, ())[:1]:
                _show_example(example)
            if one.related:
                also = ", ".join(related.label for related in one.related)
                ui.label(f"with {shortened(also, 120)}").classes("understood")


def _show_example(example: Example) -> None:
    with ui.element("div").classes("sentence"):
        for place, part in enumerate(example.parts(CHARS)):
            if part:
                ui.label(part).classes("inline word" if place % 2 else "inline")


async def analysed(index: AuthorisedIndex, asked: DiffGroups) -> Diff:
    """Return what an analysis finds, which is a job as it is over HTTP; its error if it has one."""
    access = index.access
    jobs, service = access.service.jobs, access.service
    job = await service.write(
        lambda: jobs.add(asked.name, index.name, access.key.id, to_json(asked), index.condition)
    )
    async for now in access.followed(job):
        job = now
    if job.error is not None:
        raise error_of(job.error)
    if job.state != "done":
        raise Refusal(503, "the comparison", f"it is {job.state}", "Ask for it again.")
    return Diff.from_json(json.loads(await service.read(jobs.result_file(job.id).read_bytes)))
