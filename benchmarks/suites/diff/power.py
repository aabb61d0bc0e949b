"""Power of a comparison: classes planted in one of two groups, at known shares."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from dataclasses import field as made
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from benchmarks.snapshots import labelled, space_of_index
from benchmarks.suites.diff.calibration import ALPHA, MIN_SUPPORT, pair
from saeindex.analysis.diff.findings import power
from saeindex.analysis.stats.design import Design
from saeindex.analysis.stats.evidence import evidence_of
from saeindex.analysis.stats.options import FAMILIES
from saeindex.analysis.stats.unit_totals import run_tests

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    from saeindex.analysis.stats.groups import Groups
    from saeindex.analysis.stats.options import Family
    from saeindex.analysis.stats.unit_totals import FamilyTest
    from saeindex.collection.snapshot import Snapshot

# Evidence, with its shares inside a class and outside.
Informative: TypeAlias = dict[int | str, tuple[float, float]]
# Corpora, the field whose values are planted, and the kind of the field.
FIELDS = {
    "stackoverflow_titles": ("metadata.tag", "topic"),
    "arxiv_heldout": ("metadata.categories", "topic"),
    "clinc150": ("metadata.domain", "topic"),
    "medquad": ("metadata.question_type", "function"),
    "product_reviews": ("metadata.product", "topic"),
    "scicite": ("metadata.citation_intent", "function"),
    "goemotions": ("metadata.emotion", "affect"),
}
SHARES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
GROUP = 2_000
N_INFORMATIVE = 5
# Random beginnings of the clusters of a run: with one, power on arXiv varied from .46 to .69. They take most
# of the time of this suite.
CLUSTERINGS = 2
OTHERS = tuple(family for family in FAMILIES if family != "clusters")
# Minimum records of a class: to measure its informative evidence, and to be planted.
MIN_KNOWN, MIN_PLANTED = 30, 40
# Abstracts of the fit part on which the evidence of arXiv's categories is measured.
KNOWN_ABSTRACTS = 20_000
# Rule of interp_embed: features whose shares differ by more than this are findings, at most the 200 largest.
RULE, MAX_RULE = 0.03, 200
PRIOR = 500.0


@dataclass(frozen=True, eq=False)
class Planting:
    """A corpus: the records to compare, and the ``known`` ones on which informative evidence is measured."""

    name: str
    field: str
    kind: str
    snapshot: Snapshot
    known: Snapshot
    _informative: dict[tuple[Any, str], Informative] = made(default_factory=dict)

    @classmethod
    def of(cls, name: str) -> Planting:
        """Read a corpus."""
        field, kind = FIELDS[name]
        space = space_of_index(name)
        known = (
            labelled("arxiv_train", ("fit",), KNOWN_ABSTRACTS, space=space)
            if name == "arxiv_heldout"
            else labelled(name, ("fit", "choose"), space=space)
        )
        return cls(name, field, kind, labelled(name, space=space), known)

    @cached_property
    def classes(self) -> list[Any]:
        """The values with enough records, and enough records without them."""
        values, member = self.snapshot.membership(self.field)
        known_values, known_member = self.known.membership(self.field)
        sizes = np.asarray(member.sum(0)).ravel()
        known = dict(zip(map(str, known_values), np.asarray(known_member.sum(0)).ravel(), strict=True))
        return [
            value
            for value, size in zip(values, sizes, strict=True)
            if size >= MIN_PLANTED
            and known.get(str(value), 0) >= MIN_KNOWN
            and size <= len(self.snapshot) / 2
        ]

    def having(self, value: Any, is_known: bool = False) -> NDArray[np.bool_]:
        """Return which of the records to compare, or of the known ones, have a value."""
        values, member = self._members[is_known]
        mask: NDArray[np.bool_] = member[:, values.index(value)].toarray().ravel() > 0
        return mask

    @cached_property
    def _members(self) -> tuple[tuple[tuple[Any, ...], csr_matrix], ...]:
        return self.snapshot.membership(self.field), self.known.membership(self.field)

    def size(self, value: Any) -> int:
        """Return how many records a group can have if this class is planted."""
        return min(GROUP, int((~self.having(value)).sum()) // 2)

    @cached_property
    def truth(self) -> dict[str, tuple[tuple[int | str, ...], csr_matrix]]:
        """Which known records have each concept and word, with the keys of the columns."""
        listed, vocabulary = self.known.listed, self.known.vocabulary
        return {
            "concepts": (tuple(listed.tolist()), self.known.at("typical").tocsr()[:, listed]),
            "words": (tuple(vocabulary), self.known.words),
        }

    def informative(self, value: Any, family: str) -> Informative:
        """Return the five most informative pieces of evidence of a class, with shares inside and outside."""
        if (value, family) not in self._informative:
            keys, has = self.truth[family]
            self._informative[value, family] = most_informative(keys, has, self.having(value, is_known=True))
        return self._informative[value, family]


def most_informative(keys: Sequence[int | str], has: csr_matrix, inside: NDArray[np.bool_]) -> Informative:
    """Return the five columns whose shares differ most between ``inside`` (m,) and the others."""
    own, others = (np.asarray(has[rows].mean(0)).ravel() for rows in (inside, ~inside))
    top = np.argsort(others - own, kind="stable")[:N_INFORMATIVE]
    return {keys[i]: (float(own[i]), float(others[i])) for i in top.tolist()}


def planted(
    planting: Planting, runs: int, shares: Sequence[float], seed: int = 0
) -> Iterator[dict[str, Any]]:
    """Yield the results of each run: by family, by interp_embed's rule and by words' log-odds."""
    rng = np.random.default_rng(seed)
    bounds = chance_bounds(planting, rng)
    for run in range(runs):
        value = planting.classes[run % len(planting.classes)]
        inside = planting.having(value)
        n = planting.size(value)
        for share in shares:
            count = round(share * n)
            if count <= int(inside.sum()):
                others = rng.permutation(np.flatnonzero(~inside))[: 2 * n - count]
                chosen = rng.permutation(np.flatnonzero(inside))[:count]
                first = np.concatenate([chosen, others[: n - count]])
                row = {"corpus": planting.name, "kind": planting.kind, "share": share, "n": n}
                yield row | one_run(planting, value, first, others[n - count :], share, bounds, run)


def one_run(
    planting: Planting,
    value: Any,
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    share: float,
    bounds: dict[str, float],
    seed: int,
) -> dict[str, Any]:
    """Compare two groups; return for each method whether its findings include a true finding.

    Clusters begin at random: their share is that of several beginnings, and so is that of any family.
    """
    groups = pair(first, second)
    found: dict[str, Any] = {"clusters": _by_clusters(planting, value, groups, seed)}
    for family in OTHERS:
        test = _tested(planting, groups, family, seed)
        informative = planting.informative(value, family)
        found[family] = bool(higher_in_first(test, ALPHA) & informative.keys())
        found |= predicted(test, informative, share, len(first), family)
        if family == "words":
            z = log_odds(test, len(first), len(second))
            found["log_odds"] = bool(keys_of(test, np.argsort(-z)[:20]) & informative.keys())
            found["log_odds_at_ours"] = bool(
                keys_of(test, np.flatnonzero(z > bounds["z"])) & informative.keys()
            )
        if family == "concepts":
            difference = test.shares[0] - test.shares[1]
            by_rule = np.argsort(-np.abs(difference), kind="stable")[:MAX_RULE]
            by_rule = by_rule[difference[by_rule] > RULE]
            found["rule"] = bool(keys_of(test, by_rule) & informative.keys())
            strict = np.flatnonzero(difference > bounds["difference"])
            found["rule_at_ours"] = bool(keys_of(test, strict) & informative.keys())
    found["any"] = 1.0 if any(found[family] for family in OTHERS) else found["clusters"]
    return found


def _tested(planting: Planting, groups: Groups, family: Family, seed: int) -> FamilyTest:
    evidence = evidence_of(planting.snapshot, groups.pooled, family, "typical", MIN_SUPPORT, seed)
    return run_tests(evidence, groups.codes, 2, Design(np.zeros(len(groups.pooled), np.int32)))


def _by_clusters(planting: Planting, value: Any, groups: Groups, seed: int) -> float:
    """Return the share of clusterings of which a true cluster is found."""
    inside, found = planting.having(value)[groups.pooled], []
    for beginning in range(CLUSTERINGS):
        test = _tested(planting, groups, "clusters", seed * CLUSTERINGS + beginning)
        own = most_informative(test.evidence.keys, test.evidence.has, inside)
        found.append(bool(higher_in_first(test, ALPHA) & own.keys()))
    return float(np.mean(found))


def higher_in_first(test: FamilyTest, alpha: float) -> set[int | str]:
    """Return the keys of the findings that are more frequent in the first group."""
    places = test.found(alpha)
    return keys_of(test, test.comparison.column[places[test.comparison.tested.effect[places] > 0]])


def keys_of(test: FamilyTest, columns: NDArray[np.int64]) -> set[int | str]:
    """Return the keys of columns."""
    return {test.evidence.keys[column] for column in columns.tolist()}


def predicted(
    test: FamilyTest, informative: Informative, share: float, n: int, family: str
) -> dict[str, Any]:
    """Return the predicted power for the most informative evidence, and whether it was found."""
    key, (own, others) = next(iter(informative.items()))
    threshold = test.threshold(ALPHA)
    expected = power(others + share * (own - others), others, n, n, threshold)
    return {f"foretold_{family}": expected, f"came_{family}": key in higher_in_first(test, ALPHA)}


def log_odds(test: FamilyTest, n1: int, n2: int) -> NDArray[np.float64]:
    """Return the z-scores of words' log-odds with a prior (Monroe et al. 2008); positive: in the first."""
    k1, k2 = test.shares[0] * n1, test.shares[1] * n2
    prior = PRIOR * (k1 + k2) / max(1.0, float((k1 + k2).sum()))
    a, b = k1 + prior, k2 + prior
    odds = np.log(a / (k1.sum() + PRIOR - a)) - np.log(b / (k2.sum() + PRIOR - b))
    z: NDArray[np.float64] = odds / np.sqrt(1 / a + 1 / b)
    return z


def chance_bounds(planting: Planting, rng: np.random.Generator, runs: int = 60) -> dict[str, float]:
    """Return the bounds that the rule and the log-odds exceed by chance in one run of twenty.

    Measured on the known records, not on those that are compared.
    """
    differences, scores = [], []
    n = min(GROUP, len(planting.known) // 2)
    design = Design(np.zeros(2 * n, np.int32))
    for _ in range(runs):
        order = rng.permutation(len(planting.known))[: 2 * n]
        groups = pair(order[:n], order[n:])
        tests = {
            family: run_tests(
                evidence_of(planting.known, groups.pooled, family, "typical", MIN_SUPPORT),
                groups.codes,
                2,
                design,
            )
            for family in FAMILIES[:2]
        }
        differences.append(float(np.abs(tests["concepts"].shares[0] - tests["concepts"].shares[1]).max()))
        scores.append(float(np.abs(log_odds(tests["words"], n, n)).max()))
    return {"difference": float(np.quantile(differences, 0.95)), "z": float(np.quantile(scores, 0.95))}
