"""Random where expressions over real records on every engine, compared with brute force."""

from __future__ import annotations

import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.corpora import CachedEncoder
from benchmarks.outcome import Figure, Outcome, at_most
from benchmarks.suites.boolean.brute_force import LEAST_PERCENT, BruteForce
from benchmarks.suites.boolean.expressions import ExpressionGenerator, Vocabulary
from benchmarks.suites.boolean.records import DATES, FIELDS, fields_of, real_records
from saeindex import FeatureIndex, FeatureSpace, Record
from saeindex.config import DEFAULT_SPACE, SAE
from saeindex.errors import UnknownConceptError
from saeindex.indexing.points import point_id
from saeindex.indexing.sentences import sentences_in, spans_in
from saeindex.indexing.terms import KeptTerm
from saeindex.language.ast import Expression, walk
from saeindex.language.evaluate import matches
from saeindex.language.parser import parse_where
from saeindex.language.to_filter import FeaturesOf, compile_where
from saeindex.language.to_text import to_text
from saeindex.operations.search import searcher_of
from saeindex.protocols import SparseVector

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from qdrant_client.models import Filter

    from saeindex.protocols import Point, TextEncoder, VectorStore
    from saeindex.types import FloatArray, LevelName

SEED = 20260801
# The levels that queries give to bare concepts, in turn.
DEFAULTS: tuple[LevelName, ...] = ("present", "possible", "typical", "strong")
PAYLOAD_INDEXES: dict[str, Any] = {
    "metadata.corpus": "keyword",
    "metadata.year": "integer-range",
    "metadata.published": "datetime",
}
FEATURES, PHRASES, FAMILIES = 300, 100, 40
# Texts whose evidence is computed together.
AT_ONCE = 500
# Records of each expression on which the evaluator of explanations is run.
EXPLAINED = 20
SHOWN = 5
COLLECTION = "saeindex-boolean"
# The client's local mode takes 0.2 ms for a record and an expression: it gets fewer records.
LOCAL_RECORDS = 1_000


@dataclass(frozen=True, slots=True)
class Case:
    """An expression, the level of its bare concepts, and the records (n,) that it selects."""

    expression: Expression
    level: LevelName
    truth: NDArray[np.bool_]


