"""Detection of the unit of a comparison: a field whose values are the common origin of records.

Records of one document, author, prompt or year are alike, and do not count as independent. A field may be the
unit if it has many values of few records each, every group holds many of them, and records of a value are
alike: their intraclass correlation makes counts vary more than independent records would. A topic, a product
or a model makes records alike too, but that is what people compare; a length or a price is measured on each
record: such fields are left alone.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from saeindex.analysis.stats.stratified import design_effects

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.collection.snapshot import Column, Snapshot

# What a note says of fields that are not taken, and why.
LEFT = "records count one by one, though those of one value are alike"
# Names of fields that say where records come from.
_ORIGIN = re.compile(
    r"(^|[._])(doc(ument)?|author|user|speaker|thread|conversation|dialogue|session|prompt|instruction|question"
    r"|file|url|page|book|article|source)(_?(id|key|name|no|number))?$"
)
# Names of fields whose values are compared.
_COMPARED = re.compile(
    r"(^|[._])(topics?|cat(egory|egories)?|class|labels?|tags?|intents?|kind|type|genre|subject|product|brand"
    r"|domain|theme|area|discipline|department|register|format|style|model|vendor|sentiment|emotion"
    r"|polarity|rating|stars|score|stance|target|lang(uage)?|country|region|party|group|part|split|cluster)s?$"
)
# Names of fields that measure a record: equal values do not say that records have a common origin.
_MEASURED = re.compile(
    r"(^|[._])(chars|characters|words|tokens|sentences|lines|bytes|length|len|size|count|n|num"
    r"|price|cost|amount|duration|seconds|minutes|age|weight|height|votes|likes|views|upvotes|downvotes)$"
    r"|(^|[._])(n|num|number_of)_\w+$"
)
# The minimum mean number of records per unit; the maximum, where the name does not say that it is an origin.
SHARED, FEW_RECORDS = 1.2, 60.0
# The minimum number of values, and of values in each group.
MIN_VALUES, MIN_IN_GROUP = 10, 10
# The minimum mean design effect at which a unit is used.
MATTERS = 1.1
# The minimum share of records whose unit is in both groups, for a paired design.
PAIRED = 0.8
NAMED = 4


@dataclass(frozen=True, slots=True)
class Detected:
    """The detected ``unit``, None if there is none; whether its name ``is_origin``; and ``notes`` on why."""

    unit: str | None
    is_origin: bool
    notes: tuple[str, ...]


def detected_unit(
    snapshot: Snapshot, rows: NDArray[np.int64], codes: NDArray[np.int32], never: Collection[str] = ()
) -> Detected:
    """Return the unit of ``rows``, in the groups ``codes`` (m,): the field with the largest design effect.

    Fields in ``never`` are not considered: strata, or the axis of an analysis.
    """
    found: dict[str, float] = {}
    left: dict[str, str] = {}
    for field in sorted(set(snapshot.fields) - set(map(snapshot.resolved, never))):
        column = snapshot.column(field).take(rows)
        present = column.codes[column.codes >= 0]
        values = len(np.unique(present))
        if len(present) <= len(rows) / 2 or not MIN_VALUES <= values <= len(present) / SHARED:
            continue
        effect = _effect(snapshot, rows, codes, column)
        if effect < MATTERS:
            continue
        reason = _unfit(field, column, codes, len(present) / values)
        if reason:
            left[field] = f"{field} ({reason}, design effect {effect:.1f})"
        else:
            found[field] = effect
    alone = "; ".join(list(left.values())[:NAMED])
    notes = (f"{LEFT}: {alone}",) if left else ()
    if not found:
        return Detected(None, False, notes)
    chosen = max(found, key=lambda field: found[field])
    also = f"; {', '.join(sorted(found.keys() - {chosen}))} would be too" if len(found) > 1 else ""
    why = f"records of one {chosen} are alike (design effect {found[chosen]:.1f}): it is the unit{also}"
    return Detected(chosen, _ORIGIN.search(chosen) is not None, (why, *notes))


def _effect(snapshot: Snapshot, rows: NDArray[np.int64], codes: NDArray[np.int32], column: Column) -> float:
    # Records of a unit that is in both groups are alike across groups.
    spans = shared_between(column.codes, codes) >= PAIRED
    return mean_design_effect(snapshot, rows, np.zeros_like(codes) if spans else codes, column.codes)


def _unfit(field: str, column: Column, codes: NDArray[np.int32], records: float) -> str:
    """Return why a field whose values have so many ``records`` each is no unit; "" if it may be one."""
    if _ORIGIN.search(field):
        return ""
    if _COMPARED.search(field):
        return "its values may be what is compared"
    if _MEASURED.search(field):
        return "its values measure records"
    if records > FEW_RECORDS:
        return f"{records:.0f} records for each value"
    if not all(isinstance(value, str | int) and not isinstance(value, bool) for value in column.values):
        return "its values are not names or whole numbers"
    in_group = [len(np.unique(own[own >= 0])) for own in (column.codes[codes == g] for g in np.unique(codes))]
    return "a group holds few of its values" if min(in_group) < MIN_IN_GROUP else ""


def mean_design_effect(
    snapshot: Snapshot, rows: NDArray[np.int64], codes: NDArray[np.int32], units: NDArray[np.int32]
) -> float:
    """Return the mean design effect of the concepts that 1 % of records have, weighted by their support."""
    has = snapshot.at("typical")[rows]
    support = np.asarray(has.sum(0)).ravel()
    common = np.flatnonzero(support >= max(10, len(rows) // 100))
    if not len(common):
        return 1.0
    alone = np.where(units >= 0, units, units.max(initial=0) + 1 + np.arange(len(units)))
    effects = design_effects(has[:, common], codes, alone, min_effect=0.0)
    return float(np.average(effects, weights=support[common]))


def shared_between(units: NDArray[np.int32], codes: NDArray[np.int32]) -> float:
    """Return the share of the records of the first two groups whose unit is in both."""
    known = units >= 0
    both = np.intersect1d(units[known & (codes == 0)], units[known & (codes == 1)])
    return float(np.isin(units[codes < 2], both).mean())
