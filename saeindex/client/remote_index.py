"""An index of a server, with the methods and the results of ``FeatureIndex``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from saeindex.client.connection import Connection, named
from saeindex.client.jobs import Job, Jobs
from saeindex.errors import InvalidInputError, tell
from saeindex.files import replacing, writable
from saeindex.operations.analysis import Analysis
from saeindex.operations.differences import DiffGroups
from saeindex.operations.operation import Operation
from saeindex.operations.search import PlanQuery
from saeindex.operations.surfaces import Surface, every
from saeindex.protocols import Rejected
from saeindex.report.numbers import counted
from saeindex.schema import to_json
from saeindex.types import JsonObject, Record

if TYPE_CHECKING:
    from narwhals.typing import IntoDataFrame
    from qdrant_client.models import Filter

    from saeindex.collection.stored import RecordPart
    from saeindex.indexing.pipeline import IndexingReport
    from saeindex.indexing.sources.columns import Columns

R = TypeVar("R")
# Seconds that an analysis is waited for at once; the client asks for its job after that.
WAIT_AT_ONCE = 20.0
EXPORTED = 1_000
# Bytes of records that are sent at a time.
BLOCK = 2**20


class RemoteIndex(Surface):
    """An index of a server; its methods are those of :class:`saeindex.FeatureIndex`."""

    def __init__(self, connection: Connection, name: str) -> None:
        """Called by ``Client.index``, not by users."""
        self.connection, self.name = connection, name
        self._path = f"/v1/indexes/{named(name)}"
        self._jobs = Jobs(connection)

    def perform(self, operation: Operation[R]) -> R:
        """Return the result of an operation, computed by the server."""
        found = self._asked(operation, WAIT_AT_ONCE)
        if isinstance(found, Job):
            found = found.wait().result_json()
        result: R = operation.result_of(found)
        return result

    def submit(self, operation: Operation[R]) -> Job:
        """Queue an analysis, such as ``DiffGroups(…)``, and return its job without waiting for it."""
        if not operation.is_analysis:
            raise InvalidInputError(f"submit {operation.name}", "it is no analysis", "Ask for it directly.")
        found = self._asked(operation, 0)
        assert isinstance(found, Job)  # noqa: S101
        return found

    def _asked(self, operation: Operation[Any], wait: float) -> Job | dict[str, Any]:
        if isinstance(operation, DiffGroups):
            operation = self._sendable(operation)
        params = {"wait": wait} if operation.is_analysis else None
        found = self.connection.ask("POST", f"{self._path}/{operation.name}", to_json(operation), params)
        if not isinstance(operation, Analysis | PlanQuery):  # a plan has its own
            for told in found.pop("warnings", ()):
                tell(told)
        return Job(self._jobs, found, operation) if operation.is_analysis and "state" in found else found

    def _sendable(self, asked: DiffGroups) -> DiffGroups:
        if asked.writer is not None:
            do = "Open the index where it is, and compare there."
            raise InvalidInputError("diff with a writer", "the index is on a server", do)
        other = asked.other
        if isinstance(other, RemoteIndex) and other.connection.url == self.connection.url:
            other = other.name
        if not isinstance(other, str | None):
            found, do = "an index that is elsewhere", "Give the name of an index of the same server."
            raise InvalidInputError(f"other={other!r:.80}", found, do)
        return replace(asked, other=other)

    def upsert(
        self,
        records: str | Path | IntoDataFrame | Iterable[Record | Mapping[str, Any] | str | Path],
        *,
        split: int | None = None,
        columns: Columns | Mapping[str, Any] | None = None,
        progress: Callable[[int], object] | None = None,
        allow_rejects: bool = False,
        leave_out: Sequence[str] = (),
        replace: bool = False,
        source: str | None = None,
        prune: bool = False,
        max_prune: int | None = None,
        dry_run: bool = False,
    ) -> IndexingReport:
        """Index records; return when the server has indexed them. See :meth:`FeatureIndex.upsert`.

        They are read and checked here before they are sent. One that cannot be read counts as rejected.
        """
        job = self.submit_upsert(
            records, split=split, columns=columns, allow_rejects=True, leave_out=leave_out, replace=replace,
            source=source, prune=prune, max_prune=max_prune, dry_run=dry_run,
        ).wait(progress)  # fmt: skip
        if not allow_rejects:
            job.report.check(self.name)
        return job.report

    def submit_upsert(
        self,
        records: str | Path | IntoDataFrame | Iterable[Record | Mapping[str, Any] | str | Path],
        *,
        split: int | None = None,
        columns: Columns | Mapping[str, Any] | None = None,
        allow_rejects: bool = False,
        leave_out: Sequence[str] = (),
        replace: bool = False,
        source: str | None = None,
        prune: bool = False,
        max_prune: int | None = None,
        dry_run: bool = False,
    ) -> Job:
        """Send records, and return the job that indexes them; ``job.rejects`` are those that were not.

        With ``prune``, InvalidInputError for one that cannot be read: nothing is sent.
        """
        from saeindex.indexing.rejects import no_field
        from saeindex.indexing.sources.columns import Columns
        from saeindex.indexing.sources.open_source import left_out_of, open_source

        fields = tuple(self.info()["fields"])
        picked = Columns.read({} if columns is None else columns).of_index(self.name, fields)
        unread: list[dict[str, Any]] = []
        params: dict[str, Any] = {  # None is not sent
            "text_field": "text", "id_field": "id", "split": split, "allow_rejects": allow_rejects or None,
            "leave_out": list(leave_out) or None, "replace": replace or None, "source": source,
            "prune": prune or None, "max_prune": max_prune, "dry_run": dry_run or None,
        }  # fmt: skip
        with TemporaryFile() as file:
            opened = open_source(records, columns=picked)
            for one in opened:
                if isinstance(one, Record) and (unknown := sorted(one.fields.keys() - fields)):
                    unread.append(asdict(Rejected(f"record {one.id}", no_field(unknown[0]), one.id)))
                elif isinstance(one, Record):
                    row = {"id": one.id, "text": one.text, "metadata": dict(one.metadata), **one.fields}
                    row |= {} if one.document is None else {"document": one.document}
                    row |= {} if one.known is None else {"known": one.known.to_json()}
                    if one.vector is not None:
                        row["vector"], params["vector_field"] = one.vector.tolist(), "vector"
                    file.write(json.dumps(row, ensure_ascii=False).encode(errors="surrogatepass") + b"\n")
                else:
                    unread.append(asdict(one))
            if prune and unread:
                found = f"{counted(len(unread), 'row')} that cannot be read, at first: {unread[0]['reason']}"
                raise InvalidInputError("prune", found, "Mend the rows. Nothing is sent.")

            def sent() -> Iterator[bytes]:
                file.seek(0)
                while block := file.read(BLOCK):
                    yield block

            job = self.connection.ask("POST", f"{self._path}/records", params=params, content=sent)
        return Job(self._jobs, job, unread=unread, left_out=left_out_of(opened))

    def export(
        self,
        path: str | Path,
        where: str | None = None,
        *,
        query_filter: Filter | JsonObject | None = None,
        include: Sequence[RecordPart] | Literal["all"] = (),
    ) -> int:
        """Write the records, or those that match, to a file; see :meth:`FeatureIndex.export`."""
        from saeindex.collection.stored import checked_parts, export_records

        parts = checked_parts(include)
        matching = every(self, where=where, query_filter=query_filter, limit=EXPORTED, include=parts)
        return export_records(matching, path, parts)

    def backup(self, path: str | Path) -> Path:
        """Write a backup of the index to a file (``.tar.gz``), which appears when it is complete.

        :func:`saeindex.restore_index` makes an index of it. It needs the scope admin.
        """
        target = writable(path)
        with replacing(target, durable=True) as draft:
            self.connection.download(f"{self._path}/backup", draft)
        return target

    def info(self) -> dict[str, Any]:
        """Return a description of the index: counts, space, encoder, vectors and settings."""
        return dict(self.connection.ask("GET", self._path))

    def __len__(self) -> int:
        return self.count()

    def __contains__(self, record_id: object) -> bool:
        return isinstance(record_id, str | int) and bool(self.get([str(record_id)], include=()))

    def __repr__(self) -> str:
        return f"RemoteIndex({self.name!r}, at {self.connection.url})"
