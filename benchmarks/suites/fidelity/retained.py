"""The ranking quality that remains when documents are replaced by their reconstructions."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import data, mixture
from saeindex import open_encoder
from saeindex.sae.metrics import relevance_ndcg

if TYPE_CHECKING:
    from saeindex import FeatureSpace

RECORDS = 1_500


def properties() -> dict[str, list[dict[str, Any]]]:
    """Return the fixed property queries by corpus."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in (data.folder() / "properties.jsonl").read_text().splitlines():
        entry = json.loads(line)
        found[entry["corpus"]].append(entry)
    return dict(found)


def has_value(metadata: Any, field: str, value: Any) -> bool:
    """Return whether a record is relevant: its field equals the value or contains it."""
    found = metadata.get(field)
    return value in found if isinstance(found, list) else found == value


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
