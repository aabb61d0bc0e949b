"""Every source passes the suite that is available for users' sources."""

from __future__ import annotations

from pathlib import Path

import pandas
import polars
import pytest

from saeindex.indexing.sources.open_source import open_source
from saeindex.protocols import RecordSource
from saeindex.testing.seam_conformance import RecordSourceConformance
from tests.indexing.sample_rows import RECORDS, ROWS, json_lines, write


class TestIterable(RecordSourceConformance):
    @pytest.fixture
    def source(self) -> RecordSource:
        return open_source(RECORDS)


class TestJsonLinesWithABadLine(RecordSourceConformance):
    @pytest.fixture
    def source(self, tmp_path: Path) -> RecordSource:
        rows = json_lines(ROWS) + b'{"id": "d", "text": ""}\n{broken\n'
        return open_source(write(tmp_path, "rows.jsonl", rows))


class TestCsv(RecordSourceConformance):
    @pytest.fixture
    def source(self, tmp_path: Path) -> RecordSource:
        return open_source(write(tmp_path, "rows.csv", "id,text,year\na,Dark matter,2015\nb,Stars,2016\n"))


class TestFolder(RecordSourceConformance):
    @pytest.fixture
    def source(self, tmp_path: Path) -> RecordSource:
        for name in ("a.txt", "deep/b.md"):
            write(tmp_path, name, f"The text of {name}.")
        return open_source(tmp_path)


class TestParquet(RecordSourceConformance):
    @pytest.fixture
    def source(self, tmp_path: Path) -> RecordSource:
        pyarrow = pytest.importorskip("pyarrow")
        parquet = pytest.importorskip("pyarrow.parquet")
        columns = {"id": ["a", "b"], "text": ["Dark matter", "Stars"], "year": [2015, 2016]}
        parquet.write_table(pyarrow.table(columns), tmp_path / "rows.parquet")
        return open_source(tmp_path / "rows.parquet")


class TestPandas(RecordSourceConformance):
    @pytest.fixture
    def source(self) -> RecordSource:
        frame = pandas.DataFrame({"text": ["Dark matter", "Stars"], "year": [2015, None]}, index=["x", "y"])
        return open_source(frame)


class TestPolars(RecordSourceConformance):
    @pytest.fixture
    def source(self) -> RecordSource:
        return open_source(polars.DataFrame({"text": ["Dark matter", "Stars"], "year": [2015, None]}))
