"""``saeindex sae eval``: measure how well a feature space represents a corpus."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from saeindex.cli.corpus import embed, is_embeddings, read_embeddings, read_texts
from saeindex.cli.output import Json, console, print_json
from saeindex.errors import MismatchError

if TYPE_CHECKING:
    from rich.console import Console

    from saeindex.features import FeatureSpace
    from saeindex.features.fidelity import FidelityReport
    from saeindex.types import FloatArray

Space = Annotated[str, typer.Argument(metavar="SPACE", help="A feature space: a name or a directory.")]
Corpus = Annotated[
    list[str],
    typer.Argument(
        help="Texts, as for `index`, or one .npy file of embeddings; best not those it was fitted on."
    ),
]
Against = Annotated[
    list[str] | None,
    typer.Option(help="Another space, to count the features that recur in it. Repeatable."),
]
TextField = Annotated[str | None, typer.Option(help="Column of the text. Default: detected.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Use only this many records.")]
Seed = Annotated[int, typer.Option(help="Seed of the sample for neighbours.")]


def eval_(
    space: Space,
    corpus: Corpus,
    against: Against = None,
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
    x = _embeddings(opened, corpus, text_field, limit)
    from saeindex.indexing.pipeline import progress_bar

    with progress_bar("measuring", "docs", len(x)) as bar:
        report = measure_fidelity(opened, x, against=others, seed=seed, progress=bar.update)
    if as_json:
        print_json(report.to_json())
    else:
        _print(console(), report)


def _comparable(space: FeatureSpace, name: str) -> FloatArray:
    """Return the directions of another space; MismatchError if it has another encoder."""
    from saeindex.features import FeatureSpace

    other = FeatureSpace.load(name)
    differing = space.encoder.differences(other.encoder)
    if differing:
        raise MismatchError(
            f"compare space {space.name!r} with {name!r}",
            "; ".join(f"{key}: {ours!r} and {theirs!r}" for key, (ours, theirs) in differing.items()),
            "Compare spaces of the same encoder.",
        )
    return other.sae.directions


def _embeddings(
    space: FeatureSpace, corpus: list[str], text_field: str | None, limit: int | None
) -> FloatArray:
    if is_embeddings(corpus):
        return read_embeddings(corpus[0], limit)
    texts = read_texts(corpus, text_field, limit)
    return embed(texts, space.open_encoder())


def _print(out: Console, report: FidelityReport) -> None:
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
