"""``saeindex diff``."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated, Any

import typer

from saeindex.cli.delivery import Plot, Report, Table, deliver
from saeindex.cli.output import Json, Url
from saeindex.errors import InvalidInputError

if TYPE_CHECKING:
    from saeindex.analysis.diff.hypotheses import HypothesisWriter

Condition = Annotated[str | None, typer.Option(help="A where condition: 'metadata.year < 2010'.")]
Unit = Annotated[
    str,
    typer.Option(
        help="The field that records were sampled by (a document, an author): auto, none or a field."
    ),
]
Strata = Annotated[list[str] | None, typer.Option(help="A field within whose values records are compared.")]
Bins = Annotated[
    int | None,
    typer.Option(help="Quantiles of text length to compare within; 0: none, else where it matters."),
]
Level = Annotated[str, typer.Option(help="How strong concepts must be: present, typical or strong.")]
Alpha = Annotated[float, typer.Option(help="The false discovery rate of each family of evidence.")]
Method = Annotated[str, typer.Option(help="Benjamini-Hochberg (bh), or -Yekutieli (by) for any dependence.")]
Field = Annotated[str, typer.Option(help="A further text field, such as prompt, instead of the text.")]


def diff(  # noqa: PLR0913, PLR0917  (one per option of a comparison)
    index: Annotated[str, typer.Argument(help="The index.")],
    a: Condition = None,
    b: Condition = None,
    group: Annotated[
        list[str] | None, typer.Option(help="A further way, for several groups: NAME=CONDITION.")
    ] = None,
    by: Annotated[str | None, typer.Option(help="One group for each value of a field.")] = None,
    unit: Unit = "auto",
    strata: Strata = None,
    length_bins: Bins = None,
    paired: Annotated[
        bool | None, typer.Option("--paired/--unpaired", help="Units have records in both groups.")
    ] = None,
    evidence: Annotated[
        str, typer.Option(help="Families of evidence, with commas: concepts,words,clusters.")
    ] = "concepts,words,clusters",
    named: Annotated[
        list[str] | None,
        typer.Option(help="A property to ask about: 'sad=feeling sad; against: being happy'."),
    ] = None,
    other: Annotated[
        str | None, typer.Option(help="Another index with the same space: all of this one against all of it.")
    ] = None,
    hypotheses: Annotated[
        str | None,
        typer.Option(help="A model that words the findings, and checks them (key: OPENAI_API_KEY)."),
    ] = None,
    base_url: Annotated[str | None, typer.Option(help="The model's service (env: OPENAI_BASE_URL).")] = None,
    max_tokens: Annotated[
        int, typer.Option(help="What all requests to the model may take, in and out.")
    ] = 200_000,
    level: Level = "typical",
    alpha: Alpha = 0.05,
    method: Method = "bh",
    min_support: Annotated[int, typer.Option(help="Records that must have a piece of evidence.")] = 5,
    confirm: Annotated[
        bool, typer.Option(help="Find in one half of the units, and test again in the other.")
    ] = True,
    examples: Annotated[int, typer.Option(help="Records that show a finding, from each side.")] = 2,
    field: Field = "",
    table: Table = None,
    plot: Plot = None,
    report: Report = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Test what differs between groups of records: concepts, words and clusters."""
    from saeindex.index import FeatureIndex

    options: dict[str, Any] = {
        "families": comma_parts(evidence),
        "level": level,
        "unit": unit_of(unit),
        "strata": tuple(strata or ()),
        "length_bins": length_bins,
        "paired": paired,
        "alpha": alpha,
        "method": method,
        "min_support": min_support,
        "confirm": confirm,
        "examples": examples,
    }
    groups = dict(_group(one) for one in group) if group else None
    with ExitStack() as stack:
        opened = stack.enter_context(FeatureIndex.open(index, url=url))
        second = stack.enter_context(FeatureIndex.open(other, url=url)) if other else None
        options |= {"named": named or (), "field": field, "writer": _writer(hypotheses, base_url, max_tokens)}
        found = opened.diff(a, b, groups=groups, by=by, other=second, **options)
    asked = f"{a} against {b or 'all others'}" if a else by or other or ", ".join(groups or ())
    deliver(found, as_json, table, plot, report, f"What differs: {asked}?")


def _writer(model: str | None, base_url: str | None, max_tokens: int) -> HypothesisWriter | None:
    if model is None:
        return None
    from saeindex.analysis.diff.hypotheses import HypothesisWriter
    from saeindex.encoders.cache import EmbeddingCache

    replies = EmbeddingCache().folder.with_name("hypotheses")
    return HypothesisWriter(model, base_url=base_url, max_tokens=max_tokens, cache=replies)


def _group(text: str) -> tuple[str, str]:
    name, equals, condition = text.partition("=")
    if not equals or not name.strip() or not condition.strip():
        raise InvalidInputError(
            f"--group {text}", "no NAME=CONDITION", "For example: --group old='metadata.year < 1990'."
        )
    return name.strip(), condition.strip()


def comma_parts(text: str) -> tuple[str, ...]:
    """Return the parts of a text with commas."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def unit_of(text: str) -> str | None:
    """Return a unit as it was asked for; "none" is None."""
    return None if text == "none" else text
