"""``saeindex count``, ``drop``, ``backup`` and ``restore``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from saeindex.cli.options import asks
from saeindex.cli.output import Index, Json, Url, answer, confirm, open_index
from saeindex.operations.records import Count
from saeindex.report.numbers import counted
from saeindex.types import visible

Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


@asks(Count)
def count(index: Index, options: dict[str, Any], url: Url = None, as_json: Json = False) -> None:
    """Count the records, or those that match."""
    with open_index(index, url) as opened:
        found = opened.count(**options)
    answer({"count": found}, f"{found:,}", as_json)


def drop(index: Index, yes: Yes = False, url: Url = None, as_json: Json = False) -> None:
    """Delete an index with all its records."""
    from saeindex.indexing.create_open import drop_index

    if not yes:
        confirm(f"Delete the index {visible(index)} with all its records?", as_json)
    drop_index(index, url=url)
    answer({"dropped": index}, f"{visible(index)}: deleted", as_json)


def backup(
    index: Index,
    to: Annotated[Path, typer.Option(help="The file to write: NAME.tar.gz.")],
    as_json: Json = False,
) -> None:
    """Write all files of an index to one; `saeindex restore` makes an index of it."""
    with open_index(index, None) as opened:
        made = opened.backup(to)
    size = f"{made.bytes / 2**20:,.1f} MiB"
    text = (
        f"{visible(made.file)}: {counted(made.records, 'record')}, {size}; writes waited {made.paused:.2f} s"
    )
    answer(made.to_json(), text, as_json)


def restore(
    file: Annotated[Path, typer.Argument(help="The file that `saeindex backup` wrote.")],
    to: Annotated[str, typer.Option(help="The directory of the index to make.")],
    as_json: Json = False,
) -> None:
    """Make an index of a backup, which is read whole and checked."""
    from saeindex.collection.backup import restore_index

    records = restore_index(file, to)
    answer({"index": to, "records": records}, f"{visible(to)}: {counted(records, 'record')}", as_json)
