"""``saeindex profiles``: profiles that are fitted on liked and disliked records and saved by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from saeindex.cli.output import Index, Json, Url, answer, console, open_index, print_json
from saeindex.errors import InvalidInputError, MismatchError

if TYPE_CHECKING:
    from saeindex.index import FeatureIndex
    from saeindex.steering.saved_profile import Profile

app = typer.Typer(help="Fit, list, show, edit and delete steering profiles.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The profile.")]


@app.command()
def fit(
    index: Index,
    name: Name,
    like: Annotated[list[str] | None, typer.Option(help="Id of a liked record. Repeatable.")] = None,
    unlike: Annotated[list[str] | None, typer.Option(help="Id of a disliked record. Repeatable.")] = None,
    describe: Annotated[str | None, typer.Option(help="Description of the liked records, in words.")] = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Fit a profile on records and save it. Apply it with --steer '+profile:NAME:0.5'."""
    with open_index(index, url) as opened:
        _print(opened, opened.profiles.fit(name, like or (), unlike or (), describe), as_json)


@app.command("list")
def show_all(index: Index, url: Url = None, as_json: Json = False) -> None:
    """List the profiles of an index."""
    with open_index(index, url) as opened:
        found = [_summary(opened, name) for name in opened.profiles.names()]
    if as_json:
        print_json({"profiles": found})
    for each in [] if as_json else found:
        counts = f"{each['like']:,} liked, {each['unlike']:,} not, {each['edits']:,} edits"
        described = each["fault"] or f"{counts}{': ' + each['description'] if each['description'] else ''}"
        console().print(f"{each['name']:<24} {described}", markup=False, no_wrap=True, overflow="ellipsis")
    if not found:
        raise typer.Exit(1)


@app.command()
def show(index: Index, name: Name, url: Url = None, as_json: Json = False) -> None:
    """Show a profile as the concepts of its direction."""
    with open_index(index, url) as opened:
        _print(opened, opened.profiles.get(name), as_json)


@app.command()
def edit(
    index: Index,
    name: Name,
    changes: Annotated[
        list[str],
        typer.Option(
            "--set",
            metavar="CONCEPT=WEIGHT",
            help="Concept, by number or name, and its weight in the direction; 0 removes it.",
        ),
    ],
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Set weights of concepts in a profile."""
    with open_index(index, url) as opened:
        edits = dict(_edit(opened, change) for change in changes)
        _print(opened, opened.profiles.edit(name, edits), as_json)


@app.command()
def delete(index: Index, name: Name, url: Url = None, as_json: Json = False) -> None:
    """Delete a profile."""
    with open_index(index, url) as opened:
        opened.profiles.delete(name)
        left = opened.profiles.names()
    answer({"deleted": name, "profiles": left}, f"Deleted profile {name!r}.", as_json)


def _edit(index: FeatureIndex, change: str) -> tuple[int, float]:
    feature, _, weight = change.partition("=")
    try:
        value = float(weight)
    except ValueError as error:
        do = "For example: --set 1041=0."
        raise InvalidInputError(f"--set {change}", "not CONCEPT=WEIGHT", do) from error
    return index.space.number(feature.strip()), value


def _summary(index: FeatureIndex, name: str) -> dict[str, Any]:
    try:
        profile = index.profiles.get(name)
    except MismatchError as error:
        return {"name": name, "description": None, "like": 0, "unlike": 0, "edits": 0, "fault": error.found}
    counts = {field: len(getattr(profile, field)) for field in ("like", "unlike", "edits")}
    return {"name": name, "description": profile.description, **counts, "fault": None}


def _print(index: FeatureIndex, profile: Profile, as_json: bool) -> None:
    direction = profile.direction(index.space)
    if as_json:
        kept = profile.model_dump(mode="json", exclude={"unit", "typical"})
        print_json({**kept, "direction": direction.to_json()})
        return
    out = console()
    out.print(str(direction), markup=False)
    out.print(f"from {len(profile.like):,} liked and {len(profile.unlike):,} not liked", style="dim")
    for feature, weight in profile.edits.items():
        out.print(f"  #{feature} was set to {weight:g}", style="dim", markup=False)
