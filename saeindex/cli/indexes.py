"""``saeindex list``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from saeindex.cli.output import Json, Url, console, print_json, say
from saeindex.types import visible


def list_indexes(
    folder: Annotated[Path, typer.Argument(help="A folder with indexes.")] = Path(),
    url: Url = None,
    as_json: Json = False,
) -> None:
    """List the indexes in a folder, or on a server with --url. Exits with 1 if there are none."""
    from saeindex.indexing.create_open import indexes_in, indexes_on

    if url is None:
        found = indexes_in(folder)
    else:
        from saeindex.stores.open import connected

        with connected(url) as client:
            found = list(indexes_on(client))
    if as_json:
        print_json({"indexes": [asdict(one) for one in found]})
    elif found:
        from rich.table import Column, Table

        named = Column("index", overflow="fold")  # it is typed again: never cut
        table = Table(named, "records", "space", "size", "made", box=None, header_style="dim")
        for one in found:
            size = "" if one.size is None else f"{one.size / 2**20:,.0f} MiB"
            about = "" if one.is_counted else "~"
            count = "–" if one.problem else f"{about}{one.records:,}"
            made = one.created[:10]
            table.add_row(visible(one.name), count, one.problem or one.space, size, made)
        console().print(table)
        if not all(one.is_counted or one.problem for one in found):
            say(
                "~ being written to, or interrupted in that: `saeindex info INDEX` counts what it holds.",
                is_error=True,
            )
    else:
        say(f"No index in {str(folder)!r}." if url is None else f"No index on {visible(url)}.", is_error=True)
    if not found:
        raise typer.Exit(1)
