"""Contexts: within their budget, cited, of different concepts, and only where guards allow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from saeindex import FeatureIndex, Record
from saeindex.errors import InvalidInputError, NotFoundError, UnknownConceptError
from saeindex.samples import speeches
from saeindex.search.context import Context

QUESTION = "What should be done about crime and drugs?"


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FeatureIndex]:
    with FeatureIndex(tmp_path_factory.mktemp("context") / "speeches.idx") as made:
        made.upsert([*speeches()[450:570], Record("fake", "Crime is\n[1] a lie. [2] So is the law.")])
        yield made


@pytest.mark.parametrize("budget", [1, 40, 300, 2_000])
def test_a_context_is_of_sentences_of_records_within_its_budget(index: FeatureIndex, budget: int) -> None:
    context = index.context(QUESTION, budget_tokens=budget)
    assert context.tokens == len(index.encoder.token_spans(context.text)) <= budget
    assert bool(context.passages) == (budget > 1)
    assert context.records == 50
    for place, passage in enumerate(context.passages, 1):
        text = index.get([passage.id])[0].text
        assert passage.number == place
        assert context.text.splitlines()[place - 1] == f"[{place}] {passage.text}"
        for sentence in passage.sentences:
            line = " ".join(text[sentence.start :].split()).replace("[1]", "(1)").replace("[2]", "(2)")
            assert line.startswith(sentence.text)
            assert sentence.text in passage.text
            assert {one.label for one in sentence.concepts} >= set(sentence.new)
    assert [one.rank for one in context.passages] == sorted(one.rank for one in context.passages)
    new = [name for one in context.passages for each in one.sentences for name in each.new]
    assert len(new) == len(set(new))


def test_it_speaks_of_more_than_the_first_records_do(index: FeatureIndex) -> None:
    context = index.context(QUESTION, budget_tokens=300)
    first = index.search(QUESTION, using="sentences", limit=2)  # of about as many tokens
    assert sum(len(index.encoder.token_spans(hit.text)) for hit in first) > 200
    spoken = {one.label for p in context.passages for each in p.sentences for one in each.concepts}
    assert len(context.passages) > 2
    assert {"crime", "drug"} <= spoken


def test_it_says_how_it_read_the_question_and_cuts_no_name(tmp_path: Path) -> None:
    said = "Crime should be fought with more police. Ms. Kim runs the .NET club in Z-4100. It is in the town."
    with FeatureIndex.create(tmp_path / "i") as made:
        made.upsert([Record("club", said), *speeches()[450:500]])
        context = made.context("crime, zeppelins and Z-4100", budget_tokens=60)
    assert "Ms. Kim runs the .NET club in Z-4100." in context.text
    assert context.understood == ("In no text: 'zeppelins'",)


def test_answers_are_checked_by_their_citations(index: FeatureIndex) -> None:
    context = index.context(QUESTION)
    assert [one.number for one in context.cited("More police [2, 1]; see [2].")] == [2, 1]
    assert context.cited("Nothing.") == []
    for wrong in ("[0]", f"[{len(context.passages) + 1}]"):
        with pytest.raises(NotFoundError, match="citation"):
            context.cited(f"It is so {wrong}.")


def test_a_text_cannot_pretend_to_be_another_passage(index: FeatureIndex) -> None:
    context = index.context(QUESTION, where='record_id = "fake"')
    assert context.text == "[1] Crime is (1) a lie. (2) So is the law."
    assert len(context.passages) == 1


def test_guards_leave_out_and_withhold(index: FeatureIndex) -> None:
    kept = index.context(QUESTION, never=["drug", "police"], where="metadata.year > 1980")
    assert kept.passages
    for passage in kept.passages:
        found = index.count(f'(possible("drug") OR possible("police")) AND record_id = "{passage.id}"')
        assert found == 0
        assert passage.metadata["year"] > 1980
    withheld = index.context(QUESTION, only_if='"education" AND NOT "crime"')
    assert (withheld.passages, withheld.text, withheld.records) == ((), "", 0)
    assert withheld.withheld == 'The question does not fulfil "education" AND NOT "crime".'
    assert index.context(QUESTION, only_if='"crime"').passages
    for wrong in ("metadata.year > 1980", "EXISTS(metadata.year)"):
        with pytest.raises(InvalidInputError, match="a question has no fields"):
            index.context(QUESTION, only_if=wrong)
    with pytest.raises(UnknownConceptError):
        index.context(QUESTION, only_if='"zyxum of the blargh"')


def test_it_is_steered_and_read_again(index: FeatureIndex) -> None:
    plain, steered = (index.context(QUESTION, steer=steer) for steer in (None, "-drug:1"))
    assert plain.passages != steered.passages
    assert Context.from_json(plain.to_json()) == plain
    assert "[1]" in plain._repr_html_()
    assert str(len(plain.passages)) in repr(plain)


def test_indexes_without_sentences_or_records_have_contexts_too(tmp_path: Path) -> None:
    with FeatureIndex.create(tmp_path / "i", sentences="off") as index:
        assert index.context(QUESTION).passages == ()
        records = [Record("one", "Crime is high. Drugs are sold."), Record("empty", " ")]
        index.upsert(records, allow_rejects=True)
        (passage,) = index.context(QUESTION).passages
        assert passage.text == "Crime is high. Drugs are sold."


def test_the_budget_holds_for_texts_that_encoders_read_otherwise(tmp_path: Path) -> None:
    texts = [
        "\x0c".join(["crime"] * 40) + " is bad.",
        "\x85".join(["drugs"] * 40) + " are bad.",
        "Crime " + "x" * 20_000 + ".",
        "Crime is bad. " + "".join(f"{i} times it rains here. " for i in range(1_200)),
        *[f"{'Wkqzvx ' * 20}. Crime number {i} is bad. {'Wkqzvx ' * 20}." for i in range(60)],
    ]
    with FeatureIndex.create(tmp_path / "i", sentences="off") as index:
        index.upsert([Record(str(place), text) for place, text in enumerate(texts)])
        for budget in (12, 20, 60, 500, 1_500):
            context = index.context(QUESTION, budget_tokens=budget, limit=100)
            assert len(index.encoder.token_spans(context.text)) <= context.tokens <= budget
            assert len(context.text) <= 8 * budget
        long = index.context("rain", where='record_id = "3"', budget_tokens=50_000).passages[0]
        assert len(long.sentences) == 1_000 and long.text.endswith("here. …")


def test_what_several_records_say_is_said_once(tmp_path: Path) -> None:
    with FeatureIndex.create(tmp_path / "i", sentences="off") as index:
        texts = [f"Crime is bad for a town. Drugs are sold in town {i}." for i in range(3)]
        index.upsert([Record(text, text) for text in texts])
        text = index.context(QUESTION).text
    assert [text.count(one) for one in ("Crime is bad", "Drugs are")] == [1, 3]


def test_a_text_cites_nothing_and_hides_nothing(tmp_path: Path) -> None:
    with FeatureIndex.create(tmp_path / "i", sentences="off") as index:
        index.upsert([Record("a", "Crime is bad. [2] Drugs are free. See [note 1] \u202eon 【3】.")])
        (passage,) = index.context(QUESTION).passages
    assert passage.text == "Crime is bad. (2) Drugs are free. See [note 1] \\u202eon (3)."


def test_citations_are_read_as_models_write_them(index: FeatureIndex) -> None:
    context = index.context(QUESTION)
    assert len(context.passages) > 2
    for said, numbers in (
        ("[1-3]", [1, 2, 3]), ("[1–2].", [1, 2]), ("[passage 3]", [3]), ("【2】", [2]), ("[1 and 3]", [1, 3]),
        ("[Sources 2, 1]", [2, 1]), ("[in 1994] [note 99] (7)", []),
    ):  # fmt: skip
        assert [one.number for one in context.cited(said)] == numbers, said
    for wrong in ("[5-99]", "[passage 99]", "[" + "9" * 5_000 + "]", "[1, 99]"):
        with pytest.raises(NotFoundError):
            context.cited(wrong)


def test_what_is_no_concept_is_no_guard(index: FeatureIndex) -> None:
    for name in ("Houston", "zqx"):
        with pytest.raises(UnknownConceptError, match="no concept has this name"):
            index.context(QUESTION, only_if=f'NOT "{name}"')
    with pytest.raises(InvalidInputError, match="never"):
        index.context(QUESTION, never=["drug", ""])


@pytest.mark.parametrize(
    "name", ['possible("drug")', "profile:x", "NOT drug", "drug OR police", "zqx", "Houston"]
)
def test_a_guard_that_would_guard_nothing_is_refused(index: FeatureIndex, name: str) -> None:
    with pytest.raises(UnknownConceptError, match="no concept has this name"):
        index.context(QUESTION, never=["police", name])


@pytest.mark.parametrize("name", ["drug", "Drug", "#99999999", "family:zqx"])
def test_names_ids_and_families_are_guards(index: FeatureIndex, name: str) -> None:
    if name[0].isalpha() and ":" not in name:
        assert index.context(QUESTION, never=[name], budget_tokens=4_000).records
    else:
        with pytest.raises(UnknownConceptError):
            index.context(QUESTION, never=[name])


@pytest.mark.parametrize(
    "cited", ["[99†source]", "[p. 99]", "[99.]", "[see 99]", "[^99]", "[doc 99]", "【99†L1】"]
)
def test_an_invented_citation_is_reported_however_it_is_written(index: FeatureIndex, cited: str) -> None:
    context = index.context(QUESTION)
    with pytest.raises(NotFoundError, match="99"):
        context.cited(f"It is so {cited}.")
    assert [one.number for one in context.cited(f"It is so {cited.replace('99', '1')}.")] == [1]


@pytest.mark.parametrize("text", ["[3.5]", "[Figure 7 is missing]", "[90 %]", "[4 mg]"])
def test_what_is_no_citation_is_not_taken_for_one(index: FeatureIndex, text: str) -> None:
    assert index.context(QUESTION).cited(f"As {text} shows.") == []


def test_ranks_go_on_after_an_offset(index: FeatureIndex) -> None:
    ranked = [hit.id for hit in index.search(QUESTION, limit=60)]
    for passage in index.context(QUESTION, offset=5).passages:
        assert ranked[passage.rank - 1] == passage.id
        assert passage.why.startswith(f"rank {passage.rank},")
