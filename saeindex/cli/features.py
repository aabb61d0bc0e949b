"""``saeindex features``, ``feature`` and ``info``: looking into an index.

``saeindex names``: your own names for features in an index, and features that you hide.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from saeindex.cli.output import Index, Json, Url, answer, console, open_index, print_json, say
from saeindex.report.numbers import counted
from saeindex.types import one_line, shown_label, visible

if TYPE_CHECKING:
    from saeindex.collection.records import MetadataField

# Characters of an example of a field, and of a feature.
EXAMPLE_CHARS, TEXT_CHARS = 40, 60
Feature = Annotated[str, typer.Argument(metavar="ID", help="The feature: 1041, #1041 or its name.")]


def features(
    index: Index,
    phrase: Annotated[str, typer.Argument(help="A word or a phrase.")],
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="Number of features.")] = 10,
    unnamed: Annotated[
        bool, typer.Option("--unnamed", help="Also those without a name, by the words of their texts.")
    ] = False,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Find the features that match a phrase."""
    from saeindex.collection.records import EngineCounts

    with open_index(index, url) as opened:
        matches = opened.concepts.find(phrase, limit, unnamed=unnamed)
        engine = EngineCounts(opened.state.store, opened.space.n_features)
        records = engine.frequencies(None, "present")[1].tolist()
        kinds = {match.id: opened.space.label(match.id).kind for match in matches}
    if as_json:
        found = [{**asdict(one), "kind": kinds[one.id], "records": records[one.id]} for one in matches]
        print_json({"phrase": phrase, "features": found})
    else:
        from rich.table import Column, Table
        from rich.text import Text

        label = Column("label, and what it means", overflow="fold")
        table = Table("feature", label, "match", "trust", "records", box=None, header_style="dim")
        for match in matches:
            shown = Text(shown_label(match.label, match.is_weak))
            if match.description:
                shown.append(f"\n{one_line(match.description, TEXT_CHARS)}", style="dim")
            trust = "unknown" if match.trust is None else f"{match.trust:.2f}"
            table.add_row(f"#{match.id}", shown, f"{match.score:.2f}", trust, f"{records[match.id]:,}")
        console().print(table)
    if not matches:
        raise typer.Exit(1)


def feature(index: Index, feature_id: Feature, url: Url = None, as_json: Json = False) -> None:
    """Show one feature: label, trust, frequencies, strongest records, similar features."""
    from saeindex.report.model import describe
    from saeindex.report.text import text_of

    with open_index(index, url) as opened:
        card = opened.concepts.card(feature_id)
    if as_json:
        print_json(card.to_json())
        return
    console().print(text_of(describe(card)), markup=False, soft_wrap=True)


def info(
    index: Index,
    fields: Annotated[
        bool, typer.Option("--fields", help="Show the metadata fields: what they hold, and how many records.")
    ] = False,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Show the contents and settings of an index."""
    with open_index(index, url) as opened:
        described = opened.info()
        found = opened.metadata_fields() if fields else None
    if found is not None:
        described["metadata_fields"] = [asdict(one) for one in found]
    if as_json:
        print_json(described)
        return
    space, encoder = described["space"], described["encoder"]
    documents = f" of {counted(described['documents'], 'document')}" if described["documents"] else ""
    say(f"{index}: {described['records']:,} records{documents}")
    say(f"  store    {described['store']}, format {described['format_version']}, {described['created']}")
    if described["fields"]:
        say(f"  fields   {', '.join(described['fields'])} (further texts)")
    size = f"{encoder['dimension']} dimensions, {encoder['max_length']} tokens"
    say(f"  encoder  {encoder['model']}, {', '.join((size, *described['precisions']))}")
    named, measured = described["evidence"], described["space_report"].get("nmse")
    if space["n_features"] == 1:
        say("  space    none, and no concepts: `saeindex copy` to another space makes an index with some")
    else:
        error = "" if measured is None else f", {measured:.3f} NMSE held out"
        sizes = f"{space['n_features']:,} features, {space['k']} active{error}"
        say(f"  space    {space['name']} ({space['fingerprint'][:12]}): {sizes}")
        by_text = "are found by activations of the whole text: there is no evidence"
        say(f"  concepts {f'{named:,} are found by what each sentence says' if named else by_text}")
    if described["truncated"]:
        texts = f"{counted(described['truncated'], 'record')} longer than the encoder reads"
        say(f"  cut      {texts}: index them again with --split")
    if found is not None:
        _print_fields(found)


def _print_fields(found: Sequence[MetadataField]) -> None:
    from rich.table import Column, Table

    named = Column("field", overflow="fold")  # it is typed again: never cut
    table = Table(named, "holds", "for example", "records", box=None, header_style="dim")
    for one in found:
        about = "about " if one.is_estimated else ""
        values = [json.dumps(value, ensure_ascii=False) for value in one.values[:3] or [one.example]]
        shown = one_line(", ".join(values), EXAMPLE_CHARS)
        table.add_row(visible(one.field), " and ".join(one.kinds), shown, f"{about}{one.records:,}")
    console().print(table if found else "  no metadata")


app = typer.Typer(help="Rename and hide features in an index, here and nowhere else.", no_args_is_help=True)


@app.command("list")
def show_all(index: Index, url: Url = None, as_json: Json = False) -> None:
    """List what was renamed and hidden, the latest last."""
    with open_index(index, url) as opened:
        history = opened.concepts.history()
    if as_json:
        print_json({"history": [one.model_dump() for one in history]})
    for one in () if as_json else history:
        what = "hidden" if one.is_hidden else "shown"
        if one.name is not None:
            what = f"renamed {one.name!r}" if one.name else "has its old name again"
        say(f"{one.at}  #{one.feature} {what}")


@app.command()
def rename(
    index: Index,
    feature: Feature,
    name: Annotated[str, typer.Argument(help='The name; "" takes your own name back.')],
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Give a feature a name of your own."""
    _change(index, feature, url, as_json, "rename", name)


@app.command()
def hide(index: Index, feature: Feature, url: Url = None, as_json: Json = False) -> None:
    """Show a feature last, as one without a trusted name."""
    _change(index, feature, url, as_json, "hide", True)


@app.command()
def show(index: Index, feature: Feature, url: Url = None, as_json: Json = False) -> None:
    """Take back that a feature is hidden."""
    _change(index, feature, url, as_json, "hide", False)


@app.command("export")
def export_names(
    index: Index,
    file: Annotated[Path, typer.Argument(help="The JSON file to write.")],
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Write your own names and hidden features to a file."""
    with open_index(index, url) as opened:
        opened.concepts.export(file)
    answer({"file": str(file)}, f"Wrote {file}.", as_json)


@app.command("import")
def import_names(
    index: Index,
    file: Annotated[Path, typer.Argument(help="A file that `saeindex names export` wrote.")],
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Take over names and hidden features from a file; your other names stay."""
    with open_index(index, url) as opened:
        count = opened.concepts.import_names(file)
    text = f"{count:,} features have the names of {file}."
    answer({"file": str(file), "features": count}, text, as_json)


def _change(index: str, feature: str, url: str | None, as_json: bool, method: str, value: Any) -> None:
    """Change a feature by a method of an index's concepts, and print what it is then."""
    with open_index(index, url) as opened:
        getattr(opened.concepts, method)(feature, value)
        number = opened.space.number(feature)
        label = opened.space.labels[number]
    described = {"feature": number, "label": label.text, "kind": label.kind, "is_weak": label.is_weak}
    answer(described, f"#{number} {shown_label(label.text, label.is_weak)}", as_json)
