"""Splitting long texts: nothing is lost or repeated, no piece is too long, and where the cuts fall."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saeindex import Record
from saeindex.indexing.split import MIN_TOKENS, document_in, piece_id, split_record, split_text
from tests.samples import RecordingEncoder

Spans = list[tuple[int, int]]


def word_spans(text: str) -> Spans:
    return [match.span() for match in re.finditer(r"\w+|[^\w\s]", text)]


def byte_level_spans(text: str) -> Spans:
    """Spans as a byte-level tokenizer gives them: spaces belong to words, wide characters repeat."""
    spans = [match.span() for match in re.finditer(r"\s?\w{1,3}|\s|[^\w\s]", text)]
    return [span for span in spans for _ in range(len(text[span[1] - 1].encode()))]


texts = st.one_of(
    st.text(max_size=400),
    st.lists(st.sampled_from(["word", " ", ". ", "\n\n", "\n", "星。", "é!", "😀", "longer-word", "\t"])).map(
        "".join
    ),
)


@settings(max_examples=300, deadline=None)
@given(
    text=texts, limit=st.integers(MIN_TOKENS, 40), tokenize=st.sampled_from([word_spans, byte_level_spans])
)
def test_pieces_joined_are_the_text_and_none_has_too_many_tokens(
    text: str, limit: int, tokenize: Callable[[str], Spans]
) -> None:
    spans = tokenize(text)
    pieces = split_text(text, spans, limit)
    assert "".join(pieces) == text
    assert all(pieces) or pieces == [text]
    at = 0
    for piece in pieces:
        own = [span for span in spans if at < span[1] <= at + len(piece)]
        assert len(own) <= limit
        at += len(piece)


@settings(max_examples=50, deadline=None)
@given(text=st.text(alphabet="ab ", min_size=1, max_size=300), limit=st.integers(MIN_TOKENS, 40))
def test_any_token_spans_terminate(text: str, limit: int) -> None:
    overlapping = [(i, min(len(text), i + 5)) for i in range(len(text))] + [(3, 3)]
    assert "".join(split_text(text, overlapping, limit)) == text


def test_a_short_text_is_one_unchanged_piece() -> None:
    text = "  A short text.\n"
    assert split_text(text, word_spans(text), 8) == [text]
    assert split_text("", [], 8) == [""]


def test_the_cut_prefers_a_paragraph_to_a_sentence_and_a_sentence_to_a_word() -> None:
    paragraph = "One two three four five six.\n\nSeven eight. Nine ten eleven"
    assert split_text(paragraph, word_spans(paragraph), 11)[0] == "One two three four five six.\n\n"
    sentence = 'One two three four five six "seven." Eight nine ten eleven twelve thirteen'
    assert split_text(sentence, word_spans(sentence), 12)[0].endswith('"seven." ')
    title = "One two three four five six. Dr. Seven met Mr. Eight nine ten eleven twelve"
    assert split_text(title, word_spans(title), 11)[0] == "One two three four five six. "
    words = "one two three four five six seven eight nine ten"
    assert split_text(words, word_spans(words), 8) == [words[:40], "nine ten"]


def test_a_cut_is_between_words_if_tokens_are_parts_of_words() -> None:
    text = "abcdefg hijklmn opqrstu vwxyzab"
    spans = [match.span() for match in re.finditer(r"\w{1,2}", text)]
    assert split_text(text, spans, 11) == ["abcdefg hijklmn ", "opqrstu vwxyzab"]


def test_a_word_longer_than_a_piece_is_cut_inside() -> None:
    assert split_text("x" * 50, [(i, i + 1) for i in range(50)], 20) == ["x" * 20, "x" * 20, "x" * 10]


def test_chinese_is_cut_after_a_full_stop() -> None:
    text = "天地玄黄宇宙洪荒。日月盈昃辰宿列张"
    assert split_text(text, [(i, i + 1) for i in range(len(text))], 12)[0] == "天地玄黄宇宙洪荒。"


def test_pieces_of_a_record_are_read_whole_by_the_encoder(encoder: RecordingEncoder) -> None:
    text = "\n\n".join(f"Paragraph {n} says that it rains. " * 7 for n in range(30))
    record = Record("doc#1", text, {"n": 1}, {"prompt": "Why?"})
    pieces = split_record(record, encoder.max_tokens, encoder)
    assert "".join(piece.text for piece in pieces) == text
    assert all(len(encoder.token_spans(piece.text)) <= encoder.max_tokens for piece in pieces)
    assert [piece.id for piece in pieces] == [f"doc#1#{n}" for n in range(len(pieces))]
    assert {(piece.document, piece.metadata["n"], piece.fields["prompt"]) for piece in pieces} == {
        ("doc#1", 1, "Why?")
    }


@pytest.mark.parametrize(
    ("record_id", "document"),
    [("a#0", "a"), ("a#12", "a"), ("a#b#3", "a#b"), ("a", None), ("a#", None), ("a#01", None), ("a#x", None)],
)
def test_an_id_says_of_which_document_it_is_a_piece(record_id: str, document: str | None) -> None:
    assert document_in(record_id) == document
    assert document_in(piece_id(record_id, 7)) == record_id
