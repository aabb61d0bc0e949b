"""Steering: the gain (or loss) of a concept at a given loss of the topic, on ``test`` parts.

A record is the query; the concept is a description that is true of it or not, according to its labels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.corpora import NAMES, Corpus, open_corpora
from benchmarks.outcome import Figure, Outcome, at_least
from benchmarks.suites.steering.curves import (
    Curve,
    Pair,
    curve,
    pairs,
    rotated_vectors,
    steered_vectors,
    success_share,
)
from saeindex.concepts.inference import Asked
from saeindex.operations.search import searcher_of
from saeindex.search.query import Query
from saeindex.steering import steering
from saeindex.steering.steering import ResolvedSteer, decoder_direction, direction_of, pursue

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Scores = NDArray[np.float64]
    Directions = Callable[[Corpus, Sequence[Pair]], Scores]

SEED = 0
PAIRS = 200
FEW, MANY = 5, 20
# Corpora whose fields have two values: siblings are negations there, and the field is the topic.
LEFT_OUT = frozenset({"sentence_polarity", "subjectivity", "us_speeches"})
LEVELS = {"up": (0.95, 0.9, 0.85, 0.8, 0.75, 0.7), "down": (0.98, 0.97, 0.96, 0.94, 0.92, 0.9)}
COSINES = (0.9, 0.7, 0.35, 0.05)
DRAWS = 2_000


def run(quick: bool) -> Outcome:
    """Measure; ``quick`` takes three corpora, 500 records and 60 pairs of each."""
    names = [name for name in NAMES if name not in LEFT_OUT]
    names, limit, count = (names[1:4], 500, 60) if quick else (names, None, PAIRS)
    outcome = Outcome("steering", quick, SEED)
    with open_corpora("test", names, limit) as corpora:
        for direction, is_upward in (("up", True), ("down", False)):
            asked = {corpus.name: pairs(corpus, count, is_upward, SEED) for corpus in corpora}
            found = {c.name: measured(c, asked[c.name], is_upward) for c in corpora}
            curves = {name: curves for name, (curves, _) in found.items()}
            outcome.tables[f"steering_{direction}"] = table(curves, LEVELS[direction])
            gains = gains_of(curves, LEVELS[direction], 1 if is_upward else -1)
            outcome.tables[f"steering_gain_{direction}"] = gains
            worst = min(row["gain"] for row in gains)
            n = count * len(corpora)
            outcome.figures[f"gain_{direction}_over_best_baseline"] = at_least(worst, 0.0, "precision@10", n)
            won = successes([shares for _, shares in found.values()])
            outcome.tables[f"steering_success_{direction}"] = won
            outcome.figures[f"success_{direction}_at_cos70"] = Figure(won["ours: name"]["0.7"], "share", n=n)
            for rows in gains:
                if rows["kept"] in (0.8, 0.94):
                    figure = Figure(rows["gain"], "precision@10", n=n)
                    outcome.figures[f"gain_{direction}_{rows['information']}_at_{rows['kept']:g}"] = figure
        outcome.figures["zero_is_identity"] = identity(corpora)
    return outcome


def directions() -> dict[str, dict[str, Directions]]:
    """Return the methods to make a direction, grouped by the information that they use."""
    return {
        "name": {
            "random": random_directions,
            "single decoder direction": decoder,
            "Rocchio": named,
            "ours": engine,
        },
        "siblings": {
            "Rocchio less siblings": named_less_siblings,
            "ours": lambda c, p: engine(c, p, with_siblings=True),
        },
        f"{FEW} examples": example_methods(FEW),
        f"{MANY} examples": example_methods(MANY),
    }


def example_methods(count: int) -> dict[str, Directions]:
    """Return the methods that use ``count`` records with the concept, and as many without it."""
    methods: dict[str, Directions] = {
        "mean difference": lambda c, p: mean_difference(c, p, count),
        "mean difference + name": lambda c, p: unit(mean_difference(c, p, count) + named(c, p)),
        "ours": lambda c, p: engine(c, p, examples=count),
    }
    if count == FEW:
        methods["ours + siblings"] = lambda c, p: engine(c, p, examples=count, with_siblings=True)
    return methods


def measured(
    corpus: Corpus, asked: Sequence[Pair], is_upward: bool
) -> tuple[dict[str, Curve], dict[str, dict[str, float]]]:
    """Return the curve of every method, and its share of successes at each cosine."""
    sign = 1.0 if is_upward else -1.0
    q = corpus.x[[pair.record for pair in asked]].astype(np.float64)
    curves, shares = {}, {}
    for information, methods in directions().items():
        for name, method in methods.items():
            u = sign * method(corpus, asked)
            curves[f"{name}: {information}"] = curve(corpus, asked, partial(stepped, corpus, q, u))
            shares[f"{name}: {information}"] = {
                f"{cosine:g}": success_share(corpus, asked, rotated_vectors(q, u, cosine), is_upward)
                for cosine in COSINES
            }
    u = engine(corpus, asked)
    curves["sparse rescoring: name"] = curve(corpus, asked, rescored(corpus, asked, q, sign * u))
    clamped = clamps(corpus, asked, sign)
    curves["clamp and decode: name"] = curve(corpus, asked, lambda s: clamped(s) @ corpus.x.T)
    return curves, shares


def stepped(corpus: Corpus, q: Scores, u: Scores, strength: float) -> Scores:
    """Return the scores of all records after a step."""
    scores: Scores = steered_vectors(q, u, strength) @ corpus.x.T
    return scores


# Directions (p, d), one row per pair ------------------------------------------------------------------


def engine(corpus: Corpus, asked: Sequence[Pair], with_siblings: bool = False, examples: int = 0) -> Scores:
    """The engine's direction, from the name, the collection, siblings and examples."""
    collection = corpus.index.state
    sample, known, rows = collection.sample(), {}, []
    for number, pair in enumerate(asked):
        key = (pair.concept, number if examples else -1)
        if key not in known:
            others = corpus.siblings[pair.concept] if with_siblings else []
            like, unlike = example_rows(corpus, pair, number, examples) if examples else (None, None)
            request = Asked(
                corpus.vectors[[pair.concept, *others]],
                True,
                None if like is None else corpus.rows.take(like),
                None if unlike is None else corpus.rows.take(unlike),
                corpus.said(pair.concept),
            )
            nearest = collection.nearest(request.vectors[0])
            known[key] = direction_of(sample, request, collection, nearest)[0]
        rows.append(known[key])
    return np.array(rows)


