"""Fidelity of the default space on unseen texts, and our training compared with saerch's on equal terms.

Splits: the default was fitted on `fit` parts, its settings chosen on `choose` parts, its figures are of
`test` parts and of packages whose docstrings were not used. Recipes are trained on abstracts of the `fit`
part; saerch's learning rate is chosen on abstracts that neither saw; both are judged on `test`.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import data, mixture, vocabulary
from benchmarks.default_space import CONFIG, FEATURES, GATE, gate_shares
from benchmarks.outcome import Figure, Outcome, at_least, at_most
from benchmarks.suites.fidelity import saerch
from benchmarks.suites.fidelity.retained import ndcg_retained
from benchmarks.suites.fidelity.trainings import cached, dead_share, trained
from saeindex import FeatureSpace, open_encoder
from saeindex.config import DEFAULT_SPACE
from saeindex.features.anchors import GENERAL
from saeindex.features.fidelity import one_shot
from saeindex.sae import SparseAutoencoder, TrainingConfig
from saeindex.sae.checkpoint import training_signature
from saeindex.sae.metrics import fidelity, neighbour_overlap, nmse, seed_stability
from saeindex.sae.train import train
from saeindex.sae.training_config import suitable_steps

if TYPE_CHECKING:
    from saeindex.types import FloatArray

SEED = 0
CORPORA = (*mixture.OTHER_CORPORA, "agnews", "alpaca_eval")
RECORDS, ABSTRACTS = 1_500, 5_000
WIDTHS, ACTIVE = (4, 8, 12), (16, 32, 64)
RECIPE = TrainingConfig(steps=800, input_noise=0.3, seed=SEED)
CANDIDATE = TrainingConfig(steps=800, input_noise=0.3, seed=SEED)
TRIED_RATES = (saerch.LEARNING_RATE, 3e-4, 1e-3, 3e-3)
Parts = dict[str, "FloatArray"]


def run(quick: bool) -> Outcome:
    """Measure; ``quick`` takes a tenth of the records, one cell, and no candidates."""
    outcome = Outcome("fidelity", quick, SEED)
    space = FeatureSpace.load(DEFAULT_SPACE)
    parts = test_parts(quick)
    default_figures(outcome, space, parts)
    cost_figure(outcome, space, quick)
    fitted, chosen = recipe_texts(quick)
    recipes(outcome, fitted, chosen, parts["arxiv"], quick)
    if not quick:
        outcome.figures["default_ndcg_retained"] = Figure(*ndcg_retained(space))
        x = mixture.load().embed(open_encoder())
        candidates(outcome, x)
        stability(outcome, x)
        fit_time(outcome, x)
    return outcome


def test_parts(quick: bool) -> Parts:
    """Return the embeddings of each corpus's `test` part, and of docstrings of packages held out."""
    encoder, shrink = open_encoder(), 10 if quick else 1
    texts = {c: [r.text for r in data.read(c, "test", RECORDS // shrink)] for c in CORPORA}
    texts["arxiv"] = [r.text for r in data.read("arxiv_heldout", "test", ABSTRACTS // shrink)]
    texts["docstrings"] = mixture.held_out_docstrings()[: RECORDS // shrink]
    return {name: mixture.embed(part, encoder, name) for name, part in texts.items()}


def default_figures(outcome: Outcome, space: FeatureSpace, parts: Parts) -> None:
    """Add the default's errors by corpus: as indexed, without refinement, and in the faithful mode."""
    mean = space.calibration.mean
    if mean is None:
        raise AssertionError("the default space has no fit mean")
    modes = {"as indexed": space.sae, "one-shot": one_shot(space.sae), "faithful": space.sae.faithful()}
    table = {name: {mode: fidelity(sae, x, mean) for mode, sae in modes.items()} for name, x in parts.items()}
    outcome.tables["default"] = table
    others = {name: table[name]["as indexed"]["nmse"] for name in CORPORA}
    arxiv, x = table["arxiv"], parts["arxiv"]
    reconstructed = space.sae.decode(space.sae.encode(x))
    figures = {
        "default_nmse_arxiv": at_most(arxiv["as indexed"]["nmse"], 0.20, "NMSE", len(x)),
        "default_nmse_arxiv_unrefined": Figure(arxiv["one-shot"]["nmse"], "NMSE", n=len(x)),
        "default_nmse_arxiv_faithful": Figure(arxiv["faithful"]["nmse"], "NMSE", n=len(x)),
        "default_nmse_other_mean": at_most(float(np.mean(list(others.values()))), 0.27, "NMSE", len(others)),
        "default_nmse_other_worst": at_most(max(others.values()), 0.33, "NMSE", len(others)),
        "default_nmse_docstrings": at_most(
            table["docstrings"]["as indexed"]["nmse"], 0.24, "NMSE", len(parts["docstrings"])
        ),
        "default_overlap10": at_least(neighbour_overlap(x, reconstructed), 0.75, "share", len(x)),
        "default_overlap10_dense_queries": Figure(
            neighbour_overlap(x, reconstructed, queries=x), "share", n=len(x)
        ),
    }
    outcome.tables["overlap10_by_records"] = {
        str(n): neighbour_overlap(x[:n], reconstructed[:n]) for n in (500, 1_000, 2_000, 5_000) if n <= len(x)
    }
    outcome.figures.update(figures)


def cost_figure(outcome: Outcome, space: FeatureSpace, quick: bool) -> None:
    """Add what encoding to features costs, as a share of the sentence encoder's time on abstracts."""
    texts = [r.text for r in data.read("arxiv_heldout", "test", 100 if quick else 500)]
    encoder = space.open_encoder()
    encoder.encode_document(texts[:64])
    vectors, seconds = timed(lambda: encoder.encode_document(texts))
    shares = [timed(lambda: space.sae.encode(vectors))[1] / seconds for _ in range(5)]
    outcome.figures["sae_share_of_encoder"] = at_most(float(np.median(shares)), 0.03, "share", len(texts))


def recipe_texts(quick: bool) -> tuple[FloatArray, FloatArray]:
    """Return embeddings of abstracts that recipes are trained on, and of some to choose settings by."""
    encoder, corpus = open_encoder(), mixture.unused_abstracts() if quick else None
    if corpus is not None:
        x = mixture.embed([r.text for r in corpus[:1_500]], encoder, "abstracts")
        return x[:1_200], x[1_200:]
    fitted = mixture.load()
    x = mixture.embed(fitted.texts[: fitted.sizes["arxiv"]], encoder, "abstracts")
    unseen = [r.text for r in mixture.unused_abstracts()[:RECORDS]]
    return x, mixture.embed(unseen, encoder, "abstracts to choose by")


def recipes(outcome: Outcome, x: FloatArray, choose: FloatArray, test: FloatArray, quick: bool) -> None:
    """Add our recipe and saerch's at every width and k: same embeddings, same number of steps."""
    mean, d = x.mean(0), x.shape[1]
    cells = [(2 * d, 16)] if quick else [(width * d, k) for width in WIDTHS for k in ACTIVE]
    recipe = replace(RECIPE, steps=120) if quick else RECIPE
    steps = recipe.all_steps
    rate = best_rate(outcome, x, choose, steps) if not quick else TRIED_RATES[-1]
    table = []
    for n, k in cells:
        ours = trained(x, replace(recipe, n_features=n, k=k))
        theirs = saerch_of(x, n, k, steps, rate)
        row: dict[str, Any] = {
            "n": n,
            "k": k,
            "ours": error(ours, test, mean),
            "ours_one_shot": error(one_shot(ours), test, mean),
            "ours_dead": dead_share(ours, x),
            "saerch": error(theirs, test, mean),
            "saerch_dead": dead_share(theirs, x),
        }
        row["ratio"] = row["ours"] / row["saerch"]
        table.append(row)
        print({name: round(value, 4) for name, value in row.items()}, flush=True)
    outcome.tables["recipes"] = table
    worst = max(row["ratio"] for row in table)
    dead = max(row["ours_dead"] for row in table)
    outcome.figures["nmse_ratio_to_saerch_worst_cell"] = Figure(worst, "ratio", "< 1", worst < 1, len(table))
    outcome.figures["dead_share_worst_cell"] = at_most(dead, 0.01, "share", len(table))


def best_rate(outcome: Outcome, x: FloatArray, choose: FloatArray, steps: int) -> float:
    """Return the learning rate with the lowest error of saerch's recipe here, so that it is tuned as ours is.

    Its own, 1e-4, is meant for ten times as many steps.
    """
    n, k, mean = 8 * x.shape[1], 32, x.mean(0)
    errors = {lr: error(saerch_of(x, n, k, steps, lr), choose, mean) for lr in TRIED_RATES}
    outcome.tables["saerch_rates"] = {str(lr): value for lr, value in errors.items()}
    return min(errors, key=lambda lr: errors[lr])


def saerch_of(x: FloatArray, n: int, k: int, steps: int, rate: float) -> SparseAutoencoder:
    """Return the autoencoder that saerch's recipe trains on ``x``."""
    data_signature = training_signature(x, TrainingConfig(), None)
    signature = f"saerch {data_signature} {n} {k} {steps} {rate}"
    return cached(signature, lambda: saerch.train(x, n, k, steps, rate, SEED))


def candidates(outcome: Outcome, x: FloatArray) -> None:
    """Add what other widths and k would give on `choose` parts, at a lower budget than the default's."""
    encoder, mean, table = open_encoder(), x.mean(0), []
    unseen = [r.text for r in mixture.unused_abstracts()[:RECORDS]]
    abstracts = mixture.embed(unseen, encoder, "abstracts to choose by")
    others = [
        mixture.embed([r.text for r in data.read(c, "choose", RECORDS)], encoder, c)
        for c in mixture.OTHER_CORPORA
    ]
    for n in (1_024, 2_048, 3_072):
        for k in ACTIVE if n == 2_048 else (32,):
            sae = trained(x, replace(CANDIDATE, n_features=n, k=k))
            row = {
                "n": n,
                "k": k,
                "arxiv": error(sae, abstracts, mean),
                "arxiv_one_shot": error(one_shot(sae), abstracts, mean),
                "others": float(np.mean([error(sae, part, mean) for part in others])),
                "median_density": float(np.median(density(sae, abstracts))),
                "mib": 2 * sum(tensor.numel() for tensor in sae.tensors().values()) / 2**20,
            }
            table.append(row)
            print({name: round(value, 4) for name, value in row.items()}, flush=True)
    outcome.tables["candidates"] = table


def stability(outcome: Outcome, x: FloatArray) -> None:
    """Add the share of features that another seed finds: of the default space's recipe, and of variants.

    All at the candidates' budget. Of the default's recipe also of its free features alone, since the others
    are held at their concepts.
    """
    concepts, directions = vocabulary.load()
    shares = gate_shares(np.array([one.share for one in concepts]), GATE)
    config = replace(CONFIG, n_features=FEATURES, steps=CANDIDATE.steps, **GENERAL)
    first, second = (trained(x, replace(config, seed=seed), directions, shares).directions for seed in (0, 1))
    free = slice(len(concepts), None)
    variants = {
        "default": (first, second),
        "default, free features": (first[free], second[free]),
        **{name: pair(x, change) for name, change in VARIANTS.items()},
    }
    levels = (256, 1_024, None)
    outcome.tables["stability"] = {
        name: {str(level or "all"): seed_stability(a, b, level) for level in levels}
        for name, (a, b) in variants.items()
    }
    for name, (a, b) in list(variants.items())[:2]:
        figure = "seed_stability" + ("_free" if "free" in name else "")
        outcome.figures[figure] = Figure(seed_stability(a, b), "share", n=len(a))


VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "Matryoshka 256, 1024": {"prefixes": (256, 1_024)},
}


def pair(x: FloatArray, change: dict[str, Any]) -> tuple[FloatArray, FloatArray]:
    """Return the directions of two seeds, at the candidates' budget."""
    first, second = (trained(x, replace(CANDIDATE, seed=seed, **change)) for seed in (0, 1))
    return first.directions, second.directions


def fit_time(outcome: Outcome, x: FloatArray) -> None:
    """Add how long 4,096 features take on 50,000 given embeddings."""
    some = x[np.random.default_rng(SEED).choice(len(x), 50_000, replace=False)]
    config = TrainingConfig(n_features=4_096, k=32, steps=suitable_steps(len(some)), input_noise=0.3)
    _, seconds = timed(lambda: train(some, config))
    outcome.figures["fit_4096_on_50k_s"] = at_most(seconds, 240, "s", len(some))


def error(sae: SparseAutoencoder, x: FloatArray, mean: FloatArray) -> float:
    """Return the NMSE of ``x`` (m, d)."""
    return nmse(x, sae.decode(sae.encode(x)), mean)


def density(sae: SparseAutoencoder, x: FloatArray) -> FloatArray:
    """Return the share of rows in which each feature is active (n,)."""
    return (np.bincount(sae.encode(x).indices, minlength=sae.n_features) / len(x)).astype(np.float32)


def timed(work: Any) -> tuple[Any, float]:
    """Return what ``work`` returns, and its seconds."""
    start = time.perf_counter()
    made = work()
    return made, time.perf_counter() - start
