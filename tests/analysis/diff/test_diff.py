"""Comparisons on real indexes: real differences are found and reported, and no others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from qdrant_client.models import FieldCondition, Filter, MatchValue

from saeindex import FeatureIndex, Record
from saeindex.analysis.diff.findings import power_of, telling
from saeindex.analysis.diff.results import Diff
from saeindex.analysis.stats.options import DiffOptions
from saeindex.concepts.named_concept import NamedConcept
from saeindex.errors import InvalidInputError, NotFoundError, UnknownConceptError
from tests.samples import sample_records

if TYPE_CHECKING:
    from saeindex import FeatureSpace
    from tests.samples import RecordingEncoder

MUSIC, OTHERS = 'metadata.topic = "music"', 'metadata.topic != "music"'


@pytest.fixture(scope="module")
def answers(
    space: FeatureSpace, session_encoder: RecordingEncoder, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FeatureIndex]:
    """Two models' answers to the same 60 prompts: the second adds thanks."""
    records = []
    for record in sample_records(60, seed=5):
        for model in ("plain", "polite"):
            text = record.text + (" Thank you so much for your kind question!" if model == "polite" else "")
            metadata = {"model": model, "prompt_id": record.id, **record.metadata}
            records.append(Record(f"{record.id}-{model}", text, metadata))
    path = tmp_path_factory.mktemp("answers") / "answers.idx"
    with FeatureIndex.create(path, space, encoder=session_encoder) as index:
        index.upsert(records)
        yield index


def test_a_topic_is_found_by_concepts_words_and_clusters(papers: FeatureIndex) -> None:
    found = papers.diff(MUSIC, OTHERS)
    assert found.groups["a"] + found.groups["b"] == 240
    words = {one.key for one in found.findings["words"] if one.group == "a"}
    assert words & {"violin", "jazz", "opera", "guitar"}
    concepts = [one for one in found.findings["concepts"] if one.group == "a"]
    assert any(word in one.label for one in concepts for word in ("music", "song", "opera", "jazz", "guitar"))
    for one in found:
        assert one.q <= 0.05 and one.p <= one.q
        assert one.ci[0] <= one.effect <= one.ci[1]
        assert one.freq[one.group] > one.freq[one.against]
    assert "findings of" in str(found) and "What could have been found" in str(found)


def test_concepts_whose_names_say_what_differs_come_first(
    papers: FeatureIndex, session_encoder: RecordingEncoder
) -> None:
    space = papers.space
    found = [one for one in papers.diff(MUSIC, OTHERS).findings["concepts"] if one.group == "a"]
    names = space.label_vectors[[int(one.key) for one in found]]
    subject, other = session_encoder.encode_query(["music", "vaccines and medicine"])
    nearness = names @ subject
    assert nearness[:2].mean() > nearness.mean() + 0.03
    # The same findings under names of something else lose their place.
    renamed = space.label_vectors.copy()
    renamed[int(found[0].key)] = other
    after = telling(found, replace(space, label_vectors=renamed))
    assert after[0].key != found[0].key
    assert {one.key for one in after} == {one.key for one in found}


def test_half_of_the_records_do_not_differ_from_the_others(papers: FeatureIndex) -> None:
    ids = list(papers.state.snapshot().ids)
    found = [len(papers.diff(ids[:120], ids[120:], confirm=False, examples=0))]
    found += [len(papers.diff(ids[::2], ids[1::2], confirm=False, examples=0))]
    assert sum(found) <= 1


def test_shares_equal_the_counts_of_the_index(papers: FeatureIndex) -> None:
    found = papers.diff(MUSIC, OTHERS, families=("concepts",), length_bins=0)
    first = found.findings["concepts"][0]
    for name, where in (("a", MUSIC), ("b", OTHERS)):
        counted = papers.count(f"typical(#{first.key}) AND {where}") / papers.count(where)
        assert first.freq[name] == pytest.approx(counted)
    row = first.row()
    assert row["ci_low"] == first.ci[0] < row["effect"] < first.ci[1] == row["ci_high"]


