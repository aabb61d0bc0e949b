"""``saeindex sae eval``, ``families`` and ``map``: a space measured, its families, and two spaces matched."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from saeindex.cli.corpus import (
    Limit,
    Seed,
    Space,
    TextField,
    check_target,
    embed,
    followed,
    is_embeddings,
    read_embeddings,
    read_texts,
)
from saeindex.cli.output import Json, console, print_json, say
from saeindex.errors import MismatchError
from saeindex.types import shown_label

if TYPE_CHECKING:
    from rich.console import Console
    from rich.tree import Tree

    from saeindex.features import FeatureSpace
    from saeindex.features.families import Family
    from saeindex.features.fidelity import FidelityReport
    from saeindex.features.space_map import SpaceMapping
    from saeindex.types import FloatArray

SHOWN = 10


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
    from saeindex.features import FeatureSpace
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
    from saeindex.features import FeatureSpace

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
    from saeindex.features import FeatureSpace

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
    own = {name: getattr(family, name) for name in ("id", "label", "size", "coherence", "density")}
    return {**own, "is_weak": is_weak_family(family, space.labels), "match": score, "features": members}


def _tree(space: FeatureSpace, family: Family, score: float | None) -> Tree:
    """Return the family as a tree: each feature with its label and the share of records that have it."""
    from rich.text import Text
    from rich.tree import Tree

    from saeindex.features.families import is_weak_family

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
        branches[feature] = branches[parent].add(
            Text.assemble(name, share, no_wrap=True, overflow="ellipsis")
        )
    return top


def map_(
    old: Annotated[str, typer.Argument(help="The space with labels.")],
    new: Annotated[str, typer.Argument(help="The space that replaces it.")],
    texts: Annotated[list[str] | None, typer.Option(help="Texts, as for `index`. Repeatable.")] = None,
    threshold: Annotated[float, typer.Option(help="Minimum similarity of a pair, 0 to 1.")] = 0.7,
    into: Annotated[
        Path | None, typer.Option(help="Directory to write NEW to, with the labels of OLD.")
    ] = None,
    text_field: TextField = None,
    limit: Limit = None,
    as_json: Json = False,
) -> None:
    """Match the features of two spaces, with texts also by their activations; list lost features."""
    from saeindex.features import FeatureSpace
    from saeindex.features.space_map import carry_labels, map_spaces

    before, after = FeatureSpace.load(old), FeatureSpace.load(new)
    if into is not None:
        check_target(into, is_space=True)
    corpus = read_texts(texts or [], text_field, limit)
    vectors = before.open_encoder().encode_document(corpus) if corpus else None
    mapping = map_spaces(before, after, vectors, threshold=threshold)
    carried = carry_labels(before, after, mapping)
    changed = sum(a != b for a, b in zip(carried.labels, after.labels, strict=True))
    if into is not None:
        carried.save(into)
    if as_json:
        print_json({"old": old, "new": new, "labels_carried": changed, **mapping.to_json()})
    else:
        _print_mapping(mapping, changed, into)
    if not mapping.matches:
        raise typer.Exit(1)


def _print_mapping(mapping: SpaceMapping, changed: int, into: Path | None) -> None:
    summary = mapping.summary()
    mean = f" (mean confidence {summary['mean_confidence']:.2f})" if mapping.matches else ""
    say(f"{summary['matched']:,} matched{mean}, {summary['lost']:,} lost, {summary['gained']:,} gained")
    verb = f"carried into {into}" if into else "would be carried (give --into)"
    say(f"{changed:,} labels {verb}; {summary['lost_manual_labels']:,} manual labels lost")
    if mapping.lost:
        say("Lost, most frequent first:")
    for feature in mapping.lost[:SHOWN]:
        label = shown_label(feature.label, feature.is_weak)
        say(
            f"  #{feature.id} {label} ({feature.method}, in {feature.density:.2%} of texts); "
            f"nearest is #{feature.nearest}, {feature.similarity:.2f}"
        )
