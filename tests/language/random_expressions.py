"""Hypothesis strategies of where expressions: every kind of node, every level, unusual fields and values."""

from __future__ import annotations

import datetime as dt
from typing import Any

from hypothesis import strategies as st

from saeindex.language.ast import (
    MAX_INT,
    MIN_INT,
    And,
    AtLeast,
    Between,
    Compare,
    Date,
    Exists,
    Expression,
    FamilyTerm,
    FeatureTerm,
    Holds,
    Not,
    OneOf,
    Or,
    Phrase,
)

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
words = texts.filter(str.strip)
levels = st.sampled_from([None, "possible", "present", "typical", "strong"])
names = st.one_of(
    st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,8}", fullmatch=True),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters='"\\`'), min_size=1, max_size=8).map(
        '"{}"'.format
    ),
)
in_lists = st.tuples(names, st.sampled_from(["", "", "[]"])).map("".join)
fields = st.tuples(st.lists(in_lists, max_size=2), names).map(
    lambda path: ".".join(["metadata", *path[0], path[1]])
)
days = st.dates(dt.date(2, 1, 1), dt.date(9998, 12, 31)).map(lambda day: f"{day.year:04}-{day:%m-%d}")
zones = st.sampled_from(["", "Z", "z", "+00:00", "-11:30", "+05:45"])
times = st.sampled_from(["T00:00", "T23:59:59", " 12:30:01", "t08:00:00.5", "T08:00:00.123456"])
dates = st.one_of(days, st.tuples(days, times, zones).map("".join)).map(lambda date: Date(date=date))
floats = st.floats(allow_nan=False, allow_infinity=False)
numbers = st.one_of(st.integers(MIN_INT, MAX_INT), floats)
values = st.one_of(st.booleans(), numbers, texts, st.just(""), dates)


def between(field: str, ends: list[Any]) -> Expression:
    return Between(field=field, low=ends[0], high=ends[1])


def by_start(ends: list[Date]) -> list[Date]:
    return sorted(ends, key=lambda date: date.start)


concepts: st.SearchStrategy[Expression] = st.one_of(
    st.builds(FeatureTerm, feature=st.integers(0, 10**9 - 1), level=levels),
    st.builds(Phrase, text=words, level=levels),
    st.builds(FamilyTerm, name=words | st.sampled_from(["#3", "#999999999", "#1234567890"]), level=levels),
)
equal = st.sampled_from(["=", "!="])
ordered = st.sampled_from(["<", "<=", ">", ">="])
conditions: st.SearchStrategy[Expression] = st.one_of(
    st.builds(Compare, field=fields, op=equal, value=values),
    st.builds(Compare, field=fields, op=ordered, value=numbers | dates),
    st.builds(Compare, field=st.just("record_id"), op=equal, value=texts),
    st.builds(OneOf, field=fields, values=st.lists(values, min_size=1, max_size=4).map(tuple)),
    st.builds(OneOf, field=st.just("record_id"), values=st.lists(texts, min_size=1, max_size=3).map(tuple)),
    st.builds(between, fields, st.lists(numbers, min_size=2, max_size=2).map(sorted)),
    st.builds(between, fields, st.lists(dates, min_size=2, max_size=2).map(by_start)),
    st.builds(Exists, field=fields),
    st.builds(Holds, field=fields, op=st.sampled_from(["contains", "starts with"]), text=words),
)


def at_least(parts: list[Expression], count: int) -> Expression:
    return AtLeast(count=1 + count % len(parts), parts=tuple(parts))


expressions: st.SearchStrategy[Expression] = st.recursive(
    concepts | conditions,
    lambda part: st.one_of(
        part.map(lambda p: Not(part=p)),
        st.lists(part, min_size=2, max_size=3).map(lambda ps: And(parts=tuple(ps))),
        st.lists(part, min_size=2, max_size=3).map(lambda ps: Or(parts=tuple(ps))),
        st.builds(at_least, st.lists(part, min_size=1, max_size=4), st.integers(0, 3)),
    ),
    max_leaves=10,
)
