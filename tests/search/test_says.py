"""What texts say word for word: in conditions, and by quotes, minus and star of a query."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.suites.words import folded, holds
from saeindex import FeatureIndex, FeatureSpace, Query, Record
from saeindex.errors import InvalidInputError, QuerySyntaxError
from saeindex.language.literal import Typed, is_said
from saeindex.language.parser import parse_where
from saeindex.language.to_text import to_text
from tests.cli.test_cli import call, called
from tests.samples import RecordingEncoder, sample_records, write_records
from tests.search.sampled_indexes import edge_index, memory_index

TEXTS = [
    "The pump fails with ERR-4521 after a week.", "ERR-4599: the pump is loud.", "An err 45 is rare.",
    "He writes C++ and C# in a foo_bar style.", "“In so many\nwords”, she said, it isn’t done.",
    "in so, many words", "Caf\u00e9 culture", "Cafe\u0301 culture", "It is at -5 °C; use --verbose.",
    "电池寿命太短了。", "We flew to İstanbul.", "Add ½ cup.", "plan B, then plan C", "PLANS and planning",
    "订单号4500129050，请退款。", "X-200の電池", "INV-2024-001, build 2.4.1, to joanna@mail.org.",
]  # fmt: skip


@pytest.mark.parametrize(
    ("said", "rows"),
    [
        ("plan", [12]), ("plan*", [12, 13]), ("Plan B", [12]), ("ERR-45*", [0, 1]), ("ERR-45", []),
        ("err 45", [2]), ("C++", [3]), ("C#", [3]), ("C", [3, 8, 12]), ("foo", [3]),
        ("in so many words", [4]), ('"in so many words"', [4]), ("isn't", [4]), ("so, many", [5]),
        ("café", [6, 7]), ("-5 °C", [8]),
        ("--verbose", [8]), ("电池寿命", [9]), ("İstanbul", [10]), ("½ cup", [11]),
        ("4500129050", [14]), ("4500129*", [14]), ("X-200", [15]), ("INV-2024-*", [16]), ("2.4.*", [16]),
        ("joanna@*", [16]), ("nowhere", []), ("!!", []), ("the pump", [0, 1]), ("pump fails with e*", [0]),
    ],
)  # fmt: skip
def test_texts_say_it_word_for_word(both: tuple[FeatureIndex, ...], said: str, rows: list[int]) -> None:
    where = to_text(parse_where({"kind": "says", "text": said}))
    wanted = {f"t{row}" for row in rows}
    assert [row for row, text in enumerate(TEXTS) if is_said(said, text)] == rows
    for index in both:
        assert {hit.id for hit in index.search(where=where, limit=100)} == wanted
        assert index.count(f"NOT {where}") == len(index) - len(rows)


@pytest.fixture(scope="module")
def both(
    tmp_path_factory: pytest.TempPathFactory, space: FeatureSpace, session_encoder: RecordingEncoder
) -> tuple[FeatureIndex, ...]:
    records = [Record(f"t{row}", text) for row, text in enumerate(TEXTS)]
    edge = edge_index(tmp_path_factory.mktemp("says") / "says.idx", records, space, session_encoder)
    return edge, memory_index(records, space, session_encoder)


def test_every_text_that_holds_a_piece_is_found_and_no_other(
    tmp_path: Path, space: FeatureSpace, session_encoder: RecordingEncoder
) -> None:
    """Pieces of real texts, with their signs, against a plain search of characters."""
    records = sample_records(150)
    rng = np.random.default_rng(7)
    with FeatureIndex.create(tmp_path / "a.idx", space, encoder=session_encoder, sentences="codes") as index:
        index.upsert(records)
        texts = {record.id: folded(record.text) for record in records}
        for _ in range(100):
            text = texts[str(rng.choice(list(texts)))]
            start = int(rng.integers(len(text)))
            piece = text[start : start + int(rng.integers(2, 30))].strip()
            if not piece or piece.endswith("*"):
                continue
            where = to_text(parse_where({"kind": "says", "text": piece}))
            found = {hit.id for hit in index.search(where=where, limit=200)}
            assert found == {one for one, text in texts.items() if holds(piece, text)}, piece
        found_by = index.diff('says("the")', 'NOT says("the")', families=("concepts",))
        said = sum(holds("the", text) for text in texts.values())
        assert [*found_by.groups.values()] == [said, len(texts) - said]


@pytest.mark.parametrize(
    ("query", "text", "said", "unsaid"),
    [
        ('galaxies "dark matter" -quasar', "galaxies dark matter", [["dark matter"]], ["quasar"]),
        ('“so it is” -"not so", -bad.', "so it is ,", [["so it is"]], ["not so", "bad"]),
        ("ERR-45* pump", "ERR-45 pump", [["ERR-45*"]], []),
        ('"ERR-45"* pump', "ERR-45 pump", [["ERR-45*"]], []),
        ('"so" OR "no" or ERR* OR it', "so no ERR OR it", [["so", "no", "ERR*"]], []),
        ('("so" or "no") -("at all") [B-4*', "so no B-4", [["so", "no"], ["B-4*"]], ["at all"]),
        ('OR "so" pump OR ERR-4* OR -"no"', "so pump ERR-4", [["so", "ERR-4*"]], ["no"]),
        ("-5 °C and --verbose, well-made", "-5 °C and --verbose, well-made", [], []),
        ('a 5" pipe * 3', 'a 5" pipe * 3', [], []), ('"', '"', [], []), ("-quasar", "", [], ["quasar"]),
        ("C* and e*", "C* and e*", [], []), ("INV-2024-* -.NET", "INV-2024-", [["INV-2024-*"]], [".NET"]),
        ('say "no"\n-at all', 'say "no"\n-at all', [], []),
    ],
)  # fmt: skip
def test_quotes_minus_and_star_are_read(
    query: str, text: str, said: list[list[str]], unsaid: list[str]
) -> None:
    assert Typed.of(query) == (text, said, unsaid)


def test_a_query_with_syntax_is_one_with_conditions(both: tuple[FeatureIndex, ...]) -> None:
    for index in both:
        asked = index.search('the pump "err 45" -week', syntax=True, explain=True)
        assert [hit.id for hit in asked] == ["t2"]
        same = index.search("the pump err 45", where='says("err 45") AND NOT says("week")')
        assert [(hit.id, hit.score) for hit in asked] == [(hit.id, hit.score) for hit in same]
        assert asked.plan.understood[:2] == ['Says: "err 45"', 'Does not say: "week"']
        explanation = asked[0].explanation
        assert explanation is not None
        assert [(one.text, one.matched) for one in explanation.clauses] == [
            ('says("err 45")', True), ('NOT says("week")', True),
        ]  # fmt: skip
        assert len(index.search("-pump", syntax=True, limit=100)) == len(index) - 2
        either = index.search('"err 45" OR "week"', syntax=True, limit=100)
        same = index.search(where='says("err 45") OR says("week")', limit=100)
        assert {hit.id for hit in either} == {hit.id for hit in same} > {hit.id for hit in asked}
        assert either.plan.understood[0] == 'Says: "err 45" or "week"'
        assert len(index.search('"pump" -week', limit=100)) == len(index)  # as it is, without syntax
        many = index.search_many([Query('"plan B"', syntax=True), Query("plan B")], limit=3)
        assert [len(one) for one in many] == [1, 3]
    with pytest.raises(InvalidInputError, match="at most 1000"):
        index.search(f'"{"long" * 300}"', syntax=True)
    with pytest.raises(QuerySyntaxError, match="nothing to be said"):
        index.count('says("*")')


def test_the_command_reads_quotes(tmp_path: Path) -> None:
    source = write_records(tmp_path / "notes.jsonl", [Record(f"t{i}", one) for i, one in enumerate(TEXTS)])
    called("index", str(source), "--into", str(tmp_path / "a.idx"))
    done = call("search", "a.idx", 'a loud pump -week "ERR-45*"', cwd=tmp_path)
    assert done.stdout.splitlines()[:2] == ['Says: "ERR-45*"', 'Does not say: "week"']
    found = called("search", str(tmp_path / "a.idx"), 'a loud pump -week "ERR-45*"')["hits"]
    assert [hit["id"] for hit in found] == ["t1"]
    plain = called("search", str(tmp_path / "a.idx"), 'pump "week"', "--no-syntax")["hits"]
    assert len(plain) == 10
