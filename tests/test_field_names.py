"""Fields of every name work wherever a field can be named; values of another kind are said plainly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from qdrant_client import QdrantClient

from saeindex import FeatureIndex, FeatureSpace, Record
from saeindex.errors import InvalidInputError, NotFoundError
from saeindex.language.ast import Compare
from saeindex.language.evaluate import mismatch
from saeindex.language.fields import canonical_field, field_at, is_addressable, path_of
from saeindex.language.parser import parse_where
from saeindex.language.to_text import to_text
from tests.samples import RecordingEncoder, sample_records

# Names as data has them, and how a where expression writes them.
NAMES = {
    "year": "metadata.year",
    "my group": 'metadata."my group"',
    "a.b": "metadata.`a.b`",
    "größe": "metadata.größe",
    "日付": 'metadata."日付"',
    'quo"te': 'metadata."quo""te"',
    "tick`y": "metadata.`tick``y`",
    'both`"': 'metadata."both`"""',
    "back\\slash": "metadata.`back\\slash`",
    "a[0]": 'metadata."a[0]"',
    "it's": 'metadata."it\'s"',
    "new\nline": 'metadata."new\nline"',
    "[]": 'metadata."[]"',
    "x" * 100: f"metadata.{'x' * 100}",
}
COUNT = 60


def records() -> list[Record]:
    """Return records whose odd fields are 0, 1 and 2 in turn, and which have numbers as text."""
    found = []
    for number, record in enumerate(sample_records(COUNT)):
        odd: dict[str, Any] = dict.fromkeys(NAMES, number % 3) | {"": 1, "stars": str(number % 5)}
        odd |= {"always null": None, "always empty": []}
        found.append(Record(record.id, record.text, odd | {"in ner": {"x.y": number % 2}}))
    return found


@pytest.fixture(scope="module")
def on_edge(
    tmp_path_factory: pytest.TempPathFactory, space: FeatureSpace, session_encoder: RecordingEncoder
) -> Iterator[FeatureIndex]:
    path = tmp_path_factory.mktemp("names") / "names.idx"
    indexes: dict[str, Any] = {"metadata.my group": "integer", "metadata.größe": "integer"}
    with FeatureIndex.create(path, space, encoder=session_encoder, payload_indexes=indexes) as index:
        index.upsert(records())
        yield index


@pytest.fixture(scope="module")
def in_memory(space: FeatureSpace, session_encoder: RecordingEncoder) -> Iterator[FeatureIndex]:
    with FeatureIndex.create(
        "names", space, client=QdrantClient(":memory:"), encoder=session_encoder
    ) as index:
        index.upsert(records())
        yield index


@pytest.fixture(params=["on_edge", "in_memory"])
def index(request: pytest.FixtureRequest) -> FeatureIndex:
    found: FeatureIndex = request.getfixturevalue(request.param)
    return found


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_field_of_any_name_is_filtered_grouped_and_faceted(index: FeatureIndex, name: str) -> None:
    field = NAMES[name]
    chosen = {one.id for one in records() if one.metadata[name] == 1}
    assert index.count(f"{field} = 1") == len(chosen) == COUNT // 3
    assert {
        hit.id for hit in index.search("papers", where=f"{field} BETWEEN 1 AND 1.5", limit=COUNT)
    } == chosen
    assert index.count(f"NOT {field} IN (1, 3) AND EXISTS({field})") == COUNT - len(chosen)
    for form in (field, f"metadata.{name}"):
        hits = index.search("papers", group_by=form, limit=5)
        assert {group.value for group in hits.groups} == {0, 1, 2}


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_field_of_any_name_is_compared_and_stratified_by(on_edge: FeatureIndex, name: str) -> None:
    for form in (NAMES[name], f"metadata.{name}"):
        found = on_edge.diff(by=form)
        assert set(found.groups) == {"0", "1", "2"}
        assert on_edge.diff('metadata.stars IN ("0", "1")', strata=[form], unit=None).groups
        drifting = on_edge.drift(form, unit=None)
        assert len(drifting.periods) == 3
    assert len(on_edge.describe(f"{NAMES[name]} = 1")) == COUNT // 3


