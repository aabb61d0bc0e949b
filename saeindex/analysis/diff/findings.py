"""Findings from tests: related ones in one row, examples, methods in words, and how robust they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import combinations
from math import comb
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from saeindex.analysis.diff.results import Confirmation, Detectable, Finding, Hint, StratumChange
from saeindex.analysis.examples import examples_of
from saeindex.analysis.stats.evidence import Evidence, evidence_of
from saeindex.analysis.stats.options import FAMILY, DiffOptions, Family, described_correction
from saeindex.analysis.stats.two_by_two import binomial_tail, two_sided
from saeindex.analysis.stats.unit_totals import FamilyTest, run_tests
from saeindex.collection.sample import tokens
from saeindex.report.numbers import series
from saeindex.sae.metrics import unit_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.analysis.stats.design import Design
    from saeindex.analysis.stats.groups import Groups
    from saeindex.collection.snapshot import Snapshot
    from saeindex.features import FeatureSpace
    from saeindex.types import Doubles, IntArray

    Held: TypeAlias = dict[Family, dict[int | str, bool]]

# The cosine of two features' decoder directions from which they share a row.
SAME = 0.6
# A group with less than one record for so many of the largest one is small.
SMALL = 10
# The least cosine of a name with what differs, and how much a given name counts, since people know it.
LEAST_COSINE, GIVEN_WORTH = 0.01, 1.5
# Findings of each family with examples.
ILLUSTRATED = 20
# What a group is compared with where any difference between several groups is tested.
OTHERS = "the others"


def headlines(
    found: Sequence[Finding], space: FeatureSpace, snapshot: Snapshot | None = None
) -> tuple[Finding, ...]:
    """Return one finding for each family of features and group, with the other findings as ``related``.

    The headline is the first, or in a ``snapshot`` with evidence that of which most records speak more surely
    than of the others; words and clusters stay as they are.
    """
    if not found or found[0].family != "concepts":
        return tuple(found)
    found = telling(found, space)
    same = alike(space, [int(one.key) for one in found])
    rows: dict[int, list[Finding]] = {}
    for place, one in enumerate(found):
        near = (first for first in rows if same[first, place] and found[first].group == one.group)
        rows.setdefault(next(near, place), []).append(one)
    if snapshot is not None and snapshot.has_evidence:
        rows = {place: _surest_first(own, snapshot) for place, own in rows.items()}
    return tuple(replace(first, related=tuple(others)) for first, *others in rows.values())


def _surest_first(found: list[Finding], snapshot: Snapshot) -> list[Finding]:
    """Return alike findings, first the one of which most records speak more surely than of the others."""
    if len(found) == 1:
        return found
    said = snapshot.percents([int(one.key) for one in found])
    wins = np.bincount(said[said.any(1)].argmax(1), minlength=len(found))
    first = int(wins.argmax())
    return [found[first], *found[:first], *found[first + 1 :]]


def telling(found: Sequence[Finding], space: FeatureSpace) -> list[Finding]:
    """Return findings of concepts by size of the difference, times how well the name says what differs.

    All findings of a group together, each with its feature's direction, are what differs; a name counts with
    the root of its cosine with that. Concepts with a weak label come last. For the first finding, effects
    alone are the surest order: on choose parts its AUROC is .740 (.731 by this order, .725 without the root),
    but one of the first five names a class in .336 of comparisons (.389, .400).
    """
    keys = [int(one.key) for one in found]
    effects = np.abs([one.effect for one in found])
    parts = space.directions[keys] * effects[:, None]
    groups, against = (np.array([getattr(one, side) for one in found]) for side in ("group", "against"))
    labels, names = [space.labels[key] for key in keys], space.label_vectors[keys]
    worth = np.empty(len(found))
    for name in set(groups.tolist()):
        own = groups == name
        towards = unit_rows((parts[own].sum(0) - parts[against == name].sum(0))[None])[0]
        worth[own] = effects[own] * np.sqrt(np.maximum(names[own] @ towards, LEAST_COSINE))
    worth *= [GIVEN_WORTH if label.is_given else 1.0 for label in labels]
    is_weak = np.array([label.is_weak for label in labels], bool)
    return [found[place] for place in np.lexsort((-worth, is_weak)).tolist()]


def alike(space: FeatureSpace, features: Sequence[int]) -> NDArray[np.bool_]:
    """Return which features (f, f) are of one family or have nearly the same direction."""
    family_of = {feature: family.id for family in reversed(space.families) for feature in family.features}
    families = np.array([family_of.get(feature, -1 - place) for place, feature in enumerate(features)])
    directions = space.directions[list(features)]
    return np.asarray((families[:, None] == families) | (directions @ directions.T >= SAME))


def findings_of(
    names: Sequence[str], test: FamilyTest, alpha: float, replicated: Mapping[int | str, bool]
) -> list[Finding]:
    """Return a family's findings, the largest difference first."""
    found, compared, sides = [], test.comparison, (*names, OTHERS)
    for place in test.found(alpha).tolist():
        column, t = int(compared.column[place]), compared.tested
        first, second = sides[compared.group[place]], sides[compared.against[place]]
        if t.effect[place] < 0:
            first, second = second, first
        key = test.evidence.keys[column]
        found.append(
            Finding(
                family=test.evidence.family,
                key=key,
                label=test.evidence.labels[column],
                group=first,
                against=second,
                freq={name: float(test.shares[g, column]) for g, name in enumerate(names)},
                effect=float(t.effect[place]),
                ci=(float(t.low[place]), float(t.high[place])),
                log_odds=float(t.log_odds[place]),
                log_odds_ci=(float(t.log_odds_low[place]), float(t.log_odds_high[place])),
                p=float(t.p[place]),
                q=float(test.q[place]),
                support=int(test.support[column]),
                design_effect=float(test.design[column]),
                replicated=replicated.get(key),
            )
        )
    return found


