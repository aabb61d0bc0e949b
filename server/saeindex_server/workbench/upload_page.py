"""The page that adds records: a file is uploaded, its columns are chosen, and its job is watched."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from anyio import to_thread
from nicegui import ui

from saeindex.errors import SaeIndexError
from saeindex.indexing.sources.columns import Columns
from saeindex.indexing.sources.open_source import Preview, open_source, preview
from saeindex.protocols import Rejected
from saeindex.report.numbers import counted
from saeindex.types import one_line, shortened
from saeindex_server.ingestion import LINE, rejects_of
from saeindex_server.limits import PAGE_BYTES
from saeindex_server.problems import error_of
from saeindex_server.routes.records import queued, spooled
from saeindex_server.workbench.conditions import Opener, show_message

if TYPE_CHECKING:
    from nicegui.events import UploadEventArguments

    from saeindex_server.access import AuthorisedIndex
    from saeindex_server.jobs import Job

ROWS, REJECTS, CELL, TYPES = 5, 20, 60, ".csv,.tsv,.jsonl,.ndjson,.json,.parquet,.gz,.zst"
MADE = "(made of each row)"


class UploadPage:
    """One open page; the file of a person is deleted when it is queued, or the page is left."""

    def __init__(self, opener: Opener, name: str) -> None:
        """``opener`` returns the index as who looks may write to it at the moment."""
        self._open, self._name = opener, name
        self._folder: TemporaryDirectory[str] | None = None
        self._name_of_file = ""

    def build(self) -> None:
        """Show the page."""
        with ui.column().classes("page w-full gap-2"):
            ui.label("Add records").classes("text-h6")
            ui.label(
                "A table with a column of texts: CSV, TSV, JSON Lines or Parquet, up to "
                f"{PAGE_BYTES // 2**20} MiB. Larger ones are for `saeindex index`."
            ).classes("text")
            self._given = ui.upload(
                label="Choose a file, or drop it here", auto_upload=True, max_files=1,
                max_file_size=PAGE_BYTES, on_upload=self._taken,
                on_rejected=lambda: ui.notify("It is too large, or no table.", type="negative"),
            )  # fmt: skip
            self._given.props(f'accept="{TYPES}" flat bordered').classes("w-full")
            self._chosen = ui.column().classes("w-full gap-2")
            self._job = ui.column().classes("w-full gap-2")
        ui.timer(0, self._show_running, once=True)
        ui.context.client.on_delete(self._forget)

    def _forget(self) -> None:
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    async def _taken(self, event: UploadEventArguments) -> None:
        """Keep the uploaded file, and show what is in it."""
        self._forget()
        self._chosen.clear()
        try:
            await self._open()
            self._folder = TemporaryDirectory(prefix="saeindex-")
            self._name_of_file = event.file.name
            path = Path(self._folder.name) / ("table" + "".join(Path(event.file.name).suffixes[-2:]))
            await event.file.save(path)
            self._given.reset()  # another may follow
            seen = await to_thread.run_sync(preview, path)
        except SaeIndexError as error:
            self._say(error)
            return
        with self._chosen:
            self._show_columns(path, seen)

    def _say(self, error: SaeIndexError) -> None:
        asked = error.asked if self._folder is None else error.asked.replace(f"{self._folder.name}/", "")
        with self._chosen:
            show_message(f"{asked}: {error.found}", error.do)

    def _show_columns(self, path: Path, seen: Preview) -> None:
        if not seen.rows:
            ui.label("It has no rows that can be read.").classes("empty")
            return
        ui.label("Its first rows").classes("heading")
        columns: list[dict[str, Any]] = [
            {"name": f"c{at}", "label": shortened(name, 30), "field": f"c{at}", "align": "left"}
            for at, name in enumerate(seen.names)
        ]
        rows = [
            {f"c{at}": one_line(_cell(row.get(name)), CELL) for at, name in enumerate(seen.names)}
            for row in seen.rows[:ROWS]
        ]
        ui.table(columns=columns, rows=rows).classes("w-full").props("dense flat bordered wrap-cells")
        names = list(seen.names)
        with ui.row().classes("w-full items-center gap-2 groups"):
            text = ui.select(names, value=seen.text, label="The texts are in")
            record = ui.select([MADE, *names], value=seen.id or MADE, label="The ids are in")
            more = ui.select(
                names, value=[one for one in names if one not in (seen.text, seen.id)], multiple=True,
                label="Fields to filter by",
            )  # fmt: skip
            for one in (text, record, more):
                one.props("outlined dense options-dense").classes("col")

            async def index() -> None:
                if text.value is None:
                    ui.notify("Say which column has the texts.", type="warning")
                    return
                fields = tuple(one for one in more.value if one not in (text.value, record.value))
                key = "" if record.value == MADE else record.value
                chosen = Columns(text=text.value, id=key, source=self._name_of_file, metadata=fields)
                await self._queue(path, chosen)

            ui.button("Index it", on_click=index).props("unelevated no-caps")

    async def _queue(self, path: Path, columns: Columns) -> None:
        """Hand the records over as a request with them does."""
        unread: list[Rejected] = []
        try:
            index = await self._open()
            service, key = index.access.service, index.access.key.id
            await service.read(lambda: service.jobs.check_room(key))
            source = await to_thread.run_sync(lambda: open_source(path, columns=columns))
            async with spooled(index, _lines(iter(source), unread)) as (identity, taken):
                asked = {"columns": {"text": "text"}}
                job = await service.write(lambda: queued(index, identity, asked, taken))
        except SaeIndexError as error:
            self._chosen.clear()
            self._say(error)
            return
        finally:
            self._forget()
        self._chosen.clear()
        if unread:
            with self._chosen:
                ui.label(f"{counted(len(unread), 'row')} cannot be read").classes("heading")
                for one in unread[:REJECTS]:
                    position = one.position.replace(f"{path.name}:", LINE)
                    ui.label(shortened(f"{position}: {one.reason}", 200)).classes("understood")
        await self._follow(job)

    async def _show_running(self) -> None:
        """Show the job that adds records at the moment, if it is of who looks."""
        try:
            index = await self._open()
            jobs = await index.access.jobs(20, None, None)
        except SaeIndexError as error:
            self._say(error)
            return
        for job in jobs:
            if job.kind == "records" and job.index == self._name and not job.is_finished:
                await self._follow(job)
                return

    async def _follow(self, job: Job) -> None:
        self._job.clear()
        with self._job:
            ui.label("Indexing").classes("heading")
            bar = ui.linear_progress(value=0.0, show_value=False).props('aria-label="records that are done"')
            said = ui.label("").classes("text")
        index = await self._open()
        async for now in index.access.followed(job):
            job = now
            bar.value = job.read / max(1, job.total or 1)
            waits = f", waits for {job.waits_for}" if job.waits_for else ""
            said.text = f"{job.state}: {job.read:,} of {job.total or 0:,} records{waits}"
        self._job.clear()
        with self._job:
            await self._report(index, job)

    async def _report(self, index: AuthorisedIndex, job: Job) -> None:
        report = job.report or {}
        ui.label("Done" if job.state == "done" else f"It is {job.state}").classes("heading")
        if job.error is not None:
            ui.label(shortened(str(error_of(job.error)), 400)).classes("text")
        kinds = [name for name in ("indexed", "updated", "unchanged", "rejected") if report.get(name)]
        counts = ", ".join(f"{report[name]:,} {name}" for name in kinds)
        ui.label(counts or "No record was new.").classes("text")
        if report.get("rejected"):
            lines = await index.run(lambda opened: [json.loads(one) for one in rejects_of(opened, job)])
            ui.label("Not indexed").classes("heading")
            for one in lines[:REJECTS]:
                ui.label(shortened(f"{one['position']}: {one['reason']}", 200)).classes("understood")
        ui.link("Search them", f"/{quote(self._name)}")


def _cell(value: Any) -> str:
    return "" if value is None else str(value)


async def _lines(records: Iterator[Any], unread: list[Rejected]) -> AsyncIterator[bytes]:
    """Yield records as lines; what is none is ``unread``."""

    def some() -> list[bytes]:
        found: list[bytes] = []
        for one in records:
            if isinstance(one, Rejected):
                unread.append(one)
                continue
            written = json.dumps({"id": one.id, "text": one.text, "metadata": one.metadata})
            found.append(written.encode() + b"\n")
            if len(found) == 1_000:
                break
        return found

    while lines := await to_thread.run_sync(some):
        yield b"".join(lines)
