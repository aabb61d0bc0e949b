"""Drift over an ordered field, whose values are periods: tests with a controlled error rate by family."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit, logit

from saeindex.analysis.diff.findings import headlines, illustrated, nothing_tested
from saeindex.analysis.diff.results import Finding
from saeindex.analysis.drift.results import Drift, Kind, Period, Trend
from saeindex.analysis.drift.trend_test import TrendTest, run_trends
from saeindex.analysis.stats import stratified
from saeindex.analysis.stats.design import Design, design_of, mean_design_effect
from saeindex.analysis.stats.evidence import evidence_of
from saeindex.analysis.stats.groups import Groups
from saeindex.analysis.stats.options import (
    AUTO,
    MAX_PERIODS,
    MIN_PERIODS,
    DriftOptions,
    Family,
    described_correction,
)
from saeindex.analysis.stats.stratified import StratifiedCounts, Tested
from saeindex.errors import InvalidInputError

if TYPE_CHECKING:
    from saeindex.collection.snapshot import Column, Snapshot
    from saeindex.types import Doubles, Ints

# Records of one value of the field are taken to share an origin (a year's one speech) from this design
# effect on, measured between the values of a period; drift inside a period makes it no larger than that.
ONE_ORIGIN = 1.5


def drift(
    snapshot: Snapshot,
    over: str,
    rows: Ints | None = None,
    order: Sequence[Any] | None = None,
    options: DriftOptions = DriftOptions(),
) -> Drift:
    """Return what drifts over a field of some records (all, where ``rows`` is None); see :class:`Drift`."""
    periods = periods_of(snapshot, over, rows, order, options.periods)
    design = drift_design(snapshot, periods, options)
    tested: dict[Family, int] = {}
    findings: dict[Family, tuple[Trend, ...]] = {}
    groups = periods.groups
    why = design.not_comparable(groups)
    for family in options.families:
        tested[family], findings[family] = 0, ()
        if why:
            continue
        evidence = evidence_of(
            snapshot, groups.pooled, family, options.level, options.min_support, options.seed
        )
        test = run_trends(evidence, groups.codes, periods.scores, design, options.method)
        tested[family] = len(test)
        findings[family] = trends_of(snapshot, periods, test, options.alpha, options.examples)
    return Drift(
        over=over,
        periods=periods.periods,
        per=periods.per,
        alpha=options.alpha,
        method=trend_method_of(design, options),
        level=options.level,
        tested=tested,
        findings=findings,
        strata=design.by,
        unit=design.unit,
        notes=(*groups.notes, *design.notes),
        field=snapshot.field,
        not_comparable=why or nothing_tested(tested, options.min_support),
    )


def drift_design(snapshot: Snapshot, periods: Periods, options: DriftOptions) -> Design:
    """Return the design of a drift: that of a comparison of the periods, where the field may be the unit."""
    groups = periods.groups
    options_of_design = options.strata, options.length_bins, False
    design = design_of(snapshot, groups, options.unit, *options_of_design, never=(periods.over,))
    if options.unit != AUTO or design.unit is not None or periods.values <= len(periods.periods):
        return design
    codes = snapshot.column(periods.over).take(groups.pooled).codes
    effect = mean_design_effect(snapshot, groups.pooled, groups.codes, codes)
    if effect < ONE_ORIGIN:
        return design
    note = f"records of one {periods.over} are alike (design effect {effect:.1f}): it is the unit"
    own = design_of(snapshot, groups, periods.over, *options_of_design)
    return replace(own, notes=(note, *design.notes))


def trend_method_of(design: Design, options: DriftOptions) -> str:
    """Return the tests that were used, in words."""
    test = "Cochran-Armitage trend test" + (" within strata (Mantel)" if design.by else "")
    test += ", small counts by saddlepoint; change points by the best split, corrected for the search"
    if design.unit:
        test += f"; by whole units of {design.unit}"
    return f"{test}; {described_correction(options.method, options.alpha)}"


# The minimum number of records of a gathered period.
RECORDS = 25
DAYS = 365.25
# Whole numbers within these are taken for years.
YEARS = (1_000, 2_200)
_YEAR_MONTH = re.compile(r"\d{4}-\d\d")
# Digits of numbers in names of periods: as many as tell them apart.
DIGITS = (6, 9, 12, 17)


@dataclass(frozen=True, eq=False)
class Periods:
    """``periods`` of the field ``over``, early to late, and ``groups``, the rows of the snapshot in each.

    ``scores`` (P,) say where on the field's scale each is, in units of ``per``: a unit of the field, a year,
    or a step of the order. ``values`` counts the different values.
    """

    over: str
    periods: tuple[Period, ...]
    scores: Doubles
    per: str
    groups: Groups
    values: int

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the periods."""
        return tuple(one.name for one in self.periods)

    @property
    def halves(self) -> Groups:
        """Two groups, of the most equal size: early periods and late ones, in the pooled order."""
        counts, rows = np.cumsum([one.records for one in self.periods]), self.groups.rows
        at = int(np.argmin(np.abs(counts[:-1] - counts[-1] / 2))) + 1
        return Groups(("early", "late"), (np.concatenate(rows[:at]), np.concatenate(rows[at:])))


