"""Spaces made for encoders beside the packaged one, on `test` parts; and reranking of MedQuAD's questions.

``SAEINDEX_ENCODERS`` names the encoders: ``minilm``, ``bge-small`` (as :mod:`benchmarks.onnx_models` has it),
and folders of models or services (``mpnet=/models/all-mpnet-base-v2,e5=openai:e5``; ``OPENAI_BASE_URL``);
by default the first two. One takes from half an hour to two hours, so others keep what they had, with the
day. Spaces are made of the package's texts alone, with none of the texts that they are
measured on, and kept in ``.cache/spaces``: delete them to make them anew.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import data
from benchmarks.corpora import CachedEncoder, Corpus, indexed
from benchmarks.data import properties
from benchmarks.onnx_models import BgeSmall, folder_of, ms_marco_minilm
from benchmarks.outcome import Figure, Outcome, at_least, at_most
from benchmarks.ranking import average_precision
from benchmarks.suites.diff.calibration import pair
from benchmarks.suites.diff.real import TOP, label_names_class, top_of
from benchmarks.suites.encoders.judged import Spoken, agreement, beside, spoken
from benchmarks.suites.encoders.languages import languages
from benchmarks.suites.rag import Case, measured, questions_of
from benchmarks.suites.steering.curves import MIN_RELEVANT, pairs, rotated_vectors, success_share
from benchmarks.suites.steering.suite import engine
from saeindex import FeatureIndex, FeatureSpace, open_encoder
from saeindex.config import DEFAULT_SPACE
from saeindex.sae.metrics import fidelity
from saeindex.sae.training_config import TrainingConfig

if TYPE_CHECKING:
    from saeindex.protocols import TextEncoder

CORPORA = (
    "clinc150", "goemotions", "scicite", "medquad", "us_speeches", "product_reviews", "subjectivity",
    "masc_registers",
)  # fmt: skip
RECORDS, RETRIEVED, QUESTIONS, SEED = 300, 1_000, 100, 0
QUICK = TrainingConfig(n_features=512, k=16, steps=100, k_named=8, refined_phase=0.0)
# Records that are steered, and how near to the query they stay.
STEERED, COSINE = 60, 0.7
# Figures of which little may be lost.
KEPT_FIGURES = ("clear", "recall_used", "recall_withheld", "lone_over_dense")
# What may be lost beside the packaged space, and the minutes of making one beyond embedding.
MOST_LOST, MINUTES = 0.03, 30
VARIABLE, KEPT = "SAEINDEX_ENCODERS", Path(".cache/spaces")
KNOWN, RESULTS = ("minilm", "bge-small"), Path(__file__).parents[2] / "results" / "encoders.json"
MULTILINGUAL = "e5"
INPUT_TYPES: Any = {"input_types": "query,passage", "max_length": 512}


def encoders() -> Iterator[tuple[str, TextEncoder]]:
    """Yield the encoders that are here, by name."""
    named = os.environ.get(VARIABLE) or ",".join(KNOWN)
    for name, _, place in (one.partition("=") for one in named.split(",")):
        if place:
            yield name, open_encoder(place, **INPUT_TYPES if place.startswith("openai:") else {})
        elif name == "minilm":
            yield name, open_encoder()
        elif (folder := folder_of("bge_small_en")) is not None:
            yield name, BgeSmall(folder)


def spaces() -> dict[str, tuple[FeatureSpace, CachedEncoder]]:
    """Return the packaged space, and those of the encoders that are here, made where they are not kept."""
    found = {"packaged": (FeatureSpace.load(DEFAULT_SPACE), CachedEncoder())}
    for name, encoder in encoders():
        cached = CachedEncoder(encoder)
        found[name] = kept(name, cached), cached
    return found


def run(quick: bool) -> Outcome:
    """Measure; ``quick`` makes a small space for MiniLM, and takes 30 records and 10 questions."""
    outcome, part = Outcome("encoders", quick, SEED), 10 if quick else 1
    measured = dict[str, dict[str, float]]()
    known: Spoken | None = None
    for name, (space, encoder) in (_small() if quick else spaces()).items():
        with corpora(space, encoder, RECORDS // part) as found:
            own = scores(found)
        read = spoken(space, encoder, RECORDS // part)
        measured[name] = own | read.figures | retrieval(space, encoder, RETRIEVED // part)
        if name in ("packaged", MULTILINGUAL):
            outcome.tables[f"languages_{name}"] = languages(space, encoder)
        if known is None:
            known = read
            continue
        outcome.figures.update((f"{name}_{figure}", value) for figure, value in beside(read, known))
        outcome.figures.update(beside_packaged(name, measured[name], measured["packaged"]))
        outcome.figures.update(made(name, space.report["made"]))
        measured[name] |= of_pairs(space.report["made"]["judged"]["this"])
        measured["packaged"] |= of_pairs(space.report["made"]["judged"]["default"])
        if name == "minilm":
            precise, fast = (open_encoder(precision=one) for one in ("fp32", "bf16"))
            same = agreement(space, precise, fast, RECORDS // part)
            outcome.figures["precisions_agree"] = at_least(same, 0.97, "of concepts, fp32 and bf16")
    if folder_of("reranker_en") is not None:
        outcome.tables["reranking"] = reranking(QUESTIONS // part)
    today = datetime.now(UTC).date().isoformat()
    rows: list[dict[str, Any]] = [{"measure": "measured", **dict.fromkeys(measured, today)}]
    rows += [
        {"measure": one, **{name: own.get(one) for name, own in measured.items()}}
        for one in measured["packaged"]
    ]
    outcome.tables["spaces"] = rows
    return outcome if quick else with_earlier(outcome, json.loads(RESULTS.read_text()), measured)


def with_earlier(outcome: Outcome, before: dict[str, Any], measured: Collection[str]) -> Outcome:
    """Return an outcome with what was measured before of encoders that were not measured now."""
    figures = {
        name: Figure(**one)
        for name, one in before["figures"].items()
        if not any(name.startswith(f"{own}_") for own in measured)
    }
    known = {row["measure"]: row for row in before["tables"]["spaces"]}
    spaces = [known.get(row["measure"], {}) | row for row in outcome.tables["spaces"]]
    tables = before["tables"] | outcome.tables | {"spaces": spaces}
    return replace(outcome, figures=figures | outcome.figures, tables=tables)


def beside_packaged(
    name: str, own: dict[str, float], packaged: dict[str, float]
) -> Iterator[tuple[str, Figure]]:
    """Yield what a space loses beside the packaged one."""
    for figure in KEPT_FIGURES:
        lost = own[figure] - packaged[figure]
        yield f"{name}_{figure}_beside_packaged", at_least(lost, -MOST_LOST, figure)


def made(name: str, report: dict[str, Any]) -> Iterator[tuple[str, Figure]]:
    """Yield the minutes that a space took, and what its command says of pairs that ship for this."""
    took, judged = report["minutes"], report["judged"]
    yield f"{name}_minutes_encoding", Figure(took["encoding"], "minutes")
    yield f"{name}_minutes_beside_it", at_most(took["training"], MINUTES, "minutes")
    for kind, auroc in judged["this"].items():
        lost = auroc - judged["default"][kind]
        yield f"{name}_held_out_{kind}_beside_packaged", at_least(lost, -MOST_LOST, "AUROC")


def of_pairs(aurocs: dict[str, float]) -> dict[str, float]:
    """Return what a space's report says of the held-out judged pairs that ship."""
    return {f"held_out_auroc_{kind}": auroc for kind, auroc in aurocs.items()}


