"""``saeindex sae eval`` and ``families``: a space measured, and its families."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from saeindex.cli.corpus import (
    Limit,
    Seed,
    Space,
    TextField,
    embed,
    followed,
    is_embeddings,
    read_embeddings,
    read_texts,
)
from saeindex.cli.output import Json, console, print_json
from saeindex.errors import MismatchError
from saeindex.features import FeatureSpace
from saeindex.features.families import Family, is_weak_family
from saeindex.types import shown_label

if TYPE_CHECKING:
    from rich.console import Console
    from rich.tree import Tree

    from saeindex.features.fidelity import FidelityReport
    from saeindex.types import FloatArray


def eval_(
    space: Space,
    corpus: Annotated[
        list[str],
        typer.Argument(
            help="Texts, as for `index`, or one .npy file of embeddings; best not those it was fitted on."
        ),
    ],
    against: Annotated[
        list[str] | None,
        typer.Option(help="Another space, to count the features that recur in it. Repeatable."),
    ] = None,
    text_field: TextField = None,
    limit: Limit = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Measure a space: error, preserved neighbours, dead and recurring features."""
    from saeindex.features.fidelity import measure_fidelity

    opened = FeatureSpace.load(space)
    others = {name: _comparable(opened, name) for name in against or []}
    if is_embeddings(corpus):
        x = read_embeddings(corpus[0], limit)
    else:
        x = embed(read_texts(corpus, text_field, limit), opened.open_encoder())
    with followed("measuring", "docs", len(x)) as bar:
        report = measure_fidelity(opened, x, against=others, seed=seed, progress=bar.update)
    if as_json:
        print_json(report.to_json())
    else:
        _print_fidelity(console(), report)


def _comparable(space: FeatureSpace, name: str) -> FloatArray:
    """Return the directions of another space; MismatchError if it has another encoder."""
    other = FeatureSpace.load(name)
    if differing := space.encoder.differences(other.encoder):
        found = "; ".join(f"{key}: {ours!r} and {theirs!r}" for key, (ours, theirs) in differing.items())
        do = "Compare spaces of the same encoder."
        raise MismatchError(f"compare space {space.name!r} with {name!r}", found, do)
    return other.sae.directions


def _print_fidelity(out: Console, report: FidelityReport) -> None:
    from rich.table import Table
    from rich.text import Text

    from saeindex.features.fidelity import figures, verdict

    for sentence in verdict(report):
        out.print(Text(sentence))
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(style="dim")
    for name, value, meaning in figures(report):
        table.add_row(Text(name), value, Text(meaning))
    out.print()
    out.print(table)


def families(
    space: Space,
    phrase: Annotated[
        str | None, typer.Argument(help="Show the families nearest to a word or phrase.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Number of families.")] = 10,
    as_json: Json = False,
) -> None:
    """List the families of a feature space: the largest first, or the nearest to a phrase."""
    from saeindex.concepts.resolver import ConceptResolver

    opened = FeatureSpace.load(space)
    found: list[tuple[Family, float | None]] = [(family, None) for family in opened.families[:limit]]
    if phrase is not None and found:
        encoder = opened.open_encoder()
        resolver = ConceptResolver(opened, lambda text: encoder.encode_query([text])[0])
        found = [*resolver.match_families(phrase, limit)]
    if as_json:
        described = [_family_json(opened, family, score) for family, score in found]
        print_json({"space": opened.name, "phrase": phrase, "families": described})
    for family, score in () if as_json else found:
        console().print(_tree(opened, family, score))
    if not found:
        raise typer.Exit(1)


def _family_json(space: FeatureSpace, family: Family, score: float | None) -> dict[str, Any]:
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
    own = {name: getattr(family, name) for name in ("id", "label", "size", "coherence", "density")}
    return {**own, "is_weak": is_weak_family(family, space.labels), "match": score, "features": members}


def _tree(space: FeatureSpace, family: Family, score: float | None) -> Tree:
    """Return the family as a tree: each feature with its label and the share of records that have it."""
    from rich.text import Text
    from rich.tree import Tree

    match = "" if score is None else f"match {score:.2f}, "
    figures = f"  {match}{family.size} features, coherence {family.coherence:.2f}, in {family.density:.1%}"
    label = shown_label(family.label, is_weak_family(family, space.labels))
    named = f"family:#{family.id} ", (label, "bold"), (f"{figures} of records", "dim")
    top = Tree(Text.assemble(*named, no_wrap=True, overflow="ellipsis"), guide_style="dim")
    branches: dict[int | None, Tree] = {None: top}
    for feature, parent in zip(family.features, family.parents, strict=True):
        own = space.labels[feature]
        name = f"#{feature} {shown_label(own.text, own.is_weak)}"
        share = f"  {space.calibration.density[feature]:.1%}", "dim"
        shown = Text.assemble(name, share, no_wrap=True, overflow="ellipsis")
        branches[feature] = branches[parent].add(shown)
    return top
