"""Spaces made for encoders beside the packaged one, on `test` parts; and reranking of MedQuAD's questions.

MiniLM always; others where they are: bge-small-en as :mod:`benchmarks.onnx_models` has it, and what
``SAEINDEX_ENCODERS`` names, folders of models or services (``mpnet=/models/all-mpnet-base-v2,e5=openai:e5``,
with ``OPENAI_BASE_URL``). Spaces are made of the package's texts alone, with none of the texts that they are
measured on, and kept in ``.cache/spaces``: delete them to make them anew.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
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
from benchmarks.suites.rag import Case, measured, questions_of
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
# What may be lost beside the packaged space, and the minutes of making one beyond embedding.
MOST_LOST, MINUTES = 0.03, 30
VARIABLE, KEPT = "SAEINDEX_ENCODERS", Path(".cache/spaces")
INPUT_TYPES: Any = {"input_types": "query,passage", "max_length": 512}


def encoders() -> Iterator[tuple[str, TextEncoder]]:
    """Yield the encoders that are here, by name."""
    yield "minilm", open_encoder()
    if (folder := folder_of("bge_small_en")) is not None:
        yield "bge-small", BgeSmall(folder)
    for name, _, place in (one.partition("=") for one in os.environ.get(VARIABLE, "").split(",") if one):
        yield name, open_encoder(place, **INPUT_TYPES if place.startswith("openai:") else {})


def run(quick: bool) -> Outcome:
    """Make and measure; ``quick`` makes a small space for MiniLM, and takes 30 records and 10 questions."""
    outcome, part = Outcome("encoders", quick, SEED), 10 if quick else 1
    with corpora(FeatureSpace.load(DEFAULT_SPACE), CachedEncoder(), RECORDS // part) as packaged:
        table = {"packaged": scores(packaged)}
    for name, encoder in [("minilm", open_encoder())] if quick else encoders():
        cached = CachedEncoder(encoder)
        space = FeatureSpace.make(cached, config=QUICK) if quick else kept(name, cached)
        took = space.report["made"]["minutes"]
        outcome.figures[f"{name}_minutes_encoding"] = Figure(took["encoding"], "minutes")
        outcome.figures[f"{name}_minutes_beside_it"] = at_most(took["training"], MINUTES, "minutes")
        for kind, auroc in space.report["made"]["judged"]["this"].items():
            lost = auroc - space.report["made"]["judged"]["default"][kind]
            outcome.figures[f"{name}_judged_{kind}"] = Figure(auroc, "AUROC")
            outcome.figures[f"{name}_judged_{kind}_beside_packaged"] = at_least(lost, -MOST_LOST, "AUROC")
        with corpora(space, cached, RECORDS // part) as made:
            table[name] = scores(made)
        for figure, value in table[name].items():
            outcome.figures[f"{name}_{figure}"] = Figure(value, figure)
        lost = table[name]["property_over_dense"] - table["packaged"]["property_over_dense"]
        outcome.figures[f"{name}_property_beside_packaged"] = at_least(lost, -MOST_LOST, "MAP over dense")
        outcome.figures.update(retrieval(name, space, cached, RETRIEVED // part))
    if folder_of("reranker_en") is not None:
        outcome.figures.update(reranking(QUESTIONS // part))
    outcome.tables["spaces"] = [{"space": name, **own} for name, own in table.items()]
    return outcome


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
    """Return means over corpora: error, codes of a record, and precision of properties, beside dense."""
    every: list[tuple[float, ...]] = []
    for one in found:
        space, places = one.index.space, {record.id: row for row, record in enumerate(one.records)}
        ours, dense = list[float](), list[float]()
        for query in range(len(one.queries)):
            hits = one.index.search(property=one.text(query), limit=len(places), include=())
            ranked = np.zeros(len(places))
            ranked[[places[hit.id] for hit in hits]] = np.arange(len(hits), 0, -1)
            ours.append(average_precision(ranked, one.relevant[query]))
            dense.append(average_precision(one.x @ one.vectors[query], one.relevant[query]))
        assert space.calibration.mean is not None
        nmse = fidelity(space.sae, np.asarray(one.x), space.calibration.mean)["nmse"]
        mean_ours, mean_dense = float(np.mean(ours)), float(np.mean(dense))
        every.append((nmse, mean_ours, mean_dense, mean_ours - mean_dense))
    names = ("nmse", "property_map", "dense_map", "property_over_dense")
    return dict(zip(names, np.mean(every, axis=0).tolist(), strict=True))


def retrieval(name: str, space: FeatureSpace, encoder: TextEncoder, records: int) -> dict[str, Figure]:
    """Return nDCG@10 of MedQuAD's questions in some of its texts, by the vector alone and by default."""
    read = list(data.read("medquad", "test", records))
    with (
        TemporaryDirectory() as folder,
        FeatureIndex.create(Path(folder, "m.idx"), space, encoder=encoder) as index,
    ):
        index.upsert(read)
        rows, cases = {one.id: row for row, one in enumerate(read)}, questions_of(read)
        return {
            f"{name}_ndcg10_{using}": Figure(
                ndcg(lambda text: index.search(text, using=using, limit=10, include=()), rows, cases),  # noqa: B023
                "nDCG", n=len(cases),
            )
            for using in ("dense", "fused")
        }  # fmt: skip


def ndcg(search: Callable[[str], Any], rows: dict[str, int], cases: Sequence[Case]) -> float:
    """Return the mean nDCG@10 of what a search finds."""
    found = [measured([rows[hit.id] for hit in search(case.text)], case.relevant)[1] for case in cases]
    return float(np.mean(found))


def reranking(questions: int) -> dict[str, Figure]:
    """Return nDCG@10 of MedQuAD's questions, and milliseconds, with and without a cross-encoder."""
    rng, read = np.random.default_rng(SEED), list(data.read("medquad", "test"))
    rows, every = {one.id: row for row, one in enumerate(read)}, questions_of(read)
    cases = [every[i] for i in rng.permutation(len(every))[:questions]]
    found = dict[str, Figure]()
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
            found[f"rerank_ndcg10_{name}"] = Figure(value, "nDCG", n=len(cases))
            found[f"rerank_ms_{name}"] = Figure(1e3 * seconds / len(cases), "ms", n=len(cases))
    return found
