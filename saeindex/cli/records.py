"""``saeindex get``, ``facets``, ``update``, ``delete``, ``export`` and ``copy``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from saeindex.cli import output
from saeindex.cli.options import asks
from saeindex.cli.output import (
    Index,
    Json,
    Reader,
    Sentences,
    Url,
    Words,
    answer,
    confirm,
    open_index,
    print_json,
    say,
)
from saeindex.errors import InvalidInputError, collecting
from saeindex.operations.records import CountValues
from saeindex.report.numbers import counted
from saeindex.types import one_line, shown_label, visible

if TYPE_CHECKING:
    from saeindex.collection.stored import StoredRecord
    from saeindex.index import FeatureIndex
Where = Annotated[str | None, typer.Option(help="Condition of the records: 'metadata.year >= 2015'.")]
Filter = Annotated[str | None, typer.Option("--query-filter", help="A filter in the JSON of Qdrant.")]
SHOWN_CONCEPTS, SHOWN_EXAMPLES, VALUE_CHARS = 12, 3, 60


def get(
    index: Index,
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID…", help="The ids of records.")] = None,
    documents: Annotated[
        list[str] | None, typer.Option("--document", help="A document to show whole. Repeatable.")
    ] = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Show records: text, metadata and concepts. Exits with 1 if an id is absent."""
    with open_index(index, url) as opened:
        found = opened.get(ids, documents=documents, include=["concepts"])
    missing = _missing(found, ids, documents)
    if as_json:
        print_json({"records": [record.to_json(["concepts"]) for record in found], "missing": missing})
    for record in () if as_json else found:
        _print(record)
    _say_missing(() if as_json else missing)
    if missing:
        raise typer.Exit(1)


@asks(CountValues, arguments=("field",))
def facets(index: Index, options: dict[str, Any], url: Url = None, as_json: Json = False) -> None:
    """Count the values of a field, and say how large its numbers and dates are."""
    with open_index(index, url) as opened:
        found = opened.facets(**options)
    if as_json:
        print_json(found.to_json())
        return
    from rich.table import Column, Table

    present, records = f"{found.present:,}", counted(found.records, "record")
    say(f"{found.field}: in {present} of {records}, {found.distinct:,} distinct")
    sizes = {"from": found.minimum, "to": found.maximum, "mean": found.mean, "sum": found.sum}
    if told := [f"{name} {_shown(one)}" for name, one in sizes.items() if one is not None]:
        say(f"  {', '.join(told)}")
    table = Table("value", Column("records", justify="right"), box=None, header_style="dim")
    for one in found.values:
        table.add_row(one_line(_shown(one.value), VALUE_CHARS), f"{one.records:,}")
    output.console().print(table)


def _shown(value: Any) -> str:
    return (
        value
        if isinstance(value, str)
        else f"{value:.10g}"
        if isinstance(value, float)
        else json.dumps(value)
    )


