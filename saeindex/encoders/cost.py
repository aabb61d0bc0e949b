"""What it costs to encode texts: their tokens, and the time by a measured batch."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from saeindex.protocols import TextEncoder

# Texts that are encoded to see how long all take.
TIMED = 256


@dataclass(frozen=True, slots=True)
class Cost:
    """What it takes to encode ``texts``: their ``tokens``, as the encoder or its service counts them, and
    ``seconds``, by a measured batch. Texts that are cached are counted, too.
    """

    texts: int
    tokens: int
    seconds: float

    def __str__(self) -> str:
        if not self.texts:
            return "No text to encode: the embeddings of all are cached"
        return f"{self.texts:,} texts of about {self.tokens:,} tokens to encode, {about(self.seconds)}"


def about(seconds: float) -> str:
    """Write how long something takes, in minutes."""
    return f"about {seconds / 60:.0f} minutes" if seconds >= 90 else "about a minute"


def cost_of(texts: Sequence[str], encoder: TextEncoder, number: int | None = None) -> Cost:
    """Return what it costs to encode texts, or ``number`` such texts, by a batch drawn from all over them."""
    drawn = texts[:: max(1, len(texts) // TIMED)][:TIMED]
    if not drawn:
        return Cost(0, 0, 0.0)
    encoder.encode_document(drawn[:8])  # it may be loaded first
    billed = getattr(encoder, "billed", 0)
    started = time.perf_counter()
    encoder.encode_document(drawn)
    seconds = time.perf_counter() - started
    tokens = getattr(encoder, "billed", 0) - billed or sum(len(encoder.token_spans(one)) for one in drawn)
    number = len(texts) if number is None else number
    scale = sum(map(len, texts)) / sum(map(len, drawn)) * number / len(texts)
    return Cost(number, round(scale * tokens), scale * seconds)