def _small() -> dict[str, tuple[FeatureSpace, CachedEncoder]]:
    encoder = CachedEncoder()
    made = FeatureSpace.make(encoder, config=QUICK)
    return {"packaged": (FeatureSpace.load(DEFAULT_SPACE), encoder), "minilm": (made, encoder)}


def kept(name: str, encoder: CachedEncoder) -> FeatureSpace:
    """Return the space of an encoder, made where it is not kept."""
    place = KEPT / name
    if not (place / "space.json").is_file():
        place.parent.mkdir(parents=True, exist_ok=True)
        checkpoint = place.with_suffix(".checkpoint.safetensors")
        FeatureSpace.make(encoder, name=name, checkpoint=checkpoint).save(place)
    return FeatureSpace.load(place)


@contextmanager
def corpora(space: FeatureSpace, encoder: CachedEncoder, records: int) -> Iterator[list[Corpus]]:
    """Yield the `test` parts of corpora as indexes over a space."""
    with TemporaryDirectory() as folder:
        found: list[Any] = [
            indexed(
                Path(folder, f"{name}.idx"), space, encoder, name,
                list(data.read(name, "test", records)), properties()[name],
            )
            for name in CORPORA
        ]  # fmt: skip
        try:
            yield found
        finally:
            for one in found:
                one.index.close()


