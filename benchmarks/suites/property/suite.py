"""Property retrieval: 199 fixed descriptions on the ``test`` parts of 14 corpora; few-shot too."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.corpora import Corpus, open_corpora
from benchmarks.outcome import Figure, Outcome, at_least
from benchmarks.ranking import (
    Judged,
    average_precision,
    by_corpus,
    by_kind,
    interval,
    overall,
    precision_at_10,
    ratio_interval,
)
from benchmarks.suites.property import methods
from benchmarks.suites.property.grid import (
    RECIPES,
    SAFE,
    SINGLE,
    Choice,
    choose,
    choose_by_examples,
    example_ap,
)
from benchmarks.suites.property.hard_collections import hard_collections
from benchmarks.suites.property.methods import Draw
from benchmarks.suites.property.pool import feedback_figures, pool_table
from saeindex.concepts.inference import ALONE, Recipe

if TYPE_CHECKING:
    from numpy.typing import NDArray

SEED = 0
EXAMPLES = (5, 10)
DRAWS = 2
MIN_LEFT = 5
STRENGTHS = {f"C {c:g}": c for c in (0.1, 1.0, 10.0, 100.0)}
PRIORS = {f"prior {p:g}": p for p in (0.25, 0.5, 1.0)}
ROCCHIO = {f"text {t:g}, unlike {u:g}": (t, u) for t in (0.0, 0.5, 1.0) for u in (0.0, 0.3)}

Results = dict[str, list[Judged]]


def run(quick: bool) -> Outcome:
    """Measure; ``quick`` takes three corpora, 300 records of each, and no hard collections."""
    names = ("clinc150", "goemotions", "scicite") if quick else None
    limit = 300 if quick else None
    outcome = Outcome("property", quick, SEED)
    with opened("choose", names, limit) as chosen:
        with hard_collections(quick) as hard:
            tuned = tune(chosen, hard)
        outcome.tables["property_constants"] = constants_table(tuned)
        with opened("test", names, limit) as tested:
            results = by_description(tested, tuned)
            for count in EXAMPLES:
                results |= by_examples(tested, tuned, count)
            outcome.figures.update(figures(results))
            outcome.figures.update(feedback_figures(chosen, tested))
            outcome.tables["property_methods"] = methods_table(results)
            outcome.tables["property_by_corpus"] = corpus_table(results)
            outcome.tables["property_weakest"] = weakest(results, tested)
            outcome.tables["property_pool"] = pool_table(tested)
    return outcome


def opened(part: str, names: Sequence[str] | None, limit: int | None) -> Any:
    """Open the corpora of a part; all of them if ``names`` is None."""
    return open_corpora(part, limit=limit) if names is None else open_corpora(part, names, limit)


def tune(corpora: Sequence[Corpus], hard: Sequence[tuple[str, Corpus]]) -> dict[str, Choice[Any]]:
    """Return the best setting for each corpus on the ``choose`` parts of the others.

    For a description alone, on the collections of failing kinds, too, by the corpora that they are of.
    """
    every, simple = [*corpora, *(one for _, one in hard)], (methods.dense, partial(methods.prf, depth=20))
    sources = {one.name: source for source, one in hard}
    tuned: dict[str, Choice[Any]] = {
        "lone": choose(every, SINGLE, lambda c, r: methods.ours(c, r, False), simple, sources),
        "siblings": choose(corpora, RECIPES, lambda c, r: methods.ours(c, r, True)),
    }
    drawn = {corpus.name: draws(corpus, max(EXAMPLES), 1) for corpus in corpora}
    tuned["few"] = choose_by_examples(corpora, drawn, RECIPES, methods.few_shot)
    for count in EXAMPLES:
        drawn = {corpus.name: draws(corpus, count, 1) for corpus in corpora}
        tuned[f"logistic {count}"] = choose_by_examples(corpora, drawn, STRENGTHS, methods.logistic)
        best = max(STRENGTHS, key=tuned[f"logistic {count}"].mean)
        tuned[f"prior {count}"] = choose_by_examples(corpora, drawn, PRIORS, with_prior(STRENGTHS[best]))
        tuned[f"rocchio {count}"] = choose_by_examples(
            corpora, drawn, ROCCHIO, lambda c, d, weights: methods.rocchio(c, d, *weights)
        )
    return tuned


def with_prior(strength: float) -> Callable[[Corpus, Sequence[Draw], float], NDArray[np.float64]]:
    """Return logistic regression of this strength, by the weight of its text prior."""
    return lambda corpus, drawn, prior: methods.logistic(corpus, drawn, strength, prior)


def draws(corpus: Corpus, count: int, repeats: int) -> list[Draw]:
    """Return ``count`` records with and without each property, if enough remain."""
    found = []
    for query, relevant in enumerate(corpus.relevant):
        having, lacking = np.flatnonzero(relevant), np.flatnonzero(~relevant)
        if len(having) < count + MIN_LEFT or len(lacking) < count:
            continue
        for repeat in range(repeats):
            rng = np.random.default_rng([SEED, query, repeat])
            found.append(Draw(query, rng.permutation(having)[:count], rng.permutation(lacking)[:count]))
    return found


def by_description(corpora: Sequence[Corpus], tuned: Mapping[str, Choice[Any]]) -> Results:
    """Return the results of every method that has only the description."""
    results: Results = {}
    for corpus in corpora:
        dense, bm25, sae = methods.dense(corpus), methods.bm25(corpus), methods.interpembed(corpus)
        scores = {
            "BM25": bm25,
            "dense": dense,
            "InterpEmbed SAE": sae,
            "RRF dense + BM25": methods.rrf(dense, bm25),
            "RRF dense + SAE": methods.rrf(dense, sae),
            "dense PRF 20": methods.prf(corpus, 20),
            "dense PRF 100": methods.prf(corpus, 100),
            "dense, siblings": methods.dense_siblings(corpus),
            "ours, lone": methods.ours(corpus, tuned["lone"].setting(corpus.name), False),
            "ours, siblings": methods.ours(corpus, tuned["siblings"].setting(corpus.name), True),
        }
        for name, with_siblings in (("lone", False), ("siblings", True)):
            shipped = Recipe() if with_siblings else ALONE
            is_default = tuned[name].setting(corpus.name) == shipped
            ours = scores[f"ours, {name}"] if is_default else methods.ours(corpus, shipped, with_siblings)
            scores[f"ours, {name}, as shipped"] = ours
        for name, found in scores.items():
            judged = [
                (average_precision(s, r), precision_at_10(s, r))
                for s, r in zip(found, corpus.relevant, strict=True)
            ]
            kept = zip(corpus.kinds, judged, strict=True)
            results.setdefault(name, []).extend(Judged(corpus.name, kind, pair) for kind, pair in kept)
    return results


def by_examples(corpora: Sequence[Corpus], tuned: Mapping[str, Choice[Any]], count: int) -> Results:
    """Return the results of every method that has examples; dense on the same queries and records."""
    results: Results = {}
    for corpus in corpora:
        drawn, name = draws(corpus, count, DRAWS), corpus.name
        if not drawn:
            continue
        recipe, prior = tuned["few"].setting(name), tuned[f"prior {count}"].setting(name)
        strength = tuned[f"logistic {count}"].setting(name)
        scores = {
            "dense, same queries": methods.dense(corpus)[[draw.query for draw in drawn]],
            "centroid": methods.centroid(corpus, drawn),
            "Rocchio, centred": methods.rocchio(corpus, drawn, *tuned[f"rocchio {count}"].setting(name)),
            "logistic regression": methods.logistic(corpus, drawn, strength),
            "logistic regression + text": methods.logistic(corpus, drawn, strength, prior),
            "ours": methods.few_shot(corpus, drawn, recipe),
            "ours + siblings": methods.few_shot(corpus, drawn, recipe, True),
        }
        for method, found in scores.items():
            for draw, row in zip(drawn, found, strict=True):
                kept = np.ones(len(row), bool)
                kept[draw.like] = kept[draw.unlike] = False
                p10 = precision_at_10(row[kept], corpus.relevant[draw.query][kept])
                values = (example_ap(row, draw, corpus), p10)
                one = Judged(name, corpus.kinds[draw.query], values)
                results.setdefault(f"{count} examples: {method}", []).append(one)
    return results


def figures(results: Results) -> dict[str, Figure]:
    """Return the figures of the evaluation, overall and by kind."""
    named = {
        "map_dense": "dense", "map_bm25": "BM25", "map_sae": "InterpEmbed SAE", "map_prf20": "dense PRF 20",
        "map_lone": "ours, lone", "map_siblings": "ours, siblings",
    }  # fmt: skip
    found = {name: Figure(overall(results[m]), "MAP", n=len(results[m])) for name, m in named.items()}
    for name, method in named.items():
        kinds = by_kind(results[method]).items()
        found |= {f"{name}_{kind}": Figure(value, "MAP") for kind, value in kinds}
    compared = {
        "map_lone_over_dense": ("ours, lone", "dense", 1.18),
        "map_siblings_over_dense": ("ours, siblings", "dense", 1.35),
        "map_siblings_over_dense_siblings": ("ours, siblings", "dense, siblings", None),
        "map_fewshot5_over_dense": ("5 examples: ours", "5 examples: dense, same queries", None),
        "map_fewshot10_over_dense": ("10 examples: ours", "10 examples: dense, same queries", 1.42),
    }
    for name, (ours, theirs, goal) in compared.items():
        ratio, n = overall(results[ours]) / overall(results[theirs]), len(results[ours])
        found[name] = Figure(ratio, "ratio", n=n) if goal is None else at_least(ratio, goal, "ratio", n)
        kinds_of_theirs = by_kind(results[theirs])
        for kind, value in by_kind(results[ours]).items():
            found[f"{name}_{kind}"] = Figure(value / kinds_of_theirs[kind], "ratio")
        low, high = ratio_interval(results[ours], results[theirs])
        found[f"{name}_low"], found[f"{name}_high"] = Figure(low, "ratio"), Figure(high, "ratio")
    return found | baseline_figures(results)


def baseline_figures(results: Results) -> dict[str, Figure]:
    """Return the ratios of ours to the best method with the same information."""
    lone = ["BM25", "InterpEmbed SAE", "RRF dense + BM25", "RRF dense + SAE", "dense PRF 20", "dense PRF 100"]
    found = {"lone_over_best_baseline": over(results, "ours, lone", [*lone, "dense"])}
    simple = [by_corpus(results[method]) for method in ("dense", "dense PRF 20")]
    ours = [by_corpus(results[f"ours, {name}"]) for name in ("lone", "siblings")]
    worst = min(one[corpus] / max(of[corpus] for of in simple) for one in ours for corpus in one)
    found["worst_corpus_over_best_simple"] = at_least(worst, SAFE, "ratio", len(simple[0]))
    for count in EXAMPLES:
        theirs = ("centroid", "Rocchio, centred", "logistic regression", "logistic regression + text")
        names = [f"{count} examples: {method}" for method in theirs]
        found[f"fewshot{count}_over_best_baseline"] = over(results, f"{count} examples: ours", names)
    return found


def over(results: Results, ours: str, theirs: Sequence[str]) -> Figure:
    """Return the ratio to the best of other methods; the goal is 1."""
    best = max(overall(results[name]) for name in theirs)
    return at_least(overall(results[ours]) / best, 1.0, "ratio", len(results[ours]))


def methods_table(results: Results) -> dict[str, dict[str, Any]]:
    """Return MAP with its interval, P@10 and MAP by kind, for every method."""
    table = {}
    for name, judged in results.items():
        low, high = interval(judged)
        table[name] = {
            "MAP": overall(judged), "from": low, "to": high, "P@10": overall(judged, 1), **by_kind(judged)
        }  # fmt: skip
    return table


def corpus_table(results: Results) -> dict[str, dict[str, float]]:
    """Return the MAP of some methods by corpus."""
    shown = ("dense", "dense PRF 20", "ours, lone", "ours, siblings", "10 examples: ours")
    table: dict[str, dict[str, float]] = {}
    for name in shown:
        for corpus, value in by_corpus(results[name]).items():
            table.setdefault(corpus, {})[name] = value
    return table


def weakest(results: Results, corpora: Sequence[Corpus]) -> list[dict[str, Any]]:
    """Return the queries on which ours, lone, is lowest relative to chance."""
    chance = [float(row.mean()) for corpus in corpora for row in corpus.relevant]
    queries = [query for corpus in corpora for query in corpus.queries]
    rows = [
        {"corpus": q["corpus"], "value": q["value"], "kind": q["kind"], "chance": share,
         "dense": dense.values[0], "lone": lone.values[0], "siblings": siblings.values[0]}
        for q, share, dense, lone, siblings in zip(
            queries, chance, results["dense"], results["ours, lone"], results["ours, siblings"], strict=True
        )
    ]  # fmt: skip
    return sorted(rows, key=lambda row: float(row["lone"]) - float(row["chance"]))[:15]


def constants_table(tuned: Mapping[str, Choice[Any]]) -> dict[str, dict[str, float]]:
    """Return the MAP on ``choose`` of every constant tried for our recipes."""
    ours = {name: choice for name, choice in tuned.items() if choice.settings in (RECIPES, SINGLE)}
    return {
        setting: {name: one.mean(setting) for name, one in ours.items() if setting in one.settings}
        for setting in {**RECIPES, **SINGLE}
    }