def periods_of(
    snapshot: Snapshot,
    over: str,
    rows: Ints | None = None,
    order: Sequence[Any] | None = None,
    max_periods: int = MAX_PERIODS,
) -> Periods:
    """Return the records of ``rows`` (all, where None) by period of the field ``over``.

    The field has numbers, dates (ISO 8601), or values whose ``order`` is given. Up to ``max_periods`` values
    are periods themselves; more values are gathered by quantiles. InvalidInputError if there is no order, or
    fewer than three periods.
    """
    every = np.arange(len(snapshot)) if rows is None else rows
    column = snapshot.column(over).take(every)
    places, per = _in_order(column, over, order)
    placed = np.append(places, np.nan)[column.codes]
    known = np.flatnonzero(~np.isnan(placed))
    distinct = np.unique(placed[known])
    gathered = _gathered(placed[known], distinct, max_periods)
    if len(np.unique(gathered)) < MIN_PERIODS:
        asked = f"a trend over {over}"
        do = "Use a field of three or more values; two groups are compared with diff."
        raise InvalidInputError(asked, f"{len(distinct)} different values among {len(known):,} records", do)
    inside = [known[gathered == period] for period in np.unique(gathered)]
    found = _periods(column, placed, inside)
    rows_of = tuple(np.sort(every[own]) for own in inside)
    left = len(every) - len(known)
    notes = (f"{left:,} records have no {over} in the order, and count in no period",) if left else ()
    groups = Groups(tuple(one.name for one in found), rows_of, notes)
    scores = np.array([placed[own].mean() for own in inside])
    return Periods(over, found, scores, per, groups, len(distinct))


def _periods(column: Column, placed: Doubles, inside: Sequence[Ints]) -> tuple[Period, ...]:
    """Return the periods of records with the positions ``placed``, by names that tell them apart."""
    ends = [(own[np.argmin(placed[own])], own[np.argmax(placed[own])]) for own in inside]
    values = [tuple(column.values[column.codes[end]] for end in pair) for pair in ends]
    names = list[str]()
    for digits in DIGITS:
        shown = [[_written(value, digits) for value in pair] for pair in values]
        names = [" to ".join(dict.fromkeys(pair)) for pair in shown]
        are_apart = [(a == b) == (x == y) for (a, b), (x, y) in zip(shown, values, strict=True)]
        if len(set(names)) == len(names) and all(are_apart):
            break
    described = zip(names, values, map(len, inside), strict=True)
    return tuple(Period(name, first, last, size) for name, (first, last), size in described)


def _written(value: Any, digits: int) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.0f}" if value.is_integer() else f"{value:.{digits}g}"


