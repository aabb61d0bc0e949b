"""Tables as they are found: which column is the id, ids that are made, what cells are, JSON of all shapes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas
import polars
import pytest

from saeindex import FeatureIndex, FeatureSpace
from saeindex.errors import InvalidInputError
from saeindex.indexing.sources import tables
from saeindex.indexing.sources.columns import Columns
from saeindex.indexing.sources.open_source import columns_of, left_out_of, open_source, preview
from saeindex.protocols import Rejected
from saeindex.types import Record
from tests.indexing.sample_rows import json_lines, write
from tests.samples import RandomEncoder


def read(what: Any, **columns: Any) -> list[Record]:
    records = list(open_source(what, columns=Columns(**columns)))
    assert all(isinstance(record, Record) for record in records), records
    return [record for record in records if isinstance(record, Record)]


def ids(what: Any, **columns: Any) -> list[str]:
    return [record.id for record in read(what, **columns)]


# Ids --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "ticket_id",
        "review_id",
        "message_id",
        "Ticket ID",
        "Respondent ID",
        "ticketId",
        "key",
        "url",
        "doc_id",
    ],
)
def test_a_unique_column_of_ids_is_the_id(tmp_path: Path, name: str) -> None:
    rows = [{"stars": n % 2, name: f"x{n}", "text": "ok"} for n in range(40)]
    wanted = [f"x{n}" for n in range(40)]
    lines = ["stars," + name + ",text", *(f"{row['stars']},{row[name]},ok" for row in rows)]
    path = write(tmp_path, "t.csv", "\n".join(lines))
    pandas.DataFrame(rows).to_parquet(tmp_path / "t.parquet")
    for what in (rows, path, tmp_path / "t.parquet", pandas.DataFrame(rows), polars.DataFrame(rows)):
        assert ids(what) == wanted
        assert read(what)[1].metadata == {"stars": 1}
    assert ids(write(tmp_path, "t.jsonl", json_lines(rows))) == wanted
    assert columns_of(open_source(path)) == [f"t.csv: text = text; id = {name}; metadata = stars"]
    assert preview(path).id == name


@pytest.mark.parametrize("last", ["x3", "", "  "])
def test_a_column_with_a_gap_or_a_repeated_value_is_no_id(tmp_path: Path, last: str) -> None:
    lines = ["customer_id,text", *(f"x{n},ok" for n in range(39)), f"{last},ok"]
    records = read(write(tmp_path, "t.csv", "\n".join(lines)))
    assert len({record.id for record in records}) == 40
    assert records[3].id.startswith("sha256:")
    assert records[3].metadata == {"customer_id": "x3"}


def test_a_column_called_id_is_the_id_whatever_it_holds() -> None:
    first, second, third = open_source([{"id": 1, "text": "a"}, {"id": None, "text": "b"}, {"text": "c"}])
    assert isinstance(first, Record) and first.id == "1"
    assert second == Rejected("record 2", "the id is null, not a string or an integer")
    assert isinstance(third, Record) and third.id.startswith("sha256:")
    assert ids([{"ticket_id": 1, "id": 5, "text": "a"}]) == ["5"]


def test_of_several_columns_of_ids_that_of_a_usual_name_comes_first() -> None:
    rows = [{"url": f"u{n}", "user_id": f"p{n}", "doc_id": f"d{n}", "text": "ok"} for n in range(3)]
    assert ids(rows) == ["d0", "d1", "d2"]
    assert ids([{k: v for k, v in row.items() if k != "doc_id"} for row in rows]) == ["p0", "p1", "p2"]
    assert ids(rows, id="url") == ["u0", "u1", "u2"]
    assert all(one.startswith("sha256:") for one in ids(rows, id=""))


def test_an_iterator_that_is_read_once_is_not_looked_through() -> None:
    rows = [{"ticket_id": n, "text": "ok"} for n in range(20)]
    assert all(one.startswith("sha256:") for one in ids(iter(rows)))
    assert ids(iter([{"doc_id": n, "text": "ok"} for n in range(20)])) == [str(n) for n in range(20)]


def test_a_frame_keeps_its_ids() -> None:
    frame = pandas.DataFrame({"id": [101, 102, None], "text": ["a", "b", "c"]})
    first, second, third = open_source(frame)
    assert [one.id for one in (first, second)] == ["101", "102"]
    assert isinstance(third, Rejected) and third.position == "row 3"
    named = pandas.DataFrame({"text": ["a", "b"], "n": [1, 2]}, index=pandas.Index([7, 8], name="case"))
    assert [(one.id, one.metadata) for one in read(named)] == [("7", {"n": 1}), ("8", {"n": 2})]
    dated = named.set_index(pandas.to_datetime(["2024-01-01", "2024-01-01"]).rename("day"))
    assert len({one.id for one in read(dated)}) == 2
    assert read(dated)[0].metadata == {"day": "2024-01-01T00:00:00", "n": 1}


def test_a_made_id_stays_when_other_rows_come(tmp_path: Path) -> None:
    rows = ["text,stars", "ok,1", "ok,5", "ok,5", "great,5"]
    before = ids(write(tmp_path, "r.csv", "\n".join(rows)))
    assert len(set(before)) == 4
    assert before == ids(tmp_path / "r.csv")
    after = ids(write(tmp_path, "r.csv", "\n".join([*rows[:1], "new,n/a", *rows[1:], "ok,5", "bad,oh"])))
    assert after[1:5] == before  # also where the column is text now
    assert len(set(after)) == 7
    assert ids(tmp_path / "r.csv", metadata=()) == after
    assert not set(before) & set(ids(write(tmp_path, "s.csv", "\n".join(rows))))
    assert ids(tmp_path / "s.csv", source="r.csv") == before


def test_equal_rows_of_two_files_of_one_name_are_two_records(tmp_path: Path) -> None:
    paths = [write(tmp_path, f"{folder}/r.csv", "text\nok\nok\n") for folder in ("a", "b")]
    assert len(set(ids(paths))) == 4
    assert ids(paths) == ids(paths)


def test_a_survey_of_equal_answers_keeps_them_all_and_a_second_run_writes_nothing(
    tmp_path: Path, space: FeatureSpace
) -> None:
    path = write(tmp_path, "s.csv", "text,stars\n" + "ok,5\n" * 30 + "bad,1\n" * 10)
    with FeatureIndex(tmp_path / "index", space=space, encoder=RandomEncoder(space.encoder)) as index:
        first, second = index.upsert(path), index.upsert(path)
        assert (first.indexed, first.rejected, second.unchanged, len(index)) == (40, 0, 40, 40)
        assert index.count("metadata.stars = 5") == 30


def test_bytes_in_a_table_are_text_or_left_out(tmp_path: Path) -> None:
    frame = pandas.DataFrame({"id": ["a"], "text": [b"Caf\xc3\xa9"], "image": [b"\xff\x00"], "n": [1]})
    frame.to_parquet(tmp_path / "t.parquet")
    for what in (tmp_path / "t.parquet", frame):
        source = open_source(what)
        assert list(source) == [Record("a", "Café", {"n": 1})]
        assert left_out_of(source) == ("column image: bytes that are no text",)


# Cells ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cells", "stored"),
    [
        (["02139", "10001"], ["02139", "10001"]),
        (["1.9", "1.10"], ["1.9", "1.10"]),
        (["1.10"], ["1.10"]),
        (["1.10", "2.50", "7"], [1.1, 2.5, 7]),
        (["5.0", "1.25", "3"], [5, 1.25, 3]),
        (["1", "n/a", "", "2"], [1, None, None, 2]),
        (["1", "two"], ["1", "two"]),
        (["true", "FALSE", ""], [True, False, None]),
        (["true", "1"], ["true", "1"]),
        (["n/a", ""], ["n/a", None]),
        (["1,5", "2,5"], ["1,5", "2,5"]),
        (["+49 30", "110"], ["+49 30", "110"]),
    ],
)
def test_a_column_of_cells_has_one_kind(tmp_path: Path, cells: list[str], stored: list[object]) -> None:
    lines = ["text;x", *(f"a{n};{cell}" for n, cell in enumerate(cells))]
    records = read(write(tmp_path, "t.csv", "\n".join(lines)))
    found = [record.metadata["x"] for record in records]
    assert found == stored
    assert list(map(type, found)) == list(map(type, stored))


@pytest.mark.parametrize("name", ["zip", "Postal Code", "PLZ", "version", "phone"])
def test_columns_called_codes_are_text(tmp_path: Path, name: str) -> None:
    (record,) = read(write(tmp_path, "t.csv", f"text,{name},n\na,10001,10001\n"))
    assert record.metadata == {name: "10001", "n": 10001}


def test_a_filter_finds_codes_and_truth_values(tmp_path: Path, space: FeatureSpace) -> None:
    path = write(tmp_path, "t.csv", "text,zip,paid\na,02139,true\nb,10001,false\n")
    with FeatureIndex(tmp_path / "index", space=space, encoder=RandomEncoder(space.encoder)) as index:
        index.upsert(path)
        assert index.count('metadata.zip = "10001"') == index.count('metadata.zip = "02139"') == 1
        assert index.count("metadata.paid = true") == 1


@pytest.mark.parametrize("end", ["\r", "\r\n", "\n"])
def test_lines_end_in_any_way_and_excel_says_its_separator(tmp_path: Path, end: str) -> None:
    rows = ["sep=;", "id;text", '1;"one, two"', "2;three"]
    source = open_source(write(tmp_path, "t.csv", "\ufeff" + end.join(rows) + end))
    assert list(source) == [Record("1", "one, two"), Record("2", "three")]
    assert open_source(write(tmp_path, "u.csv", end.join(["text,n", "a,1", "b,2"]))).total in (1, 2)
    assert [one.metadata for one in read(tmp_path / "u.csv")] == [{"n": 1}, {"n": 2}]


# JSON -------------------------------------------------------------------------------------------------

MESSAGES = [{"id": "m1", "text": "Hello", "user": "a"}, {"id": "m2", "text": "Bye", "user": "b"}]


@pytest.mark.parametrize(
    "content",
    [
        json.dumps(MESSAGES, indent=1),
        json.dumps({"channel": "general", "messages": MESSAGES}),
        json_lines(MESSAGES).decode(),
    ],
)
def test_json_is_read_as_an_array_an_object_with_one_or_lines(tmp_path: Path, content: str) -> None:
    records = read(write(tmp_path, "t.json", "\ufeff" + content))
    assert records == [Record(one["id"], one["text"], {"user": one["user"]}) for one in MESSAGES]


def test_json_that_cannot_be_read_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInputError, match=r"not valid JSON: .*line 2"):
        open_source(write(tmp_path, "t.json", '[{"text": "a"},\n nonsense]'))
    first, second = open_source(write(tmp_path, "t.json", '[{"text": "a"}, 5]'))
    assert isinstance(first, Record)
    assert second == Rejected("t.json[2]", "an int, not an object")
    monkeypatch.setattr(tables, "MAX_JSON_BYTES", 10)
    with pytest.raises(InvalidInputError, match=r"jq -c '.\[\]' .*t.json > records.jsonl"):
        open_source(tmp_path / "t.json")
    assert list(open_source(write(tmp_path, "empty.json", " "))) == []


def test_conversations_are_refused_with_the_command_that_makes_rows_of_their_messages(tmp_path: Path) -> None:
    node = {"message": {"id": "m1", "author": {"role": "user"}, "content": {"parts": ["Hello"]}}}
    chat = [{"title": "A chat", "id": "c1", "mapping": {"n1": node}}]
    with pytest.raises(InvalidInputError, match=r"'mapping'.*jq -c '.*conversations\.json > messages\.jsonl"):
        open_source(write(tmp_path, "conversations.json", json.dumps(chat)))
    train = [{"messages": [{"role": "user", "content": "Hello"}]}]
    with pytest.raises(InvalidInputError, match=r"'messages'.*jq"):
        open_source(write(tmp_path, "t.jsonl", json_lines(train)))
    assert read([{"text": "a", "messages": []}])[0].text == "a"
    assert read([{"title": "a", "messages": 3, "authors": [{"name": "b"}]}])[0].text == "a"
    turns = [{"id": 1, "turns": [{"role": "user", "said": "Hello"}]}]
    with pytest.raises(InvalidInputError, match=r"'turns'.*jq -c '\.\. \| \.turns\? // empty \| \.\[\]'"):
        open_source(write(tmp_path, "u.jsonl", json_lines(turns)))


def test_columns_of_one_name_are_told_apart(tmp_path: Path) -> None:
    table = write(tmp_path, "jira.csv", "Description,Comment,Comment,Comment_2,\nlong text,a,b,c,d\n")
    assert read(table)[0].metadata == {"Comment": "a", "Comment_2": "b", "Comment_2_2": "c", "column5": "d"}


def test_quotes_of_tabs_are_characters_where_rows_do_not_close_them(tmp_path: Path) -> None:
    rows = [("1", '"Great phone, he said'), ("2", "fine"), ("3", 'a screen of 3.5"'), ("4", '"quoted"')]
    plain = "id\ttext\n" + "".join(f"{one}\t{text}\n" for one, text in rows)
    assert [(one.id, one.text) for one in read(write(tmp_path, "plain.tsv", plain))] == rows
    quoted = 'id\ttext\n1\t"two\nlines"\n2\t"a ""b"" c"\n'
    assert [one.text for one in read(write(tmp_path, "quoted.tsv", quoted))] == ["two\nlines", 'a "b" c']


def test_a_column_of_one_text_is_the_last_choice(tmp_path: Path) -> None:
    table = "Project description,Summary description\nThe whole project,rain\nThe whole project,snow\n"
    assert [one.text for one in read(write(tmp_path, "jira.csv", table))] == ["rain", "snow"]


def test_whole_numbers_of_columns_with_gaps_are_whole(tmp_path: Path) -> None:
    (record, _) = read(write(tmp_path, "gaps.csv", "text,stars,price\na,3.0,2.5\nb,,7.25\n"))
    assert record.metadata == {"stars": 3, "price": 2.5}
    assert type(record.metadata["stars"]) is int
    (record,) = read(write(tmp_path, "t.jsonl", b'{"text": "a", "stars": 3.0, "large": 1e300}\n'))
    assert [type(one) for one in record.metadata.values()] == [int, float]
    frame = pandas.DataFrame({"text": ["a", "b"], "stars": [3, None]})
    assert type(read(frame)[0].metadata["stars"]) is int
    (given,) = read([{"text": "a", "stars": 3.0}])
    assert type(given.metadata["stars"]) is float


def test_further_headers_of_a_survey_are_no_rows(tmp_path: Path) -> None:
    heads = 'ResponseId,Q1,comment\nResponse ID,How likely?,Why?\n"{""ImportId"":""_id""}","{}","{}"\n'
    (record,) = read(write(tmp_path, "survey.csv", f"{heads}R_1,9,It is quick.\n"))
    assert (record.text, record.metadata["Q1"]) == ("It is quick.", 9)
    rejected = next(iter(open_source(write(tmp_path, "s.csv", f"{heads}R_1,9\nR_2,9,It is quick.\n"))))
    assert isinstance(rejected, Rejected) and rejected.position == "s.csv:4"


def test_a_message_in_parts_is_one_text() -> None:
    (record,) = read([{"id": 1, "text": ["See ", {"type": "link", "text": "our page"}, "."]}])
    assert record.text == "See our page."
