"""Copies of an index: of each format, to each store, in its space, in another, and of another encoder."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qdrant_client import QdrantClient

from saeindex import FeatureIndex, FeatureSpace, Record, copy_index
from saeindex.errors import (
    DamageError,
    IndexLockedError,
    InvalidInputError,
    MismatchError,
    NotFoundError,
    StorageError,
)
from saeindex.indexing import copy
from saeindex.protocols import Point
from saeindex.sae import SparseAutoencoder
from saeindex.stores.edge import EdgeStore
from tests.cli.test_cli import call, called
from tests.samples import (
    RandomEncoder,
    RecordingEncoder,
    all_points,
    code_of,
    contents,
    sample_records,
    small_space,
)

COUNT = 120
LONG = " ".join(f"Sentence {n} is about {topic}." for n, topic in enumerate(["stars", "bread", "tax"] * 8))
OWN_NAME = "queries of a database"


def fill(index: FeatureIndex) -> None:
    """Write records, a document, a profile and an own name."""
    index.upsert(sample_records(COUNT))
    index.upsert([Record("long", LONG, {"tags": ["a"]})], split=20)
    index.concepts.rename(7, OWN_NAME)
    index.concepts.hide(9)
    index.profiles.fit("mine", like=["doc-1"], unlike=["doc-2"])


@pytest.fixture(scope="module")
def filled(
    tmp_path_factory: pytest.TempPathFactory, space: FeatureSpace, session_encoder: RecordingEncoder
) -> Path:
    path = tmp_path_factory.mktemp("copied") / "notes.idx"
    with FeatureIndex.create(
        path, space, encoder=session_encoder, payload_indexes={"metadata.year": "float"}
    ) as made:
        fill(made)
    return path


@pytest.fixture
def index(filled: Path, tmp_path: Path, session_encoder: RecordingEncoder) -> FeatureIndex:
    return FeatureIndex.open(shutil.copytree(filled, tmp_path / "notes.idx"), encoder=session_encoder)


def opened_copy(target: Path | str, client: QdrantClient | None, encoder: Any) -> FeatureIndex:
    return FeatureIndex.open(target, client=client, encoder=encoder)


# As it is ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("to", ["edge", "memory"])
def test_a_copy_of_an_open_index_is_the_same_index(
    index: FeatureIndex, tmp_path: Path, session_encoder: RecordingEncoder, to: str
) -> None:
    client = QdrantClient(":memory:") if to == "memory" else None
    target = "copy" if client else tmp_path / "backup" / "copy.idx"
    with index:
        index.diff("metadata.year < 2005")  # writes a cache, which is not copied
        report = index.copy(target, client=client)
        assert (report.records, report.names, report.profiles) == (len(index), 1, ("mine",))
        assert not (report.lost_names or report.lost_profiles or report.skipped)
        before = [(hit.id, hit.score) for hit in index.search("rain", limit=20)]
        kept = contents(index)
        index.upsert([Record("later", "written after the copy")])
        with opened_copy(target, client, session_encoder) as copied:
            if client is None:
                assert contents(copied) == kept
            assert not copied.get(["later"])
            found = copied.search("rain", limit=20)
            assert [hit.id for hit in found] == [one for one, _ in before]
            np.testing.assert_allclose(
                [hit.score for hit in found], [score for _, score in before], atol=1e-5
            )
            assert copied.concepts.card(7).label == OWN_NAME and copied.concepts.card(9).is_weak
            assert copied.profiles.get("mine") == index.profiles.get("mine")
            assert copied.state.store.layout == index.state.store.layout
            assert copied.upsert([Record("long", LONG, {"tags": ["a"]})], split=20).unchanged == 1
            assert copied.state.manifest.counts.records == copied.count() == report.records
            copied.upsert([Record("own", "written to the copy")])
            assert not index.get(["own"])
    if client is None:
        assert "cache" not in {path.name for path in (tmp_path / "backup" / "copy.idx").iterdir()}


def test_writes_wait_for_a_copy(
    index: FeatureIndex, tmp_path: Path, session_encoder: RecordingEncoder
) -> None:
    """A copy that is made while records are deleted has a state between two writes."""
    ids = [record.id for record in sample_records(COUNT)]

    def delete_one_by_one() -> None:
        for one in ids:
            index.delete([one])

    with index:
        writer = threading.Thread(target=delete_one_by_one)
        writer.start()
        for number in range(3):
            index.copy(tmp_path / f"{number}.idx")
        writer.join()
    for number in range(3):
        with opened_copy(tmp_path / f"{number}.idx", None, session_encoder) as copied:
            left = {one.id for one in copied.scroll(limit=1_000)[0] if one.document is None}
            assert left == set(ids[COUNT - len(left) :])


def test_a_copy_replaces_nothing(index: FeatureIndex, tmp_path: Path) -> None:
    with index:
        for inside in ("notes.idx", "notes.idx/points/../inner"):
            with pytest.raises(InvalidInputError, match=r"it is (inside )?the index"):
                index.copy(tmp_path / inside)
        (tmp_path / "full").mkdir()
        (tmp_path / "full" / "mine.txt").write_text("mine")
        with pytest.raises(InvalidInputError, match=r"other files, such as 'mine\.txt'"):
            index.copy(tmp_path / "full")
        index.copy(tmp_path / "copy.idx")
        with pytest.raises(MismatchError, match="it is already an index"):
            index.copy(tmp_path / "copy.idx")
        with pytest.raises(InvalidInputError, match=r"it is (inside )?the index"):
            index.export(tmp_path / "notes.idx" / "export.jsonl")


def test_the_command_copies_a_closed_index(index: FeatureIndex, tmp_path: Path) -> None:
    source, target = str(tmp_path / "notes.idx"), str(tmp_path / "again.idx")
    locked = call("copy", source, target)
    assert locked.returncode == 3 and "this process has it open" in locked.stderr
    with pytest.raises(IndexLockedError):
        copy_index(source, target)
    count = len(index)
    index.close()
    assert called("copy", source, target)["records"] == count
    assert called("info", target)["records"] == count
    assert call("copy", source, target).returncode == 3
    assert "no such directory" in call("copy", str(tmp_path / "absent"), target).stderr
    with pytest.raises(NotFoundError):
        copy_index("absent", "copy", source_client=QdrantClient(":memory:"))


# Interrupted ------------------------------------------------------------------------------------------


def test_an_interrupted_copy_says_so_and_is_continued_by_the_same_copy(
    index: FeatureIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, session_encoder: RecordingEncoder
) -> None:
    target, written = tmp_path / "copy.idx", list[int]()
    monkeypatch.setattr(copy, "PAGE", 20)
    upsert = EdgeStore.upsert

    def dying(store: EdgeStore, points: Sequence[Point]) -> None:
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(len(points))
        upsert(store, points)

    def counting(store: EdgeStore, points: Sequence[Point]) -> None:
        written.append(len(points))
        upsert(store, points)

    with index:
        with monkeypatch.context() as patch:
            patch.setattr(EdgeStore, "upsert", dying)
            with pytest.raises(KeyboardInterrupt):
                index.copy(target)
        with pytest.raises(MismatchError, match=r"a copy of .*notes\.idx that is not complete.*continues"):
            FeatureIndex.open(target)
        with pytest.raises(MismatchError, match=r"a copy of .* that is not complete"):
            copy_index(target, tmp_path / "second.idx")
        with pytest.raises(MismatchError, match=r"an incomplete copy of .*, of another state or with other"):
            index.copy(target, calibrate=True)
        written.clear()
        with monkeypatch.context() as patch:
            patch.setattr(EdgeStore, "upsert", counting)
            assert index.copy(target).records == len(index)
        assert sum(written) == len(index) - 60
        with opened_copy(target, None, session_encoder) as copied:
            assert contents(copied) == contents(index)


def test_a_copy_that_is_not_what_was_read_is_an_error(
    index: FeatureIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upsert = EdgeStore.upsert

    def altered(store: EdgeStore, points: Sequence[Point]) -> None:
        upsert(store, [replace(p, payload={**p.payload, "text": p.payload["text"] + "!"}) for p in points])

    monkeypatch.setattr(EdgeStore, "upsert", altered)
    with index, pytest.raises(StorageError, match="not what was read"):
        index.copy(tmp_path / "copy.idx")
    with pytest.raises(MismatchError, match="not complete"):
        FeatureIndex.open(tmp_path / "copy.idx")


# Another space, another encoder, own levels ------------------------------------------------------------


def turned(space: FeatureSpace) -> FeatureSpace:
    """Return a space whose features are those of another one in another order, but for the first."""
    order = [0, *range(space.n_features - 1, 0, -1)]
    sae = space.sae
    decoder = sae.decoder[order].clone()
    decoder[0] = -decoder[0]
    encoder = sae.encoder[order].clone()
    encoder[0] = -encoder[0]
    moved = SparseAutoencoder(encoder, sae.encoder_bias[order], decoder, sae.bias, k=sae.k)
    calibration = replace(
        space.calibration,
        density=space.calibration.density[order],
        median=space.calibration.median[order],
        p90=space.calibration.p90[order],
    )
    return replace(space, name="turned", sae=moved.half(), calibration=calibration)


@pytest.mark.parametrize("source_kind", ["edge", "memory"])
def test_a_copy_in_another_space_is_as_if_made_with_it(
    tmp_path: Path, space: FeatureSpace, source_kind: str
) -> None:
    old = small_space(space.encoder)
    new, encoder = turned(old), RandomEncoder(space.encoder)
    client = QdrantClient(":memory:") if source_kind == "memory" else None
    records = sample_records(400)
    with FeatureIndex.create(
        "notes" if client else tmp_path / "notes.idx", old, client=client, encoder=encoder
    ) as index:
        index.upsert(records)
        index.concepts.rename(5, OWN_NAME)
        index.concepts.rename(0, "a name without a counterpart")
        index.concepts.hide(5)
        profile = index.profiles.fit("mine", like=["doc-1"])
        index.profiles.save(profile.edited({5: 0.5, 0: 0.5}))
        report = index.copy(tmp_path / "copy.idx", new)
    assert report.lost_names == ("a name without a counterpart",)
    assert report.lost_edits == {"mine": ("a label",)}
    with FeatureIndex.open(tmp_path / "copy.idx", encoder=encoder) as copied:
        assert copied.space.name == "turned"
        assert copied.concepts.card(59).label == OWN_NAME and copied.concepts.card(59).is_weak
        assert copied.profiles.get("mine").edits == {59: 0.5}
        with FeatureIndex.create(tmp_path / "new.idx", new, encoder=encoder) as made:
            made.upsert(records)
            if client is None:
                assert contents(copied) == contents(made)
            else:
                assert [p.payload for p in all_points(copied)] == [p.payload for p in all_points(made)]


def test_a_copy_with_another_encoder_encodes_the_texts(tmp_path: Path, space: FeatureSpace) -> None:
    old = small_space(space.encoder)
    identity = replace(space.encoder, model="another", revision="2", max_length=40)
    new, encoder = replace(small_space(identity), name="other"), RandomEncoder(identity)
    with FeatureIndex.create(tmp_path / "a.idx", old, encoder=RandomEncoder(old.encoder)) as index:
        index.upsert([*sample_records(30), Record("long", LONG)])
        index.concepts.rename(5, OWN_NAME)
        index.profiles.fit("mine", like=["doc-1"])
        report = index.copy(tmp_path / "b.idx", new, encoder=encoder)
        with pytest.raises(MismatchError, match="max_length"):
            index.copy(tmp_path / "c.idx", new, encoder=RandomEncoder(old.encoder))
    assert (report.lost_names, report.lost_profiles, report.profiles) == ((OWN_NAME,), (), ("mine",))
    with (
        FeatureIndex.open(tmp_path / "b.idx", encoder=encoder) as copied,
        FeatureIndex.create(tmp_path / "d.idx", new, encoder=encoder) as made,
    ):
        made.upsert([*sample_records(30), Record("long", LONG)])
        assert copied.info()["truncated"] == made.info()["truncated"] == 1
        assert contents(copied) == contents(made)


def test_a_calibrated_copy_has_the_levels_of_its_records(tmp_path: Path, space: FeatureSpace) -> None:
    small, encoder = small_space(space.encoder), RandomEncoder(space.encoder)
    path = tmp_path / "b.idx"
    with FeatureIndex.create(tmp_path / "a.idx", small, encoder=encoder) as index:
        with pytest.raises(InvalidInputError, match="it is empty"):
            index.copy(path, calibrate=True)
        index.upsert(sample_records(100))
        assert index.copy(tmp_path / "c.idx", calibrate=True).records == 100
        before = [(p.id, code_of(p).values.tobytes()) for p in all_points(index)]
    for target in ("c.idx", "d.idx"):
        with FeatureIndex.open(tmp_path / target, encoder=encoder) as copied:
            calibration = copied.space.calibration
            assert calibration.digest() != small.calibration.digest()
            points = all_points(copied)
            assert [(p.id, code_of(p).values.tobytes()) for p in points] == before
            for point in points:
                code = code_of(point)
                assert (
                    point.payload["concepts"] == calibration.concept_codes(code.indices, code.values).tolist()
                )
            levels = [code % 4 for point in points for code in point.payload["concepts"]]
            assert 0.4 < levels.count(1) / levels.count(0) < 0.6
            if target == "c.idx":
                copied.copy(tmp_path / "d.idx")  # its levels go along


# What is lost ----------------------------------------------------------------------------------------


def test_an_index_whose_manifest_is_lost_is_copied(
    index: FeatureIndex, tmp_path: Path, session_encoder: RecordingEncoder
) -> None:
    kept = contents(index)
    index.close()
    (tmp_path / "notes.idx" / "manifest.json").unlink()
    with pytest.raises(DamageError, match=r"manifest is missing or empty.*`saeindex copy .*notes\.idx NEW`"):
        FeatureIndex.open(tmp_path / "notes.idx")
    report = copy_index(tmp_path / "notes.idx", tmp_path / "new.idx")
    assert report.records == len(kept)
    with opened_copy(tmp_path / "new.idx", None, session_encoder) as copied:
        assert [(one[0], one[1]["text"]) for one in contents(copied)] == [
            (one[0], one[1]["text"]) for one in kept
        ]
        assert copied.profiles.names() == []
        assert copied.upsert(sample_records(COUNT)).unchanged == COUNT


@pytest.mark.parametrize(
    "content",
    [
        "{",
        '{"format_version": 2, "checksum": 1}',
        '{"format_version": 2, "space": 3, "names": [], "edits": 7}',
    ],
)
def test_a_damaged_manifest_names_the_copy_that_reads_the_records(
    index: FeatureIndex, tmp_path: Path, content: str
) -> None:
    count = len(index)
    index.close()
    (tmp_path / "notes.idx" / "manifest.json").write_text(content)
    with pytest.raises(DamageError, match="`saeindex copy "):
        FeatureIndex.open(tmp_path / "notes.idx")
    assert copy_index(tmp_path / "notes.idx", tmp_path / "new.idx").records == count


def test_points_that_are_no_records_are_left_out_and_named(
    tmp_path: Path, space: FeatureSpace, session_encoder: RecordingEncoder
) -> None:
    client = QdrantClient(":memory:")
    with FeatureIndex.create("notes", space, client=client, encoder=session_encoder) as index:
        index.upsert(sample_records(5))
        index.state.store.upsert([Point(7, {}, {"note": "of another program"})])
        report = index.copy(tmp_path / "copy.idx")
    assert (report.records, report.skipped) == (5, ("7",))


def test_the_command_says_what_a_copy_lost(tmp_path: Path, space: FeatureSpace) -> None:
    old = small_space(space.encoder)
    turned(old).save(tmp_path / "turned")
    with FeatureIndex.create(tmp_path / "a.idx", old, encoder=RandomEncoder(space.encoder)) as index:
        index.upsert(sample_records(90))
        index.concepts.rename(0, "a name without a counterpart")
    files = [str(tmp_path / name) for name in ("a.idx", "b.idx", "turned")]
    done = call("copy", files[0], files[1], "--space", files[2])
    assert done.returncode == 0, done.stderr
    assert "a name without a counterpart" in done.stdout
