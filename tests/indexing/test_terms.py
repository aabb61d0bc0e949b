"""A collection's own terms, learned from its records or defined, are concepts of the index like any other."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import QdrantClient

from saeindex import FeatureIndex, FeatureSpace, Record
from saeindex.cli.doctor import _check_codes, _check_counts
from saeindex.collection import current
from saeindex.errors import InvalidInputError, StorageError
from saeindex.features.terms import find_terms, general_words
from saeindex.indexing import terms
from saeindex.indexing.points import point_id
from saeindex.stores.edge import EdgeStore

SAID = [
    "The router lost its connection again after two days.",
    "I bought this router for my office and it works.",
    "Their customer service never answered the phone.",
    "Customer service was friendly and solved my problem.",
    "The picture is sharp and the price is fair.",
    "It arrived late, but my daughter likes the colour.",
]


LATE = [
    "It arrived late, but my daughter likes the shade.",
    "It arrived late; my daughter likes the colours.",
]


def records(count: int, prefix: str = "r") -> list[Record]:
    return [
        Record(f"{prefix}{i}", f"{SAID[i % len(SAID)]} Order {i}{prefix}.", {"kind": i % len(SAID)})
        for i in range(count)
    ]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("terms") / "index"
    with FeatureIndex.create(path) as index:
        index.upsert(records(90))
    return path


@pytest.fixture
def folder(built: Path, tmp_path: Path) -> Path:
    """An index of its own for a test that writes."""
    return shutil.copytree(built, tmp_path / "index")


@pytest.fixture
def index(folder: Path) -> Iterator[FeatureIndex]:
    with FeatureIndex.open(folder) as index:
        yield index


def names(index: FeatureIndex) -> list[str]:
    return [one.name for one in index.state.manifest.terms]


def using(texts: str, own: list[Record]) -> int:
    return sum(texts in one.text.lower() for one in own)


# What is a term ----------------------------------------------------------------------------------------


def test_terms_are_what_no_concept_covers_and_general_english_lacks() -> None:
    texts = [one.text for one in records(90)]
    concepts = {"customer", "service", "price", "problem"}
    found = dict(find_terms(texts, concepts, concepts))
    assert found["router"] == using("router", records(90))
    assert found.keys() & {"customer service", "Customer service"}
    assert not found.keys() & {"price", "problem", "customer", "bought", "again", "their"}
    assert {"again", "day", "their"} <= general_words() and "router" not in general_words()


def test_another_word_for_a_concept_is_a_term_if_it_is_none_of_general_english() -> None:
    texts = ["Her asthma is worse.", "The doctor asked about asthma.", "He has asthma and takes a walk."] * 4
    assert find_terms(texts, {"asthma", "walk"}, ()) == [("asthma", 12)]
    assert find_terms(texts, {"asthma", "walk"}, {"asthma"}) == []


def test_a_word_of_a_phrase_is_no_term_of_its_own_and_neither_are_few_uses() -> None:
    texts = ["They sell zyxum blorfs.", "Nobody buys zyxum blorfs.", "We had quux once."] * 5
    assert [name for name, _ in find_terms(texts, (), ())] == ["zyxum blorfs", "quux"]
    assert find_terms(texts[:4], (), ()) == []


def test_the_plural_of_a_word_that_no_dictionary_has_is_no_term_of_its_own() -> None:
    texts = ["They sell zyxum blorfs.", "Nobody buys zyxum blorfs.", "We had a blorf once."] * 12
    assert [name for name, _ in find_terms(texts, (), ())] == ["zyxum blorfs", "blorf"]


def test_part_of_a_longer_phrase_is_no_term() -> None:
    texts = [f"The zyxum blorf system of {word} has a quux gadget." for word in ("one", "her", "mine")] * 4
    texts += [f"A quux gadget {word} here." for word in ("breaks", "works", "stands")] + ["Not here."] * 9
    names = [name for name, _ in find_terms(texts, {"gadget"}, {"gadget"})]
    assert names == ["quux gadget", "blorf", "zyxum"]


def test_another_language_has_no_terms() -> None:
    assert find_terms(["Der Anschluss ging nach zwei Tagen wieder verloren."] * 20, (), ()) == []


# In an index -------------------------------------------------------------------------------------------


def test_they_are_concepts_of_the_records_that_there_are_and_of_those_to_come(index: FeatureIndex) -> None:
    assert {"router", "customer service"} <= {one.lower() for one in names(index)}
    assert index.count('"router"') == using("router", records(90)) == 30
    assert index.count('"customer service" AND metadata.kind = 3') == 15
    (hit,) = index.search(where='"router"', limit=1)
    feature = index.concepts.resolve("router").features[0].id
    proof = next(one for one in hit.evidence if one.id == feature)
    assert proof.sentence[slice(*(proof.word or (0, 0)))].lower() == "router"
    index.upsert([Record("new", "Another router."), Record("other", "A lamp.")])
    assert index.count('"router"') == 31
    assert index.concepts.card(feature).label == "router"
    assert _check_codes(index)[0]


def test_of_the_first_texts_they_are_learned_before_any_record_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def second_pass(*_: object) -> None:
        raise AssertionError("the records have their terms when they are written")

    monkeypatch.setattr(EdgeStore, "_set_payload", second_pass)
    with FeatureIndex(tmp_path / "index") as index:
        index.upsert(records(90), batch_size=16)
        assert index.count('"router"') == 30
        assert _check_codes(index)[0]


def test_what_says_no_new_term_is_not_written_again(
    index: FeatureIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = set[Any]()
    write = EdgeStore.set_payload

    def noted(self: EdgeStore, payloads: Any) -> None:
        written.update(payloads)
        write(self, payloads)

    monkeypatch.setattr(EdgeStore, "set_payload", noted)
    index.upsert([Record(f"m{i}", f"The zyxum {i} is in the box.") for i in range(90)])
    zyxum = {point_id(f"m{i}") for i in range(90)}
    assert zyxum <= written and index.count('"zyxum"') == 90
    assert not written & {point_id(one.id) for one in records(90) if "router" in one.text}
    assert _check_codes(index)[0]


def test_terms_of_an_interrupted_run_are_found_again_in_all_records(
    index: FeatureIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise StorageError("set_payload", "the disk is full", "Free some space.")

    with monkeypatch.context() as broken:
        broken.setattr(EdgeStore, "set_payload", killed)
        with pytest.raises(StorageError):
            index.concepts.define("quick delivery", examples=["It arrived late, but my daughter likes it."])
    assert index.state.manifest.is_coding and "quick delivery" in names(index)
    assert "one was interrupted" in _check_counts(index)[1]
    index.upsert(records(2))  # nothing new
    assert _check_counts(index)[0]
    assert not index.state.manifest.is_coding and index.count('"quick delivery"') > 10
    assert _check_codes(index)[0]


def test_learned_again_they_keep_their_numbers_and_there_may_be_more(index: FeatureIndex) -> None:
    before = names(index)
    further = [Record(f"m{i}", f"The zyxum {i} is in the box.") for i in range(95)]
    index.upsert(further)
    assert names(index)[: len(before)] == before and "zyxum" in names(index)
    assert index.count('"zyxum"') == 95
    revision = index.state.revision
    index.concepts.learn()
    assert names(index)[: len(before)] == before and index.state.revision != revision
    assert index.count('"router"') == 30


def test_they_are_learned_at_64_records_and_again_at_twice_as_many(tmp_path: Path) -> None:
    def learned(index: FeatureIndex) -> int | None:
        return index.state.manifest.learned

    with FeatureIndex(tmp_path / "index") as index:
        index.upsert(records(63))
        index.upsert(records(64)[63:])
        assert learned(index) is None, "63 are too few, and an upsert of one record learns nothing"
        index.upsert(records(66)[64:])
        assert learned(index) == 66
        index.upsert(records(65, "s"))
        assert learned(index) == 66
        index.upsert(records(70, "s")[65:], learn_terms=False)
        assert learned(index) == 66
        index.upsert(records(72, "s")[70:])
        assert learned(index) == 138, "as many were written as it had"


def test_records_that_are_written_meanwhile_have_them(tmp_path: Path) -> None:
    own = records(240)
    with FeatureIndex(tmp_path / "index") as index:
        index.upsert(own[:2])
        threads = [
            threading.Thread(target=index.upsert, args=(own[start::4],), kwargs={"batch_size": 16})
            for start in range(4)
        ]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        assert index.count('"router"') == using("router", own) == 80
        assert len({one.lower() for one in names(index)}) == len(names(index))
        assert _check_codes(index)[0]


def test_records_that_another_handle_writes_meanwhile_have_what_is_defined(tmp_path: Path) -> None:
    client = QdrantClient(":memory:")
    said = [Record(f"p{n}", f"The board gave him a golden parachute, number {n}.") for n in range(40)]
    with FeatureIndex("notes", client=client) as own, FeatureIndex("notes", client=client) as other:
        own.upsert([{"text": "It rains."}])
        assert len(other) == 1

        def defined(_: int) -> None:
            if len(names(own)) == 0:
                own.concepts.define("golden parachute", examples=["He got a golden parachute."])

        other.upsert(said, batch_size=8, progress=defined)
        other.refresh()
        assert other.count('"golden parachute"') == own.count('"golden parachute"') == 40


def test_others_search_and_write_while_records_are_read_for_what_is_defined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, began = list[str](), threading.Event()
    really = terms.recoded

    def slowly(*given: Any) -> Iterator[Any]:
        began.set()
        for _ in range(200):  # pages that say nothing
            if len(found) == 2:
                break
            time.sleep(0.05)
            yield {}
        yield from really(*given)

    with FeatureIndex(tmp_path / "index") as index:
        index.upsert(records(60))
        monkeypatch.setattr(current, "recoded", slowly)

        def meanwhile() -> None:
            began.wait()
            index.upsert([Record("late", "The late parcel again.")])
            found.extend(hit.id for hit in index.search("late parcel", limit=2))

        other = threading.Thread(target=meanwhile)
        other.start()
        index.concepts.define("late parcels", examples=["It arrived late."])
        assert len(found) == 2 and "late" in found
        other.join()
        assert "late" in {hit.id for hit in index.search("parcel", where='"late parcels"', limit=100)}


def test_what_is_defined_stays_if_terms_are_learned_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really, began, waited = terms.recoded, threading.Event(), threading.Event()

    def slowly(*given: Any) -> Iterator[Any]:
        began.set()
        waited.wait(0.5)
        yield from really(*given)

    with FeatureIndex(tmp_path / "index") as index:
        index.upsert([*records(90), Record("rare", "A zorkle plant grew there.")])
        monkeypatch.setattr(current, "recoded", slowly)
        other = threading.Thread(target=lambda: (began.wait(), index.concepts.learn()))
        other.start()
        index.concepts.define("zorkle plant", examples=["The zorkle plant."])
        other.join()
        assert "zorkle plant" in names(index)
        assert "rare" in {hit.id for hit in index.search(where='"zorkle plant"', limit=100)}


def test_what_no_record_says_any_more_is_forgotten(index: FeatureIndex) -> None:
    before = names(index)
    assert "router" in before
    defined = index.concepts.define("late parcels", examples=["It arrived late."])
    renamed = index.concepts.resolve("customer service").features[0].id
    index.concepts.rename(renamed, "their support")
    index.delete(query_filter={"must_not": [{"has_id": []}]})
    index.upsert([Record(f"b{n}", f"Her asthma is worse, wrote doctor {n}.") for n in range(100)])
    after = names(index)
    assert "asthma" in after and "router" not in after and after.count("") > 0
    assert index.concepts.resolve("late parcels").features[0].id == defined.id
    assert index.concepts.card(renamed).label == "their support"
    assert index.count('"asthma"') == 100
    assert index.info()["terms"] == sum(map(bool, after))
    assert "" not in {one.label for one in index.concepts.find("router", 500)}


def test_what_an_interrupted_run_left_is_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    really = EdgeStore.set_payload
    with FeatureIndex(tmp_path / "index") as index:
        index.upsert(records(60))

        def failing(store: EdgeStore, payloads: dict[Any, Any]) -> None:
            really(store, dict(list(payloads.items())[:9]))
            raise StorageError("set_payload", "the disk is full", "Free some space.")

        monkeypatch.setattr(EdgeStore, "set_payload", failing)
        with pytest.raises(StorageError):
            index.upsert(records(90)[60:])
        monkeypatch.undo()
    with FeatureIndex.open(tmp_path / "index") as index:
        index.upsert(records(92)[90:])
        assert index.count('"router"') == using("router", records(92))


@pytest.mark.parametrize("kept", ["stored", "codes", "off"])
def test_they_survive_a_copy(index: FeatureIndex, tmp_path: Path, kept: Any) -> None:
    index.concepts.define("late delivery", LATE)
    router = index.concepts.resolve("router").features[0].id
    index.concepts.rename(router, "my router")
    index.profiles.fit("mine", like=["r1", "r2"], unlike=["r4"])
    index.profiles.edit("mine", {router: 1.0})
    report = index.copy(tmp_path / "copy", sentences=kept)
    with FeatureIndex.open(tmp_path / "copy") as copy:
        if kept == "off":
            assert names(copy) == [] and copy.count('"price"') >= 0
            assert (report.names, report.lost_names) == (0, ("my router",))
            assert report.lost_edits == {"mine": ("router",)} and copy.profiles.names() == ["mine"]
            return
        assert names(copy) == names(index)
        for asked in ('"router"', '"customer service"', '"late delivery"', 'NOT "router"'):
            assert copy.count(asked) == index.count(asked)
        copy.upsert([Record("new", "Another router.")])
        assert copy.count('"router"') == index.count('"router"') + 1
    index.copy("copied", client=QdrantClient(":memory:"))


def test_a_copy_that_adds_sentences_learns_them(tmp_path: Path) -> None:
    with FeatureIndex.create(tmp_path / "off", sentences="off") as off:
        off.upsert(records(90))
        assert names(off) == []
        with pytest.raises(InvalidInputError, match="no vectors of sentences"):
            off.concepts.define("late delivery")
        off.copy(tmp_path / "on")
    with FeatureIndex.open(tmp_path / "on") as copy:
        assert "router" in names(copy) and copy.count('"router"') == 30


def test_a_part_has_those_that_its_records_use(index: FeatureIndex) -> None:
    part = index.part("metadata.kind = 0")
    shown = [label.text for label in part.space.labels]
    assert "router" in shown and "customer service" not in {one.lower() for one in shown}
    assert part.count('"router"') == 15
    assert "customer" not in str(part.concepts.find("customer service", 3)[0].description).lower()


def test_a_saved_space_leaves_them_in_the_index(index: FeatureIndex, tmp_path: Path) -> None:
    index.space.save(tmp_path / "space")
    saved = FeatureSpace.load(tmp_path / "space")
    assert saved.fingerprint == index.space.fingerprint
    assert len(saved.labels) == len(index.space.labels) - len(names(index))


def test_an_index_on_the_space_of_another_learns_its_own(index: FeatureIndex, tmp_path: Path) -> None:
    own = [one.name for one in index.state.manifest.terms]
    with FeatureIndex.create(tmp_path / "other", index.space) as other:
        other.upsert([Record(f"s{i}", f"My iPod and its earbuds. Number {i}.") for i in range(70)])
        learned = [one.name for one in other.state.manifest.terms]
        assert {"iPod", "earbud"} & set(learned)
        assert other.space.n_features == index.space.without_terms().n_features + len(learned)
        assert not set(own) & {label.text for label in other.space.labels}
        assert other.count(f'"{learned[0]}"') == 70


def test_two_indexes_are_compared_by_the_concepts_of_the_space(index: FeatureIndex, tmp_path: Path) -> None:
    with FeatureIndex.create(tmp_path / "other") as other:
        other.upsert([Record(f"x{i}", f"The weather was bad on day {i}.") for i in range(80)])
        found = index.diff(other=other)
        own = index.space.n_features - len(names(index))
        assert found.findings["concepts"] and all(int(one.key) < own for one in found.findings["concepts"])


# Defined -----------------------------------------------------------------------------------------------


def test_a_concept_of_ones_own_filters_counts_steers_and_differs(index: FeatureIndex) -> None:
    card = index.concepts.define("late delivery", LATE, "goods that come too late")
    assert card.label == "late delivery" and card.description == "goods that come too late"
    count = index.count(f"#{card.id}")
    assert (
        10 <= count == index.count('"late delivery" AND metadata.kind = 5') == index.count('"late delivery"')
    )
    assert card.records_at_level[0] == count and card.strongest[0].proof is not None
    assert index.search("a lamp", steer='+"late delivery":2', limit=1)[0].metadata["kind"] == 5
    found = index.diff("metadata.kind = 5", "metadata.kind < 5", level="present").findings["concepts"]
    assert card.id in [one.key for finding in found for one in (finding, *finding.related)]
    again = index.concepts.define("Late  delivery", ["The picture is sharp."])
    assert again.id == card.id and again.label == "late delivery"


def test_what_a_concept_is_not_takes_fewer_records(index: FeatureIndex) -> None:
    index.concepts.define("late delivery", LATE)
    before = index.count('"late delivery"')
    unlike = [hit.text for hit in index.search("late", where='"late delivery"', limit=3)]
    index.concepts.define("late delivery", LATE, unlike=unlike)
    assert index.count('"late delivery"') < before
    (term,) = (one for one in index.state.manifest.terms if one.name == "late delivery")
    assert term.unlike == tuple(unlike)
    with pytest.raises(InvalidInputError, match="none that does"):
        index.concepts.define("late delivery", unlike=unlike)


def test_one_example_defines_a_concept(index: FeatureIndex) -> None:
    index.concepts.define("lateness", ["It arrived late, but my daughter likes the colour."])
    assert index.count('"lateness" AND metadata.kind = 5') >= 10


def test_a_term_that_is_learned_in_a_copy_of_a_part_renumbers_nothing(
    index: FeatureIndex, tmp_path: Path
) -> None:
    index.part("metadata.kind < 2").copy(tmp_path / "part")
    with FeatureIndex.open(tmp_path / "part") as part:
        before = [one.name for one in part.state.manifest.terms]
        assert before.count("") > 1
        last = max(place for place, name in enumerate(before) if name)
        number = part.space.n_features - len(before) + last
        part.concepts.rename(number, "mine")
        count = part.count('"mine"')
        part.concepts.define("brand new", LATE)
        assert [one.name for one in part.state.manifest.terms] == [*before, "brand new"]
        assert part.count('"mine"') == count > 0


def test_bad_definitions_are_errors_and_change_nothing(index: FeatureIndex) -> None:
    before = index.state.revision
    for name, examples in (
        ("", ()), ("two\x00lines", ()), ("x" * 201, ()), ("price", ()), ("soup", ("",)), ("#12", ()),
        ("family:x", ()), ("profile:x", ()),
    ):  # fmt: skip
        with pytest.raises(InvalidInputError):
            index.concepts.define(name, examples)
    assert index.state.revision == before


def test_what_names_a_term_says_it_whatever_its_examples(index: FeatureIndex) -> None:
    index.concepts.define("router", ["The box was blue.", "A blue box."])
    assert index.count('"router"') == index.count('" router  "') == 30
    index.upsert([Record("many", "Two routers, and zyxums."), Record("one", "A zyxum.")])
    assert index.count('"router" AND record_id = "many"') == 1
    index.concepts.define("zyxum")
    assert index.count('"zyxum"') == 2


def test_own_names_of_terms_stay_in_their_index(index: FeatureIndex, tmp_path: Path) -> None:
    feature = index.concepts.resolve("router").features[0].id
    index.concepts.rename(feature, "my router")
    index.concepts.rename(5, "mine")
    assert index.concepts.names().names == {5: "mine"}
    assert index.concepts.define("my router", ["A box of the network."]).id == feature
    with pytest.raises(InvalidInputError, match="has that name"):
        index.concepts.define("mine")


def test_it_can_be_renamed_and_hidden(index: FeatureIndex) -> None:
    feature = index.concepts.define("late delivery", LATE).id
    index.concepts.rename(feature, "slow post")
    assert index.concepts.card(feature).label == "slow post"
    assert index.count('"slow post"') == index.count('"late delivery"') > 0
    index.concepts.hide(feature)
    assert index.concepts.card(feature).is_weak
