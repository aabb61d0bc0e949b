"""The fields of an index are listed with what they hold and how many records have them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from saeindex import FeatureIndex, FeatureSpace, Record
from saeindex.collection import records as module
from tests.cli.test_cli import called
from tests.samples import RandomEncoder, sample_records

COUNT = 200


def metadata(number: int) -> dict[str, Any]:
    """Return fields of every kind, some of which some records lack."""
    found: dict[str, Any] = {"year": number, "my group": "ab"[number % 2], "empty": [], "none": None}
    if number % 4 == 0:
        found |= {"tags": ["a", 1], "nested": {"deep": {"er": True}, "empty": {}}}
        found |= {"parts": [{"size": 3, "by": {"name": "Ann"}}, {"size": 5, "marks": ["x"]}]}
    return found | {"mixed": number if number % 2 else str(number)}


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory, space: FeatureSpace) -> Iterator[FeatureIndex]:
    path = tmp_path_factory.mktemp("fields") / "fields.idx"
    records = [
        Record(one.id, f"{one.text} " * 20, metadata(n)) for n, one in enumerate(sample_records(COUNT))
    ]
    with FeatureIndex.create(path, space, encoder=RandomEncoder(space.encoder)) as made:
        made.upsert(records)
        yield made


EXPECTED = {
    "metadata.year": (("numbers",), COUNT),
    'metadata."my group"': (("text",), COUNT),
    "metadata.mixed": (("numbers", "text"), COUNT),
    "metadata.tags": (("lists of numbers", "lists of text"), COUNT // 4),
    "metadata.nested.deep.er": (("true or false",), COUNT // 4),
    "metadata.parts": (("lists of objects",), COUNT // 4),
    "metadata.parts[].size": (("lists of numbers",), COUNT // 4),
    "metadata.parts[].by.name": (("lists of text",), COUNT // 4),
    "metadata.parts[].marks": (("lists of text",), COUNT // 4),
}


def test_fields_have_kinds_and_exact_numbers_of_records(index: FeatureIndex) -> None:
    found = index.metadata_fields()
    assert {one.field: (tuple(sorted(one.kinds)), one.records) for one in found} == EXPECTED
    assert not any(one.is_estimated for one in found)
    assert [one.records for one in found] == sorted((one.records for one in found), reverse=True)
    for one in found:
        assert index.count(f"EXISTS({one.field})") == one.records
    (tags,) = (one for one in found if one.field == "metadata.tags")
    assert tags.example == ["a", 1] and set(tags.values) == {"a", 1}


def test_of_a_large_index_numbers_are_estimated(index: FeatureIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SAMPLE", 150)
    monkeypatch.setattr(module, "PAGE", 50)
    found = {one.field: one for one in index.metadata_fields()}
    assert all(one.is_estimated for one in found.values())
    assert found["metadata.year"].records == COUNT
    assert COUNT // 8 <= found["metadata.tags"].records <= COUNT // 2


def test_the_command_prints_them(index: FeatureIndex) -> None:
    index.close()
    found = called("info", index.name, "--fields")["metadata_fields"]
    assert {one["field"]: one["records"] for one in found} == {name: n for name, (_, n) in EXPECTED.items()}
    assert "metadata_fields" not in called("info", index.name)
