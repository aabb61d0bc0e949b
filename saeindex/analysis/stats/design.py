"""The sampling design of a comparison: units, pairs and strata.

Records of one document, author, prompt or year are alike, and do not count as independent. A field may be the
unit if it has many values of few records each, every group holds many of them, and records of a value are
alike: their intraclass correlation makes counts vary more than independent records would. A topic, a product
or a model makes records alike too, but that is what people compare; a length or a price is measured on each
record: such fields are left alone.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as made
from typing import TYPE_CHECKING

import numpy as np

from saeindex.analysis.stats.options import AUTO
from saeindex.analysis.stats.stratified import design_effects
from saeindex.config import DOCUMENT
from saeindex.errors import InvalidInputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.analysis.stats.groups import Groups
    from saeindex.collection.snapshot import Column, Snapshot
    from saeindex.types import Doubles, IntArray, Ints

LENGTH_BINS = 5
# The median number of words below which length is a stratum: it limits the concepts and words of a text.
# Where concepts are found sentence by sentence, it always is one: longer texts say more.
SHORT = 64
MAX_STRATA = 2_000


@dataclass(frozen=True, eq=False)
class Design:
    """Codes of the pooled records' strata, and of their units (None: each is its own); each (m,).

    ``is_paired``: units have records in both groups, and are compared within themselves. ``fields`` holds the
    codes (m,) of each field that the strata combine, ``unit`` names that of the units.
    """

    strata: IntArray
    units: IntArray | None = None
    is_paired: bool = False
    fields: Mapping[str, IntArray] = made(default_factory=dict)
    unit: str | None = None
    notes: tuple[str, ...] = ()

    def comparable(self, groups: Groups) -> NDArray[np.bool_]:
        """Return which groups (G, G) have records in a stratum, and where paired in a unit, in common."""
        cells = self.strata.astype(np.int64)
        if self.is_paired and self.units is not None:
            cells = cells * (int(self.units.max(initial=0)) + 1) + self.units
        _, cells = np.unique(cells, return_inverse=True)
        present = np.zeros((int(cells.max(initial=0)) + 1, len(groups.names)), np.int64)
        present[cells, groups.codes] = 1
        return present.T @ present > 0

    def not_comparable(self, groups: Groups) -> str:
        """Return why no two groups can be compared; "" if some can."""
        shared = self.comparable(groups)
        if shared[~np.eye(len(shared), dtype=bool)].any():
            return ""
        alike = [*self.by, *([f"the same {self.unit}"] if self.is_paired else [])]
        without = "without strata" + (
            " (length_bins=0)" if any(one.startswith("length") for one in self.by) else ""
        )
        return (
            f"no record of one group has a record of another beside it in {' and '.join(alike)}. "
            f"Compare them {without}, or choose other groups"
        )

    @property
    def by(self) -> tuple[str, ...]:
        """The names of the fields of the strata."""
        return tuple(self.fields)


def design_of(
    snapshot: Snapshot,
    groups: Groups,
    unit: str | None = AUTO,
    strata: Sequence[str] = (),
    length_bins: int | None = None,
    paired: bool | None = None,
    never: Collection[str] = (),
) -> Design:
    """Return the design of a comparison.

    ``unit`` "auto" is the document where there is one, else that of :func:`detected_unit`, where ``never``
    and the strata are no candidates; ``length_bins`` None means 5 where concepts are found by sentence, and
    where texts are short or differ in length between groups; ``paired`` None finds out whether both groups
    have records of the same units.
    """
    rows, codes = groups.pooled, groups.codes
    notes: list[str] = []
    if unit == AUTO and snapshot.has_documents:
        unit = DOCUMENT
        notes.append("records of one document count as one unit")
    elif unit == AUTO:
        detected = detected_unit(snapshot, rows, codes, {*strata, *never})
        unit, notes = detected.unit, [*detected.notes]
        # Units are compared within themselves where the name says so: years may be in both groups by chance.
        paired = paired if detected.is_origin else paired or False
    units = None if unit is None else unit_codes(snapshot, rows, unit)
    is_paired = _is_paired(units, codes, len(groups.names), paired)
    fields = {field: snapshot.column(field).take(rows).codes for field in strata}
    bins = _bins(snapshot, rows, codes, length_bins)
    if bins > 1:
        lengths = np.asarray(snapshot.lengths)[rows]
        fields[f"length ({bins} bins)"] = binned(lengths, length_edges(lengths, bins))
    stacked = _combined(list(fields.values()), len(rows))
    if is_paired:
        notes.append(f"paired by {unit}: records of a unit are compared with each other only")
    return Design(stacked, units, is_paired, fields, unit, tuple(notes))


def unit_codes(snapshot: Snapshot, rows: Ints, unit: str) -> IntArray:
    """Return the unit of each record (m,); a record without a value is a unit of its own."""
    codes = snapshot.column(unit).take(rows).codes.astype(np.int64)
    alone = codes.max(initial=0) + 1 + rows
    _, dense = np.unique(np.where(codes >= 0, codes, alone), return_inverse=True)
    return dense.astype(np.int32)


def _is_paired(units: IntArray | None, codes: IntArray, n_groups: int, asked: bool | None) -> bool:
    if asked and (units is None or n_groups != 2):
        found = f"{n_groups} groups" if n_groups != 2 else "no unit"
        raise InvalidInputError("a paired comparison", found, "Give two groups and the unit that pairs them.")
    if units is None or n_groups != 2 or asked is False:
        return False
    share = shared_between(units, codes)
    if asked and not share:
        do = "Name another unit, or none."
        raise InvalidInputError("a paired comparison", "no unit has records in both groups", do)
    return bool(asked) or share >= PAIRED


def _bins(snapshot: Snapshot, rows: Ints, codes: IntArray, asked: int | None) -> int:
    if asked is not None:
        if not 0 <= asked <= 50:
            raise InvalidInputError(f"length_bins={asked}", "out of range", "Use 0 (none) to 50.")
        return asked
    lengths = np.asarray(snapshot.lengths)[rows]
    if snapshot.has_evidence or np.median(lengths) < SHORT:
        return LENGTH_BINS
    from scipy.stats import kruskal

    by_group = [lengths[codes == group] for group in np.unique(codes)]
    is_constant = lengths.min() == lengths.max()
    return LENGTH_BINS if not is_constant and kruskal(*by_group).pvalue < 0.05 else 0


def length_edges(lengths: IntArray, bins: int) -> Doubles:
    """Return the distinct lengths between the quantiles."""
    return np.unique(np.quantile(lengths, np.linspace(0, 1, bins + 1)[1:-1]))


def binned(lengths: IntArray, edges: Sequence[float] | Doubles) -> IntArray:
    """Return the bin of each length (m,)."""
    return np.searchsorted(np.asarray(edges), lengths, side="right").astype(np.int32)


def _combined(columns: Sequence[IntArray], count: int) -> IntArray:
    """Return the code of each record's combination of values (m,)."""
    combined = np.zeros(count, np.int64)
    for own in columns:
        _, combined = np.unique(combined * (int(own.max(initial=0)) + 2) + own, return_inverse=True)
    if combined.max(initial=0) >= MAX_STRATA:
        do = f"Use fields of fewer values, at most {MAX_STRATA:,} combinations."
        raise InvalidInputError("strata", f"{int(combined.max()) + 1:,} combinations of values", do)
    return combined.astype(np.int32)


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


