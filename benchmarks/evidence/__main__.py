"""Fit the evidence of the default space, and write it: `python -m benchmarks.evidence`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.corpora import CachedEncoder
from benchmarks.default_space import TARGET
from benchmarks.evidence.dictionary import Entry, read_dictionary
from benchmarks.evidence.fit import (
    default_fit,
    default_relations,
    designed,
    evidence_of,
    read_of,
    reliability,
    sureness,
)
from benchmarks.evidence.relations import COLUMNS
from saeindex import FeatureSpace
from saeindex.features.evidence import Evidence
from saeindex.features.labels import CONCEPT, SURE, FeatureLabel
from saeindex.files import checksums_of_files, with_checksum, without_checksum


def main() -> None:
    """Fit, print how reliable it is on pairs of `choose` by which it was chosen, and save the space."""
    space, encoder = bare(FeatureSpace.load(TARGET)), CachedEncoder()
    relations = default_relations(encoder)
    kept, every = default_fit(space, encoder, relations)
    others = designed(space, encoder, read_of("choose", "choose"), relations, every)
    log_odds, is_said = kept.log_odds(others, relations)
    for title, own in (("named", is_said), ("only meant", ~is_said)):
        bins = reliability(log_odds[own], others.is_clear[own])
        print(title, *(f"{p:.2f}:{share:.2f} ({count})" for p, share, count in bins))
    for title, model in zip(("other words", "names"), kept.models, strict=True):
        weights = zip(
            (*COLUMNS, "nearness", "margin", "length", "base"), (*model.words, *model.sentence), strict=True
        )
        print(title, *(f"{name} {weight:.2f}" for name, weight in weights))
    evidence, entries = evidence_of(space, kept, relations), read_dictionary()
    read, names = read_of("fit", "fit"), [entry.name for entry in entries]
    uses = designed(space, encoder, read, relations, every)
    sure = sureness(kept, uses, read.concepts, relations, names)
    says_all = np.array([entry.shown != entry.name for entry in entries])
    sure[says_all] = np.maximum(sure[says_all], SURE)  # what is shown says more than the word
    sure[[entry.is_open for entry in entries]] = 0
    print(f"{len(evidence.lexicon.words):,} words, {len(evidence.lexicon.concepts):,} entries")
    weak = int(np.sum(sure < SURE))
    print(f"{len(entries):,} concepts, of which {weak:,} have names that mostly mean something else")
    save(named(space, evidence, entries, sure.round(2).tolist(), encoder))


def bare(space: FeatureSpace) -> FeatureSpace:
    """Return a space without evidence, and without the concepts beside its autoencoder."""
    n = space.sae.n_features
    labels, vectors, calibration = space.labels[:n], space.label_vectors[:n], space.calibration.first(n)
    return replace(space, labels=labels, label_vectors=vectors, calibration=calibration, evidence=None)


def named(
    space: FeatureSpace, evidence: Evidence, entries: Sequence[Entry], sure: Sequence[float],
    encoder: CachedEncoder,
) -> FeatureSpace:  # fmt: skip
    """Return the space with evidence, and with the labels of its concepts; others have no sure names."""
    labels = [replace(one, sure=0.0) if one.method == CONCEPT else one for one in space.labels]
    names = encoder.encode_query([entry.shown for entry in entries]).astype(np.float16).astype(np.float32)
    vectors, n, beside = space.label_vectors.copy(), len(labels), list[FeatureLabel]()
    for row, (feature, entry, p) in enumerate(zip(evidence.features.tolist(), entries, sure, strict=True)):
        known: dict[str, Any] = {"sure": p, "description": entry.gloss, "also": entry.also}
        if feature < n:
            labels[feature] = replace(labels[feature], text=entry.shown, **known)
            vectors[feature] = names[row]
        else:
            beside.append(FeatureLabel(entry.shown, CONCEPT, **known))
    own = replace(space, labels=tuple(labels), label_vectors=vectors)
    return own.with_concepts(beside, names[len(names) - len(beside) :], evidence)


def save(space: FeatureSpace) -> None:
    """Write the default space; the file of its autoencoder, which is as it was, stays byte for byte."""
    file = TARGET / "sae.safetensors"
    former = file.read_bytes()
    space.save(TARGET)
    file.write_bytes(former)
    described = without_checksum(json.loads((TARGET / "space.json").read_text()))
    assert described is not None
    described["files"] = checksums_of_files(TARGET, without="space.json")
    (TARGET / "space.json").write_text(json.dumps(with_checksum(described), indent=2) + "\n")


if __name__ == "__main__":
    main()
