"""The sampling design of a comparison: units, pairs and strata."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as made
from typing import TYPE_CHECKING

import numpy as np

from saeindex.analysis.stats.choices import AUTO
from saeindex.analysis.stats.unit_detection import PAIRED, detected_unit, shared_between
from saeindex.config import DOCUMENT
from saeindex.errors import InvalidInputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.analysis.stats.groups import Groups
    from saeindex.collection.snapshot import Snapshot

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

    strata: NDArray[np.int32]
    units: NDArray[np.int32] | None = None
    is_paired: bool = False
    fields: Mapping[str, NDArray[np.int32]] = made(default_factory=dict)
    unit: str | None = None
    notes: tuple[str, ...] = ()

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
    units = None if unit is None else _unit_codes(snapshot, rows, unit)
    is_paired = _is_paired(units, codes, len(groups.names), paired)
    fields = {field: snapshot.column(field).take(rows).codes for field in strata}
    bins = _bins(snapshot, rows, codes, length_bins)
    if bins > 1:
        fields[f"length ({bins} bins)"] = _length_codes(np.asarray(snapshot.lengths)[rows], bins)
    stacked = _combined(list(fields.values()), len(rows))
    if is_paired:
        notes.append(f"paired by {unit}: records of a unit are compared with each other only")
    return Design(stacked, units, is_paired, fields, unit, tuple(notes))


def _unit_codes(snapshot: Snapshot, rows: NDArray[np.int64], unit: str) -> NDArray[np.int32]:
    """Return the unit of each record (m,); a record without a value is a unit of its own."""
    codes = snapshot.column(unit).take(rows).codes.astype(np.int64)
    alone = codes.max(initial=0) + 1 + rows
    _, dense = np.unique(np.where(codes >= 0, codes, alone), return_inverse=True)
    return dense.astype(np.int32)


def _is_paired(
    units: NDArray[np.int32] | None, codes: NDArray[np.int32], n_groups: int, asked: bool | None
) -> bool:
    if asked and (units is None or n_groups != 2):
        found = f"{n_groups} groups" if n_groups != 2 else "no unit"
        raise InvalidInputError("a paired comparison", found, "Give two groups and the unit that pairs them.")
    if units is None or n_groups != 2 or asked is False:
        return False
    share = shared_between(units, codes)
    if asked and not share:
        raise InvalidInputError(
            "a paired comparison", "no unit has records in both groups", "Name another unit, or none."
        )
    return bool(asked) or share >= PAIRED


def _bins(snapshot: Snapshot, rows: NDArray[np.int64], codes: NDArray[np.int32], asked: int | None) -> int:
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


def _length_codes(lengths: NDArray[np.int32], bins: int) -> NDArray[np.int32]:
    """Return the quantile of each length among all lengths (m,)."""
    return binned(lengths, length_edges(lengths, bins))


def length_edges(lengths: NDArray[np.int32], bins: int) -> NDArray[np.float64]:
    """Return the distinct lengths between the quantiles."""
    return np.unique(np.quantile(lengths, np.linspace(0, 1, bins + 1)[1:-1]))


def binned(lengths: NDArray[np.int32], edges: Sequence[float] | NDArray[np.float64]) -> NDArray[np.int32]:
    """Return the bin of each length (m,)."""
    return np.searchsorted(np.asarray(edges), lengths, side="right").astype(np.int32)


def _combined(columns: Sequence[NDArray[np.int32]], count: int) -> NDArray[np.int32]:
    """Return the code of each record's combination of values (m,)."""
    if not columns:
        return np.zeros(count, np.int32)
    _, codes = np.unique(np.stack(columns, 1), axis=0, return_inverse=True)
    combined = codes.ravel().astype(np.int32)
    if combined.max(initial=0) >= MAX_STRATA:
        raise InvalidInputError(
            "strata", f"{int(combined.max()) + 1:,} combinations of values",
            f"Use fields of fewer values, at most {MAX_STRATA:,} combinations.",
        )  # fmt: skip
    return combined
