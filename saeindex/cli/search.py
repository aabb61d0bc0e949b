"""``saeindex search``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from saeindex.cli.bars import print_comparison
from saeindex.cli.feedback import Accept, FeedbackFile, Reject, judged, print_feedback, read_feedback
from saeindex.cli.output import (
    Json,
    Url,
    console,
    print_facets,
    print_hits,
    print_json,
    print_suggestions,
)
from saeindex.config import DOCUMENT
from saeindex.errors import InvalidInputError

if TYPE_CHECKING:
    from qdrant_client.models import Filter

    from saeindex.index import FeatureIndex
    from saeindex.search.hits import Hits
    from saeindex.search.query import Query

MAX_FILTER_CHARS = 100_000

Where = Annotated[
    str | None, typer.Option(help="Condition on concepts and metadata: '\"dark matter\" AND NOT #1041'.")
]
Steered = Annotated[
    list[str] | None,
    typer.Option(help="Concept to add or subtract: +theory:0.5, --steer=-#1041:1. Repeatable."),
]
Against = Annotated[
    list[str] | None, typer.Option(help="Another value of the property's field, for contrast. Repeatable.")
]
Like = Annotated[list[str] | None, typer.Option(help="Id of a record like those to find. Repeatable.")]
Unlike = Annotated[list[str] | None, typer.Option(help="Id of a record unlike those to find. Repeatable.")]
Resolve = Annotated[str, typer.Option(help="Mapping of phrases to features: strict, best or expand.")]
Level = Annotated[str | None, typer.Option(help="Minimum strength of a concept: present, typical or strong.")]
Exact = Annotated[
    bool | None, typer.Option("--exact/--approximate", help="Scan all points, or search the graph.")
]
Compare = Annotated[
    tuple[str, str] | None,
    typer.Option(metavar="ID_A ID_B", help="Show why one record ranks above another."),
]


def search(  # noqa: PLR0913, PLR0917  (one per field of a query)
    context: typer.Context,
    index: Annotated[str, typer.Argument(help="The index.")],
    text: Annotated[str, typer.Argument(help="Text to search for; optional beside other options.")] = "",
    where: Where = None,
    filter_json: Annotated[str | None, typer.Option("--filter", help="A Qdrant filter, as JSON.")] = None,
    steer: Steered = None,
    steering: Annotated[str, typer.Option(help="Steering method: built or clamp.")] = "built",
    max_drift: Annotated[float | None, typer.Option(help="Maximum drift of the query by steering.")] = None,
    property: Annotated[
        str | None, typer.Option(help="Property of the texts to find: 'sounds defensive'.")
    ] = None,
    against: Against = None,
    method: Annotated[
        str, typer.Option(help="Method of property search: collection or interpembed.")
    ] = "collection",
    like: Like = None,
    unlike: Unlike = None,
    feedback_file: FeedbackFile = None,
    accept: Accept = None,
    reject: Reject = None,
    resolve: Resolve = "best",
    level: Level = None,
    using: Annotated[str, typer.Option(help="Vector to rank by: dense, sae, or fused for both.")] = "dense",
    fusion: Annotated[str, typer.Option(help="Fusion method: rrf, dbsf or weighted.")] = "rrf",
    diversity: Annotated[float, typer.Option(help="Diversity of the hits' concepts, 0 (off) to 1.")] = 0.0,
    group_by: Annotated[
        str | None,
        typer.Option(help="Field to group by: metadata.topic, document (where there are some), or none."),
    ] = None,
    group_size: Annotated[
        int, typer.Option(help="Hits per group; --limit counts groups. Default for documents: 1.")
    ] = 3,
    limit: Annotated[int, typer.Option(help="Number of hits.")] = 10,
    offset: Annotated[int, typer.Option(help="Hits to skip.")] = 0,
    score_threshold: Annotated[float | None, typer.Option(help="Minimum score of a hit.")] = None,
    exact: Exact = None,
    timeout: Annotated[float | None, typer.Option(help="Time limit in seconds.")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Show the parts of each score.")] = False,
    compare: Compare = None,
    facets: Annotated[bool, typer.Option("--facets", help="Show concepts frequent in the results.")] = False,
    suggest: Annotated[
        bool, typer.Option("--suggest", help="Show concepts that --where could exclude.")
    ] = False,
    plan: Annotated[bool, typer.Option("--plan", help="Show the plan of the query.")] = False,
    analyze: Annotated[
        bool, typer.Option("--analyze", help="Show the plan with measured counts and times.")
    ] = False,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Search an index: by text, filtered and steered by concept, each score explained."""
    from saeindex.index import FeatureIndex
    from saeindex.search.query import Query

    given = locals()  # the options have the names of the query's fields
    fields = {name: given[name] for name in Query.__dataclass_fields__ if given.get(name) is not None}
    fields |= {"query_filter": _parse_filter(filter_json), "feedback": read_feedback(feedback_file)}
    fields = {name: value for name, value in fields.items() if not _is_idle_setting(name, fields, context)}
    with FeatureIndex.open(index, url=url) as opened:
        query = Query(**_grouped(opened, fields, context))
        query = judged(opened, query, accept or (), reject or ()) if accept or reject else query
        analysis = opened.explain_analyze(query) if analyze else None
        hits = opened.search(query) if analysis is None else analysis.hits
        further = _further(opened, query, facets, suggest, compare)
    if analysis is not None:
        further["analysis"] = analysis
    if as_json:
        print_json(hits.to_json() | {name: _as_json(value) for name, value in further.items()})
    else:
        _print(hits, further, not analyze and (plan or bool(where or steer)))
    if not hits:
        raise typer.Exit(1)


