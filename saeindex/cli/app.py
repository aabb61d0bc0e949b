"""The commands, their shared options, and what becomes of errors."""

from __future__ import annotations

import json
import os
import sys
from typing import Annotated, Any

import typer

from saeindex._version import __version__
from saeindex.cli import (
    cluster,
    correlate,
    demo,
    diff,
    doctor,
    drift,
    features,
    index,
    monitor,
    profile,
    sae,
    search,
    steering,
)
from saeindex.errors import (
    InvalidInputError,
    NotFoundError,
    SaeIndexError,
    UnknownConceptError,
)

USAGE, RUNTIME, INTERRUPTED = 2, 3, 130
USAGE_ERRORS = (InvalidInputError, NotFoundError, UnknownConceptError)

app = typer.Typer(
    name="saeindex",
    help="Search, filter and steer by concept: sparse-autoencoder features beside every dense vector.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("index")(index.index)
app.command("search")(search.search)
app.command("features")(features.features)
app.command("feature")(features.feature)
app.command("diff")(diff.diff)
app.command("correlate")(correlate.correlate)
app.command("triggers")(correlate.triggers)
app.command("cluster")(cluster.cluster)
app.command("drift")(drift.drift)
app.command("monitor")(monitor.monitor)
app.command("profile")(profile.profile)
app.command("info")(features.info)
app.command("doctor")(doctor.doctor)
app.command("demo")(demo.demo)
app.add_typer(steering.app, name="steering")
app.add_typer(sae.app, name="sae")


def _show_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"saeindex {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Search, filter and steer by concept: sparse-autoencoder features beside every dense vector."""


def run() -> None:
    """Run a command; one line per error, on stderr (as JSON with ``--json``)."""
    # Models are bundled or given by path: a hub that does not answer must not delay a search.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        app()
    except SaeIndexError as error:
        _report(error)
        sys.exit(USAGE if isinstance(error, USAGE_ERRORS) else RUNTIME)
    except SystemExit as stopped:
        if stopped.code == INTERRUPTED:
            print("Stopped; what was finished is kept. Run the same command again to go on.", file=sys.stderr)
        raise


def _report(error: SaeIndexError) -> None:
    if "--json" in sys.argv:
        described: dict[str, Any] = {
            "error": type(error).__name__,
            "asked": error.asked,
            "found": error.found,
            "do": error.do,
        }
        print(json.dumps(described), file=sys.stderr)
    else:
        print(f"Error: {error}", file=sys.stderr)
