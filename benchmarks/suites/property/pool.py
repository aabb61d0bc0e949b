"""Property retrieval with feedback (judged concepts or documents), and with all corpora in one index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.corpora import CachedEncoder, Corpus
from benchmarks.outcome import Figure, at_least
from benchmarks.ranking import Judged, average_precision, overall
from benchmarks.suites.property import methods
from saeindex import FeatureIndex
from saeindex.concepts.inference import Asked

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHOWN = 10
# A person accepts a concept that makes the property twice as likely, and rejects one that makes it less so.
ACCEPTED_FROM, REJECTED_BELOW = 2.0, 1.0
# The depth of a ranking in the mixed pool: the records of the engine's second pass.
DEPTH = 1_000
# One query in so many is searched there.
EVERY = 3


def feedback_figures(chosen: Sequence[Corpus], tested: Sequence[Corpus]) -> dict[str, Figure]:
    """Return MAP with ten judged concepts and with ten judged documents, on the records not judged.

    Concepts are judged by the labels of the ``choose`` part, documents (the first ten hits) by their own.
    """
    known = {corpus.name: corpus for corpus in chosen}
    found: dict[str, list[Judged]] = {"none": [], "features": [], "documents": []}
    for corpus in tested:
        if corpus.name not in known:
            continue
        for query in range(len(corpus.queries)):
            ap = feedback_of(corpus, known[corpus.name], query)
            for name, value in ap.items():
                found[name].append(Judged(corpus.name, corpus.kinds[query], (value,)))
    features, documents = overall(found["features"]), overall(found["documents"])
    n = len(found["features"])
    return {
        "feedback_none": Figure(overall(found["none"]), "MAP", n=n),
        "feedback_10_features": at_least(features, round(documents, 4), "MAP", n),
        "feedback_10_documents": Figure(documents, "MAP", n=n),
    }


def feedback_of(corpus: Corpus, known: Corpus, query: int) -> dict[str, float]:
    """Return the AP without feedback, with ten concepts judged, and with ten documents judged."""
    relevant = corpus.relevant[query]
    asked = Asked(corpus.vectors[[query]], judged=corpus.said(query))
    first = methods.scored(corpus, asked, asked.recipe)
    top = np.argsort(-first, kind="stable")[:SHOWN]
    kept = np.ones(len(first), bool)
    kept[top] = False
    if not relevant[kept].any():
        return {}
    verdicts = verdicts_of(known, corpus.text(query), methods.shown_concepts(corpus, query)[:SHOWN])
    like, unlike = top[relevant[top]], top[~relevant[top]]
    documents = replace(
        asked,
        like=corpus.rows.take(like) if len(like) else None,
        unlike=corpus.rows.take(unlike) if len(unlike) else None,
    )
    rankings = {
        "none": first,
        "features": methods.judged(corpus, query, asked.recipe, verdicts),
        "documents": methods.scored(corpus, documents, documents.recipe),
    }
    return {name: average_precision(row[kept], relevant[kept]) for name, row in rankings.items()}


def verdicts_of(known: Corpus, text: str, concepts: Sequence[int]) -> dict[int, float]:
    """Return which concepts a person who knows the property accepts (+1) and rejects (-1)."""
    texts = [query["query"] for query in known.queries]
    if text not in texts:
        return {}
    relevant = known.relevant[texts.index(text)]
    verdicts, n_features = {}, known.index.space.without_terms().n_features
    for concept in concepts:
        if concept >= n_features:  # a term of one of the collections
            continue
        having = known.rows.concepts[:, [concept]].toarray().ravel() > 0
        lift = relevant[having].mean() / relevant.mean() if having.any() else 1.0
        if lift >= ACCEPTED_FROM or lift < REJECTED_BELOW:
            verdicts[concept] = 1.0 if lift >= ACCEPTED_FROM else -1.0
    return verdicts


def pool_table(corpora: Sequence[Corpus]) -> dict[str, dict[str, float]]:
    """Return AP in one index of all corpora, by the engine's own searches, over the first thousand hits."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "pool.idx"
        with FeatureIndex.create(path, corpora[0].index.space, encoder=CachedEncoder()) as pool:
            for corpus in corpora:
                pool.upsert([replace(r, id=f"{corpus.name} {r.id}") for r in corpus.records])
            return measured(pool, corpora)


def measured(pool: FeatureIndex, corpora: Sequence[Corpus]) -> dict[str, dict[str, float]]:
    """Return the mean over corpora of AP and P@10 of three kinds of search."""
    found: dict[str, list[Judged]] = {}
    for corpus in corpora:
        for query in range(0, len(corpus.queries), EVERY):
            ids = np.array([f"{corpus.name} {record.id}" for record in corpus.records])
            relevant = set(ids[corpus.relevant[query]].tolist())
            searches: dict[str, dict[str, Any]] = {
                "dense": {"text": corpus.text(query)},
                "ours, lone": {"property": corpus.text(query)},
                "ours, siblings": {"property": corpus.text(query), "against": corpus.others(query)},
            }
            for name, options in searches.items():
                hits = pool.search(**options, limit=DEPTH)
                is_hit = np.array([hit.id in relevant for hit in hits])
                values = (truncated_ap(is_hit, len(relevant)), float(is_hit[:10].mean()))
                found.setdefault(name, []).append(Judged(corpus.name, corpus.kinds[query], values))
    return {name: {"MAP": overall(judged), "P@10": overall(judged, 1)} for name, judged in found.items()}


def truncated_ap(is_hit: NDArray[np.bool_], relevant: int) -> float:
    """Return AP where nothing is ranked beyond the hits: records that are not found add nothing."""
    precision = np.cumsum(is_hit) / np.arange(1, len(is_hit) + 1)
    return float((precision * is_hit).sum() / relevant)
