"""Manual results of every analysis, with labels that look like markup or a formula."""

from __future__ import annotations

from typing import Any

import numpy as np

from saeindex.analysis.cluster.axis import Axis
from saeindex.analysis.cluster.results import Cluster, Clustering, KeyConcept, Verdict
from saeindex.analysis.correlate.results import ConceptPair, Correlations, PairedConcept, Trigger, Triggers
from saeindex.analysis.describe.results import SetDescription, Standing, Theme
from saeindex.analysis.diff.results import Alert, Confirmation, Detectable, Diff, Finding, Hint, StratumChange
from saeindex.analysis.drift.results import Drift, Period, Trend
from saeindex.analysis.evaluate.questions import Question
from saeindex.analysis.evaluate.results import Answered, Differing, Evaluation, Gain, SearchQuality
from saeindex.analysis.stats.options import MonitorOptions
from saeindex.report.model import Example

EVIL = "<script>alert(1)</script>"
FORMULA = '=HYPERLINK("x")'
EXAMPLE = Example("doc-<b>1</b>", "A <i>storm</i> & a Storm.", ("weather & sky",), ("storm",))


def finding(place: int, label: str, groups: tuple[str, str], **changed: Any) -> Finding:
    effect = 0.3 / (place + 1) * (-1) ** place
    group, against = groups if effect > 0 else groups[::-1]
    freq = {groups[0]: 0.4 + effect / 2, groups[1]: 0.4 - effect / 2}
    given: dict[str, Any] = {
        "family": "concepts", "key": place, "label": label, "group": group, "against": against,
        "freq": freq, "effect": effect, "ci": (effect - 0.05, effect + 0.05), "log_odds": 4 * effect,
        "log_odds_ci": (4 * effect - 0.5, 4 * effect + 0.5), "p": 1e-4, "q": 0.01 / (place + 1),
        "support": 40, "replicated": (True, False, None)[place % 3],
        "examples": {group: (EXAMPLE,), against: ()},
    }  # fmt: skip
    return Finding(**(given | changed))


def diff(groups: tuple[str, str] = ("old & new", EVIL)) -> Diff:
    concepts = [finding(place, label, groups) for place, label in enumerate((EVIL, "rain", FORMULA))]
    concepts[1] = finding(1, "rain", groups, related=(finding(7, "drizzle", groups),))
    words = (finding(0, "storm", groups, family="words", key="storm"),)
    return Diff(
        dict.fromkeys(groups, 100), 0.05, "Mid-p test", "typical", {"concepts": 50, "words": 80},
        {"concepts": tuple(concepts), "words": words},
        hints=(Hint("words", "hail", "hail", groups[0], 1.5, 7),),
        power=(Detectable("concepts", 0.1, 0.25), Detectable("words", 0.1, None)),
        confirmation=(Confirmation("concepts", 4, 3),),
        changes=(StratumChange("concepts", "metadata.length", 5, 3, ("snow",)),),
        strata=("length (5 bins)",), unit="metadata.author", notes=("Two & more authors wrote both",),
    )  # fmt: skip


def pair(a: str, b: str, sign: float, field: str = "") -> ConceptPair:
    return ConceptPair(
        PairedConcept(3, a, field), PairedConcept(None, b), 30, 10.0, 3.0, 0.4 * sign, 25.0, 1.2 * sign,
        (0.5, 1.9), 1e-5,
        2e-4, 0.5, 0.25, 12.0 * sign, (EXAMPLE,),
    )  # fmt: skip


def correlations() -> Correlations:
    return Correlations(
        "", "", 500, 400, "typical", 900, 3, 0.05, "bh", 5, {"the same family": 4}, {"angry": 0.061},
        (pair(EVIL, "rain", 1), pair("rain", "wind", 1)), (pair("sun", "rain", -1),),
    )  # fmt: skip


def triggers() -> Triggers:
    one = Trigger(
        pair(EVIL, "refuses", 1, "prompt"),
        0.4,
        31,
        12,
        (EXAMPLE,),
        (),
        (EXAMPLE,),
        (PairedConcept(4, "rain"),),
    )
    return Triggers(
        PairedConcept(None, "refuses"), "prompt", 200, 150, 40.0, 33, 30, 1, 0.05, "bh", 2, (one,)
    )


