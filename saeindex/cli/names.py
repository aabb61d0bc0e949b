"""``saeindex names``: your own names for features in an index, and features that you hide."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from saeindex.cli.output import Json, Url, answer, print_json, say
from saeindex.types import shown_label

app = typer.Typer(help="Rename and hide features in an index, here and nowhere else.", no_args_is_help=True)

if TYPE_CHECKING:
    from saeindex.index import FeatureIndex

Index = Annotated[str, typer.Argument(help="The index.")]
Feature = Annotated[str, typer.Argument(metavar="ID", help="The feature: 1041 or #1041.")]


@app.command("list")
def show_all(index: Index, url: Url = None, as_json: Json = False) -> None:
    """List what was renamed and hidden, the latest last."""
    from saeindex.index import FeatureIndex

    with FeatureIndex.open(index, url=url) as opened:
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
    from saeindex.index import FeatureIndex

    with FeatureIndex.open(index, url=url) as opened:
        opened.concepts.rename(feature, name)
        _print(opened, feature, as_json)


@app.command()
def hide(index: Index, feature: Feature, url: Url = None, as_json: Json = False) -> None:
    """Show a feature last, as one without a trusted name."""
    _set_hidden(index, feature, True, url, as_json)


@app.command()
def show(index: Index, feature: Feature, url: Url = None, as_json: Json = False) -> None:
    """Take back that a feature is hidden."""
    _set_hidden(index, feature, False, url, as_json)


@app.command("export")
def export_names(
    index: Index,
    file: Annotated[Path, typer.Argument(help="The JSON file to write.")],
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Write your own names and hidden features to a file."""
    from saeindex.index import FeatureIndex

    with FeatureIndex.open(index, url=url) as opened:
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
    from saeindex.index import FeatureIndex

    with FeatureIndex.open(index, url=url) as opened:
        count = opened.concepts.import_names(file)
    text = f"{count:,} features have the names of {file}."
    answer({"file": str(file), "features": count}, text, as_json)


def _set_hidden(index: str, feature: str, is_hidden: bool, url: str | None, as_json: bool) -> None:
    from saeindex.index import FeatureIndex

    with FeatureIndex.open(index, url=url) as opened:
        opened.concepts.hide(feature, is_hidden)
        _print(opened, feature, as_json)


def _print(opened: FeatureIndex, feature: str, as_json: bool) -> None:
    number = opened.space.number(feature)
    label = opened.space.labels[number]
    described = {"feature": number, "label": label.text, "kind": label.kind, "is_weak": label.is_weak}
    answer(described, f"#{number} {shown_label(label.text, label.is_weak)}", as_json)
