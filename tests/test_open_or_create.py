"""``FeatureIndex(path)`` opens what is there; what is not is created by the first upsert, and not before."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from saeindex import FeatureIndex, FeatureSpace
from saeindex.errors import InvalidInputError, MismatchError, NotFoundError
from tests.samples import RecordingEncoder, sample_records


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "notes.idx"


def test_nothing_is_written_before_the_first_upsert(path: Path) -> None:
    with FeatureIndex(path, fields=("prompt",)) as index:
        assert "not there yet" in repr(index)
        for read in (
            lambda: index.search("rain"), lambda: len(index), lambda: index.delete(["a"]),
            lambda: index.concepts.rename(5, "a name"), lambda: index.diff("#5"), index.info, index.refresh,
            lambda: index.export(path.with_suffix(".jsonl")), lambda: "a" in index, index.profiles.names,
        ):  # fmt: skip
            with pytest.raises(NotFoundError, match=r"nothing was indexed. Add records \(upsert"):
                read()
        with pytest.raises(InvalidInputError):
            index.upsert([{"text": "It rains."}], split=500)
        with pytest.raises(NotFoundError):
            index.upsert(path.with_suffix(".csv"))
    assert not path.exists()


def test_the_first_upsert_creates_it_once_for_several_threads(
    path: Path, session_encoder: RecordingEncoder
) -> None:
    records = sample_records(40)
    with FeatureIndex(path, encoder=session_encoder) as index:
        threads = [
            threading.Thread(target=index.upsert, args=(records[start::4],), kwargs={"learn_terms": False})
            for start in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(index) == 40
    with FeatureIndex(path, encoder=session_encoder) as again:
        assert len(again) == 40


def test_other_options_than_those_of_the_index_are_a_mismatch(
    path: Path, space: FeatureSpace, session_encoder: RecordingEncoder
) -> None:
    with FeatureIndex(path, space=space, encoder=session_encoder, fields=("prompt",)) as index:
        index.upsert([{"id": "a", "text": "It rains.", "prompt": "How is it?"}])
    with pytest.raises(MismatchError, match="it has prompt"):
        FeatureIndex(path, fields=("question",))
    with FeatureIndex(path, fields=("prompt",)) as again:
        assert again.get(["a"])[0].fields == {"prompt": "How is it?"}


def test_a_tilde_is_the_home_and_ids_are_taken_as_they_were_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, space: FeatureSpace, session_encoder: RecordingEncoder
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.csv").write_text("id,text\n7,It rains.\n8,It snows.\n")
    with FeatureIndex("~/x.idx", space=space, encoder=session_encoder) as index:
        index.upsert("~/rows.csv")
        assert [one.id for one in index.get([8, 7])] == ["8", "7"]  # type: ignore[list-item]
        assert 7 in index and 9 not in index and True not in index
        assert [one.id for one in index.search("rain", exclude=[7])] == ["8"]  # type: ignore[list-item]
        assert index.export("~/out.jsonl") == 2
        assert index.delete([7]) == 1  # type: ignore[list-item]
    assert (tmp_path / "x.idx").is_dir() and (tmp_path / "out.jsonl").is_file()
    assert not (tmp_path / "~").exists()
    FeatureIndex.open("~/x.idx").close()
