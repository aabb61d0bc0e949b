"""A record's further texts: their own vectors and concepts, under their own names."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from qdrant_client import QdrantClient

from saeindex import FeatureIndex, FeatureSpace, Record
from saeindex.cli.app import make_app
from saeindex.errors import InvalidInputError, NotFoundError
from saeindex.indexing.points import content_hash, numbers_in
from saeindex.indexing.sources.columns import Columns
from saeindex.indexing.sources.open_source import open_source
from saeindex.protocols import Point, SparseVector
from saeindex.testing.comparison import ROWS_TOLERANCE
from tests.evidence_reference import evidence_of, expected_codes
from tests.samples import RandomEncoder, all_points, contents

if TYPE_CHECKING:
    from saeindex.types import FloatArray

LONG = " ".join(f"Sentence {n} is about {topic}." for n, topic in enumerate(["stars", "bread", "tax"] * 8))
RECORDS = [
    Record("both", "An answer.", {"n": 1}, {"prompt": "A question?"}),
    Record("alone", "An answer to nothing."),
    Record("long", LONG, {}, {"prompt": LONG + " Why?", "system": "Be brief."}),
]


@pytest.fixture
def encoder(space: FeatureSpace) -> RandomEncoder:
    return RandomEncoder(space.encoder)


def make(path: Path, space: FeatureSpace, encoder: RandomEncoder, **options: Any) -> FeatureIndex:
    return FeatureIndex.create(path, space, encoder=encoder, fields=("prompt", "system"), **options)


def points_by_id(index: FeatureIndex) -> dict[str, Point]:
    return {point.payload["record_id"]: point for point in all_points(index)}


# The layout -------------------------------------------------------------------------------------------


def test_a_further_text_has_its_own_vectors_and_concepts_under_its_name(
    tmp_path: Path, space: FeatureSpace, encoder: RandomEncoder
) -> None:
    with make(tmp_path / "a.idx", space, encoder) as index:
        index.upsert(RECORDS)
        point = points_by_id(index)["both"]
    vector = encoder.encode_document(["A question?"])
    indices, values = space.sae.encode(vector).row(0)
    code = point.vectors["sae_prompt"]
    assert set(point.vectors) == {
        "dense", "sae", "words", "sentences", "dense_prompt", "sae_prompt", "words_prompt",
        "sentences_prompt",
    }  # fmt: skip
    np.testing.assert_allclose(np.asarray(point.vectors["sentences_prompt"]), vector, atol=ROWS_TOLERANCE)
    np.testing.assert_allclose(np.asarray(point.vectors["dense_prompt"]), vector[0], atol=1e-6)
    assert isinstance(code, SparseVector)
    np.testing.assert_array_equal(code.indices, indices)
    np.testing.assert_allclose(code.values, values, atol=1e-6)
    assert point.payload["text"] == "An answer."
    assert point.payload["text_prompt"] == "A question?"
    assert point.payload["spans_prompt"] == [0, len("A question?")]
    said = evidence_of(space, encoder, point, "prompt")
    percents = [round(100 * one.p) for one in said.values()]
    assert numbers_in([point.payload["evidence_prompt"]]).tolist() == percents
    assert numbers_in([point.payload["speaking_prompt"]]).tolist() == [0] * len(said)
    assert point.payload["concepts_prompt"] == expected_codes(space, point, said, "prompt")
    assert len(said) > 0 and said != evidence_of(space, encoder, point)


def test_a_record_without_a_further_text_has_no_vectors_of_it(
    tmp_path: Path, space: FeatureSpace, encoder: RandomEncoder
) -> None:
    with make(tmp_path / "a.idx", space, encoder) as index:
        index.upsert([*RECORDS, {"id": "null", "text": "x", "prompt": None, "system": " \n"}])
        points = points_by_id(index)
    for record_id in ("alone", "null"):
        assert set(points[record_id].vectors) == {"dense", "sae", "words", "sentences"}
        assert not [key for key in points[record_id].payload if key.endswith(("_prompt", "_system"))]
        assert points[record_id].payload["metadata"] == {}


def test_only_the_main_text_is_split_and_each_record_has_the_further_texts(
    tmp_path: Path, space: FeatureSpace, encoder: RandomEncoder
) -> None:
    with make(tmp_path / "a.idx", space, encoder) as index:
        index.upsert(RECORDS, split=20)
        points = [p for p in all_points(index) if p.payload["document"] == "long"]
    assert len(points) > 5
    whole = encoder.encode_document([LONG + " Why?"])[0]
    for point in points:
        assert (point.payload["text_prompt"], point.payload["text_system"]) == (LONG + " Why?", "Be brief.")
        np.testing.assert_allclose(np.asarray(point.vectors["dense_prompt"]), whole, atol=1e-6)
        own = encoder.encode_document([point.payload["text"]])[0]
        np.testing.assert_allclose(np.asarray(point.vectors["dense"]), own, atol=1e-6)


def test_every_store_counts_concepts_of_a_further_text(
    tmp_path: Path, space: FeatureSpace, encoder: RandomEncoder
) -> None:
    counts = []
    for name, client in ((tmp_path / "a.idx", None), ("a", QdrantClient(":memory:"))):
        with make(Path(name), space, encoder, client=client) as index:
            index.upsert(RECORDS)
            counts.append(index.state.store.facet("concepts_prompt", limit=10_000))
    assert counts[0] == counts[1]
    assert sum(count for _, count in counts[0]) > 0


def test_an_index_names_its_further_texts_after_reopening(
    tmp_path: Path, space: FeatureSpace, encoder: RandomEncoder
) -> None:
    make(tmp_path / "a.idx", space, encoder).close()
    with FeatureIndex.open(tmp_path / "a.idx", encoder=encoder) as index:
        assert index.state.manifest.fields == ["prompt", "system"]
        assert index.info()["fields"] == ["prompt", "system"]
        index.upsert([{"id": "1", "text": "An answer.", "prompt": "A question?", "year": 2020}])
        point = points_by_id(index)["1"]
        assert point.payload["text_prompt"] == "A question?"
        assert point.payload["metadata"] == {"year": 2020}


@pytest.mark.parametrize(
    "names", ["prompt", ("Prompt",), ("a b",), ("text",), ("reader",), ("p", "p"), ("",)]
)
def test_an_invalid_field_name_is_refused(
    tmp_path: Path, space: FeatureSpace, encoder: RandomEncoder, names: Any
) -> None:
    with pytest.raises(InvalidInputError, match="further text field"):
        FeatureIndex.create(tmp_path / "a.idx", space, encoder=encoder, fields=names)
    assert not (tmp_path / "a.idx").exists()


# Indexing again ---------------------------------------------------------------------------------------


def test_a_content_hash_includes_further_texts() -> None:
    plain = Record("a", "text", {"x": 1})
    asked = content_hash(Record("a", "text", {"x": 1}, {"prompt": "p"}))
    assert (
        len({content_hash(plain), asked, content_hash(Record("a", "text", {"x": 1}, {"prompt": "q"}))}) == 3
    )
    assert content_hash(Record("b", "text", {"x": 1}, {"prompt": "p"})) == asked


def test_a_changed_or_removed_further_text_is_written_again(
    tmp_path: Path, space: FeatureSpace, encoder: RandomEncoder
) -> None:
    with make(tmp_path / "a.idx", space, encoder) as index:
        index.upsert(RECORDS)
        again = index.upsert([RECORDS[0], Record("alone", RECORDS[1].text, {}, {"prompt": "New?"})])
        assert (again.indexed, again.unchanged) == (1, 1)
        assert points_by_id(index)["alone"].payload["text_prompt"] == "New?"
        index.upsert([RECORDS[1]])
        assert set(points_by_id(index)["alone"].vectors) == {"dense", "sae", "words", "sentences"}


def test_a_record_with_a_text_that_the_index_has_no_field_for_is_rejected(
    tmp_path: Path, space: FeatureSpace, encoder: RandomEncoder
) -> None:
    with make(tmp_path / "a.idx", space, encoder) as index:
        report = index.upsert([RECORDS[0], Record("other", "x", {}, {"answer": "y"})], allow_rejects=True)
        assert (report.indexed, report.rejected) == (1, 1)
        (line,) = index.state.rejects_path.read_text().splitlines()
        assert json.loads(line)["reason"] == "the index has no further text field 'answer'"
        with pytest.raises(InvalidInputError, match=r"'answer'.*has prompt, system"):
            index.upsert([{"text": "x", "answer": "y"}], columns=Columns(fields=("answer",)))


def test_batches_account_for_further_texts(
    tmp_path: Path, space: FeatureSpace, encoder: RandomEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = [Record(str(n), f"text {n}", {}, {"prompt": f"prompt {n}"}) for n in range(20)]
    whole = make(tmp_path / "a.idx", space, encoder, sentences="off")
    whole.upsert(records)
    monkeypatch.setattr("saeindex.indexing.pipeline.PART_VECTORS", 7)
    sizes: list[int] = []
    encode = encoder.encode_document

    def counted(texts: Sequence[str]) -> FloatArray:
        sizes.append(len(texts))
        return encode(texts)

    monkeypatch.setattr(encoder, "encode_document", counted)
    with whole, make(tmp_path / "b.idx", space, encoder, sentences="off") as batched:
        batched.upsert(records)
        assert sizes == [6, 6, 6, 6, 6, 6, 4]
        assert contents(batched) == contents(whole)


# The revision -----------------------------------------------------------------------------------------


def test_the_revision_changes_only_if_points_change(
    tmp_path: Path, space: FeatureSpace, encoder: RandomEncoder
) -> None:
    path = tmp_path / "a.idx"
    with make(path, space, encoder) as index:
        seen = [index.state.manifest.revision]

        def is_new() -> bool:
            kept = str(index.state.store.read_manifest()["revision"])
            assert kept == index.state.revision == index.state.manifest.revision
            seen.append(kept)
            return kept not in seen[:-1]

        index.upsert(RECORDS)
        assert is_new()
        index.upsert(RECORDS)
        assert not is_new()
        index.delete(["alone"])
        assert is_new()
    with FeatureIndex.open(path, encoder=encoder) as index:
        assert index.state.manifest.revision == seen[-1]


def test_a_run_interrupted_after_its_first_write_has_another_revision(
    tmp_path: Path, space: FeatureSpace, encoder: RandomEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with make(tmp_path / "a.idx", space, encoder) as index:
        index.upsert(RECORDS)
        before = index.state.store.read_manifest()["revision"]
        upsert: Callable[..., None] = index.state.store.upsert

        def fail(points: Any) -> None:
            upsert(points)
            raise KeyboardInterrupt

        monkeypatch.setattr(index.state.store, "upsert", fail)
        with pytest.raises(KeyboardInterrupt):
            index.upsert([Record("new", "text")])
        assert index.state.store.read_manifest()["revision"] != before


# Sources ----------------------------------------------------------------------------------------------

ROW = {"id": "1", "output": "An answer.", "instruction": "A question?", "model": {"system": "Be brief."}}


def test_columns_of_further_texts_can_be_named() -> None:
    columns = Columns(text="output", fields={"prompt": "instruction", "system": "model.system"})
    (record,) = open_source([ROW], columns=columns)
    assert record == Record(
        "1", "An answer.", {"model": {"system": "Be brief."}},
        {"prompt": "A question?", "system": "Be brief."},
    )  # fmt: skip
    (named,) = open_source([ROW], columns=Columns(text="output", fields=["instruction"]))
    assert isinstance(named, Record)
    assert named.fields == {"instruction": "A question?"}
    assert "instruction" not in named.metadata


def test_the_column_of_a_further_text_is_not_used_as_the_text() -> None:
    row = {"id": 1, "text": "A question?", "content": "An answer."}
    (record,) = open_source([row], columns=Columns(fields={"prompt": "text"}))
    assert record == Record("1", "An answer.", {}, {"prompt": "A question?"})


def test_a_missing_further_column_is_an_error_and_an_invalid_value_a_reject() -> None:
    with pytest.raises(NotFoundError, match="'question'"):
        list(open_source([ROW], columns=Columns(text="output", fields={"prompt": "question"})))
    (rejected,) = open_source([ROW], columns=Columns(text="output", fields={"prompt": "model"}))
    assert not isinstance(rejected, Record)
    assert rejected.reason == "the field 'prompt' is a dict, not a string"
    (wrong,) = open_source([Record("1", "x", {}, {"prompt": 3})])  # type: ignore[dict-item]
    assert not isinstance(wrong, Record)
    assert wrong.reason == "the field 'prompt' is an int, not a string"


def test_parquet_reads_the_columns_of_further_texts(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(
        pa.table({"text": ["a", "b"], "ask": ["p", None], "n": [1, 2]}), tmp_path / "t.parquet"
    )
    columns = Columns(text="text", metadata=("n",), fields={"prompt": "ask"})
    records = [r for r in open_source(tmp_path / "t.parquet", columns=columns) if isinstance(r, Record)]
    assert [(r.fields, r.metadata) for r in records] == [({"prompt": "p"}, {"n": 1}), ({}, {"n": 2})]


def test_the_command_line_names_further_texts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, space: FeatureSpace, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(FeatureSpace, "open_encoder", lambda self: RandomEncoder(self.encoder))
    (tmp_path / "a.jsonl").write_text(json.dumps(ROW) + "\n")
    into = str(tmp_path / "a.idx")
    common = ["index", str(tmp_path / "a.jsonl"), "--into", into, "--text-field", "output"]
    fields = ["--further-field", "prompt=instruction", "--further-field", "system=model.system"]
    make_app()([*common, *fields], standalone_mode=False)
    make_app()(["info", into], standalone_mode=False)
    assert "prompt, system (further texts)" in capsys.readouterr().out
    with FeatureIndex.open(into) as index:
        assert points_by_id(index)["1"].payload["text_prompt"] == "A question?"
    make_app()([*common, *fields], standalone_mode=False)
    assert "1 unchanged" in capsys.readouterr().out
