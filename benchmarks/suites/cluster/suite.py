"""Clusters along an axis: agreement with known values, leakage onto other axes, predicted failure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.metrics import adjusted_rand_score, roc_auc_score

from benchmarks.outcome import Figure, Outcome, at_least
from benchmarks.suites.cluster import methods
from benchmarks.suites.cluster.axes import Task, Texts, tasks
from saeindex import FeatureSpace
from saeindex.analysis.cluster.anchored_em import settle
from saeindex.analysis.cluster.axis import gather
from saeindex.analysis.cluster.quality import judge, signs_of
from saeindex.config import DEFAULT_SPACE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.analysis.cluster.axis import Axis

SEED = 0
EXAMPLES, DRAWS = 5, 3
# Below this ARI a clustering has failed; the verdict should predict it.
FAILED = 0.1
QUICK = ("agnews", "scicite", "tweeteval_stance")
OURS = ("described", "utterances", "5 examples", "5 examples alone")


@dataclass
class Measured:
    """ARI by method and task, ARI with the other axis, and the predicted failure of our clusterings."""

    ari: dict[str, dict[str, float]] = field(default_factory=dict)
    leaked: dict[str, dict[str, float]] = field(default_factory=dict)
    predictions: list[dict[str, Any]] = field(default_factory=list)

    def add(
        self, method: str, task: Task, codes: NDArray[np.int64], judged: NDArray[np.bool_] | None = None
    ) -> float:
        """Add the ARI of a task's first records, or of those that are ``judged``."""
        kept = np.flatnonzero(np.ones(len(codes), bool) if judged is None else judged)
        ari = float(adjusted_rand_score(task.truth[kept], codes[kept]))
        self.ari.setdefault(method, {})[task.name] = ari
        if task.other is not None:
            rows = kept[task.other[kept] >= 0]
            leak = float(adjusted_rand_score(task.other[rows], codes[rows])) if len(rows) else 0.0
            self.leaked.setdefault(method, {})[task.name] = leak
        return ari

    def mean(self, method: str, names: Sequence[str] | None = None) -> float:
        """Return the mean ARI over tasks."""
        found = self.ari[method]
        return float(np.mean([found[name] for name in (names or found)]))


def run(quick: bool) -> Outcome:
    """Measure; ``quick`` takes three corpora and 300 records of each axis."""
    outcome = Outcome("cluster", quick, SEED)
    space, texts = FeatureSpace.load(DEFAULT_SPACE), Texts()
    only, limit = (QUICK, 300) if quick else ((), None)
    tuned = tune([*tasks("choose", space, only, limit or 1_000)], texts)
    measured, fixed_wording = Measured(), []
    for task in tasks("test", space, only, limit):
        measure_baselines(task, texts, tuned, measured)
        measure_ours(task, texts, measured)
        fixed_wording += [task.name] * task.has_fixed_wording
    outcome.figures.update(figures(measured, fixed_wording))
    outcome.tables.update(tables(measured, tuned))
    return outcome


def tune(chosen: Sequence[Task], texts: Texts) -> dict[str, str]:
    """Return the settings of the baselines that are best on the ``choose`` parts."""
    found: dict[str, dict[str, list[float]]] = {"spectral": {}, "hdbscan": {}, "prompted": {}}
    for task in chosen:
        for name, neighbours in methods.NEIGHBOURS.items():
            add_ari(found["spectral"], name, task, methods.spectral(task, neighbours))
        for name, min_size in methods.SMALLEST.items():
            add_ari(found["hdbscan"], name, task, methods.hdbscan(task, min_size))
        for name, template in methods.TEMPLATES.items():
            add_ari(found["prompted"], name, task, methods.prompted(task, texts, template, 200))
    return {method: methods.best(scores) for method, scores in found.items()}


def add_ari(scores: dict[str, list[float]], name: str, task: Task, codes: NDArray[np.int64]) -> None:
    """Add one ARI."""
    scores.setdefault(name, []).append(float(adjusted_rand_score(task.truth[: len(codes)], codes)))


def measure_baselines(task: Task, texts: Texts, tuned: Mapping[str, str], measured: Measured) -> None:
    """Measure every baseline on one task."""
    measured.add("dense k-means", task, methods.kmeans(task))
    measured.add("dense spectral", task, methods.spectral(task, methods.NEIGHBOURS[tuned["spectral"]]))
    measured.add("HDBSCAN on PCA", task, methods.hdbscan(task, methods.SMALLEST[tuned["hdbscan"]]))
    measured.add(
        "prompted k-means", task, methods.prompted(task, texts, methods.TEMPLATES[tuned["prompted"]])
    )
    measured.add("InterpEmbed", task, methods.interpembed(task, texts))


