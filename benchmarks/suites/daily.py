"""Everyday tasks: updates, re-sync, facets against pandas, histories against a dictionary, many indexes.

Updates and facets are measured on 20,000 generated records of usual codes; the engine's own calls are made in
the same run. Histories are random upserts, updates, deletions, prunes and writes of other programs on small
indexes, with kills between, each compared with a dictionary after every step.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.corpora import CachedEncoder
from benchmarks.generated import generated
from benchmarks.outcome import Figure, Outcome, at_most
from benchmarks.suites.latency import elapsed_ms
from benchmarks.suites.scale import anonymous, apart, population
from saeindex import FeatureIndex, Record, restore_index
from saeindex.config import LEVEL_STRIDE
from saeindex.indexing.points import point_id
from saeindex.operations.records import UPDATED_AT_ONCE
from saeindex.stores.base import pages

FULL, QUICK = 20_000, 2_000
ROUNDS, QUESTIONS, STEPS, INDEXES = 5, 2_000, 2_000, 20
# Steps of one history, those between two openings, and the records that it knows.
HISTORY, REOPENED, KNOWN = 25, 5, 12


class Counting(CachedEncoder):
    """The encoder, which counts the texts that it is asked for."""

    texts = 0

    def encode_document(self, texts: Sequence[str]) -> Any:
        """Count, and return unit vectors (n, d)."""
        self.texts += len(texts)
        return super().encode_document(texts)


def run(quick: bool) -> Outcome:
    """Measure; ``quick`` uses 2,000 records, and a tenth of the questions and steps."""
    outcome, encoder = Outcome("daily", quick), Counting()
    count, part = (QUICK, 10) if quick else (FULL, 1)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "daily.idx")
        with generated(place, population(), count, encoder):
            pass
        with FeatureIndex.open(place, encoder=encoder) as index:  # as it is found: its engine has made files
            outcome.figures.update(updates(index, encoder))
            outcome.figures.update(facets(index, QUESTIONS // part))
            outcome.figures["ten_hits_kb"] = at_most(beside_texts(index) / 1e3, 5, "kB", 1)
            outcome.figures.update(moves(index, Path(folder), encoder))
        different = sum(
            history(Path(folder, "history.idx"), seed) for seed in range(STEPS // part // HISTORY)
        )
        outcome.figures["history_differences"] = at_most(different, 0, "steps", STEPS // part)
        outcome.figures.update(apart(many, Path(folder)))
    return outcome


def updates(index: FeatureIndex, encoder: Counting) -> dict[str, Figure]:
    """Return what updates and a re-sync cost, and how long searches wait for them and are slower after."""
    records = [Record(one.id, one.text, dict(one.metadata)) for one in index]
    many, found, encoded = len(records), dict[str, Figure](), encoder.texts
    waits = searches_during(index, lambda: index.update(query_filter={}, set={"seen": True}))
    found["search_waits_ms"] = at_most(max(waits), 150, "ms", len(waits))
    ours, bare = np.array([both(index, records, number) for number in range(ROUNDS)]).T
    found["update_same_over_bare"] = at_most(float(np.median(ours / bare)), 1.5, "ratio", many)
    own = {one.id: {"rank": number} for number, one in enumerate(records)}
    found["update_own_ms"] = at_most(
        elapsed_ms(lambda: update_each(index, own)) / many, 0.5, "ms/record", many
    )
    index.upsert(records, learn_terms=False)  # what was updated stays
    unchanged = elapsed_ms(lambda: index.upsert(records, learn_terms=False))
    changed = [Record(one.id, one.text, {**one.metadata, "number": -int(one.id)}) for one in records]
    found["resync_changed_ms"] = at_most(
        (elapsed_ms(lambda: index.upsert(changed, learn_terms=False)) - unchanged) / many,
        0.5,
        "ms/record more",
    )
    found["encoded_texts"] = at_most(encoder.texts - encoded, 0, "texts", many)
    queries: dict[str, dict[str, Any]] = {
        "filtered": {"text": "a film about war", "where": '"battery" AND metadata.number < 0'},
        "property": {"property": "sounds disappointed"},
        "phrase": {"text": "a film", "where": '"the battery drains too fast"'},
    }
    for name, query in queries.items():
        index.search(**query)
        before = float(np.median([elapsed_ms(lambda: index.search(**query)) for _ in range(9)]))  # noqa: B023
        after = []
        for number in range(9):
            index.update(["7"], set={"round": -number})
            after.append(elapsed_ms(lambda: index.search(**query)))  # noqa: B023
        found[f"next_{name}_ratio"] = at_most(float(np.median(after)) / before, 1.5, "ratio", 9)
    return found


def both(index: FeatureIndex, records: Sequence[Record], number: int) -> tuple[float, float]:
    """Return the milliseconds of an update of all, and of the engine's own calls."""
    import qdrant_edge as edge

    shard = index.state.store._shard  # type: ignore[attr-defined]
    points = [point_id(one.id) for one in records]

    def bare() -> None:
        for start in range(0, len(points), UPDATED_AT_ONCE):
            chunk: list[Any] = points[start : start + UPDATED_AT_ONCE]
            shard.update(edge.UpdateOperation.set_payload(chunk, {"bare": number}, "metadata"))

    return elapsed_ms(lambda: index.update(query_filter={}, set={"ours": number})), elapsed_ms(bare)


