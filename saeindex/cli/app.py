"""The commands, their shared options, and how errors are reported."""

from __future__ import annotations

import io
import json
import os
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.main import get_command

from saeindex import errors
from saeindex._version import __version__
from saeindex.cli.output import say
from saeindex.types import visible

USAGE, RUNTIME, INTERRUPTED = 2, 3, 130
USAGE_ERRORS = (errors.InvalidInputError, errors.NotFoundError, errors.UnknownConceptError)

ANALYSES = ("diff", "correlate", "triggers", "cluster", "drift", "monitor", "describe", "evaluate")
# The function of each command, and the module of each group of commands, within saeindex.cli.
COMMANDS = {
    "index": "index.index",
    "search": "search.search",
    "features": "features.features",
    "feature": "features.feature",
    **{name: f"analyses.{name}" for name in ANALYSES},
    "list": "index.list_indexes",
    "info": "features.info",
    "get": "records.get",
    "facets": "records.facets",
    "update": "records.update",
    "delete": "records.delete",
    "export": "records.export",
    "copy": "records.copy",
    **{name: f"upkeep.{name}" for name in ("count", "drop", "backup", "restore")},
    "doctor": "doctor.doctor",
    "serve": "serve.serve",
    "mcp": "mcp.mcp",
    "demo": "demo.demo",
}
GROUPS = {"profiles": "profiles", "names": "features", "sae": "sae", "space": "space", "keys": "serve"}
# Commands that keep finished work when they are stopped.
RESUMED = ("index", "sae", "space", "copy", "demo")
# Commands that compute little: to start the threads of numpy's BLAS would take an eighth of their time.
SHORT_COMMANDS = ("search", "features", "feature", "info")


# What Typer raises for options and arguments that a command does not take.
WrongUse: Any = typer.BadParameter.__base__


def make_app(command: str = "") -> typer.Typer:
    """Return the command line; if ``command`` is known, with this command only, to import no other."""
    app = typer.Typer(
        name="saeindex",
        help="Search, filter and steer by concept: sparse-autoencoder features beside every dense vector.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(options)
    is_known = command in {*COMMANDS, *GROUPS, "--version"}
    for name, place in COMMANDS.items():
        if name == command or not is_known:
            module, _, function = place.partition(".")
            app.command(name)(getattr(import_module(f"saeindex.cli.{module}"), function))
    for name, module in GROUPS.items():
        if name == command or not is_known:
            app.add_typer(import_module(f"saeindex.cli.{module}").app, name=name)
    return app


def _show_version(is_asked: bool) -> None:
    if is_asked:
        say(f"saeindex {__version__}")
        raise typer.Exit


def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Search, filter and steer by concept: sparse-autoencoder features beside every dense vector."""


def run() -> None:
    """Run a command; an error is printed as one line on stderr (as JSON with ``--json``)."""
    # Models are bundled or given by path: a hub that does not respond must not delay a search.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # what the terminal's encoding lacks
    warnings.showwarning = _warn
    given = sys.argv[1:]
    command = given[0] if given else ""
    if command in SHORT_COMMANDS:
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        app = get_command(make_app(command))
        _check_once(app, given)
        sys.exit(app(given, standalone_mode="--json" not in given))
    except WrongUse as error:  # without --json it has been printed, with the usage
        do = f"Run `saeindex {command} -h`." if command in {*COMMANDS, *GROUPS} else "Run `saeindex -h`."
        _report(errors.InvalidInputError(f"saeindex {' '.join(given)}"[:200], error.format_message(), do))
        sys.exit(USAGE)
    except errors.SaeIndexError as error:
        _report(error)
        sys.exit(USAGE if isinstance(error, USAGE_ERRORS) else RUNTIME)
    except OSError as error:
        where = f": {error.filename!r}" if error.filename else ""
        found, do = f"{error.strerror or error}{where}", "Check the path, its permissions and the disk."
        _report(errors.StorageError(f"saeindex {command}", found, do))
        sys.exit(RUNTIME)
    except SystemExit as stopped:
        if stopped.code == INTERRUPTED:
            kept = " What is finished is kept, of a training to the last half minute: run it again to go on."
            say(f"Stopped.{kept if command in RESUMED else ''}", is_error=True)
        _flush(command)
        raise


def _check_once(command: Any, given: Sequence[str]) -> None:
    """Raise InvalidInputError for an option that is given twice and taken once: one would be dropped."""
    rest = list(given)
    while rest and rest[0] in (below := getattr(command, "commands", {})):
        command = below[rest.pop(0)]
    options = {name: one for one in command.params for name in one.opts if name.startswith("--")}
    seen = set()
    while rest and (token := rest.pop(0)) != "--":
        name, equals, _ = token.partition("=")
        option = options.get(name)
        if option is None or option.is_flag:
            continue
        if name in seen and not option.multiple:
            do = "Give it once; conditions are joined by AND."
            raise errors.InvalidInputError(f"saeindex {' '.join(given)}"[:200], f"{name} twice", do)
        seen.add(name)
        del rest[: 0 if equals else option.nargs]


def _flush(command: str) -> None:
    """Write what is left of the output; an output that takes no more is an error, not a traceback."""
    try:
        sys.stdout.flush()
    except OSError as error:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123  (else the exit tries it again)
        found = f"the output takes no more: {error.strerror or error}"
        _report(errors.StorageError(f"saeindex {command}", found, "Print to another place."))
        sys.exit(RUNTIME)


def _warn(message: Any, category: type[Warning], *place: Any, **more: Any) -> None:
    """Print a warning of ours in a line; others as Python does."""
    if issubclass(category, errors.FilterWarning):
        say(visible(f"Warning: {message}"), is_error=True)
    else:
        say(warnings.formatwarning(message, category, *place[:2]).rstrip(), is_error=True)


def _report(error: errors.SaeIndexError) -> None:
    if "--json" in sys.argv:
        described = dict(zip(("error", "asked", "found", "do"), error.parts, strict=True))
        say(json.dumps(described), is_error=True)
    else:
        say(visible(f"Error: {error}"), is_error=True)
