"""Searches for words: their scores by hand, what ordinary words lose, keys, filters, copies and switches."""

from __future__ import annotations

from collections.abc import Iterator
from math import log
from pathlib import Path

import numpy as np
import pytest
from qdrant_client import QdrantClient

from saeindex import FeatureIndex, FeatureSpace, Record
from saeindex.errors import InvalidInputError, MismatchError
from saeindex.indexing.words import word_spans, words_in, words_of
from saeindex.search import words as words_module
from tests.samples import RandomEncoder, sample_records

MARKED = [
    Record("cpp", "Templates of C++17 are long."),
    Record("c", "The C language, and nothing else."),
    Record("net", "A build for .NET, in C#."),
    Record("code", "It fails with ERR-4521 again."),
    Record("version", "Use version 1.18.2 of it."),
    Record("mail", "Write to john.doe@example.com."),
    Record("amount", "It costs €1,249.00 a year."),
    Record("refund", "Please refund the order at once: I have waited for weeks, order 40318."),
    Record("other", "Please refund the order at once: I have waited for weeks, order 40319."),
    Record("accent", "Frau Müller met him at the Café, NAÏVE."),
    Record("chinese", "今天天气很好"),
    Record("wide", "The ＡＢＣ５ ﬁle."),
    Record("nothing", "of the and"),
    Record("marks", "!? … --"),
]


@pytest.fixture(scope="module", params=["edge", "memory"])
def index(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, space: FeatureSpace
) -> Iterator[FeatureIndex]:
    path = tmp_path_factory.mktemp("words") / "texts.idx"
    client = QdrantClient(":memory:") if request.param == "memory" else None
    encoder = RandomEncoder(space.encoder)
    with FeatureIndex.create(
        "texts" if client else path, space, client=client, encoder=encoder, fields=("prompt",)
    ) as made:
        made.upsert([*sample_records(150, seed=3), *MARKED], learn_terms=False)
        made.upsert([Record("two", "A boat.", {}, {"prompt": "Zyzzyva?"})])
        yield made


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("C++", "cpp"), ("c#", "net"), (".net", "net"), ("err-4521", "code"), ("ERR4521", "code"),
        ("1.18.2", "version"), ("john.doe@example.com", "mail"), ("muller", "accent"),
        ("naive cafe", "accent"),
        ("1249", "amount"), ("1,249.00", "amount"),
        ("天气", "chinese"), ("abc5", "wide"), ("file", "wide"), ("“.NET”", "net"), ("(C++)", "cpp"),
    ],
)  # fmt: skip
def test_what_is_written_is_found_first(index: FeatureIndex, text: str, first: str) -> None:
    (hit,) = index.search(text, using="words", limit=1)
    assert hit.id == first


def test_a_number_outweighs_what_else_is_said(index: FeatureIndex) -> None:
    asked = "Please refund the order at once: I have waited for weeks, order 40320 or {}"
    for number, first in {"40319": "other", "40318": "refund", "ERR-4521": "code"}.items():
        assert index.search(asked.format(number), limit=1)[0].id == first


def test_only_texts_with_a_word_are_hits(index: FeatureIndex) -> None:
    assert {hit.id for hit in index.search("templates err", using="words")} == {"cpp", "code"}
    assert not len(index.search("zyzzyva", using="words"))  # of another field
    for nothing in ("of the", "?!", "qwertz"):
        assert not len(index.search(nothing, using="words", explain=True))


def test_a_score_is_a_share_of_the_most_that_a_text_can_have(index: FeatureIndex) -> None:
    total = len(index)
    hits = index.search("template violins researcher", using="words", explain=True, limit=500)
    texts = [point.text for point in index.scroll(limit=500)[0]]
    stems = {"template": "templat", "violins": "violin", "researcher": "researcher"}
    has = {word: sum(stem in text.lower() for text in texts) for word, stem in stems.items()}
    rarity = {word: log(1 + (total - n + 0.5) / (n + 0.5)) for word, n in has.items()}
    assert all(has.values())
    assert len(hits) > 20
    for hit in hits:
        assert hit.explanation is not None
        words = words_of([hit.text], "english")[0]
        weight = dict(zip(words.indices.tolist(), words.values.tolist(), strict=True))
        asked = {word: next(iter(words_in(word, "english"))) for word in stems}
        expected = {w: rarity[w] * weight.get(asked[w], 0) / 2.2 / sum(rarity.values()) for w in stems}
        assert hit.score == pytest.approx(sum(expected.values()), rel=1e-5)
        assert hit.explanation.total == pytest.approx(hit.score, rel=1e-5)
        parts = {part.label: part.value for part in hit.explanation.parts}
        assert parts == pytest.approx({word: value for word, value in expected.items() if value}, rel=1e-5)


