"""Records that come in: taken safely, and indexed by a job."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from anyio import CancelScope
from fastapi import APIRouter, Query, Request, Response
from pydantic import ValidationError

from saeindex.indexing.split import check_split
from saeindex_server import schemas
from saeindex_server.access import AuthorisedIndex, Caller
from saeindex_server.ingestion import spool
from saeindex_server.jobs import Job, new_id
from saeindex_server.limits import media_type
from saeindex_server.problems import Refusal, refused_body
from saeindex_server.schemas import RecordBody, RecordsBody, encoded, problems, reply

router = APIRouter(prefix="/v1/indexes/{name}", tags=["records"], responses=problems())
NDJSON, JSON = "application/x-ndjson", schemas.JSON
TYPES = (NDJSON, "application/jsonl", "application/ndjson")
ADDED = {
    "requestBody": {
        "required": True,
        "content": {
            JSON: {"schema": {"$ref": "#/components/schemas/RecordsBody"}},
            NDJSON: {
                "schema": {"type": "string", "contentMediaType": NDJSON},
                "example": '{"id": "a1", "text": "Galaxies rotate."}\n',
            },
        },
    }
}


@router.post("/records", status_code=202, summary="Add records", response_model=schemas.JobReply,
             responses=problems(409, 415), openapi_extra=ADDED)  # fmt: skip
async def add_records(
    name: str,
    access: Caller,
    request: Request,
    text_field: Annotated[str | None, Query(description="NDJSON: the field with the text")] = None,
    id_field: Annotated[str | None, Query(description="NDJSON: the field with the id")] = None,
    vector_field: Annotated[
        str | None,
        Query(description="NDJSON: the field with a vector of the text"),
    ] = None,
    split: Annotated[
        int | None, Query(ge=8, description="tokens of the records that texts are split into")
    ] = None,
    allow_rejects: Annotated[
        bool, Query(description="whether the job is done, not failed, if a tenth of the records is rejected")
    ] = False,
    replace: Annotated[
        bool, Query(description="whether fields go that an update set and the records do not have")
    ] = False,
    source: Annotated[
        str | None, Query(max_length=200, description="the name of where the records come from")
    ] = None,
    prune: Annotated[
        bool, Query(description="whether what this source gave before and does not give any more is deleted")
    ] = False,
    max_prune: Annotated[
        int | None, Query(ge=0, description="texts that may be deleted (ten, or a tenth of the source's)")
    ] = None,
    dry_run: Annotated[bool, Query(description="whether nothing is written, only counted")] = False,
    leave_out: Annotated[
        list[str], Query(max_length=100, description="sentences that are not read as speech from now on")
    ] = [],  # noqa: B006  (FastAPI copies it)
) -> Response:
    """Take records to index, as JSON or streamed as NDJSON; 202 when they are safe on the disk.

    What is stored already is skipped; of other metadata alone nothing is encoded. Follow the job.
    """
    index = access.index(name, "write")
    jobs = access.service.jobs
    kind = media_type(request)
    if kind not in (*TYPES, JSON):
        raise Refusal(415, f"the type {kind!r:.80}", "it is not taken", f"Send {JSON} or {NDJSON}.")
    await access.service.read(lambda: jobs.check_room(access.key.id))
    records = _records(await access.service.bodies.json(request)) if kind == JSON else []
    columns = {"text": text_field, "id": id_field, "vector": vector_field}
    if kind == JSON:
        has_vectors = any(one.vector is not None for one in records)
        columns = {"text": "text", "vector": "vector" if has_vectors else None}
    columns = {key: one for key, one in columns.items() if one is not None}
    asked: dict[str, Any] = {
        "columns": columns or None, "split": split, "allow_rejects": allow_rejects, "leave_out": leave_out,
        "replace": replace, "source": source, "prune": prune, "max_prune": max_prune, "dry_run": dry_run,
    }  # fmt: skip
    if split is not None:
        await index.run(lambda own: check_split(split, lambda: own.encoder))
    chunks = _lines(records) if kind == JSON else access.service.bodies.stream(request)
    async with spooled(index, chunks) as (identity, taken):
        job = await access.service.write(lambda: queued(index, identity, asked, taken))
    return reply(job.to_json(), 202, {"Location": f"/v1/jobs/{job.id}"})


@asynccontextmanager
async def spooled(
    index: AuthorisedIndex, chunks: AsyncIterator[bytes]
) -> AsyncIterator[tuple[str, tuple[int, int]]]:
    """Take records safely, as the id of a job to queue, and what came in; what no job has then is deleted."""
    service, key = index.access.service, index.access.key.id
    jobs, identity = service.jobs, new_id()
    room = await service.read(lambda: jobs.room(key))
    taken = await spool(chunks, jobs.spooled_file(identity), service.settings.max_upload_bytes, room)
    try:
        yield identity, taken
    finally:
        with CancelScope(shield=True):
            await service.write(lambda: jobs.forget(identity))


def queued(index: AuthorisedIndex, identity: str, asked: dict[str, Any], taken: tuple[int, int]) -> Job:
    """Queue the job that adds spooled records."""
    access, (size, lines) = index.access, taken
    job: Job = access.service.jobs.add(
        "records", index.name, access.key.id, asked, identity=identity, size=size, total=lines
    )
    index.note("add records", job=identity, bytes=size)
    return job


def _records(body: bytes) -> list[RecordBody]:
    """Return the records of a JSON body; refuse a body that is not one."""
    try:
        return RecordsBody.model_validate_json(body).records
    except ValidationError as error:
        raise refused_body(error) from None


async def _lines(records: list[RecordBody]) -> AsyncIterator[bytes]:
    """Yield records as lines."""
    for record in records:
        given = record.model_dump(exclude_unset=True)
        yield encoded({**given.pop("fields", {}), **given}) + b"\n"
