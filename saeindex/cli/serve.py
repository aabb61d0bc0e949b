"""``saeindex serve``, and the group ``saeindex keys``: the server and who may call it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, ClassVar

import typer

from saeindex.cli.options import asks
from saeindex.cli.output import Json, Url, answer, console, print_json
from saeindex.errors import InvalidInputError, MissingDependencyError, NotFoundError, installed

app = typer.Typer(help="Make, list and revoke the API keys of a server.", no_args_is_help=True)
State = Annotated[
    Path | None, typer.Option(help="Folder of the server's keys and jobs. Default: saeindex-server.")
]


def _server(module: str) -> Any:
    return installed(f"saeindex_server.{module}", "the server", "server")


class _NotInstalled:
    """The settings of a server that is not installed: none, and the command says so."""

    __pydantic_fields__: ClassVar[dict[str, Any]] = {}


def _settings() -> type:
    try:
        found: type = _server("settings").ServerSettings
    except MissingDependencyError:
        return _NotInstalled
    return found


@asks(_settings())
def serve(
    options: dict[str, Any],
    indexes: Annotated[
        list[str] | None, typer.Argument(help="Indexes: directories, or collections with --url.")
    ] = None,
    create: Annotated[bool, typer.Option("--create", help="Create indexes that do not exist.")] = False,
    url: Url = None,
) -> None:
    """Serve indexes over HTTP; every setting is also a variable: SAEINDEX_SERVER_PORT for --port."""
    serve_indexes(indexes or [], options, create, url)


def serve_indexes(
    indexes: list[str], options: dict[str, Any] | None = None, create: bool = False, url: str | None = None
) -> None:
    """Serve indexes with settings as options of the command."""
    settings = _server("settings").read_settings(options or {})
    _server("logs").start_logging()
    if create:
        _create_missing(indexes, url)
    _server("listener").serve(settings, indexes, url)


@app.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(help="read, write, analyse, admin. Repeatable. Default: read, analyse."),
    ] = None,
    index: Annotated[list[str] | None, typer.Option(help="An index that it is for. Default: all.")] = None,
    where: Annotated[
        str | None, typer.Option(help="Condition on fields: only matching records exist for the key.")
    ] = None,
    filter_json: Annotated[str | None, typer.Option("--filter", help="The same as a Qdrant filter.")] = None,
    days: Annotated[float | None, typer.Option(help="Days after which it ends.")] = None,
    state: State = None,
    as_json: Json = False,
) -> None:
    """Make a key and print it; it is not kept and cannot be shown again."""
    key, text = _keys(state).create(
        name, scope or ("read", "analyse"), index or (), where, _filter(filter_json), days
    )
    _audit(state, "create key", key.id)
    answer({**key.to_json(), "key": text}, text, as_json)


@app.command("list")
def list_keys(state: State = None, as_json: Json = False) -> None:
    """List the keys, never their texts."""
    found = [key.to_json() for key in _known(state).all()]
    if as_json:
        print_json({"keys": found})
        return
    from rich.table import Table

    table = Table("id", "name", "scopes", "indexes", "filter", "ends", box=None)
    for one in found:
        ends = f"revoked {one['revoked']}" if one["revoked"] else one["expires"] or ""
        condition = "" if one["filter"] is None else json.dumps(one["filter"])
        listed = ", ".join(one["indexes"]) or "all"
        table.add_row(one["id"], one["name"], ", ".join(one["scopes"]), listed, condition, ends)
    console().print(table)


@app.command("revoke")
def revoke_key(
    identity: Annotated[str, typer.Argument(metavar="ID", help="The key's id, as `keys list` shows it.")],
    state: State = None,
    as_json: Json = False,
) -> None:
    """End a key now."""
    key = _known(state).revoke(identity)
    _audit(state, "revoke key", key.id)
    answer(key.to_json(), f"Revoked {key.id} ({key.name}).", as_json)


def _folder(state: Path | None) -> Path:
    """Return the state folder: as given, or by the settings."""
    return Path(_server("settings").read_settings({"state": state}).state)


def _keys(state: Path | None) -> Any:
    return _server("keys").KeyStore(_server("database").Database(_folder(state)))


def _known(state: Path | None) -> Any:
    """Return the keys of a state folder, which is not made by looking for it."""
    if not (folder := _folder(state)).is_dir():
        raise NotFoundError(f"the keys in {str(folder)!r}", "there is no such folder", "Correct --state.")
    return _keys(state)


def _audit(state: Path | None, action: str, key: str) -> None:
    """Note in the audit log what was done with a key, here and not by a request."""
    _server("logs").AuditLog(_folder(state)).add(key, "", action, "")


def _filter(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        found: dict[str, Any] = json.loads(text)
    except ValueError as error:
        raise InvalidInputError("--filter", f"it is not JSON: {error}", "Give a Qdrant filter.") from None
    return found


def _create_missing(indexes: list[str], url: str | None) -> None:
    from saeindex.index import FeatureIndex

    for place in indexes:
        try:
            FeatureIndex.open(place, url=url).close()
        except NotFoundError:
            FeatureIndex.create(place, url=url).close()
            _server("logs").log(f"created {place}")
