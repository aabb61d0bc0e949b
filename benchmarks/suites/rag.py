"""Retrieval for answers: MedQuAD's questions, their texts, questions that exclude something, and contexts.

A question's relevant records are all texts that answer it as it is written. An exclusion is made of labels:
of each disease (``focus``) whose texts are of several types (``question_type``), and each of these types that
``EXCLUDED`` has a word for, "DISEASE, but not about WORD"; its relevant records are the texts on the disease
of the other types. What has a strength or a threshold has the best one on the `choose` part.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

import bm25s
import numpy as np

from benchmarks import data
from benchmarks.corpora import CachedEncoder
from benchmarks.outcome import Figure, Outcome, at_least
from saeindex import FeatureIndex, Record
from saeindex.config import SPANS
from saeindex.indexing.points import PRESENT, mentions_of
from saeindex.indexing.sentences import spans_from
from saeindex.language.fields import RECORD_ID
from saeindex.stores.base import pages

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.types import FloatArray, Using

    Scores = NDArray[np.float64]

# Questions of a quick run, and those whose contexts are read.
CORPUS, SEED, QUICK, READ = "medquad", 0, 200, 1_500
EXCLUDED = {
    "symptoms": "symptom", "treatment": "treatment", "inheritance": "inheritance", "causes": "cause",
    "genetic changes": "mutation", "exams and tests": "diagnosis", "frequency": "frequency",
    "outlook": "prognosis", "research": "research", "susceptibility": "risk", "considerations": "nutrition",
    "prevention": "prevention", "stages": "stage", "complications": "complication",
}  # fmt: skip
# Chosen on `choose`, of .2 to .8, .25 to .45 and .5 to 2.
MINUS, CUT, STRENGTH = 0.6, 0.35, 0.5
RANKED, BUDGETS, DEFAULT_BUDGET = 10, (500, 1_000, 2_000), 1_000
# The normal quantile of a one-sided bound of 95 %, and the most that may be lost.
Z95, MOST_LOST, MOST_LESS = 1.645, 0.005, 0.003
MODES: tuple[Using, ...] = ("dense", "sae", "fused", "sentences", "words")
# The least nDCG@10 of the default.
LEAST = 0.805


class Case(NamedTuple):
    """A query and the rows of its relevant records; ``excluded`` is what they are not about."""

    text: str
    relevant: frozenset[int]
    excluded: str = ""


@dataclass(frozen=True, eq=False)
class Corpus:
    """An index, its records in a fixed order, their rows by id, and their vectors (m, d)."""

    index: FeatureIndex
    records: Sequence[Record]
    rows: dict[str, int]
    vectors: FloatArray
    encoder: CachedEncoder


def run(quick: bool) -> Outcome:
    """Measure modes of search, exclusions and contexts; ``quick`` takes some queries of the `choose` part."""
    part, rng = "choose" if quick else "test", np.random.default_rng(SEED)
    with TemporaryDirectory() as folder:
        encoder = CachedEncoder()
        index = FeatureIndex.create(Path(folder) / "medquad.idx", encoder=encoder)
        records = list(data.read(CORPUS, part))
        index.upsert(records)
        vectors = encoder.encode_document([one.text for one in records])
        corpus = Corpus(index, records, {one.id: i for i, one in enumerate(records)}, vectors, encoder)
        figures: dict[str, Figure] = {}
        tables: dict[str, Any] = {}
        questions, exclusions = questions_of(records), exclusion_cases(records)
        if quick:
            questions = [questions[i] for i in rng.permutation(len(questions))[:QUICK]]
            exclusions = [exclusions[i] for i in rng.permutation(len(exclusions))[:QUICK]]
        _search(corpus, questions, figures, tables)
        _exclude(corpus, exclusions, figures)
        _contexts(corpus, [questions[i] for i in rng.permutation(len(questions))[:READ]], figures, tables)
        index.close()
    return Outcome("rag", quick, SEED, figures, tables)


def questions_of(records: Sequence[Record]) -> list[Case]:
    """Return each question with the rows of all texts that answer it."""
    found: dict[str, list[int]] = defaultdict(list)
    for row, record in enumerate(records):
        found[record.metadata["question"]].append(row)
    return [Case(text, frozenset(rows)) for text, rows in sorted(found.items())]


def exclusion_cases(records: Sequence[Record]) -> list[Case]:
    """Return the cases that leave something out, made of labels as the top of this file says."""
    on: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for row, record in enumerate(records):
        on[record.metadata["focus"].casefold()][record.metadata["question_type"]].append(row)
    cases = []
    for types in (types for _, types in sorted(on.items()) if len(types) > 1):
        focus = records[min(row for rows in types.values() for row in rows)].metadata["focus"].strip()
        if not focus:
            continue
        for kind in sorted(types.keys() & EXCLUDED.keys()):
            rest = frozenset(row for other, rows in types.items() if other != kind for row in rows)
            cases.append(Case(focus, rest, EXCLUDED[kind]))
    return cases


def measured(ranking: Sequence[int], relevant: frozenset[int]) -> tuple[float, float]:
    """Return recall@5 and nDCG@10 of a ranking of rows."""
    gains = 1 / np.log2(np.arange(2, RANKED + 2))
    hits = np.array([row in relevant for row in ranking[:RANKED]] + [False] * (RANKED - len(ranking)))
    return float(hits[:5].sum() / len(relevant)), float((hits * gains).sum() / gains[: len(relevant)].sum())


def _bound(ours: Scores, theirs: Scores) -> float:
    """Return the lower bound, one-sided and of 95 %, of a mean paired difference."""
    gained = ours - theirs
    return float(gained.mean() - Z95 * gained.std(ddof=1) / np.sqrt(len(gained)))


# Search -----------------------------------------------------------------------------------------------


def _search(
    corpus: Corpus, cases: Sequence[Case], figures: dict[str, Figure], tables: dict[str, Any]
) -> None:
    corpus.encoder.encode_query([case.text for case in cases])
    words = bm25s.BM25()
    words.index(
        bm25s.tokenize([one.text for one in corpus.records], stopwords="en", show_progress=False),
        show_progress=False,
    )

    def by_words(text: str) -> list[int]:
        tokens = bm25s.tokenize([text], stopwords="en", show_progress=False, return_ids=False)[0]
        return np.argsort(-words.get_scores(tokens), kind="stable")[:RANKED].tolist() if tokens else []

    def by_index(using: Using) -> Callable[[str], list[int]]:
        return lambda text: [
            corpus.rows[hit.id] for hit in corpus.index.search(text, using=using, limit=RANKED)
        ]

    def by_context(text: str) -> list[int]:
        found = corpus.index.context(text, budget_tokens=DEFAULT_BUDGET)
        return [corpus.rows[one.id] for one in found.passages]

    ways: dict[str, Callable[[str], list[int]]] = {
        "bm25": by_words,
        **{using: by_index(using) for using in MODES},
        "context": by_context,
    }
    found = {
        name: np.array([measured(rank(case.text), case.relevant) for case in cases])
        for name, rank in ways.items()
    }
    for name, values in found.items():
        figures[f"recall5_{name}"] = Figure(float(values[:, 0].mean()), "share", n=len(cases))
        figures[f"ndcg10_{name}"] = Figure(float(values[:, 1].mean()), "nDCG", n=len(cases))
    figures["ndcg10_fused"] = at_least(figures["ndcg10_fused"].value, LEAST, "nDCG", len(cases))
    for name, least in {"sentences": -MOST_LESS, "dense": 0.0}.items():
        gained = _bound(found["fused"][:, 1], found[name][:, 1])
        figures[f"fused_over_{name}"] = at_least(gained, least, "nDCG, lower bound", len(cases))
    for column, measure in enumerate(("recall5", "ndcg10")):
        bounds = {name: _bound(own[:, column], found["dense"][:, column]) for name, own in found.items()}
        figures[f"loss_bound_{measure}"] = at_least(
            bounds["context"], -MOST_LOST, "against dense", len(cases)
        )
        tables[f"bounds_{measure}"] = [{"mode": name, "lower_bound": one} for name, one in bounds.items()]


# Exclusions -------------------------------------------------------------------------------------------


def _exclude(corpus: Corpus, cases: Sequence[Case], figures: dict[str, Figure]) -> None:
    topics = corpus.encoder.encode_query([case.text for case in cases])
    denied = corpus.encoder.encode_query([case.excluded for case in cases])
    moved = topics - MINUS * denied
    near = topics @ corpus.vectors.T
    is_cut = denied @ corpus.vectors.T > CUT

    def ours(case: Case) -> list[int]:
        hits = corpus.index.search(case.text, steer=f'-"{case.excluded}":{STRENGTH}', limit=RANKED)
        return [corpus.rows[hit.id] for hit in hits]

    def by(scores: FloatArray) -> list[list[int]]:
        ranks: list[list[int]] = np.argsort(-scores, axis=1, kind="stable")[:, :RANKED].tolist()
        return ranks

    ranked = {
        "dense": by(near),
        "minus": by(moved @ corpus.vectors.T),
        "cut": by(np.where(is_cut, -np.inf, near)),
        "steered": [ours(case) for case in cases],
    }
    found = {
        name: np.array([measured(one, case.relevant)[1] for one, case in zip(own, cases, strict=True)])
        for name, own in ranked.items()
    }
    for name, values in found.items():
        figures[f"exclusion_ndcg10_{name}"] = Figure(float(values.mean()), "nDCG", n=len(cases))
    best = max(("minus", "cut"), key=lambda name: found[name].mean())
    bound = _bound(found["steered"], found[best])
    figures["exclusion_gain_lower"] = Figure(bound, f"nDCG, against {best}", "> 0", bound > 0, len(cases))
    lost = [np.mean([cut[row] for row in case.relevant]) for cut, case in zip(is_cut, cases, strict=True)]
    figures["exclusion_lost_cut"] = Figure(float(np.mean(lost)), "share of the relevant", n=len(cases))
    figures["exclusion_lost_never"] = _lost_by_guard(corpus, cases)


def _lost_by_guard(corpus: Corpus, cases: Sequence[Case]) -> Figure:
    """Return the share of relevant records that the guard ``never`` of a context leaves out."""
    spoken: dict[str, set[int]] = {}
    for word in sorted({case.excluded for case in cases}):
        hits = corpus.index.search(where=f'possible("{word}")', limit=len(corpus.records))
        spoken[word] = {corpus.rows[hit.id] for hit in hits}
    lost = [len(case.relevant & spoken[case.excluded]) / len(case.relevant) for case in cases]
    return Figure(float(np.mean(lost)), "share of the relevant", n=len(cases))


# Contexts ---------------------------------------------------------------------------------------------


class Taken(NamedTuple):
    """What sentences are worth: relevant texts, concepts of all and of these, the share of their tokens."""

    texts: float
    concepts: float
    relevant_concepts: float
    relevant_tokens: float


class Sentences:
    """The sentences of a corpus: their starts, their lengths in tokens, and what each speaks of."""

    def __init__(self, corpus: Corpus) -> None:
        """Read them from the index."""
        found = pages(corpus.index.state.store, with_payload=True)
        payloads = {point.payload[RECORD_ID]: point.payload for page in found for point in page.points}
        self.starts: list[list[int]] = []
        self.tokens: list[list[int]] = []
        self.concepts: list[dict[int, set[int]]] = []
        for record in corpus.records:
            payload, concepts = payloads[record.id], defaultdict[int, set[int]](set)
            spans = spans_from(payload[SPANS])
            for one in mentions_of(payload, least=PRESENT):
                concepts[one.sentence].add(one.feature)
            count = corpus.encoder.token_spans
            self.starts.append([start for start, _ in spans])
            self.tokens.append([len(count(record.text[start:end])) for start, end in spans])
            self.concepts.append(concepts)

    def worth(self, taken: Sequence[tuple[int, int]], relevant: set[int]) -> Taken:
        """Return what sentences, by row and place, are worth to a question with these relevant rows."""
        own = [one for one in taken if one[0] in relevant]
        tokens = [sum(self.tokens[row][place] for row, place in every) for every in (own, taken)]
        concepts = [
            len(set().union(*(self.concepts[row][place] for row, place in every))) for every in (taken, own)
        ]
        texts = len({row for row, _ in own})
        return Taken(texts, concepts[0], concepts[1], tokens[0] / max(1, tokens[1]))

    def first(self, rows: Sequence[int], budget: int) -> list[tuple[int, int]]:
        """Return the first passages of a ranking, in whole sentences, until one does not fit."""
        taken: list[tuple[int, int]] = []
        for row in rows:
            for place, tokens in enumerate(self.tokens[row]):
                budget -= tokens
                if budget < 0:
                    return taken
                taken.append((row, place))
        return taken


def _contexts(
    corpus: Corpus, cases: Sequence[Case], figures: dict[str, Figure], tables: dict[str, Any]
) -> None:
    sentences = Sentences(corpus)
    on: dict[str, set[int]] = defaultdict(set)
    focus = [one.metadata["focus"].casefold() for one in corpus.records]
    for row, name in enumerate(focus):
        on[name].add(row)
    table = []
    for budget in BUDGETS:
        ours, first = [], []
        for case in cases:
            relevant = set().union(*(on[focus[row]] for row in case.relevant))
            context = corpus.index.context(case.text, budget_tokens=budget)
            rows = [(corpus.rows[one.id], one) for one in context.passages]
            taken = [
                (row, sentences.starts[row].index(each.start)) for row, one in rows for each in one.sentences
            ]
            ours.append(sentences.worth(taken, relevant))
            hits = corpus.index.search(case.text, limit=RANKED * budget // min(BUDGETS))
            nearest = sentences.first([corpus.rows[hit.id] for hit in hits], budget)
            first.append(sentences.worth(nearest, relevant))
        a, b = np.array(ours), np.array(first)
        for column, name in enumerate(Taken._fields):
            own, other = a[:, column], b[:, column]
            means = {"context": float(own.mean()), "first_passages": float(other.mean())}
            table.append({"tokens": budget, "of": name, **means, "gain_lower": _bound(own, other)})
        if budget == DEFAULT_BUDGET:
            for column, name in ((0, "context_passages_gain"), (1, "context_concepts_gain")):
                bound = _bound(a[:, column], b[:, column])
                unit = f"{Taken._fields[column]} more than the first passages"
                figures[name] = Figure(bound, unit, "> 0", bound > 0, len(cases))
    tables["contexts"] = table