def detected_unit(snapshot: Snapshot, rows: Ints, codes: IntArray, never: Collection[str] = ()) -> Detected:
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
        # Records of a unit that is in both groups are alike across groups.
        spans = shared_between(column.codes, codes) >= PAIRED
        within = np.zeros_like(codes) if spans else codes
        effect = mean_design_effect(snapshot, rows, within, column.codes)
        if effect < MATTERS:
            continue
        if reason := _unfit(field, column, codes, len(present) / values):
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


def _unfit(field: str, column: Column, codes: IntArray, records: float) -> str:
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


def mean_design_effect(snapshot: Snapshot, rows: Ints, codes: IntArray, units: IntArray) -> float:
    """Return the mean design effect of the concepts that 1 % of records have, weighted by their support."""
    has = snapshot.at("typical")[rows]
    support = np.asarray(has.sum(0)).ravel()
    common = np.flatnonzero(support >= max(10, len(rows) // 100))
    if not len(common):
        return 1.0
    alone = np.where(units >= 0, units, units.max(initial=0) + 1 + np.arange(len(units)))
    effects = design_effects(has[:, common], codes, alone, min_effect=0.0)
    return float(np.average(effects, weights=support[common]))


def shared_between(units: IntArray, codes: IntArray) -> float:
    """Return the share of the records of the first two groups whose unit is in both."""
    known = units >= 0
    both = np.intersect1d(units[known & (codes == 0)], units[known & (codes == 1)])
    return float(np.isin(units[codes < 2], both).mean())
