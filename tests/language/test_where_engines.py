"""Compiled expressions on every store: each kind of condition, every level, random ones by brute force."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from qdrant_client import QdrantClient
from qdrant_client.models import FieldCondition, Filter, MatchValue

from benchmarks.suites.boolean import suite as boolean
from benchmarks.suites.boolean.brute_force import BruteForce
from benchmarks.suites.boolean.expressions import ExpressionGenerator, Vocabulary
from benchmarks.suites.boolean.records import DATES, FIELDS, date_text, fields_of, synthetic_fields
from saeindex import FeatureIndex, FeatureSpace, Record
from saeindex.config import CONCEPTS, LEVEL_STRIDE, LEVELS_OF
from saeindex.errors import InvalidInputError, UnknownConceptError
from saeindex.language import to_filter as compiling
from saeindex.language.ast import And, Expression, FeatureTerm, Or
from saeindex.language.evaluate import matches
from saeindex.language.parser import parse_where
from saeindex.language.to_filter import compile_where
from saeindex.types import LevelName
from tests.samples import RecordingEncoder, sample_records

# Local mode evaluates filters in Python, condition by condition.
EXPRESSIONS = {"EdgeStore": 150, "QdrantStore": 40}
COUNT = 70
# By their number in a code, but for the last, which is below the first.
LEVELS: tuple[LevelName, ...] = ("present", "typical", "strong", "possible")


def described(number: int, record: Record) -> Record:
    """Return a record with a field of every kind: lists, nulls, nested and odd names, dates in all forms."""
    date = date_text(number, 1990 + number % 35)
    metadata: dict[str, Any] = {"corpus": record.metadata["topic"], **synthetic_fields(number, record)}
    if number % 3:
        metadata |= {"year": record.metadata["year"], "categories": [["a", "b"], ["b"], []][number % 3]}
    if date is not None:
        metadata["published"] = date[0]
    sizes = [[1, 2], [2], [], None, [3, 1]][number % 5]
    if sizes is not None:
        by = ("Ann", "bob", None)
        parts = [{"size": size, "by": by[(number + size) % 3], "in": [{"n": size}]} for size in sizes]
        metadata["parts"] = [*parts, 5] if number % 2 else parts
    return Record(record.id, record.text, metadata)


RECORDS = [described(number, record) for number, record in enumerate(sample_records(COUNT))]
MOMENTS = dict(date for number in range(COUNT) if (date := date_text(number, 1990 + number % 35)) is not None)


@pytest.fixture(scope="module")
def on_edge(
    tmp_path_factory: pytest.TempPathFactory, space: FeatureSpace, session_encoder: RecordingEncoder
) -> Iterator[FeatureIndex]:
    path = tmp_path_factory.mktemp("where") / "where.idx"
    with FeatureIndex.create(
        path, space, encoder=session_encoder, payload_indexes=boolean.PAYLOAD_INDEXES
    ) as index:
        index.upsert(RECORDS)
        yield index


@pytest.fixture(scope="module")
def in_memory(space: FeatureSpace, session_encoder: RecordingEncoder) -> Iterator[FeatureIndex]:
    with FeatureIndex.create(
        "where", space, client=QdrantClient(":memory:"), encoder=session_encoder
    ) as index:
        index.upsert(RECORDS)
        yield index


@pytest.fixture(params=["on_edge", "in_memory"])
def index(request: pytest.FixtureRequest) -> FeatureIndex:
    found: FeatureIndex = request.getfixturevalue(request.param)
    return found


def found_by(
    index: FeatureIndex,
    where: str | Expression,
    level: LevelName | None = None,
    query_filter: Filter | None = None,
) -> set[str]:
    compiled = compile_where(parse_where(where), boolean.resolver(index), level, query_filter)
    page = index.state.store.scroll(compiled, COUNT + 1, with_payload=["record_id"])
    return {point.payload["record_id"] for point in page.points}


def ids_where(holds: Callable[[dict[str, Any]], bool]) -> set[str]:
    return {record.id for record in RECORDS if holds(dict(record.metadata))}


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def parts_of(metadata: dict[str, Any]) -> list[dict[str, Any]]:
    return [one for one in metadata.get("parts", []) if isinstance(one, dict)]


def sizes_of(metadata: dict[str, Any]) -> list[int]:
    return [one["size"] for one in parts_of(metadata)]


@pytest.mark.parametrize(
    ("where", "holds"),
    [
        ('metadata.corpus CONTAINS "USI"', lambda m: "usi" in m["corpus"]),
        ('metadata.corpus NOT CONTAINS "usi"', lambda m: "usi" not in m["corpus"]),
        ('metadata.corpus STARTS WITH "Mu"', lambda m: m["corpus"].startswith("mu")),
        ('NOT metadata.corpus STARTS WITH "mu"', lambda m: not m["corpus"].startswith("mu")),
        ('metadata.categories CONTAINS "B"', lambda m: "b" in m.get("categories", [])),
        ('metadata.parts[].by CONTAINS "NN"', lambda m: any(one["by"] == "Ann" for one in parts_of(m))),
        ('metadata.year CONTAINS "19"', lambda m: False),
    ],
)
def test_parts_of_texts_are_looked_for(
    index: FeatureIndex, where: str, holds: Callable[[dict[str, Any]], bool]
) -> None:
    found = {one.id for one in index.scroll(where, limit=COUNT + 1)[0]}
    assert found == ids_where(holds)
    payloads = {record.id: {"metadata": dict(record.metadata)} for record in RECORDS}
    parsed = parse_where(where)
    assert found == {one for one, payload in payloads.items() if matches(parsed, payload, lambda _: [])}


@pytest.mark.parametrize(
    ("where", "holds"),
    [
        ('metadata.corpus = "music"', lambda m: m["corpus"] == "music"),
        ('metadata.corpus = "Music"', lambda m: False),
        ('metadata.corpus != "music"', lambda m: m["corpus"] != "music"),
        ("metadata.year != 2000", lambda m: m.get("year") != 2000),
        ('metadata.categories = "a"', lambda m: "a" in m.get("categories", [])),
        ('metadata.categories != "a"', lambda m: "a" not in m.get("categories", [])),
        ('metadata.categories IN ("a", "b")', lambda m: bool(m.get("categories"))),
        ('metadata.categories NOT IN ("a", "b")', lambda m: not m.get("categories")),
        ("metadata.checked = true", lambda m: m.get("checked") is True),
        ("metadata.checked = false", lambda m: m.get("checked") is False),
        ("metadata.checked != true", lambda m: m.get("checked") is not True),
        ("metadata.checked = 1", lambda m: False),
        ("EXISTS(metadata.year)", lambda m: "year" in m),
        ("EXISTS(metadata.categories)", lambda m: bool(m.get("categories"))),
        ("EXISTS(metadata.note)", lambda m: m.get("note") not in (None, [])),
        ("NOT EXISTS(metadata.note)", lambda m: m.get("note") in (None, [])),
        ("EXISTS(metadata.nowhere)", lambda m: False),
        ('metadata.note = ""', lambda m: m.get("note") == ""),
        ("metadata.words BETWEEN 5 AND 9", lambda m: 5 <= m["words"] <= 9),
        ("metadata.words NOT BETWEEN 5 AND 9", lambda m: not 5 <= m["words"] <= 9),
        ('metadata."odd name".n = 3', lambda m: m["odd name"]["n"] == 3),
        ("metadata.`odd name`.n > 3.25", lambda m: m["odd name"]["n"] > 3.25),
        (
            "metadata.score BETWEEN 0.6 AND 8",
            lambda m: any(0.6 <= s <= 8 for s in listed(m.get("score", -1))),
        ),
        ("metadata.mixed = 1", lambda m: any(type(v) is int and v == 1 for v in listed(m["mixed"]))),
        (
            "metadata.mixed = 1.0",
            lambda m: any(type(v) in (int, float) and v == 1 for v in listed(m["mixed"])),
        ),
        ("metadata.mixed IN (true)", lambda m: any(v is True for v in listed(m["mixed"]))),
        (
            'metadata.mixed IN ("1", 2, false)',
            lambda m: any((type(v), v) in ((str, "1"), (int, 2), (bool, False)) for v in listed(m["mixed"])),
        ),
        ("EXISTS(metadata.mixed)", lambda m: m["mixed"] is not None),
        ("metadata.parts[].size = 2", lambda m: 2 in sizes_of(m)),
        ("metadata.parts[].size != 2", lambda m: 2 not in sizes_of(m)),
        ("metadata.parts[].in[].n > 2", lambda m: any(size > 2 for size in sizes_of(m))),
        ("metadata.parts[].size BETWEEN 3 AND 9", lambda m: 3 in sizes_of(m)),
        ('metadata.parts[].by IN ("Ann", "x")', lambda m: any(one["by"] == "Ann" for one in parts_of(m))),
        ("EXISTS(metadata.parts[].by)", lambda m: any(one["by"] for one in parts_of(m))),
        (
            'NESTED(metadata.parts[].size = 1 AND metadata.parts[].by = "Ann")',
            lambda m: any((one["size"], one["by"]) == (1, "Ann") for one in parts_of(m)),
        ),
        (
            'NESTED(metadata.parts[].size = 1 AND NOT metadata.parts[].by = "Ann")',
            lambda m: any(one["size"] == 1 and one["by"] != "Ann" for one in parts_of(m)),
        ),
        (
            "NOT NESTED(metadata.parts[].size = 1 OR metadata.parts[].size > 2)",
            lambda m: not {1, 3} & set(sizes_of(m)),
        ),
    ],
)
def test_a_condition_on_metadata_selects_the_expected_records(
    index: FeatureIndex, where: str, holds: Callable[[dict[str, Any]], bool]
) -> None:
    assert found_by(index, where) == ids_where(holds)


def day_of(metadata: dict[str, Any]) -> int | None:
    text = metadata.get("published")
    return None if text is None else MOMENTS[text] // (86_400 * 10**6)


def test_every_comparison_treats_a_day_as_a_period(index: FeatureIndex) -> None:
    for day in ("1991-02-02", "2000-11-11", "2013-12-24"):
        number = int(np.datetime64(day, "D").astype(int))
        expected: dict[str, Callable[[int], bool]] = {
            "=": lambda d, n=number: d == n,  # type: ignore[misc]
            "<": lambda d, n=number: d < n,  # type: ignore[misc]
            "<=": lambda d, n=number: d <= n,  # type: ignore[misc]
            ">": lambda d, n=number: d > n,  # type: ignore[misc]
            ">=": lambda d, n=number: d >= n,  # type: ignore[misc]
        }
        for op, holds in expected.items():
            wanted = ids_where(lambda m, h=holds: (d := day_of(m)) is not None and h(d))  # type: ignore[misc]
            assert found_by(index, f"metadata.published {op} {day}") == wanted, (op, day)
        same = ids_where(lambda m, n=number: day_of(m) == n)  # type: ignore[misc]
        assert len(same) > 0
        assert found_by(index, f"metadata.published BETWEEN {day} AND {day}") == same
        assert found_by(index, f"metadata.published IN ({day})") == same
        assert found_by(index, f"metadata.published != {day}") == ids_where(lambda m: True) - same


def test_a_moment_is_compared_to_the_microsecond_and_across_zones(index: FeatureIndex) -> None:
    text, moment = date_text(8, 1998) or ("", 0)
    assert found_by(index, f"metadata.published = {text}") == ids_where(
        lambda m: MOMENTS.get(m.get("published", "")) == moment
    )
    east = np.datetime_as_string(np.datetime64(moment, "us") + np.timedelta64(2, "h"), unit="us")
    for op, holds in (("<=", moment.__ge__), (">=", moment.__le__), ("=", moment.__eq__)):
        wanted = ids_where(lambda m, h=holds: "published" in m and h(MOMENTS[m["published"]]))  # type: ignore[misc]
        assert found_by(index, f"metadata.published {op} {east}+02:00") == wanted


def test_records_are_found_by_their_ids(index: FeatureIndex) -> None:
    assert found_by(index, 'record_id = "doc-3"') == {"doc-3"}
    assert found_by(index, 'record_id IN ("doc-3", "doc-5", "no such")') == {"doc-3", "doc-5"}
    assert len(found_by(index, 'record_id != "doc-3"')) == COUNT - 1


# Concepts ---------------------------------------------------------------------------------------------


def codes(index: FeatureIndex) -> dict[str, set[int]]:
    points = boolean.all_points(index.state.store, RECORDS)
    return {point.payload["record_id"]: set(point.payload[CONCEPTS]) for point in points}


def graded_features(index: FeatureIndex, count: int) -> list[int]:
    """Return the features whose records are at the most different levels, named and free ones in turn."""
    at = Counter(code for found in codes(index).values() for code in found)
    features = {code // LEVEL_STRIDE for code in at}

    def grades(feature: int) -> tuple[int, int]:
        sizes = [at[feature * LEVEL_STRIDE + level] for level in (3, 0, 1, 2)]
        return -len({*sizes, 0}), -sum(sizes)

    assert index.space.evidence is not None
    named = set(index.space.evidence.features.tolist())
    of_names, free = (sorted(some, key=grades) for some in (features & named, features - named))
    return [one for pair in zip(of_names, free, strict=False) for one in pair][:count]


def test_levels_are_nested_and_a_bare_concept_has_the_level_of_the_query(index: FeatureIndex) -> None:
    stored = codes(index)
    steps = set[tuple[str, str]]()
    for feature in graded_features(index, 12):
        sets = {level: found_by(index, f"{level}(#{feature})") for level in LEVELS}
        ordered: tuple[LevelName, ...] = ("strong", "typical", "present", "possible")
        steps |= {(low, high) for low, high in pairwise(ordered) if sets[low] < sets[high]}
        assert sets["strong"] <= sets["typical"] <= sets["present"] <= sets["possible"]
        for number, level in enumerate(LEVELS):
            numbers = {number, 0} if level == "possible" else {number}  # a free feature is present or absent
            codes_of_level = {feature * LEVEL_STRIDE + one for one in numbers}
            wanted = {key for key, found in stored.items() if codes_of_level & found}
            assert sets[level] == wanted == found_by(index, f"#{feature}", level)
            assert found_by(index, f"typical(#{feature})", level) == sets["typical"]
            rest = {key for key in stored if key not in wanted}
            assert found_by(index, f"NOT {level}(#{feature})") == rest
        assert found_by(index, f"#{feature}") == sets["present"]
    assert len(steps) == 3, "each level is narrower than the one below it for some of the features"


def common_features(index: FeatureIndex, count: int) -> list[int]:
    active = [code // LEVEL_STRIDE for found in codes(index).values() for code in found if not code % 4]
    return sorted(set(active), key=lambda feature: -active.count(feature))[:count]


def test_at_least_counts_parts_of_any_kind(index: FeatureIndex) -> None:
    a, b, c = common_features(index, 20)[-3:]
    parts = [f"#{a}", f"NOT #{b} AND metadata.words > 9", f'(#{c} OR metadata.corpus = "music")']
    sets = [found_by(index, part) for part in parts]
    for count in (1, 2, 3):
        wanted = {record.id for record in RECORDS if sum(record.id in one for one in sets) >= count}
        assert found_by(index, f"AT LEAST {count} OF ({', '.join(parts)})") == wanted
        assert (
            found_by(index, f"NOT AT LEAST {count} OF ({', '.join(parts)})")
            == ids_where(lambda m: True) - wanted
        )


def test_a_family_matches_any_of_its_features_at_the_level(index: FeatureIndex) -> None:
    family = index.space.families[0]
    for level in LEVELS:
        any_of = Or(parts=tuple(FeatureTerm(feature=one, level=level) for one in family.features))
        assert found_by(index, f"{level}(family(#0))") == found_by(index, any_of)
        assert found_by(index, "family(#0)", level) == found_by(index, any_of)


def test_a_native_filter_is_combined_by_and(index: FeatureIndex) -> None:
    a, b = common_features(index, 12)[-2:]
    query_filter = Filter(
        should=[
            FieldCondition(key="metadata.corpus", match=MatchValue(value="music")),
            FieldCondition(key="metadata.corpus", match=MatchValue(value="cooking")),
        ]
    )
    topics = ids_where(lambda m: m["corpus"] in ("music", "cooking"))
    assert found_by(index, f"#{a} OR #{b}", None, query_filter) == found_by(index, f"#{a} OR #{b}") & topics
    assert compile_where(None, lambda _: [], None, query_filter) is query_filter
    assert compile_where(None, lambda _: []) is None


def test_deep_nesting_works_up_to_the_engine_limit_and_is_refused_above(index: FeatureIndex) -> None:
    a, b = common_features(index, 2)
    for depth, is_possible in ((30, True), (40, False)):
        node: Expression = FeatureTerm(feature=a)
        for level in range(depth):
            other = FeatureTerm(feature=b)
            node = Or(parts=(node, other)) if level % 2 else And(parts=(node, other))
        if is_possible:
            assert found_by(index, node) <= found_by(index, f"#{b}")
        else:
            with pytest.raises(InvalidInputError, match="nested more than"):
                found_by(index, node)
    assert found_by(index, "NOT " * 50 + f"#{a}") == found_by(index, f"#{a}")


def test_a_query_accepts_every_form_of_an_expression(index: FeatureIndex) -> None:
    text = 'metadata.words BETWEEN 5 AND 9 AND NOT metadata.corpus IN ("music")'
    parsed = parse_where(text)
    wanted = found_by(index, text)
    assert 0 < len(wanted) < COUNT
    for where in (text, parsed, parsed.model_dump(mode="json")):
        assert {hit.id for hit in index.search("a note", where=where, limit=COUNT)} == wanted


# Random expressions -----------------------------------------------------------------------------------


def words_for(index: FeatureIndex, fields: dict[str, list[Any]]) -> Vocabulary:
    common, phrases = common_features(index, 20), []
    common += [one for one in graded_features(index, 20) if one not in common]
    for feature in common:
        try:
            index.concepts.resolve(index.space.labels[feature].text)
        except UnknownConceptError:
            continue
        phrases.append(index.space.labels[feature].text)
    values = {field: boolean.distinct_values(fields[field]) or ["x", 1] for field in FIELDS}
    return Vocabulary([*common, 0, 1], phrases, ["#0", "#1", "#2"], values, DATES, fields["record_id"])


def cases_of(index: FeatureIndex, count: int) -> list[boolean.Case]:
    points, fields = boolean.all_points(index.state.store, RECORDS), fields_of(RECORDS)
    levels = {"typical": index.space.calibration.median, "strong": index.space.calibration.p90}
    activations = boolean.dense_codes(points, index.space.n_features)
    percents = boolean.evidence_in_percent(index.space, index.encoder, RECORDS)
    truth = BruteForce(activations, levels, percents, fields, MOMENTS, boolean.resolver(index))
    writer = ExpressionGenerator(words_for(index, fields), 7)
    expressions = [writer.expression() for _ in range(count)]
    return [
        boolean.Case(one, LEVELS[n % 4], truth.mask(one, LEVELS[n % 4])) for n, one in enumerate(expressions)
    ]


def test_random_expressions_select_exactly_the_brute_force_set(index: FeatureIndex) -> None:
    features_of = boolean.resolver(index)
    cases = cases_of(index, EXPRESSIONS[type(index.state.store).__name__])
    assert len({int(case.truth.sum()) for case in cases}) > 10
    assert boolean.differing(cases, index.state.store, RECORDS, 1, features_of) == []
    points = boolean.all_points(index.state.store, RECORDS)
    for case in cases:
        judged = [matches(case.expression, p.payload, features_of, case.level) for p in points]
        assert judged == case.truth.tolist(), case.expression


@pytest.mark.parametrize("broken", [{"typical": (0,)}, {"present": (1,)}, {"possible": (0,)}])
def test_the_comparison_detects_a_wrong_compilation(
    on_edge: FeatureIndex, monkeypatch: pytest.MonkeyPatch, broken: dict[str, tuple[int, ...]]
) -> None:
    monkeypatch.setattr(compiling, "LEVELS_OF", {**LEVELS_OF, **broken})
    cases = cases_of(on_edge, 150)
    assert len(boolean.differing(cases, on_edge.state.store, RECORDS, 1, boolean.resolver(on_edge))) > 1
