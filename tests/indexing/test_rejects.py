"""The rejects file: one line for each invalid record, also after repeated runs."""

from __future__ import annotations

import json
from pathlib import Path

from saeindex import FeatureIndex, FeatureSpace
from saeindex.indexing.rejects import RejectsFile, reasons, rejects_in
from saeindex.protocols import Rejected
from tests.samples import RandomEncoder


def report(path: Path, source: str, *rejected: Rejected) -> None:
    with RejectsFile(path, source) as file:
        for one in rejected:
            file.add(one)


def lines(path: Path) -> list[dict[str, str | None]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_without_rejects_there_is_no_file(tmp_path: Path) -> None:
    report(tmp_path / "rejects.jsonl", "a.jsonl")
    assert not (tmp_path / "rejects.jsonl").exists()


def test_a_line_has_source_position_reason_and_id(tmp_path: Path) -> None:
    path = tmp_path / "rejects.jsonl"
    report(path, "a.jsonl", Rejected("a.jsonl:7", "the text is empty", "ключ\u2028"))
    assert lines(path) == [
        {"source": "a.jsonl", "position": "a.jsonl:7", "reason": "the text is empty", "id": "ключ\u2028"}
    ]


def test_a_repeated_run_replaces_its_source_s_lines_and_keeps_the_others(tmp_path: Path) -> None:
    path = tmp_path / "rejects.jsonl"
    report(path, "a.jsonl", Rejected("a:1", "bad"), Rejected("a:2", "bad"))
    report(path, "b.jsonl", Rejected("b:1", "bad"))
    report(path, "a.jsonl", Rejected("a:2", "still bad"))
    assert [(line["position"], line["reason"]) for line in lines(path)] == [
        ("b:1", "bad"),
        ("a:2", "still bad"),
    ]
    report(path, "b.jsonl")
    report(path, "a.jsonl")
    assert not path.exists()


def test_lines_are_on_disk_as_soon_as_they_are_added(tmp_path: Path) -> None:
    path = tmp_path / "rejects.jsonl"
    with RejectsFile(path, "a.jsonl") as file:
        file.add(Rejected("a:1", "bad"))
        assert len(lines(path)) == 1


def test_a_line_truncated_by_a_crash_does_not_damage_the_next(tmp_path: Path) -> None:
    path = tmp_path / "rejects.jsonl"
    path.write_text('{"source": "a.jsonl", "posi')
    for _ in range(2):
        report(path, "a.jsonl", Rejected("a:1", "bad"))
        cut, whole = path.read_text().splitlines()
        assert cut == '{"source": "a.jsonl", "posi'
        assert json.loads(whole)["position"] == "a:1"


def test_reasons_are_counted_and_lost_files_come_first(tmp_path: Path) -> None:
    path = tmp_path / "rejects.jsonl"
    report(path, "other", Rejected("other:1", "bad"))
    bad = [Rejected(f"a:{n}", f"reason {n % 4}") for n in range(10)]
    report(path, "a", *bad, Rejected("a:11", "the compressed file is truncated: the rest is lost"))
    assert reasons(rejects_in(path, "a")) == (
        "1 × the compressed file is truncated: the rest is lost (first: a:11)",
        "3 × reason 0 (first: a:0)",
        "3 × reason 1 (first: a:1)",
        "and 2 other reasons",
    )


def test_a_text_without_an_id_that_comes_twice_is_called_a_text(tmp_path: Path, space: FeatureSpace) -> None:
    with FeatureIndex.create(tmp_path / "index", space, encoder=RandomEncoder(space.encoder)) as index:
        report = index.upsert([{"text": "It rains."}, {"text": "It rains."}])
        assert (report.indexed, report.rejected) == (1, 1)
        assert (
            "record 1 of this source has the same text, and neither has an id"
            in index.state.rejects_path.read_text()
        )