def random_directions(corpus: Corpus, asked: Sequence[Pair]) -> Scores:
    """Random directions."""
    return unit(np.random.default_rng(SEED).normal(size=(len(asked), corpus.x.shape[1])))


def decoder(corpus: Corpus, asked: Sequence[Pair]) -> Scores:
    """The decoder direction of the feature whose label is nearest to the name."""
    space = corpus.index.space
    nearest = (corpus.vectors @ space.label_vectors[: space.sae.n_features].T).argmax(axis=1)
    return unit(space.sae.directions[nearest][concepts(asked)])


def named(corpus: Corpus, asked: Sequence[Pair]) -> Scores:
    """The embedding of the name: Rocchio's step."""
    return unit(corpus.vectors[concepts(asked)])


def named_less_siblings(corpus: Corpus, asked: Sequence[Pair]) -> Scores:
    """The embedding of the name less the mean of its siblings'."""
    none = np.zeros_like(corpus.vectors[0])
    others = np.array([corpus.vectors[i].mean(0) if i else none for i in corpus.siblings])
    return unit((corpus.vectors - others)[concepts(asked)])


def mean_difference(corpus: Corpus, asked: Sequence[Pair], count: int) -> Scores:
    """The mean of examples less that of counter-examples."""
    rows = [example_rows(corpus, pair, number, count) for number, pair in enumerate(asked)]
    return unit(np.array([corpus.x[like].mean(0) - corpus.x[unlike].mean(0) for like, unlike in rows]))


