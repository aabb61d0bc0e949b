"""Searches side by side: nDCG, recall and reciprocal ranks of the same questions, with paired intervals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from saeindex.analysis.evaluate.questions import Question, drafted
from saeindex.analysis.evaluate.results import Answered, Differing, Evaluation, Gain, SearchQuality
from saeindex.collection.records import existing_ids
from saeindex.config import DOCUMENT
from saeindex.errors import InvalidInputError, installed
from saeindex.indexing.points import of_documents
from saeindex.report.numbers import counted
from saeindex.schema import to_json
from saeindex.search.query import GroupBy, Query, QueryOptions

if TYPE_CHECKING:
    from saeindex.collection.state import IndexState
    from saeindex.search.searcher import Searcher
    from saeindex.types import Doubles

BLOCK = 256
MEASURES = ("ndcg", "recall", "mrr")
LEAST = 2


class _Ranked(NamedTuple):
    """What a search found: for each question its values (measures, questions), ranks, and first hits."""

    values: Doubles
    ranks: list[int]
    hits: list[str]


def evaluate(
    searcher: Searcher,
    state: IndexState,
    questions: Sequence[Question] | None,
    searches: Mapping[str, QueryOptions],
    limit: int,
    alpha: float,
    shown: int,
    drafts: int,
) -> Evaluation:
    """Ask all questions of all searches; see :class:`Evaluation`. Without questions, ``drafts`` are made."""
    _check_pages(searches)
    given = drafted(state, drafts) if questions is None else questions
    asked, by_document, notes = _answerable(state, given)
    found = {
        name: _ranked(searcher, asked, options, limit, by_document) for name, options in searches.items()
    }
    notes += tuple(f"{name} has no hit for any question" for name, one in found.items() if not any(one.hits))
    first, *others = found.values()
    compared = max(1, len(others) * len(MEASURES))
    return Evaluation(
        limit=limit,
        alpha=alpha,
        searches=tuple(
            SearchQuality(
                name=name,
                options=to_json(searches[name], QueryOptions),
                gains={} if ranked is first else dict(_gains(ranked.values - first.values, alpha / compared)),
                **dict(zip(MEASURES, ranked.values.mean(1).tolist(), strict=True)),
            )
            for name, ranked in found.items()
        ),
        questions=tuple(
            Answered(
                question,
                tuple(float(ranked.values[0, row]) for ranked in found.values()),
                tuple(ranked.ranks[row] for ranked in found.values()),
            )
            for row, question in enumerate(asked)
        ),
        differing=tuple(_differing([*found.values()], shown)),
        notes=notes,
    )


def _check_pages(searches: Mapping[str, QueryOptions]) -> None:
    """Raise InvalidInputError for a search with another page than the evaluation's."""
    usual = QueryOptions()
    for name, options in searches.items():
        if (options.limit, options.offset) != (usual.limit, usual.offset):
            do = "Leave them out, and give the evaluation its limit: all searches have the same."
            raise InvalidInputError(f"search {name!r:.80}", "a limit or an offset of its own", do)


def _answerable(
    state: IndexState, questions: Sequence[Question]
) -> tuple[list[Question], bool, tuple[str, ...]]:
    """Return questions with those answers that the index has, whether they are documents, and notes."""
    wanted = {one for question in questions for one in question.relevant}
    known = existing_ids(state.store, wanted)
    by_document = bool(wanted) and not known and state.has_documents
    if by_document:
        known = {str(name) for name, _ in state.store.facet(DOCUMENT, of_documents(wanted), len(wanted))}
    own = [
        replace(one, relevant={each: gain for each, gain in one.relevant.items() if each in known})
        for one in questions
    ]
    asked = [one for one in own if one.relevant]
    if len(asked) < LEAST:
        found = f"{len(asked)} of {counted(len(questions), 'question')} have an answer in the index"
        if unknown := sorted(wanted - known):
            found += f": {unknown[0]!r:.80} is no record"
        drafts = "" if questions else ": of texts of one sentence none is drafted"
        do = f"Give {LEAST} or more, with ids of its records and gains above 0{drafts}."
        raise InvalidInputError("questions", found, do)
    notes = []
    if missing := len(wanted) - len(known):
        notes.append(f"{missing:,} of {len(wanted):,} answers are no record of the index, and are left out")
    if unanswered := len(own) - len(asked):
        notes.append(
            f"{unanswered:,} of {len(own):,} questions have no answer in the index, and are left out"
        )
    for source in sorted({one.drafted for one in asked} - {""}):
        count = sum(one.drafted == source for one in asked)
        notes.append(
            f"{count:,} of {len(asked):,} questions were drafted ({source}): such questions favour searches "
            "that compare words; correct them, or write your own"
        )
    return asked, by_document, tuple(notes)


def _ranked(
    searcher: Searcher, questions: Sequence[Question], options: QueryOptions, limit: int, by_document: bool
) -> _Ranked:
    ir = installed("ir_measures", "an evaluation", "evaluate")
    measures = [ir.nDCG @ limit, ir.R @ limit, ir.RR @ limit]
    own = {one.name: getattr(options, one.name) for one in fields(QueryOptions)} | {"limit": limit}
    own |= {"group_by": GroupBy(DOCUMENT, size=1)} if by_document else {}
    ranks, hits, ranking = list[int](), list[str](), dict[str, dict[str, float]]()
    for start in range(0, len(questions), BLOCK):
        block = questions[start : start + BLOCK]
        results = searcher.search_many([Query(one.text, **own) for one in block])
        for row, (question, found) in enumerate(zip(block, results, strict=True), start):
            ids = [hit.document or hit.id if by_document else hit.id for hit in found]
            ranking[str(row)] = {one: float(len(ids) - place) for place, one in enumerate(ids)}
            ranks.append(next((rank for rank, one in enumerate(ids, 1) if one in question.relevant), 0))
            hits.append(found[0].text if len(found) else "")
    judged = {str(row): dict(one.relevant) for row, one in enumerate(questions)}
    values = np.zeros((len(measures), len(questions)))
    for one in ir.iter_calc(measures, judged, ranking):
        values[measures.index(one.measure), int(one.query_id)] = one.value
    return _Ranked(values, ranks, hits)


def _gains(differences: Doubles, alpha: float) -> Iterator[tuple[str, Gain]]:
    """Yield the mean of each measure's differences (measures, questions), with an interval of 1 - alpha."""
    from scipy import stats

    half = stats.t.isf(alpha / 2, differences.shape[1] - 1) * stats.sem(differences, axis=1)
    means = differences.mean(1)
    for name, mean, low, high in zip(MEASURES, means, means - half, means + half, strict=True):
        yield name, Gain(float(mean), float(low), float(high))


def _differing(found: Sequence[_Ranked], shown: int) -> Iterator[Differing]:
    for place, ranked in enumerate(found[1:], 1):
        apart = np.abs(ranked.values[0] - found[0].values[0])
        for row in np.argsort(-apart, kind="stable")[:shown].tolist():
            if apart[row] > 0:
                yield Differing(row, place, (ranked.hits[row], found[0].hits[row]))
