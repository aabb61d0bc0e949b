"""Fits the shipped default feature space, `minilm-general`: `python -m benchmarks.default_space`.

Needs the corpora and about an hour on two cores, most of it embedding, which is cached.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import data, mixture
from saeindex.encoders import open_encoder
from saeindex.features import FeatureSpace
from saeindex.sae import TrainingConfig
from saeindex.sae.metrics import fidelity
from saeindex.sae.train import TrainingStatus

if TYPE_CHECKING:
    from saeindex.types import FloatArray

TARGET = Path(__file__).parents[1] / "saeindex" / "spaces" / "minilm-general"
CONFIG = TrainingConfig(n_features=2_560, k=32, steps=4_000, input_noise=0.3, seed=0)
NAME = TARGET.name
CHOOSE_RECORDS = 1_500


def main() -> None:
    """Embed the mixture, fit, measure on parts that were not fitted, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=TARGET)
    parser.add_argument("--weights", type=Path, help="label and calibrate these weights instead of training")
    arguments = parser.parse_args()
    corpus, encoder = mixture.load(), open_encoder()
    embeddings = corpus.embed(encoder)
    options: dict[str, Any] = {"name": NAME, "groups": corpus.groups}
    if arguments.weights:
        old = FeatureSpace.load(arguments.weights)
        options |= {"report": old.report, "seed": CONFIG.seed}
        space = FeatureSpace.annotate(old.sae, corpus.texts, embeddings, encoder, **options)
    else:
        options |= {"config": CONFIG, "progress": show}
        space = FeatureSpace.fit(corpus.texts, encoder=encoder, embeddings=embeddings, **options)
    space.report["mixture"] = corpus.sizes
    space.report["by_corpus"] = by_corpus(space, embeddings.mean(0))
    print(json.dumps(space.report, indent=2))
    print(space.save(arguments.out))


def show(status: TrainingStatus) -> None:
    """Print the progress of the training, on one line."""
    held_out = "" if status.held_out is None else f", held out {status.held_out:.4f}"
    print(f"\rstep {status.step} of {status.steps}: {status.error:.4f}{held_out}", end="", flush=True)


def by_corpus(space: FeatureSpace, fit_mean: FloatArray) -> dict[str, dict[str, float]]:
    """Return the fidelity on records that were not fitted: `choose` parts and held-out packages."""
    encoder = open_encoder()
    held_out = {
        corpus: [record.text for record in data.read(corpus, "choose", CHOOSE_RECORDS)]
        for corpus in mixture.OTHER_CORPORA
    }
    held_out["arxiv"] = [record.text for record in mixture.unused_abstracts()[:CHOOSE_RECORDS]]
    held_out["docstrings of other packages"] = mixture.held_out_docstrings()
    return {
        name: fidelity(space.sae, mixture.embed(texts, encoder, name), fit_mean)
        for name, texts in held_out.items()
        if texts
    }


if __name__ == "__main__":
    main()
