"""Real drift: abstracts and speeches by year, and the generations of a vendor's models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_matrix

from benchmarks.snapshots import labelled
from benchmarks.suites.diff.calibration import ALPHA
from benchmarks.suites.diff.detectors import DETECTORS
from benchmarks.suites.diff.real import DIFFERS
from benchmarks.suites.diff.real import _flags as detector_flags
from benchmarks.suites.diff.real import _proxies as proxies_of
from benchmarks.suites.drift.chance import in_periods, trend_tests
from saeindex.analysis.drift.drift import drift
from saeindex.analysis.drift.trend_test import run_trends
from saeindex.analysis.stats.design import design_of
from saeindex.analysis.stats.evidence import Evidence
from saeindex.analysis.stats.options import FAMILIES, DriftOptions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.analysis.drift.trend_test import TrendTest
    from saeindex.analysis.stats.groups import Groups
    from saeindex.collection.snapshot import Snapshot

# A vendor's models by date of release.
GENERATIONS = {
    "openai": (
        "text_davinci_001", "text_davinci_003", "gpt-3.5-turbo-0301", "gpt4_0314", "gpt4_0613",
        "gpt4_1106_preview", "gpt-4o-2024-05-13",
    ),
    "anthropic": ("claude", "claude-2", "claude-3-opus-20240229", "claude-3-5-sonnet-20240620"),
}  # fmt: skip
UNIT = "metadata.instruction_id"
# Words expected, before any result was seen, to become more, and less, frequent in arXiv's abstracts.
MORE = ("deep", "neural", "learning", "networks", "convolutional", "adversarial", "datasets", "gpu",
        "reinforcement", "graphene", "lhc", "exoplanets")  # fmt: skip
LESS = ("superstring", "soliton", "supersymmetric", "string", "qcd", "preprint")
TOP = 10


def known_trends() -> dict[str, Any]:
    """Return the ten largest concepts and words of arXiv over years, and how many known trends are found."""
    found = drift(labelled("arxiv_heldout"), "metadata.year", options=DriftOptions(examples=0))
    rises = {str(one.key): one.effect > 0 for one in found.findings["words"]}
    falls = {key: not up for key, up in rises.items()}
    return {
        "top": [_row(one) for family in FAMILIES for one in found.findings[family][:TOP]],
        "findings": {family: len(found.findings[family]) for family in FAMILIES},
        "tested": dict(found.tested),
        "known": float(np.mean([rises.get(w, False) for w in MORE] + [falls.get(w, False) for w in LESS])),
        "wrong": float(np.mean([falls.get(w, False) for w in MORE] + [rises.get(w, False) for w in LESS])),
    }


def speeches() -> dict[str, Any]:
    """Return the same over the years of addresses: once with the year as the unit, once naively."""
    snapshot = labelled("us_speeches")
    found = drift(snapshot, "metadata.year", options=DriftOptions(examples=0))
    naive = drift(snapshot, "metadata.year", options=DriftOptions(examples=0, unit=None))
    return {
        "unit": found.unit,
        "top": [_row(one) for family in FAMILIES for one in found.findings[family][:TOP]],
        "findings": {family: len(found.findings[family]) for family in FAMILIES},
        "findings_naive": {family: len(naive.findings[family]) for family in FAMILIES},
    }


def _row(one: Any) -> dict[str, Any]:
    names = ("family", "key", "label", "kind", "at", "effect", "q")
    return {name: getattr(one, name) for name in names} | {"shares": [round(s, 4) for s in one.shares]}


def generations() -> list[dict[str, Any]]:
    """Return for each vendor and rule its drift over the models, and whether its proxies show it.

    Proxies are chosen on the fit and choose parts, as in the comparison of models.
    """
    known, snapshot = labelled("alpaca_eval", ("fit", "choose")), labelled("alpaca_eval")
    proxies = {name: proxies_of(known, detector_flags("fit choose", known, name)) for name in DETECTORS}
    column = snapshot.column("metadata.model")
    rows = []
    for vendor, order in GENERATIONS.items():
        place = np.array([order.index(v) if v in order else -1 for v in map(str, column.values)])
        groups = in_periods(place[column.codes])
        for bins in (None, 0):
            tests = trend_tests(snapshot, groups, UNIT, length_bins=bins)
            for name in DETECTORS:
                flags = detector_flags("test", snapshot, name)[groups.pooled]
                truth = _rule(snapshot, groups, flags, bins, name)
                signs = _signs(tests, proxies[name])
                rows.append({
                    "vendor": vendor, "detector": name, "length_bins": "none" if bins == 0 else "as needed",
                    "findings": sum(len(test.found(ALPHA)) for test in tests.values()),
                    **truth, "shown": np.sign(truth["effect"]) in signs,
                    "opposite": -np.sign(truth["effect"]) in signs,
                    "is_real": abs(truth["effect"]) >= DIFFERS and truth["p"] < 1e-3,
                })  # fmt: skip
    return rows


def _rule(
    snapshot: Snapshot, groups: Groups, flags: NDArray[np.bool_], bins: int | None, name: str
) -> dict[str, Any]:
    """Return a rule's own change from the first model to the last, tested in the same way."""
    design = design_of(snapshot, groups, UNIT, (), bins, paired=False)
    sample = Evidence("words", (name,), (name,), csr_matrix(flags[:, None].astype(np.float32)))
    test = run_trends(sample, groups.codes, np.arange(len(groups.names), dtype=np.float64), design)
    effect = float(test.slope[0]) * (len(groups.names) - 1)
    return {"effect": effect, "p": float(test.trend.p[0]), "shares": test.counts.shares[:, 0].tolist()}


def _signs(tests: dict[Any, TrendTest], proxies: dict[str, set[int | str]]) -> set[float]:
    """Return the directions of drift found in the evidence that represents a rule."""
    return {
        float(np.sign(test.slope[column]))
        for family, test in tests.items()
        for column in test.found(ALPHA).tolist()
        if test.evidence.keys[column] in proxies.get(family, ())
    }
