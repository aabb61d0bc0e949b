"""A reader beside a space: features of the tokens of texts, stored, searched, explained and copied."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from qdrant_client import QdrantClient

from saeindex import FeatureIndex, FeatureSpace, ReaderSpace, Record, fit_reader, open_encoder
from saeindex.config import READER
from saeindex.errors import InvalidInputError, MismatchError, NotFoundError
from saeindex.features.reader_space import tokens_of
from saeindex.language.speech import readable
from saeindex.sae.pooling import activations_of
from saeindex.sae.training_config import TrainingConfig
from tests.cli.test_cli import call, called
from tests.samples import RandomEncoder, all_points, sample_records

if TYPE_CHECKING:
    from saeindex.protocols import TokenReader
    from saeindex.types import FloatArray

QUERY, COUNT, MOST = "a violin concerto in the opera house", 60, 12
CONFIG = TrainingConfig(
    n_features=96, k=6, steps=60, selection="batchtopk", refined_phase=0.0, refine_steps=0, batch_size=256
)


@pytest.fixture(scope="module")
def reading() -> TokenReader:
    return tokens_of(open_encoder())


@pytest.fixture(scope="module")
def reader(reading: TokenReader) -> ReaderSpace:
    texts = [record.text for record in sample_records(200, seed=5)]
    return fit_reader(texts, reading, CONFIG, name="small", most=MOST)


@pytest.fixture(scope="module")
def notes(
    tmp_path_factory: pytest.TempPathFactory, space: FeatureSpace, reading: TokenReader, reader: ReaderSpace
) -> Any:
    path = tmp_path_factory.mktemp("read") / "notes.idx"
    with FeatureIndex.create(path, space, encoder=reading, reader=reader, fields=("title",)) as index:
        index.upsert([*sample_records(COUNT), Record("titled", "Jazz.", {}, {"title": "The opera"})])
        yield index


def weights_of(text: str, reader: ReaderSpace, encoder: TokenReader) -> FloatArray:
    """Return the weights (n,) of a text's features, computed one text at a time."""
    tokens = encoder.read_query(readable(text))
    t = activations_of(tokens, reader.sae).sum(0, dtype=np.float64)
    found = 1.15 * t / (t + 0.15 * (0.25 + 0.75 * len(tokens) / reader.length))
    n = reader.calibration.density * reader.calibration.records
    rarity = np.log(1 + (reader.calibration.records - n + 0.5) / (n + 0.5))
    worth = found * rarity + 1e3 * (found >= reader.calibration.median)
    least = np.sort(worth)[-MOST]
    return np.where(worth >= max(least, 1e-12), found, 0)


def score_of(text: str, reader: ReaderSpace, encoder: TokenReader, query: str = QUERY) -> float:
    t = activations_of(encoder.read_query(query), reader.sae).sum(0) * reader.rarity
    return float(weights_of(text, reader, encoder) @ t / (1.15 * t.sum()))


def test_what_is_stored_is_the_weight_of_the_strongest_features(
    notes: FeatureIndex, reader: ReaderSpace, reading: TokenReader
) -> None:
    for point in all_points(notes):
        stored: Any = point.vectors[READER]
        own = np.zeros(reader.sae.n_features)
        own[stored.indices] = stored.values
        assert 0 < len(stored.indices) <= MOST
        expected = weights_of(point.payload["text"], reader, reading)
        np.testing.assert_allclose(own, expected, rtol=1e-2, atol=1e-3)
        assert ("reader_title" in point.vectors) is (point.payload["record_id"] == "titled")


@pytest.mark.parametrize("where", [None, "metadata.year > 2005"])
def test_hits_are_ranked_and_explained_by_what_their_tokens_share(
    notes: FeatureIndex, reader: ReaderSpace, reading: TokenReader, where: str | None
) -> None:
    hits = notes.search(QUERY, using="reader", where=where, limit=10, explain=True)
    texts = {
        point.payload["record_id"]: score_of(point.payload["text"], reader, reading)
        for point in all_points(notes)
        if where is None or point.payload["metadata"].get("year", 0) > 2005
    }
    best = sorted(texts.values(), reverse=True)
    assert [hit.score for hit in hits] == pytest.approx(best[: len(hits)], rel=1e-2, abs=1e-4)
    for hit in hits:
        assert hit.explanation is not None
        assert hit.explanation.total == pytest.approx(hit.score, abs=1e-5)
        assert {part.kind for part in hit.explanation.parts} == {"reader"}
        assert {part.label for part in hit.explanation.parts} <= {*QUERY.split()}
    following = notes.search(QUERY, using="reader", where=where, limit=5, offset=5)
    assert [hit.id for hit in following] == [hit.id for hit in hits[5:]]


