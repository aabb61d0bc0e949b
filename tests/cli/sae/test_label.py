"""``saeindex sae label``: lexical labels, labels of a language model on loopback, and manual labels."""

from __future__ import annotations

import io
import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from saeindex import FeatureSpace
from saeindex.config import DEFAULT_SPACE
from saeindex.features import FeatureLabel
from saeindex.features.labelling import NO_BETTER, glosses
from saeindex.sae import TrainingConfig
from tests.cli.test_cli import Done, call, called
from tests.llm.chat_service import KEY, ChatService, is_interpreter, running_service
from tests.samples import RecordingEncoder, sample_records, write_records

RECORDS = sample_records(900, seed=40)
CONFIG = TrainingConfig(n_features=32, k=8, steps=80, batch_size=256)


@pytest.fixture(scope="module")
def space_folder(tmp_path_factory: pytest.TempPathFactory, session_encoder: RecordingEncoder) -> Path:
    texts = [record.text for record in RECORDS]
    x = session_encoder.encode_document(texts)
    space = FeatureSpace.fit(
        texts, config=CONFIG, encoder=session_encoder, embeddings=x, name="small", concepts=[]
    )
    return space.save(tmp_path_factory.mktemp("label") / "small")


@pytest.fixture(autouse=True)
def _environment(session_encoder: RecordingEncoder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Load the encoder once, use a cache per test, and set a key in the environment."""
    for module in ("encoders", "features.feature_space"):
        monkeypatch.setattr(f"saeindex.{module}.open_encoder", lambda *_, **__: session_encoder)
    monkeypatch.setenv("SAEINDEX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


@pytest.fixture
def space(space_folder: Path, tmp_path: Path) -> str:
    return str(shutil.copytree(space_folder, tmp_path / "space"))


@pytest.fixture
def corpus(tmp_path: Path) -> str:
    return str(write_records(tmp_path / "texts.jsonl", RECORDS))


@pytest.fixture
def service() -> Iterator[ChatService]:
    with running_service() as service:
        service.default_reply = lambda body: (
            '{"label": "some phrase"}'
            if is_interpreter(body)
            else json.dumps({"scores": [50] * _count_texts(body)})
        )
        yield service


def _count_texts(body: dict[str, Any]) -> int:
    return sum(line.startswith('{"n"') for line in body["messages"][-1]["content"].splitlines())


def llm(space: str, corpus: str, service: ChatService, *more: str) -> list[str]:
    return ["sae", "label", space, corpus, "--method", "llm", "--url", service.url, "--model", "m", *more]


def test_manual_labels_are_set_in_place_and_are_not_weak(space: str) -> None:
    before = FeatureSpace.load(space)
    found = called("sae", "label", space, "--set", "3=the oven", "--set", "#5=late trains")
    after = FeatureSpace.load(space)
    assert [after.labels[i] for i in (3, 5)] == [
        FeatureLabel("the oven", "manual"), FeatureLabel("late trains", "manual"),
    ]  # fmt: skip
    assert after.labels[4] == before.labels[4]
    assert found["fingerprint"] == after.fingerprint == before.fingerprint
    first = found["changed"][0]
    assert (first["id"], first["label"], first["method"], first["is_weak"]) == (
        3,
        "the oven",
        "manual",
        False,
    )
    assert first["before"]["label"] == before.labels[3].text
    assert found["labels"]["methods"] == {"lexical": 30, "manual": 2}
    assert "#3 the oven door; was the oven" in call("sae", "label", space, "--set", "3=the oven door").stdout
    assert called("sae", "label", space, "--set", "3=the oven door", code=1)["changed"] == []


def test_manual_labels_are_read_from_a_file_and_measured_on_texts(
    space: str, corpus: str, tmp_path: Path
) -> None:
    names = tmp_path / "names.jsonl"
    names.write_text('{"id": 3, "label": "the oven"}\n\n{"id": 5, "label": "late trains"}\n')
    measured = next(i for i, label in enumerate(FeatureSpace.load(space).labels) if label.trust is not None)
    found = called(
        "sae",
        "label",
        space,
        corpus,
        "--from",
        str(names),
        "--set",
        f"{measured}=said here",
        "--set",
        "5=won",
    )
    labels = FeatureSpace.load(space).labels
    assert [labels[i].text for i in (3, 5)] == ["the oven", "won"]
    assert labels[measured].trust is not None
    assert {change["id"] for change in found["changed"]} == {3, 5, measured}


def test_only_line_feeds_end_a_line_of_a_file_of_labels(space: str, tmp_path: Path) -> None:
    names = tmp_path / "names.jsonl"
    names.write_text(
        '\ufeff{"id": 3, "label": "the oven"}\r\n{"id": 5, "label": "\x85late trains\u2028"}\r\n', "utf-8"
    )
    called("sae", "label", space, "--from", str(names))
    assert [FeatureSpace.load(space).labels[i].text for i in (3, 5)] == ["the oven", "late trains"]


def test_another_corpus_gives_new_labels_except_manual_ones(space: str, corpus: str, tmp_path: Path) -> None:
    called("sae", "label", space, "--set", "3=the oven")
    into = tmp_path / "new"
    found = called("sae", "label", space, corpus, "--into", str(into), "--features", "0-14")
    assert FeatureSpace.load(into).labels[3].text == "the oven"
    assert found["left"] == [{"id": 3, "reason": "named by hand"}]
    assert {change["id"] for change in found["changed"]} <= {*range(15)} - {3}
    assert found["labels"]["control_auroc"] is not None
    assert FeatureSpace.load(space).labels[3].text == "the oven"


def test_names_of_concepts_are_left_unless_their_features_are_named(space: str, corpus: str) -> None:
    before = FeatureSpace.load(space)
    concept = FeatureLabel("food", "concept", 0.9, 0.8, "what is eaten")
    replace(before, labels=(concept, *before.labels[1:])).save(Path(space))
    done = call("sae", "label", space, corpus)
    assert "1 left: named by a concept: give its number with --features" in " ".join(done.stdout.split())
    assert FeatureSpace.load(space).labels[0] == concept
    found = called("sae", "label", space, corpus, "--features", "0")
    assert [change["before"]["label"] for change in found["changed"]] == ["food"]
    assert FeatureSpace.load(space).labels[0].method == "lexical"


def test_an_llm_run_labels_and_reports_and_is_cached(
    space: str, corpus: str, service: ChatService, tmp_path: Path
) -> None:
    command = llm(space, corpus, service, "--yes", "--into", str(tmp_path / "new"), "--features", "0-5")
    found = called(*command)
    done = [change["id"] for change in found["changed"]]
    assert done
    assert len(done) + len(found["left"]) == 6
    labels = FeatureSpace.load(tmp_path / "new").labels
    assert {labels[i].text for i in done} == {"some phrase"}
    assert {labels[i].method for i in done} == {"llm"}
    assert found["changed"][0]["evidence"]["auroc"] == 0.5
    assert found["run"]["spent"]["output_tokens"] > 0
    assert found["labels"]["llm"]["predictor"]["auroc"] == 0.5
    assert service.keys == [f"Bearer {KEY}"] * len(service.requests)
    service.requests.clear()
    again = call(*command)
    assert again.returncode == 0
    assert service.requests == []
    assert f"{len(done)} labels changed" in again.stdout
    assert "shuffled labels" in again.stdout
    assert KEY not in again.stdout + again.stderr
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]


def answering(arguments: list[str], answer: str, monkeypatch: pytest.MonkeyPatch) -> Done:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    return call(*arguments)


def test_an_llm_run_prints_its_cost_and_asks_for_confirmation(
    space: str, corpus: str, service: ChatService, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = llm(space, corpus, service, "--features", "0-5")
    refused = answering(command, "n\n", monkeypatch)
    assert refused.returncode == 1
    assert "requests, about" in refused.stderr
    assert service.requests == []
    assert {label.method for label in FeatureSpace.load(space).labels} == {"lexical"}
    agreed = answering(command, "y\n", monkeypatch)
    assert agreed.returncode == 0, agreed.stderr
    assert service.requests


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_without_a_terminal_an_llm_run_needs_yes(
    space: str, corpus: str, service: ChatService, more: list[str]
) -> None:
    done = call(*llm(space, corpus, service, "--features", "0-5", *more))
    assert done.returncode == 2
    assert "--yes" in done.stderr
    assert service.requests == []


def test_a_cap_stops_a_run_and_a_larger_one_continues_it(
    space: str, corpus: str, service: ChatService
) -> None:
    service.usage = {"prompt_tokens": 400, "completion_tokens": 10, "total_tokens": 410}
    capped = ("--yes", "--concurrency", "1", "--max-tokens", "5000", "--json")
    first = json.loads(call(*llm(space, corpus, service, *capped)).stdout)
    spent = first["run"]["spent"]
    assert spent["input_tokens"] + spent["output_tokens"] <= 5_000
    assert {"id": int, "reason": str} == {key: type(value) for key, value in first["left"][0].items()}
    assert "the budget was reached" in {entry["reason"] for entry in first["left"]}
    second = json.loads(call(*llm(space, corpus, service, "--yes", "--json")).stdout)
    assert "the budget was reached" not in {entry["reason"] for entry in second["left"]}
    assert len(service.requests) == len({json.dumps(body["messages"]) for body in service.requests})


def test_a_name_that_predicts_no_better_is_left(space: str, corpus: str, service: ChatService) -> None:
    before = FeatureSpace.load(space).labels
    found = json.loads(call(*llm(space, corpus, service, "--yes", "--json")).stdout)
    after = FeatureSpace.load(space).labels
    left = [entry["id"] for entry in found["left"] if entry["reason"] == NO_BETTER]
    assert left  # of the others, too few texts have the feature to tell
    assert [after[feature] for feature in left] == [before[feature] for feature in left]


def test_a_failing_service_changes_nothing_and_the_key_is_not_printed(
    space: str, corpus: str, service: ChatService
) -> None:
    before = Path(space, "labels.jsonl").read_text()
    service.fail(401, f"bad key {KEY}", times=500)
    done = call(*llm(space, corpus, service, "--yes"))
    assert done.returncode == 3
    assert "OPENAI_API_KEY" in done.stderr
    assert KEY not in done.stderr + done.stdout
    assert Path(space, "labels.jsonl").read_text() == before


def test_without_a_corpus_a_language_model_reads_the_definitions_of_the_space_s_concepts(
    service: ChatService, tmp_path: Path
) -> None:
    default = FeatureSpace.load(DEFAULT_SPACE)
    made = [i for i, label in enumerate(default.labels) if label.method == "vocabulary"]
    dense = sorted(made, key=lambda i: -default.calibration.density[i])[:20]
    command = [
        "sae",
        "label",
        DEFAULT_SPACE,
        "--method",
        "llm",
        "--url",
        service.url,
        "--model",
        "m",
        "--yes",
    ]
    command += ["--limit", "600", "--into", str(tmp_path / "new"), "--features", ",".join(map(str, dense))]
    found = json.loads(call(*command, "--json").stdout)  # exits with 1 where no phrase predicts better
    assert {one["id"] for one in (*found["changed"], *found["left"])} == set(dense)
    read = "".join(body["messages"][-1]["content"] for body in service.requests)
    assert sum(json.dumps(gloss)[1:-1] in read for gloss in glosses(default)[:600]) > 50


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["SPACE"], "no texts"),
        (["SPACE", "--method", "llm", "--model", "m"], "no definitions"),
        (["SPACE", "CORPUS", "--method", "magic"], "no such method"),
        (["SPACE", "CORPUS", "--method", "llm"], "--model"),
        (["SPACE", "--method", "manual"], "neither --set nor --from"),
        (["SPACE", "CORPUS", "--method", "lexical", "--set", "3=x"], "only with it"),
        (["SPACE", "--set", "3"], "ID=TEXT"),
        (["SPACE", "--set", "99=x"], "#99"),
        (["SPACE", "--set", "3=,"], "not a line"),
        (["SPACE", "--set", "3=x", "--features", "1"], "--features"),
        (["SPACE", "--from", "missing.jsonl"], "missing.jsonl"),
        (["SPACE", "--from", "CORPUS"], "line 1"),
        (["SPACE", "CORPUS", "--features", "1,x"], "'x'"),
        (["SPACE", "CORPUS", "--features", "9-5"], "'9-5'"),
        (["SPACE", "CORPUS", "--features", "5-40"], "#40"),
        (["nowhere", "--set", "3=x"], "nowhere"),
        (["minilm-concepts", "--set", "3=x"], "--into"),
        (["SPACE", "--set", "3=x", "--into", "CORPUS"], "other files"),
    ],
)
def test_errors_have_a_remedy(space: str, corpus: str, arguments: list[str], message: str) -> None:
    before = Path(space, "labels.jsonl").read_text()
    filled = [{"SPACE": space, "CORPUS": corpus}.get(argument, argument) for argument in arguments]
    done = call("sae", "label", *filled)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert Path(space, "labels.jsonl").read_text() == before


def test_a_packaged_space_is_labelled_into_a_new_one(tmp_path: Path) -> None:
    into = tmp_path / "mine"
    called("sae", "label", "minilm-concepts", "--set", "3=x rays", "--into", str(into))
    assert FeatureSpace.load(into).labels[3].text == "x rays"
    assert FeatureSpace.load("minilm-concepts").labels[3].text != "x rays"
    folder = str(Path(sys.modules["saeindex"].__path__[0]) / "spaces" / "minilm-concepts")
    assert call("sae", "label", folder, "--set", "3=x").returncode == 2
