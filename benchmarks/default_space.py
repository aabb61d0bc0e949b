"""Fits the shipped default feature space, `minilm-general`: `python -m benchmarks.default_space`.

Needs the corpora and about an hour on two cores, most of it embedding, which is cached.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from benchmarks import data, mixture
from saeindex.encoders import open_encoder
from saeindex.features import FeatureSpace
from saeindex.indexing.docstrings import DocstringSource
from saeindex.sae import TrainingConfig
from saeindex.sae.metrics import fidelity
from saeindex.types import Record

TARGET = Path(__file__).parents[1] / "saeindex" / "spaces" / "minilm-general"
CONFIG = TrainingConfig(n_features=2_048, k=32, steps=4_000, input_noise=0.3, seed=0)
NAME = TARGET.name
CHOOSE_RECORDS = 1_500


def main() -> None:
    """Embed the mixture, fit, measure on parts that were not fitted, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=TARGET)
    parser.add_argument("--weights", type=Path, help="label and calibrate these weights instead of training")
    arguments = parser.parse_args()
    parts = list(mixture.embedded())
    texts = [text for _, part, _ in parts for text in part]
    embeddings = np.concatenate([vectors for _, _, vectors in parts])
    if arguments.weights:
        trained = FeatureSpace.load(arguments.weights)
        space = FeatureSpace.annotate(
            trained.sae, texts, embeddings, open_encoder(), name=NAME, report=trained.report, seed=CONFIG.seed
        )
    else:
        space = FeatureSpace.fit(
            texts,
            encoder=open_encoder(),
            embeddings=embeddings,
            config=CONFIG,
            name=NAME,
            progress=lambda step, loss: print(f"\rstep {step} loss {loss:.4f}", end="", flush=True),
        )
    space.report["mixture"] = {name: len(part) for name, part, _ in parts}
    space.report["by_corpus"] = by_corpus(space, embeddings.mean(0))
    space.report["labels"] = label_summary(space)
    print(json.dumps(space.report, indent=2))
    print(space.save(arguments.out))


def by_corpus(space: FeatureSpace, fit_mean: np.ndarray) -> dict[str, dict[str, float]]:
    """Return the fidelity on records that were not fitted: `choose` parts and held-out packages."""
    encoder = open_encoder()
    held_out = {
        corpus: [record.text for record in data.read(corpus, "choose", CHOOSE_RECORDS)]
        for corpus in mixture.OTHER_CORPORA
    }
    held_out["arxiv"] = [record.text for record in mixture.unused_abstracts()[:CHOOSE_RECORDS]]
    packages = DocstringSource(None, packages=mixture.HELD_OUT_PACKAGES)
    held_out["docstrings of other packages"] = [r.text for r in packages if isinstance(r, Record)]
    return {
        name: fidelity(space.sae, mixture.embed(texts, encoder, name), fit_mean)
        for name, texts in held_out.items()
        if texts
    }


def label_summary(space: FeatureSpace) -> dict[str, float]:
    """Return how many labels could be tested, and how well they do."""
    trusts = [label.trust for label in space.labels if label.trust is not None]
    return {
        "tested": len(trusts),
        "mean_trust": float(np.mean(trusts)),
        "share_above_floor": float(np.mean([not label.is_weak for label in space.labels])),
    }


if __name__ == "__main__":
    main()
