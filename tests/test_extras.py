"""What an index needs is installed with the package; a chart, a page, a graph, a Parquet file are extras."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from importlib.abc import MetaPathFinder
from pathlib import Path

import pytest

from saeindex import FeatureIndex, FeatureSpace, Record
from saeindex.client import Client
from saeindex.errors import MissingDependencyError
from saeindex.features.taxonomy import read_taxonomy
from saeindex.indexing.sources.open_source import open_source
from tests.report.sample_results import diff


def adapter(name: str) -> object:
    sys.modules.pop(f"saeindex.integrations.{name}", None)
    return import_module(f"saeindex.integrations.{name}")


EXTRAS = {
    "report": ("altair", "vl_convert", "jinja2"),
    "parquet": ("pyarrow",),
    "pandas": ("pandas",),
    "zstd": ("zstandard",),
    "openai": ("openai",),
    "skos": ("rdflib",),
    "evaluate": ("ir_measures",),
    "client": ("httpx2",),
    "langchain": ("langchain_core", "langchain_qdrant"),
    "llama-index": ("llama_index",),
    "haystack": ("haystack",),
}
USES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "a chart on a page": ("report", lambda folder: diff().write_charts(folder / "a.html")),
    "a chart as an image": ("report", lambda folder: diff().write_charts(folder / "a.png")),
    "a Parquet file": ("parquet", lambda folder: diff().write_tables(folder / "a.parquet")),
    "records in Parquet": ("parquet", lambda folder: list(open_source(folder / "in.parquet"))),
    "a data frame": ("pandas", lambda folder: diff().to_pandas()),
    "records in Zstandard": ("zstd", lambda folder: list(open_source(folder / "in.jsonl.zst"))),
    "concepts in SKOS": ("skos", lambda folder: list(read_taxonomy(folder / "in.ttl"))),
    "a server": ("client", lambda folder: Client("http://localhost:1")),
    "a store of LangChain": ("langchain", lambda folder: adapter("langchain")),
    "a store of LlamaIndex": ("llama-index", lambda folder: adapter("llama_index")),
    "a store of Haystack": ("haystack", lambda folder: adapter("haystack")),
}


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what every installation has can be imported."""
    absent = {name for names in EXTRAS.values() for name in names}

    class Absent(MetaPathFinder):
        def find_spec(self, name: str, *_: object) -> None:
            if name.partition(".")[0] in absent:
                raise ModuleNotFoundError(name)

    for name in [one for one in sys.modules if one.partition(".")[0] in absent]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Absent(), *sys.meta_path])


@pytest.mark.usefixtures("bare")
def test_records_are_indexed_searched_and_compared_without_any_extra(
    tmp_path: Path, space: FeatureSpace
) -> None:
    with FeatureIndex(tmp_path / "bare.idx", space=space) as index:
        index.upsert([Record(str(i), f"A note on copper {i}.", {"n": i}) for i in range(20)])
        hits = index.search("copper", where="metadata.n > 5", steer="+#7:0.5", explain=True)
        assert len(hits) == 10 and str(hits.plan)
        assert "records" in str(index.diff("metadata.n < 10"))
        assert index.export(tmp_path / "out.jsonl") == 20
        with pytest.raises(MissingDependencyError, match=r"saeindex\[evaluate\]"):
            index.evaluate([("copper 1", ["1"]), ("copper 2", ["2"])])


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize("use", USES)
def test_a_use_that_needs_more_names_the_extra_and_leaves_nothing(use: str, tmp_path: Path) -> None:
    extra, call = USES[use]
    for name in ("in.parquet", "in.jsonl.zst", "in.ttl"):
        (tmp_path / name).write_bytes(b"@prefix")
    with pytest.raises(MissingDependencyError, match=rf"saeindex\[{extra}\]"):
        call(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"in.parquet", "in.jsonl.zst", "in.ttl"}
