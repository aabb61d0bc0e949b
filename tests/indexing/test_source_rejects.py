"""Every kind of invalid record or file is rejected with a reason, and reading continues."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saeindex.errors import InvalidInputError, NotFoundError
from saeindex.indexing.sources import streams as streams_module
from saeindex.indexing.sources import values as values_module
from saeindex.indexing.sources.open_source import open_source
from saeindex.protocols import Rejected
from saeindex.types import Record
from tests.indexing.sample_rows import COMPRESS, RECORDS, ROWS, json_lines, write


def read(what: Any) -> list[Record]:
    records = list(open_source(what))
    assert all(isinstance(record, Record) for record in records), records
    return [record for record in records if isinstance(record, Record)]


def reject_of(fields: Any) -> Rejected:
    """Read one record that must be rejected, after a valid one that determines the columns."""
    good = {"id": "good", "text": "A good text."}
    *_, last = open_source([good, fields])
    assert isinstance(last, Rejected), last
    return last


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{nonsense", "not valid JSON"),
        (b'{"text": "\xff"}', "not valid UTF-8"),
        (b"[1, 2]", "a list, not an object"),
        (b'{"text": "a text", "metadata": [1, 2]}', "the metadata is a list, not an object"),
        (b'"text"', "a str, not an object"),
        (b'{"text": "t", "x": NaN}', "NaN is not a JSON value"),
        (b'{"text": "t", "x": -Infinity}', "-Infinity is not a JSON value"),
        (b'{"text": "t", "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
        (b'{"text": "t", "x": ' + b"[" * 20 + b"]" * 20 + b"}", "nested deeper than 16"),
        (b'{"text": "t", "x": ' + b"9" * 5000 + b"}", "not valid JSON"),
        (b'{"text": "\\ud800"}', "not valid Unicode"),
        (b'{"text": "t", "x": "\\udfff"}', "not valid Unicode"),
        (b'{"id": 3}', "no field 'text'"),
    ],
)
def test_an_invalid_line_is_rejected_and_the_next_is_read(tmp_path: Path, line: bytes, reason: str) -> None:
    content = json_lines(ROWS[:1]) + b"\n" + line + b"\n" + json_lines(ROWS[1:2])
    first, rejected, last = open_source(write(tmp_path, "a.jsonl", content))
    assert [first, last] == RECORDS[:2]
    assert isinstance(rejected, Rejected)
    assert rejected.position == "a.jsonl:3"
    assert reason in rejected.reason


def test_an_overlong_line_is_skipped_without_loading_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams_module, "MAX_LINE_BYTES", 200)
    long_line = b'{"text": "' + b"x" * 1_000_000 + b'"}\n'
    content = json_lines(ROWS[:1]) + long_line + json_lines(ROWS[1:2]) + long_line.rstrip()
    first, rejected, second, last = open_source(write(tmp_path, "a.jsonl", content))
    assert [first, second] == RECORDS[:2]
    assert isinstance(rejected, Rejected)
    assert isinstance(last, Rejected)
    assert (rejected.position, last.position) == ("a.jsonl:2", "a.jsonl:4")
    table = b"id,text\n1,one\n2," + b"x" * 1000 + b"\n3,three\n"
    kinds = [type(record) for record in open_source(write(tmp_path, "a.csv", table))]
    assert kinds == [Record, Rejected, Record]


@pytest.mark.parametrize("compression", [".gz", ".zst"])
def test_a_truncated_file_gives_what_can_be_read_and_the_next_file_follows(
    tmp_path: Path, compression: str
) -> None:
    rng = np.random.default_rng(0)
    rows = [{"id": i, "text": rng.bytes(60).hex()} for i in range(5000)]
    whole = COMPRESS[compression](json_lines(rows))
    cut = write(tmp_path, f"cut.jsonl{compression}", whole[: len(whole) // 2])
    after = write(tmp_path, "after.jsonl", json_lines(ROWS))
    *records, rejected = open_source(cut)
    assert len(records) > 1000
    assert all(isinstance(record, Record) for record in records)
    assert isinstance(rejected, Rejected)
    assert "truncated" in rejected.reason
    assert rejected.position == f"cut.jsonl{compression}:{len(records) + 1}"
    assert list(open_source([cut, after]))[-3:] == RECORDS


@pytest.mark.parametrize("compression", [".gz", ".zst"])
@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_a_file_without_the_compression_of_its_name_is_one_reject(
    tmp_path: Path, suffix: str, compression: str
) -> None:
    path = write(tmp_path, f"a{suffix}{compression}", json_lines(ROWS))
    (rejected,) = open_source(path)
    assert isinstance(rejected, Rejected)
    assert "damaged" in rejected.reason


def test_concatenated_frames_and_members_are_all_read(tmp_path: Path) -> None:
    for suffix in (".gz", ".zst"):
        content = b"".join(COMPRESS[suffix](json_lines([row])) for row in ROWS)
        assert read(write(tmp_path, f"a.jsonl{suffix}", content)) == RECORDS


def test_a_zstd_bomb_is_read_line_by_line(tmp_path: Path) -> None:
    content = COMPRESS[".zst"](json_lines(ROWS[:1]) + b"x" * 200_000_000 + b"\n" + json_lines(ROWS[1:2]))
    first, rejected, last = open_source(write(tmp_path, "a.jsonl.zst", content))
    assert [first, last] == RECORDS[:2]
    assert isinstance(rejected, Rejected)
    assert "longer than" in rejected.reason


def test_invalid_table_rows_are_rejected_and_the_next_is_read(tmp_path: Path) -> None:
    lines = [b"id,text", b"1,one", b"2,two,three", b"4", b'5,"fi"ve', b"6,\xff", b",seven", b"8,", b"9,nine"]
    first, *rejects, last = open_source(write(tmp_path, "a.csv", b"\n".join(lines)))
    assert [first, last] == [Record("1", "one"), Record("9", "nine")]
    assert all(isinstance(rejected, Rejected) for rejected in rejects)
    positions = [rejected.position for rejected in rejects if isinstance(rejected, Rejected)]
    assert positions == [f"a.csv:{number}" for number in range(3, 9)]


def test_an_unclosed_quote_is_rejected(tmp_path: Path) -> None:
    first, rejected = open_source(write(tmp_path, "a.csv", 'id,text\n1,one\n2,"two\n3,three\n'))
    assert isinstance(first, Record)
    assert isinstance(rejected, Rejected)
    assert "CSV" in rejected.reason


@pytest.mark.parametrize(
    "bad_id", [True, 1.5, None, "", "  ", "x" * 513, "\ud800", ["x"], 2**64, float("nan"), 2.0**53]
)
def test_ids_that_cannot_be_stored_are_rejected(bad_id: Any) -> None:
    assert "id" in reject_of({"id": bad_id, "text": "t"}).reason


@pytest.mark.parametrize("good_id", [0, -3, "x", "x" * 512, " x ", np.int64(7), "ß/第", 7.0, np.float32(-7)])
def test_ids_that_are_strings_or_integers_become_strings(good_id: Any) -> None:
    assert read([{"id": good_id, "text": "t"}])[0].id == str(good_id).removesuffix(".0")


@pytest.mark.parametrize("bad_text", [None, "", " \n\t", 5, ["t"], b"t", "half \udc00"])
def test_texts_that_cannot_be_encoded_are_rejected_with_their_id(bad_text: Any) -> None:
    rejected = reject_of({"id": "x", "text": bad_text})
    assert "text" in rejected.reason
    assert rejected.id == "x"
    assert rejected.position == "record 2"


def test_texts_and_metadata_above_their_limits_are_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values_module, "MAX_TEXT_CHARACTERS", 100)
    monkeypatch.setattr(values_module, "MAX_METADATA_BYTES", 100)
    assert "101 characters" in reject_of({"id": 1, "text": "x" * 101}).reason
    assert "bytes" in reject_of({"id": 1, "text": "t", "note": "ß" * 60}).reason
    assert read([{"id": 1, "text": "x" * 100}])[0].text == "x" * 100


@pytest.mark.parametrize(
    "bad", [b"bytes", {1: "x"}, {1, 2}, object(), 2**63, 1 + 2j, "\ud800", {"\ud800": 1}]
)
def test_metadata_that_json_cannot_represent_is_rejected(bad: Any) -> None:
    rejected = reject_of({"id": "x", "text": "t", "field": bad})
    assert "metadata.field" in rejected.reason
    assert rejected.id == "x"


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (np.float32(0.5), 0.5),
        (np.int8(3), 3),
        (np.bool_(True), True),
        (np.array([[1, 2]]), [[1, 2]]),
        (np.array(["2015-01-02"], dtype="datetime64[ns]"), ["2015-01-02T00:00:00.000000000"]),
        (np.datetime64("NaT"), None),
        (datetime(2015, 1, 2, 3, tzinfo=UTC), "2015-01-02T03:00:00+00:00"),
        (date(2015, 1, 2), "2015-01-02"),
        (timedelta(minutes=1), 60.0),
        (Decimal("2"), 2),
        (Decimal("2.5"), 2.5),
        (Decimal("sNaN"), None),
        (Decimal("1e400"), None),
        (float("inf"), None),
        ((1, None), [1, None]),
        ("a\0b", "a\0b"),
    ],
)
def test_values_of_tables_and_arrays_become_json(value: Any, stored: Any) -> None:
    (record,) = read([{"id": 1, "text": "t", "x": value}])
    assert record.metadata == {"x": stored}
    assert type(record.metadata["x"]) is type(stored)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from(["id", "text", "metadata", "x"]), json_values), max_size=20))
def test_any_rows_become_storable_records_or_rejects(rows: list[dict[str, Any]]) -> None:
    results = list(open_source([{"text": "t"}, *rows]))
    assert len(results) == len(rows) + 1
    for result in results:
        if isinstance(result, Record):
            assert json.loads(json.dumps(result.metadata, allow_nan=False)) == result.metadata
            assert (result.id + result.text).encode()


@settings(max_examples=100, deadline=None)
@given(content=st.binary(max_size=300), suffix=st.sampled_from([".jsonl", ".csv", ".jsonl.gz", ".tsv.zst"]))
def test_any_bytes_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, suffix: str
) -> None:
    path = write(tmp_path_factory.getbasetemp(), f"bytes{suffix}", content)
    try:
        results = list(open_source(path))
    except (NotFoundError, InvalidInputError):
        return
    assert all(isinstance(result, Record | Rejected) for result in results)
