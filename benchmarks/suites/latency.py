"""The cost of planning: planned queries compared with the engine's bare query, on 100,000 records.

Bare is the engine's dense query itself, ten points with their payload, without store, plan or filter. Planned
is a search by text with two names of concepts and a comparison in `where` and two steers. They alternate, one
query after the other; texts are encoded beforehand. Warm: each name was resolved before; cold: none was.
Phrases that are no concept are measured apart: for these every sentence is read.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import data, mixture
from benchmarks.corpora import CachedEncoder
from benchmarks.data import properties
from benchmarks.outcome import Figure, Outcome, at_least, at_most
from saeindex import FeatureIndex, FeatureSpace, Query, Steer
from saeindex.config import DEFAULT_SPACE, DENSE
from saeindex.errors import UnknownConceptError
from saeindex.stores.filters import as_filter

SEED = 0
# Range of the record shares of labels in queries.
SHARE = (0.005, 0.2)
WHERE = (
    '"{a}" AND NOT "{b}" AND metadata.year >= {year}',
    '("{a}" OR "{b}") AND metadata.year >= {year}',
    'NOT "{a}" AND NOT "{b}" AND metadata.year < {year}',
    'AT LEAST 2 OF ("{a}", "{b}", metadata.year = {year})',
)
YEARS = (2004, 2019)
STAGES = {"plan": "the plan", "search": "the search", "explain": "the hits"}


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many records, queries, warm phrases, cold queries and properties."""

    records: int
    queries: int
    phrases: int
    cold: int
    properties: int


FULL, QUICK = Sizes(100_000, 240, 60, 24, 8), Sizes(5_000, 40, 12, 4, 2)


def run(quick: bool) -> Outcome:
    """Measure; ``quick`` uses 5,000 records and a sixth of the queries."""
    sizes = QUICK if quick else FULL
    outcome = Outcome("latency", quick, SEED)
    with tempfile.TemporaryDirectory() as folder, built(Path(folder, "latency.idx"), sizes.records) as index:
        measure(index, sizes, outcome)
    return outcome


def built(path: Path, count: int) -> FeatureIndex:
    """Return an index of abstracts and of sentences of abstracts, their embeddings cached."""
    space, encoder = FeatureSpace.load(DEFAULT_SPACE), CachedEncoder()
    index = FeatureIndex.create(
        path, space, encoder=encoder, payload_indexes={"metadata.year": "integer-range"}
    )
    index.upsert(mixture.abstracts(count))
    return index


def measure(index: FeatureIndex, sizes: Sizes, outcome: Outcome) -> None:
    """Add the figures of one index."""
    texts = [str(r.metadata["title"]) for r in data.read("arxiv_heldout", "test", sizes.queries)]
    phrases = common_concepts(index, sizes.phrases + 3 * sizes.cold)
    warm, cold = phrases[: sizes.phrases], phrases[sizes.phrases :]
    for phrase in warm:
        index.plan(texts[0], where=f'"{phrase}" AND metadata.year > 0', steer=[Steer(phrase)])
    queries = list(planned(index, texts, warm))
    outcome.figures.update(latency_figures(index, queries, outcome.tables))
    outcome.figures.update(estimate_figures(index, queries))
    outcome.figures.update(cold_figures(index, texts, cold))
    outcome.figures.update(explain_figures(index, queries))
    outcome.figures.update(property_figures(index, sizes.properties))
    outcome.figures.update(phrase_figures(index, sizes.properties))


def common_concepts(index: FeatureIndex, count: int) -> list[str]:
    """Return names of concepts that neither few nor most records speak of."""
    rng, space = np.random.default_rng(SEED), index.space
    density = index.state.sample().concept_share
    common = np.flatnonzero((density > SHARE[0]) & (density < SHARE[1]))
    names = [space.labels[i].text for i in rng.permutation(common) if space.is_named[i]]
    return names[:count]


def planned(index: FeatureIndex, texts: Sequence[str], phrases: Sequence[str]) -> Iterator[Query]:
    """Yield one query per text: two phrases and a year in ``where``, a phrase and a feature as steers."""
    rng = np.random.default_rng(SEED)
    for number, text in enumerate(texts):
        a, b, c = (phrases[i] for i in rng.choice(len(phrases), 3, replace=False))
        year = int(rng.integers(*YEARS))
        where = WHERE[number % len(WHERE)].format(a=a, b=b, year=year)
        feature = int(rng.integers(index.space.n_features))
        steer = [Steer(c, 0.5), Steer(f"#{feature}", -0.4)]
        yield Query(text, where=where, steer=steer, using="dense")


def bare(index: FeatureIndex, text: str) -> Callable[[], object]:
    """Return the engine's dense query, built beforehand: an exact scan, ten points with payload."""
    import qdrant_edge as edge

    request = edge.QueryRequest(
        limit=10,
        query=edge.Query.Nearest(index.state.encode(text).tolist(), DENSE),
        params=edge.SearchParams(exact=True),
        with_payload=True,
        with_vector=False,
    )
    shard = index.state.store._shard  # type: ignore[attr-defined]
    return lambda: shard.query(request)


def elapsed_ms(call: Callable[[], object]) -> float:
    """Return the milliseconds of one call."""
    started = time.perf_counter()
    call()
    return (time.perf_counter() - started) * 1e3


@dataclass(frozen=True, slots=True)
class Timed:
    """One query: the engine's bare time, the planned one and its stages, in ms, and when it was filtered."""

    bare: float
    planned: float
    stages: tuple[float, ...]
    filtered: str