def test_frequent_words_are_counted_among_the_first_records(
    index: FeatureIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(words_module, "COUNTED", 16)
    (word,) = words_in("details", "english")
    found = words_module._Counts(index.state).of(word)
    exact = len(index.search("details", using="words", limit=500))
    assert exact >= 16
    assert 16 <= found <= len(index)


def test_a_part_scores_as_an_index_of_its_records_alone(
    index: FeatureIndex, tmp_path: Path, space: FeatureSpace
) -> None:
    part = index.part(where="metadata.year < 2010")
    kept = [
        Record(one.id, one.text, one.metadata) for one in index.scroll("metadata.year < 2010", limit=500)[0]
    ]
    with FeatureIndex.create(
        tmp_path / "alone.idx", space, encoder=index.encoder, fields=("prompt",)
    ) as alone:
        alone.upsert(kept, learn_terms=False)
        for text in ("violin researchers", "quasar", "templates"):
            ours, theirs = (one.search(text, using="words", limit=200) for one in (part, alone))
            assert [(hit.id, hit.score) for hit in ours] == [(hit.id, hit.score) for hit in theirs]


def test_filters_pages_and_thresholds_go_with_words(index: FeatureIndex) -> None:
    whole = index.search("violin researchers", using="words", limit=100)
    some = index.search("violin researchers", using="words", limit=100, where="metadata.year < 2010")
    scores = {hit.id: hit.score for hit in whole}
    assert {hit.id: hit.score for hit in some}.items() <= scores.items()
    pages = [index.search("violin researchers", using="words", limit=3, offset=at) for at in range(0, 9, 3)]
    assert [hit.id for page in pages for hit in page] == [hit.id for hit in whole][:9]
    least = whole[2].score
    above = index.search("violin researchers", using="words", limit=100, score_threshold=least)
    assert {hit.id for hit in above} == {one for one, score in scores.items() if score >= least}
    with pytest.raises(InvalidInputError, match="words have no direction"):
        index.search("boat", using="words", steer="+river")


def test_copies_have_words_or_none(index: FeatureIndex, tmp_path: Path, space: FeatureSpace) -> None:
    index.copy(tmp_path / "without.idx", words="off")
    with FeatureIndex(tmp_path / "without.idx", encoder=index.encoder) as without:
        assert without.info()["words"] == "off"
        assert "words" not in without.state.store.layout.sparse
        assert len(without.search("boat")) == 10
        with pytest.raises(InvalidInputError, match="keeps no words"):
            without.search("boat", using="words")
        without.copy(tmp_path / "again.idx")
    with pytest.raises(MismatchError, match=r"words='german'.*'english'"):
        FeatureIndex(tmp_path / "again.idx", words="german")
    with FeatureIndex(tmp_path / "again.idx", encoder=index.encoder) as again:
        ours, theirs = (one.search("violin researchers", using="words", limit=50) for one in (index, again))
        assert [(hit.id, hit.score) for hit in ours] == [(hit.id, hit.score) for hit in theirs]
        assert "words_prompt" in again.state.store.layout.sparse
    with pytest.raises(InvalidInputError, match="words='none'"):
        FeatureIndex.create(tmp_path / "none.idx", space, words="none")


def test_a_long_query_is_searched_for_its_first_words(index: FeatureIndex) -> None:
    many = " ".join(f"word{n}" for n in range(words_module.MOST_ASKED - 1))
    for text, found in ((f"templates {many}", ["cpp"]), (f"{many} zyzzyva templates", [])):
        assert [hit.id for hit in index.search(text, using="words", where="NOT metadata.year > 0")] == found


def test_words_follow_a_rewritten_and_a_deleted_record(tmp_path: Path, space: FeatureSpace) -> None:
    with FeatureIndex.create(tmp_path / "a.idx", space, encoder=RandomEncoder(space.encoder)) as index:
        index.upsert([Record("a", "a zeppelin"), Record("b", "a boat")])
        index.upsert([Record("a", "a boat"), Record("b", "a zeppelin")])
        assert [hit.id for hit in index.search("zeppelin", using="words")] == ["b"]
        index.delete(["b"])
        assert not len(index.search("zeppelin", using="words"))


def test_a_text_alone_and_among_others_has_the_same_words() -> None:
    texts = [record.text for record in sample_records(20, seed=1)]
    together = words_of(texts, "english")
    for text, own in zip(texts, together, strict=True):
        (alone,) = words_of([text], "english")
        assert np.array_equal(alone.indices, own.indices)
        assert np.array_equal(alone.values, own.values)
        assert (np.diff(own.indices) > 0).all()


def test_letters_beside_a_script_without_spaces_and_versions_are_words() -> None:
    vectors = words_of(["订单号4500129050は", "X-200の電池 v2.4.1"], "english")
    stored = {index for one in vectors for index in one.indices.tolist()}
    for asked in ("4500129050", "x-200", "X200", "v2.4.1", "2.4.1"):
        whole = {index for index, name in words_in(asked, "english").items() if name == asked}
        assert whole & stored, asked


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (["PMM2-CDG", "inherit"], ["PMM2", "PMM2-CDG", "CDG", "inherited"]),
        (["C++", "1.18.2"], ["C++", "1.18.2"]),
        (["hauser"], ["Häuser"]),
        (["nothing"], []),
        ([], []),
    ],
)
def test_words_are_found_where_they_stand(asked: list[str], found: list[str]) -> None:
    text = "PMM2-congenital (PMM2-CDG) and ALG12-CDG are inherited; C++, 1.18.2 Häuser"
    assert [text[a:b] for a, b in word_spans(text, asked, "english")] == found
