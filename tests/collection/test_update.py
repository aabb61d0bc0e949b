"""Metadata that changes without encoding; sources indexed again; the last of two rows with one id."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import QdrantClient

from saeindex import FeatureIndex, FeatureSpace, Record
from saeindex.errors import InvalidInputError, NotFoundError
from saeindex.indexing.pipeline import Pipeline
from saeindex.indexing.points import point_id
from tests.cli.test_cli import call
from tests.samples import RandomEncoder, RecordingEncoder

TEXTS = [f"The river number {n} is wide and cold in the winter." for n in range(12)]
RECORDS = [Record(f"r{n}", text, {"n": n, "kind": "old"}) for n, text in enumerate(TEXTS)]


@pytest.fixture(params=["edge", "isolated", "memory"])
def index(
    request: pytest.FixtureRequest, tmp_path: Path, space: FeatureSpace, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FeatureIndex]:
    monkeypatch.chdir(tmp_path)  # rejects of an index on a server are written there
    client = QdrantClient(":memory:") if request.param == "memory" else None
    encoder, isolated = RecordingEncoder(RandomEncoder(space.encoder)), request.param == "isolated"
    place = "notes" if client else tmp_path / "a.idx"
    with FeatureIndex.create(place, space, client=client, encoder=encoder, isolated=isolated) as made:
        made.upsert(RECORDS)
        encoder.requested.clear()
        yield made


def metadata(index: FeatureIndex) -> dict[str, Any]:
    return {one.id: one.metadata for one in index.scroll(limit=1_000)[0]}


def encoded(index: FeatureIndex) -> list[str]:
    assert isinstance(index.encoder, RecordingEncoder)
    return index.encoder.requested


def test_fields_are_set_and_removed_and_nothing_is_encoded(index: FeatureIndex) -> None:
    assert index.update(["r1", "r2", "absent"], set={"kind": "new", "tags": ["a"]}, remove=["n"]) == 2
    assert metadata(index)["r1"] == {"kind": "new", "tags": ["a"]}
    assert index.update(where='metadata.kind = "new"', set={"a.b": {"c": 1}}) == 2
    assert metadata(index)["r2"] == {"kind": "new", "tags": ["a"], "a.b": {"c": 1}}
    assert index.update(each={"r3": {"n": 30}}) == index.update(["r4"], remove=["n"]) == 1
    assert index.count("metadata.n >= 30") == 1 and "n" not in metadata(index)["r4"]
    assert index.update(query_filter={}, set={"seen": True}) == 12
    assert index.count("metadata.seen = true") == 12 and not encoded(index)
    assert index.upsert(RECORDS).updated == 4  # kind and n of r1 and r2, n of r3 and r4 are the source's


def test_what_an_update_set_stays_in_copies_and_merges(
    tmp_path: Path, space: FeatureSpace, encoder: RecordingEncoder
) -> None:
    with FeatureIndex.create(tmp_path / "a.idx", space, encoder=encoder) as made:
        made.upsert(RECORDS[:3])
        made.update(["r1"], set={"status": "read"})
        made.copy(tmp_path / "copy.idx", encoder=encoder)
        with FeatureIndex.create(tmp_path / "merged.idx", space, encoder=encoder) as other:
            other.upsert([Record("own", "Another text.")])
        made.copy(tmp_path / "merged.idx", encoder=encoder, merge="keep")
    for name in ("copy.idx", "merged.idx"):
        with FeatureIndex.open(tmp_path / name, encoder=encoder) as again:
            again.upsert(RECORDS[:3])
            assert metadata(again)["r1"] == {"n": 1, "kind": "old", "status": "read"}


@pytest.mark.parametrize("given", [{"set": {"metadata.n": 9}}, {"remove": ["metadata.n"]}])
def test_a_field_of_the_metadata_is_named_without_them(index: FeatureIndex, given: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match="Name it 'n'"):
        index.update(["r1"], **given)
    with pytest.raises(InvalidInputError, match="Name it 'n'"):
        index.update(each={"r1": {"metadata.n": 9}})


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"ids": ["r1"]}, "no field to change"),
        ({"set": {"a": 1}}, "nothing to select by"),
        ({"ids": ["r1"], "where": "metadata.n = 1", "set": {"a": 1}}, "several ways"),
        ({"ids": ["r1"], "each": {"r1": {"a": 1}}}, "fields of each id, and a selection"),
        ({"each": {"r1": {"a": 1}}, "set": {"a": 1}}, "set or remove beside each"),
        ({"ids": ["r1"]}, "no field to change"),
        ({"each": {"r1": {"kind": None}}}, "no value for 'kind'"),
        ({"ids": ["r1"], "set": {"n": float("nan")}}, "no value for 'n'"),
        ({"ids": ["r1"], "set": {" ": 1}}, "empty name"),
        ({"where": "metadata.yaer = 1", "set": {"a": 1}}, "no record has metadata.yaer"),
    ],
)
def test_what_cannot_be_changed_is_refused(index: FeatureIndex, given: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidInputError, match=says):
        index.update(**given)
    assert metadata(index)["r1"] == {"n": 1, "kind": "old"}


def test_what_was_derived_of_texts_stays_and_filters_follow(index: FeatureIndex) -> None:
    assert index.count("metadata.n < 100") == 12
    state, sample = index.state, index.state.sample()
    hits = [hit.id for hit in index.search("the river", limit=20)]
    index.update(["r0"], set={"n": 1_000})
    assert index.state is not state and index.state.sample() is sample
    assert index.count("metadata.n < 100") == 11
    assert [hit.id for hit in index.search("the river", limit=20)] == hits
    assert '{"n": 1000, "kind": "old"}' in index.state.snapshot().metadata
    index.upsert([Record("new", "A new river.")])
    assert index.state.sample() is not sample and index.state.total == 13


def test_a_source_owns_what_it_has_and_updates_the_rest(index: FeatureIndex) -> None:
    index.update(where="metadata.n < 3", set={"kind": "mine", "tag": "x"})
    report = index.upsert(RECORDS)
    assert (report.updated, report.unchanged, report.indexed) == (3, 9, 0)
    assert metadata(index)["r1"] == {"n": 1, "kind": "old", "tag": "x"}
    assert index.upsert(RECORDS).unchanged == 12
    changed = [Record(one.id, one.text, {"n": -1}) for one in RECORDS[:2]]
    assert index.upsert(changed).updated == 2  # "kind" was updated once
    assert metadata(index)["r1"] == {"n": -1, "tag": "x", "kind": "old"}
    assert index.upsert(RECORDS[:4], replace=True).updated == 3
    assert metadata(index)["r1"] == {"n": 1, "kind": "old"} and not encoded(index)
    index.upsert([Record("r1", "Another text.", {"n": 1})])
    assert encoded(index)


def test_what_other_programs_wrote_is_seen(index: FeatureIndex) -> None:
    store = index.state.store
    with store.turns.writing():
        store.set_payload({point_id("r1"): {"views": 50, "n": 7}}, "metadata")
        store.set_payload({point_id("r2"): {"text": "Overwritten."}})
    index.refresh()
    report = index.upsert(RECORDS)
    assert (report.updated, report.indexed, report.unchanged) == (1, 1, 10)
    assert metadata(index)["r1"] == {"n": 1, "kind": "old"}
    assert index.get(["r2"])[0].text == TEXTS[2]


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("size", [2, 512])
def test_the_last_of_two_rows_counts(index: FeatureIndex, is_stream: bool, size: int) -> None:
    rows: list[Any] = [
        Record("r0", "An older text."), {"id": "x"}, Record("r0", "A newer text.", {"n": 2}),
        Record("r5", TEXTS[5], {"n": 50}), {"id": "r5", "text": ""},
    ]  # fmt: skip

    def text() -> str:
        return index.get(["r0"])[0].text

    for expected in ((5, 1, 1, 1, 2), (5, 0, 0, 1, 2)):
        given = iter(rows) if is_stream else rows
        report = index.upsert(given, batch_size=size, allow_rejects=True)
        assert report.unchanged == 5 - sum(expected[1:])
        counts = report.read, report.indexed, report.updated, report.superseded, report.rejected
        assert counts == expected
    assert text() == "A newer text." and "An older text." not in encoded(index)
    assert metadata(index)["r5"] == {"n": 50}


def test_a_stream_that_fails_is_indexed_to_there(index: FeatureIndex) -> None:
    def rows() -> Iterator[Record]:
        yield from (Record(f"new{n}", f"A new river {n}.") for n in range(101))
        raise OSError("the line is dead")

    with pytest.raises(OSError, match="dead"):
        index.upsert(rows(), batch_size=50)
    assert "new99" in index


def test_what_was_deleted_meanwhile_is_written_whole(
    index: FeatureIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = type(index.state.store).set_payload

    def late(store: Any, payloads: Any, within: str | None = None) -> Any:
        store.delete([point_id("r3")])
        return really(store, payloads, within)

    monkeypatch.setattr(type(index.state.store), "set_payload", late)
    index.upsert([Record(one.id, one.text, {"n": 5}) for one in RECORDS[2:5]])
    assert index.get(["r3"])[0].metadata == {"n": 5} and len(index) == 12
    assert index.search(TEXTS[3], limit=1, using="dense")[0].id == "r3"


def test_pieces_of_a_document_follow_its_metadata(index: FeatureIndex) -> None:
    long = Record("long", " ".join(f"Sentence {n} is about the sea." for n in range(40)), {"n": 1})
    index.upsert([long], split=20)
    encoded(index).clear()
    index.update(documents=["long"], set={"tag": "x"})
    report = index.upsert([Record("long", long.text, {"n": 2})], split=20)
    assert (report.updated, report.indexed) == (1, 0) and not encoded(index)
    assert all(one.metadata == {"n": 2, "tag": "x"} for one in index.get(documents=["long"]))
    assert index.upsert([Record("long", long.text, {"n": 2})], split=20).unchanged == 1


def test_histories_are_those_of_a_dictionary(index: FeatureIndex) -> None:
    rng, model = random.Random(7), {one.id: (one.text, dict(one.metadata)) for one in RECORDS}
    updated: set[str] = set()
    for step in range(60):
        chosen = [f"r{rng.randrange(14)}" for _ in range(rng.randrange(1, 5))]
        match rng.randrange(4):
            case 0:
                rows = [Record(one, rng.choice(TEXTS), {"n": rng.randrange(3)}) for one in chosen]
                index.upsert(rows, batch_size=2)
                for one in {row.id: row for row in rows}.values():
                    _, former = model.get(one.id, ("", {}))
                    mine = {name: former[name] for name in updated if name in former}
                    model[one.id] = one.text, mine | dict(one.metadata)
            case 1:
                fields = {rng.choice(["n", "a", "b"]): step}
                index.update(chosen, set=fields)
                updated |= {*fields}
                for own in set(chosen) & {*model}:
                    model[own][1].update(fields)
            case 2:
                index.update(chosen, remove=[name := rng.choice(["n", "a"])])
                for own in set(chosen) & {*model}:
                    model[own][1].pop(name, None)
            case _:
                index.delete(chosen[:1])
                model.pop(chosen[0], None)
        found = {one.id: (one.text, one.metadata) for one in index.scroll(limit=100)[0]}
        assert found == model


def test_the_command_changes_and_says_how_many(tmp_path: Path, space: FeatureSpace) -> None:
    with FeatureIndex.create(tmp_path / "a.idx", space, encoder=RandomEncoder(space.encoder)) as made:
        made.upsert(RECORDS)
    done = call(
        "update", "a.idx", "--where", "metadata.n < 2", "--set", "kind=new", "--set", "n=[1, 2]", cwd=tmp_path
    )
    assert done.stdout.strip() == "a.idx: 2 records updated"
    found = json.loads(call("update", "a.idx", "--id", "r9", "--remove", "n", "--json", cwd=tmp_path).stdout)
    assert found == {"updated": 1, "missing": []}
    with FeatureIndex.open(tmp_path / "a.idx", encoder=RandomEncoder(space.encoder)) as again:
        assert metadata(again)["r1"] == {"n": [1, 2], "kind": "new"}
        assert metadata(again)["r9"] == {"kind": "old"}
    assert call("update", "a.idx", "--id", "none", "--set", "a=1", cwd=tmp_path).returncode == 1
    assert "NAME=VALUE" in call("update", "a.idx", "--id", "r1", "--set", "a", cwd=tmp_path).stderr


def test_what_a_source_gives_no_more_is_deleted(index: FeatureIndex) -> None:
    index.upsert(RECORDS[:3], source="tickets")
    index.upsert([Record("long", " ".join(TEXTS))], source="tickets", split=32)
    assert index.upsert(RECORDS[3:6], source="mails").updated == 3
    pieces = len(index.get(documents=["long"]))
    assert pieces > 1 and len(index) == 12 + pieces
    planned = index.upsert([RECORDS[1], Record("new", "A text.")], source="tickets", prune=True, dry_run=True)
    assert (planned.unchanged, planned.indexed, set(planned.pruned)) == (1, 1, {"r0", "r2", "long"})
    assert len(index) == 12 + pieces and "new" not in index
    rows: list[Any] = [RECORDS[1], {"id": "r0", "text": ""}]
    report = index.upsert(rows, source="tickets", prune=True, allow_rejects=True)
    assert set(report.pruned) == {"r2", "long"} and len(index) == 11  # a row that is rejected is there
    assert not index.upsert(RECORDS[:3], source="tickets", prune=True).pruned
    index.upsert([RECORDS[2]], source="mails")  # it moves
    assert index.upsert(RECORDS[:2], source="tickets", prune=True).pruned == ()
    assert set(metadata(index)) == {one.id for one in RECORDS}


def test_nothing_is_deleted_where_that_may_be_a_mistake(index: FeatureIndex) -> None:
    with pytest.raises(InvalidInputError, match="no name of the source"):
        index.upsert(RECORDS, prune=True)
    index.upsert(RECORDS, source="tickets")
    with pytest.raises(InvalidInputError, match="11 of 12 would be deleted, above 10"):
        index.upsert(RECORDS[:1], source="tickets", prune=True)
    broken: list[Any] = [*RECORDS[:9], {"id": ["r9"], "text": "A text."}]
    with pytest.raises(InvalidInputError, match="rows that cannot be read, so that any of 3 may"):
        index.upsert(broken, source="tickets", prune=True, allow_rejects=True)

    def stopping() -> Iterator[Record]:
        yield from RECORDS[:9]
        raise OSError("the line is broken")

    with pytest.raises(OSError, match="the line is broken"):
        index.upsert(stopping(), source="tickets", prune=True)
    assert len(index) == 12
    assert len(index.upsert(RECORDS[:1], source="tickets", prune=True, max_prune=11).pruned) == 11
    assert set(metadata(index)) == {"r0"}


def test_an_empty_source_deletes_nothing_unless_somebody_says_so(index: FeatureIndex) -> None:
    index.upsert(RECORDS[:3], source="small")
    with pytest.raises(InvalidInputError, match="3 of 3 would be deleted, above 0"):
        index.upsert([], source="small", prune=True)
    assert len(index.upsert([], source="small", prune=True, dry_run=True).pruned) == 3
    assert len(index.upsert([], source="small", prune=True, max_prune=3).pruned) == 3


def test_large_and_broken_numbers_are_found_as_they_were_given(index: FeatureIndex) -> None:
    first, rng = 1_790_000_000_000_000_000, random.Random(0)
    broken = {one.id: rng.random() * 10 ** rng.randint(-3, 9) for one in RECORDS}
    index.update(each={one.id: {"tid": first + n, "v": broken[one.id]} for n, one in enumerate(RECORDS)})
    for where, count in {
        f"metadata.tid >= {first + 5}": 7, f"metadata.tid > {first + 5}": 6, f"metadata.tid < {first + 1}": 1,
        f"metadata.tid BETWEEN {first + 2} AND {first + 4}": 3, f"metadata.tid = {first + 5}": 1,
        f"NOT metadata.tid > {first + 5}": 6,
    }.items():  # fmt: skip
        assert index.count(where) == count, where
    for own, value in broken.items():
        assert [one.id for one in index.scroll(f"metadata.v = {value!r}")[0]] == [own]
    assert sum(one.count for one in index.facets("tid").bins) == 12


def test_what_an_update_set_stays_when_a_text_is_split_and_made_whole(index: FeatureIndex) -> None:
    long = Record("long", " ".join(TEXTS), {"n": 1})
    index.upsert([long])
    index.update(["long"], set={"status": "read"})
    index.upsert([Record("long", f"{long.text} More.", {"n": 2})], split=32)
    pieces = index.get(documents=["long"], include=())
    assert len(pieces) > 1 and all(one.metadata == {"n": 2, "status": "read"} for one in pieces)
    index.upsert([long])
    assert metadata(index)["long"] == {"n": 1, "status": "read"}


def test_an_update_of_one_piece_stays_with_its_text(index: FeatureIndex) -> None:
    index.upsert([Record("long", " ".join(TEXTS), {"n": 1})], split=32)
    index.update(["long#1"], set={"status": "read"})
    index.upsert([Record("long", " ".join([*TEXTS, "Another sentence is at the end."]), {"n": 2})], split=32)
    found = [one.metadata for one in index.get(documents=["long"], include=())]
    assert found[:3] == [{"n": 2}, {"n": 2, "status": "read"}, {"n": 2}]


def test_an_update_of_all_pieces_is_of_the_text_and_one_of_the_first_is_not(index: FeatureIndex) -> None:
    index.upsert([Record("long", " ".join(TEXTS))], split=32)
    index.update(documents=["long"], set={"of": "all"})
    index.update(["long#0"], set={"first": True})
    index.upsert([Record("long", " ".join(["All of it is new.", *TEXTS[::-1]]))], split=32)
    assert all(one.metadata == {"of": "all"} for one in index.get(documents=["long"], include=()))
    index.delete(["long#0"])
    index.upsert([Record("long", " ".join(["All of it is new.", *TEXTS[::-1]]))], split=32)
    assert all(one.metadata == {"of": "all"} for one in index.get(documents=["long"], include=()))


@pytest.mark.parametrize("what", ["texts", "metadata", "split"])
def test_what_is_updated_while_records_are_indexed_stays(
    index: FeatureIndex, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.update(["r0"], set={"status": "old"})
    end, split = ("", None) if what == "metadata" else (" It is new." * 9, 24 if what == "split" else None)
    changed = [Record(one.id, f"{one.text}{end}", {"n": 99}) for one in RECORDS]
    prepare, done = Pipeline._prepare, list[int]()

    def meanwhile(self: Pipeline, *given: Any) -> Any:
        window = prepare(self, *given)  # what is stored has been read
        if not done:
            done.append(index.update([one.id for one in RECORDS], set={"status": "new", "seen": True}))
        return window

    monkeypatch.setattr(Pipeline, "_prepare", meanwhile)
    index.upsert(changed, split=split)
    assert done == [len(RECORDS)]
    assert all(one == {"n": 99, "status": "new", "seen": True} for one in metadata(index).values())


def test_fields_of_each_id_are_of_records(index: FeatureIndex) -> None:
    index.upsert([Record("long", " ".join(TEXTS))], split=32)
    with pytest.raises(NotFoundError, match="it is a document"):
        index.update(each={"r1": {"a": 1}, "long": {"a": 1}})
    assert index.update(each={"r1": {"a": 1}, "nobody": {"a": 1}}) == 1