@pytest.mark.parametrize("topics", [("music", "others"), ("music", "cooking", "finance")])
def test_counting_in_the_engine_gives_the_same_findings(
    any_papers: FeatureIndex, topics: tuple[str, ...]
) -> None:
    options: dict[str, Any] = {"families": ("concepts",), "length_bins": 0, "unit": None, "confirm": False}
    where = {name: OTHERS if name == "others" else f'metadata.topic = "{name}"' for name in topics}
    counted = any_papers.diff(groups=where, **options)
    assert counted.counted_by.startswith("facets")
    snapshot = any_papers.state.snapshot()
    column, ids = snapshot.column("metadata.topic"), {name: list[str]() for name in topics}
    for one, code in zip(snapshot.ids, column.codes.tolist(), strict=True):
        ids.get(column.values[code], ids.get("others", [])).append(one)
    scanned = any_papers.diff(groups=ids, **options)
    assert scanned.counted_by == "snapshot"
    found = [
        {
            (kind, one.key, one.group): (one.effect, one.p)
            for kind, listed in (("apart", each), ("any", each.any_difference.get("concepts", ())))
            for first in listed
            for one in (first, *first.related)
        }
        for each in (counted, scanned)
    ]
    assert found[0] == {key: pytest.approx(own) for key, own in found[1].items()}
    assert len(list(counted)) == len(list(scanned)), "only the headline of what is alike may differ"
    assert bool(counted.any_difference) == (len(topics) > 2)


def test_groups_come_from_filters_values_and_names(papers: FeatureIndex) -> None:
    native = Filter(must=[FieldCondition(key="metadata.topic", match=MatchValue(value="music"))])
    by_filter = papers.diff(native, confirm=False, examples=0)
    by_where = papers.diff(MUSIC, confirm=False, examples=0)
    assert by_filter.groups == by_where.groups
    topics = papers.diff(by="metadata.topic", confirm=False, examples=1)
    assert set(topics.groups) >= {"music", "cooking", "finance"}
    rows = [(row.group, one.label) for row in topics for one in (row, *row.related)]
    reported = {
        (group, word) for group, label in rows for word in ("soup", "music", "weather") if word in label
    }
    assert {("cooking", "soup"), ("music", "music"), ("weather", "weather")} <= reported
    assert not reported & {("finance", "soup"), ("medicine", "music")}
    named = papers.diff(groups={"old": "metadata.year < 2000", "new": "metadata.year >= 2010"}, confirm=False)
    assert set(named.groups) == {"old", "new"}


def test_paired_groups_are_compared_by_pair(answers: FeatureIndex) -> None:
    found = answers.diff(
        'metadata.model = "polite"', 'metadata.model = "plain"', families=("concepts", "words"), length_bins=0
    )
    assert found.unit == "metadata.prompt_id" and found.pairs == 60
    assert "McNemar" in found.method
    words = {one.key: one.effect for one in found.findings["words"]}
    assert words["thank"] == pytest.approx(1.0)
    assert not words.keys() & {"violin", "bread", "tax"}


def test_which_group_is_named_first_makes_no_difference(papers: FeatureIndex) -> None:
    music, others = 'metadata.topic IN ("music", "cooking")', 'NOT metadata.topic IN ("music", "cooking")'
    found, mirrored = papers.diff(music, others), papers.diff(others, music)
    assert {family: len(each) for family, each in found.findings.items()} == {
        family: len(each) for family, each in mirrored.findings.items()
    }
    assert len(found.findings["clusters"]) > 0
    for one, other in zip(found, mirrored, strict=True):
        assert (one.key, one.label, one.replicated) == (other.key, other.label, other.replicated)
        assert one.effect == pytest.approx(-other.effect, abs=1e-9)
        assert one.p == pytest.approx(other.p, rel=1e-6)
        assert one.ci == pytest.approx([-end for end in reversed(other.ci)], abs=1e-9)


def test_findings_are_confirmed_on_the_other_half(papers: FeatureIndex) -> None:
    found = papers.diff(MUSIC, OTHERS, families=("words",))
    (reported,) = found.confirmation
    assert 0 < reported.replicated <= reported.found
    assert any(one.replicated for one in found)


def test_examples_show_the_finding(papers: FeatureIndex) -> None:
    found = papers.diff(MUSIC, OTHERS, families=("words",), examples=2)
    for one in found.findings["words"][:3]:
        for example in one.examples[one.group]:
            assert str(one.key) in example.highlights
            assert str(one.key) in example.text.lower()


