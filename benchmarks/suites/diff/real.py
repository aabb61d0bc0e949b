"""Real differences: classes against the rest, and models that answered the same instructions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_matrix

from benchmarks import data
from benchmarks.data import has_value, properties
from benchmarks.snapshots import labelled, space_of_index
from benchmarks.suites.diff.calibration import ALPHA, MIN_SUPPORT, pair
from benchmarks.suites.diff.detectors import DETECTORS, detected
from saeindex.analysis.diff.findings import findings_of, telling
from saeindex.analysis.stats.design import design_of
from saeindex.analysis.stats.evidence import evidence_of
from saeindex.analysis.stats.unit_totals import run_tests
from saeindex.features.trust import auroc

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.analysis.stats.groups import Groups
    from saeindex.analysis.stats.unit_totals import FamilyTest
    from saeindex.collection.snapshot import Snapshot

TOP = 5
MIN_RECORDS = 30
# Words of descriptions that do not name the class.
COMMON = {
    "about", "article", "articles", "asking", "describes", "describing", "expresses", "from", "medical",
    "message", "news", "other", "paper", "papers", "question", "questions", "says", "sentence", "someone",
    "something", "text", "texts", "that", "their", "this", "user", "wants", "what", "where", "which", "with",
    "written",
}  # fmt: skip
STEM, WORDS = 5, 3
# A share that differs by this much between two models is a real difference; by less than the second, none.
DIFFERS, DIFFERS_NOT = 0.05, 0.01


# Classes ----------------------------------------------------------------------------------------------


def classes(names: Sequence[str]) -> list[dict[str, Any]]:
    """Return for each class how well its findings predict it on records that were not compared."""
    return [row for name in names for row in _classes(name)]


def _classes(name: str) -> list[dict[str, Any]]:
    snapshot = labelled(name, space=space_of_index(name))
    half = len(snapshot) // 2
    compared, held_out = np.arange(half), np.arange(half, len(snapshot))
    records = {record.id: record.metadata for record in data.read(name, "test")}
    rows = []
    for query in properties()[name]:
        has = np.array([has_value(records[one], query["field"], query["value"]) for one in snapshot.ids])
        if min(has[compared].sum(), has[held_out].sum()) < MIN_RECORDS or has.mean() > 0.9:
            continue
        groups = pair(compared[has[compared]], compared[~has[compared]])
        found = top_of(snapshot, groups)
        rows.append(
            {"corpus": name, "value": str(query["value"]), "kind": query["kind"], "findings": len(found)}
            | _held_out_aurocs(snapshot, found[:TOP], held_out, has[held_out])
            | {"label_names": any(label_names_class(snapshot, one, query) for one in found[:TOP])}
        )
    return rows


def top_of(snapshot: Snapshot, groups: Groups) -> list[int]:
    """Return the features that are findings for the first group, in the order in which they are shown.

    But for the related ones of a row, which count as rows of their own.
    """
    found = findings_of(groups.names, _test(snapshot, groups, "concepts", None), ALPHA, {})
    return [int(one.key) for one in telling(found, snapshot.space) if one.group == groups.names[0]]


def _test(snapshot: Snapshot, groups: Groups, family: Any, unit: str | None) -> FamilyTest:
    evidence = evidence_of(snapshot, groups.pooled, family, "typical", MIN_SUPPORT)
    design = design_of(snapshot, groups, unit, (), None, None)
    return run_tests(evidence, groups.codes, 2, design)


def _held_out_aurocs(
    snapshot: Snapshot, features: Sequence[int], rows: NDArray[np.int64], has: NDArray[np.bool_]
) -> dict[str, float]:
    """Return the AUROC of the first concept's evidence, and of the sum of that of all."""
    if not features:
        return {"top1_auroc": 0.5, "top5_auroc": 0.5}
    parts = snapshot.percents(features)[rows]
    scores = np.stack([parts[:, 0], parts.sum(1)], axis=1)
    first, all_ = auroc(scores.astype(np.float32), has).tolist()
    return {"top1_auroc": float(first), "top5_auroc": float(all_)}


def label_names_class(snapshot: Snapshot, feature: int, query: dict[str, Any]) -> bool:
    """Return whether the first three words of a label name a class: they share five letters with its words.

    The class's words are those of its value and of its description, of four letters or more, without COMMON.
    """
    wanted = _stems(f"{query['value']} {query['query']}")
    return bool(wanted & _stems(" ".join(snapshot.space.labels[feature].text.split()[:WORDS])))


