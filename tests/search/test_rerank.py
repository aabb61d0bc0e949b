"""Reranking: the first hits, ranked anew by what reads the query with each text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from saeindex import FeatureIndex, FeatureSpace, Query, Record
from saeindex.errors import InvalidInputError, MismatchError
from saeindex.schema import to_json
from saeindex.search.hits import Hits
from saeindex.search.rerank import name_of, offer
from tests.cli.test_cli import call
from tests.samples import RecordingEncoder, sample_records
from tests.search.sampled_indexes import edge_index, memory_index

TEXT = "a rainy day"
RECORDS = [*sample_records(80), Record("html", "<p>A day of <b>rain</b> &amp; more</p>", {"topic": "html"})]


def by_length(query: str, texts: Sequence[str]) -> list[int]:
    """Score longer texts higher; many are equal."""
    assert query == TEXT
    return [len(one) // 20 for one in texts]


class Predicting:
    """What a CrossEncoder is to us: something that predicts scores of pairs."""

    def __init__(self) -> None:
        self.read: list[str] = []

    def predict(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray[Any, Any]:
        self.read += [text for _, text in pairs]
        return np.array([-len(text) for _, text in pairs], np.float32)


@pytest.fixture(scope="module", params=["edge", "memory"])
def index(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    space: FeatureSpace,
    session_encoder: RecordingEncoder,
) -> FeatureIndex:
    if request.param == "memory":
        return memory_index(RECORDS, space, session_encoder)
    return edge_index(tmp_path_factory.mktemp("rerank") / "a.idx", RECORDS, space, session_encoder)


@pytest.mark.parametrize("using", ["fused", "dense", "sentences", "words", "sae"])
def test_the_first_hits_are_ranked_anew_and_keep_how_they_were_found(index: FeatureIndex, using: Any) -> None:
    before = index.search(TEXT, using=using, limit=30)
    hits = index.search(TEXT, using=using, rerank=by_length, rerank_limit=30, limit=30, explain=True)
    assert {one.id for one in hits} == {one.id for one in before}
    found = {one.id: (rank, one.score) for rank, one in enumerate(before, 1)}
    wanted = sorted(before, key=lambda one: -(len(one.text) // 20))  # equal ones as they were
    assert [one.id for one in hits if one.id != "html"] == [one.id for one in wanted if one.id != "html"]
    for hit in hits:
        assert hit.retrieved is not None
        assert hit.retrieved.explanation is not None
        assert hit.explanation is not None
        rank, score = found[hit.id]
        assert hit.retrieved.rank == rank
        assert hit.retrieved.score == pytest.approx(score)
        assert hit.retrieved.explanation.total == pytest.approx(hit.retrieved.score, abs=1e-5)
        assert [(one.kind, one.label) for one in hit.explanation.parts] == [("reranker", "by_length")]
        assert hit.explanation.total == hit.score
    again = Hits.from_json(hits.to_json())
    assert again[-1].retrieved == hits[-1].retrieved
    assert again.plan.query.rerank == "by_length"
    assert "Rerank the first 30 by by_length" in str(hits.plan)
    assert "before it was reranked" in hits[0]._repr_html_()


def test_pages_thresholds_groups_and_differences_are_of_the_new_ranking(index: FeatureIndex) -> None:
    asked: dict[str, Any] = {"rerank": by_length, "rerank_limit": 40}
    whole = index.search(TEXT, limit=40, **asked)
    pages = [one.id for start in range(0, 40, 7) for one in index.search(
        TEXT, limit=min(7, 40 - start), offset=start, **asked)]  # fmt: skip
    assert pages == [one.id for one in whole]
    first = index.search(TEXT, limit=7, **asked)
    after = index.search(TEXT, limit=7, after=first.next, **asked)
    assert [one.id for one in after] == pages[7:14]
    least = whole[10].score
    kept = index.search(TEXT, limit=40, score_threshold=least, **asked)
    assert [one.id for one in kept] == [one.id for one in whole if one.score >= least]
    grouped = index.search(TEXT, group_by="metadata.topic", limit=3, **asked)
    assert grouped.groups[0].hits[0].id == whole[0].id
    assert all(one.retrieved for one in index.search(TEXT, diversity=0.5, limit=5, **asked))
    selected = index.search(TEXT, where='metadata.topic = "music"', total=True, **asked)
    assert all(one.metadata["topic"] == "music" for one in selected)
    assert index.search_many([Query(TEXT, **asked)])[0][0].id == whole[0].id
    assert index.search(TEXT).hits[0].retrieved is None


def test_a_model_reads_what_is_read_of_texts(index: FeatureIndex) -> None:
    model = Predicting()
    hits = index.search(TEXT, rerank=model, rerank_limit=81, limit=81)
    assert "A day of rain & more" in model.read
    assert [one.score for one in hits] == sorted([one.score for one in hits], reverse=True)
    assert to_json(hits.plan.query)["rerank"] == "Predicting"
    asked: dict[str, Any] = {"property": "about weather", "rerank": model, "rerank_limit": 20}
    assert len(index.search(**asked)) == 10
    difference = index.compare(TEXT, hits[0].id, hits[-1].id, rerank=model, rerank_limit=81, limit=81)
    assert difference.total == pytest.approx(hits[0].score - hits[-1].score)
    context = index.context(TEXT, rerank=model, limit=5)
    assert (context.passages[0].rank, context.passages[0].score) == (
        1,
        max(one.score for one in context.passages),
    )


@pytest.mark.parametrize(
    ("scores", "found"),
    [
        (lambda query, texts: [1.0], "of shape"),
        (lambda query, texts: [[0.1, 0.2]] * len(texts), "of shape"),
        (lambda query, texts: ["high"] * len(texts), "of shape"),
        (lambda query, texts: [float("nan")] * len(texts), "not finite"),
    ],
)
def test_what_is_no_score_is_an_error(index: FeatureIndex, scores: Any, found: str) -> None:
    with pytest.raises(MismatchError, match=found):
        index.search(TEXT, rerank=scores)


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"text": TEXT, "rerank": 5}, "no reranker, but"),
        ({"text": TEXT, "rerank": " "}, "no reranker, but"),
        ({"text": TEXT, "rerank": by_length, "limit": 100}, "rerank_limit=50, and 100 hits"),
        ({"like": ["0"], "rerank": by_length}, "neither a text nor a property"),
        ({"text": TEXT, "rerank": "no/such-model"}, "no model can be loaded"),
    ],
)
def test_a_reranker_must_be_one_and_have_what_to_read(
    index: FeatureIndex, options: dict[str, Any], found: str
) -> None:
    with pytest.raises(InvalidInputError, match=found):
        index.search(**options)


@pytest.fixture(scope="module")
def cross_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small CrossEncoder with random weights, as a folder."""
    from sentence_transformers import CrossEncoder
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("models") / "tiny-reranker"
    words = ["[UNK]", "[PAD]", "[CLS]", "[SEP]", "a", "rainy", "day"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    kind: Any = PreTrainedTokenizerFast
    kind(
        tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]"
    ).save_pretrained(folder)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    make: Any = BertConfig
    config = make(vocab_size=len(words), num_labels=1, max_position_embeddings=512, **sizes)
    BertForSequenceClassification(config).save_pretrained(folder)
    assert CrossEncoder(str(folder)).predict([("a", "day")]).shape == (1,)
    return folder