def update(
    index: Index,
    ids: Annotated[
        list[str] | None, typer.Option("--id", help="The id of a record to change. Repeatable.")
    ] = None,
    documents: Annotated[
        list[str] | None, typer.Option("--document", help="A document to change whole. Repeatable.")
    ] = None,
    where: Where = None,
    query_filter: Filter = None,
    fields: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="A field and its value, as JSON or text. Repeatable."
        ),
    ] = None,
    remove: Annotated[
        list[str] | None, typer.Option("--remove", metavar="NAME", help="A field to remove. Repeatable.")
    ] = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Change fields of metadata; nothing is encoded. Exits with 1 if no record is there to change."""
    given = dict(_field(one) for one in fields or ())
    with open_index(index, url) as opened:
        missing: list[str] = []
        if ids is not None or documents is not None:
            missing = _missing(opened.get(ids, documents=documents, include=()), ids, documents)
        elif not as_json and where is not None:
            _show_phrases(opened, where)
        count = opened.update(
            ids, documents=documents, where=where, query_filter=_of_json(query_filter), set=given,
            remove=remove or (),
        )  # fmt: skip
    answer(
        {"updated": count, "missing": missing},
        f"{visible(index)}: {counted(count, 'record')} updated",
        as_json,
    )
    _say_missing(() if as_json else missing)
    if not count:
        raise typer.Exit(1)


def _field(given: str) -> tuple[str, Any]:
    """Return a field and its value; InvalidInputError where no value is given."""
    name, sign, value = given.partition("=")
    if not sign:
        raise InvalidInputError(f"--set {given!r:.80}", "no value", "Give NAME=VALUE.")
    with suppress(ValueError):
        return name, json.loads(value)
    return name, value


def delete(
    index: Index,
    ids: Annotated[
        list[str] | None, typer.Option("--id", help="The id of a record to delete. Repeatable.")
    ] = None,
    documents: Annotated[
        list[str] | None, typer.Option("--document", help="A document to delete whole. Repeatable.")
    ] = None,
    where: Where = None,
    query_filter: Filter = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Delete records by id or document, or all that match. Exits with 1 if there is nothing to delete."""
    has_condition = where is not None or query_filter is not None
    if (ids is not None) + (documents is not None) + has_condition != 1:
        do = "Give --id, --document, or --where and --query-filter."
        raise InvalidInputError("delete", "no or several ways to select", do)
    missing, native = list[str](), _of_json(query_filter)
    with open_index(index, url) as opened:
        if has_condition:
            count = opened.count(where, native)
            if not as_json and where is not None:
                _show_phrases(opened, where)
        else:
            found = opened.get(ids, documents=documents, include=())
            count = len({record.id for record in found})
            missing = _missing(found, ids, documents)
        if count and not yes:
            confirm(f"Delete {count:,} of {counted(len(opened), 'record')} of {visible(index)}?", as_json)
        chosen = {"documents": documents, "where": where, "query_filter": native}
        deleted = opened.delete(ids, **chosen) if count else 0
        _warn(opened, where, count)
    text = f"{visible(index)}: {counted(deleted, 'record')} deleted"
    answer({"deleted": deleted, "missing": missing}, text, as_json)
    _say_missing(() if as_json else missing)
    if not deleted:
        raise typer.Exit(1)


