"""``saeindex index``: add records to an index; ``saeindex list``: which indexes there are."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from saeindex.cli.corpus import files
from saeindex.cli.output import Json, Reader, Sentences, Url, Words, console, print_json, say
from saeindex.config import DEFAULT_SPACE
from saeindex.errors import NotFoundError, RejectedError
from saeindex.report.numbers import counted
from saeindex.types import visible

if TYPE_CHECKING:
    from saeindex.indexing.pipeline import IndexingReport

UNSPLIT = "the index has texts that were split; without --split, a text that is indexed again is one record."


def index(  # noqa: PLR0913, PLR0917  (the options of a command)
    paths: Annotated[
        list[str],
        typer.Argument(
            help="JSON Lines, JSON, CSV or TSV (also .gz, .zst), Parquet, a folder of texts, or - (stdin)."
        ),
    ],
    into: Annotated[str, typer.Option(help="The index: a directory, or a collection with --url.")],
    text_field: Annotated[str | None, typer.Option(help="Column of the text. Default: detected.")] = None,
    id_field: Annotated[str | None, typer.Option(help="Column of the id. Default: detected.")] = None,
    metadata_fields: Annotated[
        list[str] | None, typer.Option(help="Columns to keep as metadata, comma-separated. Default: all.")
    ] = None,
    vector_field: Annotated[
        str | None, typer.Option(help="Column of vectors of the texts, by the encoder of the index.")
    ] = None,
    further_field: Annotated[
        list[str] | None, typer.Option(help="Column of a further text: prompt, or NAME=COLUMN. Repeatable.")
    ] = None,
    url: Url = None,
    space: Annotated[
        str | None, typer.Option(help=f"Feature space: a name or a directory. Default: {DEFAULT_SPACE}.")
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(help="The encoder of a new index, for which `saeindex space make` made a space."),
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="CPU threads of the encoder.")] = None,
    split: Annotated[
        int | None, typer.Option(help="Split texts into records of at most this many tokens; 0 for none.")
    ] = None,
    sentences: Sentences = None,
    words: Words = None,
    reader: Reader = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Records per batch.")] = 512,
    allow_rejects: Annotated[
        bool,
        typer.Option("--allow-rejects", help="Do not exit with 3 if a tenth of the records is rejected."),
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Let fields go that an update set and the source does not have.")
    ] = False,
    source: Annotated[
        str | None, typer.Option(help="The name of where the records come from, which each keeps.")
    ] = None,
    prune: Annotated[
        bool, typer.Option("--prune", help="Delete what --source gave before and does not give any more.")
    ] = False,
    max_prune: Annotated[
        int | None, typer.Option(min=0, help="Texts that may be deleted. Default: ten, or a tenth of all.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write nothing; say what would be written and deleted.")
    ] = False,
    leave_out: Annotated[
        list[str] | None,
        typer.Option(help="A sentence that is not read, such as a signature. Repeatable; kept by the index."),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 if a record was rejected.")] = False,
    as_json: Json = False,
) -> None:
    """Index records. Run it again to resume, or to add new ones: what is stored already is skipped."""
    from saeindex.features.space_io import encoder_named
    from saeindex.index import FeatureIndex
    from saeindex.indexing.manifest import truncated_records
    from saeindex.indexing.sources.columns import Columns
    from saeindex.indexing.sources.open_source import columns_of, open_source

    names = tuple(n.strip() for entry in metadata_fields or () for n in entry.split(",") if n.strip())
    fields = {name: column or name for name, _, column in (f.partition("=") for f in further_field or ())}
    columns = Columns(
        text=text_field, id=id_field, metadata=names or None, fields=fields, vector=vector_field
    )
    if workers:
        import torch

        torch.set_num_threads(workers)
    refused: RejectedError | None = None
    with files(paths) as what:
        taken = columns_of(open_source(what, columns=columns))
        say("\n".join(taken), is_error=True)
        with FeatureIndex(
            into,
            space=space,
            url=url,
            fields=tuple(fields),
            sentences=sentences,
            words=words,
            encoder=None if encoder is None else encoder_named(encoder),
            reader=reader,
        ) as opened:
            if encoder is not None:
                say(f"The space is {opened.space.name!r}.", is_error=True)
            before = 0
            with suppress(NotFoundError):  # the upsert creates it
                before = len(opened)
                if not split and opened.state.has_documents:
                    say(f"Warning: {UNSPLIT}", is_error=True)
            try:
                report = opened.upsert(
                    what, split=split or None, columns=columns, batch_size=batch_size, progress=True,
                    allow_rejects=allow_rejects, leave_out=leave_out or (), replace=replace,
                    source=source, prune=prune, max_prune=max_prune, dry_run=dry_run,
                )  # fmt: skip
            except RejectedError as error:
                refused, report = error, error.report
            most, truncated = opened.encoder.max_tokens, truncated_records(opened.state.store)
            replaced = 0 if dry_run or prune else before + report.records - len(opened)
            rejects = str(opened.state.rejects_path) if report.rejected else None
    if as_json:
        counts = asdict(report) | {"replaced": replaced}
        print_json({"index": into, **counts, "columns": taken, "rejects": rejects})
    else:
        _print_report(f"{into} (dry run)" if dry_run else into, report, replaced, rejects)
        if truncated:
            texts = f"texts longer than the {most} tokens that the encoder reads: {truncated:,}"
            say(f"Warning: {texts}. Use --split {most}, or searches miss the rest.", is_error=True)
    if refused is not None:
        raise refused
    if report.rejected and (strict or not report.indexed + report.updated + report.unchanged):
        raise typer.Exit(1)


def _print_report(into: str, report: IndexingReport, replaced: int, rejects: str | None) -> None:
    rate = f", {report.records / report.seconds:,.0f} records a second" if report.records else ""
    parts = [f"in {counted(report.records, 'record')}"] if report.records > report.indexed else []
    parts += [f"in place of {counted(replaced, 'record')}"] if replaced else []
    pieces = f" ({', '.join(parts)})" if parts else ""
    updated = f"{report.updated:,} updated in metadata alone, " if report.updated else ""
    say(
        f"{into}: {report.indexed:,} indexed{pieces}, {updated}{report.unchanged:,} unchanged, "
        f"{report.rejected:,} rejected in {report.seconds:.1f} s{rate}"
    )
    if report.superseded:
        say(f"  superseded: {counted(report.superseded, 'row')}, each by a later one with its id")
    if report.pruned:
        say(f"  not given any more: {', '.join(map(visible, report.pruned))}")
    if report.unread:
        unread = counted(report.unread, "sentence")
        say(f"  not read as speech: {unread} in another language, or without content")
    for each in report.recurring:
        say(f"  recurs: {visible(each)}; --leave-out leaves it out of what is read")
    for each in report.left_out:
        say(f"  left out: {visible(each)}")
    if rejects:
        for reason in report.reasons:
            say(f"  rejected: {reason}")
        say(f"All rejected records, with position and reason: {rejects}")


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