def example_rows(
    corpus: Corpus, pair: Pair, number: int, count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return rows with and without the concept; the query's own record is not among them."""
    rng, is_other = np.random.default_rng([SEED, number]), np.arange(len(corpus.x)) != pair.record
    having = np.flatnonzero(corpus.relevant[pair.concept] & is_other)
    lacking = np.flatnonzero(~corpus.relevant[pair.concept] & is_other)
    return rng.permutation(having)[:count], rng.permutation(lacking)[:count]


def rescored(corpus: Corpus, asked: Sequence[Pair], q: Scores, u: Scores) -> Callable[[float], Scores]:
    """Sparse rescoring: the query is unchanged; activations of the direction's concepts add to the score."""
    space = corpus.index.space
    code = space.encode(corpus.x).to_csr()
    weights = np.zeros((len(asked), space.n_features))
    for row, direction in enumerate(u):
        shown = pursue(direction, space, 16)
        weights[row, list(shown)] = list(shown.values())
    unsteered, gained = q @ corpus.x.T, np.asarray((code @ weights.T).T)
    return lambda strength: unsteered + strength * gained


def clamps(corpus: Corpus, asked: Sequence[Pair], sign: float) -> Callable[[float], Scores]:
    """saerch's method: the label's feature is set to a value in the query's code, which is then decoded."""
    index, space = corpus.index, corpus.index.space
    nearest = (corpus.vectors @ space.label_vectors.T).argmax(axis=1)[concepts(asked)]
    steps = [decoder_direction(index.concepts.resolve(f"#{feature}"), space) for feature in nearest]

    def vectors(strength: float) -> Scores:
        rows = []
        for pair, step in zip(asked, steps, strict=True):
            vector = corpus.x[pair.record]
            # The same scale as a step of that length along a unit direction.
            amount = strength / max(step.typical, 1e-6)
            rows.append(steering.clamp(vector, [ResolvedSteer(step, sign * amount)], space))
        return np.array(rows, np.float64)

    return vectors


def concepts(asked: Sequence[Pair]) -> list[int]:
    """Return the concept of each pair."""
    return [pair.concept for pair in asked]


def unit(vectors: NDArray[np.floating]) -> Scores:
    """Return rows at unit length."""
    rows = np.asarray(vectors, np.float64)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return rows


# Results ----------------------------------------------------------------------------------------------


def table(curves: Mapping[str, Mapping[str, Curve]], levels: Sequence[float]) -> dict[str, dict[str, float]]:
    """Return the mean over corpora of the concept's precision at each level of topic kept."""
    methods = next(iter(curves.values()))
    return {
        method: {
            f"{level:g}": float(np.mean([c[method].at(level).mean() for c in curves.values()]))
            for level in levels
        }
        for method in methods
    }


def gains_of(
    curves: Mapping[str, Mapping[str, Curve]], levels: Sequence[float], sign: int
) -> list[dict[str, Any]]:
    """Return the gain of ours over the best method with the same information by level, with an interval."""
    methods, rows = next(iter(curves.values())), []
    for information in directions():
        theirs = [
            method
            for method in methods
            if method.endswith(f": {information}") and not method.startswith("ours")
        ]
        theirs = [method for method in theirs if not method.startswith("sparse")]
        for level in levels:
            means = {
                method: np.mean([c[method].at(level).mean() for c in curves.values()]) for method in theirs
            }
            baseline = max(means, key=lambda method: sign * float(means[method]))
            differences = [
                sign * (c[f"ours: {information}"].at(level) - c[baseline].at(level)) for c in curves.values()
            ]
            low, high = bootstrap(differences)
            gain = float(np.mean([d.mean() for d in differences]))
            rows.append(
                {
                    "information": information,
                    "kept": level,
                    "gain": gain,
                    "from": low,
                    "to": high,
                    "over": baseline,
                }
            )
    return rows


def bootstrap(groups: Sequence[Scores]) -> tuple[float, float]:
    """Return the 95 % interval of the mean over corpora, pairs resampled within each."""
    rng = np.random.default_rng(SEED)
    means = [np.mean([g[rng.integers(len(g), size=len(g))].mean() for g in groups]) for _ in range(DRAWS)]
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def successes(shares: Sequence[Mapping[str, Mapping[str, float]]]) -> dict[str, dict[str, float]]:
    """Return the mean over corpora of the successes at the cosines of saerch's protocol."""
    return {
        method: {c: float(np.nanmean([of_corpus[method][c] for of_corpus in shares])) for c in row}
        for method, row in shares[0].items()
    }


def identity(corpora: Sequence[Corpus]) -> Figure:
    """Return whether a steer of strength zero leaves vector, drift and hits bitwise unchanged."""
    same, count = True, 0
    for corpus in corpora:
        for query in range(min(5, len(corpus.queries))):
            text = corpus.text(query)
            unmoved = Query(text, steer=f'+"{corpus.text(query - 1)}":0 -#5:0')
            plain, steered = corpus.index.search(text), corpus.index.search(unmoved)
            prepare = searcher_of(corpus.index.state).prepare
            same &= prepare(Query(text)).vector.tobytes() == prepare(unmoved).vector.tobytes()
            same &= list(plain) == list(steered) and steered.drift == 0.0
            count += 1
    return at_least(float(same), 1.0, "holds", count)