def test_the_detectable_difference_falls_with_more_records(papers: FeatureIndex) -> None:
    few = papers.diff('metadata.topic = "music" AND metadata.year < 2000', OTHERS, families=("words",))
    many = papers.diff("metadata.year < 2007", "metadata.year >= 2007", families=("words",))
    of_few, of_many = (next(o for o in found.power if o.base == 0.05).share for found in (few, many))
    assert of_many is not None and (of_few or 1.0) > of_many


def test_what_could_be_found_is_said_of_documents(
    tmp_path: Path, space: FeatureSpace, session_encoder: RecordingEncoder
) -> None:
    with FeatureIndex.create(tmp_path / "long.idx", space, encoder=session_encoder) as index:
        index.upsert(replace(one, document=f"d{n % 20}") for n, one in enumerate(sample_records(240, seed=3)))
        one = index.diff(groups={"one": 'document = "d3"', "others": 'document != "d3"'})
        assert one.units == {"one": 1, "others": 19}
        assert {each.share for each in one.power} == {None}, "one of 20 documents cannot pass many tests"
        assert "12 records of one (from 1 document)" in str(one)
        topics = index.diff(MUSIC, OTHERS, paired=True)
        assert topics.pairs and topics.unit == "document"
        alone = index.diff(MUSIC, OTHERS, unit=None)
        assert len(topics.power) == len(alone.power) > 0
        for by_pairs, by_records in zip(topics.power, alone.power, strict=True):
            assert by_pairs.share is None or by_pairs.share > (by_records.share or 1)


