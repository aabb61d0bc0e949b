"""Stored records: read by id, exported by condition, also of split texts and further fields."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from saeindex.indexing.passages import PassageOptions

from saeindex import FeatureIndex, FeatureSpace, Record
from saeindex.collection.stored import PARTS
from saeindex.errors import InvalidInputError
from tests.cli.test_cli import call, called
from tests.samples import RecordingEncoder, sample_records

COUNT = 300
LONG = " ".join(
    f"{word} number {n} of a long text." for n, word in enumerate(["Coffee", "Rain", "Music"] * 40)
)


def records() -> list[Record]:
    """Return records, every tenth with a prompt, and one that is split."""
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
    with FeatureIndex.create(
        path, space, encoder=session_encoder, fields=("prompt",), passages=PassageOptions(64, 8)
    ) as made:
        made.add(records())
        yield made


def test_records_are_read_in_the_order_of_the_ids(index: FeatureIndex) -> None:
    expected = {one.id: one for one in records()}
    wanted = [*list(expected)[::-1], "absent", "long"]
    found = index.get(wanted)
    assert [one.id for one in found] == [one for one in wanted if one != "absent"]
    for one in found:
        assert dict(one.metadata) == dict(expected[one.id].metadata)
        assert dict(one.fields) == dict(expected[one.id].fields)
        assert len(one.passages) == len(one.dense) == len(one.sae)
        if one.id != "long":
            assert one.text == expected[one.id].text
    long = found[-1]
    assert len(long.passages) > 3
    assert all(passage in LONG for passage in long.passages)


def test_concepts_are_of_all_passages_the_loudest_typical_ones_first(index: FeatureIndex) -> None:
    (long,) = index.get(["long"])
    code = index.space.sae.encode(np.stack(long.dense))
    activations = np.asarray(code.to_csr().todense()).max(0)
    shown = [one.id for one in long.concepts]
    assert sorted(shown) == np.flatnonzero(activations > 0).tolist()
    stored = np.array([one.activation for one in long.concepts])
    np.testing.assert_allclose(stored, activations[shown], rtol=2e-3)
    is_weak = np.array([label.is_weak for label in index.space.labels])[shown]
    assert (np.diff(is_weak.astype(int)) >= 0).all()
    median = index.space.calibration.median[shown]
    is_typical = stored >= median
    is_given = np.array([label.is_given for label in index.space.labels])[shown]
    loudness = np.where(is_typical, stored / median * np.where(is_given, 1.3, 1), 0)
    for part in (loudness[~is_weak], loudness[is_weak]):
        assert (np.diff(part) <= 1e-3 * part[:-1]).all()
        assert part[0] > 1


def test_a_record_is_read_with_the_parts_that_are_asked_for(index: FeatureIndex) -> None:
    (whole,), (read,), (bare,) = (index.get(["long"], include=parts) for parts in (PARTS, PARTS[:1], ()))
    assert (read.passages, read.concepts, read.dense, read.sae) == (whole.passages, whole.concepts, (), ())
    assert (bare.passages, bare.concepts, bare.dense, bare.sae) == (whole.passages, (), (), ())
    with pytest.raises(InvalidInputError, match="concepts and vectors"):
        index.get(["long"], include="dense")  # type: ignore[arg-type]


def test_an_export_has_every_record_once(index: FeatureIndex, tmp_path: Path) -> None:
    path = tmp_path / "all.jsonl"
    assert index.export(path, include=["vectors", "concepts"]) == COUNT + 1
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert sorted(row["id"] for row in rows) == sorted(one.id for one in records())
    row = next(row for row in rows if row["id"] == "long")
    assert len(row["passages"]) == len(row["dense"]) == len(row["sae"])
    first = next(row for row in rows if "fields" in row)
    assert first["fields"]["prompt"] == f"What is {first['metadata']['number']}?"
    assert index.export(path, "metadata.number < 20 AND metadata.number >= 0") == 20
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert all(row.keys() <= {"id", "text", "metadata", "fields"} for row in rows)
    assert {row["metadata"]["number"] for row in rows} == set(range(20))


def test_an_export_is_indexed_again_with_the_same_vectors(
    index: FeatureIndex, tmp_path: Path, space: FeatureSpace, session_encoder: RecordingEncoder
) -> None:
    index.export(tmp_path / "some.jsonl", "metadata.number BETWEEN 1 AND 9")
    with FeatureIndex.create(tmp_path / "again.idx", space, encoder=session_encoder) as again:
        again.upsert(tmp_path / "some.jsonl")
        for one in again.get([record.id for record in records()[1:10]]):
            (former,) = index.get([one.id])
            assert (one.text, one.metadata) == (former.text, former.metadata)
            np.testing.assert_allclose(one.dense[0], former.dense[0], atol=1e-5)


def test_a_parquet_export_has_the_same(index: FeatureIndex, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    assert index.export(tmp_path / "all.parquet", include=["concepts", "vectors"]) == COUNT + 1
    rows = {row["id"]: row for row in parquet.read_table(tmp_path / "all.parquet").to_pylist()}
    for one in index.get(["long", records()[0].id]):
        row = rows[one.id]
        assert tuple(row["passages"]) == one.passages
        assert json.loads(row["metadata"]) == one.metadata
        assert [c["id"] for c in row["concepts"]] == [c.id for c in one.concepts]
        np.testing.assert_allclose(row["dense"], np.stack(one.dense), rtol=1e-6)


def test_an_empty_or_failed_export_leaves_the_file(index: FeatureIndex, tmp_path: Path) -> None:
    path = tmp_path / "kept.jsonl"
    path.write_text("kept")
    assert index.export(path, "metadata.number > 10000") == 0
    for wrong in ("kept.csv", "no/kept.jsonl"):
        with pytest.raises(InvalidInputError, match=r"an export (in|to)"):
            index.export(tmp_path / wrong)
    for wrong_parts in ("concepts", ["concept"]):
        with pytest.raises(InvalidInputError, match="parts of records"):
            index.export(path, include=wrong_parts)  # type: ignore[arg-type]
    assert path.read_text() == "kept"
    assert [one.name for one in tmp_path.iterdir()] == ["kept.jsonl"]
    with pytest.raises(InvalidInputError, match="one string as ids"):
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
    assert "no sampled record has metadata.plce; did you mean metadata.place?" in nothing.stderr
    for wrong in (
        ["--id", "n1"],
        [],
        ["--id", "n1", "--where", "metadata.place = 1"],
        ["--where", "metadata.place ="],
    ):
        done = call("delete", "notes.idx", *wrong)
        assert done.returncode == 2 and done.stderr.startswith("Error: ")
    assert run("info|notes.idx")["records"] == 3
