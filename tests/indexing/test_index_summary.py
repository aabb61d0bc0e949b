"""Indexes are listed from their manifests; damaged and unfinished ones are listed too."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from qdrant_client import QdrantClient, models

from saeindex import FeatureIndex, FeatureSpace
from saeindex.errors import NotFoundError
from saeindex.indexing.create_open import indexes_in, indexes_on
from tests.cli.test_cli import call, called
from tests.samples import RecordingEncoder, sample_records


@pytest.fixture
def folder(tmp_path: Path, space: FeatureSpace, session_encoder: RecordingEncoder) -> Path:
    for name, count in (("a.idx", 5), ("b.idx", 12)):
        with FeatureIndex.create(tmp_path / name, space, encoder=session_encoder) as index:
            index.upsert(sample_records(count))
    (tmp_path / "other").mkdir()
    (tmp_path / "notes.txt").write_text("notes")
    return tmp_path


def test_a_folder_is_listed_while_an_index_is_open(folder: Path, session_encoder: RecordingEncoder) -> None:
    with FeatureIndex.open(folder / "a.idx", encoder=session_encoder):
        a, b = indexes_in(folder)
    assert (a.name, a.records, a.space) == (str(folder / "a.idx"), 5, "minilm-concepts")
    assert (b.records, b.problem) == (12, None)
    assert a.size is not None and a.size > 10_000
    assert indexes_in(folder / "b.idx") == [b]


def test_damaged_and_unfinished_indexes_are_listed_with_their_problem(folder: Path) -> None:
    (folder / "a.idx" / "manifest.json").write_text("{")
    (folder / "b.idx" / "layout.json").unlink()
    a, b = indexes_in(folder)
    assert a.problem is not None and a.problem.startswith("it is not JSON")
    assert b.problem == "its file layout.json is missing"


def test_a_folder_without_indexes(tmp_path: Path) -> None:
    assert indexes_in(tmp_path) == []
    with pytest.raises(NotFoundError, match="no such folder"):
        indexes_in(tmp_path / "nowhere")
    done = call("list", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "No index in '.'.\n"


def test_the_command_lists_them(folder: Path) -> None:
    found = called("list", str(folder))["indexes"]
    assert [Path(one["name"]).name for one in found] == ["a.idx", "b.idx"]
    shown = call("list", cwd=folder).stdout.splitlines()
    assert shown[0].split() == ["index", "records", "space", "size", "made"]
    assert shown[1].split()[:4] == ["a.idx", "5", "minilm-concepts", shown[1].split()[3]]
    assert (
        json.loads(
            call(
                "list",
                cwd=folder / "other",
            ).stdout
            or "null"
        )
        is None
    )


def test_a_server_s_own_collections_are_left_out(
    space: FeatureSpace, session_encoder: RecordingEncoder
) -> None:
    client = QdrantClient(":memory:")
    client.create_collection("foreign", models.VectorParams(size=4, distance=models.Distance.DOT))
    client.create_collection("named", {"dense": models.VectorParams(size=4, distance=models.Distance.COSINE)})
    with FeatureIndex.create("notes", space, client=client, encoder=session_encoder) as index:
        index.upsert(sample_records(7))
    (one,) = indexes_on(client)
    assert (one.name, one.records, one.size) == ("notes", 7, None)


def test_an_index_that_is_being_written_says_that_its_numbers_are_old(
    folder: Path, session_encoder: RecordingEncoder
) -> None:
    with FeatureIndex.open(folder / "a.idx", encoder=session_encoder) as index:
        with index._current.write() as write:
            with write.points() as store:
                store.delete(query_filter=models.Filter())
            a, b = indexes_in(folder)
            assert (a.records, a.is_counted, b.is_counted) == (5, False, True)
            shown = call("list", cwd=folder)
            assert "~5" in shown.stdout
            assert "saeindex info INDEX" in shown.stderr
        a, _ = indexes_in(folder)
        assert (a.records, a.is_counted) == (0, True)


def interrupted(_: int) -> None:
    raise KeyboardInterrupt


def test_an_interrupted_run_is_counted(folder: Path, session_encoder: RecordingEncoder) -> None:
    with FeatureIndex.open(folder / "a.idx", encoder=session_encoder) as index:
        with pytest.raises(KeyboardInterrupt):
            index.upsert(sample_records(100), batch_size=20, progress=interrupted)
        written = index.count()
    assert written > 5
    assert indexes_in(folder)[0].records == written


def test_the_precision_of_vectors_is_kept_by_what_stopped_and_by_copies(
    tmp_path: Path, space: FeatureSpace, session_encoder: RecordingEncoder
) -> None:
    class Halved(RecordingEncoder):
        dtype = "torch.bfloat16"

    with FeatureIndex.create(tmp_path / "a.idx", space, encoder=Halved(session_encoder)) as index:
        index.upsert([])
        assert index.info()["precisions"] == []
        with pytest.raises(KeyboardInterrupt):
            index.upsert(sample_records(60), batch_size=20, learn_terms=False, progress=interrupted)
        assert index.info()["precisions"] == ["bf16"]
        index.copy(tmp_path / "b.idx")
    with FeatureIndex.open(tmp_path / "b.idx") as copied:
        assert copied.info()["precisions"] == ["bf16"]


def test_an_index_without_points_is_listed_with_its_problem(folder: Path) -> None:
    shutil.rmtree(folder / "a.idx" / "points")
    assert indexes_in(folder)[0].problem == "its directory 'points' is missing"
    with pytest.raises(NotFoundError, match="it is a file"):
        indexes_in(folder / "notes.txt")
