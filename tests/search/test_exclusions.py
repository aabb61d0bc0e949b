"""Questions in plain English that leave something out, and those that do not."""

from __future__ import annotations

import pytest

from saeindex import FeatureIndex, Query
from saeindex.language.evaluate import clauses
from saeindex.language.exclusions import Interpreted
from saeindex.language.parser import parse_where
from saeindex.language.to_text import to_text


@pytest.mark.parametrize(
    ("question", "wanted", "unwanted", "is_sure"),
    [
        ("what is gout, but not how it is treated", "what is gout", "how it is treated", False),
        ("antidepressants but not weight gain", "antidepressants", "weight gain", False),
        ("information on gout without the treatment", "information on gout", "treatment", True),
        ("Aside from its causes, what is gout?", "what is gout", "causes", False),
        ("tell me about gout. I don't need the statistics, thanks", "tell me about gout", "statistics", True),
        ("gout (not treatment)", "gout", "treatment", False),
        ("Skip the history and explain gout", "explain gout", "history", True),
        ("gout, no treatment pages please", "gout", "treatment", True),
        ("Keep prognosis out of it: what is gout?", "what is gout", "prognosis", False),
        ("gout overview, treatment excluded", "gout overview", "treatment", True),
        ("refund requests, not damaged goods", "refund requests", "damaged goods", False),
        ("sync bugs that don't involve Outlook", "sync bugs", "Outlook", True),
        ("crash reports, anything but C++", "crash reports", "C++", True),
        ("docks, excluding Fish Market", "docks", "Fish Market", True),
        ("battery problems but not on the E-Glide", "battery problems", "E-Glide", True),
        ("account tickets but not from Mr. Smith", "account tickets", "Mr. Smith", True),
        ("gate problems other than v12.7", "gate problems", "v12.7", True),
        ("wet saddles, not ripped ones", "wet saddles", "ripped", False),
    ],
)  # fmt: skip
def test_what_is_left_out_is_split_off(question: str, wanted: str, unwanted: str, is_sure: bool) -> None:
    assert Interpreted.of(question) == (wanted, unwanted, is_sure)


@pytest.mark.parametrize(
    "question",
    [
        "can't sleep without pills", "phone without headphone jack", "why do I not receive emails", "",
        "not only diabetes but also obesity", "is there a cure or not", "camera not working after update",
        "error: no such file or directory", "what happens if you skip a period", "show me anything but those",
        "nothing to commit, working tree clean", "what does not show up on a credit report",
        "save and except clause in a deed", "Error: object reference not\nset to an instance of it",
        "save plot into image file in matlab", "Hibernate does not show records. Do you know why?",
        "Drag and drop files into a webpart", "how to avoid crowds in kyoto", "null not equal to null",
        "combining different lists and showing them", "coupon code created but not working",
        "everything works except the printer", "got the invoice but not the parcel",
        "email works but not the calendar",
        "user can log in but not see the dashboard", "I was refunded everything except the fee",
        "nothing but the truth", "without a doubt the best phone", "fever but no cough",
        f"{'long ' * 50}but not this",
    ],
)  # fmt: skip
def test_what_leaves_nothing_out_stays_as_it_is(question: str) -> None:
    assert Interpreted.of(question) == (question, "", True)


def test_a_question_is_steered_away_from_what_it_leaves_out(papers: FeatureIndex) -> None:
    question = "tell me about galaxies, but not about dark matter"
    hits = papers.search(question, interpret=True, limit=5)
    same = papers.search("tell me about galaxies", steer='-"dark matter":0.75', limit=5)
    assert [(hit.id, hit.score) for hit in hits] == [(hit.id, hit.score) for hit in same]
    assert hits.plan.unwanted == "dark matter"
    first, second = (one for one in hits.plan.understood if "dark matter" in one and "Steer" not in one)
    assert first == "Read as 'tell me about galaxies', and not 'dark matter': what is near that ranks lower"
    assert second == '  to leave out all that speaks of it: NOT possible("dark matter")'
    assert papers.plan(question).unwanted == ""
    more = papers.plan(Query(question, interpret=True, steer="+theory:1"))
    assert [(one.target, one.strength) for one in more.steer] == [("theory", 1.0), ("dark matter", -0.75)]


@pytest.mark.parametrize("question", ["price excluding sales tax", "gone but not forgotten song"])
def test_where_no_text_is_on_it_a_form_says_nothing(papers: FeatureIndex, question: str) -> None:
    plan = papers.plan(question, interpret=True)
    assert (plan.unwanted, plan.query.text) == ("", question)


def test_words_and_filters_alone_are_not_interpreted(papers: FeatureIndex) -> None:
    assert papers.plan("articles on galaxies without halos", interpret=True, using="words").unwanted == ""
    assert papers.plan(where="#1", interpret=True).unwanted == ""


def test_what_nobody_knows_is_left_out_of_the_text_alone(papers: FeatureIndex) -> None:
    plan = papers.plan("articles on galaxies except qwzx vbnk", interpret=True)
    assert (plan.query.text, plan.unwanted, plan.steer) == ("articles on galaxies", "qwzx vbnk", ())
    assert '  to leave out all that has these words: NOT says("qwzx vbnk")' in plan.understood


@pytest.mark.parametrize(
    ("question", "wanted", "said"),
    [
        ('saddles but not "wet foam"', "saddles", ["wet foam"]),
        ("errors except PAY-5001", "errors", ["PAY-5001"]),
        ("refunds except order RB-20234 and RB-20341", "refunds", ["RB-20234", "RB-20341"]),
        ("prices except €1,249.00", "prices", ["€1,249.00"]),
        ("accounts except tomas.novak@example.com", "accounts", ["tomas.novak@example.com"]),
        ("app problems but not 4.2.10", "app problems", ["4.2.10"]),
        ("developer questions except C++", "developer questions", ["C++"]),
        ("deposits but not 349.99 EUR", "deposits", ["349.99 EUR"]),
        ("which errors does it show, but not ERR-7?", "which errors does it show", ["ERR-7"]),
        ("log messages without E-77/B", "log messages", ["E-77/B"]),
        ("everything but VB.NET and C#", "everything", ["VB.NET", "C#"]),
        ('faults but neither "Dr. Vogt" nor "Dr. Noor"', "faults", ["Dr. Vogt", "Dr. Noor"]),
        ("every error but ERR-7", "every error", ["ERR-7"]),
        ("errors barring ERR-7 and without the code ERR-8", "errors", ["ERR-8", "ERR-7"]),
        ("reports not from Mrs. Van Houten", "reports", ["Mrs. Van Houten"]),
        ("docks, excluding Fish Market", "docks", ["Fish Market"]),
        ("all tests pass except ERR-4521", "all tests pass except ERR-4521", []),
        ("it works, but not with 3.4.1", "it works, but not with 3.4.1", []),
        ("why is ERR-45 not ERR-46?", "why is ERR-45 not ERR-46?", []),
        ("everyone except Dr. Vogt was informed", "everyone except Dr. Vogt was informed", []),
    ],
)
def test_what_is_left_out_by_a_code_or_in_quotes_is_not_said(
    question: str, wanted: str, said: list[str]
) -> None:
    query = Query(question, syntax=True, interpret=True).read
    assert query.text == wanted and query.read == query
    denied = () if query.clause is None else clauses(parse_where(query.clause))
    assert [to_text(one) for one in denied] == [f'NOT says("{one}")' for one in said]
    if '"' not in question:
        plain = Query(question, interpret=True).read
        assert (plain.text, plain.where) == (query.text, query.where)
