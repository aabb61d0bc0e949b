"""Fit the evidence of the default space, and write it: `python -m benchmarks.evidence`."""

from __future__ import annotations

import json
from dataclasses import replace

from benchmarks.corpora import CachedEncoder
from benchmarks.default_space import TARGET
from benchmarks.evidence.dictionary import read_dictionary
from benchmarks.evidence.fit import (
    default_fit,
    default_relations,
    designed,
    evidence_of,
    read_of,
    reliability,
)
from benchmarks.evidence.relations import COLUMNS
from saeindex import FeatureSpace
from saeindex.files import checksums_of_files, with_checksum, without_checksum


def main() -> None:
    """Fit, print how reliable it is on pairs of `choose` by which it was chosen, and save the space."""
    space = FeatureSpace.load(TARGET)
    encoder = CachedEncoder()
    relations = default_relations(space, encoder)
    kept, every = default_fit(space, encoder, relations)
    others = designed(space, encoder, read_of("choose", "choose"), every)
    log_odds, is_said = kept.log_odds(others, relations)
    for title, own in (("named", is_said), ("only meant", ~is_said)):
        bins = reliability(log_odds[own], others.is_clear[own])
        print(title, *(f"{p:.2f}:{share:.2f} ({count})" for p, share, count in bins))
    for title, model in zip(("other words", "names"), kept.models, strict=True):
        weights = zip(
            (*COLUMNS, "nearness", "margin", "length", "base"), (*model.words, *model.sentence), strict=True
        )
        print(title, *(f"{name} {weight:.2f}" for name, weight in weights))
    evidence, labels = evidence_of(space, kept, relations), list(space.labels)
    for feature, entry in zip(evidence.features.tolist(), read_dictionary(), strict=True):
        labels[feature] = replace(labels[feature], description=entry.gloss)
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