def _is_idle_setting(name: str, fields: dict[str, Any], context: typer.Context) -> bool:
    """Return whether a setting is the default of an option that does nothing here."""
    from saeindex.search.checks import PARTNERS

    partner, _ = PARTNERS.get(name, ("", None))
    return bool(partner) and not fields.get(partner) and _source(context, name) == "DEFAULT_MAP"


def _source(context: typer.Context, name: str) -> str | None:
    """Return where the value of an option comes from: "COMMANDLINE", "DEFAULT_MAP" (a setting), "DEFAULT"."""
    source = context.get_parameter_source(name)
    return None if source is None else source.name


def _grouped(index: FeatureIndex, fields: dict[str, Any], context: typer.Context) -> dict[str, Any]:
    """Return the fields of a query for the best record of each document, unless they group otherwise."""
    group_by = fields.get("group_by") or (DOCUMENT if index.state.has_documents else None)
    if group_by == DOCUMENT:
        is_given = _source(context, "group_size") == "COMMANDLINE"
        fields = fields | {"group_size": fields["group_size"] if is_given else 1}
    return fields | {"group_by": None if group_by == "none" else group_by}


def _further(
    index: FeatureIndex, query: Any, facets: bool, suggest: bool, compare: tuple[str, str] | None
) -> dict[str, Any]:
    """Return the requested results besides hits, by their names in the JSON output."""
    further: dict[str, Any] = {}
    if facets:
        further["facets"] = index.concept_facets(query)
    if suggest:
        further["suggestions"] = index.suggest_exclusions(query)
    if compare is not None:
        further["comparison"] = index.compare(query, *compare)
    return further


def _as_json(value: Any) -> Any:
    return [asdict(each) for each in value] if isinstance(value, list) else value.to_json()


def _print(hits: Hits, further: dict[str, Any], with_plan: bool) -> None:
    out = console()
    if with_plan:
        out.print(str(hits.plan), style="dim", markup=False)
    for warning in () if with_plan else hits.plan.warnings:
        out.print(f"Warning: {warning}", style="dim", markup=False)
    if "analysis" in further:
        out.print(str(further["analysis"]), style="dim", markup=False)
    if hits.feedback is not None:
        print_feedback(out, hits.feedback)
    print_hits(out, hits)
    if not hits:
        out.print(_why_none(hits.plan.query), markup=False)
    if "facets" in further:
        print_facets(out, further["facets"])
    if "suggestions" in further:
        print_suggestions(out, further["suggestions"])
    if "comparison" in further:
        out.print()
        print_comparison(out, further["comparison"])


def _why_none(query: Query) -> str:
    """Return why a search has no hits, as far as its options say."""
    needed = [
        text
        for is_asked, text in (
            (query.where is not None, "matches --where (try a wider one, or see --plan)"),
            (query.query_filter is not None, "matches --filter"),
            (query.group_by not in {None, DOCUMENT}, f"has {query.group_by} (--group-by)"),
            (
                query.score_threshold is not None,
                f"scores {query.score_threshold} or more (--score-threshold)",
            ),
            (query.offset > 0, f"comes after the first {query.offset:,} (--offset)"),
        )
        if is_asked
    ]
    return f"No record {' and '.join(needed)}." if needed else "The index has no records."


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
        at = ".".join(str(part) for part in first["loc"]) or "the top level"
        raise InvalidInputError(
            "--filter", f"{first['msg']} at {at}", f"Give JSON such as {example}."
        ) from error