def run(quick: bool) -> Outcome:
    """Measure; ``quick`` takes a tenth of the records and of the expressions."""
    n_records, n_expressions = (1_000, 200) if quick else (10_000, 2_000)
    space, records, moments = FeatureSpace.load(DEFAULT_SPACE), *real_records(n_records)
    encoder = CachedEncoder()
    outcome = Outcome("boolean", quick, SEED)
    cases, terms = list[Case](), tuple[KeptTerm, ...]()
    total = 0
    for name, index in engines(space, encoder):
        step = max(1, n_records // LOCAL_RECORDS) if name == "local" else 1
        with index:
            if cases:  # the terms that the cases name, whatever a smaller index would learn
                index._current.add_terms(terms)
            index.upsert(records[::step], learn_terms=not cases)
            if not cases:
                terms = index.state.manifest.terms
                features_of = resolver(index)  # a smaller index may resolve a phrase to other features
                points = all_points(index.state.store, records)
                cases = make_cases(index, records, points, moments, features_of, n_expressions)
                outcome.figures.update(described(cases, points, features_of))
            started = time.perf_counter()
            wrong = differing(cases, index.state.store, records, step, features_of)
            elapsed = (time.perf_counter() - started) * 1e3 / len(cases)
        outcome.figures[f"differences_{name}"] = at_most(len(wrong), 0, "expressions", len(cases))
        outcome.figures[f"records_{name}"] = Figure(len(records[::step]), "records")
        outcome.figures[f"time_{name}"] = Figure(elapsed, "ms per expression", n=len(cases))
        outcome.tables[f"differing_{name}"] = wrong[:SHOWN]
        total += len(wrong)
    outcome.figures["differences"] = at_most(total, 0, "expressions", len(cases))
    return outcome


# Engines ----------------------------------------------------------------------------------------------


def engines(space: FeatureSpace, encoder: TextEncoder) -> Iterator[tuple[str, FeatureIndex]]:
    """Yield an empty index on each available engine, with its name; delete a server's collection."""
    from qdrant_client import QdrantClient

    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/edge"
        yield "edge", FeatureIndex.create(path, space, encoder=encoder, payload_indexes=PAYLOAD_INDEXES)
    local = QdrantClient(":memory:")
    yield "local", FeatureIndex.create(COLLECTION, space, client=local, encoder=encoder)
    if "QDRANT_URL" not in os.environ:
        return
    key = os.environ.get("QDRANT_API_KEY")
    server = QdrantClient(url=os.environ["QDRANT_URL"], api_key=key, timeout=60)
    server.delete_collection(COLLECTION)
    try:
        yield (
            "server",
            FeatureIndex.create(
                COLLECTION, space, client=server, encoder=encoder, payload_indexes=PAYLOAD_INDEXES
            ),
        )
    finally:
        server.delete_collection(COLLECTION)


def resolver(index: FeatureIndex) -> FeaturesOf:
    """Return the resolver of concepts of an index."""
    return searcher_of(index.state).planner.features_of({})


def all_points(store: VectorStore, records: Sequence[Record]) -> list[Point]:
    """Return the records' points, in their order."""
    found: dict[Any, Point] = {}
    cursor = None
    while cursor is not None or not found:
        page = store.scroll(limit=1_000, cursor=cursor, with_vectors=[SAE])
        found.update({point.id: point for point in page.points})
        cursor = page.cursor
        if cursor is None:
            break
    return [found[point_id(record.id)] for record in records]


def selected(store: VectorStore, query_filter: Filter | None, rows: dict[Any, int]) -> NDArray[np.bool_]:
    """Return which records (n,) a store finds; a point found twice, or unknown, is an error."""
    mask = np.zeros(len(rows), bool)
    found = [point.id for point in store.scroll(query_filter, len(rows) + 1, with_payload=False).points]
    assert len(set(found)) == len(found)
    mask[[rows[one] for one in found]] = True
    return mask


# Cases ------------------------------------------------------------------------------------------------


def make_cases(
    index: FeatureIndex,
    records: Sequence[Record],
    points: Sequence[Point],
    moments: dict[str, int],
    features_of: FeaturesOf,
    count: int,
) -> list[Case]:
    """Return distinct random expressions with the records that brute force finds for them."""
    activations = dense_codes(points, index.space.n_features)
    levels = {"typical": index.space.calibration.median, "strong": index.space.calibration.p90}
    percents, fields = evidence_in_percent(index.space, index.encoder, records), fields_of(records)
    truth = BruteForce(activations, levels, percents, fields, moments, features_of)
    frequency = np.where(percents < 0, activations > 0, percents >= LEAST_PERCENT["possible"]).sum(axis=0)
    generator = ExpressionGenerator(vocabulary(index, frequency, fields), SEED)
    expressions: dict[str, Expression] = {}
    while len(expressions) < count:
        expression = generator.expression()
        expressions[to_text(expression)] = expression
    chosen = ((one, DEFAULTS[number % len(DEFAULTS)]) for number, one in enumerate(expressions.values()))
    return [Case(one, level, truth.mask(one, level)) for one, level in chosen]


def dense_codes(points: Sequence[Point], n_features: int) -> FloatArray:
    """Return the activations (n, n_features) of the points' sparse vectors."""
    dense = np.zeros((len(points), n_features), np.float32)
    for row, point in enumerate(points):
        code = point.vectors.get(SAE)
        if isinstance(code, SparseVector):
            dense[row, code.indices] = code.values
    return dense


def evidence_in_percent(
    space: FeatureSpace, encoder: TextEncoder, records: Sequence[Record]
) -> NDArray[np.int8]:
    """Return the evidence (n, n_features) of the records' sentences in percent, -1 of free features."""
    found = np.full((len(records), space.n_features), -1, np.int8)
    evidence = space.evidence
    if evidence is None:
        return found
    found[:, evidence.features] = 0
    for start in range(0, len(records), AT_ONCE):
        texts = [record.text for record in records[start : start + AT_ONCE]]
        sentences = [sentences_in(text, spans_in(text)) for text in texts]
        ends = [0, *accumulate(map(len, sentences))]
        flat = [one for own in sentences for one in own]
        speech = evidence.spoken(flat, ends)
        said = evidence.of_texts(flat, encoder.encode_document(flat), ends, speech)
        for row, mentions in enumerate(said, start):
            for one in mentions:
                found[row, one.feature] = round(100 * one.p)
    return found


def vocabulary(index: FeatureIndex, frequency: NDArray[np.int64], fields: dict[str, list[Any]]) -> Vocabulary:
    """Return common and rare features, labels that resolve, families, and the values of every field.

    ``frequency`` (n_features,) is the number of records that have each feature.
    """
    space = index.space
    common = [int(feature) for feature in np.argsort(-frequency, kind="stable")[:FEATURES]]
    rng = np.random.default_rng(SEED)
    at_random = [int(feature) for feature in rng.choice(space.n_features, FEATURES // 3, replace=False)]
    phrases = []
    for feature in common:
        try:
            index.concepts.resolve(space.labels[feature].text)
        except UnknownConceptError:
            continue
        phrases.append(space.labels[feature].text)
    values = {field: distinct_values(fields[field]) or ["x", 1] for field in FIELDS}
    families = [f"#{family.id}" for family in space.families] + [one.label for one in space.families]
    return Vocabulary(
        common + at_random, phrases[:PHRASES], families[:: max(1, len(families) // FAMILIES)], values, DATES,
        fields["record_id"],
    )  # fmt: skip


def distinct_values(found: Sequence[Any]) -> list[Any]:
    """Return the distinct values of a field, those of lists one by one."""
    flat = [each for value in found for each in (value if isinstance(value, list) else [value])]
    return list({(type(each), each): each for each in flat if each is not None}.values())


def described(cases: Sequence[Case], points: Sequence[Point], features_of: FeaturesOf) -> dict[str, Figure]:
    """Return statistics of the expressions, and how often explanations judge a record differently."""
    nodes = Counter(node.kind for case in cases for node, _ in walk(case.expression))
    sizes = [int(case.truth.sum()) for case in cases]
    informative = np.mean([0 < size < len(points) for size in sizes])
    rng = np.random.default_rng(SEED)
    wrong = 0
    for case in cases:
        for row in rng.choice(len(points), EXPLAINED, replace=False):
            found = matches(case.expression, points[row].payload, features_of, case.level)
            wrong += int(found != case.truth[row])
    return {
        "expressions": Figure(len(cases), "expressions", n=len(points)),
        "kinds_of_nodes": Figure(len(nodes), "kinds", n=sum(nodes.values())),
        "neither_all_nor_none": Figure(float(informative), "share", n=len(cases)),
        "differences_explained": at_most(wrong, 0, "records", len(cases) * EXPLAINED),
    }


def differing(
    cases: Sequence[Case],
    store: VectorStore,
    records: Sequence[Record],
    step: int,
    features_of: FeaturesOf,
) -> list[str]:
    """Return the texts of the expressions for which a store of every ``step``-th record finds others.

    Each is written, parsed and compiled like a query; one that changes on the way counts as differing.
    """
    rows: dict[Any, int] = {point_id(record.id): row for row, record in enumerate(records[::step])}
    wrong = []
    for case in cases:
        text = to_text(case.expression)
        parsed = parse_where(text)
        from_json = parse_where(case.expression.model_dump(mode="json"))
        is_same = parsed == from_json == case.expression and to_text(parsed) == to_text(from_json) == text
        query_filter = compile_where(parsed, features_of, case.level)
        if not is_same or (selected(store, query_filter, rows) != case.truth[::step]).any():
            wrong.append(text)
    return wrong
