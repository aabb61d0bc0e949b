"""The records of the boolean suite: real texts and metadata, with synthetic fields of every kind added."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from benchmarks import data
from benchmarks.suites.boolean.brute_force import microseconds
from saeindex import Record

CORPORA = (
    "arxiv_heldout", "us_speeches", "medquad", "goemotions", "masc_registers", "product_reviews",
    "stackoverflow_titles", "scicite",
)  # fmt: skip
# Every field of the expressions; no record has the last.
FIELDS = (
    "metadata.corpus", "metadata.year", "metadata.categories", "metadata.emotion", "metadata.source",
    "metadata.published", "metadata.score", "metadata.words", "metadata.checked", "metadata.note",
    'metadata."odd name".n', "metadata.mixed", "metadata.nowhere",
)  # fmt: skip
DATES = frozenset({"metadata.published"})


def real_records(count: int) -> tuple[list[Record], dict[str, int]]:
    """Return records of all corpora, and the microseconds of each date text in them."""
    records: list[Record] = []
    moments: dict[str, int] = {}
    for corpus in CORPORA:
        for record in data.read(corpus, "test", limit=count // len(CORPORA)):
            number = len(records)
            metadata = {**record.metadata, "corpus": corpus, **synthetic_fields(number, record)}
            published = date_text(number, record.metadata.get("year", 1990 + number % 35))
            if published is not None:
                metadata["published"], moments[published[0]] = published
            records.append(Record(f"{corpus} {record.id}", record.text, metadata))
    return records, moments


def synthetic_fields(number: int, record: Record) -> dict[str, Any]:
    """Return the fields that the corpora lack: numbers, booleans, nested and mixed values, nulls."""
    fields: dict[str, Any] = {"words": len(record.text.split()), "odd name": {"n": number % 17}}
    if number % 3:
        fields["score"] = [round(number / 7, 3), float(number % 50), [0.5, float(number % 9)]][number % 3]
    if number % 4:
        fields["checked"] = number % 4 == 1
    if number % 5:
        fields["note"] = [None, "", "seen", [], ["seen", "odd"]][number // 5 % 5]
    if number % 6 == 0:
        fields["odd name"] = {"n": number % 13 + 0.5}
    mixed = [
        number % 8,
        float(number % 8),
        str(number % 8),
        number % 2 == 0,
        None,
        [1, "1", 1.0, True],
        [None],
    ]
    return {**fields, "mixed": mixed[number % len(mixed)]}


def date_text(number: int, year: int) -> tuple[str, int] | None:
    """Return a date in one of the forms that engines read, with its moment; None for some records."""
    zone = dt.timezone(dt.timedelta(hours=number % 13 - 6))
    day = dt.datetime(year, 1 + number % 12, 1 + number % 28, tzinfo=dt.UTC)
    exact = day.replace(hour=number % 24, minute=number % 60, second=number % 59)
    forms = [
        (day.date().isoformat(), day),
        (exact.isoformat().replace("+00:00", "Z"), exact),
        (exact.astimezone(zone).isoformat(), exact),
        ((exact + dt.timedelta(microseconds=number)).isoformat().replace("+00:00", "Z"),
         exact + dt.timedelta(microseconds=number)),
        None,
    ]  # fmt: skip
    form = forms[number % len(forms)]
    return None if form is None else (form[0], microseconds(form[1]))


def fields_of(records: Sequence[Record]) -> dict[str, list[Any]]:
    """Return the records' values of each of FIELDS and of record_id, None where one is missing."""
    found: dict[str, list[Any]] = {"record_id": [record.id for record in records]}
    for field in FIELDS:
        names = [name.strip('"') for name in field.split(".")[1:]]
        found[field] = [_at(record.metadata, names) for record in records]
    return found


def _at(value: Any, names: Sequence[str]) -> Any:
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value