def test_a_cross_encoder_is_named_or_given(index: FeatureIndex, cross_encoder: Path) -> None:
    from sentence_transformers import CrossEncoder

    model = CrossEncoder(str(cross_encoder))
    given = index.search(TEXT, rerank=model, limit=5)
    named = index.search(TEXT, rerank=str(cross_encoder), limit=5)
    assert [one.id for one in given] == [one.id for one in named]
    assert name_of(model) == name_of(str(cross_encoder)) == "tiny-reranker"
    assert str(cross_encoder) not in str(given.to_json())
    offer([str(cross_encoder)])
    try:
        served = index.search(TEXT, rerank="tiny-reranker", limit=5)
        assert [one.id for one in served] == [one.id for one in named]
        with pytest.raises(InvalidInputError, match=r"no reranker that this server has.*Use tiny-reranker"):
            index.search(TEXT, rerank=str(cross_encoder))
        with pytest.raises(InvalidInputError, match="no reranker that this server has"):
            index.plan(TEXT, rerank="/tmp")  # its name would say whether there is such a folder
    finally:
        offer(None)


def test_the_command_reranks(
    tmp_path: Path, space: FeatureSpace, session_encoder: RecordingEncoder, cross_encoder: Path
) -> None:
    edge_index(tmp_path / "a.idx", RECORDS[:20], space, session_encoder).close()
    done = call(
        "search",
        "a.idx",
        TEXT,
        "--rerank",
        str(cross_encoder),
        "--rerank-limit",
        "10",
        "--json",
        cwd=tmp_path,
    )
    assert json.loads(done.stdout)["hits"][0]["retrieved"]["rank"] in range(1, 11)