def test_a_hint_is_for_the_group_that_has_it_more_however_small(papers: FeatureIndex) -> None:
    few = f"{MUSIC} AND metadata.year < 2003"
    groups = {"few": few, "others": f"NOT ({few})"}
    found = papers.diff(groups=groups, families=("concepts",), alpha=1e-9, hints=20)
    assert 5 <= found.groups["few"] < 25
    assert {one.group for one in found.hints} == {"few", "others"} or len(found.hints) > 10
    for one in found.hints:
        own, other = (
            papers.count(f"({where}) AND typical(#{one.key})") / found.groups[name]
            for name, where in groups.items()
        )
        assert one.log_odds > 0 and (own > other) == (one.group == "few")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"a": "metadata.year > 3000"}, InvalidInputError, "no record is in it"),
        ({"a": MUSIC, "b": MUSIC}, InvalidInputError, "in another group too"),
        ({}, InvalidInputError, "Give a and b"),
        ({"a": MUSIC, "by": "metadata.topic"}, InvalidInputError, "more than one of"),
        ({"by": "metadata.score"}, InvalidInputError, "different values"),
        ({"by": "metadata.nothing"}, NotFoundError, "metadata.year"),
        ({"a": ["no-such-record"]}, NotFoundError, "no-such-record"),
        ({"a": MUSIC, "strata": ("metadata.nothing",)}, NotFoundError, "metadata.nothing"),
        ({"a": MUSIC, "alpha": 2.0}, InvalidInputError, "alpha"),
        ({"a": MUSIC, "families": ("moods",)}, InvalidInputError, "moods"),
        ({"a": MUSIC, "method": "bonferroni"}, InvalidInputError, "bonferroni"),
        ({"a": MUSIC, "paired": True}, InvalidInputError, "unit"),
        ({"a": MUSIC, "speed": 3}, InvalidInputError, "speed"),
        ({"a": "#99999"}, UnknownConceptError, "#99999"),
        ({"a": MUSIC, "level": "loud"}, InvalidInputError, "loud"),
    ],
)
def test_invalid_options_are_reported(
    papers: FeatureIndex, arguments: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        papers.diff(**arguments)  # type: ignore[arg-type]


def test_related_features_are_counted_in_the_engine(any_papers: FeatureIndex) -> None:
    feature = int(np.argmax(np.asarray(any_papers.state.snapshot().at("typical").sum(0)).ravel()))
    found = any_papers.concepts.companions(feature, limit=5)
    present = any_papers.state.snapshot().at("typical")
    having = present[:, feature].toarray().ravel() > 0
    for one in found:
        assert one.support == int(present[having][:, one.feature].sum())
        assert one.lift > 1 and one.q <= 0.05


def test_json_has_the_fields_of_the_contract(papers: FeatureIndex, tmp_path: Path) -> None:
    found = papers.diff(MUSIC, OTHERS).to_json()
    assert {"groups", "tested", "alpha", "results"} <= found.keys()
    first = found["results"][0]
    assert {"feature", "label", "freq", "effect", "ci", "p", "q", "examples"} <= first.keys()
    assert isinstance(first["feature"], int) and len(first["ci"]) == 2


def test_two_whole_indexes_are_compared(
    papers: FeatureIndex, space: FeatureSpace, session_encoder: RecordingEncoder, tmp_path: Path
) -> None:
    thankful = [Record(one.id, one.text + " Thank you so much!") for one in sample_records(100, seed=9)]
    with FeatureIndex.create(tmp_path / "polite.idx", space, encoder=session_encoder) as other:
        other.upsert(thankful)
        found = papers.diff(other=other, families=("words",), length_bins=0)
        with pytest.raises(InvalidInputError, match="beside it"):
            papers.diff(MUSIC, other=other)
    assert found.groups == {"a": 240, "b": 100}
    thanks = next(one for one in found if one.key == "thank")
    assert thanks.group == "b" and thanks.effect == pytest.approx(-1.0)
    assert thanks.examples["b"][0].id.startswith("b:") and "Thank you" in thanks.examples["b"][0].text


def test_named_properties_are_reported_found_or_not(papers: FeatureIndex) -> None:
    named = ["music=music and concerts; against: food and cooking", "law=a court decision"]
    found = papers.diff(MUSIC, OTHERS, families=("words",), named=named)
    reported = {one.key: one for one in found.findings["named"]}
    assert reported["music"].q < 1e-4 and reported["music"].effect > 0.1
    assert reported["law"].q > 0.05
    assert "no difference found" in str(found)
    like = papers.state.snapshot().ids[:3]
    shown = papers.diff(MUSIC, named=[NamedConcept("these", like=like)], families=("words",))
    assert sum(shown.groups.values()) == 237 and any("examples" in note for note in shown.notes)


def test_a_small_group_that_limits_the_others_is_named(papers: FeatureIndex) -> None:
    few = [each.id for each in papers.scroll(MUSIC, limit=3)[0]]
    both = {name: f"metadata.year {at} AND NOT {MUSIC}" for name, at in (("a", "< 2005"), ("b", "> 2010"))}
    assert any("few (3)" in note for note in papers.diff(groups={**both, "few": few}, examples=0).notes)
    assert not any("Compare groups" in note for note in papers.diff(groups=both, examples=0).notes)


def test_what_could_be_found_is_said_of_thousands_of_units() -> None:
    """There are more ways to assign them than a float can count."""

    class Tested(SimpleNamespace):
        evidence, pairs, units = SimpleNamespace(family="words"), None, (900, 800)
        design = support = np.ones(3)

        def threshold(self, _: float) -> float:
            return 1e-4

        def __len__(self) -> int:
            return 3

    tested: Any = Tested()
    assert all(one.share is not None for one in power_of(tested, {"a": 900, "b": 800}, DiffOptions()))


def test_function_words_are_a_family_of_their_own_that_is_asked_for(tmp_path: Path) -> None:
    first = [Record(f"a{i}", f"Which river is it that they shall cross in {i}?") for i in range(40)]
    second = [Record(f"b{i}", f"We cross rivers and mountains in {i}.") for i in range(40)]
    with FeatureIndex(tmp_path / "style.idx") as index:
        index.upsert([*first, *second], learn_terms=False)
        a, b = [one.id for one in first], [one.id for one in second]
        words = {one.key for one in index.diff(a, b, families=("words",), length_bins=0).findings["words"]}
        found = index.diff(a, b, families=("style",), length_bins=0)
    style = {one.key for one in found.findings["style"]}
    assert style >= {"which", "shall", "we"} and "mountains" not in style
    assert "mountains" in words and not words & style
    assert Diff.from_json(found.to_json()).findings.keys() == {"style"}
