"""``saeindex get``, ``delete``, ``export`` and ``copy``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from saeindex.cli import output
from saeindex.cli.output import Index, Json, Sentences, Url, Words, answer, open_index, print_json, say
from saeindex.errors import InvalidInputError, collecting
from saeindex.report.numbers import counted
from saeindex.types import one_line, shown_label, visible

if TYPE_CHECKING:
    from saeindex.collection.stored import StoredRecord
    from saeindex.index import FeatureIndex
Where = Annotated[str | None, typer.Option(help="Condition of the records: 'metadata.year >= 2015'.")]
SHOWN_CONCEPTS, SHOWN_EXAMPLES = 12, 3


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


def delete(
    index: Index,
    ids: Annotated[
        list[str] | None, typer.Option("--id", help="The id of a record to delete. Repeatable.")
    ] = None,
    documents: Annotated[
        list[str] | None, typer.Option("--document", help="A document to delete whole. Repeatable.")
    ] = None,
    where: Where = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Delete records by id or document, or all that match. Exits with 1 if there is nothing to delete."""
    if sum(given is not None for given in (ids, documents, where)) != 1:
        raise InvalidInputError("delete", "no or several ways to select", "Give --id, --document or --where.")
    missing: list[str] = []
    with open_index(index, url) as opened:
        if where is not None:
            count = opened.count(where)
            if not as_json:
                _show_phrases(opened, where)
        else:
            found = opened.get(ids, documents=documents, include=())
            count = len({record.id for record in found})
            missing = _missing(found, ids, documents)
        if count and not yes:
            _ask(f"Delete {count:,} of {counted(len(opened), 'record')} of {visible(index)}?", as_json)
        deleted = opened.delete(ids, documents=documents, where=where) if count else 0
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
    include: Annotated[
        str, typer.Option("--with", help="What to write besides ids, texts and metadata: concepts,vectors.")
    ] = "",
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Write records to a file. Exits with 1 if no record matches."""
    from saeindex.collection.stored import checked_parts

    parts = checked_parts([name.strip() for name in include.split(",") if name.strip()])
    with open_index(index, url) as opened:
        count = opened.export(to, where, include=parts)
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
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Measure the levels (typical, strong) on these records.")
    ] = False,
    sentences: Sentences = None,
    words: Words = None,
    url: Url = None,
    to_url: Annotated[str | None, typer.Option(help="The Qdrant server of the copy.")] = None,
    as_json: Json = False,
) -> None:
    """Make a new index of an index: in another place or space, or of one whose manifest is lost.

    Run it again to continue an interrupted copy. The index itself is not changed.
    """
    from saeindex.indexing.copy import copy_index

    report = copy_index(
        index, to, space, source_url=url, url=to_url, calibrate=calibrate, sentences=sentences,
        words=words, progress=not as_json,
    )  # fmt: skip
    if as_json:
        print_json({"copied": index, "to": to, **report.to_json()})
        return
    say(f"{visible(to)}: a copy of {visible(index)}, {counted(report.records, 'record')}, {report.space}")
    if not report.has_manifest:
        say("  its manifest is lost, and with it names of features and profiles, if it had any")
    for what, lost_ones in (
        ("names without a counterpart", report.lost_names),
        ("profiles that must be fitted again", report.lost_profiles),
        ("left out: no id, text or vector", report.skipped),
    ):
        if lost_ones:
            say(f"  {what}: {', '.join(map(visible, lost_ones))}")
    for name, edits in report.lost_edits.items():
        say(f"  profile {visible(name)} lost the weights of {', '.join(map(visible, edits))}")


def _ask(question: str, as_json: bool) -> None:
    """Ask for a confirmation; Exit with 1 if it is refused, InvalidInputError where nobody can answer."""
    if as_json or not sys.stdin.isatty():
        raise InvalidInputError("delete", "nobody to confirm it", "Add --yes.")
    if not typer.confirm(question):
        say("Nothing was deleted.")
        raise typer.Exit(1)


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
