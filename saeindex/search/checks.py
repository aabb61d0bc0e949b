"""Checks of a query before anything of it runs: its texts, and whether its parts go together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from saeindex.concepts.feedback import check_sides
from saeindex.config import MAX_QUERY_CHARS
from saeindex.errors import InvalidInputError
from saeindex.search.grouping import check_field

if TYPE_CHECKING:
    from saeindex.search.query import Query


def check_query(query: Query) -> None:
    """Raise InvalidInputError unless the parts of a query, each of which is valid, go together."""
    _check_texts(query)
    if query.grouping is not None:
        check_field(query.grouping.field)
    _check_combination(query)


def _check_texts(query: Query) -> None:
    check_sides("search", query.like, query.unlike)
    for text in (query.text, query.described or "", *query.against):
        if len(text) > MAX_QUERY_CHARS:
            raise InvalidInputError(
                f"a query of {len(text)} characters", f"the limit is {MAX_QUERY_CHARS}", "Shorten it."
            )
    if query.described is not None and not query.described.strip():
        raise InvalidInputError("search by property", "an empty description", "Describe the property.")


def _check_combination(query: Query) -> None:
    ranked = bool(query.text.strip()) or query.property is not None or query.feedback is not None
    if not ranked and not query.like and query.where is None and query.query_filter is None:
        raise InvalidInputError(
            "search", "an empty text", "Give a text, a property, examples, or a where clause."
        )
    if not ranked and not query.like and (query.steers or query.unlike or query.against):
        raise InvalidInputError(
            "search", "nothing to steer or to contrast", "Give a text, a property or examples (like)."
        )
    has_examples = bool(query.like or query.unlike)
    if query.against and query.property is None and not (query.text.strip() and has_examples):
        raise InvalidInputError(
            "search against other values", "no description", "Give the property to contrast with them."
        )
    has_more = query.property is not None or query.against or query.like or query.unlike
    if query.feedback is not None and has_more:
        raise InvalidInputError(
            "search with feedback", "a property or examples beside it", "Use the feedback alone."
        )
    steering = query.steering
    if steering is not None and steering.max_drift is not None and steering.method == "clamp":
        raise InvalidInputError(
            "steer.max_drift with steer.method='clamp'", "decoding itself moves the query", "Use 'built'."
        )
