"""Stored records: read by id, exported by condition, also of split texts and further fields."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qdrant_client import QdrantClient
from qdrant_client.models import PointStruct

from saeindex import FeatureIndex, FeatureSpace, Record
from saeindex.collection.stored import PARTS
from saeindex.errors import InvalidInputError, MismatchError, NotFoundError
from saeindex.indexing.points import mentions_of, point_id
from tests.cli.test_cli import call, called
from tests.samples import RandomEncoder, RecordingEncoder, sample_records

COUNT = 300
LONG = " ".join(
    f"{word} number {n} of a long text." for n, word in enumerate(["Coffee", "Rain", "Music"] * 40)
)


def records() -> list[Record]:
    """Return records, every tenth with a prompt, and a long one."""
    found = [
        Record(
            one.id, one.text, {"number": number}, {"prompt": f"What is {number}?"} if number % 10 == 0 else {}
        )
        for number, one in enumerate(sample_records(COUNT))
    ]
    return [*found, Record("long", LONG, {"number": -1})]


@pytest.fixture(scope="module")
def index(
    tmp_path_factory: pytest.TempPathFactory, space: FeatureSpace, session_encoder: RecordingEncoder
) -> Iterator[FeatureIndex]:
    path = tmp_path_factory.mktemp("stored") / "stored.idx"
    with FeatureIndex.create(path, space, encoder=session_encoder, fields=("prompt",)) as made:
        *short, long = records()
        made.upsert(short)
        made.upsert([long], split=64)
        yield made


def test_records_are_read_in_the_order_of_the_ids(index: FeatureIndex) -> None:
    expected = {one.id: one for one in records()[:-1]}
    wanted = [*list(expected)[::-1], "absent"]
    found = index.get(wanted)
    assert [one.id for one in found] == wanted[:-1]
    for one in found:
        assert one.text == expected[one.id].text
        assert dict(one.metadata) == dict(expected[one.id].metadata)
        assert dict(one.fields) == dict(expected[one.id].fields)
        assert one.document is None


def test_the_records_of_a_document_are_its_text_character_for_character(index: FeatureIndex) -> None:
    pieces = index.get(documents=["long"])
    assert [one.id for one in pieces] == [f"long#{n}" for n in range(len(pieces))]
    assert len(pieces) > 10
    assert "".join(one.text for one in pieces) == LONG
    assert {one.document for one in pieces} == {"long"}
    assert all(dict(one.metadata) == {"number": -1} for one in pieces)
    assert [one.text for one in index.get(["long#2"])] == [pieces[2].text]


def test_an_absent_id_that_is_a_document_is_said_to_be_one(index: FeatureIndex) -> None:
    for one in (lambda: index.get(["doc-1", "long"]), lambda: index.delete(["long", "absent"])):
        with pytest.raises(NotFoundError, match=r"record 'long': .*it is a document, with records such as"):
            one()
    for one in (lambda: index.get(documents=["long", "doc-1"]), lambda: index.delete(documents=["doc-1"])):
        with pytest.raises(
            NotFoundError, match="document 'doc-1': no record is of this document: it is the id"
        ):
            one()
    assert index.get(documents=["nothing"]) == [] and index.delete(documents=["nothing"]) == 0
    with pytest.raises(InvalidInputError, match="several ways"):
        index.get(["doc-1"], documents=["long"])
    with pytest.raises(InvalidInputError, match="nothing to select by"):
        index.get()


def test_concepts_are_those_that_the_record_speaks_of_the_surest_first(
    index: FeatureIndex,
) -> None:
    (one,) = index.get(["long#1"])
    assert one.dense is not None and one.sae is not None and index.space.evidence is not None
    code = index.space.sae.encode(one.dense[None]).row(0)
    assert code[0].tolist() == one.sae.indices.tolist()
    spoken = [concept for concept in one.concepts if concept.evidence]
    assert spoken and one.concepts[: len(spoken)] == tuple(spoken)
    said = {
        mention.feature: mention.p
        for mention in mentions_of(index.state.store.get([point_id("long#1")])[0].payload)
    }
    assert {c.id: c.evidence for c in spoken} == {feature: p for feature, p in said.items() if p >= 0.5}
    assert [c.evidence for c in spoken] == sorted((p for p in said.values() if p >= 0.5), reverse=True)
    assert len(one.concepts) == len(spoken), "what has no name is not listed"


def test_a_record_is_read_with_the_parts_that_are_asked_for(index: FeatureIndex) -> None:
    (whole,), (read,), (bare,) = (index.get(["long#0"], include=parts) for parts in (PARTS, PARTS[:1], ()))
    assert (read.text, read.concepts, read.dense, read.sae) == (whole.text, whole.concepts, None, None)
    assert (bare.text, bare.concepts, bare.dense, bare.sae) == (whole.text, (), None, None)
    with pytest.raises(InvalidInputError, match="concepts, vectors, known"):
        index.get(["long#0"], include="dense")  # type: ignore[arg-type]


def test_an_export_has_every_record_once(index: FeatureIndex, tmp_path: Path) -> None:
    path = tmp_path / "all.jsonl"
    pieces = index.get(documents=["long"], include=())
    assert index.export(path, include=["vectors", "concepts"]) == COUNT + len(pieces)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    ids = [*(one.id for one in records()[:-1]), *(one.id for one in pieces)]
    assert sorted(row["id"] for row in rows) == sorted(ids)
    assert all((row.get("document") == "long") == row["id"].startswith("long#") for row in rows)
    first = next(row for row in rows if "fields" in row)
    assert first["fields"]["prompt"] == f"What is {first['metadata']['number']}?"
    assert index.export(path, "metadata.number < 20 AND metadata.number >= 0") == 20
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert all(row.keys() <= {"id", "text", "metadata", "fields"} for row in rows)
    assert {row["metadata"]["number"] for row in rows} == set(range(20))


@pytest.mark.parametrize("name", ["all.jsonl", "all.parquet", "all.csv"])
def test_an_export_indexed_again_changes_nothing(
    index: FeatureIndex, tmp_path: Path, space: FeatureSpace, session_encoder: RecordingEncoder, name: str
) -> None:
    """Neither the index that it was made of, nor another one of the same records; nor the split text."""
    revision = index.state.revision
    parts = () if name.endswith(".csv") else PARTS
    count = index.export(tmp_path / name, include=parts)
    report = index.upsert(tmp_path / name)
    assert (report.read, report.unchanged, report.rejected) == (count, count, 0)
    assert index.upsert([records()[-1]], split=64).unchanged == 1
    assert index.state.revision == revision
    path = tmp_path / "again.idx"
    with FeatureIndex.create(path, space, encoder=session_encoder, fields=("prompt",)) as again:
        assert again.upsert(tmp_path / name).indexed == count
        whole = index.get(documents=["long"]), again.get(documents=["long"])
        for ours, theirs in zip(*whole, strict=True):
            assert (ours.text, ours.metadata, ours.document) == (theirs.text, theirs.metadata, "long")
            np.testing.assert_allclose(np.asarray(ours.dense), np.asarray(theirs.dense), atol=1e-5)
        (first,) = again.get([records()[0].id])
        assert dict(first.fields) == {"prompt": "What is 0?"}


ODD = {
    "n": 5, "s": "5", "bool": True, "true": "true", "null": None, "empty": "", "list": [1, "a", None],
    "object": {"a": {"b": 1}}, " odd ": 1, "a.b": "x", "text": "y", "id": 3, "half": 0.1, "one": 1.0,
    "lines": 'a\r\nb,"c"\rd', "space": " 5 ", "day": "2015-03-01", "zero": "007", "quoted": '"q"',
    "concepts": [], "": "no name", "nan": "NaN",
}  # fmt: skip


@pytest.mark.parametrize("name", ["all.jsonl", "all.parquet", "all.csv"])
def test_odd_values_survive_an_export(tmp_path: Path, space: FeatureSpace, name: str) -> None:
    given = [
        Record("007", '=1+1\r\nnext, "line"', ODD, {"prompt": "12"}),
        Record("5", "6", {"other": "x"}),
        Record("d#0", "a piece", {}, {}, "d"),
    ]
    encoder = RandomEncoder(space.encoder)
    made = [
        FeatureIndex.create(tmp_path / where, space, encoder=encoder, fields=("prompt",))
        for where in ("one", "two")
    ]
    with made[0] as first, made[1] as second:
        first.upsert(given)
        first.export(tmp_path / name)
        assert second.upsert(tmp_path / name).indexed == 3
        for one, two, record in zip(
            *(each.get([one.id for one in given], include=()) for each in made), given, strict=True
        ):
            assert one.to_json(()) == two.to_json(())
            assert (two.text, dict(two.metadata), two.document) == (
                record.text,
                record.metadata,
                record.document,
            )
        assert second.upsert(tmp_path / name).unchanged == 3


def test_a_parquet_export_has_the_same(index: FeatureIndex, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    index.export(tmp_path / "all.parquet", include=["concepts", "vectors"])
    rows = {row["id"]: row for row in parquet.read_table(tmp_path / "all.parquet").to_pylist()}
    for one in index.get(["long#3", records()[0].id]):
        row = rows[one.id]
        assert (row["text"], row["document"]) == (one.text, one.document)
        assert json.loads(row["metadata"]) == one.metadata
        assert [c["id"] for c in row["concepts"]] == [c.id for c in one.concepts]
        np.testing.assert_allclose(row["dense"], np.asarray(one.dense), rtol=1e-6)


def test_pages_have_every_record_once(index: FeatureIndex) -> None:
    found, offset, pages = [], None, 0
    while pages == 0 or offset is not None:
        page, offset = index.scroll("metadata.number < 50", limit=7, offset=offset)
        found += [one.id for one in page]
        pages += 1
    assert len(found) == len(set(found)) == index.count("metadata.number < 50")
    assert pages == -(-len(found) // 7)
    with pytest.raises(InvalidInputError, match="offset='zz': no page has this offset"):
        index.scroll(offset="zz")


def test_an_empty_or_failed_export_leaves_the_file(index: FeatureIndex, tmp_path: Path) -> None:
    path = tmp_path / "kept.jsonl"
    path.write_text("kept")
    assert index.export(path, "metadata.number > 10000") == 0
    for wrong in ("kept.txt", "no/kept.jsonl"):
        with pytest.raises(InvalidInputError, match=r"an export (in|to)|the folder"):
            index.export(tmp_path / wrong)
    with pytest.raises(InvalidInputError, match="a CSV file has texts and metadata only"):
        index.export(tmp_path / "kept.csv", include=["concepts"])
    for wrong_parts in ("concepts", ["concept"]):
        with pytest.raises(InvalidInputError, match="parts of records"):
            index.export(path, include=wrong_parts)  # type: ignore[arg-type]
    assert path.read_text() == "kept"
    assert [one.name for one in tmp_path.iterdir()] == ["kept.jsonl"]
    with pytest.raises(InvalidInputError, match="Give a list"):
        index.get("long")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with an index of six notes."""
    texts = ["rain on the roof", "a cup of coffee", "a song of the sea", "tea", "bread", "snow"]
    rows = [{"id": f"n{n}", "text": text, "metadata": {"place": n}} for n, text in enumerate(texts)]
    (tmp_path / "notes.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert call("index", "notes.jsonl", "--into", "notes.idx", cwd=tmp_path).returncode == 0
    return tmp_path


def test_the_daily_verbs_on_the_command_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)

    def run(line: str, code: int = 0) -> Any:
        return called(*line.split("|"), code=code)

    found = run("get|notes.idx|n1|n9", 1)
    assert ([one["id"] for one in found["records"]], found["missing"]) == (["n1"], ["n9"])
    assert found["records"][0]["text"] == "a cup of coffee" and found["records"][0]["concepts"]
    shown = call("get", "notes.idx", "n1", "n9")
    assert "a cup of coffee" in shown.stdout and "Not in the index: n9." in shown.stderr
    assert run("export|notes.idx|--to|all.jsonl|--with|concepts, vectors")["exported"] == 6
    assert run("delete|notes.idx|--id|n0|--id|n9|--yes")["deleted"] == 1
    assert run("delete|notes.idx|--id|n0|--yes", 1)["deleted"] == 0
    assert run("delete|notes.idx|--where|metadata.place >= 4|--yes")["deleted"] == 2
    assert run("export|notes.idx|--to|rest.jsonl")["exported"] == 3
    nothing = call("delete", "notes.idx", "--where", "metadata.plce = 4", "--yes")
    assert nothing.returncode == 1
    assert "no record has metadata.plce; did you mean metadata.place?" in nothing.stderr
    for wrong in (
        ["--id", "n1"],
        [],
        ["--id", "n1", "--where", "metadata.place = 1"],
        ["--where", "metadata.place ="],
    ):
        done = call("delete", "notes.idx", *wrong)
        assert done.returncode == 2 and done.stderr.startswith("Error: ")
    assert run("info|notes.idx")["records"] == 3