def clustering(count: int = 60, expressible: bool = True) -> Clustering:
    rng = np.random.default_rng(0)
    codes = np.arange(count) % 2
    vectors = rng.standard_normal((count, 16)).astype(np.float32) * 0.1
    vectors[:, 0] += 2.0 * codes - 1
    concepts = (KeyConcept(5, FORMULA, 3.0, 0.5), KeyConcept(6, "rain", 2.0, 0.4, True))
    clusters = tuple(
        Cluster(name, count // 2, 0.5, concepts, (EXAMPLE,), (EXAMPLE,), 0.1, 0.4)
        for place, name in enumerate((EVIL, "calm"))
    )
    return Clustering(
        Axis.of({"tone": [EVIL, "calm"]}), "anchored", Verdict(expressible, "records stay", 0.2), clusters,
        {"metadata.topic": {"nmi": 0.1, "ari": 0.05}, "(free)": {"nmi": 0.3, "ari": 0.2}},
        [f"doc-{place}" for place in range(count)], codes.astype(np.int64), np.full(count, 0.9),
        vectors=vectors,
    )  # fmt: skip


def trend(place: int, label: str, **changed: Any) -> Trend:
    given: dict[str, Any] = {
        "family": "concepts", "key": place, "label": label, "kind": "change", "at": "1990", "effect": 0.2,
        "shares": (0.1, 0.2, 0.3), "fitted": (0.1, 0.25, 0.25), "ci": (0.1, 0.3), "slope": 0.1,
        "slope_ci": (0.05, 0.15), "p": 1e-5, "q": 1e-4, "p_trend": 1e-5, "p_change": 1e-5, "support": 60,
        "examples": {"early": (), "late": (EXAMPLE,)},
    }  # fmt: skip
    return Trend(**(given | changed))


def drift() -> Drift:
    periods = tuple(Period(name, int(name), int(name), 100) for name in ("1980", "1990", "2000"))
    found = (
        trend(1, EVIL),
        trend(2, "rain", effect=-0.2, kind="trend", at=None, related=(trend(3, "hail"),)),
    )
    return Drift(
        "metadata.year", periods, "1", 0.05, "Trend test", "typical", {"concepts": 9}, {"concepts": found}
    )


def profile() -> SetDescription:
    found = (finding(0, EVIL, ("set", "rest")), finding(2, "rain", ("set", "rest")))
    standing = (Standing(EXAMPLE, 0.5),)
    return SetDescription(
        40, 160, 0.05, {"concepts": found}, {"concepts": 30}, standing, standing, standing,
        (Theme("rain · wind", 20, 0.5, (EXAMPLE,)),), 0.6,
    )  # fmt: skip


def evaluation() -> Evaluation:
    gain = Gain(0.1, 0.02, 0.18)
    gains = {"ndcg": gain, "recall": gain, "mrr": gain}
    asked = Question(EVIL, {"doc-<b>1</b>": 1}, FORMULA)
    return Evaluation(
        10, 0.05,
        (
            SearchQuality("dense", {}, 0.5, 0.6, 0.4, {}),
            SearchQuality(EVIL, {"using": "words"}, 0.6, 0.7, 0.5, gains),
        ),
        (Answered(asked, (0.0, 1.0), (0, 1)),), (Differing(0, 1, (EVIL, FORMULA)),), ("Two & more",),
    )  # fmt: skip


def alert() -> Alert:
    found = (finding(0, EVIL, ("window", "reference")),)
    return Alert(100, 50, MonitorOptions(looks=4), {"concepts": 30}, {"concepts": found}, method="Mid-p test")


def results() -> dict[str, Any]:
    made = (diff, correlations, triggers, clustering, drift, profile, alert, evaluation)
    return {one.__name__: one() for one in made}


def empty_results() -> dict[str, Any]:
    """Return a result without findings of every kind that can be empty."""
    periods = (Period("1980", 1980, 1980, 9), Period("1990", 1990, 1990, 9))
    return {
        "diff": Diff({"a": 9, "b": 9}, 0.05, "Mid-p test", "typical", {"concepts": 0}, {"concepts": ()}),
        "correlations": Correlations("", "prompt", 9, 9, "typical", 0, 0, 0.05, "bh", 5, {}, {}, ()),
        "triggers": Triggers(PairedConcept(1, "rain"), "prompt", 9, 9, 0.0, 0, 0, 0, 0.05, "bh", 0, ()),
        "drift": Drift("year", periods, "1", 0.05, "Trend", "typical", {"concepts": 0}, {"concepts": ()}),
        "alert": Alert(9, 9, MonitorOptions(), {"concepts": 0}, {"concepts": ()}),
        "profile": SetDescription(9, 9, 0.05, {"concepts": ()}, {"concepts": 0}, (), (), (), (), 0.1),
    }
