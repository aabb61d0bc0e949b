"""Records: added by jobs, read, counted, exported and deleted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Annotated, Any

from anyio import CancelScope
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import ValidationError

from saeindex.collection.stored import RecordPart, StoredRecord
from saeindex.errors import NotFoundError
from saeindex.index import FeatureIndex
from saeindex.indexing.split import check_split
from saeindex_server import replies
from saeindex_server.access import AuthorisedIndex, Caller
from saeindex_server.idempotency import HEADER, REPLAYED, changed_once
from saeindex_server.ingestion import Spooled, spool
from saeindex_server.jobs import Job, new_id
from saeindex_server.limits import UPLOAD, CheckedRoute, check_depth
from saeindex_server.problems import Refusal, refused_body
from saeindex_server.replies import encoded, problems, reply
from saeindex_server.requests import CountBody, ExportBody, GetBody, RecordsBody, SelectedBody

router = APIRouter(
    route_class=CheckedRoute, prefix="/v1/indexes/{name}", tags=["records"], responses=problems()
)
NDJSON, JSON = "application/x-ndjson", "application/json"
TYPES = (NDJSON, "application/jsonl", "application/ndjson")
EXPORTED = 256
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


@router.post("/records", status_code=202, summary="Add records", response_model=replies.JobReply,
             responses=problems(409, 415), openapi_extra=ADDED, max_body_size=UPLOAD)  # fmt: skip
async def add_records(
    name: str,
    access: Caller,
    request: Request,
    text_field: Annotated[str | None, Query(description="NDJSON: the field with the text")] = None,
    id_field: Annotated[str | None, Query(description="NDJSON: the field with the id")] = None,
    split: Annotated[
        int | None, Query(ge=8, description="tokens of the records that texts are split into")
    ] = None,
) -> Response:
    """Take records to index, as JSON or streamed as NDJSON; 202 when they are safe on the disk.

    A record is indexed once: an unchanged one is skipped, and a changed one replaced. Follow the job.
    """
    index = access.index(name, "write")
    jobs, settings = access.service.jobs, access.service.settings
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in (*TYPES, JSON):
        raise Refusal(415, f"the type {kind!r:.80}", "it is not taken", f"Send {JSON} or {NDJSON}.")
    await access.service.read(jobs.check_room)
    columns = {"text": "text"} if kind == JSON else {"text": text_field, "id": id_field}
    asked: dict[str, Any] = {"columns": {key: one for key, one in columns.items() if one is not None} or None}
    if split is not None:
        await index.run(lambda own: check_split(split, lambda: own.encoder))
        asked["split"] = split
    identity = new_id()
    chunks = _lines(await _body(request, settings.max_body_bytes)) if kind == JSON else request.stream()
    limit = settings.max_upload_bytes
    room = settings.max_spool_bytes - await access.service.read(jobs.spooled)
    taken = await spool(chunks, jobs.spooled_file(identity), limit, room)
    try:
        token = request.headers.get(HEADER)
        found, is_replayed = await access.service.once(
            access.key, token, taken.digest,
            lambda: access.service.write(lambda: _queued(index, identity, asked, taken)),
        )  # fmt: skip
    finally:
        with CancelScope(shield=True):
            await access.service.write(lambda: jobs.forget(identity))
    headers = {"Location": f"/v1/jobs/{found['id']}"} | ({REPLAYED: "true"} if is_replayed else {})
    return reply(found, 202, headers)


def _queued(index: AuthorisedIndex, identity: str, asked: dict[str, Any], taken: Spooled) -> dict[str, Any]:
    access = index.access
    job: Job = access.service.jobs.add(
        "records", index.name, access.key.id, asked, identity=identity, size=taken.size, total=taken.lines
    )
    index.note("add records", job=identity, bytes=taken.size)
    return job.to_json()


async def _body(request: Request, limit: int) -> bytes:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            found, do = f"more than {limit:,} bytes of JSON", "Send less, or stream NDJSON."
            raise Refusal(413, "records to index", found, do)
    return body


async def _lines(body: bytes) -> AsyncIterator[bytes]:
    """Yield the records of a JSON body as lines; refuse a body that is not one."""
    check_depth(body)
    try:
        read = RecordsBody.model_validate_json(body)
    except ValidationError as error:
        faults = [{**one, "loc": ("body", *one["loc"])} for one in error.errors(include_url=False)]
        raise refused_body(faults) from None
    for record in read.records:
        given = record.model_dump(exclude_unset=True)
        yield encoded({**given.pop("fields", {}), **given}) + b"\n"


@router.get("/records", summary="List records", response_model=replies.PageReply)
async def list_records(
    name: str,
    access: Caller,
    where: Annotated[str | None, Query(max_length=100_000)] = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    cursor: Annotated[str | None, Query(max_length=10_000, description="`next` of the page before")] = None,
    concepts: Annotated[bool, Query(description="add the concepts of each record")] = False,
) -> Response:
    """Return the records page by page, or those that match a condition."""

    def found(index: FeatureIndex) -> bytes:
        parts: list[RecordPart] = ["concepts"] if concepts else []
        listed, later = index.records(where, limit=limit, offset=cursor, include=parts)
        return encoded({"records": [one.to_json(parts) for one in listed], "next": later})

    return Response(await access.index(name).run(found), media_type=JSON)


@router.get("/records/{identity:path}", summary="Get a record", response_model=replies.AnalysisReply)
async def get_record(name: str, identity: str, access: Caller) -> Response:
    """Return a record with its concepts."""

    def found(index: FeatureIndex) -> bytes:
        records = index.get([identity], include=["concepts"])
        if not records:
            raise NotFoundError(f"record {identity!r:.80}", "no record has this id", "Check it.")
        return encoded(records[0].to_json(["concepts"]))

    return Response(await access.index(name).run(found), media_type=JSON)


@router.post("/records/get", summary="Get records", response_model=replies.RecordsReply)
async def get_records(name: str, body: GetBody, access: Caller) -> Response:
    """Return records by id, in the order of the ids."""

    def found(index: FeatureIndex) -> Response:
        records = index.get(body.ids, documents=body.documents, include=body.include)
        known = {record.id if body.documents is None else record.document for record in records}
        missing = [one for one in body.documents or body.ids or () if one not in known]

        def described(them: list[StoredRecord]) -> dict[str, Any]:
            return {"records": [one.to_json(body.include) for one in them], "missing": missing}

        return access.answer(records, described)

    return await access.index(name).run(found)


@router.post("/records/count", summary="Count records", response_model=replies.CountReply)
async def count_records(name: str, body: CountBody, access: Caller) -> Response:
    """Return the number of records, or of those that match."""
    given = body.where, body.query_filter
    return reply({"count": await access.index(name).run(lambda index: index.count(*given))})


@router.post("/records/delete", summary="Delete records", response_model=replies.DeletedReply,
             responses=problems(409))  # fmt: skip
async def delete_records(name: str, body: SelectedBody, access: Caller, request: Request) -> Response:
    """Delete records by id, or all that match; 409 while a job adds records."""

    def change(index: FeatureIndex) -> dict[str, Any]:
        where, native = body.where, body.query_filter
        return {"deleted": index.delete(body.ids, documents=body.documents, where=where, query_filter=native)}

    return await changed_once(access.index(name, "write"), request, "delete records", change)


@router.post("/records/export", summary="Export records", response_class=StreamingResponse,
             responses={200: {"content": {NDJSON: {"schema": {"type": "string"}}}}})  # fmt: skip
async def export(name: str, body: ExportBody, access: Caller) -> Response:
    """Stream the records, or those that match, as NDJSON."""
    authorised = access.index(name)

    async def page(offset: str | None) -> tuple[bytes, str | None]:
        def found(index: FeatureIndex) -> tuple[bytes, str | None]:
            listed, later = index.records(
                body.where,
                query_filter=body.query_filter,
                limit=EXPORTED,
                offset=offset,
                include=body.include,
            )
            return b"".join(encoded(one.to_json(body.include)) + b"\n" for one in listed), later

        return await authorised.run(found)

    first = await page(None)  # an error of the condition comes before the response

    async def streamed() -> AsyncIterator[bytes]:
        lines, later = first
        yield lines
        while later is not None:
            lines, later = await page(later)
            yield lines

    return StreamingResponse(streamed(), media_type=NDJSON)


@router.get("/fields", summary="Metadata fields", response_model=replies.FieldsReply)
async def metadata_fields(name: str, access: Caller) -> Response:
    """Return the metadata fields: what they hold, an example, and how many records have them."""
    found = await access.index(name).run(lambda index: index.metadata_fields())
    return access.answer(found, lambda them: {"fields": [asdict(one) for one in them]})
