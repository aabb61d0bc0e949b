"""The ranking quality that remains when documents are replaced by their reconstructions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import data, mixture
from benchmarks.data import has_value, properties
from saeindex import open_encoder
from saeindex.sae.metrics import nearest

if TYPE_CHECKING:
    from saeindex import FeatureSpace
    from saeindex.types import FloatArray

RECORDS = 1_500


def relevance_ndcg(
    queries: FloatArray, documents: FloatArray, relevant: Sequence[Sequence[int]], k: int = 10
) -> float:
    """Return the mean nDCG@k of searching ``documents`` (m, d); ``relevant[i]`` are the rows for query i.

    A query without relevant rows is left out.
    """
    hits = nearest(queries, documents, min(k, len(documents)))
    discounts = 1 / np.log2(np.arange(2, hits.shape[1] + 2))
    scores = [
        float(discounts[np.isin(ranked, list(wanted))].sum() / discounts[: len(set(wanted))].sum())
        for ranked, wanted in zip(hits, relevant, strict=True)
        if len(wanted)
    ]
    return float(np.mean(scores))


def ndcg_retained(space: FeatureSpace) -> tuple[float, str, None, None, int]:
    """Return the mean over corpora of nDCG@10 with reconstructed documents over that with dense ones.

    Queries are the fixed property queries with their true labels, on `test` parts.
    """
    encoder, ratios, queries_used = open_encoder(), [], 0
    for corpus, queries in properties().items():
        records = list(data.read(corpus, "test", RECORDS))
        x = mixture.embed([r.text for r in records], encoder, corpus)
        relevant = [
            [i for i, r in enumerate(records) if has_value(r.metadata, q["field"], q["value"])]
            for q in queries
        ]
        kept = [i for i, rows in enumerate(relevant) if rows]
        q = encoder.encode_query([queries[i]["query"] for i in kept])
        wanted = [relevant[i] for i in kept]
        reconstructed = space.sae.decode(space.sae.encode(x))
        ratios.append(relevance_ndcg(q, reconstructed, wanted) / relevance_ndcg(q, x, wanted))
        queries_used += len(kept)
    return float(np.mean(ratios)), "ratio", None, None, queries_used
