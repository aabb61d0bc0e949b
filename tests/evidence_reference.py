"""The evidence of texts, computed again in double precision: what the codes of an index must be."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from simplemma import lemmatize

from saeindex import FeatureSpace
from saeindex.features.evidence import Evidence, LogOdds
from saeindex.features.lexicon import Lexicon
from saeindex.protocols import Point, TextEncoder
from tests.samples import code_of

Doubles = NDArray[np.float64]
# The number of a level in a code, and the evidence in percent from which on a record has it.
PERCENT_OF = {3: 20, 0: 50, 1: 70, 2: 90}


class Said(NamedTuple):
    """The evidence of a feature, and the first sentence that gives it, to a percent."""

    p: float
    sentence: int


def reference(evidence: Evidence, sentences: Sequence[str], vectors: NDArray[np.float32]) -> dict[int, Said]:
    """Return all features of which a text speaks possibly, sentence by sentence and word by word."""
    found: dict[int, Said] = {}
    for number, (sentence, vector) in enumerate(zip(sentences, vectors, strict=True)):
        p = 1 / (1 + np.exp(-log_odds_of(evidence, sentence, vector)))
        for row in np.flatnonzero(p >= 0.2).tolist():
            feature = int(evidence.features[row])
            if feature not in found or round(p[row], 2) > round(found[feature].p, 2):
                found[feature] = Said(float(p[row]), number)
    return dict(sorted(found.items()))


def log_odds_of(evidence: Evidence, sentence: str, vector: NDArray[np.float32]) -> Doubles:
    """Return the largest log-odds of each concept (c,) for a sentence."""
    x = vector.astype(np.float64) - evidence.mean
    nearness: Doubles = evidence.directions.astype(np.float64) @ (x / np.linalg.norm(x))
    own = len((evidence.base or evidence).features)  # what comes after are terms
    fifth = sorted(nearness[:own].tolist(), reverse=True)[:5][-1]
    length = math.log(max(1, len(sentence.split())))

    def vector_says(model: LogOdds, near: Any) -> Any:
        said = model.nearness * near + model.margin * (near - fifth)
        return said + model.length * length + model.base

    largest: Doubles = vector_says(evidence.meant, nearness)
    for place in range(own, len(nearness)):
        slope, base = evidence.of_terms[:, place - own]  # type: ignore[index]
        largest[place] = slope * nearness[place] + base
    lexicon, numbers = evidence.words, _numbers(evidence.words)
    for word in words_of(sentence) & numbers.keys():
        number = numbers[word]
        for entry in range(int(lexicon.starts[number]), int(lexicon.starts[number + 1])):
            row = int(lexicon.concepts[entry])
            model = evidence.named if lexicon.is_name[entry] else evidence.near
            said = float(lexicon.weights[entry]) + float(vector_says(model, nearness[row]))
            said = max(said, 1.39) if row >= own else said
            largest[row] = max(float(largest[row]), said)
    return largest


@lru_cache(4)
def _numbers(lexicon: Lexicon) -> dict[str, int]:
    return {word: number for number, word in enumerate(lexicon.words)}


def words_of(sentence: str) -> set[str]:
    """Return all words and phrases of up to three words of a sentence, as they are and in base forms."""
    words = [one.lower() for one in re.findall(r"[^\W\d_]+(?:['’-][^\W\d_]+)*", sentence)]
    return {
        phrase
        for first in range(len(words))
        for count in (1, 2, 3)
        for phrase in _phrases(words[first : first + count])
    }


def _phrases(words: Sequence[str]) -> Iterator[str]:
    if not words:
        yield ""
        return
    for rest in _phrases(words[1:]):
        for form in (words[0], lemmatize(words[0], lang="en").lower()):
            yield f"{form} {rest}".strip()


def sentences_of(point: Point, field: str = "") -> list[str]:
    """Return the sentences of a point by its spans; one that is its whole text is that text as it is."""
    suffix = f"_{field}" if field else ""
    text, spans = point.payload[f"text{suffix}"], point.payload[f"spans{suffix}"]
    found = [text[start:end] for start, end in zip(spans[::2], spans[1::2], strict=True)]
    return [text] if found == [text.strip()] else found


def truth_of(space: FeatureSpace, encoder: TextEncoder, points: Sequence[Point]) -> dict[str, set[int]]:
    """Return the level codes that records must have, by id, from their texts and vectors."""
    return {
        point.payload["record_id"]: set(expected_codes(space, point, evidence_of(space, encoder, point)))
        for point in points
    }


def present_in(codes: set[int]) -> set[int]:
    """Return the features that are present by level codes."""
    return {code // 4 for code in codes if code % 4 == 0}


def evidence_of(space: FeatureSpace, encoder: TextEncoder, point: Point, field: str = "") -> dict[int, Said]:
    """Return the evidence of a point's text, from its sentences."""
    assert space.evidence is not None
    sentences = sentences_of(point, field)
    return reference(space.evidence, sentences, encoder.encode_document(sentences))


def expected_codes(space: FeatureSpace, point: Point, said: dict[int, Said], field: str = "") -> list[int]:
    """Return feature * 4 + level for each level that named ones reach by evidence, others by activation."""
    assert space.evidence is not None
    named = set(space.evidence.features.tolist())
    codes = [
        feature * 4 + level
        for feature, one in said.items()
        for level, least in PERCENT_OF.items()
        if round(100 * one.p) >= least
    ]
    code = code_of(point, field)
    for feature, value in zip(code.indices.tolist(), code.values.tolist(), strict=True):
        reached = [True, value >= space.calibration.median[feature], value >= space.calibration.p90[feature]]
        codes += [feature * 4 + level for level in range(3) if reached[level] and feature not in named]
    return sorted(codes)