def export(
    index: Index,
    to: Annotated[Path, typer.Option(help="The file to write: .jsonl, .parquet or .csv.")],
    where: Where = None,
    query_filter: Filter = None,
    include: Annotated[
        str,
        typer.Option("--with", help="What to write besides texts: concepts,vectors,known, or all."),
    ] = "",
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Write records to a file. Exits with 1 if no record matches."""
    from saeindex.collection.stored import checked_parts

    names = [name.strip() for name in include.split(",") if name.strip()]
    parts = checked_parts("all" if names == ["all"] else names)
    with open_index(index, url) as opened:
        count = opened.export(to, where, query_filter=_of_json(query_filter), include=parts)
        _warn(opened, where, count)
    text = f"{visible(str(to))}: {counted(count, 'record')}"
    text = text if count else "Nothing was written: no record matches."
    answer({"exported": count, "file": str(to) if count else None}, text, as_json)
    if not count:
        raise typer.Exit(1)


def copy(
    index: Index,
    to: Annotated[str, typer.Argument(help="A new directory, or a collection with --to-url.")],
    space: Annotated[str | None, typer.Option(help="Another feature space: a name or a directory.")] = None,
    encoder: Annotated[
        str | None, typer.Option(help="Another encoder, for which `saeindex space make` made a space.")
    ] = None,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Measure the levels (typical, strong) on these records.")
    ] = False,
    sentences: Sentences = None,
    words: Words = None,
    reader: Reader = None,
    url: Url = None,
    to_url: Annotated[str | None, typer.Option(help="The Qdrant server of the copy.")] = None,
    merge: Annotated[
        str | None,
        typer.Option(help="Add to the index that is there; of two with one id: replace it, or keep it."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a new index of an index: in another place or space, or of one whose manifest is lost.

    Run it again to continue an interrupted copy. The index itself is not changed.
    """
    from saeindex.features.space_io import encoder_named
    from saeindex.operations.copies import copy_cost, copy_index

    made: dict[str, Any] = {
        "space": space, "calibrate": calibrate, "sentences": sentences, "words": words, "reader": reader,
        "progress": not as_json,
    }  # fmt: skip
    if encoder is not None:
        made["encoder"] = encoder_named(encoder)
    if merge is None:
        if (space or encoder or reader) and not as_json:
            cost = copy_cost(
                index, space, source_url=url, encoder=made.get("encoder"), sentences=sentences, reader=reader
            )
            say(f"{cost}." if cost.texts else "No text is encoded again.")
        report = copy_index(index, to, source_url=url, url=to_url, **made)
    else:
        with open_index(index, url) as opened:
            report = opened.copy(to, url=to_url, merge=cast(Any, merge), **made)
    if as_json:
        print_json({"copied": index, "to": to, **report.to_json()})
        return
    say(f"{visible(to)}: a copy of {visible(index)}, {counted(report.records, 'record')}, {report.space}")
    if not report.has_manifest:
        say("  its manifest is lost, and with it names of features and profiles, if it had any")
    for what, lost_ones in (
        ("names and hidden features without a counterpart", report.lost_names),
        ("profiles that must be fitted again", report.lost_profiles),
        ("left out" if merge else "left out: no id, text or vector", report.skipped),
    ):
        if lost_ones:
            say(f"  {what}: {', '.join(map(visible, lost_ones))}")
    for name, (before, now) in report.redefined.items():
        say(f"  own concept {visible(name)}: in {counted(now, 'record')}; in {before:,} of {visible(index)}")
    for name, edits in report.lost_edits.items():
        say(f"  profile {visible(name)} lost the weights of {', '.join(map(visible, edits))}")


def _of_json(given: str | None) -> Any:
    """Return the filter in an option; InvalidInputError for what is no JSON."""
    try:
        return None if given is None else json.loads(given)
    except ValueError as error:
        raise InvalidInputError("--query-filter", f"it is not JSON: {error}", "Give a filter.") from None


def _show_phrases(opened: FeatureIndex, where: str) -> None:
    """Say of phrases that are no concepts how many records speak of them, with some of the sentences."""
    from saeindex.language.ast import Phrase, walk
    from saeindex.language.parser import parse_where
    from saeindex.language.to_text import to_text

    read = {concept.phrase for concept in opened.plan(where=where).concepts if concept.records is not None}
    nodes = (node for node, _ in walk(parse_where(where)) if isinstance(node, Phrase) and node.text in read)
    for node in nodes:
        condition = to_text(node)
        found = counted(opened.count(condition), "record")
        say(f"{condition}, which is the name of no concept, finds {found}. For example:")
        for hit in opened.search(where=condition, limit=SHOWN_EXAMPLES):
            for proof in hit.evidence:
                if proof.label == node.text:
                    say(f"  {hit.id}: {''.join(proof.parts(output.SENTENCE_CHARS))}")


def _missing(
    found: Sequence[StoredRecord], ids: Sequence[str] | None, documents: Sequence[str] | None
) -> list[str]:
    present = {record.id if documents is None else record.document for record in found}
    return [one for one in dict.fromkeys(ids or documents or ()) if one not in present]


def _say_missing(ids: Sequence[str]) -> None:
    if ids:
        say(f"Not in the index: {', '.join(map(visible, ids))}.", is_error=True)


def _warn(opened: FeatureIndex, where: str | None, count: int) -> None:
    """Say why a condition may match nothing."""
    with collecting():
        warnings = opened.plan(where=where).warnings if where and not count else ()
    for warning in warnings:
        say(f"Warning: {visible(warning)}", is_error=True)


def _print(record: StoredRecord) -> None:
    say(visible(record.id), bold=True)
    say(f"  {record.text.strip()}")
    if record.document is not None:
        say(f"  of the document {visible(record.document)}", dim=True)
    for name, text in record.fields.items():
        say(f"  {name}: {one_line(text, 500)}")
    for name, value in record.metadata.items():
        say(f"  {visible(str(name))} = {one_line(str(value), 200)}", dim=True)
    concepts = record.concepts
    shown = concepts[:SHOWN_CONCEPTS]
    labels = "  ".join(f"#{one.id} {shown_label(one.label, one.is_weak)}" for one in shown)
    more = f"  and {len(concepts) - len(shown)} more" if len(concepts) > len(shown) else ""
    say(f"  {labels}{more}", fg="green")
