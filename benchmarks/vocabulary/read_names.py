"""Names for free features by readers: each feature was read in twelve texts that have it most.

Of the free features, those are read that are shown most over the data; ``read_names.jsonl`` has, by feature
of the committed weights, whether its name misled ("better" names exist), was right ("keep"), or whether
nothing but spelling was found ("unreadable"), names, best first, and a sentence on what the feature means.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from saeindex.features import FeatureSpace
from saeindex.features.labelers import Labeling, LabelingTask
from saeindex.features.labelling import refreshed, with_labeling, with_spelling
from saeindex.features.trust import MAX_ACTIVE, auroc, contrast_sets

# The autoencoder whose features were read: numbers of another mean something else.
READ_OF = "ba51f7dc5f49e9061088bb6b2a3221093f1d3b1b3b2b9406decdc3f0305f2af6"
FILE = Path(__file__).with_name("read_names.jsonl")
# How much worse a name that reads better may predict.
MAX_LOSS = 0.01
READ = "read"


def with_read_names(space: FeatureSpace, task: LabelingTask) -> FeatureSpace:
    """Return the space with names by readers that predict about as well, and with their descriptions.

    A space with other features is returned as it is.
    """
    if space.sae.digest() != READ_OF:
        return space
    rows = {row["feature"]: row for row in map(json.loads, FILE.read_text("utf-8").splitlines())}
    readable = {feature: row for feature, row in rows.items() if row["verdict"] != "unreadable"}
    misled = [feature for feature, row in readable.items() if row["verdict"] == "better"]
    offered = {f: list(dict.fromkeys(_names(readable[f], space.labels[f].text))) for f in misled}
    every = sorted({name for names in offered.values() for name in names})
    vectors = dict(zip(every, task.encode(every), strict=True))
    unseen, chosen = task.unseen, {}
    sets = list(contrast_sets(unseen.vectors, unseen.code, task.calibration, MAX_ACTIVE, task.seed))
    for feature, names in offered.items():
        contrast = sets[feature]
        if contrast is None:
            continue
        tried = np.stack([space.label_vectors[feature], *(vectors[name] for name in names)])
        scores = auroc(unseen.vectors[contrast.texts] @ tried.T, contrast.is_active)
        good = [name for name, score in zip(names, scores[1:], strict=True) if score >= scores[0] - MAX_LOSS]
        if good:
            chosen[feature] = good[0]
    named = with_labeling(space, task, Labeling(chosen), READ)
    labels = list(named.labels)
    for feature, row in readable.items():
        labels[feature] = replace(labels[feature], description=row["description"])
    described = refreshed(replace(named, labels=tuple(labels)))
    return with_spelling(described, sorted(rows.keys() - readable.keys()))


def _names(row: dict[str, Any], present: str) -> Iterator[str]:
    """Yield the readers' names, then each with a term of the present name, then two of them together."""
    names = row["names"]
    yield from names
    terms = [term.strip() for term in present.split(",")]
    yield from (f"{name}, {term}" for name in names for term in terms if term.lower() not in name.lower())
    yield from (f"{one}, {other}" for i, one in enumerate(names) for other in names[i + 1 :])
