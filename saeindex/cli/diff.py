"""``saeindex diff`` and ``saeindex describe``."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from saeindex.cli.delivery import Delivery
from saeindex.cli.options import asks
from saeindex.cli.output import Index
from saeindex.errors import InvalidInputError
from saeindex.operations.differences import Describe, DiffGroups

if TYPE_CHECKING:
    from saeindex.analysis.diff.hypotheses import HypothesisWriter


@asks(DiffGroups, without=("groups", "other"))
def diff(
    index: Index,
    options: dict[str, Any],
    delivery: Delivery,
    group: Annotated[
        list[str] | None,
        typer.Option(help="A named group, in place of --a and --b: NAME=CONDITION. Repeatable."),
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
) -> None:
    """Test which concepts, words and clusters differ between groups of records."""
    from saeindex.index import FeatureIndex

    if other is not None and delivery.url is None and Path(other).resolve() == Path(index).resolve():
        do = "Name another index, or compare groups of this one with --a, --group or --by."
        raise InvalidInputError(f"--other {other}", "the index itself", do)
    groups = dict(_group(text) for text in group) if group else None
    writer = _writer(hypotheses, base_url, max_tokens)
    with ExitStack() as stack:
        opened = stack.enter_context(FeatureIndex.open(index, url=delivery.url))
        second = stack.enter_context(FeatureIndex.open(other, url=delivery.url)) if other else None
        found = opened.diff(**options, groups=groups, other=second, writer=writer)
    a, b, by = (options.get(name) for name in ("a", "b", "by"))
    compared = f"{a} against {b or 'all others'}" if a else by or other or ", ".join(groups or ())
    delivery.deliver(found, f"What differs: {compared}?")


@asks(Describe, without=("records",))
def describe(
    index: Index,
    options: dict[str, Any],
    delivery: Delivery,
    where: Annotated[str | None, typer.Option(help="Condition of the set: 'metadata.year >= 2015'.")] = None,
    ids: Annotated[
        list[str] | None, typer.Option("--id", help="Id of a record of the set. Repeatable.")
    ] = None,
) -> None:
    """Show the distinctive concepts, words and themes of a set, and its central and odd records."""
    from saeindex.index import FeatureIndex

    chosen = where if where is not None else ids
    if not chosen or (where is not None and ids):
        raise InvalidInputError("a set to describe", "none, or two", "Give --where, or --id.")
    with FeatureIndex.open(index, url=delivery.url) as opened:
        found = opened.describe(chosen, **options)
    delivery.deliver(found, f"What is distinctive of {where or 'this set'}?")


def _writer(model: str | None, base_url: str | None, max_tokens: int) -> HypothesisWriter | None:
    if model is None:
        if base_url is not None:
            raise InvalidInputError(f"--base-url {base_url}", "no --hypotheses", "Give both, or neither.")
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