def power_of(test: FamilyTest, sizes: Mapping[str, int], options: DiffOptions) -> list[Detectable]:
    """Return the detectable differences of the family, at the mean design effect; for two groups only.

    Where there are fewer ways to assign the units to the groups than tests, nothing is detectable.
    """
    if len(sizes) != 2 or not len(test):
        return []
    family, threshold = test.evidence.family, test.threshold(options.alpha)
    if test.pairs is not None:
        shares = [detectable(base, test.pairs, test.pairs, threshold, is_paired=True) for base in BASES]
    elif test.units is not None and comb(sum(test.units), test.units[0]) < 1 / threshold:
        shares = [None] * len(BASES)
    else:
        effect = float(np.average(test.design, weights=test.support))
        n1, n2 = (size / effect for size in sizes.values())
        shares = [detectable(base, n1, n2, threshold) for base in BASES]
    return [Detectable(family, base, share) for base, share in zip(BASES, shares, strict=True)]


def method_of(design: Design, n_groups: int, options: DiffOptions) -> str:
    """Return the test that was used, in words."""
    if design.is_paired:
        test = f"McNemar's test, mid-p, within {design.unit}"
    elif design.by:
        test = "Mantel-Haenszel test, mid-p by saddlepoint"
    else:
        test = "Fisher's test, mid-p; large counts by saddlepoint"
    if design.unit and not design.is_paired:
        test += f", by whole units of {design.unit}"
    if n_groups > 2:
        test += "; each group against every other, the weakest counts"
    return f"{test}; {described_correction(options.method, options.alpha)}"


def small_groups(sizes: Mapping[str, int]) -> list[str]:
    """Return a note on groups, of three or more, that have less than a tenth of the largest one's records."""
    small = [name for name, size in sizes.items() if SMALL * size < max(sizes.values())]
    if len(sizes) < 3 or not small:
        return []
    listed = ", ".join(f"{name} ({sizes[name]:,})" for name in small)
    return [
        f"a group must differ from each other group, also from small ones: {listed}. "
        "Compare groups without them to find what sets the others apart"
    ]


