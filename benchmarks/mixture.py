"""The training mixture of the default feature space: texts and views of texts, and their embeddings.

Only `fit` parts. alpaca_eval and agnews stay out: their licences are non-commercial and weights are shipped.
A *view* is a sentence or a two-sentence window of a text that is not used whole: views multiply the training
data for little cost and let the space fit short texts as well as long ones.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from benchmarks import data
from saeindex.encoders import open_encoder
from saeindex.indexing.docstrings import DocstringSource
from saeindex.protocols import TextEncoder
from saeindex.types import Record

if TYPE_CHECKING:
    from saeindex.types import FloatArray

OTHER_CORPORA = (
    "clinc150", "goemotions", "masc_registers", "medquad", "nlupp", "product_reviews", "scicite",
    "sentence_polarity", "stackoverflow_titles", "subjectivity", "tweeteval_stance", "us_speeches",
)  # fmt: skip
HELD_OUT_PACKAGES = ("sklearn", "pydantic", "networkx")
WHOLE, SENTENCES, WINDOWS = 45_000, 60_000, 30_000
SEED = 20260712
SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9])|\n+")
CACHE = Path(".cache/embeddings")
CHUNK = 4_096


def texts() -> dict[str, list[str]]:
    """Return the mixture by part, each text once, in an order fixed by the seed."""
    abstracts, dice = _shuffled_abstracts()
    parts = {
        "arxiv": [record.text for record in abstracts[:WHOLE]],
        "arxiv_sentences": [view(r, 1, dice) for r in abstracts[WHOLE : WHOLE + SENTENCES]],
        "arxiv_windows": [view(r, 2, dice) for r in abstracts[WHOLE + SENTENCES :][:WINDOWS]],
    }
    for corpus in OTHER_CORPORA:
        records = list(data.read(corpus, "fit"))
        parts[corpus] = [record.text for record in records]
        long = [record for record in records if len(record.text) > 400]
        if long:
            parts[f"{corpus}_sentences"] = [view(record, 1, dice) for record in long]
    return parts


def unused_abstracts() -> list[Record]:
    """Return the abstracts of which the mixture uses nothing."""
    return _shuffled_abstracts()[0][WHOLE + SENTENCES + WINDOWS :]


def _shuffled_abstracts() -> tuple[list[Record], random.Random]:
    dice = random.Random(SEED)
    abstracts = list(data.read("arxiv_train", "fit"))
    dice.shuffle(abstracts)
    return abstracts, dice


def docstrings() -> dict[str, list[str]]:
    """Return the docstrings of the installed packages, whole and as single sentences."""
    dice = random.Random(SEED)
    records = [r for r in DocstringSource(None, exclude_packages=HELD_OUT_PACKAGES) if isinstance(r, Record)]
    return {
        "docstrings": [record.text for record in records],
        "docstrings_sentences": [view(record, 1, dice) for record in records if len(record.text) > 300],
    }


def view(record: Record, sentences: int, dice: random.Random) -> str:
    """Return a run of ``sentences`` sentences of the record."""
    pieces = [piece for piece in SENTENCE_END.split(record.text) if len(piece) > 20] or [record.text]
    start = dice.randrange(max(1, len(pieces) - sentences + 1))
    return " ".join(pieces[start : start + sentences])


def embed(texts: Sequence[str], encoder: TextEncoder, name: str) -> FloatArray:
    """Return the embeddings of ``texts``, computed once: the cache is addressed by content and encoder."""
    chunks = [list(texts[at : at + CHUNK]) for at in range(0, len(texts), CHUNK)]
    return np.concatenate([_embed_chunk(chunk, encoder) for chunk in tqdm(chunks, desc=name)])


def _embed_chunk(chunk: list[str], encoder: TextEncoder) -> FloatArray:
    digest = hashlib.sha256(repr(encoder.identity).encode())
    for text in chunk:
        digest.update(hashlib.sha256(text.encode()).digest())
    path = CACHE / f"{digest.hexdigest()[:32]}.npy"
    if not path.is_file():
        CACHE.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp.npy")
        np.save(temporary, encoder.encode_document(chunk))
        temporary.rename(path)
    vectors: FloatArray = np.load(path)
    return vectors


def embedded() -> Iterator[tuple[str, list[str], FloatArray]]:
    """Yield each part's name, texts and embeddings."""
    encoder = open_encoder()
    for name, part in (texts() | docstrings()).items():
        yield name, part, embed(part, encoder, name)


if __name__ == "__main__":
    for name, _, vectors in embedded():
        print(f"{name:28} {vectors.shape}")