def test_records_written_again_and_split_have_it_too(
    tmp_path: Path, space: FeatureSpace, reading: TokenReader, reader: ReaderSpace
) -> None:
    long = " ".join(record.text for record in sample_records(12, seed=9))
    with FeatureIndex(tmp_path / "a.idx", space=space, encoder=reading, reader=reader) as index:
        index.upsert([Record("long", long)], split=40)
        index.upsert([Record("a", "Rain."), Record("b", "Snow.")])
        index.upsert([Record("a", "A violin concerto.")])
        points = {point.payload["record_id"]: point for point in all_points(index)}
        assert len(points) > 4
        assert all(READER in point.vectors for point in points.values())
        assert index.search("violin", using="reader", limit=1)[0].id == "a"


def test_it_is_opened_with_its_own_copy_and_no_other(
    notes: FeatureIndex, tmp_path: Path, reader: ReaderSpace, reading: TokenReader
) -> None:
    notes.copy(tmp_path / "b.idx")
    other = fit_reader([r.text for r in sample_records(60, seed=7)], reading, CONFIG, name="other", most=5)
    found = [(hit.id, round(hit.score, 4)) for hit in notes.search(QUERY, using="reader")]
    with FeatureIndex(tmp_path / "b.idx", reader=reader) as index:
        assert [(hit.id, round(hit.score, 4)) for hit in index.search(QUERY, using="reader")] == found
        assert index.info()["reader"]["name"] == "small"
    with pytest.raises(MismatchError, match=r"with the reader 'other'.*it has 'small'.*--reader"):
        FeatureIndex.open(tmp_path / "b.idx", reader=other)


def test_a_copy_gets_one_from_its_texts_or_another(
    tmp_path: Path, space: FeatureSpace, reading: TokenReader, reader: ReaderSpace, notes: FeatureIndex
) -> None:
    reader.save(tmp_path / "small")
    with FeatureIndex(tmp_path / "plain.idx", space=space, encoder=reading, fields=("title",)) as index:
        index.upsert([*sample_records(COUNT), Record("titled", "Jazz.", {}, {"title": "The opera"})])
        with pytest.raises(InvalidInputError, match=r"the index has no reader.*copy.*--reader"):
            index.search(QUERY, using="reader")
    plain, copied, small = (str(tmp_path / name) for name in ("plain.idx", "c.idx", "small"))
    plain, copied, small = (str(tmp_path / name) for name in ("plain.idx", "c.idx", "small"))
    told = call("copy", plain, copied, "--reader", small)
    assert "texts" in told.stdout
    with FeatureIndex(tmp_path / "c.idx") as index:
        assert [h.id for h in index.search(QUERY, using="reader")] == [
            h.id for h in notes.search(QUERY, using="reader")
        ]
    found = called("search", copied, QUERY, "--using", "reader", "--limit", "2")
    assert len(found["hits"]) == 2


def test_a_collection_names_its_reader(
    space: FeatureSpace, reading: TokenReader, reader: ReaderSpace
) -> None:
    client = QdrantClient(":memory:")
    with FeatureIndex("read", client=client, space=space, encoder=reading, reader=reader) as index:
        index.upsert(sample_records(8))
    with pytest.raises(NotFoundError, match="reader 'small'"):
        FeatureIndex.open("read", client=client)
    with FeatureIndex.open("read", client=client, reader=reader, encoder=reading) as index:
        assert len(index.search(QUERY, using="reader")) > 0


def test_what_a_reader_cannot_do_is_said(
    notes: FeatureIndex, tmp_path: Path, reader: ReaderSpace, space: FeatureSpace
) -> None:
    with pytest.raises(InvalidInputError, match="no direction"):
        notes.search(QUERY, using="reader", steer="+music:1")
    with pytest.raises(InvalidInputError, match="no tokens"):
        notes.search(vector=[1.0] * 384, using="reader")
    other: Any = RandomEncoder(replace(open_encoder().identity, revision="sha256:0"))
    with pytest.raises(InvalidInputError, match="gives no tokens"):
        fit_reader(["a text"] * 200, other, CONFIG)
    with pytest.raises(InvalidInputError, match="as many texts as features"):
        fit_reader(["a text"], open_encoder(), CONFIG)
    with pytest.raises(MismatchError, match="another"):
        FeatureSpace.dense(other).with_reader(reader)
    with pytest.raises(NotFoundError, match="neither a directory"):
        FeatureIndex(tmp_path / "x.idx", space=space, reader=tmp_path / "none")