def test_a_point_of_another_program_is_a_typed_error_that_says_what_lists_it(
    space: FeatureSpace, session_encoder: RecordingEncoder, tmp_path: Path
) -> None:
    client = QdrantClient(":memory:")
    index = FeatureIndex.create("papers", space, client=client, encoder=session_encoder)
    index.upsert([Record(str(n), f"Copper wire {n}.", {"n": n}) for n in range(8)])
    client.upsert("papers", [PointStruct(id=7, vector={"dense": [0.05] * 384}, payload={"page": 1})])
    index.refresh()
    calls: list[Callable[[], object]] = [
        lambda: index.search("copper", limit=50),
        lambda: index.search(where="NOT #5", limit=50),
        lambda: index.diff("metadata.n < 4"),
        lambda: index.export(tmp_path / "out.jsonl"),
        lambda: index.scroll(limit=50),
    ]
    for one in calls:
        with pytest.raises(MismatchError, match=r"a point without .(record_id|text).*saeindex doctor papers"):
            one()
    assert not (tmp_path / "out.jsonl").exists()
    assert index.get(["3"])[0].text == "Copper wire 3."
    index.upsert([Record("9", "Tin.")])
    client.delete("papers", [7])
    index.refresh()
    assert len(index.search("copper", limit=50)) == 9


