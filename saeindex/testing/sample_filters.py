"""Filters for tests: every kind of condition on :mod:`saeindex.testing.sample_points`, and random trees."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
from qdrant_client import models

from saeindex.testing.sample_points import sample_id

Field = models.FieldCondition


def sample_conditions() -> dict[str, Any]:
    """Return at least one condition of every kind, by name."""

    def on(key: str, match: Any) -> models.FieldCondition:
        return Field(key=key, match=match)

    noon = dt.datetime(2024, 2, 1, 2, 30)
    east = noon.replace(tzinfo=dt.timezone(dt.timedelta(hours=2)))
    both: list[Any] = [
        Field(key="kind", match=models.MatchValue(value="p")),
        Field(key="n", match=models.MatchValue(value=1)),
    ]
    nested = models.Nested(key="parts", filter=models.Filter(must=both))
    few: list[Any] = [sample_id(2), sample_id(3), str(sample_id(5)).upper(), 10**6]
    return {
        "match keyword": on("tag", models.MatchValue(value="a")),
        "match keyword case": on("tag", models.MatchValue(value="B")),
        "match unicode": on("tag", models.MatchValue(value="👋🏽")),
        "match empty text": on("tag", models.MatchValue(value="")),
        "match integer": on("concepts", models.MatchValue(value=7)),
        "match negative": on("concepts", models.MatchValue(value=-7)),
        "match true": on("flag", models.MatchValue(value=True)),
        "match false": on("flag", models.MatchValue(value=False)),
        "match unindexed": on("plain", models.MatchValue(value="x")),
        "match unindexed 1": on("plain", models.MatchValue(value=1)),
        "match unindexed true": on("plain", models.MatchValue(value=True)),
        "match nested key": on("deep.inner.n", models.MatchValue(value=1)),
        "match array key": on("parts[].n", models.MatchValue(value=1)),
        "any keyword": on("tag", models.MatchAny(any=["a", "naïve"])),
        "any integer": on("concepts", models.MatchAny(any=[1, 2, 3])),
        "any of none": on("tag", models.MatchAny(any=[])),
        "except keyword": on("tag", models.MatchExcept(**{"except": ["a", "b"]})),
        "except integer": on("concepts", models.MatchExcept(**{"except": list(range(10))})),
        "text": on("text", models.MatchText(text="MATTER dark")),
        "text number": on("text", models.MatchText(text="42")),
        "text any": on("text", models.MatchTextAny(text_any="galaxy שלום")),
        "phrase": on("text", models.MatchPhrase(phrase="dark matter")),
        "range": Field(key="year", range=models.Range(gte=1991, lt=1994)),
        "range open": Field(key="price", range=models.Range(gt=-0.25, lte=0.5)),
        "range of one": Field(key="price", range=models.Range(gte=0.25, lte=0.25)),
        "range of lookup": Field(key="concepts", range=models.Range(gt=17)),
        "range unindexed": Field(key="deep.inner.n", range=models.Range(gte=1)),
        "datetime": Field(key="day", range=models.DatetimeRange(gte=noon)),
        "datetime zone": Field(key="day", range=models.DatetimeRange(lt=east)),
        "datetime date": Field(key="day", range=models.DatetimeRange(lte=dt.date(2024, 2, 1))),
        "values count": Field(key="concepts", values_count=models.ValuesCount(gte=2, lt=5)),
        "values count 0": Field(key="tag", values_count=models.ValuesCount(lt=1)),
        "is empty": models.IsEmptyCondition(is_empty=models.PayloadField(key="tag")),
        "is null": models.IsNullCondition(is_null=models.PayloadField(key="year")),
        "is null in array": models.IsNullCondition(is_null=models.PayloadField(key="plain")),
        "is empty field": Field(key="concepts", is_empty=True),
        "is not empty field": Field(key="concepts", is_empty=False),
        "is null field": Field(key="flag", is_null=True),
        "is not null field": Field(key="flag", is_null=False),
        "has id": models.HasIdCondition(has_id=few),
        "has no id": models.HasIdCondition(has_id=[]),
        "has dense": models.HasVectorCondition(has_vector="dense"),
        "has sparse": models.HasVectorCondition(has_vector="sae"),
        "nested": models.NestedCondition(nested=nested),
    }


def sample_filter(rng: np.random.Generator, depth: int = 2) -> models.Filter:
    """Return a random tree of clauses over random conditions."""
    clauses: dict[str, Any] = {}
    for name in ("must", "should", "must_not"):
        if rng.random() < 0.5:
            clauses[name] = [_sample_condition(rng, depth) for _ in range(rng.integers(1, 3))]
    if rng.random() < 0.2:
        conditions = [_sample_condition(rng, depth) for _ in range(3)]
        clauses["min_should"] = models.MinShould(conditions=conditions, min_count=int(rng.integers(1, 4)))
    return models.Filter(**clauses)


def _sample_condition(rng: np.random.Generator, depth: int) -> Any:
    if depth and rng.random() < 0.3:
        return sample_filter(rng, depth - 1)
    conditions = list(sample_conditions().values())
    return conditions[int(rng.integers(len(conditions)))]
