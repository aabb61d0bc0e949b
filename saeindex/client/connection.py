"""The connection to a saeindex server: requests, their repetition, and problems as errors."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from saeindex.errors import AccessError, InvalidInputError, SaeIndexError, ServerError, installed, rebuilt
from saeindex.schema import check_kind
from saeindex.stores.point_checks import check_count

if TYPE_CHECKING:
    import httpx2

JSON, NDJSON, PROBLEM = "application/json", "application/x-ndjson", "application/problem+json"
RETRIED, NOTHING = (429, 503), 204
# The first and the longest wait between two attempts, in seconds: a server takes some to start again.
FIRST_WAIT, MAX_WAIT = 0.5, 10.0


class Connection:
    """Requests to a server; thread-safe."""

    def __init__(self, url: str, api_key: str | None, timeout: float, retries: int) -> None:
        """See :class:`saeindex.client.client.Client`."""
        httpx = installed("httpx2", "a client of a server", "client")
        check_kind("url", url, str, "Give the URL of a server.")
        check_count("a client", "retries", retries, 0)
        check_kind(f"timeout={timeout!r:.80}", timeout, (int, float), "Give seconds.")
        if api_key is not None and not (isinstance(api_key, str) and api_key.strip() and api_key.isascii()):
            raise InvalidInputError("api_key", "no key", "Give what `saeindex keys create` printed, or none.")
        headers = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
        url = url.rstrip("/").removesuffix("/v1")  # a base URL as others have it
        self.url, self._retries, self._httpx = url, retries, httpx
        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout)

    def ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
        content: Callable[[], Iterator[bytes]] | None = None,
    ) -> Any:
        """Return the JSON that answers a request, or the lines of NDJSON as a text.

        Raises:
            AccessError: the key is wrong or does not allow it. ServerError: no answer after all attempts.
            The errors of the library, as the server found them.
        """
        headers = {"Accept": JSON}
        given = {name: value for name, value in (params or {}).items() if value is not None}
        for attempt in range(self._retries + 1):
            try:
                options: dict[str, Any] = {"params": given, "headers": headers}
                if content is not None:
                    options |= {"content": content(), "headers": {**headers, "Content-Type": NDJSON}}
                elif body is not None:
                    options["json"] = body
                answer = self._http.request(method, path, **options)
            except self._httpx.TransportError as error:
                if attempt == self._retries:
                    raise self._unreachable(error) from error
                time.sleep(min(MAX_WAIT, FIRST_WAIT * 2**attempt))
                continue
            if answer.status_code not in RETRIED or attempt == self._retries:
                return read(answer)
            time.sleep(min(MAX_WAIT, float(answer.headers.get("retry-after", 1)) * (1 + attempt)))
        raise AssertionError("not reached")

    def download(self, path: str, target: Path) -> None:
        """Write what answers a request to a file; the errors are those of :meth:`ask`."""
        try:
            with self._http.stream("GET", path, timeout=None) as answer, target.open("wb") as file:
                if answer.is_error:
                    answer.read()
                    read(answer)
                for block in answer.iter_bytes():
                    file.write(block)
        except self._httpx.TransportError as error:
            raise self._unreachable(error) from error

    def close(self) -> None:
        """Close it."""
        self._http.close()

    def _unreachable(self, error: Exception) -> ServerError:
        found = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        return ServerError(f"the server at {self.url}", found, "Check the URL, and that the server runs.")


def named(name: object) -> str:
    """Return a name as a part of a path; InvalidInputError for what is none."""
    if not isinstance(name, str) or not name.strip(". ") or "/" in name:
        raise InvalidInputError(f"the name {name!r:.80}", "it names nothing", "Give a name, or an id.")
    return quote(name, safe="")


def read(answer: httpx2.Response) -> Any:
    """Return the JSON of an answer; its problem is raised as the error that it is."""
    kind = answer.headers.get("content-type", "").partition(";")[0]
    if answer.status_code == NOTHING:
        return None
    if kind == NDJSON and not answer.is_error:
        return answer.text
    if kind != PROBLEM if answer.is_error else kind != JSON:
        found = f"status {answer.status_code} and the type {kind!r:.40}, as of another kind of server"
        raise ServerError(f"the server at {answer.url.host}", found, "Check the URL.")
    if answer.is_error:
        raise error_of(answer.json())
    return json.loads(answer.content)


def error_of(problem: Mapping[str, Any]) -> SaeIndexError:
    """Return the error that a problem is."""
    parts = str(problem["asked"]), str(problem["found"]), str(problem["do"])
    if (error := rebuilt(problem["type"], *parts)) is not None:
        return error
    status = problem.get("status")
    if status in (401, 403):
        return AccessError(*parts)
    return InvalidInputError(*parts) if status in (400, 413, 415, 422) else ServerError(*parts)