def timed(index: FeatureIndex, query: Query) -> Timed:
    """Run a query bare and planned, one after the other."""
    alone = elapsed_ms(bare(index, query.text))
    hits = index.search(query)
    stages = tuple(hits.timings_ms[name] for name in STAGES)
    filtered = "within the scan" if hits.plan.choices.after.value is None else "after the scan"
    return Timed(alone, hits.timings_ms["total"], stages, filtered)


def latency_figures(
    index: FeatureIndex, queries: Sequence[Query], tables: dict[str, Any]
) -> dict[str, Figure]:
    """Return planned queries over bare ones; the table has both, and details."""
    runs = [timed(index, query) for query in [*queries[:5], *queries]][5:]
    bares, totals = [run.bare for run in runs], [run.planned for run in runs]
    tables["latency_ms"] = {"bare": percentiles(bares), "planned": percentiles(totals)}
    for place, name in enumerate(STAGES.values()):
        tables["latency_ms"][f"planned, {name}"] = percentiles([run.stages[place] for run in runs])
    for kind in sorted({run.filtered for run in runs}):
        of_kind = [run.planned for run in runs if run.filtered == kind]
        tables["latency_ms"][f"planned, filtered {kind}"] = percentiles(of_kind)
    p50, p95 = np.percentile(totals, [50, 95]) / np.percentile(bares, [50, 95])
    planning = np.percentile([run.stages[0] for run in runs], 95)
    return {
        "planned_p95_over_bare": at_most(float(p95), 2, "ratio", len(totals)),
        "planned_p50_over_bare": Figure(float(p50), "ratio", n=len(totals)),
        "plan_p95_ms": Figure(float(planning), "ms", n=len(totals)),
    }


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Return p50, p95 and the number of values."""
    return {
        "p50": float(np.percentile(values, 50)),
        "p95": float(np.percentile(values, 95)),
        "queries": len(values),
    }


def estimate_figures(index: FeatureIndex, queries: Sequence[Query]) -> dict[str, Figure]:
    """Return how often the number of matching points lies in the plan's interval, and the median error."""
    within, errors = [], []
    for query in queries:
        plan = index.plan(query)
        matching = index.state.store.count(as_filter(plan.query_filter))
        within.append(plan.estimate.low <= matching <= plan.estimate.high)
        errors.append(abs(plan.estimate.points - matching) / max(1, matching))
    return {
        "estimate_within_interval": at_least(float(np.mean(within)), 0.9, "share", len(within)),
        "estimate_median_error": Figure(float(np.median(errors)), "share of the number", n=len(errors)),
    }


def cold_figures(index: FeatureIndex, texts: Sequence[str], phrases: Sequence[str]) -> dict[str, Figure]:
    """Return the time of searches with three new phrases each, which are encoded beforehand."""
    times = []
    for number in range(len(phrases) // 3):
        a, b, c = phrases[3 * number : 3 * number + 3]
        where = WHERE[number % len(WHERE)].format(a=a, b=b, year=2012)
        query = Query(texts[number], where=where, steer=[Steer(c, 0.5), Steer("#7", -0.4)])
        index.state.encode.warm([query.text, a, b, c])
        times.append(index.search(query).timings_ms["total"])
    return {
        "cold_p50_ms": Figure(float(np.percentile(times, 50)), "ms", n=len(times)),
        "cold_p95_ms": Figure(float(np.percentile(times, 95)), "ms", n=len(times)),
    }


def explain_figures(index: FeatureIndex, queries: Sequence[Query]) -> dict[str, Figure]:
    """Return the extra time to explain ten hits, without steers and with them (and ranks without them)."""

    def fastest(query: Query, steer: Any, explain: bool) -> float:
        runs = [index.search(query, steer=steer, explain=explain).timings_ms for _ in range(2)]
        return min(timings["search"] + timings["explain"] for timings in runs)

    added: dict[bool, list[float]] = {False: [], True: []}
    for query in queries[::3]:
        for is_steered, found in added.items():
            steer = query.steer if is_steered else ()
            found.append(fastest(query, steer, True) - fastest(query, steer, False))
    return {
        "explain_ms_10_hits": at_most(float(np.median(added[False])), 10, "ms", len(added[False])),
        "explain_steered_ms_10_hits": Figure(float(np.median(added[True])), "ms", n=len(added[True])),
    }


def property_figures(index: FeatureIndex, count: int) -> dict[str, Figure]:
    """Return the time of a property's first search, and of further searches (median of three)."""
    first, further = [], []
    index.search(property="warming up the words of the collection")
    for entry in properties()["arxiv_heldout"][:count]:
        index.state.encode.warm([entry["query"]])
        first.append(elapsed_ms(lambda: index.search(property=entry["query"])))  # noqa: B023  (called at once)
        further += [index.search(property=entry["query"]).timings_ms["total"] for _ in range(3)]
    return {
        "property_first_ms": Figure(float(np.median(first)), "ms", n=len(first)),
        "property_warm_ms": Figure(float(np.median(further)), "ms", n=len(further)),
    }


def phrase_figures(index: FeatureIndex, count: int) -> dict[str, Figure]:
    """Return the seconds of the first count of a phrase that is no concept, and of further ones.

    The first reads all sentences into memory.
    """
    times = list[float]()
    for entry in properties()["arxiv_heldout"]:
        index.state.encode.warm([entry["query"]])
        if len(times) == count + 1:
            break
        with suppress(UnknownConceptError):
            times.append(elapsed_ms(lambda: index.count(f'"{entry["query"]}"')) / 1e3)  # noqa: B023
    return {
        "phrase_first_s": Figure(times[0], "s"),
        "phrase_next_s": Figure(float(np.median(times[1:])), "s", n=len(times) - 1),
    }
