"""A million records: building, bytes and memory, opening, searches against the engine's own, analyses.

The points are generated (:mod:`benchmarks.generated`); each index is measured in a process of its own, so
that its memory is. The engine's own search has the same vector, filter, limit and payload. It takes an hour
to make the points: ``SAEINDEX_SCALE`` can name a folder in which the indexes stay, to be measured again.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import data
from benchmarks.corpora import CachedEncoder
from benchmarks.generated import GROUPS, Population, generated
from benchmarks.outcome import Figure, Outcome, at_least, at_most
from benchmarks.suites.latency import elapsed_ms
from benchmarks.suites.throughput import REVIEWS
from saeindex import FeatureIndex, FeatureSpace, Query
from saeindex.config import (
    CONCEPTS,
    DEFAULT_SPACE,
    DENSE,
    LEVEL_STRIDE,
    SAE,
    SENTENCES,
    WORDS,
    SentenceStorage,
)
from saeindex.indexing.points import point_id
from saeindex.indexing.sentences import sentences_in, spans_in
from saeindex.operations.search import searcher_of
from saeindex.search.executor import SHOWN
from saeindex.stores.filters import as_filter, to_edge

FULL, QUICK = 1_000_000, 20_000
LENGTHS: dict[SentenceStorage, Sequence[int]] = {"stored": (5, 6, 7, 8), "off": (1,)}
SHARES, QUERIES = (0.5, 0.05, 0.005), 60
PHRASES = (
    "the battery drains too fast", "a slow moving plot", "it arrived damaged", "works with my old phone",
)  # fmt: skip


def run(quick: bool) -> Outcome:
    """Measure; ``quick`` makes 20,000 records for a million, and as many for a hundred thousand."""
    outcome, count = Outcome("scale", quick), QUICK if quick else FULL
    figures = outcome.figures
    with tempfile.TemporaryDirectory() as temporary:
        folder = os.environ.get("SAEINDEX_SCALE", temporary)
        for storage in ("stored", "off"):
            suffix, path = "" if storage == "stored" else "_without_sentences", Path(folder, f"{storage}.idx")
            made = made_once(path, count, storage)
            figures[f"exact_counts{suffix}"] = at_least(made["exact"], 1, "1 if all are", count)
            figures[f"build_points_per_s{suffix}"] = Figure(count / made["s"], "points/s", n=count)
            figures[f"bytes_per_record_1m{suffix}"] = Figure(made["bytes"] / count, "bytes", n=count)
            found = apart(opened_again, path)
            figures[f"reopen_s{suffix}"] = at_most(found["s"], 10, "s", count)
            figures[f"rss_mib_1m{suffix}"] = Figure(found["own"], "MiB of its own", n=count)
            add_ratios(figures, path, suffix)
        stored = Path(folder, "stored.idx")
        few = Path(folder, "few.idx")
        made_once(few, count // 10, "stored")
        add_ratios(figures, few, "_100k")
        times = apart(phrases, few)
        figures["phrase_s_100k"] = at_most(times["new"], 1, "s", len(PHRASES) - 1)
        figures["phrase_first_s_100k"] = Figure(times["first"], "s")
        figures["phrase_warm_s_100k"] = at_most(times["again"], 0.2, "s", len(PHRASES))
        figures["phrase_s_1m"] = at_most(apart(phrases, stored)["new"], 5, "s", len(PHRASES) - 1)
        for name, (seconds, goal) in apart(analyses, stored).items():
            figures[name] = at_most(seconds, goal, "s", count)
    return outcome


def add_ratios(figures: dict[str, Figure], path: Path, suffix: str) -> None:
    """Add the ratios of planned searches to the engine's own."""
    for name, ratio in apart(ratios, path).items():
        goal = 4 if name == "default_over_dense" else 1.5
        figures[f"p95_ratio_{name}{suffix}"] = at_most(ratio, goal, "ratio", QUERIES)


def made_once(path: Path, count: int, storage: SentenceStorage) -> dict[str, float]:
    """Make an index unless it is there; return how long it took, whether its counts are exact, and bytes."""
    noted = path.with_suffix(".json")
    if not noted.is_file():
        people, started = population(), time.perf_counter()
        with generated(path, people, count, CachedEncoder(), LENGTHS[storage], storage) as index:
            found = {"s": time.perf_counter() - started, "exact": float(counts_of(index, people))}
        size = sum(one.stat().st_size for one in path.rglob("*") if one.is_file())
        noted.write_text(json.dumps(found | {"bytes": size, "records": count}))
    made: dict[str, float] = json.loads(noted.read_text())
    if made["records"] != count:
        raise ValueError(f"{path} has {made['records']:.0f} records, not {count}: delete it")
    return made


