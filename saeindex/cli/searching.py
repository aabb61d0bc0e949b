"""``saeindex search``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from saeindex.cli.output import Json, Url, console, hits_json, print_hits, print_json
from saeindex.errors import InvalidInputError

if TYPE_CHECKING:
    from qdrant_client.models import Filter

MAX_FILTER_CHARS = 100_000


def search(
    index: Annotated[str, typer.Argument(help="The index.")],
    text: Annotated[str, typer.Argument(help="What to search for.")],
    where: Annotated[
        str | None, typer.Option(help="Concepts that must hold: '\"dark matter\" AND NOT #1041'.")
    ] = None,
    filter_json: Annotated[str | None, typer.Option("--filter", help="A Qdrant filter, as JSON.")] = None,
    steer: Annotated[
        list[str] | None, typer.Option(help="Concepts to add or take away: +theory:0.5, --steer=-#1041:1.")
    ] = None,
    using: Annotated[str, typer.Option(help="The vector that ranks: dense or sae.")] = "dense",
    limit: Annotated[int, typer.Option(help="Number of hits.")] = 10,
    offset: Annotated[int, typer.Option(help="Hits to skip.")] = 0,
    score_threshold: Annotated[float | None, typer.Option(help="Least score of a hit.")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Show the parts of each score.")] = False,
    plan: Annotated[bool, typer.Option("--plan", help="Show how the query was understood.")] = False,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Search an index: by text, filtered and steered by concept, each score explained."""
    from saeindex.index import FeatureIndex

    query_filter = _parse_filter(filter_json)
    with FeatureIndex.open(index, url=url) as opened:
        hits = opened.search(
            text,
            where=where,
            query_filter=query_filter,
            steer=steer or (),
            using=using,
            limit=limit,
            offset=offset,
            score_threshold=score_threshold,
            explain=explain,
        )
    if as_json:
        print_json(hits_json(hits))
    else:
        out = console()
        if plan or where or steer:
            out.print(str(hits.plan), style="dim", markup=False)
        print_hits(out, hits)
        if not hits:
            out.print("No record matches. Try a wider --where, or see --plan.")
    if not hits:
        raise typer.Exit(1)


def _parse_filter(text: str | None) -> Filter | None:
    if text is None:
        return None
    from pydantic import ValidationError
    from qdrant_client.models import Filter

    example = '{"must": [{"key": "metadata.year", "range": {"gte": 2015}}]}'
    if len(text) > MAX_FILTER_CHARS:
        raise InvalidInputError("--filter", f"{len(text)} characters", f"Use at most {MAX_FILTER_CHARS}.")
    try:
        return Filter.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        at = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise InvalidInputError("--filter", f"{first['msg']} at {at}", f"For example: {example}") from error
