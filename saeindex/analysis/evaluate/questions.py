"""Questions with the records that answer them: read from files, or drafted from the records themselves."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saeindex.config import DOCUMENT, TEXT
from saeindex.errors import InvalidInputError, NotFoundError, kind_of
from saeindex.indexing.sentences import sentences_in, spans_in
from saeindex.indexing.sources.open_source import rows_of
from saeindex.language.fields import METADATA, RECORD_ID
from saeindex.protocols import Rejected
from saeindex.schema import listed
from saeindex.stores.base import PAGE, first_points

if TYPE_CHECKING:
    from saeindex.collection.state import IndexState

# The names of columns, and of the files of a folder as BEIR has them.
TEXTS, ANSWERS, GAINS = (
    ("text", "question", "query"),
    ("relevant", "ids", "id", "record_id"),
    ("gain", "score"),
)
QUERIES, JUDGED, PAIR = "queries.jsonl", "qrels", ("query-id", "corpus-id", "score")
DO = 'Write lines of {"text": "a question", "relevant": ["an id", …]}, columns text and id, or a BEIR folder.'
# Where a question is drafted from, the first that half of the records have; words of a draft, and its length.
TITLES = ("title", "headline", "subject", "question")
LEAST_WORDS, MOST_CHARACTERS = 3, 300
DRAFTED_AT_ONCE, MOST_GAIN = 4, 1_000


@dataclass(frozen=True, slots=True)
class Question:
    """A question, and the gain of each record that answers it; ``drafted`` says what it was made of."""

    text: str
    relevant: Mapping[str, int]
    drafted: str = ""

    @classmethod
    def of(cls, given: Any) -> Question:
        """Return a question of an object, or of a text with ids; InvalidInputError for what is none."""
        if isinstance(given, Question):
            return given
        if isinstance(given, tuple | list) and len(given) == 2:
            given = dict(zip((TEXT, "relevant"), given, strict=True))
        if not isinstance(given, Mapping):
            raise InvalidInputError("a question", kind_of(given), 'Give {"text": …, "relevant": [ids]}.')
        text, answers = (_first(given, names) for names in (TEXTS, ANSWERS))
        is_text = isinstance(text, str) and bool(text.strip())
        if not is_text or not answers:
            missing = "no ids that answer it" if is_text else "no text"
            raise InvalidInputError(f"question {given!r:.80}", missing, DO)
        if not isinstance(answers, Mapping):
            one = (answers,) if isinstance(answers, str | int) else listed(answers)
            gain = _first(given, GAINS)
            answers = dict.fromkeys(one, 1 if gain is None else gain)
        gains = {str(one): _gain(text, gain) for one, gain in answers.items()}
        positive = {one: gain for one, gain in gains.items() if gain > 0}
        return cls(text.strip(), positive, str(given.get("drafted") or ""))

    def to_json(self) -> dict[str, Any]:
        """Return it as a line of a file."""
        return {"text": self.text, "relevant": dict(self.relevant)} | (
            {"drafted": self.drafted} if self.drafted else {}
        )


def _gain(text: str, given: Any) -> int:
    """Return how much an answer is worth; 0 and less are none."""
    with suppress(TypeError, ValueError):
        if (gain := float(given)).is_integer() and gain <= MOST_GAIN:
            return int(gain)
    asked = f"the gain {given!r:.40} of the question {text!r:.80}"
    raise InvalidInputError(asked, "no whole number up to 1,000", "Give one, such as 1 or 2.")


def _first(given: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((given[name] for name in names if given.get(name) not in (None, "")), None)


def read_questions(path: str | os.PathLike[str]) -> list[Question]:
    """Return the questions of a file (JSON lines, JSON, CSV, Parquet) or of a BEIR folder.

    Rows of one text are one question.
    """
    place = Path(path).expanduser()
    if not place.is_dir():
        return joined(Question.of(row) for row in _rows(place))
    judged = sorted((place / JUDGED).glob("*.tsv"))
    if not (place / QUERIES).is_file() or not judged:
        raise NotFoundError(f"questions in {place}", f"no {QUERIES}, or no table in {JUDGED}", DO)
    test = [file for file in judged if file.stem == "test"] or judged
    if len(test) > 1:
        names = ", ".join(file.name for file in test)
        raise InvalidInputError(f"questions in {place}", f"several tables: {names}", f"Keep one in {JUDGED}.")
    texts = {str(row.get("_id")): row.get(TEXT) for row in _rows(place / QUERIES)}
    rows = list(_rows(test[0]))
    if rows and (missing := [name for name in PAIR if name not in rows[0]]):
        found = f"no column {', '.join(missing)}"
        raise InvalidInputError(f"questions in {test[0]}", found, f"Name the columns {', '.join(PAIR)}.")
    pairs = (tuple(map(row.get, PAIR)) for row in rows)
    known = ((texts.get(str(asked)), one, gain) for asked, one, gain in pairs)
    return joined(
        Question.of({TEXT: text, "relevant": {one: gain}}) for text, one, gain in known if text is not None
    )


def _rows(path: Path) -> Iterator[Mapping[str, Any]]:
    if not path.exists():
        raise NotFoundError(f"questions in {path}", "no file or folder has that name", "Check the path.")
    for row in rows_of(path).read():
        if isinstance(row, Rejected):
            raise InvalidInputError(f"questions in {path}, {row.position}", row.reason, DO)
        yield row.fields


def joined(questions: Iterable[Question]) -> list[Question]:
    """Return questions of different texts; those of one text are one, with the answers of all."""
    found: dict[str, Question] = {}
    for one in questions:
        known = found.get(one.text)
        found[one.text] = one if known is None else Question(
            one.text, {**known.relevant, **one.relevant}, known.drafted and one.drafted
        )  # fmt: skip
    return list(found.values())


def drafted(state: IndexState, count: int) -> list[Question]:
    """Return questions that records of a random sample answer: their titles, else their first sentences.

    Titles are used where half of the records have one. A text that several records have asks for none of
    them, nor does one of fewer than three words or the only sentence of its record.
    """
    payloads = [
        point.payload
        for point in first_points(
            state.store, DRAFTED_AT_ONCE * count, PAGE, [TEXT, METADATA, RECORD_ID, DOCUMENT]
        )
    ]
    field = next((name for name in TITLES if _is_usual(payloads, name)), None)
    found = list[Question]()
    for payload in payloads:
        text = _first_sentence(payload[TEXT]) if field is None else payload[METADATA].get(field)
        if isinstance(text, str) and len(text.split()) >= LEAST_WORDS and len(text) <= MOST_CHARACTERS:
            answer = payload.get(DOCUMENT) or payload[RECORD_ID]
            source = "first sentences" if field is None else f"{METADATA}.{field}"
            found.append(Question(text, {answer: 1}, source))
    return [one for one in joined(found) if len(one.relevant) == 1][:count]


def _is_usual(payloads: Sequence[Mapping[str, Any]], name: str) -> bool:
    held = sum(isinstance((one.get(METADATA) or {}).get(name), str) for one in payloads)
    return 2 * held >= max(1, len(payloads))


def _first_sentence(text: str) -> str | None:
    sentences = sentences_in(text, spans_in(text))
    return sentences[0] if len(sentences) > 1 else None
