"""Opening and creating a store from a path, a client, or a server's URL."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from saeindex.errors import InvalidInputError
from saeindex.protocols import Layout
from saeindex.stores.edge import EdgeStore

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

    from saeindex.stores.base import BaseStore
    from saeindex.stores.isolated import IsolatedStore


def open_store(
    path_or_collection: str | os.PathLike[str],
    client: QdrantClient | None = None,
    url: str | None = None,
    isolated: bool = False,
) -> BaseStore:
    """Open an index: a directory, or with ``client`` or ``url`` a collection on a server.

    With ``url`` (``"env"``: the value of ``QDRANT_URL``) the API key is read from ``QDRANT_API_KEY``, and the
    store closes its client. ``isolated`` opens a directory in a process of its own.

    Raises:
        NotFoundError: the index does not exist.
        IndexLockedError: the directory is open in another process.
        StorageError: the server cannot be reached, or the directory cannot be read.
    """
    _check(client, url, isolated)
    if client is None and url is None:
        return _embedded(isolated).open(path_or_collection)
    return _on_server("open", client, url, os.fspath(path_or_collection))


def create_store(
    path_or_collection: str | os.PathLike[str],
    layout: Layout,
    client: QdrantClient | None = None,
    url: str | None = None,
    isolated: bool = False,
    **options: Any,
) -> BaseStore:
    """Create an empty index, as :func:`open_store` opens it.

    ``options`` are those of :meth:`QdrantStore.create`, for a server only.

    Raises:
        MismatchError: an index with that name exists already.
        InvalidInputError: the layout, the name or an option is not possible.
        StorageError: the server cannot be reached, or the directory cannot be written.
    """
    _check(client, url, isolated)
    if client is None and url is None:
        if options:
            found = f"a directory has no options {sorted(options)}"
            raise InvalidInputError("creating an index", found, "Leave them out, or give a client or url.")
        return _embedded(isolated).create(path_or_collection, layout)
    return _on_server("create", client, url, os.fspath(path_or_collection), layout, **options)


def _on_server(
    action: str, client: QdrantClient | None, url: str | None, *arguments: Any, **options: Any
) -> BaseStore:
    """Open or create a collection; a client that is made for it is closed with it, or after an error."""
    from saeindex.stores.qdrant import QdrantStore

    given = client or _connect(url)
    try:
        store: BaseStore = getattr(QdrantStore, action)(
            given, *arguments, owns_client=client is None, **options
        )
        return store
    except BaseException:
        if client is None:
            given.close()
        raise


@contextmanager
def connected(url: str) -> Iterator[QdrantClient]:
    """Yield a client of a server (``"env"``: the value of ``QDRANT_URL``), and close it."""
    client = _connect(url)
    try:
        yield client
    finally:
        client.close()


def _check(client: QdrantClient | None, url: str | None, isolated: bool) -> None:
    if client is not None and url is not None:
        raise InvalidInputError("a store", "both a client and a url are given", "Give one of them.")
    if isolated and (client is not None or url is not None):
        found = "a server's engine has a process of its own already"
        raise InvalidInputError("isolated=True", found, "Leave it out.")


def _embedded(isolated: bool) -> type[EdgeStore] | type[IsolatedStore]:
    if not isolated:
        return EdgeStore
    from saeindex.stores.isolated import IsolatedStore

    return IsolatedStore


def _connect(url: str | None) -> QdrantClient:
    from qdrant_client import QdrantClient

    if url == "env":
        url = os.environ.get("QDRANT_URL")
        if not url:
            raise InvalidInputError("url='env'", "QDRANT_URL is not set", "Set it, or give the url itself.")
    key = os.environ.get("QDRANT_API_KEY") or None
    try:
        # The first call checks whether the server is reachable, with a better message than this warning.
        return QdrantClient(url=url, api_key=key, check_compatibility=False)
    except ValueError as error:
        found = f"the url is not usable: {error!s:.200}"
        raise InvalidInputError(
            "a connection to Qdrant", found, "Use a form like http://host:6333."
        ) from None