def overlap_of(groups: Groups, design: Design) -> list[str]:
    """Return a note if many records have none to be compared with, or some groups have no such records."""
    if len(groups.names) != 2:
        pairs = combinations(enumerate(groups.names), 2)
        apart = [f"{a} and {b}" for (i, a), (j, b) in pairs if not design.comparable(groups)[i, j]]
        found = f"not comparable, as their records are in no stratum together: {'; '.join(apart)}"
        return [found] if apart else []
    alone = ~_is_compared(groups, design)
    if alone.mean() < 0.05 or alone.all():
        return []
    return [
        f"{alone.sum():,} of {len(alone):,} records do not count: in their strata one group has no record"
    ]


def _is_compared(groups: Groups, design: Design) -> NDArray[np.bool_]:
    """Return which records (m,) of two groups have one of the other group in their stratum."""
    in_first, in_second = (np.unique(design.strata[groups.codes == g]) for g in (0, 1))
    return np.isin(design.strata, np.intersect1d(in_first, in_second))


def compared_sizes(groups: Groups, design: Design) -> dict[str, int]:
    """Return the number of records of each group; of two groups only those that count."""
    if len(groups.names) != 2:
        return groups.sizes
    sizes = np.bincount(groups.codes[_is_compared(groups, design)], minlength=2)
    return dict(zip(groups.names, sizes.tolist(), strict=True))


def nothing_tested(tested: Mapping[Family, int], min_support: int) -> str:
    """Return why nothing was tested in any family, "" if something was, or no family was looked at."""
    if not tested or any(tested.values()):
        return ""
    kinds = series([FAMILY[family].lower() for family in tested])
    return f"of {kinds}, none is in {min_support} records or more, and missing in as many"


def illustrated(
    snapshot: Snapshot, groups: Groups, evidence: Evidence, found: Sequence[Finding], count: int
) -> tuple[Finding, ...]:
    """Return findings, the first of them with up to ``count`` examples from each side."""
    if count < 1:
        return tuple(found)
    place = {key: column for column, key in enumerate(evidence.keys)}
    columns, codes = evidence.has.tocsc(), groups.codes
    with_examples = []
    for one in found[:ILLUSTRATED]:
        holders = columns[:, place[one.key]].indices
        examples = {}
        for name in (one.group, one.against):
            own = groups.pooled[holders[codes[holders] == groups.names.index(name)]]
            features = [int(one.key)] if one.family == "concepts" else []
            if features and len(own):  # else as they are, at random
                own = own[np.argsort(-snapshot.strength(own, features[0]), kind="stable")]
            examples[name] = examples_of(snapshot, own[:count].tolist(), features, _words(one))
        with_examples.append(replace(one, examples=examples))
    return (*with_examples, *found[ILLUSTRATED:])


def _words(one: Finding) -> tuple[str, ...]:
    """Return the words that are a finding, or that its label names."""
    name = one.label.removesuffix(" (weak)")
    wanted = {str(one.key)} if one.family in ("words", "style") else tokens(name)
    return tuple(sorted(word for word in wanted if word.isalnum()))


def found_between(
    snapshot: Snapshot,
    groups: Groups,
    design: Design,
    options: DiffOptions,
    is_wanted: Callable[[Finding], bool],
) -> tuple[dict[Family, tuple[Finding, ...]], dict[Family, int], str]:
    """Return the wanted findings of each family, one to a feature family, and how many were tested.

    And why nothing could be compared, "" if something was.
    """
    found: dict[Family, tuple[Finding, ...]] = dict.fromkeys(options.families, ())
    counts: dict[Family, int] = dict.fromkeys(options.families, 0)
    if why := design.not_comparable(groups):
        return found, counts, why
    for family in options.families:
        evidence = evidence_of(
            snapshot, groups.pooled, family, options.level, options.min_support, options.seed
        )
        test = run_tests(evidence, groups.codes, len(groups.names), design, options.method)
        wanted = [one for one in findings_of(groups.names, test, options.alpha, {}) if is_wanted(one)]
        reported = headlines(wanted, snapshot.space, snapshot)
        found[family] = illustrated(snapshot, groups, evidence, reported, options.examples)
        counts[family] = len(test)
    return found, counts, nothing_tested(counts, options.min_support)