def counts_of(index: FeatureIndex, known: Population) -> bool:
    """Return whether the engine counts each concept in each group as often as it was generated."""
    for number, group in enumerate(GROUPS):
        own = as_filter({"must": [{"key": "metadata.group", "match": {"value": group}}]})
        levels = index.state.store.facet(CONCEPTS, own, LEVEL_STRIDE * index.space.n_features)
        found = np.zeros(index.space.n_features, np.int64)
        for code, count in levels:
            if int(code) % LEVEL_STRIDE == 0:
                found[int(code) // LEVEL_STRIDE] = count
        if not np.array_equal(found, known.having[number]):
            return False
    return True


def population() -> Population:
    """Return sentences of reviews, with their vectors."""
    texts = list[str]()
    for corpus in REVIEWS:
        for record in data.read(corpus):
            text = record.text.strip()
            text = text if text[-1:] in ".!?" else f"{text}."
            texts += sentences_in(text[:1].upper() + text[1:], spans_in(text))
    whole = (text for text in texts if len(text) > 10 and list(spans_in(text)) == [(0, len(text))])
    kept = list(dict.fromkeys(whole))
    return Population(kept, CachedEncoder().encode_document(kept), FeatureSpace.load(DEFAULT_SPACE))


def apart(measure: Callable[[Path], Any], path: Path) -> Any:
    """Return what a function measures in a new process."""
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        return process.submit(measure, path).result()


@contextmanager
def opened(path: Path) -> Iterator[FeatureIndex]:
    """Open an index with cached embeddings."""
    with FeatureIndex.open(path, encoder=CachedEncoder()) as index:
        yield index


def opened_again(path: Path) -> dict[str, float]:
    """Return the seconds of opening, and the memory that the index adds to the process and nobody shares."""
    with opened(path):
        pass
    before, started = anonymous(), time.perf_counter()
    with opened(path) as index:
        seconds = time.perf_counter() - started
        index.search("a film about war", where='"battery"')
        return {"s": seconds, "own": anonymous() - before}


def anonymous() -> float:
    """Return this process's memory without that of files, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon"))


def ratios(path: Path) -> dict[str, float]:
    """Return the p95 of planned searches over that of the engine's own, one after the other."""
    texts = [record.text[:200] for record in data.read("nq_open", limit=QUERIES + 5)]
    with opened(path) as index:
        density, space = index.state.sample().concept_share, index.space
        names = [
            space.labels[i].text
            for share in SHARES
            for i in np.argsort(np.abs(np.where(space.is_named, density, np.inf) - share))[:1]
        ]
        kinds: dict[str, list[dict[str, Any]]] = {
            "plain": [{"using": "dense"}],
            "filtered": [{"using": "dense", "where": f'"{name}"'} for name in names],
            "steered": [{"using": "dense", "steer": f'+"{name}":0.5'} for name in names],
            "default": [{}],
        }
        found, planned = {}, {}
        for name, options in kinds.items():
            runs = [both(index, text, options[i % len(options)]) for i, text in enumerate(texts)]
            planned[name], own = np.percentile(np.array(runs)[5:], 95, axis=0)
            found[name] = float(planned[name] / own)
    return found | {"default_over_dense": float(planned["default"] / planned["plain"])}


def both(index: FeatureIndex, text: str, options: dict[str, Any]) -> tuple[float, float]:
    """Return the milliseconds of a search, its plan included, and of the engine's own."""
    import qdrant_edge as edge

    index.state.encode(text)
    prepared = searcher_of(index.state).prepare(Query(text, **options))
    shard = index.state.store._shard  # type: ignore[attr-defined]
    dense = edge.Query.Nearest(prepared.vector.tolist(), DENSE)
    request = edge.QueryRequest(
        limit=10,
        query=dense,
        filter=None if prepared.query_filter is None else to_edge([prepared.query_filter]),
        params=edge.SearchParams(exact=True),
        with_payload=list(SHOWN),
        with_vector=[SAE],
    )
    pool = prepared.choices.pool.value
    if prepared.words is not None and pool is not None:
        asked = prepared.words.fused
        words = edge.Query.Nearest(edge.SparseVector(asked.indices.tolist(), asked.values.tolist()), WORDS)
        nearest = edge.Query.Nearest(prepared.vector.tolist(), SENTENCES)
        request = edge.QueryRequest(
            limit=10,
            query=nearest if SENTENCES in prepared.sources else edge.Fusion.Rrf(k=2),  # type: ignore[arg-type]
            prefetches=[edge.Prefetch(limit=pool, query=one) for one in (dense, words)],
            with_payload=list(SHOWN),
            with_vector=[SAE],
        )
    return elapsed_ms(lambda: index.search(text, **options)), elapsed_ms(lambda: shard.query(request))


def phrases(path: Path) -> dict[str, float]:
    """Return the seconds of the first phrase after opening, of further ones, and of the same ones again."""

    def seconds(index: FeatureIndex) -> list[float]:
        return [elapsed_ms(lambda: index.count(f'"{phrase}"')) / 1e3 for phrase in PHRASES]  # noqa: B023

    with opened(path) as index:
        index.state.encode.warm(PHRASES)
        first, *further = seconds(index)
        return {"first": first, "new": float(np.median(further)), "again": max(seconds(index))}


def analyses(path: Path) -> dict[str, tuple[float, float]]:
    """Return the seconds and the goals of the state of all records, and of analyses once it is there.

    Then of the state after one of a hundred records was written again.
    """
    a, b = (f'metadata.group = "{group}"' for group in GROUPS)
    with opened(path) as index:
        state = elapsed_ms(index.state.snapshot) / 1e3
        with index._current.write() as write, write.points() as store:
            ids = [point_id(str(number)) for number in range(0, len(index), 100)]
            store.upsert(store.get(ids, True, store.layout.names))
        in_part = elapsed_ms(index.state.snapshot) / 1e3
        index.diff(a, b)
        return {
            "state_whole_s": (state, 120.0),
            "state_one_percent_s": (in_part, 10.0),
            "diff_seconds_1m": (elapsed_ms(lambda: index.diff(a, b)) / 1e3, 3.0),
            "all_pairs_seconds_1m": (elapsed_ms(index.correlate) / 1e3, 60.0),
        }
