"""The training mixture of the default feature space: texts and views of texts, and their embeddings.

Only `fit` parts are used. alpaca_eval and agnews are left out: their licences are non-commercial, and the
weights are shipped. agnews, product_reviews and us_speeches judge how legible the space is on texts that it
does not know. No part is so large that its jargon owns the features.
A *view* is a sentence or a two-sentence window of a text that is not used whole: views multiply the training
data for little cost and let the space fit short texts as well as long ones.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from benchmarks import data
from benchmarks.docstrings import STANDARD_LIBRARY, DocstringSource
from saeindex.encoders import open_encoder
from saeindex.encoders.cache import EmbeddingCache
from saeindex.features.fitting import sentences
from saeindex.protocols import TextEncoder
from saeindex.types import Record

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.types import FloatArray

OTHER_CORPORA = (
    "clinc150", "goemotions", "masc_registers", "medquad", "nlupp", "product_reviews", "scicite",
    "sentence_polarity", "stackoverflow_titles", "subjectivity", "tweeteval_stance", "us_speeches",
)  # fmt: skip
GENERAL_CORPORA = ("oewn", "wikisplit", "topical_chat", "sgd", "gsm8k", "nq_open")
KEPT_OUT = ("agnews", "product_reviews", "us_speeches")
# The most texts of a part that is larger; the field that says which records are of one document.
LIMITS = {
    "arxiv": 20_000, "arxiv_sentences": 8_000, "arxiv_windows": 4_000, "oewn": 50_000,
    "docstrings": 6_000, "docstrings_sentences": 4_000,
}  # fmt: skip
DOCUMENTS = {"topical_chat": "conversation", "sgd": "dialogue"}
HELD_OUT_PACKAGES = ("sklearn", "pydantic", "networkx")
# A fixed list, so that other installed packages do not change the mixture; missing packages are left out.
PACKAGES = (
    STANDARD_LIBRARY, "annotated_types", "anyio", "charset_normalizer", "click", "datasets", "dateutil",
    "dill", "filelock", "fsspec", "functorch", "grimp", "grpc", "h11", "h2", "hpack", "httpcore",
    "httpcore2", "httpx", "httpx2", "huggingface_hub", "hyperframe", "hypothesis", "idna",
    "importlinter", "jinja2", "joblib", "lark", "markdown_it", "mpmath", "multiprocess", "narwhals",
    "numpy", "openai", "packaging", "pandas", "pathspec", "pluggy", "portalocker", "psutil", "pyarrow",
    "pydantic_core", "pygments", "qdrant_client", "regex", "requests", "rich", "scipy",
    "sentence_transformers", "sortedcontainers", "sympy", "tenacity", "threadpoolctl", "tiktoken",
    "tokenizers", "torch", "tqdm", "transformers", "typer", "typing_inspection", "urllib3", "yaml",
    "zstandard",
)  # fmt: skip
WHOLE, SENTENCES, WINDOWS = 45_000, 60_000, 30_000
SEED = 20260712
CACHE = EmbeddingCache(Path(".cache"))


@dataclass(frozen=True, slots=True)
class Mixture:
    """Texts (m,), the document (m,) of each text, and the number of texts of each part."""

    texts: list[str]
    groups: NDArray[np.int64]
    sizes: dict[str, int]

    def embed(self, encoder: TextEncoder) -> FloatArray:
        """Return the embeddings (m, d)."""
        return embed(self.texts, encoder, "mixture")


def load() -> Mixture:
    """Return the mixture, in an order fixed by the seed."""
    rng = random.Random(SEED)
    parts = {
        name: rng.sample(part, LIMITS[name]) if len(part) > LIMITS.get(name, len(part)) else part
        for name, part in (_texts() | _general() | _docstrings()).items()
        if name.removesuffix("_sentences") not in KEPT_OUT
    }
    texts = [text for part in parts.values() for _, text in part]
    _, groups = np.unique([owner for part in parts.values() for owner, _ in part], return_inverse=True)
    return Mixture(texts, groups.astype(np.int64), {name: len(part) for name, part in parts.items()})


def _texts() -> dict[str, list[tuple[str, str]]]:
    """Return, by part, each view with the name of its document."""
    abstracts, rng = _shuffled_abstracts()
    parts = {
        "arxiv": [(f"arxiv {r.id}", r.text) for r in abstracts[:WHOLE]],
        "arxiv_sentences": _views("arxiv", abstracts[WHOLE : WHOLE + SENTENCES], 1, rng),
        "arxiv_windows": _views("arxiv", abstracts[WHOLE + SENTENCES :][:WINDOWS], 2, rng),
    }
    for corpus in OTHER_CORPORA:
        records = list(data.read(corpus, "fit"))
        parts[corpus] = [(f"{corpus} {r.id}", r.text) for r in records]
        long = [record for record in records if len(record.text) > 400]
        if long:
            parts[f"{corpus}_sentences"] = _views(corpus, long, 1, rng)
    return parts


def _general() -> dict[str, list[tuple[str, str]]]:
    parts = {}
    for corpus in GENERAL_CORPORA:
        document = DOCUMENTS.get(corpus)
        parts[corpus] = [
            (f"{corpus} {r.metadata[document] if document else r.id}", r.text)
            for r in data.read(corpus, "fit")
        ]
    return parts


def abstracts(count: int) -> list[Record]:
    """Return up to 105,000 abstracts in the order of the mixture: first whole abstracts, then sentences."""
    shuffled, rng = _shuffled_abstracts()
    others = shuffled[WHOLE:count]
    return shuffled[: min(count, WHOLE)] + [
        Record(r.id, sentences(r.text, 1, rng), r.metadata) for r in others[:SENTENCES]
    ]


def unused_abstracts() -> list[Record]:
    """Return the abstracts that are not used in the mixture."""
    return _shuffled_abstracts()[0][WHOLE + SENTENCES + WINDOWS :]


def _shuffled_abstracts() -> tuple[list[Record], random.Random]:
    rng = random.Random(SEED)
    abstracts = list(data.read("arxiv_train", "fit"))
    rng.shuffle(abstracts)
    return abstracts, rng


def _docstrings() -> dict[str, list[tuple[str, str]]]:
    """Return the docstrings of the packages, whole and as single sentences."""
    rng = random.Random(SEED)
    installed = [name for name in PACKAGES if name == STANDARD_LIBRARY or find_spec(name)]
    records = [r for r in DocstringSource(None, packages=installed) if isinstance(r, Record)]
    return {
        "docstrings": [(f"docstrings {r.id}", r.text) for r in records],
        "docstrings_sentences": _views("docstrings", [r for r in records if len(r.text) > 300], 1, rng),
    }


def _views(corpus: str, records: Sequence[Record], count: int, rng: random.Random) -> list[tuple[str, str]]:
    return [(f"{corpus} {r.id}", sentences(r.text, count, rng)) for r in records]


def held_out_docstrings() -> list[str]:
    """Return the docstrings of packages that are not in the mixture."""
    records = DocstringSource(None, packages=HELD_OUT_PACKAGES)
    return [record.text for record in records if isinstance(record, Record)]


def embed(texts: Sequence[str], encoder: TextEncoder, name: str) -> FloatArray:
    """Return the embeddings of ``texts``, each computed once for all benchmarks."""
    with tqdm(total=len(texts), desc=name, unit=" docs") as bar:
        return CACHE.embed(texts, encoder, bar.update)


if __name__ == "__main__":
    print(load().embed(open_encoder()).shape)
