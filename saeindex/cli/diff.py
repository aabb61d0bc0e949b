"""``saeindex diff``."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from saeindex.cli.delivery import Plot, Report, Table, deliver
from saeindex.cli.output import Json, Url
from saeindex.errors import InvalidInputError

if TYPE_CHECKING:
    from saeindex.analysis.diff.hypotheses import HypothesisWriter

Condition = Annotated[str | None, typer.Option(help="Condition of a group: 'metadata.year < 2010'.")]
Unit = Annotated[
    str,
    typer.Option(help="Field by which records were sampled (a document, an author): auto, none or a field."),
]
Strata = Annotated[
    list[str] | None, typer.Option(help="Field to stratify by: compare only records of equal value.")
]
Bins = Annotated[
    int | None,
    typer.Option(help="Quantiles of text length to stratify by; 0 for none. Default: 5 if length matters."),
]
Level = Annotated[str, typer.Option(help="Minimum strength of a concept: present, typical or strong.")]
Alpha = Annotated[float, typer.Option(help="False discovery rate of each family of evidence.")]
Method = Annotated[str, typer.Option(help="Benjamini-Hochberg (bh), or Benjamini-Yekutieli (by).")]
Field = Annotated[str, typer.Option(help="A further text field, such as prompt, in place of the text.")]


def diff(  # noqa: PLR0913, PLR0917  (one per option of a comparison)
    index: Annotated[str, typer.Argument(help="The index.")],
    a: Condition = None,
    b: Condition = None,
    group: Annotated[
        list[str] | None,
        typer.Option(help="A named group, in place of --a and --b: NAME=CONDITION. Repeatable."),
    ] = None,
    by: Annotated[str | None, typer.Option(help="Field to group by: one group for each value.")] = None,
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
        typer.Option(help="A property to test: 'sad=feeling sad; against: being happy'. Repeatable."),
    ] = None,
    other: Annotated[
        str | None, typer.Option(help="Another index with the same space, to compare this whole index with.")
    ] = None,
    hypotheses: Annotated[
        str | None,
        typer.Option(help="Model that writes hypotheses and checks them (key: OPENAI_API_KEY)."),
    ] = None,
    base_url: Annotated[
        str | None, typer.Option(help="URL of the model's service (env: OPENAI_BASE_URL).")
    ] = None,
    max_tokens: Annotated[
        int, typer.Option(help="Maximum tokens of all requests to the model, input and output.")
    ] = 200_000,
    level: Level = "typical",
    alpha: Alpha = 0.05,
    method: Method = "bh",
    min_support: Annotated[int, typer.Option(help="Minimum records that have a concept or word.")] = 5,
    confirm: Annotated[
        bool, typer.Option(help="Find differences in one half of the units; test them again in the other.")
    ] = True,
    examples: Annotated[int, typer.Option(help="Example records of a finding, from each group.")] = 2,
    field: Field = "",
    table: Table = None,
    plot: Plot = None,
    report: Report = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Test which concepts, words and clusters differ between groups of records."""
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
    groups = dict(_group(text) for text in group) if group else None
    if other is not None and url is None and Path(other).resolve() == Path(index).resolve():
        do = "Name another index, or compare groups of this one with --a, --group or --by."
        raise InvalidInputError(f"--other {other}", "the index itself", do)
    with ExitStack() as stack:
        opened = stack.enter_context(FeatureIndex.open(index, url=url))
        second = stack.enter_context(FeatureIndex.open(other, url=url)) if other else None
        options |= {"named": named or (), "field": field, "writer": _writer(hypotheses, base_url, max_tokens)}
        found = opened.diff(a, b, groups=groups, by=by, other=second, **options)
    compared = f"{a} against {b or 'all others'}" if a else by or other or ", ".join(groups or ())
    deliver(found, as_json, table, plot, report, f"What differs: {compared}?")


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
            f"--group {text}", "not NAME=CONDITION", "For example: --group old='metadata.year < 1990'."
        )
    return name.strip(), condition.strip()


def comma_parts(text: str) -> tuple[str, ...]:
    """Return the comma-separated parts of a text."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def unit_of(text: str) -> str | None:
    """Return the unit of the ``--unit`` option; "none" is None."""
    return None if text == "none" else text
