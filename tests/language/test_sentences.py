"""Sentences: where they end, that nothing is lost, and that none is too short or too long."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saeindex.language.speech import MAX_WORDS, MIN_WORDS, sentence_ends, sentence_spans


def sentences(text: str) -> list[str]:
    return [text[start:end] for start, end in sentence_spans(text)]


@pytest.mark.parametrize(
    "marked",
    [  # a | stands where one sentence ends and the next begins
        "Dr. Smith went to Washington, D.C. on Jan. 5.| He met Mr. B, e.g. for lunch.| It cost $3.5 now.",
        "The U.S. Senate passed it.| Fig. 3 shows the result (cf. Smith et al. 2010).| No. 5 is best.",
        "J. R. R. Tolkien wrote it.| I liked it a lot.",
        "See www.example.com/a.b for more.| Mail me at a.b@c.org today.",
        "Version 2.0.1 is out now.| It is 3.5 times faster.",
        "We met at 5 p.m. sharp.| Then we ate.",
        "It failed; nobody knew why: it just did.",
        "A title of a page|\n\nThe first paragraph of it.",
        "Steps to take first:|\n1. Open the file.|\n2. Read all of it.|\n3. Close it again.",
        "This is a line that is\nwrapped by hand in a\nmail.| And a second sentence\nfollows.",
        "今天天气很好。|我们去公园。",
    ],
)
def test_sentences_end_where_a_reader_says(marked: str) -> None:
    assert sentences(marked.replace("|", "")) == [part.strip() for part in marked.split("|")]


def test_a_short_one_belongs_to_its_neighbour_in_the_paragraph() -> None:
    assert sentences("What a meal! Wow! We will come back soon.") == [
        "What a meal! Wow!", "We will come back soon.",
    ]  # fmt: skip
    assert sentences("Yes. We will come back soon.") == ["Yes. We will come back soon."]
    assert sentences("Yes.\n\nWe will come back soon.") == ["Yes.", "We will come back soon."]
    assert sentences("") == sentences(" \n\n ") == []


def test_a_long_one_is_cut_after_a_clause_else_between_words() -> None:
    first, second = sentences("word " * (MAX_WORDS - 9) + "clause, " + "word " * 20 + "end.")
    assert first.endswith("clause,") and second.endswith("end.")
    assert [len(one.split()) for one in sentences("word " * (2 * MAX_WORDS + 1))] == [MAX_WORDS, MAX_WORDS, 1]


texts = st.one_of(
    st.text(max_size=300),
    st.lists(
        st.sampled_from(
            ["word", " ", ". ", "! ", "\n", "\n\n", "Dr. ", "(a)", '"', "。", "😀", ", ", "\u2028"]
        )
    ).map("".join),
)


@settings(max_examples=300, deadline=None)
@given(texts)
def test_nothing_is_lost_and_spans_follow_each_other(text: str) -> None:
    at = 0
    for start, end in sentence_spans(text):
        assert at <= start < end and not text[at:start].strip()
        assert text[start:end].strip() == text[start:end] and len(text[start:end].split()) <= MAX_WORDS
        at = end
    assert not text[at:].strip()
    assert not text or max(sentence_ends(text)) == len(text)


def test_a_long_text_takes_time_in_proportion() -> None:
    spans = sentence_spans("It is what it is, Dr. Smith. " * 20_000)
    assert len(spans) == 20_000 and MIN_WORDS <= 7
    # One sentence, and short ones that are joined: minutes, where each part counted all words again.
    assert len(sentence_spans("word " * 1_000_000)) == 16_667
    assert len(sentence_spans("Go on! " * 100_000)) == 3_334