def _stems(text: str) -> set[str]:
    words = re.findall(r"[a-z]{4,}", text.lower().replace("_", " "))
    return {word[:STEM] for word in words if word not in COMMON}


# Models -----------------------------------------------------------------------------------------------


def models() -> dict[str, Any]:
    """Return how often findings show the differences between two models that rules detect, and the reverse.

    The proxies of a rule (the five concepts and five words whose presence correlates most with it) are chosen
    on the fit and choose parts. Models are paired by instruction, and within bins of length.
    """
    space = space_of_index("alpaca_eval")
    known, snapshot = (
        labelled("alpaca_eval", parts, space=space) for parts in (("fit", "choose"), ("test",))
    )
    proxies = {name: _proxies(known, _flags("fit choose", known, name)) for name in DETECTORS}
    column = snapshot.column("metadata.model")
    rows = []
    for first, second in combinations(range(len(column.values)), 2):
        groups = pair(np.flatnonzero(column.codes == first), np.flatnonzero(column.codes == second))
        names = [str(column.values[i]) for i in (first, second)]
        tests = {f: _test(snapshot, groups, f, "metadata.instruction_id") for f in ("concepts", "words")}
        for name in DETECTORS:
            rows.append(
                {"models": names, "detector": name} | _judged(snapshot, groups, tests, name, proxies[name])
            )
    return {"pairs": rows} | summary(rows)


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the share of real differences that findings show, and of equal pairs where they claim one."""
    real = [row for row in rows if abs(row["difference"]) >= DIFFERS and row["p"] < 1e-3]
    equal = [row for row in rows if abs(row["difference"]) < DIFFERS_NOT]
    return {
        "real": len(real),
        "shown": float(np.mean([row["shown"] for row in real])) if real else 0.0,
        "none": len(equal),
        "claimed": float(np.mean([row["shown"] or row["opposite"] for row in equal])) if equal else 0.0,
        "opposite": float(np.mean([row["opposite"] for row in real])) if real else 0.0,
    }


def _judged(
    snapshot: Snapshot,
    groups: Groups,
    tests: dict[str, FamilyTest],
    detector: str,
    proxies: dict[str, set[int | str]],
) -> dict[str, Any]:
    """Return a detector's own difference, tested the same way, and whether findings on its proxies agree."""
    flags = _flags("test", snapshot, detector)[groups.pooled]
    sample = tests["words"].evidence
    own = replace(
        sample, keys=(detector,), labels=(detector,), has=csr_matrix(flags[:, None].astype(np.float32))
    )
    design = design_of(snapshot, groups, "metadata.instruction_id", (), None, None)
    truth = run_tests(own, groups.codes, 2, design).comparison.tested
    difference = float(truth.effect[0])
    signs = []
    for family, test in tests.items():
        for place in test.found(ALPHA).tolist():
            if test.evidence.keys[int(test.comparison.column[place])] in proxies[family]:
                signs.append(np.sign(test.comparison.tested.effect[place]))
    return {
        "difference": difference,
        "p": float(truth.p[0]),
        "shown": bool(np.sign(difference) in signs),
        "opposite": bool(-np.sign(difference) in signs),
    }


def _proxies(known: Snapshot, flags: NDArray[np.bool_]) -> dict[str, set[int | str]]:
    """Return the five concepts and words whose presence correlates most with a rule."""
    words = _correlations(known.words, flags)
    concepts = _correlations(known.at("typical"), flags)
    return {
        "concepts": {int(i) for i in np.argsort(-concepts)[:TOP]},
        "words": {known.vocabulary[int(i)] for i in np.argsort(-words)[:TOP]},
    }


def _correlations(has: csr_matrix, flags: NDArray[np.bool_]) -> NDArray[np.float64]:
    share, base = np.asarray(has.mean(0)).ravel(), float(flags.mean())
    both = np.asarray(has[flags].sum(0)).ravel() / len(flags)
    phi: NDArray[np.float64] = (both - share * base) / np.sqrt(
        np.maximum(share * (1 - share) * base * (1 - base), 1e-6)
    )
    return phi


@lru_cache
def _detected(parts: str, detector: str) -> dict[str, bool]:
    return {
        record.id: detected(detector, record.text)
        for part in parts.split()
        for record in data.read("alpaca_eval", part)
    }


def _flags(parts: str, snapshot: Snapshot, detector: str) -> NDArray[np.bool_]:
    found = _detected(parts, detector)
    return np.array([found[one] for one in snapshot.ids])
