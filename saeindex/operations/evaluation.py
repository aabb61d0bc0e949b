"""Questions whose answers are known, asked of several searches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, cast

from pydantic import BeforeValidator, Field, PlainSerializer, PlainValidator, WithJsonSchema

from saeindex.config import SENTENCES, WORDS
from saeindex.errors import InvalidInputError, kind_of
from saeindex.operations.analysis import Analysis, Reading
from saeindex.operations.search import searcher_of
from saeindex.schema import ANY_OBJECT, Number, Whole, check_options, request
from saeindex.search.query import QueryOptions

if TYPE_CHECKING:
    from saeindex.analysis.evaluate import questions as known
    from saeindex.analysis.evaluate.results import Evaluation

    Searches: TypeAlias = Mapping[str, QueryOptions | Mapping[str, Any]]
    Asked: TypeAlias = known.Question | Mapping[str, Any] | tuple[str, Sequence[str]]
    Questions: TypeAlias = Path | Sequence[Asked]
else:

    def _search(given: Any) -> Any:
        if isinstance(given, Mapping):
            check_options(QueryOptions, given, "a search")
        return given

    Searches = Mapping[str, Annotated[QueryOptions, BeforeValidator(_search)]]

    def _questions(given: Any) -> Any:
        from saeindex.analysis.evaluate.questions import Question, joined, read_questions

        if given is None:
            return None
        if isinstance(given, Path):
            return tuple(read_questions(given))
        if isinstance(given, str | Mapping) or not isinstance(given, Iterable):
            do = "Give a list of them, or the pathlib.Path of a file."
            raise InvalidInputError(f"questions {given!r:.80}", kind_of(given), do)
        return tuple(joined(map(Question.of, given)))

    Questions = Annotated[
        Any,
        PlainValidator(_questions),
        PlainSerializer(lambda given: None if given is None else [one.to_json() for one in given]),
        WithJsonSchema({"type": "array", "items": ANY_OBJECT}),
    ]


@request
class Evaluate(Analysis["Evaluation"], results="saeindex.analysis.evaluate.results"):
    """Return how well searches answer questions whose answers are known, with paired intervals.

    A question is ``{"text": …, "relevant": [ids]}``, of records or of documents, or a text with its ids; a
    ``Path`` is that of a file of such lines, of a table, or of a BEIR folder. Without any, questions are
    drafted from the records' titles or first sentences. ``searches`` are options of ``search`` by name, and
    each is compared with the first; without any, the default and each part of it alone.

    ``index.evaluate(Path("questions.jsonl"), {"default": {}, "by words": {"using": "words"}})``
    """

    name = "evaluate"

    questions: Questions | None = Field(default=None, description="questions with the ids that answer them")
    searches: Searches = Field(default={}, description="options of search by name")
    _: KW_ONLY
    limit: Whole = Field(default=10, ge=1, le=1_000, description="the hits that count")
    alpha: Number = Field(default=0.05, gt=0, lt=1, description="the error rate of all intervals together")
    shown: Whole = Field(
        default=5,
        ge=0,
        le=100,
        description="the questions shown, of those on which a search and the first differ",
    )
    drafts: Whole = Field(default=200, ge=2, le=10_000, description="the most questions that are drafted")

    def analyse(self, records: Reading) -> Evaluation:
        """Ask."""
        from saeindex.analysis.evaluate.evaluate import evaluate

        state = records.state
        has = {"sentences": SENTENCES, "words": WORDS}
        parts = ["dense", *(name for name, vector in has.items() if vector in state.store.layout.names)]
        usual = {"fused": QueryOptions()} | {name: QueryOptions(using=cast(Any, name)) for name in parts}
        records.end()
        asked, searches = cast("Sequence[known.Question] | None", self.questions), self.searches or usual
        return evaluate(
            searcher_of(state), state, asked, cast("Mapping[str, QueryOptions]", searches), self.limit,
            self.alpha, self.shown, self.drafts,
        )  # fmt: skip
