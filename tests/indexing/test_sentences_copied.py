"""Copies add sentences that an index does not have, keep those that it has, and drop what is not wanted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qdrant_client import QdrantClient

from saeindex import FeatureIndex, FeatureSpace, Record, copy_index
from saeindex.config import SentenceStorage
from saeindex.errors import InvalidInputError, MismatchError
from saeindex.indexing import copy
from saeindex.protocols import Point
from saeindex.stores.edge import EdgeStore
from saeindex.testing.comparison import ROWS_TOLERANCE
from tests.samples import (
    RandomEncoder,
    RecordingEncoder,
    all_points,
    contents,
    sample_records,
    small_space,
)

RECORDS = [
    Record("one", " The bread is fresh. \n", {"n": 1}),
    Record(
        "several", "It rained on Monday. Then it snowed.", {"n": 2}, {"prompt": "How was it? Tell me all."}
    ),
    Record("third", "The boat went down the river. Nobody saw it.", {}, {"prompt": "One question only?"}),
]
OF_SEVERAL = [
    "It rained on Monday.",
    "Then it snowed.",
    "How was it?",
    "Tell me all.",
    "The boat went down the river.",
    "Nobody saw it.",
]


@pytest.fixture
def cheap(space: FeatureSpace) -> RandomEncoder:
    return RandomEncoder(space.encoder)


def make(
    path: Path | str, space: FeatureSpace, encoder: Any, kept: SentenceStorage, **options: Any
) -> FeatureIndex:
    made = FeatureIndex.create(
        path, space, encoder=encoder, fields=("prompt",), sentences=kept, **options
    )  # fmt: skip
    made.upsert(RECORDS)
    return made


def assert_same(index: FeatureIndex, other: FeatureIndex) -> None:
    """Compare all points; vectors of sentences are those of an engine, which rounds them."""
    assert index.state.store.layout == other.state.store.layout
    found, expected = all_points(index), all_points(other)
    assert [(p.id, dict(p.payload)) for p in found] == [(p.id, dict(p.payload)) for p in expected]
    for one, same in zip(found, expected, strict=True):
        assert one.vectors.keys() == same.vectors.keys()
        for name in one.vectors:
            if not name.startswith(("sae", "words")):
                a, b = np.asarray(one.vectors[name]), np.asarray(same.vectors[name])
                np.testing.assert_allclose(a, b, atol=ROWS_TOLERANCE)


@pytest.mark.parametrize("where", ["edge", "memory"])
@pytest.mark.parametrize("to", ["stored", "codes", "off"])
@pytest.mark.parametrize("of", ["stored", "codes", "off"])
def test_a_copy_is_as_if_made_with_what_it_keeps(
    tmp_path: Path, space: FeatureSpace, cheap: RandomEncoder, of: Any, to: Any, where: str
) -> None:
    client = QdrantClient(":memory:") if where == "memory" else None
    path, target = ("a", "b") if client else (tmp_path / "a.idx", tmp_path / "b.idx")
    with make(path, space, cheap, of, client=client) as index:
        assert index.copy(target, client=client, encoder=cheap, sentences=to).records == len(RECORDS)
    with FeatureIndex.open(target, client=client, encoder=cheap) as copied:
        assert copied.state.manifest.sentences == to
        with make(tmp_path / "c.idx", space, cheap, to) as made:
            assert_same(copied, made)
        assert copied.upsert(RECORDS).unchanged == len(RECORDS)


def test_only_sentences_that_are_not_stored_are_encoded(
    tmp_path: Path, space: FeatureSpace, encoder: RecordingEncoder
) -> None:
    asked: dict[tuple[str, str], list[str]] = {}
    kinds: tuple[SentenceStorage, ...] = ("stored", "codes", "off")
    for of in kinds:
        with make(tmp_path / f"{of}.idx", space, encoder, of) as index:
            for to in kinds:
                encoder.requested.clear()
                index.copy(tmp_path / f"{of}-{to}.idx", encoder=encoder, sentences=to)
                asked[of, to] = sorted(encoder.requested)
    new = {("codes", "stored"), ("off", "stored"), ("off", "codes")}
    assert {pair: sorted(OF_SEVERAL) if pair in new else [] for pair in asked} == asked


@pytest.mark.parametrize("kept", ["stored", "codes", "off"])
def test_a_copy_keeps_by_default_what_its_source_does(
    tmp_path: Path, space: FeatureSpace, cheap: RandomEncoder, kept: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with make(tmp_path / "a.idx", space, cheap, kept) as index:
        index.copy(tmp_path / "b.idx")
        before = contents(index)
        if kept != "off":
            with FeatureIndex.open(tmp_path / "b.idx") as copied:
                assert copied.state.manifest.sentences == kept
                assert contents(copied) == before
        monkeypatch.setattr(copy, "DEFAULT_SENTENCES", "stored")
        index.copy(tmp_path / "c.idx", encoder=cheap)
    with FeatureIndex.open(tmp_path / "c.idx") as copied:
        assert copied.state.manifest.sentences == ("stored" if kept == "off" else kept)


@pytest.mark.parametrize("of", ["stored", "off"])
def test_a_copy_in_another_space_or_with_own_levels_has_the_same_sentences(
    tmp_path: Path, space: FeatureSpace, encoder: RecordingEncoder, of: Any
) -> None:
    small = small_space(space.encoder)
    with make(tmp_path / "a.idx", space, encoder, of) as index:
        encoder.requested.clear()
        index.copy(tmp_path / "b.idx", small, encoder=encoder, sentences="stored")
        index.copy(tmp_path / "c.idx", calibrate=True, encoder=encoder, sentences="stored")
        assert sorted(encoder.requested) == (sorted(OF_SEVERAL * 2) if of == "off" else [])
    with make(tmp_path / "d.idx", small, encoder, "stored") as made:
        with FeatureIndex.open(tmp_path / "b.idx", encoder=encoder) as copied:
            assert_same(copied, made)
        for name in ("b.idx", "c.idx"):
            with FeatureIndex.open(tmp_path / name, encoder=encoder) as copied:
                for one, same in zip(all_points(copied), all_points(made), strict=True):
                    assert one.payload["spans"] == same.payload["spans"]
                    rows, expected = (np.asarray(p.vectors["sentences"]) for p in (one, same))
                    np.testing.assert_allclose(rows, expected, atol=ROWS_TOLERANCE)


def test_a_copy_with_another_encoder_has_its_sentences(tmp_path: Path, space: FeatureSpace) -> None:
    class Turned(RandomEncoder):
        def encode_document(self, texts: Sequence[str]) -> Any:
            return -super().encode_document(texts)

    identity = replace(space.encoder, model="another", revision="2")
    other, encoder = small_space(identity, "other"), Turned(identity)
    with make(tmp_path / "a.idx", space, RandomEncoder(space.encoder), "stored") as index:
        index.copy(tmp_path / "b.idx", other, encoder=encoder)
    with (
        FeatureIndex.open(tmp_path / "b.idx", encoder=encoder) as copied,
        make(tmp_path / "c.idx", other, encoder, "stored") as made,
    ):
        assert_same(copied, made)


def test_a_copy_of_an_index_without_its_manifest_keeps_its_sentences(
    tmp_path: Path, space: FeatureSpace, cheap: RandomEncoder
) -> None:
    kinds: tuple[SentenceStorage, ...] = ("stored", "codes")
    for kept in kinds:
        path = tmp_path / f"{kept}.idx"
        with make(path, space, cheap, kept) as index:
            before = contents(index)
        (path / "manifest.json").unlink()
        copy_index(path, tmp_path / f"{kept}-2.idx", encoder=cheap)
        with FeatureIndex.open(tmp_path / f"{kept}-2.idx", encoder=cheap) as copied:
            assert copied.state.manifest.sentences == kept
            assert [one[:5] for one in contents(copied)] == [one[:5] for one in before]


def test_an_interrupted_copy_goes_on_without_encoding_again(
    tmp_path: Path, space: FeatureSpace, encoder: RecordingEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copy, "PAGE", 20)
    monkeypatch.setattr(copy, "RUN_CHARACTERS", 500)
    upsert, written = EdgeStore.upsert, list[int]()
    target = tmp_path / "b.idx"

    def dying(store: EdgeStore, points: Sequence[Point]) -> None:
        if len(written) == 10:
            raise KeyboardInterrupt
        written.append(len(points))
        upsert(store, points)

    with FeatureIndex.create(tmp_path / "a.idx", space, encoder=encoder, sentences="off") as index:
        index.upsert(sample_records(120), learn_terms=False)
        encoder.requested.clear()
        index.copy(tmp_path / "whole.idx", encoder=encoder, sentences="stored")
        once = sorted(encoder.requested)
        encoder.requested.clear()
        with monkeypatch.context() as patch:
            patch.setattr(EdgeStore, "upsert", dying)
            with pytest.raises(KeyboardInterrupt):
                index.copy(target, encoder=encoder, sentences="stored")
        with pytest.raises(MismatchError, match="with other options"):
            index.copy(target, encoder=encoder, sentences="codes")
        first = len(encoder.requested)
        index.copy(target, encoder=encoder, sentences="stored")
        assert max(written) < 20 and 0 < first < len(once)
        assert len(encoder.requested) < 1.2 * len(once), "only what was not written is encoded again"
    with FeatureIndex.open(target) as copied, FeatureIndex.open(tmp_path / "whole.idx") as whole:
        assert contents(copied) == contents(whole)


def test_a_value_that_is_none_of_the_three_is_refused(
    tmp_path: Path, space: FeatureSpace, cheap: RandomEncoder
) -> None:
    with make(tmp_path / "a.idx", space, cheap, "off") as index:
        with pytest.raises(InvalidInputError, match="stored, codes, off"):
            index.copy(tmp_path / "b.idx", sentences="some")  # type: ignore[arg-type]
        assert not (tmp_path / "b.idx").exists()
