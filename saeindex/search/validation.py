"""What a query must be before it is planned: every field in range, and something to rank or to select by."""

from __future__ import annotations

import math

from saeindex.concepts.label_match import check_unicode
from saeindex.config import MAX_LIMIT, MAX_QUERY_CHARS
from saeindex.errors import InvalidInputError
from saeindex.types import Query

USINGS = ("dense", "sae", "fused")
METHODS = ("collection", "interpembed")
LEVELS = (None, "present", "typical", "strong")


def check_query(query: Query) -> None:
    """Raise InvalidInputError unless every field of ``query`` can be used."""
    _check_texts(query)
    _check_combination(query)
    for choice, known in (("using", USINGS), ("method", METHODS), ("level", LEVELS)):
        if (chosen := getattr(query, choice)) not in known:
            offered = ", ".join(repr(item) for item in known if item)
            raise InvalidInputError(f"{choice}={chosen!r}", "no such choice", f"Use {offered}.")
    for name, value, least in (("limit", query.limit, 1), ("offset", query.offset, 0)):
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MAX_LIMIT:
            raise InvalidInputError(
                f"{name}={value!r}", "out of range", f"Use a whole number from {least} to {MAX_LIMIT}."
            )
    if query.exact is not None and not isinstance(query.exact, bool):
        raise InvalidInputError(f"exact={query.exact!r}", "no such choice", "Use True, False or None.")
    drift = query.max_drift
    if drift is not None and not (math.isfinite(drift) and 0 <= drift <= 2):
        raise InvalidInputError(f"max_drift={drift!r}", "out of range", "Use a cosine distance, 0 to 2.")
    if drift is not None and query.steering == "clamp":
        raise InvalidInputError(
            "max_drift with steering='clamp'", "decoding alone moves the query", "Use steering='built'."
        )


def _check_texts(query: Query) -> None:
    if not isinstance(query.text, str):
        raise InvalidInputError("search", f"a text of type {type(query.text).__name__}", "Give a string.")
    for text in (query.text, query.property or "", *query.against):
        if len(text) > MAX_QUERY_CHARS:
            raise InvalidInputError(
                f"a query of {len(text)} characters", f"the limit is {MAX_QUERY_CHARS}", "Shorten it."
            )
        check_unicode("search", text)
    if query.property is not None and not query.property.strip():
        raise InvalidInputError("search by property", "an empty description", "Describe the property.")
    for name in ("against", "like", "unlike"):
        if isinstance(getattr(query, name), str):
            raise InvalidInputError(f"{name}={getattr(query, name)!r}", "one text", "Give a list.")


def _check_combination(query: Query) -> None:
    ranked = bool(query.text.strip()) or query.property is not None or query.feedback is not None
    if not ranked and not query.like and query.where is None and query.query_filter is None:
        raise InvalidInputError(
            "search", "an empty text", "Give a text, a property, examples, or a where clause."
        )
    if not ranked and not query.like and (query.steer or query.unlike or query.against):
        raise InvalidInputError(
            "search", "nothing to steer or to contrast", "Give a text, a property or examples (like)."
        )
    has_examples = bool(query.like or query.unlike)
    if query.against and query.property is None and not (query.text.strip() and has_examples):
        raise InvalidInputError(
            "search against other values", "no description", "Give the property they are against."
        )
    told = query.property is not None or query.against or query.like or query.unlike
    if query.feedback is not None and told:
        raise InvalidInputError(
            "search with feedback", "a property or examples beside it", "The feedback says what it is of."
        )