def measure_ours(task: Task, texts: Texts, measured: Measured) -> None:
    """Measure our method on one task, with every kind of description of an axis."""
    anchored(task, texts, task.axis, measured, "described")
    anchored(task, texts, task.with_utterances or task.axis, measured, "utterances")
    for name, axis in (("5 examples", task.axis), ("5 examples alone", task.undescribed)):
        drawn = [anchored(task, texts, axis, measured, name, number) for number in range(DRAWS)]
        measured.ari[name][task.name] = float(np.mean(drawn))


def anchored(
    task: Task, texts: Texts, axis: Axis, measured: Measured, name: str, draw: int | None = None
) -> float:
    """Cluster once; return the ARI of the records that are not examples."""
    known = None if draw is None else task.draw(EXAMPLES, draw)
    evidence = gather(texts, task.sample, axis, known, task.views)  # type: ignore[arg-type]
    settled = settle(evidence.whitened, evidence.start, known)
    signs = signs_of(evidence.whitened, settled, evidence.literal)
    ari = measured.add(name, task, settled.codes, None if known is None else known < 0)
    if draw is None and name == "described":
        measured.add("start alone", task, evidence.start.argmax(1))
    verdict = judge(signs)
    prediction = {"task": task.name, "told by": name, "ari": ari, "expressible": verdict.expressible}
    measured.predictions.append(prediction | {"failure_score": verdict.failure_score} | asdict(signs))
    return ari


def figures(measured: Measured, fixed_wording: Sequence[str]) -> dict[str, Figure]:
    """Return the figures of the evaluation."""
    n = len(measured.ari["described"])
    dense = ("dense k-means", "dense spectral", "prompted k-means", "HDBSCAN on PCA")
    found = {
        "ari_described": at_least(measured.mean("described"), 0.32, "ARI", n),
        "ari_5_examples": at_least(measured.mean("5 examples"), 0.36, "ARI", n),
        "ari_5_examples_alone": Figure(measured.mean("5 examples alone"), "ARI", n=n),
        "ari_utterances": Figure(measured.mean("utterances"), "ARI", n=n),
        "ari_start_alone": Figure(measured.mean("start alone"), "ARI", n=n),
        "ari_best_dense": Figure(max(measured.mean(name) for name in dense), "ARI", n=n),
        "ari_dense_kmeans": Figure(measured.mean("dense k-means"), "ARI", n=n),
        "ari_interpembed": Figure(measured.mean("InterpEmbed"), "ARI", n=n),
        "leakage": leakage(measured, "described"),
        "leakage_dense": leakage(measured, "dense k-means"),
    }
    # Only axes whose values all have a property query: their descriptions were not written for this suite.
    for name in ("described", "5 examples", "dense k-means") if fixed_wording else ():
        figure = Figure(measured.mean(name, fixed_wording), "ARI", n=len(fixed_wording))
        found[f"ari_{name.replace(' ', '_').replace('-', '_')}_fixed_wording"] = figure
    return found | failure_prediction(measured)


def leakage(measured: Measured, method: str) -> Figure:
    """Return the mean ARI with the corpus's other axis."""
    found = list(measured.leaked[method].values())
    return Figure(float(np.mean(found)), "ARI", n=len(found))


def failure_prediction(measured: Measured) -> dict[str, Figure]:
    """Return the AUROC of predicted failure, over all our clusterings and over those by descriptions."""
    found = {}
    described = [one for one in measured.predictions if one["told by"] == "described"]
    for name, judged in (("failure_auroc", measured.predictions), ("failure_auroc_described", described)):
        failed = np.array([one["ari"] < FAILED for one in judged])
        scores = [one["failure_score"] for one in judged]
        if 0 < failed.sum() < len(failed):
            found[name] = at_least(float(roc_auc_score(failed, scores)), 0.8, "AUROC", len(failed))
    refused = [one["ari"] for one in measured.predictions if not one["expressible"]]
    passed = [one["ari"] for one in measured.predictions if one["expressible"]]
    for name, values in (("ari_called_inexpressible", refused), ("ari_called_expressible", passed)):
        if values:
            found[name] = Figure(float(np.mean(values)), "ARI", n=len(values))
    return found


def tables(measured: Measured, tuned: Mapping[str, str]) -> dict[str, Any]:
    """Return ARI by task and method, leakage, and predictions of failure."""
    by_task: dict[str, dict[str, float]] = {}
    for method, values in measured.ari.items():
        for task, ari in values.items():
            by_task.setdefault(task, {})[method] = ari
    leaked: dict[str, dict[str, float]] = {}
    for method, values in measured.leaked.items():
        for task, ari in values.items():
            leaked.setdefault(task, {})[method] = ari
    return {
        "cluster_by_task": by_task,
        "cluster_leakage": leaked,
        "cluster_foreseen": measured.predictions,
        "cluster_tuned": dict(tuned),
    }