def _gathered(placed: Doubles, distinct: Doubles, max_periods: int) -> Ints:
    """Return the period of each record (m,): its value, or its quantile; no value is in two periods."""
    if len(distinct) <= max_periods:
        return np.searchsorted(distinct, placed)
    count = max(MIN_PERIODS, min(max_periods, len(placed) // RECORDS))
    ranks = np.searchsorted(np.sort(placed), distinct, side="left") / len(placed)
    above = np.searchsorted(np.sort(placed), distinct, side="right") / len(placed)
    period_of = np.minimum(((ranks + above) / 2 * count).astype(np.int64), count - 1)
    return period_of[np.searchsorted(distinct, placed)]


def _in_order(column: Column, over: str, order: Sequence[Any] | None) -> tuple[Doubles, str]:
    """Return the position of each value of a column (v,), NaN for none, and the unit of one step."""
    if order is not None:
        return _given(column, over, order), "step"
    readings: tuple[Callable[[Any], float], ...] = (_compact_years, float, _years)
    for read in readings:
        try:
            places = np.array([read(one) for one in column.values], np.float64)
        except (TypeError, ValueError):
            continue
        known = places[np.isfinite(places)]
        are_years = (
            len(known) and (known % 1 == 0).all() and YEARS[0] <= known.min() <= known.max() <= YEARS[1]
        )
        return places, f"unit of {over}" if read is float and not are_years else "year"
    unread = min(([one for one in column.values if not _is_read(read, one)] for read in readings), key=len)
    shown = ", ".join(str(one) for one in unread[:5])
    found = f"{len(unread):,} of {len(column.values):,} values have no order: {shown}"
    do = "Correct them, use a field of numbers or ISO dates, or give the order of its values."
    raise InvalidInputError(f"a trend over {over}", found, do)


def _is_read(read: Callable[[Any], float], value: Any) -> bool:
    try:
        read(value)
    except (TypeError, ValueError):
        return False
    return True


def _compact_years(value: Any) -> float:
    """Return the date of eight digits, such as 20240115; ValueError for another value."""
    digits = str(value)
    if isinstance(value, bool | float) or not (len(digits) == 8 and digits.isdecimal()):
        raise ValueError("not eight digits")
    if not YEARS[0] <= int(digits[:4]) <= YEARS[1]:
        raise ValueError("no year")
    return _years(digits)


def _years(value: Any) -> float:
    if isinstance(value, str) and _YEAR_MONTH.fullmatch(value):
        value = f"{value}-01"
    when = value if isinstance(value, date) else datetime.fromisoformat(value)
    seconds = 0.0 if not isinstance(when, datetime) else when.hour * 3_600 + when.minute * 60 + when.second
    return (when.toordinal() + seconds / 86_400) / DAYS


def _given(column: Column, over: str, order: Sequence[Any]) -> Doubles:
    place = {str(value): float(number) for number, value in enumerate(order)}
    present = {str(value) for value in column.values}
    absent = [str(value) for value in order if str(value) not in present]
    if absent or len(place) < len(order):
        found = f"no record has {absent[0]!r}" if absent else "a value is named twice"
        raise InvalidInputError(f"an order of {over}", found, "Name values of the field, each once.")
    return np.array([place.get(str(value), np.nan) for value in column.values])


# The minimum difference of z² between the best split and the line for a finding to be a change point; chosen
# on the fit and choose parts of four corpora: 3 % of planted lines and 94 % of planted steps are reported so.
SHARPER = 4.0
# The minimum share of records before the first occurrence of a new concept (or after the last).
ABSENT = 0.2
# The maximum number of Newton steps of a fitted line, and the step at which it ends.
FIT_ROUNDS, FITTED = 50, 1e-8


def trends_of(
    snapshot: Snapshot, periods: Periods, test: TrendTest, alpha: float, examples: int
) -> tuple[Trend, ...]:
    """Return a family's findings, one for each feature family, the largest change first, with examples."""
    every = {test.evidence.keys[column]: _described(test, periods, column, alpha)
             for column in test.found(alpha).tolist()}  # fmt: skip
    found = sorted(every.values(), key=lambda one: -abs(one.effect))
    reported = headlines([_as_finding(one) for one in found], snapshot.space, snapshot)
    shown = illustrated(snapshot, periods.halves, test.evidence, reported, examples)
    return tuple(
        replace(
            every[one.key], related=tuple(every[other.key] for other in one.related), examples=one.examples
        )
        for one in shown
    )


def _as_finding(one: Trend) -> Finding:
    group, against = ("late", "early") if one.effect > 0 else ("early", "late")
    return Finding(one.family, one.key, one.label, group, against, {}, one.effect, one.ci, 0.0, (0.0, 0.0),
                   one.p, one.q, one.support)  # fmt: skip


def _described(test: TrendTest, periods: Periods, column: int, alpha: float) -> Trend:
    own = StratifiedCounts(test.counts.k[:, :, [column]], test.counts.n)
    kind, at, bound = kind_of(test, column, alpha)
    span = float(periods.scores[-1] - periods.scores[0])
    if at is None:
        fitted = fitted_shares(own, periods.scores)
        effect = fitted[[-1]] - fitted[[0]]
        low, high = stratified.interval_of_test(test.trend.p[[column]], effect)
    else:
        step = _step(own, at, test.splits.design[[column]])
        fitted, effect, low, high = _stepped(own, at), step.effect, step.low, step.high
    low, high = stratified.agreeing(test.p[[column]], effect, low, high)
    change, ends = float(effect[0]), (float(np.maximum(low[0], -1)), float(np.minimum(high[0], 1)))
    return Trend(
        family=test.evidence.family,
        key=test.evidence.keys[column],
        label=test.evidence.labels[column],
        kind=kind,
        at=None if at is None else periods.names[at],
        shares=tuple(own.shares[:, 0].tolist()),
        fitted=tuple(fitted.tolist()),
        effect=change,
        ci=ends,
        slope=change / span,
        slope_ci=(ends[0] / span, ends[1] / span),
        p=float(test.p[column]),
        q=float(test.q[column]),
        p_trend=float(test.trend.p[column]),
        p_change=float(test.splits.p[column]),
        support=int(own.support[0]),
        design_effect=float(test.design[column]),
        bound=bound,
    )


def fitted_shares(own: StratifiedCounts, scores: Doubles) -> Doubles:
    """Return the shares (P,) of a logistic line: one slope, and an intercept for each stratum.

    By Newton's method; the shares of strata are weighted by their records.
    """
    k, n = own.k[:, :, 0], own.n
    x = scores - (n * scores).sum() / n.sum()
    x = x / np.abs(x).max()
    intercepts, slope = logit((k.sum(1) + 0.5) / (n.sum(1) + 1)), 0.0
    for _ in range(FIT_ROUNDS):
        share = expit(intercepts[:, None] + slope * x)
        weight, left = n * share * (1 - share) + 1e-9, k - n * share
        of_stratum, cross = weight.sum(1), (weight * x).sum(1)
        information = (weight * x**2).sum() - (cross**2 / of_stratum).sum()
        step = ((left * x).sum() - (cross * left.sum(1) / of_stratum).sum()) / max(information, 1e-12)
        slope += float(np.clip(step, -1, 1))
        intercepts = intercepts + np.clip((left.sum(1) - cross * step) / of_stratum, -2, 2)
        if abs(step) < FITTED:
            break
    return np.asarray((n.sum(1) / n.sum()) @ expit(intercepts[:, None] + slope * x))


def _stepped(own: StratifiedCounts, at: int) -> Doubles:
    """Return the shares (P,) of the periods before ``at`` and from it on, weighted alike over strata."""
    sides = (slice(None, at), slice(at, None))
    k, n = (np.stack([part[:, side].sum(1) for side in sides]) for part in (own.k[:, :, 0], own.n))
    weights = n[0] * n[1] / np.maximum(n.sum(0), 1.0)
    before, after = ((weights * k / np.maximum(n, 1.0)).sum(1) / weights.sum()).tolist()
    return np.repeat([before, after], [at, own.n.shape[1] - at])


def kind_of(test: TrendTest, column: int, alpha: float) -> tuple[Kind, int | None, float | None]:
    """Return the kind of a finding, the period at which it changes, and the bound of a zero share."""
    own = StratifiedCounts(test.counts.k[:, :, [column]], test.counts.n)
    design, is_line = float(test.splits.design[column]), test.trend.p[column] <= test.splits.p[column]
    up = (test.slope if is_line else test.splits.z)[column] > 0
    absence = _absence(own, bool(up), design, alpha)
    if absence is not None:
        return ("new" if up else "vanished"), *absence
    gain = test.splits.z[column] ** 2 - test.trend.z[column] ** 2
    is_sharper = gain >= SHARPER or test.trend.p[column] > 2 * stratified.SMALL_TAIL
    if is_sharper and test.splits.p[column] <= alpha:
        return "change", int(test.splits.at[column]), None
    return "trend", None, None


def _absence(own: StratifiedCounts, up: bool, design: float, alpha: float) -> tuple[int, float] | None:
    """Return the period from which a concept or word is new (or gone), and its bound.

    Of 0 in n records the share is at most 3 over n (the rule of three), n over the design effect; that must
    be less than half of the share on the other side, and the two sides must differ.
    """
    counts, records = own.k.sum(0)[:, 0], own.n.sum(0)
    there = np.flatnonzero(counts)
    at = int(there[0]) if up else int(there[-1]) + 1
    if not 0 < at < len(counts):
        return None
    sides = (slice(None, at), slice(at, None)) if up else (slice(at, None), slice(None, at))
    absent, others = records[sides[0]], counts[sides[1]].sum() / records[sides[1]].sum()
    bound = 3 * design / float(absent.sum())
    if absent.sum() < ABSENT * records.sum() or bound > others / 2:
        return None
    differs = _step(own, at, np.array([design])).p[0] <= alpha / len(counts)
    return (at, bound) if differs else None


def _step(own: StratifiedCounts, at: int, design: Doubles) -> Tested:
    """Compare the periods from ``at`` on with the periods before."""
    k, n = (np.stack([part[:, at:].sum(1), part[:, :at].sum(1)], axis=1) for part in (own.k, own.n))
    return stratified.compare_groups(StratifiedCounts(k, n).pair(0, 1), design)