HOLDS = 0.05
# The minimum number of records of a group in each half for a confirmation.
MIN_RECORDS = 10
NAMED = 5
# The shares of the second group in the table of power, and the required power.
BASES = (0.001, 0.01, 0.05, 0.2)
ASKED = 0.8
DRAWS, STEPS, SEED = 400, 14, 20261120
# Hints are shrunk to the share of all records as by so many further records with that share.
PRIOR = 10.0
MIN_Z = 1.5


def confirmed(
    groups: Groups, design: Design, tests: Mapping[Family, FamilyTest], options: DiffOptions
) -> tuple[tuple[Confirmation, ...], Held]:
    """Return the number of findings of a random half of the units that hold in the other, and which."""
    units = groups.pooled if design.units is None else design.units
    # All records of a unit are in the same half.
    in_first = (np.random.default_rng(options.seed).random(int(units.max(initial=0)) + 1) < 0.5)[units]
    halves = in_first, ~in_first
    sizes = [np.bincount(groups.codes[side], minlength=len(groups.names)).min() for side in halves]
    if not options.confirm or min(sizes) < MIN_RECORDS:
        return (), {}
    found, confirmed_by_family = [], {}
    for family, test in tests.items():
        if not len(test.found(options.alpha)):
            continue
        first, second = (_tested_on(side, test, groups, design, options) for side in halves)
        at, again = first.comparison, second.comparison
        pairs = zip(again.column.tolist(), again.group.tolist(), strict=True)
        places = {pair: place for place, pair in enumerate(pairs)}
        verdicts: dict[int | str, bool] = {}
        for place in first.found(options.alpha).tolist():
            column, group = int(at.column[place]), int(at.group[place])
            known, tested = places.get((column, group)), again.tested
            tails = tested.more if at.tested.effect[place] > 0 else tested.less
            verdicts[test.evidence.keys[column]] = known is not None and bool(
                max(tails[known], tested.p[known] / 2) <= HOLDS
            )
        found.append(Confirmation(family, len(verdicts), sum(verdicts.values())))
        confirmed_by_family[family] = verdicts
    return tuple(found), confirmed_by_family


def _tested_on(
    side: NDArray[np.bool_], test: FamilyTest, groups: Groups, design: Design, options: DiffOptions
) -> FamilyTest:
    rows = np.flatnonzero(side)
    evidence = replace(test.evidence, has=test.evidence.has[rows])
    units = None if design.units is None else design.units[rows]
    own = replace(design, strata=design.strata[rows], units=units)
    return run_tests(evidence, groups.codes[rows], len(groups.names), own, options.method)


def changes_of(
    groups: Groups, design: Design, tests: Mapping[Family, FamilyTest], options: DiffOptions
) -> tuple[StratumChange, ...]:
    """Return, for each family and each stratum field, the findings that disappear with it."""

    def found(test: FamilyTest) -> dict[tuple[int, int], str]:
        """Return the findings by column and group, with their labels."""
        at, labels = test.comparison, test.evidence.labels
        places = test.found(options.alpha).tolist()
        return {(int(at.column[i]), int(at.group[i])): labels[int(at.column[i])] for i in places}

    def tested(test: FamilyTest, strata: IntArray) -> FamilyTest:
        own = replace(design, strata=strata)
        return run_tests(test.evidence, groups.codes, len(groups.names), own, options.method)

    changes = []
    for family, test in tests.items() if design.by else ():
        if family == "named":
            continue
        plain = found(tested(test, np.zeros_like(design.strata)))
        for field, strata in design.fields.items():
            own = test if len(design.fields) == 1 else tested(test, strata - strata.min(initial=0))
            alone = found(own)
            gone = [label for key, label in plain.items() if key not in alone]
            changes.append(StratumChange(family, field, len(plain), len(alone), tuple(gone[:NAMED])))
    return tuple(changes)


