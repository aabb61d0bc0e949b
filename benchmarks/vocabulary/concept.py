"""A concept of the vocabulary, and the files in which the concepts are committed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from saeindex.types import FloatArray

# Concepts as JSON lines, directions in half precision.
CONCEPT_FILE, DIRECTION_FILE = (
    Path(__file__).with_name(name) for name in ("concepts.jsonl", "directions.safetensors")
)


@dataclass(frozen=True, slots=True)
class Concept:
    """A concept: its name, gloss and other names, the WordNet synset, and what was measured.

    ``texts`` is the number of texts that speak of it, ``auroc`` how well its direction finds them in texts
    that did not build it.
    """

    name: str
    gloss: str
    synset: str
    is_kind: bool
    texts: int
    share: float
    auroc: float
    words: tuple[str, ...] = ()


def load() -> tuple[list[Concept], FloatArray]:
    """Return the committed concepts and their directions (c, d)."""
    from safetensors.numpy import load_file

    concepts = [Concept(**json.loads(line)) for line in CONCEPT_FILE.read_text().splitlines()]
    return concepts, load_file(DIRECTION_FILE)["directions"].astype(np.float32)


def save(concepts: Sequence[Concept], directions: FloatArray) -> None:
    """Write what :func:`load` reads."""
    from safetensors.numpy import save_file

    rounded = [replace(one, share=round(one.share, 6), auroc=round(one.auroc, 4)) for one in concepts]
    lines = [json.dumps(asdict(one), ensure_ascii=False) for one in rounded]
    CONCEPT_FILE.write_text("\n".join(lines) + "\n")
    save_file({"directions": directions.astype(np.float16)}, DIRECTION_FILE)
