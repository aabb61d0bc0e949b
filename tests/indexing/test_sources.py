"""Every format that records are read from, and the choice of columns."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas
import polars
import pytest

from saeindex import FeatureIndex, FeatureSpace
from saeindex.errors import InvalidInputError, NotFoundError
from saeindex.indexing.sources.columns import Columns
from saeindex.indexing.sources.open_source import columns_of, left_out_of, open_source, preview
from saeindex.protocols import Rejected
from saeindex.types import Record
from tests.indexing.sample_rows import COMPRESS, RECORDS, ROWS, json_lines, write


def read(what: Any, **columns: Any) -> list[Record]:
    records = list(open_source(what, columns=Columns(**columns)))
    assert all(isinstance(record, Record) for record in records), records
    return [record for record in records if isinstance(record, Record)]


# Formats ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", COMPRESS)
@pytest.mark.parametrize("suffix", [".jsonl", ".ndjson"])
def test_json_lines_are_read_plain_and_compressed(tmp_path: Path, suffix: str, compression: str) -> None:
    path = write(tmp_path, f"a{suffix}{compression}", COMPRESS[compression](json_lines(ROWS)))
    source = open_source(path)
    assert list(source) == RECORDS
    assert list(source) == RECORDS
    assert (source.name, source.total) == (path.name, len(RECORDS))


@pytest.mark.parametrize("compression", COMPRESS)
@pytest.mark.parametrize(("suffix", "comma"), [(".csv", ","), (".tsv", "\t")])
def test_tables_keep_text_and_turn_columns_of_plain_numbers_into_numbers(
    tmp_path: Path, suffix: str, comma: str, compression: str
) -> None:
    lines = [
        comma.join(["id", "text", "year", "score", "big", "odd", "code", "note"]),
        comma.join(["1", '"Two\nlines, ""quoted"""', "2015", "-0.50", "1", "1e3", "007", ""]),
        comma.join(["2", "2016", "2016", "0.75", f"{10**20}", "1", "0", "ß"]),
    ]
    content = ("\ufeff" + "\r\n".join(lines) + "\r\n").encode()
    path = write(tmp_path, f"t{suffix}{compression}", COMPRESS[compression](content))
    assert read(path) == [
        Record("1", 'Two\nlines, "quoted"',
               {"year": 2015, "score": -0.5, "big": "1", "odd": "1e3", "code": "007", "note": None}),
        Record("2", "2016",
               {"year": 2016, "score": 0.75, "big": f"{10**20}", "odd": "1", "code": "0", "note": "ß"}),
    ]  # fmt: skip
    assert type(read(path)[1].text) is str