def scores(found: Sequence[Corpus]) -> dict[str, float]:
    """Return means over corpora: error, precision of properties, steering, and classes that are named."""
    every: list[tuple[float, ...]] = []
    for one in found:
        places = {record.id: row for row, record in enumerate(one.records)}
        lone, siblings, dense = list[float](), list[float](), list[float]()
        for query in range(len(one.queries)):
            for precision, against in ((lone, []), (siblings, one.others(query))):
                hits = one.index.search(
                    property=one.text(query), against=against, limit=len(places), include=()
                )
                ranked = np.zeros(len(places))
                ranked[[places[hit.id] for hit in hits]] = np.arange(len(hits), 0, -1)
                precision.append(average_precision(ranked, one.relevant[query]))
            dense.append(average_precision(one.x @ one.vectors[query], one.relevant[query]))
        mean = one.index.space.calibration.mean
        assert mean is not None
        nmse = fidelity(one.index.space.sae, np.asarray(one.x), mean)["nmse"]
        means = [float(np.mean(own)) for own in (lone, siblings, dense)]
        every.append((nmse, *means, means[0] - means[2], steered(one), named(one)))
    names = ("nmse", "lone_map", "siblings_map", "dense_map", "lone_over_dense", "steering", "class_named")
    return {name: float(np.nanmean(own)) for name, own in zip(names, zip(*every, strict=True), strict=True)}


def steered(one: Corpus) -> float:
    """Return the share of queries that get more of a concept at a cosine of .7 with themselves."""
    if not any(MIN_RELEVANT <= own.sum() < len(own) for own in one.relevant):
        return float("nan")
    asked = pairs(one, STEERED, True, SEED)
    q = one.x[[pair.record for pair in asked]].astype(np.float64)
    return success_share(one, asked, rotated_vectors(q, engine(one, asked), COSINE), True)


def named(one: Corpus) -> float:
    """Return the share of classes that one of five concepts names that records of it have more often."""
    snapshot, found = one.index.state.snapshot(), list[bool]()
    place = {record: row for row, record in enumerate(snapshot.ids)}
    rows = np.array([place[record.id] for record in one.records])
    for query, has in zip(one.queries, one.relevant, strict=True):
        if min(has.sum(), (~has).sum()) >= MIN_RELEVANT:
            top = top_of(snapshot, pair(rows[has], rows[~has]))[:TOP]
            found.append(any(label_names_class(snapshot, feature, query) for feature in top))
    return float(np.mean(found)) if found else float("nan")


def retrieval(space: FeatureSpace, encoder: TextEncoder, records: int) -> dict[str, float]:
    """Return nDCG@10 of MedQuAD's questions in some of its texts, by what ranks."""
    read = list(data.read("medquad", "test", records))
    with (
        TemporaryDirectory() as folder,
        FeatureIndex.create(Path(folder, "m.idx"), space, encoder=encoder) as index,
    ):
        index.upsert(read)
        rows, cases = {one.id: row for row, one in enumerate(read)}, questions_of(read)
        return {
            f"ndcg10_{using}": ndcg(partial(index.search, using=using, limit=10, include=()), rows, cases)
            for using in ("dense", "sentences", "fused")
        }


def ndcg(search: Callable[[str], Any], rows: dict[str, int], cases: Sequence[Case]) -> float:
    """Return the mean nDCG@10 of what a search finds."""
    found = [measured([rows[hit.id] for hit in search(case.text)], case.relevant)[1] for case in cases]
    return float(np.mean(found))


def reranking(questions: int) -> list[dict[str, Any]]:
    """Return nDCG@10 of some of MedQuAD's questions, and milliseconds, with and without a cross-encoder."""
    rng, read = np.random.default_rng(SEED), list(data.read("medquad", "test"))
    rows, every = {one.id: row for row, one in enumerate(read)}, questions_of(read)
    cases = [every[i] for i in rng.permutation(len(every))[:questions]]
    table = list[dict[str, Any]]()
    with (
        TemporaryDirectory() as folder,
        FeatureIndex.create(Path(folder, "m.idx"), encoder=CachedEncoder()) as index,
    ):
        index.upsert(read)

        def passages(text: str, **options: Any) -> Any:
            return index.context(text, **options).passages

        def hits(text: str, **options: Any) -> Any:
            return index.search(text, limit=10, include=(), **options)

        ways: dict[str, Callable[[str], Any]] = {
            "dense": lambda text: hits(text, using="dense"),
            "sentences": lambda text: hits(text, using="sentences"),
            "fused": hits,
            "context": passages,
            "dense_reranked": lambda text: hits(text, using="dense", rerank=ms_marco_minilm),
            "fused_reranked": lambda text: hits(text, rerank=ms_marco_minilm),
            "context_reranked": lambda text: passages(text, rerank=ms_marco_minilm),
        }
        for name, way in ways.items():
            started = time.perf_counter()
            value = ndcg(way, rows, cases)
            seconds = time.perf_counter() - started
            table.append({"search": name, "ndcg10": value, "ms": 1e3 * seconds / len(cases)})
    return table
