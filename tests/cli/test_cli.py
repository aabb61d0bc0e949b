"""The command line as people and programs use it: real processes, real index, JSON out, exit codes."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from saeindex import FeatureIndex, Record, __version__
from saeindex.cli import main
from saeindex.protocols import Point

TEXTS = {
    "dark-matter": "Dark matter halos and the rotation curves of spiral galaxies",
    "n-body": "Numerical simulation of galaxy formation with many particles",
    "bert": "Deep neural networks for natural language processing",
    "sad": "I feel terribly sad and lonely today",
    "refund": "How do I get a refund for my broken phone?",
    "flu": "Symptoms of influenza include fever, cough and a sore throat",
    "groups": "We prove a theorem on the cohomology of finite groups",
    "numpy": "Sort an array along an axis and return the indices",
}


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


def call(*arguments: str, cwd: Path | None = None, columns: int = 120) -> Done:
    """Run the command line in this process, with the same output and exit code."""
    out, err = io.StringIO(), io.StringIO()
    code: object = 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["saeindex", *arguments])
        patch.setenv("COLUMNS", str(columns))
        patch.chdir(cwd or Path.cwd())
        try:
            main()
        except SystemExit as stopped:
            code = stopped.code or 0
    assert isinstance(code, int)
    return Done(code, out.getvalue(), err.getvalue())


def called(*arguments: str, code: int = 0) -> Any:
    done = call(*arguments, "--json")
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cli") / "notes.jsonl"
    lines = [{"id": key, "text": text, "metadata": {"length": len(text)}} for key, text in TEXTS.items()]
    path.write_text("\n".join(map(json.dumps, lines)) + '\n{"id": "bad"}\n')
    return path


@pytest.fixture(scope="module")
def index(source: Path) -> str:
    into = str(source.with_name("notes.idx"))
    report = called("index", str(source), "--into", into, "--allow-rejects")
    assert (report["indexed"], report["rejected"]) == (len(TEXTS), 1)
    return into


def test_indexing_reports_rejects_and_skips_unchanged_records(source: Path, index: str) -> None:
    report = called("index", str(source), "--into", index, code=3)
    assert (report["indexed"], report["unchanged"], report["rejected"]) == (0, len(TEXTS), 1)
    rejects = [json.loads(line) for line in Path(report["rejects"]).read_text().splitlines()]
    assert [(line["id"], line["position"]) for line in rejects] == [("bad", "notes.jsonl:9")]
    assert "text" in rejects[0]["reason"]


def test_columns_are_said_first_and_strict_fails_on_rejects(source: Path, index: str, tmp_path: Path) -> None:
    strict = call("index", str(source), "--into", index, "--strict", "--allow-rejects")
    assert (strict.returncode, "1 rejected" in strict.stdout) == (1, True)
    table, folder = tmp_path / "reviews.csv", tmp_path / "texts"
    table.write_text("review_id,review,stars,place\n1,very good,5,here\n2,bad,1,there\n")
    folder.mkdir()
    (folder / "one.txt").write_text("rain")
    into = str(tmp_path / "reviews.idx")
    done = call("index", str(table), "--into", into, "--strict", "--metadata-fields", "stars")
    first = done.stderr.splitlines()[0]
    assert done.returncode == 0
    assert first == "reviews.csv: text = review; id = review_id; metadata = stars"
    done = call("index", str(table), str(folder), "--into", into, "--id-field", "review_id")
    assert done.stderr.splitlines()[:2] == [
        "reviews.csv: text = review; id = review_id; metadata = stars, place",
        "one.txt: whole files, with their paths as ids",
    ]


def test_search_json_has_the_fields_of_the_contract(index: str) -> None:
    found = called("search", index, "galaxies", "--limit", "3", "--explain")
    assert set(found) >= {"query", "plan", "drift", "hits", "timings_ms"}
    assert found["query"]["text"] == "galaxies"
    assert found["drift"] == 0.0
    assert len(found["hits"]) == 3
    assert found["hits"][0]["id"] in {"dark-matter", "n-body"}
    for hit in found["hits"]:
        assert set(hit) >= {"id", "score", "text", "metadata", "features", "explanation"}
        assert set(hit["features"][0]) == {"id", "label", "activation", "is_weak", "evidence"}
        assert hit["features"][0]["evidence"] >= 0.5
        parts = hit["explanation"]["parts"]
        assert set(parts[0]) == {"kind", "feature", "label", "value", "is_weak"}
        assert hit["explanation"]["total"] == pytest.approx(hit["score"], abs=1e-5)
        assert sum(part["value"] for part in parts) == pytest.approx(hit["score"], abs=1e-5)


def test_search_prints_its_analysis(index: str) -> None:
    arguments = ("search", index, "galaxies", "--where", "metadata.length > 45", "--analyze")
    found = called(*arguments)
    stages = {stage["name"]: stage for stage in found["analysis"]["stages"]}
    longer = sum(len(text) > 45 for text in TEXTS.values())
    assert found["analysis"]["matching_points"] == stages["filter, counted"]["actual"] == longer
    assert stages["hits"]["actual"] == len(found["hits"]) == longer
    shown = call(*arguments).stdout
    assert f"Filter: {longer} of 8 points match" in shown
    assert "Ran in " in shown


def test_search_filters_by_concept_and_by_native_filter(index: str) -> None:
    everything = called("search", index, "science", "--limit", "20")["hits"]
    feature = everything[0]["features"][0]["id"]
    with_it = called("search", index, "science", "--where", f"#{feature}", "--limit", "20")["hits"]
    without = called("search", index, "science", "--where", f"NOT #{feature}", "--limit", "20")["hits"]
    assert everything[0]["id"] in {hit["id"] for hit in with_it}
    assert {hit["id"] for hit in with_it} | {hit["id"] for hit in without} == set(TEXTS)
    assert not {hit["id"] for hit in with_it} & {hit["id"] for hit in without}
    long = '{"must": [{"key": "metadata.length", "range": {"gte": 58}}]}'
    hits = called("search", index, "science", "--filter", long, "--limit", "20")["hits"]
    assert {hit["id"] for hit in hits} == {key for key, text in TEXTS.items() if len(text) >= 58}


def test_steering_moves_the_query_and_reports_drift(index: str) -> None:
    feature = called("search", index, "galaxies", "--limit", "1")["hits"][0]["features"][0]["id"]
    steered = called("search", index, "galaxies", f"--steer=-#{feature}:1")
    assert 0 < steered["drift"] < 0.5
    (steer,) = steered["query"]["steer"]
    assert (steer["target"], steer["strength"]) == (f"#{feature}", -1.0)
    still = called("search", index, "galaxies", "--steer", f"+#{feature}:0")
    plain = called("search", index, "galaxies")
    assert still["drift"] == 0.0
    assert still["hits"] == plain["hits"]


def test_a_search_explains_its_words(index: str) -> None:
    found = called("search", index, "galaxies", "--using", "fused", "--explain")
    for hit in found["hits"]:
        parts = hit["explanation"]["parts"]
        assert sum(part["value"] for part in parts) == pytest.approx(hit["score"], abs=1e-5)
        words = [part["label"] for part in parts if part["kind"] == "word"]
        assert words == (["galaxies"] if "galax" in hit["text"] else [])
    shown = call("search", index, "galaxies", "--using", "fused", "--explain", "--limit", "1").stdout
    assert "word: galaxies" in shown
    assert "not in the dictionary" in shown


def test_a_selection_does_not_need_a_text(index: str) -> None:
    every = called("search", index, "--where", "NOT #0", "--limit", "20")["hits"]
    assert {hit["id"] for hit in every} <= set(TEXTS)
    assert {hit["score"] for hit in every} == {0.0}


def test_clauses_and_steering_are_explained(index: str) -> None:
    feature = called("search", index, "galaxies", "--limit", "1")["hits"][0]["features"][0]["id"]
    command = ["search", index, "galaxies", "--where", f"#{feature}", f"--steer=+#{feature}:1", "--explain"]
    for rank, hit in enumerate(called(*command)["hits"], 1):
        clause = {"text": f"#{feature}", "matched": True, "features": [feature]}
        assert hit["explanation"]["clauses"] == [clause]
        assert hit["steered"]["rank_after"] == rank
    shown = call(*command).stdout
    assert f"✓ #{feature}" in shown
    assert "unsteered 1" in shown


def test_groups_are_printed_under_their_value(index: str) -> None:
    command = [
        "search",
        index,
        "galaxies",
        "--group-by",
        "metadata.length",
        "--group-by-size",
        "1",
        "--limit",
        "3",
    ]
    found = called(*command)
    assert [group["hits"] for group in found["groups"]] == [[hit["id"]] for hit in found["hits"]]
    assert [group["value"] for group in found["groups"]] == [len(TEXTS[h["id"]]) for h in found["hits"]]
    assert f"metadata.length = {found['groups'][0]['value']}" in call(*command).stdout


def test_two_records_are_compared(index: str) -> None:
    command = ["search", index, "galaxies", "--compare", "dark-matter", "sad", "--limit", "1"]
    comparison = called(*command)["comparison"]
    assert (comparison["a"], comparison["b"]) == ("dark-matter", "sad")
    total = sum(part["a"] - part["b"] for part in comparison["differences"])
    assert total == pytest.approx(comparison["score_a"] - comparison["score_b"], abs=1e-5)
    shown = call(*command).stdout
    assert f"dark-matter is {abs(total):.4f} above sad" in shown
    assert shown.count("|") >= 2
    assert call("search", index, "galaxies", "--compare", "dark-matter", "nobody").returncode == 2


def test_facets_and_suggestions_are_printed_with_the_hits(index: str) -> None:
    command = ["search", index, "galaxies", "--facets", "--suggest", "--diversity", "0.3", "--timeout", "60"]
    found = called(*command)
    assert isinstance(found["facets"], list)
    assert isinstance(found["suggestions"], list)
    shown = call(*command).stdout
    assert "More frequent in these results" in shown
    assert "In a part of the results" in shown


def test_a_search_that_takes_too_long_exits_3(index: str) -> None:
    done = call("search", index, "galaxies", "--timeout", "0.000001")
    assert (done.returncode, done.stdout) == (3, "")
    assert "Raise the timeout" in done.stderr


def test_features_feature_info_and_doctor_answer_in_json(index: str) -> None:
    matches = called("features", index, "galaxies", "--limit", "5")["features"]
    assert len(matches) == 5
    assert matches == sorted(matches, key=lambda match: -match["score"])
    card = called("feature", index, str(matches[0]["id"]))
    assert (card["id"], card["label"]) == (matches[0]["id"], matches[0]["label"])
    assert card["records_at_level"][0] == matches[0]["records"]
    assert called("info", index)["records"] == len(TEXTS)
    checks = called("doctor", index)["checks"]
    assert {check["name"] for check in checks} >= {"encoder", "store", "counts", "records", "codes"}
    assert all(check["is_well"] for check in checks)


def test_a_level_is_that_of_a_condition(index: str) -> None:
    shown = called("search", index, "galaxies")["hits"][0]["features"]
    faint = min(shown, key=lambda one: one["evidence"] or 1.0)["id"]
    search = ("search", index, "galaxies", "--where", f"NOT #{faint}", "--where-level")
    assert called(*search, "strong")["hits"] != called(*search, "present")["hits"]
    done = call("search", index, "galaxies", "--where-level", "typical")
    assert done.returncode == 2 and "no --where" in done.stderr


def test_doctor_names_documents_and_points_that_are_not_whole(tmp_path: Path) -> None:
    with FeatureIndex(tmp_path / "notes.idx") as opened:
        opened.upsert([Record("long", "It rains in the hills. " * 20), Record("whole", "Dry.")], split=40)
        opened.delete([opened.get(documents=["long"], include=())[1].id])
    done = call("doctor", "notes.idx", cwd=tmp_path)
    assert done.returncode == 1
    assert "1 document not complete: 'long': records of it were deleted" in " ".join(done.stdout.split())
    with FeatureIndex(tmp_path / "notes.idx") as opened:
        store = opened.state.store
        every = store.scroll(with_vectors=["dense", "sae"]).points
        wordless = [one for one in every if one.payload["text"] == "Dry."]
        store.upsert([*wordless, Point(7, {}, {"note": "of another program"})])
    checks = {
        check["name"]: check for check in called("doctor", str(tmp_path / "notes.idx"), code=1)["checks"]
    }
    assert checks["records"]["seen"].startswith("1 points lack a part of a record: '7'")
    assert not checks["counts"]["is_well"]
    assert not checks["codes"]["is_well"] and checks["codes"]["seen"].endswith("1 with other words")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["search", "nowhere.idx", "text"], 2, "nowhere.idx"),
        (["search", "INDEX", "text", "--wrong"], 2, "--wrong"),
        (["search", "INDEX", "text", "--where", '"zzyzx qwfp"'], 2, "Nearest: #"),
        (["search", "INDEX", "text", "--where", '"a" AND'], 2, "column 8"),
        (["search", "INDEX", "text", "--where", "#999999"], 2, "#999999"),
        (["search", "INDEX", "text", "--steer", "theory"], 2, "+ or -"),
        (["search", "INDEX", "text", "--filter", '{"musst": []}'], 2, "musst"),
        (["search", "INDEX", "", "--json"], 2, "empty"),
        (["search", "INDEX", "text", "--limit", "0"], 2, "limit"),
        (["search", "INDEX", "text", "--group-by", "topic"], 2, "metadata.topic"),
        (["search", "INDEX", "text", "--diversity", "2"], 2, "diversity"),
        (["search", "INDEX", "text", "--using", "sum"], 2, "using"),
        (["search", "INDEX", "text", "--timeout", "0"], 2, "timeout"),
        (["search", "INDEX"], 2, "text"),
        (["feature", "INDEX", "galaxies"], 2, "no feature has this name"),
        (["index", "nothing.jsonl", "--into", "never.idx"], 2, "nothing.jsonl"),
        (["info", "nowhere.idx"], 2, "nowhere.idx"),
        (["doctor", "nowhere.idx"], 1, "nowhere.idx"),
    ],
)
def test_errors_have_a_remedy(
    index: str, arguments: list[str], code: int, message: str, tmp_path: Path
) -> None:
    done = call(*[index if a == "INDEX" else a for a in arguments], cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert message in done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_search_without_hits_exits_1_and_still_prints_json(index: str) -> None:
    nothing = '{"must": [{"key": "metadata.length", "range": {"gte": 10000}}]}'
    assert called("search", index, "galaxies", "--filter", nothing, code=1)["hits"] == []


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--offset", "500"], "No record comes after the first 500 (--offset)."),
        (["--score-threshold", "2"], "No record scores 2.0 or more (--score-threshold)."),
        (
            ["--where", "metadata.length > 9999"],
            "No record fulfils the condition (try a wider one, or see --plan).",
        ),
        (["--group-by", "metadata.yaer"], "No record has metadata.yaer (--group-by)."),
    ],
)
def test_a_search_without_hits_says_which_option_left_none(
    index: str, options: list[str], reason: str
) -> None:
    done = call("search", index, "galaxies", *options)
    assert done.returncode == 1
    assert reason in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("options", "cure"),
    [
        (["--group-by-size", "5"], "Give --group-by, or leave --group-by-size out."),
        (["--steer-method", "clamp"], "Give --steer, or leave --steer-method out."),
        (["--where", "#5", "--where-resolve", "nonsense"], "Use 'strict' or 'best'."),
    ],
)
def test_an_option_that_does_nothing_is_an_error(index: str, options: list[str], cure: str) -> None:
    done = call("search", index, "galaxies", *options)
    assert (done.returncode, cure in " ".join(done.stderr.split())) == (2, True), done.stderr


def test_an_export_of_nothing_and_an_absent_id_are_said(index: str, tmp_path: Path) -> None:
    target = tmp_path / "none.jsonl"
    done = call("export", index, "--to", str(target), "--where", "metadata.length > 9999")
    assert (done.returncode, target.exists()) == (1, False)
    assert "Nothing was written: no record matches." in done.stdout
    found = called("delete", index, "--id", "no such", "--yes", code=1)
    assert found == {"deleted": 0, "missing": ["no such"]}
    assert "Not in the index: no such." in call("delete", index, "--id", "no such", "--yes").stderr


def test_long_texts_are_split_and_found_by_document(tmp_path: Path) -> None:
    (tmp_path / "long.jsonl").write_text(
        "".join(
            json.dumps({"id": name, "text": f"{subject} It goes on for a while. " * 60}) + "\n"
            for name, subject in (("tea", "Green tea is steeped."), ("sea", "The waves of the sea rise."))
        )
    )
    into = str(tmp_path / "long.idx")
    warned = call("index", "long.jsonl", "--into", into, cwd=tmp_path)
    longer = "texts longer than the 254 tokens that the encoder reads: 2. Use --split 254"
    assert longer in warned.stderr and called("info", into)["truncated"] == 2
    assert called("info", into)["evidence"] == 3_766
    assert "3,766 are found by what each sentence says" in call("info", into).stdout
    assert longer in call("index", "long.jsonl", "--into", into, cwd=tmp_path).stderr
    done = call("index", "long.jsonl", "--into", into, "--split", "100", cwd=tmp_path)
    assert (done.returncode, done.stderr.count("Warning")) == (0, 0)
    info = called("info", into)
    assert (info["documents"], info["truncated"], info["records"] > 10) == (2, 0, True)
    (tmp_path / "new.jsonl").write_text('{"id": "new", "text": "A new text."}')
    assert "texts that were split" in call("index", "new.jsonl", "--into", into, cwd=tmp_path).stderr
    assert called("delete", into, "--id", "new", "--yes")
    found = called("search", into, "ocean")
    assert [group["value"] for group in found["groups"]] == ["sea", "tea"]
    assert len(found["hits"]) == 2
    each = called("search", into, "ocean", "--group-by", "none", "--limit", "4")
    assert {hit["document"] for hit in each["hits"]} == {"sea"}
    pieces = called("get", into, "--document", "sea")["records"]
    assert (
        "".join(piece["text"] for piece in pieces)
        == "The waves of the sea rise. It goes on for a while. " * 60
    )
    absent = call("get", into, "sea")
    assert (absent.returncode, "'sea': no record has this id: it is a document" in absent.stderr) == (2, True)
    asked = call("delete", into, "--where", '"waves of the sea"')
    assert (asked.returncode, "Add --yes" in asked.stderr) == (2, True)
    assert '"waves of the sea", which is the name of no concept, finds' in asked.stdout
    assert "  sea#0: The waves of the sea rise." in asked.stdout
    assert called("delete", into, "--document", "sea", "--document", "none", "--yes") == {
        "deleted": len(pieces),
        "missing": ["none"],
    }
    refused = call("index", "long.jsonl", "--into", into, "--split", "255", cwd=tmp_path)
    assert "Use 254 or less" in refused.stderr


def test_a_run_that_rejects_a_tenth_exits_3_unless_that_is_allowed(tmp_path: Path) -> None:
    rows = [{"id": n, "text": "" if n == 4 else f"text {n}"} for n in range(10)]
    (tmp_path / "some.jsonl").write_text("\n".join(map(json.dumps, rows)))
    done = call("index", "some.jsonl", "--into", "some.idx", "--json", cwd=tmp_path)
    report, error = json.loads(done.stdout), json.loads(done.stderr.splitlines()[-1])
    assert (done.returncode, report["indexed"], report["rejected"]) == (3, 9, 1)
    assert (
        error["error"] == "RejectedError" and "1 × the text is empty (first: some.jsonl:5)" in error["found"]
    )
    done = call("index", "some.jsonl", "--into", "some.idx", "--allow-rejects", cwd=tmp_path)
    assert (done.returncode, "9 unchanged, 1 rejected" in done.stdout) == (0, True)


def test_what_a_folder_leaves_out_and_what_its_pages_are_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "notes"
    folder.mkdir()
    for name in ("a.md", "b.pdf", "c.pdf", "d.pdf", "e.pdf", "f.docx"):
        (folder / name).write_text("rain")
    done = call("index", str(folder), "--into", str(tmp_path / "index"))
    assert done.returncode == 0
    assert "left out: 4 × .pdf (b.pdf, c.pdf, d.pdf, …)" in done.stdout
    assert "left out: 1 × .docx (f.docx)" in done.stdout


@pytest.mark.parametrize(
    "content",
    [
        '{"id": 1, "text": "rain"}\n{"id": 2, "text": "snow"}\n',
        '\n [{"id": 1, "text": "rain"}, {"id": 2, "text": "snow"}]',
        "\ufeffid,text\n1,rain\n2,snow\n",
    ],
)
def test_standard_input_is_read_as_lines_json_or_csv(tmp_path: Path, content: str) -> None:
    into = str(tmp_path / "index")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content.encode())))
        done = call("index", "-", "--into", into)
    assert (done.returncode, "2 indexed" in done.stdout) == (0, True), done.stderr
    assert [one["text"] for one in called("get", into, "1", "2")["records"]] == ["rain", "snow"]


def test_a_run_that_only_rejects_exits_3_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text('{"text": 1}\n{"text": 2}\n')
    done = call("index", "bad.jsonl", "--into", "bad.idx", cwd=tmp_path)
    assert done.returncode == 3
    assert "rejected: 2 × the text is an int, not a string (first: bad.jsonl:1)" in done.stdout


def test_errors_of_the_system_are_reported_in_one_line(
    index: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", "layout.json")

    monkeypatch.setattr("saeindex.index.FeatureIndex.open", refused)
    done = call("info", index)
    assert done.returncode == 3
    assert done.stderr == (
        "Error: saeindex info: Permission denied: 'layout.json'. "
        "Check the path, its permissions and the disk.\n"
    )


@pytest.mark.parametrize(("words", "expected"), [("saeindex sea", "search"), ("saeindex cop", "copy")])
def test_the_shell_completes_commands(words: str, expected: str) -> None:
    number = str(len(words.split()) - 1)
    shell = {"_SAEINDEX_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": number}
    code = "import sys; sys.argv = ['saeindex']; from saeindex.cli.app import run; run()"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **shell})
    assert expected in done.stdout.split()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_an_output_that_takes_no_more_is_an_error_in_one_line() -> None:
    program = [sys.executable, "-m", "saeindex", "list", "--json"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(program, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
    assert "No space left on device" in done.stderr


def test_characters_that_the_output_lacks_are_escaped(index: str, monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    with monkeypatch.context() as patch:
        stdout = io.TextIOWrapper(written, encoding="latin-1")
        patch.setattr(sys, "stdout", stdout)
        patch.setattr(sys, "argv", ["saeindex", "search", index, "galaxies", "--explain"])
        with pytest.raises(SystemExit) as stopped:
            main()
    assert not stopped.value.code
    stdout.flush()
    assert b"\\u2588" in written.getvalue()  # the bars of an explanation


@pytest.mark.parametrize("columns", [0, 40])
def test_names_are_never_cut_in_a_narrow_terminal(index: str, columns: int) -> None:
    shown = call("info", index, "--fields", columns=columns).stdout
    first = [line.split("  ")[0].strip() for line in shown.splitlines()]
    assert "metadata.length" in "".join(first).replace("│", "")


def test_text_output_is_readable(index: str) -> None:
    done = call("search", index, "galaxies", "--limit", "2", "--explain", "--plan")
    assert done.returncode == 0, done.stderr
    assert "limit 2" in done.stdout
    assert "█" in done.stdout
    assert "not in the dictionary" in done.stdout


def test_errors_are_json_on_stderr_with_the_json_option() -> None:
    done = call("info", "nowhere.idx", "--json")
    error = json.loads(done.stderr)
    assert (done.returncode, error["error"]) == (2, "NotFoundError")
    assert {"asked", "found", "do"} <= set(error)


def test_a_process_started_from_any_folder_gives_the_same_answer(index: str, tmp_path: Path) -> None:
    program = [sys.executable, "-c", "from saeindex.cli import main; main()"]
    folders = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": folders}
    done = subprocess.run(
        [*program, "search", index, "galaxies", "--json"],
        capture_output=True, text=True, cwd=tmp_path, env=environment, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    assert json.loads(done.stdout)["hits"] == called("search", index, "galaxies")["hits"]


def test_the_command_line_runs_as_a_module() -> None:
    command = [sys.executable, "-m", "saeindex", "--version"]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert found.stdout.strip() == f"saeindex {__version__}"


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["search", "some.idx", "stars", "--limit", "abc"], "'--limit'"),
        (["search", "some.idx", "stars", "--limits", "3"], "No such option"),
        (["search"], "Missing argument"),
        (["serach", "some.idx", "stars"], "No such command"),
        (["sae", "fit", "x.jsonl"], "Missing option"),
    ],
)
def test_a_wrong_use_is_json_where_json_is_asked_for(arguments: list[str], found: str) -> None:
    done = call(*arguments, "--json")
    assert (done.returncode, done.stdout) == (2, "")
    error = json.loads(done.stderr)
    assert error.keys() == {"error", "asked", "found", "do"}
    assert found in error["found"]
    assert "saeindex" in error["do"]
    plain = call(*arguments)
    assert plain.returncode == 2
    assert found in " ".join(plain.stderr.split())


def test_metadata_is_printed_whatever_the_text_is(tmp_path: Path) -> None:
    with FeatureIndex(tmp_path / "index") as opened:
        opened.upsert([Record("5", "good", {"stars": 5, "mood": "good", "id": "5"})])
    assert "5 · stars=5 · mood=good · id=5" in call("search", str(tmp_path / "index"), "good").stdout


def test_indexing_says_which_columns_are_taken(tmp_path: Path) -> None:
    path, into = tmp_path / "r.csv", str(tmp_path / "index")
    path.write_text("Title,Review Text,Stars\nNice,The soup was warm and the staff was kind.,5\n")
    taken = "r.csv: text = Review Text; id = made of each row; metadata = Title, Stars"
    done = call("index", str(path), "--into", into, "--json")
    assert taken in done.stderr and json.loads(done.stdout)["columns"] == [taken]
    assert taken not in call("index", str(path), "--into", into, "--text-field", "Title").stderr


def test_an_option_that_is_taken_once_is_given_once(index: str) -> None:
    once = call("search", index, "rain", "--where", "metadata.year > 1", "--where", "#5")
    assert once.returncode == 2 and "--where twice" in once.stderr
    assert called("search", index, "rain", "--exclude", "a", "--exclude", "b")["hits"]
    assert called("search", index, "rain", "--steer=+music:0.2", "--steer", "-rain:0.2")["hits"]
