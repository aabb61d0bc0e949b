"""Fit the evidence of the default space, and write it: `python -m benchmarks.evidence`."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np

from benchmarks.corpora import CachedEncoder
from benchmarks.default_space import TARGET
from benchmarks.evidence.dictionary import read_dictionary
from benchmarks.evidence.fit import (
    calibrated,
    designed,
    evidence_of,
    fitted,
    lexicon_of,
    read_of,
    reliability,
)  # fmt: skip
from benchmarks.evidence.relations import COLUMNS, related, whole_wordnet
from saeindex import FeatureSpace
from saeindex.files import checksums_of_files, with_checksum, without_checksum


def main() -> None:
    """Fit, print the reliability on the pairs of `choose` before they calibrate it, and save the space."""
    space = FeatureSpace.load(TARGET)
    encoder = CachedEncoder()
    entries = read_dictionary()
    names = [entry.name for entry in entries]
    features = [i for i, label in enumerate(space.labels) if label.method == "concept"]
    assert [space.labels[i].text for i in features] == names
    relations = related(entries, whole_wordnet(), encoder, space.sae.directions[features])
    every = lexicon_of(relations, np.zeros(len(relations.pairs), np.float32))
    fit_pairs, others = (designed(space, encoder, read_of(part, names), every) for part in ("fit", "choose"))
    fit = fitted(fit_pairs, relations)
    log_odds, is_said = fit.log_odds(others, relations)
    print(f"{len(fit_pairs.is_clear):,} pairs of fit, {len(others.is_clear):,} of choose")
    for title, own in (("named", is_said), ("only meant", ~is_said)):
        bins = reliability(log_odds[own], others.is_clear[own])
        print(title, *(f"{p:.2f}:{share:.2f} ({count})" for p, share, count in bins))
    fit = calibrated(fit, others, relations)
    for title, model in zip(("other words", "names"), fit.models, strict=True):
        weights = zip(
            (*COLUMNS, "nearness", "margin", "length", "base"), (*model.words, *model.sentence), strict=True
        )
        print(title, *(f"{name} {weight:.2f}" for name, weight in weights))
    labels = list(space.labels)
    for feature, entry in zip(features, entries, strict=True):
        labels[feature] = replace(labels[feature], description=entry.gloss)
    evidence = evidence_of(space, fit, relations)
    print(f"{len(evidence.lexicon.words):,} words, {len(evidence.lexicon.concepts):,} entries")
    save(replace(space, labels=tuple(labels), evidence=evidence))


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
