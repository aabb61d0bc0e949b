"""``saeindex mcp``."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from saeindex.errors import IndexLockedError, InvalidInputError, installed

if TYPE_CHECKING:
    from saeindex.index import FeatureIndex

# What the name of an index leaves out of that of its folder.
SUFFIX = ".idx"


def mcp(
    indexes: Annotated[
        list[str] | None, typer.Argument(help="Directories of indexes; none with --url.")
    ] = None,
    server: Annotated[
        str | None,
        typer.Option("--url", help="A server (saeindex serve), whose indexes are offered in their place."),
    ] = None,
    api_key_env: Annotated[
        str | None, typer.Option(help="The variable of the environment that has the key of the server.")
    ] = None,
) -> None:
    """Offer indexes to a language model, as tools over MCP on stdin and stdout."""
    tools = installed("saeindex.integrations.mcp", "tools over MCP", "mcp")
    if bool(indexes) == (server is not None):
        found = "indexes and --url" if indexes else "no index"
        raise InvalidInputError("saeindex mcp", found, "Name indexes, or give the --url of a server.")
    with ExitStack() as stack:
        if server is not None:
            from saeindex.client import Client

            key = None if api_key_env is None else os.environ.get(api_key_env)
            if api_key_env is not None and not key:
                do = "Set it to the key."
                raise InvalidInputError(f"--api-key-env {api_key_env}", "no such variable", do)
            client = stack.enter_context(Client(server, key))
            tools.serve_stdio(tools.Served(client))
        else:
            tools.serve_stdio(tools.Opened(_opened(indexes or [], stack)))


def _opened(places: list[str], stack: ExitStack) -> dict[str, FeatureIndex]:
    """Return the indexes in directories by name, until the stack closes them."""
    from saeindex.index import FeatureIndex

    found: dict[str, FeatureIndex] = {}
    for place in places:
        name = Path(place).name.removesuffix(SUFFIX)
        if name in found:
            clash = f"two indexes have the name {name!r}"
            raise InvalidInputError(f"saeindex mcp {place}", clash, "Rename one of the folders.")
        try:
            found[name] = stack.enter_context(FeatureIndex.open(place))
        except IndexLockedError as error:
            do = f"Close it there, or run `saeindex serve {place}` and `saeindex mcp --url URL`."
            raise IndexLockedError(error.asked, error.found, do) from None
    return found
