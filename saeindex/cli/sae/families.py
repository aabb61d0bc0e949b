"""``saeindex sae families``: the families of features of a space."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from saeindex.cli.output import Json, console, print_json
from saeindex.types import shown_label

if TYPE_CHECKING:
    from rich.tree import Tree

    from saeindex.features import FeatureSpace
    from saeindex.features.families import Family


def families(
    space: Annotated[str, typer.Argument(help="A packaged space, or a directory.")],
    phrase: Annotated[
        str | None, typer.Argument(help="Show the families nearest to a word or phrase.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Number of families.")] = 10,
    as_json: Json = False,
) -> None:
    """List the families of a feature space: the largest first, or the nearest to a phrase."""
    from saeindex.features import FeatureSpace

    opened = FeatureSpace.load(space)
    found: list[tuple[Family, float | None]] = [(family, None) for family in opened.families[:limit]]
    if phrase is not None and found:
        found = _matching(opened, phrase, limit)
    if as_json:
        described = [_family_json(opened, family, score) for family, score in found]
        print_json({"space": opened.name, "phrase": phrase, "families": described})
    else:
        out = console()
        for family, score in found:
            out.print(_tree(opened, family, score))
    if not found:
        raise typer.Exit(1)


def _matching(space: FeatureSpace, phrase: str, limit: int) -> list[tuple[Family, float | None]]:
    from saeindex.concepts.resolver import ConceptResolver

    encoder = space.open_encoder()
    resolver = ConceptResolver(space, lambda text: encoder.encode_query([text])[0])
    return [*resolver.match_families(phrase, limit)]


def _family_json(space: FeatureSpace, family: Family, score: float | None) -> dict[str, Any]:
    from saeindex.features.families import is_weak_family

    members = [
        {
            "id": feature,
            "label": space.labels[feature].text,
            "is_weak": space.labels[feature].is_weak,
            "parent": parent,
            "density": float(space.calibration.density[feature]),
        }
        for feature, parent in zip(family.features, family.parents, strict=True)
    ]
    return {
        "id": family.id,
        "label": family.label,
        "is_weak": is_weak_family(family, space.labels),
        "size": family.size,
        "coherence": family.coherence,
        "density": family.density,
        "match": score,
        "features": members,
    }


def _tree(space: FeatureSpace, family: Family, score: float | None) -> Tree:
    """Return the family as a tree: each feature with its label and the share of records that have it."""
    from rich.text import Text
    from rich.tree import Tree

    from saeindex.features.families import is_weak_family

    match = "" if score is None else f"match {score:.2f}, "
    figures = f"  {match}{family.size} features, coherence {family.coherence:.2f}, in {family.density:.1%}"
    label = shown_label(family.label, is_weak_family(family, space.labels))
    named = f"family:#{family.id} ", (label, "bold"), (f"{figures} of records", "dim")
    title = Text.assemble(*named, no_wrap=True, overflow="ellipsis")
    top = Tree(title, guide_style="dim")
    branches: dict[int | None, Tree] = {None: top}
    for feature, parent in zip(family.features, family.parents, strict=True):
        own = space.labels[feature]
        name = f"#{feature} {shown_label(own.text, own.is_weak)}"
        share = f"  {space.calibration.density[feature]:.1%}"
        line = Text.assemble(name, (share, "dim"), no_wrap=True, overflow="ellipsis")
        branches[feature] = branches[parent].add(line)
    return top
