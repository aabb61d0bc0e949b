"""Words that no record has are said, with the nearest that some have; what empties an answer, too."""

from __future__ import annotations

from pathlib import Path

import pytest

from saeindex import FeatureIndex, FeatureSpace, Record
from tests.cli.test_cli import call
from tests.samples import RecordingEncoder
from tests.search.sampled_indexes import edge_index, memory_index

TEXTS = [
    "Mutations of KRT17 cause the disease.", "krt17 and krt16 are keratins.", "Treatment of the keratins.",
    "The battery of the camera is weak.", "Batteries are sold apart.", "The ERR-4521 code needs a reset.",
    "打印机无法打印, in 2024 too.",
]  # fmt: skip
RECORDS = [
    Record(f"t{row}", text, {"n": row, "half": row % 2, "tags": ["Open", f"of {row}"]})
    for row, text in enumerate(TEXTS)
]


@pytest.fixture(scope="module", params=["edge", "memory"])
def index(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    space: FeatureSpace,
    session_encoder: RecordingEncoder,
) -> FeatureIndex:
    if request.param == "memory":
        return memory_index(RECORDS, space, session_encoder)
    return edge_index(tmp_path_factory.mktemp("absent") / "a.idx", RECORDS, space, session_encoder)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("krt71", ["In no text: 'krt71'; 'krt17' is in 2"]),
        ("what is the battrey of a camera", ["In no text: 'battrey'; 'battery' is in 2"]),
        ("batteries of KRT17", []), ("ERR-4512", ["In no text: 'ERR-4512'; 'err-4521' is in 1"]),
        ("whales and battlers of the batter", ["In no text: 'whales', 'battlers', 'batter'"]),
        ("ERR-2024 battery", ["In no text: 'ERR-2024'"]), ("ERR-4522", ["In no text: 'ERR-4522'"]),
        ("ERR-2145", ["In no text: 'ERR-2145'"]), ("打印机", []),
        ("battery@camera.is", ["In no text: 'battery@camera.is'"]),
        ("ERR-45*", []), ("camera of camera.disease", []), ("T-1", ["In no text: 'T-1'"]),
        ("a büttery", ["In no text: 'büttery'; 'battery' is in 2"]),
        ("Die Battere hält nicht", ["In no text: 'Die', 'Battere', 'hält', 'nicht'"]),
        ("zebra and xylophone battery", ["In no text: 'zebra', 'xylophone'"]), ("", []),
    ],
)  # fmt: skip
def test_a_word_in_no_record_is_said_with_the_nearest(
    index: FeatureIndex, text: str, said: list[str]
) -> None:
    plan = index.plan(text, syntax=True) if text else index.plan(where="metadata.n > 1")
    assert [one for one in plan.understood if one.startswith("In no text")] == said
    assert index.plan(text or "x", using="dense").absent == ()


def test_the_id_of_a_record_is_said_to_be_one(index: FeatureIndex) -> None:
    assert index.plan("t3").understood == ["'t3' is in no text, but is the id of a record"]


def test_a_frequent_word_is_nearer_than_a_rare_one(
    tmp_path: Path, space: FeatureSpace, session_encoder: RecordingEncoder
) -> None:
    texts = ["my batery is hot", *(f"a battery of {number} volts" for number in range(40))]
    records = [Record(str(row), text) for row, text in enumerate(texts)]
    found = edge_index(tmp_path / "a.idx", records, space, session_encoder).plan("baterry").absent
    assert [(one.nearest, one.records) for one in found] == [("battery", 40)]


def test_spelling_searches_for_the_nearest(index: FeatureIndex) -> None:
    hits = index.search("Krt71 mutation", spelling=True)
    same = index.search("krt17 mutation")
    assert [hit.id for hit in hits] == [hit.id for hit in same]
    assert [hit.score for hit in hits] == pytest.approx([hit.score for hit in same], abs=1e-7)
    assert hits.plan.understood == ["Read 'Krt71' as 'krt17': it is in no text"]
    assert hits.plan.query.text == "krt17 mutation"
    assert index.search("zebra", spelling=True).plan.query.text == "zebra"


def test_what_is_quoted_is_not_spelled_otherwise(index: FeatureIndex) -> None:
    plan = index.plan('"the battrey" of the camera', syntax=True, spelling=True)
    assert not any(one.startswith("Read") for one in plan.understood)
    assert 'Says: "the battrey"' in plan.understood
    assert any(one.startswith("In no text: 'battrey'") for one in plan.understood)


def test_words_of_a_part_are_those_of_its_records_alone(index: FeatureIndex) -> None:
    part = index.part("metadata.n >= 3")
    (absent,) = part.plan("krt17 of the camera").absent
    assert (absent.word, absent.nearest) == ("krt17", None)


def test_what_empties_an_answer_is_said(index: FeatureIndex) -> None:
    where = 'metadata.half = 1 AND metadata.n > 100 AND "battery"'
    assert index.plan("camera", where=where).warnings == (
        "no point matches",
        "no record fulfils metadata.n > 100",
    )
    both = index.plan("camera", where="metadata.n = 1 AND metadata.half = 0")
    assert both.warnings == ("no point matches",)
    near = index.plan(
        "camera", where='metadata.tags = "open" AND metadata.tags = "Opened" AND metadata.tags = "x"'
    )
    assert near.warnings == (
        "no point matches",
        'no record fulfils metadata.tags = "open"; did you mean "Open"?',
        'no record fulfils metadata.tags = "Opened"; did you mean "Open"?',
        'no record fulfils metadata.tags = "x"',
    )
    (_, only) = index.plan("camera", where='metadata.tags = "OPEN"').warnings
    assert only == 'no record fulfils metadata.tags = "OPEN"; did you mean "Open"?'
    assert only in repr(index.search("camera", where='metadata.tags = "OPEN"'))
    (_, some) = index.plan("camera", where='metadata.tags IN ("OPEN", "opn", "shut")').warnings
    assert some == 'no record fulfils metadata.tags IN ("OPEN", "opn", "shut"); did you mean "Open"?'
    (alone,) = index.plan(where='metadata.tags = "of 33"').warnings  # digits are not others
    assert alone == "no point matches"


def test_what_was_added_is_known(
    tmp_path: Path, space: FeatureSpace, session_encoder: RecordingEncoder
) -> None:
    with FeatureIndex.create(tmp_path / "a.idx", space, encoder=session_encoder) as own:
        assert own.plan("krt71").absent == ()  # of an empty index all are
        own.upsert(RECORDS)
        assert own.plan("krt71").absent[0].nearest == "krt17"
        own.upsert([Record("new", "A text on KRT71.")])
        assert own.plan("krt71").absent == ()
    with FeatureIndex.create(tmp_path / "b.idx", space, encoder=session_encoder) as own:
        own.upsert(RECORDS)
    done = call("search", "b.idx", "krt71", "--limit", "1", cwd=tmp_path)
    assert done.stdout.splitlines()[0] == "In no text: 'krt71'; 'krt17' is in 2"
    assert "Read 'krt71' as 'krt17'" in call("search", "b.idx", "krt71", "--spelling", cwd=tmp_path).stdout
