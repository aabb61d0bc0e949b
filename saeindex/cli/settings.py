"""``saeindex settings``, and the defaults that a file or the environment gives to options of all commands.

A setting is the default of the option of its name, in every command that has it. It comes from a file, from
the environment (``SAEINDEX_LIMIT=20``), or from the option itself; each is stronger than the one before.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from urllib.parse import urlsplit, urlunsplit

from saeindex.cli.output import Json, console, print_json
from saeindex.devices import PRECISION_VARIABLE
from saeindex.errors import InvalidInputError, first_fault
from saeindex.files import CACHE_VARIABLE
from saeindex.types import LevelName

if TYPE_CHECKING:
    from pydantic import BaseModel

PREFIX = "SAEINDEX_"
FILE_VARIABLE = "SAEINDEX_SETTINGS"
FILES = (Path("saeindex.toml"), Path("~/.config/saeindex/settings.toml"))
# Variables of the same prefix that are no settings.
OTHERS = frozenset({FILE_VARIABLE, "SAEINDEX_DATA"})
# Those of `saeindex serve` are read by saeindex_server.settings.
SERVER_PREFIX = "SAEINDEX_SERVER_"
MAX_BYTES = 100_000
# The commands whose option of this name a setting is for; without an entry, all that have the option.
COMMANDS = {"space": {"index"}, "limit": {"search"}, "where_level": {"search"}}


class Setting(NamedTuple):
    """A setting: its value (None if nothing sets it), where that comes from, and what it does."""

    name: str
    value: Any
    source: str
    help: str

    @property
    def shown(self) -> Any:
        """The value without a password in a URL."""
        if self.name != "url" or self.value is None:
            return self.value
        parts = urlsplit(self.value)
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def settings(as_json: Json = False) -> None:
    """Print the settings that are in force, and where each comes from."""
    found = settings_in_force()
    if as_json:
        print_json({one.name: {"value": one.shown, "source": one.source} for one in found})
        return
    from rich.table import Table

    table = Table("setting", "value", "from", "what it does", box=None)
    for one in found:
        table.add_row(one.name, "" if one.value is None else str(one.shown), one.source, one.help)
    console().print(table)


def default_map(commands: Mapping[str, Any]) -> dict[str, Any]:
    """Return the defaults of options by command and group, from the settings; {} if there are none."""
    if settings_file() is None and not _variables():
        return {}  # the settings of most people: their library need not be loaded
    known = {one.name: one.value for one in settings_in_force() if one.value is not None}
    for name, variable in (("cache", CACHE_VARIABLE), ("precision", PRECISION_VARIABLE)):
        if value := known.pop(name, None):
            os.environ[variable] = value
    return {name: _defaults(name, command, known) for name, command in commands.items()}


def _defaults(name: str, command: Any, known: Mapping[str, Any]) -> dict[str, Any]:
    if hasattr(command, "commands"):
        return {inner: _defaults(inner, one, known) for inner, one in command.commands.items()}
    options = {one.name for one in command.params if one.param_type_name == "option"}
    meant = {key for key in options & known.keys() if name in COMMANDS.get(key, {name})}
    return {key: value for key, value in known.items() if key in meant}


def settings_file() -> Path | None:
    """Return the settings file: ``$SAEINDEX_SETTINGS``, or the first of ``FILES`` that exists.

    Raises:
        InvalidInputError: the variable names a file that does not exist.
    """
    if named := os.environ.get(FILE_VARIABLE):
        if not Path(named).is_file():
            raise InvalidInputError(f"{FILE_VARIABLE}={named}", "there is no such file", "Correct the path.")
        return Path(named)
    places = (os.path.expanduser(path) for path in FILES)  # noqa: PTH111 (which does not fail without a home)
    return next((Path(one) for one in places if os.path.isfile(one)), None)  # noqa: PTH113 (nor unreadable)


def settings_in_force() -> list[Setting]:
    """Return all settings; InvalidInputError for an unknown name or a value of the wrong kind."""
    from pydantic import ValidationError

    model, file = _model(), settings_file()
    variables = {one.removeprefix(PREFIX).lower(): os.environ[one] for one in _variables()}
    given: dict[str, tuple[Any, str]] = {}
    spelled: Callable[[str], str]
    source: Callable[[str], str]
    for values, place, spelled, source in (
        (_in_file(file), f"settings file {str(file)!r}", str, lambda name: f"file {file}"),
        (variables, "the environment", _variable, lambda name: f"variable {_variable(name)}"),
    ):
        for name, value in values.items():
            if name not in model.model_fields:
                known = ", ".join(map(spelled, model.model_fields))
                raise InvalidInputError(place, f"no setting has the name {spelled(name)}", f"Use: {known}.")
            given[name] = value, source(name)
    try:
        read = model.model_validate({name: value for name, (value, _) in given.items()})
    except ValidationError as error:
        name = str(error.errors(include_url=False, include_input=False)[0]["loc"][0])
        do = f"Set {model.model_fields[name].description} so, or remove it there."
        raise InvalidInputError(f"setting {name} ({given[name][1]})", first_fault(error), do) from None
    return [
        Setting(name, getattr(read, name), given[name][1] if name in given else "", field.description or "")
        for name, field in model.model_fields.items()
    ]


def _variable(name: str) -> str:
    return f"{PREFIX}{name}".upper()


def _model() -> type[BaseModel]:
    from pydantic import BaseModel, Field

    class Settings(BaseModel):
        url: str | None = Field(None, description="a Qdrant server, where INDEX is a collection")
        space: str | None = Field(None, description="the feature space of new indexes")
        split: int | None = Field(None, ge=8, description="tokens of the records that texts are split into")
        limit: int | None = Field(None, ge=1, description="the number of hits of a search")
        where_level: LevelName | None = Field(
            None, description="the level of concepts in searches that name none"
        )
        unit: str | None = Field(None, description="the unit of analyses")
        cache: str | None = Field(None, description="the folder of cached embeddings and replies")
        precision: Literal["auto", "fp32", "bf16"] | None = Field(
            None, description="of the encoder; fp32 gives the same digits on every machine"
        )

    return Settings


def _in_file(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    if file.stat().st_size > MAX_BYTES:
        found = f"it has more than {MAX_BYTES:,} bytes"
        raise InvalidInputError(f"settings file {str(file)!r}", found, "Use a file with settings only.")
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        is_unread = isinstance(error, OSError)
        found = f"it cannot be read: {error}" if is_unread else f"it is not TOML: {error}"
        do = 'Write lines such as: space = "NAME".'
        raise InvalidInputError(f"settings file {str(file)!r}", found, do) from None


def _variables() -> list[str]:
    own = (name for name in os.environ if name.startswith(PREFIX) and name not in OTHERS)
    return [name for name in own if not name.startswith(SERVER_PREFIX)]