def test_parquet_is_read_in_batches_with_dates_and_decimals(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    count = 600
    table = pa.table(
        {
            "id": list(range(count)),
            "text": [f"text {i}" for i in range(count)],
            "day": [date(2015, 1, 2)] * count,
            "price": [Decimal("1.50")] * count,
            "score": [float("nan")] * count,
            "tags": [["x", "y"]] * count,
        }
    )
    parquet.write_table(table, tmp_path / "t.parquet", row_group_size=200)
    source = open_source(tmp_path / "t.parquet")
    records = list(source)
    assert source.total == count
    metadata = {"day": "2015-01-02", "price": 1.5, "score": None, "tags": ["x", "y"]}
    assert records == [Record(str(i), f"text {i}", metadata) for i in range(count)]
    chosen = read(tmp_path / "t.parquet", text="text", metadata=("price",))
    assert chosen == [Record(str(i), f"text {i}", {"price": 1.5}) for i in range(count)]


def test_only_the_parquet_string_with_invalid_utf8_is_rejected(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    texts = pa.array([b"good", b"bad \xff", b"fine"]).view(pa.string())
    parquet.write_table(pa.table({"text": texts}), tmp_path / "t.parquet")
    kinds = [type(record) for record in open_source(tmp_path / "t.parquet")]
    assert kinds == [Record, Rejected, Record]


def test_a_hugging_face_dataset_is_read_loaded_and_streamed() -> None:
    datasets = pytest.importorskip("datasets")
    dataset = datasets.Dataset.from_list(ROWS)
    source = open_source(dataset)
    assert list(source) == list(source) == RECORDS
    assert source.total == 3
    stream = open_source(dataset.to_iterable_dataset())
    assert list(stream) == list(stream) == RECORDS
    assert stream.total is None


def test_a_folder_gives_a_record_per_text_file_in_the_order_of_paths(tmp_path: Path) -> None:
    folder = tmp_path / "notes"
    for name in ("b.md", "a/z.txt", "a/y.rst", ".hidden/x.txt", ".x.txt", "picture.png"):
        write(folder, name, f"Text of {name}")
    write(tmp_path, "outside/secret.txt", "secret")
    (folder / "link.txt").symlink_to(tmp_path / "outside/secret.txt")
    (folder / "inner.txt").symlink_to(folder / "b.md")
    (folder / "linked").symlink_to(tmp_path / "outside")
    (folder / "loop").symlink_to(folder)
    source = open_source(folder)
    assert source.total == 4
    assert left_out_of(source) == ("1 × .png (picture.png)",)
    assert [record.id for record in source] == ["a/y.rst", "a/z.txt", "b.md", "inner.txt"]
    assert next(iter(source)) == Record("a/y.rst", "Text of a/y.rst", {"path": "a/y.rst", "name": "y.rst"})


def test_invalid_text_files_are_rejected_and_the_others_read(tmp_path: Path) -> None:
    write(tmp_path, "a.txt", b"\xff\xfe\x00")
    write(tmp_path, "b.txt", " \n")
    write(tmp_path, "c.txt", "\ufeffgood")
    first, second, third = open_source(tmp_path)
    assert first == Rejected("a.txt", "the file is not valid UTF-8", "a.txt")
    assert second == Rejected("b.txt", "the text is empty", "b.txt")
    assert isinstance(third, Record)
    assert third.text == "good"
    assert read(tmp_path / "c.txt") == [third]


def test_several_paths_are_one_source(tmp_path: Path) -> None:
    first = write(tmp_path, "a.jsonl", json_lines(ROWS[:2]))
    second = write(tmp_path, "b.jsonl", json_lines(ROWS[2:]))
    source = open_source([str(first), second])
    assert list(source) == list(source) == RECORDS
    assert source.name == "a.jsonl and 1 more"
    write(tmp_path, "texts/a.txt", "one")
    assert open_source([tmp_path / "texts", tmp_path / "texts/a.txt"]).total == 2


def test_iterables_of_records_and_dicts_are_checked() -> None:
    assert read([*RECORDS[:1], *ROWS[1:]]) == RECORDS
    assert read(RECORDS) == read(tuple(RECORDS)) == RECORDS
    assert open_source(RECORDS).total == 3
    assert list(open_source([])) == []
    assert list(open_source([Record("x", " "), "text"])) == [
        Rejected("record 1", "the text is empty", "x"),
        Rejected("record 2", "a str, not a Record or a dict such as {'text': …}"),
    ]


def test_a_second_pass_over_an_iterator_is_an_error() -> None:
    source = open_source(iter(RECORDS))
    assert list(source) == RECORDS
    with pytest.raises(InvalidInputError, match="only once"):
        iter(source)


# Columns ----------------------------------------------------------------------------------------------


def test_usual_column_names_are_found_in_any_case() -> None:
    assert read([{"Doc_ID": 7, "Abstract": "An abstract.", "Year": 2015}]) == [
        Record("7", "An abstract.", {"Year": 2015})
    ]


def test_the_column_text_is_preferred_if_it_has_strings() -> None:
    (record,) = read([{"title": "A title", "text": "A text", "id": "x"}])
    assert (record.text, record.metadata) == ("A text", {"title": "A title"})
    (record,) = read([{"text": ["no"], "body": "A body", "id": "x"}])
    assert record.text == "A body"


def test_the_metadata_object_is_merged_and_overrides_other_fields() -> None:
    row = {"id": 1, "text": "t", "year": 1, "lang": "en", "metadata": {"year": 2, "deep": {"a": [1]}}}
    assert read([row])[0].metadata == {"year": 2, "lang": "en", "deep": {"a": [1]}}


def test_chosen_metadata_is_found_at_the_top_level_in_the_object_and_by_path() -> None:
    row = {
        "id": 1,
        "text": "t",
        "lang": "en",
        "who": {"name": "x", "age": 3},
        "metadata": {"year": 2, "m": 1},
    }
    names = ("metadata.year", "m", "lang", "who.name", "absent")
    assert read([row], metadata=names)[0].metadata == {"year": 2, "m": 1, "lang": "en", "who": {"name": "x"}}
    assert read([row], metadata=())[0].metadata == {}


def test_text_and_id_may_be_paths() -> None:
    row = {"data": {"body": "A text"}, "metadata": {"doi": "10.1"}}
    (record,) = read([row], text="data.body", id="metadata.doi")
    assert (record.id, record.text) == ("10.1", "A text")


def test_a_record_without_id_gets_one_of_its_own() -> None:
    first, second, third = read([{"text": "same"}, {"text": "same"}, {"text": "other"}])
    assert len({first.id, second.id, third.id}) == 3
    assert first.id.startswith("sha256:")
    assert len(first.id) == len("sha256:") + 32


def test_a_row_without_the_id_that_was_named_is_rejected() -> None:
    source = open_source([{"id": "x", "text": "t"}, {"text": "t"}], columns=Columns(id="id"))
    assert list(source) == [Record("x", "t"), Rejected("record 2", "no field 'id'")]


def test_wrong_columns_are_errors_that_list_those_that_exist(tmp_path: Path) -> None:
    jsonl = write(tmp_path, "a.jsonl", json_lines([{"title_en": "x", "year": 1}]))
    table = write(tmp_path, "a.csv", "title_en,year\nx,1\n")
    for path in (jsonl, table):
        with pytest.raises(NotFoundError, match="title_en, year"):
            open_source(path)
        with pytest.raises(NotFoundError, match=r"'body'.*title_en, year"):
            open_source(path, columns=Columns(text="body"))
        with pytest.raises(NotFoundError, match="'key'"):
            open_source(path, columns=Columns(text="title_en", id="key"))
    with pytest.raises(NotFoundError, match="'month'"):
        open_source(table, columns=Columns(text="title_en", metadata=("month",)))
    with pytest.raises(InvalidInputError, match="tuple"):
        Columns(metadata="year")  # type: ignore[arg-type]


def test_missing_paths_and_unknown_formats_are_errors(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no file or folder"):
        open_source(tmp_path / "nothing.jsonl")
    with pytest.raises(NotFoundError, match="text files"):
        open_source(tmp_path)
    with pytest.raises(InvalidInputError, match="pickle"):
        open_source(write(tmp_path, "a.pickle", b"x"))
    with pytest.raises(InvalidInputError, match="Parquet"):
        open_source(write(tmp_path, "a.parquet", b"nonsense"))
    with pytest.raises(InvalidInputError, match=r"pdftotext .*a.pdf"):
        open_source(write(tmp_path, "a.pdf", b"x"))
    with pytest.raises(InvalidInputError, match="a dict with train"):
        open_source({"train": []})


def test_reading_is_lazy() -> None:
    taken = 0

    def endless() -> Iterator[dict[str, Any]]:
        nonlocal taken
        while True:
            taken += 1
            yield {"id": taken, "text": "t"}

    stream = iter(open_source(endless()))
    assert [next(stream) for _ in range(20)][-1] == Record("20", "t")
    assert taken == 20


@pytest.mark.parametrize("library", [pandas, polars], ids=lambda library: library.__name__)
def test_a_data_frame_is_read_by_its_columns(library: Any) -> None:
    columns = {
        "id": ["a", "b", None],
        "text": ["Dark matter", "Stars", "Planets"],
        "year": [2015, None, 2017],
        "seen": [date(2020, 1, 2), None, None],
    }
    a, b, c = open_source(library.DataFrame(columns))
    assert a == Record("a", "Dark matter", {"year": 2015, "seen": "2020-01-02"})
    assert b == Record("b", "Stars", {"year": None, "seen": None})
    assert isinstance(c, Rejected)
    assert c.position == "row 3"


def test_the_row_labels_of_a_data_frame_are_not_read() -> None:
    frame = pandas.DataFrame({"body": ["Dark matter", "Stars"], "n": [1, 2]}, index=["x", "y"])
    records = list(open_source(frame, columns=Columns(text="body")))
    assert [record.metadata for record in records if isinstance(record, Record)] == [{"n": 1}, {"n": 2}]


def test_a_data_frame_without_the_column_asked_for_is_an_error_before_anything_is_read() -> None:
    frame = pandas.DataFrame({"text": ["Dark matter"]})
    with pytest.raises(NotFoundError, match="body"):
        open_source(frame, columns=Columns(text="body"))
    twice = pandas.DataFrame([["a", "b"]], columns=["text", "text"])
    with pytest.raises(InvalidInputError, match="text"):
        open_source(twice)


@pytest.mark.parametrize("what", [5, None, {"text": "x"}, polars.LazyFrame({"text": ["x"]})])
def test_a_source_without_records_is_refused(what: Any) -> None:
    with pytest.raises(InvalidInputError, match="records to read") as caught:
        open_source(what)
    assert caught.value.found.startswith(("an int", "no value", "a dict with text", "a LazyFrame"))


def test_columns_can_be_named_by_a_mapping(space: FeatureSpace, tmp_path: Path) -> None:
    rows = [{"review_id": "r1", "review": "It broke after a day", "product": "lamp"}]
    with FeatureIndex.create(tmp_path / "reviews.idx", space) as index:
        index.upsert(rows, columns={"text": "review", "id": "review_id", "metadata": ["product"]})
        (point,) = index.state.store.scroll(limit=2).points
        assert (point.payload["record_id"], point.payload["metadata"]) == ("r1", {"product": "lamp"})
        for wrong in ("review", 5, {"txt": "review"}, {"own_fields": ("a",)}):
            with pytest.raises(InvalidInputError, match="columns"):
                index.upsert(rows, columns=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("mark", [";", "\t", "|"])
def test_a_csv_file_with_another_separator_is_read(tmp_path: Path, mark: str) -> None:
    path = write(tmp_path, "a.csv", f"id{mark}text{mark}year\n1{mark}one, two{mark}3\n")
    assert read(path) == [Record("1", "one, two", {"year": 3})]


def test_text_in_utf_16_is_refused_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,text\n1,one\n", "utf-16")
    with pytest.raises(InvalidInputError, match="Save it as UTF-8"):
        open_source(tmp_path / "a.csv")


def test_an_unknown_column_names_the_options(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"Opinion.*--text-field"):
        open_source(write(tmp_path, "a.csv", "Opinion,Stars\na,1\n"))


def test_the_text_is_the_longest_of_the_usual_columns(tmp_path: Path) -> None:
    rows = "Title,Review Text,Stars\nNice,The soup was warm and the staff was kind.,5\nBad,Cold soup.,1\n"
    source = open_source(write(tmp_path, "a.csv", rows))
    first = next(iter(source))
    assert isinstance(first, Record) and first.text.startswith("The soup")
    assert first.metadata == {"Title": "Nice", "Stars": 5}
    assert columns_of(source) == ["a.csv: text = Review Text; id = made of each row; metadata = Title, Stars"]
    assert read([{"text": "t", "description": "much longer", "id": 1}])[0].text == "t"


def test_texts_where_paths_should_be_are_told_how_to_write_them() -> None:
    for texts in (["a", "b"], ["a text\0", "x" * 5_000]):
        with pytest.raises(NotFoundError, match=r'Texts are given as records: \[{"text": …}, …\]'):
            open_source(texts)


def test_a_file_in_latin_1_is_rejected_with_a_remedy(tmp_path: Path) -> None:
    for name, line in (("a.csv", b"id,text\n1,caf\xe9\n"), ("a.jsonl", b'{"text": "caf\xe9"}\n')):
        (rejected,) = open_source(write(tmp_path, name, line))
        assert isinstance(rejected, Rejected) and "UTF-8: convert the file" in rejected.reason


def test_metadata_as_json_text_is_an_object_again(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    metadata = '{"year": 3, "odd name": [1]}'
    pandas.DataFrame({"id": ["1"], "text": ["one"], "metadata": [metadata]}).to_parquet(path)
    assert read(path) == [Record("1", "one", {"year": 3, "odd name": [1]})]
    (plain,) = read(write(tmp_path, "a.csv", "text,metadata\none,{not json\n"))
    assert plain.metadata == {"metadata": "{not json"}


def test_columns_of_json_lines_are_said_as_far_as_they_are_known(tmp_path: Path) -> None:
    (line,) = columns_of(open_source(write(tmp_path, "a.jsonl", json_lines([{"id": "1", "text": "a"}]))))
    assert line == "a.jsonl: text = text; id = id; metadata = all other fields (in the first records: none)"
    assert columns_of(open_source(write(tmp_path, "b.jsonl", ""))) == ["b.jsonl: no record"]


def test_what_cannot_be_read_in_a_folder_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "a.txt", "one")
    (tmp_path / "gone.txt").symlink_to(tmp_path / "nowhere.txt")
    (tmp_path / "closed").mkdir()
    scan = os.scandir

    def refusing(path: str) -> Any:
        if Path(path).name == "closed":
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", refusing)  # tests may run as root, who may read everything
    found = [(one.position, one.reason) for one in open_source(tmp_path) if isinstance(one, Rejected)]
    assert sorted(found) == [
        ("closed", "the folder cannot be read: Permission denied"),
        ("gone.txt", "the link leads nowhere"),
    ]


@pytest.mark.parametrize("name", ["table.csv", "table.tsv", "table.jsonl", "table.parquet"])
def test_a_table_is_looked_at_before_it_is_indexed(tmp_path: Path, name: str) -> None:
    path, table = (
        tmp_path / name,
        pandas.DataFrame({"id": ["a", "b"], "Review Text": ["x y", "z"], "n": [1, 2]}),
    )
    if name.endswith("parquet"):
        table.to_parquet(path)
    elif name.endswith("jsonl"):
        table.to_json(path, orient="records", lines=True)
    else:
        table.to_csv(path, index=False, sep="\t" if name.endswith("tsv") else ",")
    seen = preview(path)
    assert (seen.names, seen.text, seen.id) == (("id", "Review Text", "n"), "Review Text", "id")
    assert [row["Review Text"] for row in seen.rows] == ["x y", "z"]


def test_a_table_without_a_known_column_is_looked_at_too(tmp_path: Path) -> None:
    (tmp_path / "odd.csv").write_text("what,stars\nfine,5\n")
    assert preview(tmp_path / "odd.csv")[:1] + preview(tmp_path / "odd.csv")[2:] == (
        ("what", "stars"),
        None,
        None,
    )
    (tmp_path / "latin.csv").write_bytes("text,größe\nfine,5\n".encode("latin-1"))
    with pytest.raises(InvalidInputError, match="UTF-8"):
        preview(tmp_path / "latin.csv")
    (tmp_path / "empty.csv").write_text("")
    assert preview(tmp_path / "empty.csv").rows == []
    with pytest.raises(InvalidInputError):
        preview(tmp_path / "page.html")
