"""Checks of a query before anything of it runs: every field by itself, and the fields that need another."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import fields
from typing import TYPE_CHECKING, Any, get_args

from saeindex.concepts.resolver import check_unicode
from saeindex.config import MAX_LIMIT, MAX_QUERY_CHARS
from saeindex.errors import InvalidInputError
from saeindex.search.grouping import check_field
from saeindex.signatures import check_kind, check_types
from saeindex.stores.tracing import Deadline
from saeindex.types import FusionMethod, LevelName, PropertyMethod, Resolve, SteeringMethod, Using

if TYPE_CHECKING:
    from saeindex.search.query import Query

CHOICES = {
    "using": get_args(Using),
    "fusion": get_args(FusionMethod),
    "resolve": get_args(Resolve),
    "level": (None, *get_args(LevelName)),
    "steering": get_args(SteeringMethod),
    "method": get_args(PropertyMethod),
}
# Fields that do nothing without another: the other, and a value of it where only one will do.
PARTNERS = {
    "fusion": ("using", "fused"),
    "resolve": ("where", None),
    "level": ("where", None),
    "steering": ("steer", None),
    "max_drift": ("steer", None),
    "method": ("property", None),
    "group_size": ("group_by", None),
}


def check_query(query: Query) -> None:
    """Raise InvalidInputError unless every field of ``query`` is valid, and has the field that it needs."""
    check_types(type(query), {one.name: getattr(query, one.name) for one in fields(query)})
    _check_texts(query)
    for name, known in CHOICES.items():
        if (chosen := getattr(query, name)) not in known:
            offered = ", ".join(repr(item) for item in known if item)
            raise InvalidInputError(f"{name}={chosen!r}", "no such choice", f"Use {offered}.")
    _check_numbers(query)
    Deadline(query.timeout)  # raises
    if query.group_by is not None:
        check_field(query.group_by)
    _check_combination(query)
    _check_partners(query)


def _check_texts(query: Query) -> None:
    for name in ("against", "like", "unlike"):
        values = getattr(query, name)
        check_kind(f"{name}={values!r:.80}", values, Iterable, "Give a list of texts.")
    for value in query.against:
        check_kind(f"against={value!r:.80}", value, str, "Give a list of texts.")
    for text in (query.text, query.property or "", *query.against):
        if len(text) > MAX_QUERY_CHARS:
            raise InvalidInputError(
                f"a query of {len(text)} characters", f"the limit is {MAX_QUERY_CHARS}", "Shorten it."
            )
        check_unicode("search", text)
    if query.property is not None and not query.property.strip():
        raise InvalidInputError("search by property", "an empty description", "Describe the property.")


def _check_numbers(query: Query) -> None:
    for name, low, high, do in (
        ("limit", 1, MAX_LIMIT, f"Use a whole number from 1 to {MAX_LIMIT}."),
        ("offset", 0, MAX_LIMIT, f"Use a whole number from 0 to {MAX_LIMIT}."),
        ("group_size", 1, math.inf, "Use a whole number of 1 or more."),
        ("diversity", 0, 1, "Use a number from 0 (off) to 1."),
        ("max_drift", 0, 2, "Use a cosine distance, 0 to 2."),
        ("score_threshold", -math.inf, math.inf, "Use a finite number."),
    ):
        value: Any = getattr(query, name)
        if value is not None and not (abs(value) < math.inf and low <= value <= high):
            raise InvalidInputError(f"{name}={value!r}", "out of range", do)


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
            "search against other values", "no description", "Give the property to contrast with them."
        )
    has_more = query.property is not None or query.against or query.like or query.unlike
    if query.feedback is not None and has_more:
        raise InvalidInputError(
            "search with feedback", "a property or examples beside it", "Use the feedback alone."
        )
    if query.max_drift is not None and query.steering == "clamp":
        raise InvalidInputError(
            "max_drift with steering='clamp'", "decoding itself moves the query", "Use steering='built'."
        )


def _check_partners(query: Query) -> None:
    """Raise InvalidInputError for a field that does nothing without another, which the query lacks."""
    defaults = {one.name: one.default for one in fields(query)}
    for name, (partner, needed) in PARTNERS.items():
        given, beside = getattr(query, name), getattr(query, partner)
        is_beside = beside == needed if needed else beside is not None and beside != ()
        if given != defaults[name] and not is_beside:
            wanted = f"{partner}={needed!r}" if needed else partner
            raise InvalidInputError(
                f"{name}={given!r}", f"no {wanted}", f"Give {wanted}, or leave {name} out."
            )
