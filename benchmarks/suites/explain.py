"""Explanations: whether parts sum to the score, what they leave unnamed, whether named features matter.

An index of real records, queried with other records' texts and with the fixed property descriptions.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import data
from benchmarks.corpora import CachedEncoder
from benchmarks.data import properties
from benchmarks.outcome import Figure, Outcome, at_least, at_most
from saeindex import FeatureIndex, FeatureSpace, Query, Record
from saeindex.config import DEFAULT_SPACE, DENSE
from saeindex.indexing.points import code_of, point_id
from saeindex.operations.search import searcher_of
from saeindex.search.explain import Explanation
from saeindex.search.hits import Hit, compare

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.protocols import Point

SEED = 0
CORPORA = ("arxiv_heldout", "goemotions", "masc_registers", "medquad", "product_reviews", "us_speeches")
STEER = 2
KINDS: dict[str, dict[str, Any]] = {
    "dense": {"using": "dense"},
    "sparse": {"using": "sae"},
    "fused": {"using": "fused"},
    "words": {"using": "words"},
}
TOP, DRAWS = 3, 20


def run(quick: bool) -> Outcome:
    """Measure; ``quick`` uses a tenth of the records and queries."""
    size, count = (100, 10) if quick else (1_000, 100)
    records, queries = corpus(size, count)
    space = FeatureSpace.load(DEFAULT_SPACE)
    outcome = Outcome("explain", quick, SEED)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "explain.idx")
        with FeatureIndex.create(path, space, encoder=CachedEncoder()) as index:
            index.upsert(records)
            outcome.figures.update(sum_figures(index, queries, outcome.tables))
            outcome.figures.update(ablation_figures(index, queries))
            outcome.figures["explain_ms_10_hits"] = explain_ms(index, queries)
    return outcome


def corpus(size: int, count: int) -> tuple[list[Record], list[str]]:
    """Return ``size`` records per corpus, and ``count`` queries: half further records, half descriptions."""
    records: list[Record] = []
    others: list[str] = []
    each = math.ceil(count / 2 / len(CORPORA))
    for name in CORPORA:
        read = list(data.read(name, "test", size + each))
        records += [Record(f"{name}-{r.id}", r.text, r.metadata) for r in read[:-each]]
        others += [record.text for record in read[-each:]]
    described = [query["query"] for queries in properties().values() for query in queries]
    chosen = np.random.default_rng(SEED).permutation(len(described))[: count // 2]
    return records, others[: count - len(chosen)] + [described[i] for i in chosen]


def sum_figures(index: FeatureIndex, queries: Sequence[str], tables: dict[str, Any]) -> dict[str, Figure]:
    """Return the largest difference of a score and its parts, over every kind of query, plain and steered."""
    errors: dict[str, float] = {}
    hits_of: dict[str, int] = {}
    compared: list[float] = []
    unnamed: list[float] = []
    for (kind, options), is_steered in product(KINDS.items(), (False, True)):
        name = f"{kind} steered" if is_steered else kind
        hits = []
        for text in queries:
            steer = steering(index, text) if is_steered and kind != "words" else ""
            hits.append(index.search(text, steer=steer, explain=True, **options))
        errors[name] = max(sum_error(hit.explanation, hit.score) for found in hits for hit in found)
        hits_of[name] = sum(map(len, hits))
        unnamed += [share for found in hits for hit in found for share in residual_shares(hit)]
        compared += [compare_error(found[0], found[-1]) for found in hits if len(found) > 1]
    tables["sum_error"] = {
        name: {"largest error": error, "hits": hits_of[name]} for name, error in errors.items()
    }
    return {
        "max_sum_error": at_most(max(errors.values()), 1e-5, "difference", sum(hits_of.values())),
        "max_compare_error": at_most(max(compared), 1e-5, "difference", len(compared)),
        "residual_share": Figure(float(np.mean(unnamed)), "share", n=len(unnamed)),
    }


def steering(index: FeatureIndex, text: str) -> str:
    """Return a steer by two features: away from the query's strongest, towards another one."""
    code = index.space.sae.encode(index.encoder.encode_query([text]))
    indices, values = code.row(0)
    strongest = int(indices[np.argmax(values)])
    return f"-#{strongest}:{STEER} +#{(strongest * 7 + 11) % index.space.n_features}:{STEER}"


