"""The rejects file: one line for each invalid record, also after repeated runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from saeindex import FeatureIndex, FeatureSpace
from saeindex.errors import RejectedError
from saeindex.indexing.pipeline import IndexingReport
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
    kinds = ("empty", "no field 'x'", "odd", "a list", "null", "a dict", "a set", "a bool")
    bad = [Rejected(f"a:{n}", kinds[n % 8]) for n in range(10)]
    bad += [Rejected("b", "no field 'y'")]
    report(path, "a", *bad, Rejected("a:11", "the compressed file is truncated: the rest is lost"))
    assert reasons(rejects_in(path, "a")) == (
        "1 × the compressed file is truncated: the rest is lost (first: a:11)",
        "3 × no field 'x' (first: a:1)",
        "2 × empty (first: a:0)",
        "1 × odd (first: a:2)",
        "1 × a list (first: a:3)",
        "4 × other reasons",
    )


def run(tmp_path: Path, space: FeatureSpace, rows: list[dict[str, object]], **options: Any) -> IndexingReport:
    with FeatureIndex(tmp_path / "index", space=space, encoder=RandomEncoder(space.encoder)) as index:
        return index.upsert(rows, **options)


def test_a_run_that_rejects_a_tenth_writes_the_rest_and_raises_with_its_report(
    tmp_path: Path, space: FeatureSpace
) -> None:
    rows: list[dict[str, object]] = [{"id": n, "text": f"text {n}"} for n in range(10)]
    assert run(tmp_path, space, [*rows, {"id": 10, "text": ""}]).rejected == 1  # one of 11
    rows[3]["text"] = None
    with pytest.raises(
        RejectedError, match=r"1 of 10 records were rejected: 1 × the text is empty"
    ) as caught:
        run(tmp_path, space, rows)
    report = caught.value.report
    assert (report.read, report.unchanged, report.rejected) == (10, 9, 1)
    assert run(tmp_path, space, rows, allow_rejects=True).rejected == 1
    with pytest.raises(RejectedError):
        run(tmp_path, space, [{"id": 1, "text": " "}])
    assert run(tmp_path, space, []).read == 0
