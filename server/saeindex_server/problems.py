"""Errors as problem details (RFC 9457): each with what was asked, what was found, and what to do."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field, ValidationError
from starlette.exceptions import HTTPException

from saeindex import errors
from saeindex.errors import SaeIndexError, StorageError, rebuilt
from saeindex_server.logs import log_failure

if TYPE_CHECKING:
    from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"
# The paths whose clients look for an error as OpenAI writes it.
OPENAI = ("/v1/embeddings", "/v1/models", "/v1/vector_stores")
# The status of each kind of error; a kind without one has that of its nearest base class here.
STATUSES: Mapping[type[SaeIndexError], int] = {
    errors.InvalidInputError: 422,
    errors.UnknownConceptError: 422,
    errors.NotFoundError: 404,
    errors.MismatchError: 409,
    errors.IndexLockedError: 503,
    errors.StorageError: 503,
    errors.QueryTimeoutError: 504,
    errors.EncoderError: 503,
    errors.MissingDependencyError: 503,
    SaeIndexError: 500,
}
TITLES = {
    400: "The request cannot be read",
    401: "A key is needed",
    403: "The key does not allow it",
    404: "It is not there",
    405: "The method is not offered",
    408: "The request did not come in time",
    409: "It does not fit what is there",
    413: "The request is too large",
    415: "The type of the body is not taken",
    421: "The host is not this server",
    422: "The request cannot be used as it is",
    429: "Too many requests",
    500: "The server failed",
    503: "It cannot be answered now",
    504: "It took too long",
}
RETRY_SECONDS = "1"
UNKNOWN = "the server failed in a way that it does not know"


class Refusal(SaeIndexError):
    """A request that the server does not answer, with its status and further headers."""

    def __init__(
        self, status: int, asked: str, found: str, do: str, headers: Mapping[str, str] | None = None
    ) -> None:
        """``status`` is that of the response."""
        super().__init__(asked, found, do)
        self.status, self.headers = status, dict(headers or {})


class Problem(BaseModel):
    """Why a request was not answered (RFC 9457)."""

    type: str = Field(description="the kind of error, as in docs/errors.md", examples=["InvalidInputError"])
    title: str = Field(examples=[TITLES[422]])
    status: int = Field(examples=[422])
    detail: str = Field(description="asked, found and do as sentences")
    asked: str = Field(examples=["limit=0"])
    found: str = Field(examples=["out of range"])
    do: str = Field(examples=["Use 1 or more."])
    request_id: str = Field(examples=["6f1d7c1e52a5"])


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the problems of a route, by status, for its documentation."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": TITLES[status], "content": content} for status in statuses}


def status_of(error: SaeIndexError) -> int:
    """Return the status of an error."""
    if isinstance(error, Refusal):
        return error.status
    return next(status for kind in type(error).__mro__ if (status := STATUSES.get(kind)))


def problem_response(error: SaeIndexError, request_id: str, path: str) -> Response:
    """Return the response of an error; on paths of OpenAI's form it has an ``error``, too."""
    code = status_of(error)
    headers = dict(error.headers) if isinstance(error, Refusal) else {}
    if code in (429, 503):
        headers.setdefault("Retry-After", RETRY_SECONDS)
    kind, asked, found, do = error.parts
    body = {
        "type": "about:blank" if isinstance(error, Refusal) else kind,
        "title": TITLES.get(code, "The request failed"), "status": code, "detail": str(error),
        "asked": asked, "found": found, "do": do, "request_id": request_id,
    }  # fmt: skip
    if path.startswith(OPENAI):
        body["error"] = {"message": str(error), "type": body["type"], "param": None, "code": str(code)}
    return JSONResponse(body, code, headers, MEDIA_TYPE)


def request_id_of(request: Request) -> str:
    """Return the id that this request is logged under."""
    return str(request.scope.get("request_id", ""))


def add_handlers(app: FastAPI) -> None:
    """Turn every error of a route into a problem; those of the server are logged."""

    async def answer(request: Request, error: Exception) -> Response:
        ours, identity = _ours(f"{request.method} {request.url.path}", error), request_id_of(request)
        if status_of(ours) >= 500 and not isinstance(error, Refusal | HTTPException):
            log_failure(identity, error)
        return problem_response(ours, identity, request.url.path)

    for kind in (SaeIndexError, RequestValidationError, HTTPException, OSError, Exception):
        app.add_exception_handler(kind, answer)


def _ours(asked: str, error: Exception) -> SaeIndexError:
    """Return an error of a route as one of ours."""
    if isinstance(error, SaeIndexError):
        return error
    if isinstance(error, RequestValidationError):
        return _refused(error.errors()[0])
    if isinstance(error, HTTPException):
        found, do = HTTP_PROBLEMS.get(error.status_code, (str(error.detail), "See /openapi.json."))
        return Refusal(error.status_code, asked, found, do, error.headers)
    return full_disk(asked, error) or Refusal(500, asked, UNKNOWN, "Report it with the request id.")


HTTP_PROBLEMS = {
    400: ("the body is not JSON", "Send a JSON object."),
    404: ("no such path", "See /openapi.json for those that there are."),
    405: ("the path has no such method", "See /openapi.json for those that it has."),
}


def full_disk(asked: str, error: BaseException) -> StorageError | None:
    """Return the error of a full disk, where an error of the system, the engine or SQLite says that it is."""
    said = str(error)
    is_full = "disk is full" in said or "No space left" in said
    if not is_full and getattr(error, "errno", None) not in (errno.ENOSPC, errno.EDQUOT):
        return None
    return StorageError(asked, "the disk of the server is full", "Ask again when there is room.")


def failure_of(identity: str, asked: str, error: BaseException) -> SaeIndexError:
    """Return the error that a job ends with; one that a job should not meet is logged."""
    if isinstance(error, SaeIndexError):
        return error
    if (full := full_disk(asked, error)) is not None:
        return full
    log_failure(identity, error)
    return SaeIndexError(asked, UNKNOWN, "Report it.")


def error_of(kept: Mapping[str, Any]) -> SaeIndexError:
    """Return the error that a job kept."""
    parts = str(kept["asked"]), str(kept["found"]), str(kept["do"])
    status = 504 if kept["type"] == "AnalysisStopped" else 503
    return rebuilt(kept["type"], *parts) or Refusal(status, *parts)


def refused_body(error: ValidationError) -> SaeIndexError:
    """Return the error of a body that does not fit its model: its first fault."""
    fault = error.errors(include_url=False)[0]
    return _refused({**fault, "loc": ("body", *fault["loc"])})


def _refused(fault: Any) -> SaeIndexError:
    place = [str(part) for part in fault["loc"]]
    where = ".".join(place[1:]) or place[0]
    if fault["type"] == "json_invalid":
        found = f"it is not JSON: {fault.get('ctx', {}).get('error', '')}"
        return Refusal(422, "the body", found, "Correct it.")
    if fault["type"] == "extra_forbidden":
        do = "See /openapi.json for its options."
        return errors.InvalidInputError(where, "no option has this name", do)
    return errors.InvalidInputError(where, fault["msg"].lower(), "See /openapi.json for what it takes.")
