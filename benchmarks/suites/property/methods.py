"""Ways to rank a corpus by a property: ours, and the baselines. Each returns scores (q, m)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import bm25s
import numpy as np
from sklearn.linear_model import LogisticRegression

from saeindex.concepts.feedback import Feedback
from saeindex.concepts.inference import Asked, Recipe, Scorer, contrast, infer, pool_of
from saeindex.search.property import interpembed_code

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from benchmarks.corpora import Corpus

    Scores = NDArray[np.float64]

RRF_K = 60


class Draw(NamedTuple):
    """A query with examples: rows with the property, and as many without it."""

    query: int
    like: NDArray[np.int64]
    unlike: NDArray[np.int64]


# Without examples -------------------------------------------------------------------------------------


def dense(corpus: Corpus) -> Scores:
    """Cosine of description and record."""
    return (corpus.vectors @ corpus.x.T).astype(np.float64)


def dense_siblings(corpus: Corpus) -> Scores:
    """Cosine with the description, scaled, less how well the other values of its field fit."""
    scores = dense(corpus)
    scaled = (scores - scores.mean(1, keepdims=True)) / scores.std(1, keepdims=True)
    return np.array([
        contrast(scaled[[query, *others]].T)[:, 0] for query, others in enumerate(corpus.siblings)
    ])  # fmt: skip


def bm25(corpus: Corpus) -> Scores:
    """BM25 of the description's words, with the library's defaults."""
    tokens = bm25s.tokenize([record.text for record in corpus.records], show_progress=False)
    engine = bm25s.BM25()
    engine.index(tokens, show_progress=False)
    asked = bm25s.tokenize(
        [query["query"] for query in corpus.queries], return_ids=False, show_progress=False
    )
    return np.array([engine.get_scores(words) for words in asked], np.float64)


def interpembed(corpus: Corpus) -> Scores:
    """InterpEmbed's method, as implemented in the engine."""
    space = corpus.index.space
    p90 = np.where(np.isfinite(space.calibration.p90), space.calibration.p90, 1.0)
    scores = []
    for vector in corpus.vectors:
        code = interpembed_code(vector, space)
        weights = np.zeros(space.n_features)
        weights[code.indices] = code.values * p90[code.indices]
        scores.append(corpus.rows.concepts @ weights)
    return np.array(scores)


def rrf(*lists: Scores) -> Scores:
    """Reciprocal rank fusion of full rankings."""
    fused: Scores = np.sum([1.0 / (RRF_K + ranks(scores)) for scores in lists], axis=0)
    return fused


def prf(corpus: Corpus, depth: int) -> Scores:
    """Centred pseudo-relevance feedback: query and nearest records, less the mean of all."""
    mean = corpus.x.mean(0)
    scores = []
    for vector, first in zip(corpus.vectors, dense(corpus), strict=True):
        nearest = np.argsort(-first, kind="stable")[:depth]
        scores.append((unit(vector - mean) + unit(corpus.x[nearest].mean(0) - mean)) @ corpus.x.T)
    return np.array(scores, np.float64)


def ours(corpus: Corpus, recipe: Recipe, with_siblings: bool) -> Scores:
    """Our default, over the whole corpus: description, and optionally the other values of its field."""
    found = []
    for query in range(len(corpus.queries)):
        others = corpus.siblings[query] if with_siblings else []
        asked = Asked(corpus.vectors[[query, *others]], judged=corpus.said(query))
        found.append(scored(corpus, asked, recipe))
    return np.array(found)


def judged(corpus: Corpus, query: int, recipe: Recipe, verdicts: Mapping[int, float]) -> Scores:
    """Our default for one query, with accepted (+1) and rejected (-1) concepts."""
    asked = Asked(corpus.vectors[[query]], judged={**corpus.said(query), **verdicts})
    return scored(corpus, asked, recipe)


def shown_concepts(corpus: Corpus, query: int) -> list[int]:
    """Return the concepts that the engine shows first for a query."""
    plan = corpus.index.plan(property=corpus.text(query))
    assert isinstance(plan.feedback, Feedback)
    return [concept.id for concept in plan.feedback.concepts]


# With examples ----------------------------------------------------------------------------------------


def few_shot(corpus: Corpus, draws: Sequence[Draw], recipe: Recipe, with_siblings: bool = False) -> Scores:
    """Our default with the description and examples."""
    found = []
    for draw in draws:
        others = corpus.siblings[draw.query] if with_siblings else []
        like, unlike = corpus.rows.take(draw.like), corpus.rows.take(draw.unlike)
        asked = Asked(corpus.vectors[[draw.query, *others]], True, like, unlike, corpus.said(draw.query))
        found.append(scored(corpus, asked, recipe))
    return np.array(found)


def centroid(corpus: Corpus, draws: Sequence[Draw]) -> Scores:
    """Cosine with the mean of the examples."""
    return np.array([unit(corpus.x[draw.like].mean(0)) @ corpus.x.T for draw in draws], np.float64)


def rocchio(corpus: Corpus, draws: Sequence[Draw], text: float, unlike: float) -> Scores:
    """Centred mean of the examples, plus ``text`` times the description, less ``unlike`` times the others."""
    mean, found = corpus.x.mean(0), []
    for draw in draws:
        toward = unit(corpus.x[draw.like].mean(0) - mean) + text * unit(corpus.vectors[draw.query] - mean)
        found.append((toward - unlike * unit(corpus.x[draw.unlike].mean(0) - mean)) @ corpus.x.T)
    return np.array(found, np.float64)


def logistic(corpus: Corpus, draws: Sequence[Draw], strength: float, prior: float = 0.0) -> Scores:
    """Logistic regression on the examples' embeddings, plus ``prior`` times the description's cosine."""
    found = []
    for draw in draws:
        x = corpus.x[np.concatenate([draw.like, draw.unlike])]
        y = np.repeat([1, 0], [len(draw.like), len(draw.unlike)])
        weights = LogisticRegression(C=strength, max_iter=300).fit(x, y).coef_[0]
        scores = standard(corpus.x @ weights)
        found.append(scores + prior * standard(corpus.x @ corpus.vectors[draw.query]))
    return np.array(found, np.float64)


def scored(corpus: Corpus, asked: Asked, recipe: Recipe) -> Scores:
    """Return the engine's own scores of all records of a corpus."""
    collection = corpus.index.state
    sample = collection.sample()
    nearest = collection.nearest(asked.vectors[0])
    for rows in (asked.like, asked.unlike):
        if rows is not None and nearest is not None:
            nearest = nearest.joined(rows)
    inferred = infer(sample, pool_of(sample, nearest), asked, collection.encoder, recipe)
    return Scorer(inferred, sample, recipe.neighbours)(corpus.rows, corpus.around).total


def ranks(scores: Scores) -> Scores:
    """Return each record's rank from 1, by row."""
    order = np.argsort(-scores, axis=1, kind="stable")
    found = np.empty_like(scores)
    np.put_along_axis(found, order, np.arange(1, scores.shape[1] + 1)[None].astype(np.float64), axis=1)
    return found


def standard(scores: Scores) -> Scores:
    """Return scores with mean 0 and deviation 1."""
    scaled: Scores = (scores - scores.mean()) / (scores.std() + 1e-12)
    return scaled


def unit(vector: NDArray[np.floating]) -> Scores:
    """Return a vector at unit length."""
    return np.asarray(vector / (np.linalg.norm(vector) + 1e-12), np.float64)
