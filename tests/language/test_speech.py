"""What is read of a text: no markup, no signature, no other language, no answer without content."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saeindex import FeatureIndex
from saeindex.indexing.sentences import sentences_in, spans_in
from saeindex.language.speech import is_speech, masked, readable
from tests.samples import RecordingEncoder

MAIL = (
    '<div dir="ltr"><p>Hi team,<br>the parcel is late &amp; broken. I want <b>my money</b> back!</p>'
    "<script>var tax=1; let police='war';</script><style>.crime {}</style><!-- a crime --></div>\n"
    "Sent from my iPhone\n"
)
GERMAN = "Das Hotel war sehr schön und das Frühstück war gut."
FOREIGN = (
    GERMAN,
    "Le chat",
    "Le pain",
    "Muchas gracias por la rápida entrega del paquete.",
    "Het boek is gisteren niet aangekomen in de winkel.",
)
ENGLISH = (
    "The hotel was near the station.",
    "KRT17 mutation",
    "war",
    "Late again!",
    "It was déjà vu, the same old war again",
)


def test_markup_and_signatures_are_not_read_and_places_stay_those_of_the_text() -> None:
    spans = spans_in(MAIL)
    assert sentences_in(MAIL, spans) == [
        "Hi team,",
        "the parcel is late & broken.",
        "I want my money back!",
    ]
    assert [MAIL[start:end] for start, end in spans][1] == "the parcel is late &amp; broken."
    assert readable(MAIL) == "Hi team, the parcel is late & broken. I want my money back!"
    assert readable("---\ntitle: War\ntags: [tax]\n---\nA walk in the park.") == "A walk in the park."
    assert readable("It came late.\n-- \nJane Doe\nBank of War") == "It came late."


@pytest.mark.parametrize(
    "text",
    [
        "a < b and c > d",
        "List<String> x = y;",
        "how do I close a <div>?",
        "I <3 it",
        "--\nno",
        "--- a\nb",
        "It is a good film.\n\nSent from the city to find a murderer, he wakes up in a small town.",
        "",
    ],
)
def test_a_text_without_markup_is_read_as_it_is(text: str) -> None:
    assert masked(text) == readable(text) == text


@given(
    st.lists(
        st.sampled_from(
            ["<p>", "</p>", "<a b='", "<!--", "-->", "<script>", "&amp", ";", "word ", "\n", "<", ">"]
        )
    )
)
def test_any_markup_keeps_the_places(parts: list[str]) -> None:
    text = "".join(parts)
    seen = masked(text)
    assert len(seen) == len(text)
    assert all(shown == own or shown in " \n" for shown, own in zip(seen, text, strict=True))
    readable(text)


@pytest.mark.parametrize("part", ["<a ", "<!--", "<a b='>", "<![CDATA[>", "<div>", "</p>", "&", "<script>"])
def test_hostile_markup_takes_no_longer_than_its_length(part: str) -> None:
    started = time.process_time()
    masked("</p>" + part * 20_000)
    assert time.process_time() - started < 5


def test_sentences_of_another_language_are_no_speech() -> None:
    for text in FOREIGN:
        assert not is_speech([text], [0, 1])[0], text
    for text in ENGLISH:
        assert is_speech([text], [0, 1])[0], text
    # A short one follows its text.
    assert is_speech(["We liked it a lot.", "Guten Tag", "The room was clean."], [0, 3]).all()
    assert not is_speech([GERMAN, "Guten Tag", "Wir kommen im Sommer gerne wieder."], [0, 3]).any()
    assert is_speech([], [0]).tolist() == []


def test_answers_without_content_are_no_speech() -> None:
    for text in ("none", "-", "N/A", "ok", "Nothing.", "...", "no comment", "42"):
        assert not is_speech([text], [0, 1])[0], text
    assert is_speech(["Nothing worked after the update.", "No."], [0, 2]).all()


def test_what_is_no_speech_has_no_concepts(encoder: RecordingEncoder, tmp_path: Path) -> None:
    with FeatureIndex.create(tmp_path / "spoken.idx", encoder=encoder) as index:
        report = index.upsert(
            [
                {"id": "html", "text": MAIL},
                {"id": "german", "text": GERMAN},
                {"id": "nothing", "text": "n/a"},
                {"id": "war", "text": "The war ended in the spring."},
            ]
        )
        assert report.unread == 2
        assert [hit.id for hit in index.search(where='"war"')] == ["war"]
        assert index.count('possible("tax") OR possible("crime") OR possible("police")') == 0
        assert index.search("a late parcel", limit=1)[0].id == "html"
        assert np.isfinite(index.search("spring", limit=4)[3].score)


def test_what_recurs_is_left_out_of_records_that_were_read_before(
    encoder: RecordingEncoder, tmp_path: Path
) -> None:
    footer = "Please call our sales manager about the weather."
    told = ("The cake was dry, and the icing too sweet.", "All of the books arrived in one piece.")
    records = [
        {"id": str(i), "text": f"{told[i % 2]} Order number {i} was placed on Monday. {footer}"}
        for i in range(12)
    ]
    with FeatureIndex.create(tmp_path / "left.idx", encoder=encoder) as index:
        assert (
            index.upsert(records).recurring[0]
            == "'please call our sales manager about the weather' in 12 records"
        )
        assert index.count('"weather"') == 12
        index.upsert([{"id": "other", "text": told[0]}])
        report = index.upsert([*records, {"id": "other", "text": told[0]}], leave_out=[footer])
        assert (report.indexed, report.unchanged) == (12, 1)
        assert not any("weather" in one for one in report.recurring)
        assert index.count('"weather"') == 0
        assert index.upsert(records).unchanged == 12
        assert index.upsert([{"id": "new", "text": f"{told[1]} It was on time. {footer}"}]).indexed == 1
        assert index.count('"weather"') == 0
