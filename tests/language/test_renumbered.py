"""New ids of features in queries: only features change, and what has no new id is named."""

from __future__ import annotations

import json
from typing import Any

import pytest

from saeindex.errors import QuerySyntaxError
from saeindex.language.renumbered import renumbered

FEATURES = {1: 70, 10: 7, 20: 100}


@pytest.mark.parametrize(
    ("query", "expected", "gone"),
    [
        ("strong(#10)  OR #20 and #3", "strong(#7)  OR #100 and #3", (3,)),
        ("family(#10) AND #10", "family(#10) AND #7", ("family #10",)),
        ('family("#10") AND #3', 'family("#10") AND #3', ("family #10", 3)),
        ("metadata.`a #10` = 1 AND #10", "metadata.`a #10` = 1 AND #7", ()),
        (r'"say \"#10\" #20" AND #1', r'"say \"#10\" #20" AND #70', ()),
        ('metadata.tag = "#10"', 'metadata.tag = "#10"', ()),
        (
            '+#10:0.5 -"about #10" +family:#10 +profile:#20 -#3',
            '+#7:0.5 -"about #10" +family:#10 +profile:#20 -#3',
            ("family #10", 3),
        ),
    ],
)
def test_only_ids_of_features_change(query: str, expected: str, gone: tuple[int | str, ...]) -> None:
    assert renumbered(query, FEATURES) == (expected, gone)


def test_a_condition_as_json_stays_json() -> None:
    parts: list[dict[str, Any]] = [
        {"kind": "feature", "feature": 10, "level": "strong"},
        {"kind": "not", "part": {"kind": "feature", "feature": 3}},
        {"kind": "family", "name": "#10"},
        {"kind": "compare", "field": "metadata.feature", "op": "=", "value": 10},
    ]
    text, gone = renumbered(json.dumps({"kind": "and", "parts": parts}), FEATURES)
    assert json.loads(text) == {"kind": "and", "parts": [{**parts[0], "feature": 7}, *parts[1:]]}
    assert gone == (3, "family #10")


@pytest.mark.parametrize("query", ["#10 AND", "{", '{"kind": "feature"}', ""])
def test_what_is_no_query_is_refused(query: str) -> None:
    with pytest.raises(QuerySyntaxError):
        renumbered(query, FEATURES)
