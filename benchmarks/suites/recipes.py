"""Recipes of the default space, on equal terms: what named features cost and bring.

Every recipe is trained on the same mixture of `fit` parts for the same, short number of steps, and judged on
`choose` parts (synsets: half of the part chooses a feature's best set, the other half judges it).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import data, mixture, vocabulary
from benchmarks.corpora import CachedEncoder
from benchmarks.default_space import gate_shares
from benchmarks.outcome import Figure, Outcome
from benchmarks.suites.legibility.conceptuality import SynsetSets, described
from saeindex.features.anchors import GENERAL
from saeindex.features.calibration import Calibration
from saeindex.sae.metrics import nmse, unit_rows
from saeindex.sae.train import train
from saeindex.sae.training_config import TrainingConfig

if TYPE_CHECKING:
    from saeindex.sae.autoencoder import SparseAutoencoder
    from saeindex.types import FloatArray

STEPS, QUICK_STEPS, SEED = 700, 20, 0
HELD_OUT, CALIBRATED, RECORDS = 3_000, 20_000, 1_500
CORPORA = (*mixture.GENERAL_CORPORA, *mixture.OTHER_CORPORA, "agnews")
# The vocabulary begins with so many broad subjects.
SUBJECTS = 189
CONFIG = TrainingConfig(
    n_features=6_144, k=48, k_named=24, steps=STEPS, input_noise=0.3, seed=SEED, **GENERAL
)


@dataclass(frozen=True, slots=True)
class Recipe:
    """Options of a training with the concepts of the vocabulary from the ``first`` up to the ``last``.

    ``gate`` is how often a concept may be active, in shares of the texts with it; None leaves named features
    without a gate. ``anchors`` are of names and texts, or of names and glosses.
    """

    first: int = 0
    last: int | None = None
    config: TrainingConfig = CONFIG
    gate: float | None = 2.0
    anchors: str = "texts"


RECIPES = {
    "base": Recipe(),
    "no named features": Recipe(last=0, config=replace(CONFIG, k_named=0, free_share=0.0)),
    "no subjects": Recipe(first=SUBJECTS),
    "half of the words": Recipe(last=SUBJECTS + 1_437),
    "a trained encoder": Recipe(config=replace(CONFIG, tied_encoder=False)),
    "free features learn what is left": Recipe(config=replace(CONFIG, free_share=0.0)),
    "free alone .5": Recipe(config=replace(CONFIG, free_share=0.5)),
    "4,096 features": Recipe(config=replace(CONFIG, n_features=4_096)),
    "44 active": Recipe(config=replace(CONFIG, k=44)),
    "named active: at most 8": Recipe(config=replace(CONFIG, k_named=8)),
    "no gate": Recipe(gate=None),
    "gate: four times the share": Recipe(gate=4.0),
    "penalty 1": Recipe(config=replace(CONFIG, anchor_weight=1.0)),
    "anchors of names and glosses": Recipe(anchors="glosses"),
}


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """Embeddings: the mixture (m, d), `choose` parts by corpus, synsets, and anchors by their kind."""

    x: FloatArray
    chosen: dict[str, FloatArray]
    synsets: SynsetSets
    anchors: dict[str, FloatArray]
    shares: FloatArray

    @classmethod
    def read(cls) -> Material:
        """Read everything; embeddings come from the cache."""
        encoder = CachedEncoder()
        concepts, directions = vocabulary.load()
        named = [f"{one.name}: {one.gloss}" if one.gloss else one.name for one in concepts]
        glosses = encoder.encode_query(named)
        texts = {c: [record.text for record in data.read(c, "choose", RECORDS)] for c in CORPORA}
        texts["arxiv"] = [record.text for record in mixture.unused_abstracts()[:RECORDS]]
        return cls(
            mixture.load().embed(encoder),
            {name: encoder.encode_document(own) for name, own in texts.items()},
            SynsetSets.read(encoder, ["choose"]),
            {"texts": directions, "glosses": glosses - glosses.mean(0)},
            np.array([one.share for one in concepts], np.float32),
        )


def run(quick: bool = False) -> Outcome:
    """Train and judge every recipe."""
    material, outcome = Material.read(), Outcome("recipes", quick, SEED)
    rows: dict[str, Any] = {}
    for name, recipe in RECIPES.items():
        config = replace(recipe.config, steps=QUICK_STEPS) if quick else recipe.config
        rows[name] = judged(trained(replace(recipe, config=config), material), material)
        print(name, rows[name], file=sys.stderr, flush=True)
    outcome.tables["recipes"] = rows
    for figure in ("nmse_arxiv", "nmse_others", "best_set_f1"):
        outcome.figures[f"base_{figure}"] = Figure(rows["base"][figure], "")
    return outcome


def trained(recipe: Recipe, material: Material) -> SparseAutoencoder:
    """Train a recipe on the mixture without the rows that hold it to its course."""
    order = np.random.default_rng(SEED).permutation(len(material.x))
    own = slice(recipe.first, recipe.last)
    anchors, shares = material.anchors[recipe.anchors][own], material.shares[own]
    is_named = len(shares) > 0
    return train(
        material.x,
        recipe.config,
        rows=np.sort(order[HELD_OUT:]),
        held_out=material.x[np.sort(order[:HELD_OUT])],
        anchors=anchors if is_named else None,
        shares=gate_shares(shares, recipe.gate) if is_named and recipe.gate else None,
    )


def judged(sae: SparseAutoencoder, material: Material) -> dict[str, float]:
    """Return the figures of a trained recipe on `choose` parts."""
    mean = material.x.mean(0)
    errors, masses, named = {}, [], []
    for corpus, x in material.chosen.items():
        code = sae.encode(x)
        errors[corpus] = nmse(x, sae.decode(code), mean)
        is_named = code.indices < sae.n_named
        masses.append(float(code.values[is_named].sum() / code.values.sum()))
        named.append(float(is_named.sum() / len(x)))
    others = [error for corpus, error in errors.items() if corpus != "arxiv"]
    rows = np.linspace(0, len(material.x) - 1, CALIBRATED).astype(np.int64)
    typical = Calibration.measure(sae.encode(material.x[rows])).median
    found = described(sae, typical, material.synsets)
    figures = found.means()
    return {
        "nmse_arxiv": errors["arxiv"],
        "nmse_others": float(np.mean(others)),
        "nmse_worst": max(others),
        "named_active": float(np.mean(named)),
        "named_mass": float(np.mean(masses)),
        "best_set_f1": figures["best"],
        "spelling_share": figures["spelling_share"],
        "live": int(found.is_live.sum()),
        "cosine_to_anchor": _held(sae, material),
    }


def _held(sae: SparseAutoencoder, material: Material) -> float:
    """Return the mean cosine of named directions to the anchors that are nearest to them."""
    n = sae.n_named
    if not n:
        return 0.0
    own = [(sae.directions[:n] @ unit_rows(a).T).max(1).mean() for a in material.anchors.values()]
    return float(max(own))