def update_each(index: FeatureIndex, own: dict[str, dict[str, Any]]) -> None:
    """Set values of their own, in calls of as many records as one may have."""
    ids = list(own)
    for start in range(0, len(ids), 10_000):
        index.update(each={one: own[one] for one in ids[start : start + 10_000]})


def searches_during(index: FeatureIndex, change: Callable[[], object]) -> list[float]:
    """Return the milliseconds of searches while something is changed."""
    done, waits = threading.Event(), list[float]()

    def search() -> None:
        while not done.is_set():
            waits.append(elapsed_ms(lambda: index.search("a film about war", using="dense")))

    index.search("a film about war", using="dense")
    searching = threading.Thread(target=search)
    searching.start()
    change()
    done.set()
    searching.join()
    return waits


def facets(index: FeatureIndex, questions: int) -> dict[str, Figure]:
    """Return how many counts, sizes and totals differ from those of pandas, and what they cost."""
    import pandas as pd

    frame = pd.DataFrame([{"id": one.id, **one.metadata} for one in index])
    rng, wrong, times = random.Random(0), 0, list[float]()
    cold = elapsed_ms(lambda: index.facets("theme"))
    for _ in range(questions):
        low, group, field = (
            rng.randrange(-len(frame), 0),
            rng.choice("ab"),
            rng.choice(["theme", "number", "group"]),
        )
        where, kept = rng.choice(
            [
                (None, frame),
                (f'metadata.group = "{group}"', frame[frame.group == group]),
                (f"metadata.number >= {low // 1000 * 1000}", frame[frame.number >= low // 1000 * 1000]),
            ]
        )
        started = time.perf_counter()
        found = index.facets(field, where, limit=5)
        times.append((time.perf_counter() - started) * 1e3)
        counts = kept[field].value_counts()
        is_right = found.records == found.present == len(kept) and found.distinct == len(counts)
        is_right &= [one.records for one in found.values] == counts.head(5).tolist()
        is_right &= all(counts[one.value] == one.records for one in found.values)
        if field != "group" and len(kept):
            is_right &= found.sum == kept[field].sum() and found.maximum == kept[field].max()
        wrong += not is_right
    return {
        "facets_wrong": at_most(wrong, 0, "questions", questions),
        "facets_cold_ms": at_most(cold, 1_000, "ms", len(frame)),
        "facets_warm_ms": at_most(float(np.median(times)), 30, "ms", questions),
    }


def beside_texts(index: FeatureIndex) -> int:
    """Return the bytes of ten hits as JSON, beside their texts and metadata."""
    found = index.search("a film about war").to_json()
    own = [{**one, "text": "", "metadata": {}} for one in found["hits"]]
    return len(json.dumps({**found, "hits": own}, ensure_ascii=False).encode())


def moves(index: FeatureIndex, folder: Path, encoder: Counting) -> dict[str, Figure]:
    """Return what an import, a merge and a backup encode, and in how many records they differ."""
    index.export(folder / "all.parquet", include="all")
    wanted, found = told(index), dict[str, Figure]()
    with FeatureIndex.create(folder / "imported.idx", index.space, encoder=encoder) as imported:
        encoded = encoder.texts
        imported.upsert(folder / "all.parquet", learn_terms=False)
        texts, different = encoder.texts - encoded, len(told(imported).items() ^ wanted.items())
    found["import_encoded_texts"] = at_most(texts, 0, "texts", len(wanted))
    found["import_differences"] = at_most(different, 0, "records", len(wanted))
    with FeatureIndex.create(folder / "merged.idx", index.space, encoder=encoder) as merged:
        merged.upsert([Record("own", "A text of its own."), Record("7", "A later text.")], learn_terms=False)
    encoded = encoder.texts
    index.copy(folder / "merged.idx", merge="keep", encoder=encoder)
    with FeatureIndex.open(folder / "merged.idx", encoder=encoder) as merged:
        here = told(merged)
    found["merge_encoded_texts"] = at_most(encoder.texts - encoded, 0, "texts", len(wanted))
    different = (
        sum(here[one] != own for one, own in wanted.items() if one != "7") + len(here) - len(wanted) - 1
    )
    found["merge_differences"] = at_most(different, 0, "records", len(wanted))
    writer = threading.Thread(target=index.update, kwargs={"query_filter": {}, "set": {"round": 1}})
    writer.start()
    made = index.backup(folder / "daily.tar.gz")
    writer.join()
    restore_index(made.file, folder / "restored.idx")
    with FeatureIndex.open(folder / "restored.idx", encoder=encoder) as restored:
        different = len(told(restored).items() ^ wanted.items())
    found["backup_differences"] = at_most(different, 0, "records", len(wanted))
    found["backup_pause_s"] = Figure(made.paused, "s", n=len(wanted))
    return found


def told(index: FeatureIndex) -> dict[str, tuple[str, str]]:
    """Return what the records of an index have of their texts: levels of concepts, evidence, and vectors.

    Without what is of the collection's terms, which come last.
    """
    store, space, found = index.state.store, index.state.space.without_terms(), {}
    for page in pages(store, None, 500, ["record_id", "concepts", "evidence", "text"], ["dense"]):
        for one in page.points:
            vector = np.asarray(one.vectors["dense"]).tobytes().hex()
            codes = one.payload["concepts"]
            own = [code for code in codes if code < space.n_features * LEVEL_STRIDE]
            terms = len({code // LEVEL_STRIDE for code in codes if code not in own})
            percents = one.payload["evidence"].split()
            payload = {**one.payload, "concepts": own, "evidence": percents[: len(percents) - terms]}
            found[payload["record_id"]] = (json.dumps(payload, sort_keys=True), vector)
    return found


# Histories ---------------------------------------------------------------------------------------------


def history(path: Path, seed: int) -> int:
    """Return the number of steps of a random history after which an index is not what it should be.

    It is opened again after every fifth step. The last one is killed on its way, in a process of its own, and
    then made again.
    """
    rng, known, wrong = random.Random(seed), Known(), 0
    place, encoder = path.with_name(f"{seed}.idx"), CachedEncoder()
    *steps, last = [random_step(rng, number) for number in range(HISTORY)]
    for start in range(0, len(steps), REOPENED):
        with FeatureIndex(place, encoder=encoder) as index:
            wrong += sum(differs(index, step, known) for step in steps[start : start + REOPENED])
    arguments = place, last, rng.uniform(0, 0.05)
    spawned = multiprocessing.get_context("spawn").Process(target=killed, args=arguments)
    spawned.start()
    spawned.join()
    known.after(last)
    with FeatureIndex(place, encoder=encoder) as index:
        return wrong + differs(index, last, known)


def differs(index: FeatureIndex, step: dict[str, Any], known: Known) -> bool:
    """Make a step; return whether the index then holds something else than it should."""
    perform(index, step)
    known.after(step)
    return {one.id: {"text": one.text, **one.metadata} for one in index} != known.records


class Known:
    """What an index should hold: texts and metadata by id, and where they came from."""

    def __init__(self) -> None:
        """Hold nothing."""
        self.records: dict[str, dict[str, Any]] = {}
        self.sources: dict[str, str] = {}
        self.keeps_tags = False

    def after(self, step: dict[str, Any]) -> None:
        """Make a step."""
        kind, source = step["kind"], step["source"]
        if kind in {"upsert", "prune"}:
            for row in step["rows"]:
                former = self.records.get(row["id"], {})
                kept = {"tag": former["tag"]} if self.keeps_tags and "tag" in former else {}
                self.records[row["id"]] = {"text": row["text"], "n": row["n"], **kept}
                if kind == "prune":
                    self.sources[row["id"]] = source
        gone = set(step["ids"]) if kind == "delete" else set()
        if kind == "prune":
            gone = {one for one, of in self.sources.items() if of == source} - set(step["ids"])
        for one in gone:
            self.records.pop(one, None)
            self.sources.pop(one, None)
        for one in {*step["ids"]} & self.records.keys() if kind in {"update", "other"} else ():
            self.records[one]["tag"] = step["value"]
            self.keeps_tags |= kind == "update"


def random_step(rng: random.Random, number: int) -> dict[str, Any]:
    """Return a step as plain data."""
    ids = [f"r{rng.randrange(KNOWN)}" for _ in range(rng.randint(1, 6))]
    rows = [
        {"id": one, "text": f"Text {rng.randrange(3)} of {one}.", "n": rng.randrange(3)} for one in ids
    ]  # with duplicates, of which the last counts
    kinds = ["upsert", "upsert", "prune", "update", "delete", "other"] if number else ["upsert"]
    kind = rng.choice(kinds)
    return {"kind": kind, "rows": rows, "ids": ids, "source": rng.choice("ab"), "value": rng.randrange(100),
            "batch": rng.choice([1, 3, 512])}  # fmt: skip


def perform(index: FeatureIndex, step: dict[str, Any]) -> None:
    """Make a step on an index."""
    kind = step["kind"]
    rows = [Record(one["id"], one["text"], {"n": one["n"]}) for one in step["rows"]]
    if kind == "upsert":
        index.upsert(rows, batch_size=step["batch"])
    elif kind == "prune":
        index.upsert(rows, source=step["source"], prune=True, max_prune=KNOWN, batch_size=step["batch"])
    elif kind == "update":
        index.update(step["ids"], set={"tag": step["value"]})
    elif kind == "delete":
        index.delete(step["ids"])
    else:  # another program, with the engine's own call
        store = index.state.store
        there = [one.id for one in store.get([point_id(one) for one in dict.fromkeys(step["ids"])], False)]
        with store.turns.writing():
            store.set_payload({one: {"tag": step["value"]} for one in there}, "metadata")


def killed(place: Path, step: dict[str, Any], seconds: float) -> None:
    """Make a step, and end within it or after it, without closing anything."""
    index = FeatureIndex(place, encoder=CachedEncoder())
    threading.Timer(seconds, os._exit, (9,)).start()
    perform(index, step)
    os._exit(9)


# Many indexes ------------------------------------------------------------------------------------------


def many(folder: Path) -> dict[str, Figure]:
    """Return what a further index of one record costs, in memory and on disk; run in a new process."""
    encoder, place = CachedEncoder(), folder / "many"
    place.mkdir()
    for number in range(INDEXES):
        with FeatureIndex.create(place / f"{number}.idx", encoder=encoder) as index:
            index.upsert([Record("one", "A text of its own.")])
    opened = [FeatureIndex.open(place / "0.idx", encoder=encoder)]
    opened[0].search("a text")
    before, seen = anonymous(), {inode(one) for one in files_of(place / "0.idx")}
    disk = 0
    for number in range(1, INDEXES):
        opened.append(FeatureIndex.open(place / f"{number}.idx", encoder=encoder))
        opened[-1].search("a text")
        own = [one for one in files_of(place / f"{number}.idx") if inode(one) not in seen]
        disk += sum(one.stat().st_blocks * 512 for one in own)
        seen |= {inode(one) for one in own}
    memory = (anonymous() - before) / (INDEXES - 1)
    for one in opened:
        one.close()
    return {
        "further_index_memory_mib": at_most(memory, 5, "MiB", INDEXES),
        "further_index_disk_mib": at_most(disk / 2**20 / (INDEXES - 1), 1, "MiB", INDEXES),
    }


def files_of(folder: Path) -> list[Path]:
    """Return the files of an index."""
    return [one for one in folder.rglob("*") if one.is_file()]


def inode(path: Path) -> int:
    """Return what tells a file from another one."""
    return path.stat().st_ino