def test_a_sample_is_random_of_what_matches_and_again_the_same(index: FeatureIndex) -> None:
    ids = [one.id for one in index.sample(50, seed=1)]
    assert len(ids) == len(set(ids)) == 50 and ids != sorted(ids)
    assert ids == [one.id for one in index.sample(50, seed=1)]
    means = [np.mean([one.metadata["number"] for one in index.sample(50, seed=seed)]) for seed in range(40)]
    assert len(set(means)) > 20 and abs(np.mean(means) - COUNT / 2) < 30
    few = index.sample(50, "metadata.number BETWEEN 10 AND 19", seed=3, include=["concepts"])
    assert {one.metadata["number"] for one in few} == set(range(10, 20)) and few[0].concepts is not None


def test_an_index_is_iterated(index: FeatureIndex) -> None:
    assert sorted(one.id for one in index) == sorted(one.id for one in index.scroll(limit=10_000)[0])


def test_every_record_is_as_likely_in_a_sample(index: FeatureIndex) -> None:
    counts = Counter(one.id for seed in range(200) for one in index.sample(20, seed=seed))
    expected = 200 * 20 / len(index)
    assert len(counts) == len(index)
    assert max(abs(one - expected) for one in counts.values()) < 5 * expected**0.5
    some = {one.id for one in index.sample(5, where="metadata.number >= 0", seed=1)}
    assert len(some) == 5 and not any(one.startswith("long") for one in some)
    assert {one.id for one in index.sample(len(index) + 9)} == set(counts)