def sum_error(explanation: Explanation | None, score: float | None) -> float:
    """Return how far the parts, and the total, are from the score."""
    assert explanation is not None
    assert score is not None
    summed = math.fsum(part.value for part in explanation.parts)
    return max(abs(summed - score), abs(explanation.total - score))


def residual_shares(hit: Hit) -> list[float]:
    """Return |residual| / |score| of a hit whose score has a residual: a dense one, not those of a fusion."""
    assert hit.explanation is not None
    return [abs(part.value / hit.score) for part in hit.explanation.parts if part.kind == "residual"]


def compare_error(a: Hit, b: Hit) -> float:
    """Return how far the differences of two hits are from the difference of their scores."""

    comparison = compare(a, b)
    summed = math.fsum(part.value for part in comparison.differences)
    return max(abs(comparison.total - (a.score - b.score)), abs(summed - comparison.total))


def ablation_figures(index: FeatureIndex, queries: Sequence[str]) -> dict[str, Figure]:
    """Return in which share of dense hits the top three features matter more than three random active ones.

    Deleting features takes z_i d_i off the document's vector, which is then scaled to unit length, as a
    store would: the score is the cosine. Random sets are of all active features, the top three included.
    """
    rng = np.random.default_rng(SEED)
    against_mean, against_one, drops = [], [], []
    for text in queries:
        q = searcher_of(index.state).prepare(Query(text, using="dense")).vector.astype(np.float64)
        hits = index.search(text, using="dense", explain=True, unnamed=True)
        points = index.state.store.get([point_id(hit.id) for hit in hits], with_vectors=True)
        for hit, point in zip(hits, points, strict=True):
            assert hit.explanation is not None
            named = [part for part in hit.explanation.parts if part.kind == "feature"]
            named.sort(key=lambda part: -part.value)
            active = code_of(point).indices
            top = ablated(index, q, point, [part.feature or 0 for part in named[:TOP]])
            random = [ablated(index, q, point, rng.choice(active, TOP, replace=False)) for _ in range(DRAWS)]
            against_mean.append(top < np.mean(random))
            against_one.append(top < random[0])
            drops.append((hit.score - top, hit.score - float(np.mean(random))))
    top_drop, random_drop = np.mean(drops, axis=0)
    return {
        "ablation_share": at_least(float(np.mean(against_mean)), 0.95, "share", len(drops)),
        "ablation_share_one_draw": Figure(float(np.mean(against_one)), "share", n=len(drops)),
        "ablation_drop_top": Figure(float(top_drop), "cosine", n=len(drops)),
        "ablation_drop_random": Figure(float(random_drop), "cosine", n=len(drops)),
    }


def ablated(index: FeatureIndex, q: Any, point: Point, features: Sequence[int] | NDArray[np.int32]) -> float:
    """Return the cosine of ``q`` (d,) and a document without some of its features."""
    code = code_of(point)
    places = np.searchsorted(code.indices, np.sort(np.asarray(features)))
    directions = index.space.sae.directions[code.indices[places]].astype(np.float64)
    x = np.asarray(point.vectors[DENSE], np.float64) - code.values[places].astype(np.float64) @ directions
    return float(q @ x / np.linalg.norm(x))


def explain_ms(index: FeatureIndex, queries: Sequence[str]) -> Figure:
    """Return what explaining ten dense hits adds to a search (median of queries; the faster of two runs)."""

    def took(text: str, explain: bool) -> float:
        runs = [index.search(text, explain=explain).timings_ms for _ in range(2)]
        return min(timings["search"] + timings["explain"] for timings in runs)

    added = [took(text, True) - took(text, False) for text in queries]
    return at_most(median(added), 10, "ms", len(added))
