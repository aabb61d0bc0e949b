"""Repair: what is derived is made again, what is lost is named, and a sound index stays as it is."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import QdrantClient
from qdrant_client.models import PointStruct, PointVectors, SparseVector

from saeindex import FeatureIndex, FeatureSpace, Record
from saeindex.config import DENSE, SAE
from saeindex.errors import DamageError, IndexLockedError, MismatchError, NotFoundError
from saeindex.indexing.examination import Examination
from saeindex.indexing.passages import PassageOptions
from saeindex.indexing.points import point_id
from saeindex.indexing.repair import RepairReport
from saeindex.stores import edge_engine as engine
from saeindex.stores.directory import IndexDirectory
from saeindex.stores.edge import EdgeStore
from saeindex.stores.point_checks import CheckedPoint
from saeindex.stores.seal import write_seal
from tests.cli.test_cli import called

TEXTS = [
    "Dark matter halos and the rotation of galaxies.",
    "A recipe for bread with rye flour and salt.",
    "The court dismissed the appeal of the tenant.",
    "Vaccines protect children from measles.",
    "The striker scored twice in the second half.",
]
LONG = " ".join(f"{text} Number {n} of the long story." for n in range(12) for text in TEXTS)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("made") / "it.idx"
    records = [Record(f"r{n}", f"{TEXTS[n % 5]} {n}", {"n": n, "score": n / 7}) for n in range(20)]
    with FeatureIndex.create(path, passages=PassageOptions(64, 8)) as index:
        index.add([*records, Record("long", LONG, {"n": 99})])
    FeatureIndex.open(path).close()
    return path


@pytest.fixture
def path(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "it.idx")
    return tmp_path / "it.idx"


def _file(path: Path, name: str) -> Path:
    return next(one for one in sorted((path / "points").rglob("*")) if name in one.as_posix())


def _change_text(path: Path, record: str, passage: int, text: str) -> None:
    """Change a stored text, as bit rot would: its checksums stay."""
    with EdgeStore.open(path) as store:
        (row,) = store._shard.retrieve([point_id(record, passage)], True, [DENSE, SAE])
        vectors = {
            DENSE: row.vector[DENSE],
            SAE: (list(row.vector[SAE].indices), list(row.vector[SAE].values)),
        }
        engine.upsert(store._shard, [CheckedPoint(row.id, vectors, {**row.payload, "text": text}, 0)])
        store._shard.flush()
    write_seal(IndexDirectory(path), is_settled=False)


def _search(path: Path) -> list[tuple[str, float]]:
    with FeatureIndex.open(path) as index:
        return [(hit.id, round(hit.score, 4)) for hit in index.search("galaxies", limit=3)]


def _is_sound(path: Path) -> bool:
    with FeatureIndex.open(path) as index:
        found = Examination.of(index.store, index.space.n_features)
        return not (found.damaged or found.incomplete or found.wrong_facets(index.store))


def test_a_sound_index_is_left_as_it_is(path: Path) -> None:
    before = _file(path, "payload_storage/page_0").stat().st_mtime_ns
    report = FeatureIndex.repair(path)
    assert report == RepairReport((), report.points, (), (), 0, False, None)
    assert report.points > 25
    assert _file(path, "payload_storage/page_0").stat().st_mtime_ns == before


MANIFESTS = ("manifest.json", "manifest.copy.json")


def _remove(path: Path, *names: str) -> None:
    for name in names:
        (path / name).unlink()


LOST: dict[str, Callable[[Path], Any]] = {
    "manifest.json from its copy": lambda path: (path / "manifest.json").unlink(),
    "layout.json from the manifest": lambda path: (path / "layout.json").unlink(),
    "layout.json from the engine": lambda path: _remove(path, "layout.json", *MANIFESTS),
    "space from the installed space minilm-concepts": lambda path: shutil.rmtree(path / "space"),
}


@pytest.mark.parametrize("name", LOST)
def test_a_lost_file_is_restored(path: Path, name: str) -> None:
    expected = _search(path)
    LOST[name](path)
    with pytest.raises((DamageError, NotFoundError), match=r"saeindex doctor .*it\.idx --repair"):
        FeatureIndex.open(path)
    assert name in FeatureIndex.repair(path).restored
    assert _search(path) == expected
    with FeatureIndex.open(path) as index:
        assert index.manifest.counts.records == index.count() == 21
        assert index.add([Record("new", "a new text")]).indexed == 1


def test_a_manifest_made_anew_keeps_splitting_texts(path: Path) -> None:
    _remove(path, *MANIFESTS)
    FeatureIndex.repair(path)
    with FeatureIndex.open(path) as index:
        assert index.passages is not None


def test_a_damaged_vector_is_encoded_again(path: Path) -> None:
    expected = _search(path)
    file = _file(path, "vectors/chunk_0")
    with file.open("r+b") as opened:  # every vector's first values
        content = opened.read(384 * 4 * 40)
        for start in range(0, len(content), 384 * 4):
            opened.seek(start)
            opened.write(b"\x01")
    with pytest.raises(DamageError, match=r"chunk_0\.mmap has other content"):
        _search(path)
    (path / "seal.json").unlink()  # as after a killed writer
    with pytest.raises(DamageError, match="vector dense"), FeatureIndex.open(path) as index:
        index.search("galaxies", explain=True)
    report = FeatureIndex.repair(path)
    assert report.is_rebuilt
    assert "long" in report.encoded_again
    assert len(report.encoded_again) > 15
    assert not report.lost
    assert _search(path) == expected
    assert _is_sound(path)


def test_a_record_whose_text_is_damaged_is_taken_out_and_comes_back(path: Path) -> None:
    _change_text(path, "r13", 0, "Vaccines protect children from weasels. 13")
    report = FeatureIndex.repair(path)
    assert report.lost == ("r13",)
    assert report.missing == 0
    kept = json.loads((path / "damaged.jsonl").read_text())
    assert (kept["id"], kept["damaged"]) == ("r13", ["text"])
    assert "weasels" in kept["payload"]["text"]
    assert _is_sound(path)
    with FeatureIndex.open(path) as index:
        assert index.count() == index.manifest.counts.records == 20
        again = index.add(
            [Record(f"r{n}", f"{TEXTS[n % 5]} {n}", {"n": n, "score": n / 7}) for n in range(20)]
        )
        assert (again.indexed, again.unchanged) == (1, 19)


def test_a_split_record_with_a_damaged_passage_is_taken_out_whole(path: Path) -> None:
    _change_text(path, "long", 3, "Another passage.")
    report = FeatureIndex.repair(path)
    assert report.lost == ("long",)
    with FeatureIndex.open(path) as index:
        assert index.store.count() == 20
    assert _is_sound(path)


@pytest.mark.parametrize(
    "name", ["edge_config.json", "segment.json", "payload_index/config.json", "concepts-map"]
)
def test_files_of_the_engine_are_made_anew(path: Path, name: str) -> None:
    expected = _search(path)
    file = _file(path, name)
    file = next(file.rglob("page_0.dat")) if file.is_dir() else file
    os.truncate(file, file.stat().st_size // 2)
    with pytest.raises(DamageError, match="--repair"):
        FeatureIndex.open(path)
    report = FeatureIndex.repair(path)
    assert report.is_rebuilt
    assert _search(path) == expected
    assert _is_sound(path)


def test_facets_that_lie_without_a_seal_are_found_and_made_anew(path: Path) -> None:
    (path / "seal.json").unlink()
    index = _file(path, "concepts-map/page_0.dat")
    content = bytearray(index.read_bytes())
    used = [n for n, byte in enumerate(content) if byte]
    for n in used[4:200:8]:
        content[n] ^= 1
    index.write_bytes(content)
    with FeatureIndex.open(path) as opened:
        assert Examination.of(opened.store, opened.space.n_features).wrong_facets(opened.store)
    assert FeatureIndex.repair(path).is_rebuilt
    assert _is_sound(path)


def test_an_index_of_an_earlier_version_gets_checksums(path: Path) -> None:
    layout = path / "layout.json"
    kept = {key: value for key, value in json.loads(layout.read_text()).items() if "checksum" not in key}
    layout.write_text(json.dumps(kept))
    assert FeatureIndex.repair(path).is_rebuilt
    with FeatureIndex.open(path) as index:
        assert index.store.has_checksums  # type: ignore[attr-defined]


def test_a_space_that_is_not_installed_cannot_be_restored(path: Path, space: FeatureSpace) -> None:
    manifest = json.loads((path / "manifest.json").read_text())
    manifest.pop("checksum")
    manifest["space"]["name"] = "mine"
    for name in MANIFESTS:
        (path / name).write_text(json.dumps(manifest))
    shutil.rmtree(path / "space")
    with pytest.raises(DamageError, match=r"Restore the folder .*space"):
        FeatureIndex.repair(path)


def test_what_is_no_index_or_is_open_is_refused(path: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no such directory"):
        FeatureIndex.repair(tmp_path / "nowhere")
    with FeatureIndex.open(path), pytest.raises(IndexLockedError):
        FeatureIndex.repair(path)
    shutil.rmtree(path / "points")
    with pytest.raises(DamageError, match="'points' is missing"):
        FeatureIndex.repair(path)


def test_a_changed_manifest_is_refused(path: Path) -> None:
    manifest = path / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"records": 21', '"records": 29'))
    with pytest.raises(MismatchError, match=r"not what was written.*--repair"):
        FeatureIndex.open(path)
    FeatureIndex.repair(path)
    with FeatureIndex.open(path) as index:
        assert index.manifest.counts.records == 21


def test_the_command_says_what_it_did(path: Path) -> None:
    _change_text(path, "r13", 0, "Vaccines protect children from weasels. 13")
    found = called("doctor", str(path), code=1)
    (records,) = [check for check in found["checks"] if check["name"] == "records"]
    assert not records["is_well"]
    assert "record 'r13' (text)" in records["seen"]
    repaired = called("doctor", str(path), "--repair", code=1)
    assert repaired["repair"]["lost"] == ["r13"]
    assert repaired["well"]
    assert called("doctor", str(path))["well"]


# On a server ------------------------------------------------------------------------------------------


def test_a_collection_on_a_server_is_repaired_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    client = QdrantClient(":memory:")
    with FeatureIndex.create("shared", client=client) as index:
        index.add([Record(f"r{n}", f"{TEXTS[n % 5]} {n}", {"n": n}) for n in range(10)])
        hits = index.search(TEXTS[0], limit=4, using="sae")
        sound = [hit.id for hit in hits if hit.id != "r1"][:3]  # which will be lost
    client.set_payload("shared", {"text": "changed"}, points=[point_id("r1")])
    other = PointVectors(id=point_id("r5"), vector={SAE: SparseVector(indices=[1], values=[1.0])})
    client.update_vectors("shared", [other])
    client.upsert("shared", [PointStruct(id=7, vector={DENSE: [0.05] * 384}, payload={"who": "another"})])
    with FeatureIndex.open("shared", client=client) as index, pytest.raises(DamageError, match="--url URL"):
        index.search("measles", limit=20)
    report = FeatureIndex.repair("shared", client=client)
    assert (report.encoded_again, report.lost, report.points) == (("r5",), ("r1", "point 7"), 9)
    assert report.missing == 0
    rows = [json.loads(line) for line in (tmp_path / "shared.damaged.jsonl").read_text().splitlines()]
    assert [(row["id"], row["payload"].get("who")) for row in rows] == [("r1", None), (None, "another")]
    with FeatureIndex.open("shared", client=client) as index:
        assert [hit.id for hit in index.search(TEXTS[0], limit=3, using="sae")] == sound
        assert len(index.search("measles", limit=20)) == len(index) == 9
    assert FeatureIndex.repair("shared", client=client).lost == ()