def power(
    first: float, second: float, n1: float, n2: float, threshold: float, is_paired: bool = False
) -> float:
    """Return how often shares ``first`` and ``second`` give p of at most ``threshold``, by simulation.

    ``n1`` and ``n2`` are records, over the design effect where they are not independent; of a paired test,
    both are the number of pairs, of one record each.
    """
    rng = np.random.default_rng(SEED)
    if is_paired:
        only_first, only_second = first * (1 - second), second * (1 - first)
        up, down, _ = rng.multinomial(
            round(n1), [only_first, only_second, 1 - only_first - only_second], DRAWS
        ).T
        tail = binomial_tail(up.astype(np.float64), (up + down).astype(np.float64))
        return float(((up > down) & (2 * tail <= threshold)).mean())
    k1 = rng.binomial(max(1, round(n1)), first, DRAWS)
    k2 = rng.binomial(max(1, round(n2)), second, DRAWS)
    p = two_sided(k1, max(1, round(n1)), k2, max(1, round(n2)))
    return float(((p <= threshold) & (k1 / n1 > k2 / n2)).mean())


@lru_cache(maxsize=256)
def detectable(base: float, n1: float, n2: float, threshold: float, is_paired: bool = False) -> float | None:
    """Return the share of the first group that differs significantly from ``base`` with power 0.8.

    None if even a share of 1 is not enough.
    """
    if power(1.0, base, n1, n2, threshold, is_paired) < ASKED:
        return None
    low, high = base, 1.0
    for _ in range(STEPS):
        middle = (low + high) / 2 if low > high / 4 else np.sqrt(max(low, 1e-6) * high)
        if power(float(middle), base, n1, n2, threshold, is_paired) >= ASKED:
            high = float(middle)
        else:
            low = float(middle)
    return high


# Hints are ranked by the z-score of the log-odds with an informative prior (Monroe et al. 2008), which finds
# rare evidence that is not significant in any test, and much that is due to chance.
def hints_of(
    groups: Mapping[str, int], tests: Mapping[Family, FamilyTest], options: DiffOptions
) -> tuple[Hint, ...]:
    """Return up to ``options.hints`` hints of each family, each for the group that has the evidence more."""
    found: list[Hint] = []
    names = tuple(groups)
    for family, test in tests.items():
        if not len(test) or family == "named":
            continue
        known = set(test.comparison.column[test.found(options.alpha)].tolist())
        sizes, own = np.array(list(groups.values()), np.float64)[:, None], test.evidence
        z, log_odds = _log_odds(test.shares * sizes, sizes, test.support)
        of_family: list[Hint] = []
        for place in np.argsort(-z, axis=None, kind="stable")[: 4 * options.hints + len(known)].tolist():
            at = group, column = divmod(place, z.shape[1])
            if z[at] < MIN_Z or len(of_family) >= options.hints:
                break
            if column not in known:
                named = own.keys[column], own.labels[column], names[group]
                of_family.append(Hint(family, *named, float(log_odds[at]), int(test.support[column])))
        found += of_family
    return tuple(found)


def _log_odds(counts: Doubles, sizes: Doubles, support: Doubles) -> tuple[Doubles, Doubles]:
    """Return the z-score and the log-odds of each group against the others (G, f)."""
    prior = PRIOR * support / sizes.sum()
    ours, theirs = counts + prior, support - counts + prior
    n_ours, n_theirs = sizes + PRIOR, sizes.sum() - sizes + PRIOR
    odds = np.log(ours / np.maximum(n_ours - ours, 1e-9))
    odds -= np.log(theirs / np.maximum(n_theirs - theirs, 1e-9))
    return odds / np.sqrt(1 / ours + 1 / theirs), odds
