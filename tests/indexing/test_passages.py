"""Splitting long texts: coverage, limits, progress, and where the cuts fall."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from saeindex.indexing.passages import MIN_TOKENS, PassageOptions, split_passages

from saeindex.errors import InvalidInputError

Spans = list[tuple[int, int]]


def word_spans(text: str) -> Spans:
    return [match.span() for match in re.finditer(r"\w+|[^\w\s]", text)]


def byte_level_spans(text: str) -> Spans:
    """Spans as a byte-level tokenizer gives them: spaces belong to words, wide characters repeat."""
    spans = [match.span() for match in re.finditer(r"\s?\w{1,3}|\s|[^\w\s]", text)]
    return [span for span in spans for _ in range(len(text[span[1] - 1].encode()))]


@st.composite
def options(draw: st.DrawFn) -> PassageOptions:
    max_tokens = draw(st.integers(MIN_TOKENS, 40))
    return PassageOptions(max_tokens, draw(st.integers(0, max_tokens // 2)))


texts = st.one_of(
    st.text(max_size=400),
    st.lists(st.sampled_from(["word", " ", ". ", "\n\n", "\n", "星。", "é!", "😀", "longer-word", "\t"])).map(
        "".join
    ),
)


@settings(max_examples=200, deadline=None)
@given(text=texts, options=options(), tokenize=st.sampled_from([word_spans, byte_level_spans]))
def test_passages_are_substrings_that_lose_no_character_of_a_token(
    text: str, options: PassageOptions, tokenize: Callable[[str], Spans]
) -> None:
    spans = tokenize(text)
    passages = split_passages(text, spans, options)
    assert passages == split_passages(text, spans, options)
    assert all(passage in text for passage in passages)
    in_tokens = {i for begin, stop in spans for i in range(begin, stop) if not text[i].isspace()}
    assert Counter(text[i] for i in in_tokens) <= Counter("".join(passages))


@settings(max_examples=200, deadline=None)
@given(count=st.integers(0, 300), options=options())
def test_every_token_is_covered_within_the_limit_and_passages_advance(
    count: int, options: PassageOptions
) -> None:
    text = "".join(f"w{i}" + (". " if i % 7 == 3 else "\n\n" if i % 23 == 5 else " ") for i in range(count))
    passages = split_passages(text, word_spans(text), options)
    numbers = [[int(word) for word in re.findall(r"w(\d+)", passage)] for passage in passages]
    assert {number for passage in numbers for number in passage} == set(range(count))
    assert all(len(word_spans(passage)) <= options.max_tokens for passage in passages)
    for earlier, later in pairwise(numbers):
        assert earlier[0] < later[0] <= earlier[-1] + 1
        assert later[-1] > earlier[-1]
        assert earlier[-1] - later[0] + 1 <= options.overlap


@settings(max_examples=50, deadline=None)
@given(text=st.text(alphabet="ab ", min_size=1, max_size=300), options=options())
def test_any_token_spans_terminate(text: str, options: PassageOptions) -> None:
    overlapping = [(i, min(len(text), i + 5)) for i in range(len(text))] + [(3, 3)]
    passages = split_passages(text, overlapping, options)
    assert all(passage in text for passage in passages)


def test_a_short_text_is_one_unchanged_passage() -> None:
    text = "  A short text.\n"
    assert split_passages(text, word_spans(text), PassageOptions(8)) == [text]
    assert split_passages("", [], PassageOptions(8)) == [""]


def test_the_cut_prefers_a_paragraph_to_a_sentence_and_a_sentence_to_a_word() -> None:
    paragraph = "One two three four five six.\n\nSeven eight. Nine ten eleven"
    assert split_passages(paragraph, word_spans(paragraph), PassageOptions(11))[0] == (
        "One two three four five six."
    )
    sentence = 'One two three four five six "seven." Eight nine ten eleven twelve thirteen'
    assert split_passages(sentence, word_spans(sentence), PassageOptions(12))[0].endswith('"seven."')
    words = "one two three four five six seven eight nine ten"
    assert split_passages(words, word_spans(words), PassageOptions(8)) == [words[:39], "nine ten"]


def test_a_cut_is_between_words_if_tokens_are_parts_of_words() -> None:
    text = "abcdefg hijklmn opqrstu vwxyzab"
    spans = [match.span() for match in re.finditer(r"\w{1,2}", text)]
    assert split_passages(text, spans, PassageOptions(11)) == ["abcdefg hijklmn", "opqrstu vwxyzab"]


def test_a_word_longer_than_a_passage_is_cut_inside() -> None:
    text = "x" * 50
    assert split_passages(text, [(i, i + 1) for i in range(50)], PassageOptions(20)) == [
        "x" * 20,
        "x" * 20,
        "x" * 10,
    ]


def test_overlap_starts_at_a_word() -> None:
    text = "one two three four five six seven eight nine ten eleven twelve"
    first, second = split_passages(text, word_spans(text), PassageOptions(8, overlap=2))
    assert first.endswith("seven eight")
    assert second.startswith("seven eight nine")


def test_chinese_is_cut_after_a_full_stop() -> None:
    text = "天地玄黄宇宙洪荒。日月盈昃辰宿列张"
    spans = [(i, i + 1) for i in range(len(text))]
    assert split_passages(text, spans, PassageOptions(12))[0] == "天地玄黄宇宙洪荒。"


@pytest.mark.parametrize(("max_tokens", "overlap"), [(7, 0), (0, 0), (10, -1), (10, 6)])
def test_invalid_lengths_are_refused(max_tokens: int, overlap: int) -> None:
    with pytest.raises(InvalidInputError, match="passage"):
        PassageOptions(max_tokens, overlap)
