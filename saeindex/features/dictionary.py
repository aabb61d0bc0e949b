"""The dictionary of named concepts: what does not depend on an encoder, and comes with the package.

The names, definitions and weights of words are those of the default space. Beside it there are the words that
were written for each concept, and sentences that readers judged, by which evidence is fitted for an encoder.
"""

from __future__ import annotations

import json
import lzma
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.types import Ints

DICTIONARY = Path(__file__).parents[1] / "spaces" / "dictionary.json.xz"
DEFINITIONS = DICTIONARY.with_name("definitions.txt.xz")
# What judged pairs are used for: to fit log-odds, to calibrate them, and to measure what was fitted.
USES = ("fit", "calibrate", "held out")
# What a reader says of a sentence and a concept, if it speaks of it clearly.
CLEAR = 2


@dataclass(frozen=True, eq=False)
class Judged:
    """Pairs (p,) of one of the different ``sentences`` (s) and a concept: their rows, and which are clear."""

    sentences: tuple[str, ...]
    rows: Ints
    concepts: Ints
    is_clear: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Dictionary:
    """The ``words`` of each concept (c), in the order of the default space's, and judged pairs by use."""

    words: tuple[tuple[str, ...], ...]
    judged: dict[str, Judged]


def definitions() -> list[str]:
    """Return names and definitions of WordNet, "emboss, boss, stamp: raise in a relief": general English."""
    return lzma.decompress(DEFINITIONS.read_bytes()).decode().split("\n")


@cache
def dictionary() -> Dictionary:
    """Return the packaged dictionary."""
    read = json.loads(lzma.decompress(DICTIONARY.read_bytes()))
    judged = {}
    for use in USES:
        own = [(sentence, answers) for of, sentence, answers in read["judged"] if of == use]
        pairs = [
            (row, int(concept), answer == CLEAR)
            for row, (_, answers) in enumerate(own)
            for concept, answer in answers.items()
        ]
        rows, concepts, is_clear = np.array(pairs, np.int64).reshape(-1, 3).T
        judged[use] = Judged(tuple(sentence for sentence, _ in own), rows, concepts, is_clear.astype(bool))
    return Dictionary(tuple(map(tuple, read["words"])), judged)
