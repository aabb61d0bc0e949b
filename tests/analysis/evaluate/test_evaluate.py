"""Searches compared by questions whose answers are known, and the files that questions are read of."""

from __future__ import annotations

import json
from math import log2
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from typer.testing import CliRunner

from saeindex import FeatureIndex, FeatureSpace
from saeindex.analysis.evaluate.questions import Question, read_questions
from saeindex.analysis.evaluate.results import Evaluation
from saeindex.cli.app import make_app
from saeindex.errors import InvalidInputError, NotFoundError
from tests.samples import RecordingEncoder, sample_records

SEARCHES: dict[str, dict[str, Any]] = {
    "fused": {},
    "words": {"using": "words"},
    "music": {"using": "dense", "where": 'metadata.topic = "music"'},
}


@pytest.fixture(scope="module")
def questions(papers: FeatureIndex) -> list[Question]:
    found, _ = papers.scroll(limit=60)
    others = found[30:]
    return [
        Question(one.text.split(".")[0], {one.id: 2, other.id: 1})
        for one, other in zip(found[:30], others, strict=True)
    ]


@pytest.fixture(scope="module")
def index_folder(
    tmp_path_factory: pytest.TempPathFactory, space: FeatureSpace, session_encoder: RecordingEncoder
) -> str:
    path = tmp_path_factory.mktemp("evaluated") / "papers.idx"
    with FeatureIndex.create(path, space, encoder=session_encoder) as index:
        index.upsert(sample_records(80))
    return str(path)


@pytest.fixture(scope="module")
def found(papers: FeatureIndex, questions: list[Question]) -> Evaluation:
    return papers.evaluate(questions, SEARCHES, limit=5, alpha=0.1, shown=3)


def by_hand(index: FeatureIndex, question: Question, options: dict[str, Any]) -> tuple[float, float, float]:
    ids = [hit.id for hit in index.search(question.text, **options, limit=5)]
    gains = [question.relevant.get(one, 0) for one in ids]
    best = sorted(question.relevant.values(), reverse=True)
    dcg, most = (sum(gain / log2(rank + 2) for rank, gain in enumerate(own)) for own in (gains, best))
    first = next((1 / rank for rank, gain in enumerate(gains, 1) if gain), 0.0)
    return dcg / most, sum(gain > 0 for gain in gains) / len(best), first


def test_measures_and_intervals_are_those_by_hand(
    papers: FeatureIndex, questions: list[Question], found: Evaluation
) -> None:
    values = {
        name: np.array([by_hand(papers, one, options) for one in questions])
        for name, options in SEARCHES.items()
    }
    for one in found.searches:
        np.testing.assert_allclose([one.ndcg, one.recall, one.mrr], values[one.name].mean(0), atol=1e-9)
    first, *others = found.searches
    assert not first.gains and [one.name for one in others] == ["words", "music"]
    for one in others:
        for column, measure in enumerate(("ndcg", "recall", "mrr")):
            test = stats.ttest_rel(values[one.name][:, column], values["fused"][:, column])
            expected = test.confidence_interval(1 - 0.1 / 6)
            gain = one.gains[measure]
            np.testing.assert_allclose([gain.low, gain.high], [expected.low, expected.high], atol=1e-9)
    assert found.searches[2].gains["ndcg"].is_sure  # few of the answers are about music
    assert "Surely worse than fused: music." in str(found)


def test_the_questions_that_differ_most_are_shown(found: Evaluation) -> None:
    of_music = [one for one in found.differing if one.search == 2]
    apart = [abs(one.ndcg[2] - one.ndcg[0]) for one in found.questions]
    assert [apart[one.question] for one in of_music] == sorted(apart, reverse=True)[:3]
    for one in of_music:
        rank = found.questions[one.question].ranks[2]
        assert rank <= 5
        assert f"rank {rank}, " in str(found) or not rank
    assert Evaluation.from_json(found.to_json()).to_json() == found.to_json()
    assert {*found.tables()} == {"searches", "questions"}


def test_equal_searches_differ_in_nothing(papers: FeatureIndex, questions: list[Question]) -> None:
    found = papers.evaluate(questions, {"one": {}, "other": {}})
    gain = found.searches[1].gains["ndcg"]
    assert (gain.mean, gain.low, gain.high) == (0, 0, 0) and not found.differing
    assert "Not told apart from one: other." in str(found)
    tiny = papers.evaluate(questions, {"one": {}, "other": {"using": "words"}}, alpha=1e-66)
    assert np.isfinite(tiny.searches[1].gains["ndcg"].high)


def test_answers_that_are_no_records_are_said(papers: FeatureIndex, questions: list[Question]) -> None:
    known = [(one.text, [*one.relevant]) for one in questions[:3]]
    found = papers.evaluate([*known, ("rain", ["nowhere"]), (known[0][0], ["also nowhere"])])
    assert len(found) == 3 and [one.name for one in found.searches] == [
        "fused",
        "dense",
        "sentences",
        "words",
    ]
    assert "2 of 8 answers are no record of the index" in found.notes[0]
    assert "1 of 4 questions have no answer in the index" in found.notes[1]
    last = [hit.id for hit in papers.search("rain", limit=len(papers))][-1]
    unfound = papers.evaluate([("rain", [last]), ("rain rain", [last])], {"one": {}})
    assert "Over 2 questions, no search finds an answer among its first 10 hits." in str(unfound)
    assert unfound.notes == ()
    empty = papers.evaluate(questions[:3], {"one": {}, "other": {"where": "metadata.year < 0"}})
    assert "other has no hit for any question" in empty.notes
    with pytest.raises(InvalidInputError, match="0 of 1 question have an answer in the index"):
        papers.evaluate([("rain", ["nowhere"])])