def test_analyses_by_default_read_all_fields(on_edge: FeatureIndex) -> None:
    on_edge.diff('metadata.stars = "1"')
    on_edge.describe('metadata.stars = "1"')
    on_edge.monitor('metadata.stars != "1"', 'metadata.stars = "1"')
    fields = on_edge.state.snapshot().fields
    assert {path_of(field)[1] for field in fields} == {*NAMES, "stars", "in ner"}
    assert all(canonical_field(field) == field for field in fields)


def test_nested_odd_names(index: FeatureIndex) -> None:
    assert index.count('metadata."in ner"."x.y" = 1') == COUNT // 2


def test_every_name_has_one_form_that_is_read_back() -> None:
    rng = np.random.default_rng(0)
    letters = "a._-\"`\\ß日 []'\n1"
    for _ in range(2_000):
        path = ("metadata", *("".join(rng.choice(list(letters), rng.integers(1, 6))) for _ in range(2)))
        field = field_at(path)
        assert path_of(field) == path
        assert canonical_field(field) == field
        assert is_addressable(field) == (not any('"' in name or "\\" in name for name in path))
        expression = parse_where(f"{field} = 1")
        assert isinstance(expression, Compare) and expression.field == field
        assert parse_where(to_text(expression)) == expression


def test_a_value_of_another_kind_is_said(index: FeatureIndex) -> None:
    warning, _ = index.search("papers", where="metadata.stars > 3").plan.warnings
    assert warning.startswith('metadata.stars holds text: "')
    assert not index.search("papers", where='metadata.stars = "3"').plan.warnings
    with pytest.raises(InvalidInputError, match='stars holds text: "'):
        index.diff("metadata.stars > 3")
    with pytest.raises(NotFoundError, match="strs"):
        index.diff("metadata.strs > 3")
    with pytest.raises(NotFoundError, match="my grop"):
        index.diff(by="metadata.my grop")
    [warning] = index.search("papers", group_by="metadata.my grop").plan.warnings
    assert warning == 'no record has metadata.my grop; did you mean metadata."my group"?'


@pytest.mark.parametrize(
    ("where", "values", "held"),
    [
        ("metadata.a = 1", [1.5, None], None),
        ("metadata.a = 1", ["1", None], 'text: "1"'),
        ("metadata.a = true", [1], "numbers: 1"),
        ("metadata.a = 1", [True], "true or false: true"),
        ("metadata.a != 1", ["1"], None),
        ("EXISTS(metadata.a)", ["1"], None),
        ("metadata.a > 2015-01-01", ["2015-03-01", "later"], None),
        ("metadata.a > 2015-01-01", ["03/15/2023", ["-", "2015-03-01"]], None),
        ("metadata.a > 2015-01-01", ["later"], 'text: "later"'),
        ('metadata.a IN (1, "x")', ["y"], None),
        ("metadata.a IN (1, 2)", [["y"], []], 'text: "y"'),
        ("metadata.a BETWEEN 1 AND 2", [{"b": 1}, "z" * 99], f'objects: {{"b": 1}} and text: "{"z" * 38}…'),
        ("metadata.a = 1", [], None),
    ],
)
def test_what_a_field_holds_is_said_where_a_condition_asks_for_none_of_it(
    where: str, values: list[Any], held: str | None
) -> None:
    node: Any = parse_where(where)
    assert mismatch(node, values) == (held and f"metadata.a holds {held}")


def test_an_unquoted_name_is_shown_in_quotes(index: FeatureIndex) -> None:
    with pytest.raises(InvalidInputError, match=r'Quote the name: .*"my group"'):
        index.count("metadata.my group = 1")


def test_a_field_of_any_name_has_a_payload_index(on_edge: FeatureIndex, space: FeatureSpace) -> None:
    assert {'metadata."my group"', 'metadata."größe"'} <= on_edge.state.store.layout.payload_indexes.keys()
    third = COUNT // 3
    assert on_edge.state.store.facet('metadata."my group"') == [(0, third), (1, third), (2, third)]
    with pytest.raises(InvalidInputError, match="an index on"):
        FeatureIndex.create("never.idx", space, payload_indexes={'metadata.quo"te': "integer"})
