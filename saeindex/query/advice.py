"""What a plan warns of: fields that no record seems to have, filters that nothing seems to pass."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from saeindex.query.ast import Between, Compare, Exists, OneOf, walk
from saeindex.query.values import RECORD_ID

if TYPE_CHECKING:
    from saeindex.query.ast import Expression
    from saeindex.query.cost import Estimate
    from saeindex.query.statistics import Statistics

METADATA, NEAR = "metadata.", 0.6


def fields_of(where: Expression | None) -> tuple[str, ...]:
    """Return the metadata fields that an expression names, once each."""
    nodes = [] if where is None else [node for node, _ in walk(where)]
    named = [node.field for node in nodes if isinstance(node, Compare | OneOf | Between | Exists)]
    return tuple(dict.fromkeys(field for field in named if field != RECORD_ID))


def warnings_of(where: Expression | None, estimate: Estimate, statistics: Statistics) -> tuple[str, ...]:
    """Return what whoever asks should look at again, a sentence each."""
    found = [_unknown(field, statistics) for field in fields_of(where) if _is_unknown(field, statistics)]
    if statistics.total and estimate.points < 0.5:
        found.append("no point seems to match the filter" if not estimate.is_certain else "no point matches")
    return tuple(found)


def _is_unknown(field: str, statistics: Statistics) -> bool:
    return len(statistics) > 0 and not statistics.with_condition(Exists(field=field)).any()


def _unknown(field: str, statistics: Statistics) -> str:
    known = sorted(each.removeprefix(METADATA) for each in statistics.fields)
    near = get_close_matches(field.removeprefix(METADATA), known, n=1, cutoff=NEAR)
    hint = f"; did you mean {METADATA}{near[0]}?" if near else ""
    return f"no sampled record has {field}{hint}"