def test_answers_may_be_documents(tmp_path: Path, space: FeatureSpace, encoder: RecordingEncoder) -> None:
    with FeatureIndex(tmp_path / "pieces.idx", space=space, encoder=encoder) as index:
        texts = {"sky": ["Galaxies rotate.", "Stars burn."], "food": ["Bread rises.", "Soup boils."]}
        index.upsert(
            {"id": f"{name}#{i}", "text": text, "document": name}
            for name, own in texts.items()
            for i, text in enumerate(own)
        )
        asked = [("stars", ["sky"]), ("bread", ["food"])]
        found = index.evaluate(asked, {"dense": {"using": "dense"}}, limit=1)
        assert found.searches[0].recall == 1 and found.questions[0].ranks == (1,)
        by_record = index.evaluate([("stars", ["sky#1"]), ("bread", ["food#0"])], {"dense": {}}, limit=1)
        assert by_record.searches[0].recall == 1
        with pytest.raises(InvalidInputError, match="none is drafted"):
            index.evaluate()


def test_a_draft_is_marked_and_can_be_corrected(index_folder: str, tmp_path: Path) -> None:
    path = tmp_path / "asked.jsonl"
    run = CliRunner().invoke(
        make_app(""), ["evaluate", index_folder, "--drafts", "20", "--save-questions", str(path)]
    )
    assert run.exit_code == 0 and "20 of 20 questions were drafted (first sentences)" in run.output
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(lines) == 20 and all(one["drafted"] == "first sentences" for one in lines)
    lines = [{"text": one["text"], "relevant": one["relevant"]} for one in lines]
    path.write_text("\n".join(map(json.dumps, lines)))
    search = ["--search", 'by words={"using": "words"}', "--search", "all={}"]
    again = CliRunner().invoke(make_app(""), ["evaluate", index_folder, str(path), *search, "--json"])
    assert again.exit_code == 0
    given = json.loads(again.output)
    assert [one["name"] for one in given["searches"]] == ["by words", "all"] and not given["notes"]
    assert given["searches"][0]["options"] == {"using": "words"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--search", "words"], "not NAME=OPTIONS"),
        (["--search", "a={using}"], "not JSON"),
        (["--search", 'a={"usng": "words"}'], "no option 'usng'"),
        (["--search", 'a={"limit": 1}'], "a limit or an offset of its own"),
        (["nowhere.jsonl"], "no file or folder has that name"),
    ],
)
def test_wrong_use_says_what_to_do(index_folder: str, options: list[str], message: str) -> None:
    run = CliRunner().invoke(make_app(""), ["evaluate", index_folder, *options])
    assert message in str(run.exception or run.output)


def test_rows_of_one_text_are_one_question(tmp_path: Path) -> None:
    table = tmp_path / "asked.csv"
    table.write_text("question,id,gain\nhow?,a,1\nhow?,b,2\nwhy?,7,0\nwhen?,7,1\n")
    assert read_questions(table) == [
        Question("how?", {"a": 1, "b": 2}),
        Question("why?", {}),
        Question("when?", {"7": 1}),
    ]
    lines = tmp_path / "asked.jsonl"
    lines.write_text('{"text": "how?", "relevant": ["a", "b"]}\n{"query": "why?", "relevant": {"c": 3}}\n')
    assert read_questions(lines) == [Question("how?", {"a": 1, "b": 1}), Question("why?", {"c": 3})]


def test_a_folder_is_read_as_beir_has_it(tmp_path: Path) -> None:
    (tmp_path / "qrels").mkdir()
    (tmp_path / "queries.jsonl").write_text('{"_id": "1", "text": "how?"}\n{"_id": "2", "text": "why?"}\n')
    (tmp_path / "qrels" / "test.tsv").write_text(
        "query-id\tcorpus-id\tscore\n1\t10\t2\n1\t11\t0\n2\t12\t1\n3\t12\t1\n"
    )
    (tmp_path / "qrels" / "dev.tsv").write_text("query-id\tcorpus-id\tscore\n1\t99\t1\n")
    assert read_questions(tmp_path) == [Question("how?", {"10": 2}), Question("why?", {"12": 1})]
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tdocument\n1\t10\n")
    with pytest.raises(InvalidInputError, match="corpus-id"):
        read_questions(tmp_path)
    (tmp_path / "queries.jsonl").unlink()
    with pytest.raises(NotFoundError, match=r"no queries.jsonl"):
        read_questions(tmp_path)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("questions.jsonl", r"the pathlib.Path of a file"),
        ([{"text": "", "relevant": ["a"]}], "no text"),
        ([{"text": "how?"}], "no ids that answer it"),
        ([("how?", {"a": "much"})], "no whole number up to 1,000"),
        ([("how?", {"a": "1e30"})], "no whole number up to 1,000"),
        ([("how?", {"a": 0.5})], "no whole number up to 1,000"),
        ([], "0 of 0 questions have an answer"),
        ([("how?", {"a": 0}), ("why?", {"a": -1})], "0 of 2 questions have an answer"),
        ([3], "a question"),
    ],
)
def test_a_wrong_question_is_an_error(papers: FeatureIndex, given: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        papers.evaluate(given)
    with pytest.raises(InvalidInputError, match=r"a search: no option 'usng'. Did you mean using\?"):
        papers.evaluate([("how?", ["a"])], {"a": {"usng": "words"}})
