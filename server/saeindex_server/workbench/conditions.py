"""A blank for a condition: it is completed as it is written, and fields and values can be clicked."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from nicegui import ui

from saeindex.errors import SaeIndexError
from saeindex.language.to_text import quoted
from saeindex.types import shortened

if TYPE_CHECKING:
    from saeindex.collection.records import MetadataField
    from saeindex.index import FeatureIndex
    from saeindex_server.access import AuthorisedIndex

MOST_CHARS, COMPLETIONS, LEAST = 4_000, 8, 2
# Seconds without a further character until the end of a condition is completed.
PAUSE = 0.25
_WORD = re.compile(r"[\w.]*$")
KEYWORDS = {"and", "or", "not", "in", "between", "exists", "possible", "present", "typical", "strong"}
Opener = Callable[[], Awaitable["AuthorisedIndex"]]


def show_message(text: str, do: str = "", icon: str = "") -> None:
    """Say a sentence in place of results, and what helps."""
    with ui.column().classes("w-full items-center empty gap-1"):
        if icon:
            ui.icon(icon, size="2rem")
        ui.label(shortened(text, 400)).classes("text-center")
        if do:
            ui.label(shortened(do, 400)).classes("text-center do")


def ask_word(
    text: str, action: Callable[[str], Awaitable[object]], classes: str
) -> Callable[[], Awaitable[None]]:
    """Show a blank for a word; return what does with it what Enter does."""
    blank = ui.input(placeholder=text).classes(classes).props("dense")

    async def act() -> None:
        await action((blank.value or "").strip())

    blank.on("keydown.enter", act)
    return act


def flat(text: str, action: Callable[..., object], size: str = "") -> ui.button:
    """Show a button that looks like a word."""
    return ui.button(text, on_click=action).props(f"flat dense no-caps {size}")


def show_bars(rows: Sequence[tuple[str, str, float, str]]) -> None:
    """Show a table of names and values, each with a bar of so many percent and a class."""
    with ui.element("table").classes("bars"):
        for name, value, percent, kind in rows:
            with ui.element("tr"):
                for classes, text in (("name", name), ("value", value)):
                    with ui.element("td").classes(classes):
                        ui.label(text)
                with ui.element("td").classes("bar"):
                    ui.element("div").classes(kind).style(f"width:{percent:.1f}%")


def literal(value: str | float) -> str:
    """Return a value as a condition writes it."""
    return quoted(value) if isinstance(value, str) else json.dumps(value)


def both(condition: str, further: str) -> str:
    """Return the condition of two."""
    held = condition.strip()
    if not held:
        return further
    return f"({held}) AND {further}" if re.search(r"\bOR\b", held, re.IGNORECASE) else f"{held} AND {further}"


def completions(index: FeatureIndex, fields: list[MetadataField], text: str) -> list[tuple[str, str]]:
    """Return how the end of a condition may go on: what is added, and the whole condition with it."""
    if text.count('"') % 2:
        head, _, begun = text.rpartition('"')
    else:
        begun = _WORD.findall(text)[0]
        head = text.removesuffix(begun)
    if len(begun.strip()) < LEAST or begun.lower() in KEYWORDS:
        return []
    typed = begun.lower()
    own = [one.field for one in fields if typed in one.field.lower()]
    named = [name for name in index.state.named_concepts if f" {typed}" in f" {name}"]
    if not (own or named):
        named = [one.label for one in index.concepts.find(begun, COMPLETIONS)]
    found = [*own, *map(quoted, sorted(named, key=lambda name: (not name.startswith(typed), len(name))))]
    return [(one, f"{head}{one} ") for one in found[:COMPLETIONS]]


class ConditionBlank:
    """The blank; ``submit`` is called when it is to be used."""

    def __init__(
        self, opener: Opener, label: str, value: str, example: str, submit: Callable[[], Awaitable[None]]
    ) -> None:
        """Show it; ``example`` stands in it while it is empty."""
        self._open, self._submit = opener, submit
        self._fields: list[MetadataField] = []
        with ui.column().classes("col gap-0 condition"):
            self._input = ui.input(label, value=value, placeholder=example).classes("w-full")
            self._input.props("outlined dense clearable stack-label autocomplete=off spellcheck=false")
            self._input.on("keydown.enter", self._used)
            self._input.on_value_change(self._complete)
            with self._input.add_slot("append"):
                button = ui.button(icon="playlist_add").props('flat dense round size=sm aria-label="a field"')
                with button:
                    self._menu = ui.menu()
            self._completions = ui.row().classes("gap-1")
        ui.timer(0, self._know_fields, once=True)

    @property
    def value(self) -> str:
        """The condition, "" for none."""
        return (self._input.value or "").strip()[:MOST_CHARS]

    @value.setter
    def value(self, condition: str) -> None:
        self._input.value = condition

    async def _used(self) -> None:
        self._completions.clear()
        await self._submit()

    async def _know_fields(self) -> None:
        with suppress(SaeIndexError):  # the page says so where it is used
            self._fields = await (await self._open()).run(lambda opened: opened.metadata_fields())
        with self._menu:
            for field in self._fields:
                with ui.menu_item(shortened(field.field, 60), auto_close=False), ui.menu() as values:
                    values.props('anchor="top end" self="top start"')
                    for value in field.values:
                        clause = f"{field.field} = {literal(value)}"
                        ui.menu_item(shortened(str(value), 60), lambda _, one=clause: self._add(one))
                    if not field.values:
                        example = f"such as {shortened(str(field.example), 40)}"
                        ui.menu_item(example, lambda _, one=field.field: self._add(f"{one} = "))
            if not self._fields:
                ui.menu_item("The records have no fields.")

    def _add(self, clause: str) -> None:
        self._menu.close()
        self._input.value = both(self.value, clause)
        self._input.run_method("focus")

    async def _complete(self) -> None:
        text, found = self._input.value or "", list[tuple[str, str]]()
        await asyncio.sleep(PAUSE)
        if text != (self._input.value or ""):
            return  # more was written
        with suppress(SaeIndexError):
            if len(text) <= MOST_CHARS:
                index = await self._open()
                found = await index.run(lambda opened: completions(opened, self._fields, text))
        self._completions.clear()
        with self._completions:
            for shown, whole in found:
                ui.chip(shortened(shown, 30), on_click=lambda _, one=whole: self._take(one)).props(
                    "clickable outline dense"
                )

    def _take(self, whole: str) -> None:
        self._completions.clear()
        self._input.value = whole
        self._input.run_method("focus")
