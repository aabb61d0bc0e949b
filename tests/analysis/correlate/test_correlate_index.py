"""Correlations and triggers of an index with two text fields, in Python and on the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from saeindex import FeatureIndex, FeatureSpace, Record
from saeindex.cli import analyses as correlating
from saeindex.concepts.named_concept import NamedConcept
from saeindex.errors import InvalidInputError, NotFoundError
from tests.samples import RecordingEncoder, sample_records

THANKS = ["Thank you so much, that was very kind!", "Many thanks for your help.", "I am so grateful, thanks!"]
FACTS = [
    "It is on the second shelf.",
    "The train leaves at nine.",
    "Two of them were blue.",
    "Open the window.",
]
APP = typer.Typer()
APP.command("correlate")(correlating.correlate)
APP.command("triggers")(correlating.triggers)


def conversations() -> list[Record]:
    """Return answers to prompts of eight topics; most of those about music are thanked for."""
    rng = np.random.default_rng(0)
    records = []
    for number, prompt in enumerate(sample_records(320, seed=3)):
        topic = prompt.metadata["topic"]
        thanks = rng.random() < (0.85 if topic == "music" else 0.1)
        pool = THANKS if thanks else FACTS
        text = f"{pool[int(rng.integers(len(pool)))]} ({number})"
        metadata = {"topic": topic, "thanks": thanks, "year": 2000 + number % 20}
        records.append(Record(f"c{number}", text, metadata, {"prompt": prompt.text}))
    return records


@pytest.fixture(scope="module")
def conversation_path(
    tmp_path_factory: pytest.TempPathFactory, space: FeatureSpace, session_encoder: RecordingEncoder
) -> Path:
    path = tmp_path_factory.mktemp("talks") / "talks.idx"
    with FeatureIndex.create(path, space, encoder=session_encoder, fields=("prompt",)) as index:
        index.upsert(conversations())
    return path


@pytest.fixture
def conversation_index(conversation_path: Path, session_encoder: RecordingEncoder) -> Iterator[FeatureIndex]:
    with FeatureIndex.open(conversation_path, encoder=session_encoder) as index:
        yield index


def call(*arguments: str) -> Any:
    return CliRunner().invoke(APP, list(arguments))


def test_metadata_and_concepts_of_either_field_are_crossed(conversation_index: FeatureIndex) -> None:
    music = NamedConcept("music", metadata="metadata.topic", value="music")
    found = conversation_index.correlate([music], ["thanked=metadata.thanks=true"])
    (pair,) = found.results
    records = conversations()
    both = sum(r.metadata["topic"] == "music" and bool(r.metadata["thanks"]) for r in records)
    assert (pair.support, found.records, found.tested) == (both, 320, 1)
    across = conversation_index.correlate(
        ["music=about music and instruments; against: about food; against: about money; field: prompt"],
        ["thanked=metadata.thanks=true"],
        field="prompt",
        other_field="",
    )
    assert across.results[0].a.field == "prompt"
    assert across.results[0].q < 0.01


def test_open_pairs_cross_prompts_and_answers(conversation_index: FeatureIndex) -> None:
    found = conversation_index.correlate(field="prompt", other_field="", alpha=0.2)
    assert (found.field, found.other_field) == ("prompt", "")
    assert all((pair.a.field, pair.b.field) == ("prompt", "") for pair in found.results)
    assert found.tested > 100


def test_where_selects_records(conversation_index: FeatureIndex) -> None:
    concepts = ["music=metadata.topic=music", "thanked=metadata.thanks=true"]
    assert conversation_index.correlate(concepts, where="metadata.year >= 2010").records == 160


def test_the_trigger_of_thanks_is_the_planted_topic(
    conversation_index: FeatureIndex, space: FeatureSpace
) -> None:
    found = conversation_index.triggers("thanked=metadata.thanks=true")
    snapshot = conversation_index.state.snapshot("prompt")
    music = snapshot.column("metadata.topic")
    is_music = music.codes == music.values.index("music")
    best = found.results[0].pair.a.feature
    has = snapshot.at("typical")[:, [best or 0]].toarray().ravel() > 0
    assert is_music[has].mean() > 0.5
    shown = conversation_index.triggers("thanked=thanking someone; against: telling a fact")
    assert shown.results[0].pair.q < 0.05


def test_an_error_has_a_remedy(conversation_index: FeatureIndex) -> None:
    with pytest.raises(InvalidInputError, match="levle"):
        conversation_index.correlate(levle="strong")  # type: ignore[call-arg]
    with pytest.raises(InvalidInputError, match="level"):
        conversation_index.correlate(["a=#1", "b=#2"], level="strong")
    with pytest.raises(InvalidInputError, match="other"):
        conversation_index.triggers(1, other=2)  # type: ignore[call-arg]
    with pytest.raises((InvalidInputError, NotFoundError)):
        conversation_index.correlate(other_field="answer")


# The command line -------------------------------------------------------------------------------------


def test_the_json_of_correlate_has_the_fields_of_the_contract(conversation_path: Path) -> None:
    done = call(
        "correlate", str(conversation_path), "--concept", "music=metadata.topic=music",
        "--concept", "thanked=metadata.thanks=true", "--json",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    as_json = json.loads(done.stdout)
    assert {"field", "records", "tested", "alpha", "removed", "results"} <= as_json.keys()
    (pair,) = as_json["results"]
    assert pair["a"]["label"] == "music"
    of_music = [record for record in conversations() if record.metadata["topic"] == "music"]
    assert pair["p_b_given_a"] == pytest.approx(np.mean([r.metadata["thanks"] for r in of_music]))


def test_triggers_are_printed_with_their_records(conversation_path: Path) -> None:
    done = call("triggers", str(conversation_path), "thanked=metadata.thanks=true", "--limit", "3")
    assert done.exit_code == 0, done.output
    assert "without behaviour  c" in done.stdout
    assert len(
        json.loads(call("triggers", str(conversation_path), "thanked=metadata.thanks=true", "--json").stdout)[
            "results"
        ]
    )


def test_nothing_found_exits_1_and_a_wrong_option_is_an_error(conversation_path: Path) -> None:
    nothing = call("correlate", str(conversation_path), "--alpha", "1e-300")
    assert nothing.exit_code == 1
    untested = call(
        "correlate", str(conversation_path), "--where", "metadata.year = 2003", "--min-support", "15"
    )
    assert untested.exit_code == 2 and "Not comparable" in untested.stdout
    for arguments in (["--method", "bonferroni"], ["--concept", "music"]):
        done = call("correlate", str(conversation_path), *arguments)
        assert isinstance(done.exception, InvalidInputError)