def test_a_damaged_one_is_refused(tmp_path: Path, reader: ReaderSpace) -> None:
    place = reader.save(tmp_path / "small")
    assert ReaderSpace.load(place).fingerprint == reader.fingerprint
    told = json.loads((place / "space.json").read_text())
    (place / "space.json").write_text(json.dumps(told | {"most": 3}))
    with pytest.raises(MismatchError, match="do not fit together"):
        ReaderSpace.load(place)
    (place / "sae.safetensors").write_bytes(b"x")
    with pytest.raises(MismatchError, match="damaged or missing"):
        ReaderSpace.load(place)


def ids_of(index: FeatureIndex, where: str) -> set[str]:
    return {hit.id for hit in index.search("a", where=where, limit=COUNT)}


@pytest.fixture(scope="module")
def named(reader: ReaderSpace) -> ReaderSpace:
    """The reader as if each name predicted its feature: the samples are too few to measure that."""
    labels = tuple(replace(label, trust=0.9) for label in reader.labels)
    return replace(reader, labels=labels)


def test_its_named_features_are_those_of_the_index(
    tmp_path: Path, space: FeatureSpace, reading: TokenReader, named: ReaderSpace
) -> None:
    with FeatureIndex(tmp_path / "a.idx", space=space, encoder=reading, reader=named) as index:
        index.upsert(sample_records(COUNT))
        first = index.space.of_reader.start
        assert index.space.of_reader == slice(first, first + named.n_features)
        assert first == space.n_features
        has = {
            point.payload["record_id"]: np.flatnonzero(
                weights_of(point.payload["text"], named, reading) >= named.calibration.median
            )
            for point in all_points(index)
        }
        feature = int(np.bincount(np.concatenate([*has.values()])).argmax())
        expected = {record for record, own in has.items() if feature in own}
        target = f"#{first + feature}"
        assert 0 < len(expected) < COUNT
        assert ids_of(index, target) == expected
        card = index.concepts.card(first + feature)
        assert card.label == named.labels[feature].text
        assert card.records_at_level[0] == len(expected)
        assert card.strongest[0].id in expected
        assert {one.id for one in card.similar} <= set(range(first, first + named.n_features))
        with pytest.raises(InvalidInputError, match="no direction in `dense`"):
            index.search("a", steer=f"+{target}:1")
        index.concepts.rename(first + feature, "what it is of")
        assert index.concepts.find("what it is of", limit=1)[0].id == first + feature
        index.concepts.define("violins", examples=["A violin.", "The violin concerto."])
        own = index.concepts.find("violins", limit=1)[0].id
        assert own >= first + named.n_features
        said = ids_of(index, '"violins"')
        assert said
    with FeatureIndex(tmp_path / "a.idx") as again:
        assert again.concepts.card(target).label == "what it is of"
        again.copy(tmp_path / "bare.idx", space=space)
        again.copy(tmp_path / "same.idx", calibrate=True)
    with FeatureIndex(tmp_path / "same.idx") as same:
        assert ids_of(same, target) == expected
        assert same.concepts.card(target).label == "what it is of"
        assert ids_of(same, '"violins"') == said


def test_a_copy_with_another_reader_moves_what_comes_after_it(
    tmp_path: Path, space: FeatureSpace, reading: TokenReader, named: ReaderSpace
) -> None:
    with FeatureIndex(tmp_path / "a.idx", space=space, encoder=reading) as index:
        index.upsert(sample_records(COUNT))
        index.concepts.define("violins", examples=["A violin.", "The violin concerto."])
        said = ids_of(index, '"violins"')
        index.concepts.rename("violins", "fiddles")
        index.copy(tmp_path / "b.idx", reader=named)
    with FeatureIndex(tmp_path / "b.idx") as copied:
        assert copied.concepts.find("fiddles", limit=1)[0].id >= space.n_features + named.n_features
        assert ids_of(copied, '"fiddles"') == said
        assert copied.info()["evidence"]
