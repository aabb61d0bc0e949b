"""Tables as files: one for each, written atomically, and harmless in a spreadsheet."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from saeindex.errors import InvalidInputError
from tests.report.sample_results import FORMULA, diff, empty_results, results

RESULTS = results()


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("kind", RESULTS)
def test_every_table_is_a_csv_file_that_reads_back(kind: str, tmp_path: Path) -> None:
    tables = RESULTS[kind].tables()
    written = RESULTS[kind].write_tables(tmp_path / "found.csv")
    assert [path.name for path in written] == [f"found-{name}.csv" for name in tables]
    assert sorted(tmp_path.iterdir()) == sorted(written)
    for path, rows in zip(written, tables.values(), strict=True):
        read = read_csv(path)
        assert [len(read), list(read[0])] == [
            len(rows),
            list(dict.fromkeys(key for row in rows for key in row)),
        ]


@pytest.mark.parametrize("kind", RESULTS)
def test_every_table_is_a_parquet_file_that_reads_back(kind: str, tmp_path: Path) -> None:
    from pyarrow.parquet import read_table

    tables = RESULTS[kind].tables()
    for path, rows in zip(RESULTS[kind].write_tables(tmp_path / "f.parquet"), tables.values(), strict=True):
        read = read_table(path).to_pylist()
        for was, row in zip(rows, read, strict=True):
            for name, cell in was.items():
                assert row[name] == cell or str(cell) == row[name]


@pytest.mark.parametrize("kind", RESULTS)
def test_every_table_is_a_data_frame(kind: str) -> None:
    tables = RESULTS[kind].tables()
    assert RESULTS[kind].to_pandas().equals(RESULTS[kind].to_pandas(next(iter(tables))))
    for name, rows in tables.items():
        frame = RESULTS[kind].to_pandas(name)
        assert len(frame) == len(rows)
        assert list(frame.columns) == list(dict.fromkeys(key for row in rows for key in row))
    with pytest.raises(InvalidInputError, match="no such table"):
        RESULTS[kind].to_pandas("nowhere")


def test_text_is_not_a_formula_and_a_number_stays_a_number(tmp_path: Path) -> None:
    written = diff(("-old", "+new")).write_tables(tmp_path / "found.csv")
    rows = read_csv(next(path for path in written if "concepts" in path.name))
    assert [row["label"] for row in rows][-1] == f"'{FORMULA}"
    assert {row["group"] for row in rows} == {"'-old", "'+new"}
    assert min(float(row["effect"]) for row in rows) < 0


@pytest.mark.parametrize("kind", empty_results())
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_empty_tables_are_written_as_files(kind: str, suffix: str, tmp_path: Path) -> None:
    result = empty_results()[kind]
    written = result.write_tables(tmp_path / f"none{suffix}")
    assert len(written) == len(result.tables()) and all(path.is_file() for path in written)


@pytest.mark.parametrize("name", ["found.xlsx", "found"])
def test_an_unknown_suffix_is_refused_and_nothing_is_written(name: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"\.csv or \.parquet"):
        diff().write_tables(tmp_path / name)
    assert not list(tmp_path.iterdir())
