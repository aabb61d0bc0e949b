"""``saeindex sae families`` as people and programs use it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from saeindex import FeatureSpace
from saeindex.cli.sae.spaces import families
from saeindex.features import FeatureLabel
from saeindex.features.families import Family
from tests.samples import RecordingEncoder

app = typer.Typer()
app.command("families")(families)
NAMES = {
    3: "birds, feathers",
    5: "eagles, hawks",
    8: "penguins",
    11: "bank loans",
    13: "interest rates",
    2: "debt",
}
FAMILIES = (
    Family(0, "birds: eagles, penguins", (3, 5, 8), (None, 3, 5), 0.5, 0.125),
    Family(1, "bank loans: interest rates, debt", (11, 13, 2), (None, 11, 11), 0.4, 0.25),
)


@pytest.fixture(scope="module")
def space_folder(
    tmp_path_factory: pytest.TempPathFactory, space: FeatureSpace, session_encoder: RecordingEncoder
) -> str:
    labels, vectors = list(space.labels), space.label_vectors.copy()
    for feature, name in NAMES.items():
        labels[feature] = FeatureLabel(name, trust=0.5 if name == "debt" else 0.9)
        vectors[feature] = session_encoder.encode_query([name])[0]
    space_with_families = replace(space, labels=tuple(labels), label_vectors=vectors, families=FAMILIES)
    return str(space_with_families.save(tmp_path_factory.mktemp("spaces") / "organised"))


def call(*arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, arguments, env={"COLUMNS": "120"})
    assert done.exit_code == code, done.output
    return done.stdout


def called(*arguments: str, code: int = 0) -> Any:
    return json.loads(call(*arguments, "--json", code=code))


def test_families_are_listed_with_their_features(space_folder: str, space: FeatureSpace) -> None:
    printed = called(space_folder)
    assert (printed["space"], printed["phrase"]) == (space.name, None)
    assert [(f["id"], f["size"], f["match"]) for f in printed["families"]] == [(0, 3, None), (1, 3, None)]
    birds = printed["families"][0]
    assert (birds["label"], birds["coherence"], birds["density"]) == (FAMILIES[0].label, 0.5, 0.125)
    assert [(f["id"], f["label"], f["parent"]) for f in birds["features"]] == [
        (3, "birds, feathers", None), (5, "eagles, hawks", 3), (8, "penguins", 5),
    ]  # fmt: skip
    assert birds["features"][0]["density"] == pytest.approx(float(space.calibration.density[3]))
    assert [f["is_weak"] for f in printed["families"][1]["features"]] == [False, False, True]
    assert len(called(space_folder, "--limit", "1")["families"]) == 1


def test_text_output_has_trees(space_folder: str) -> None:
    lines = call(space_folder).splitlines()
    assert lines[0].startswith("family:#0 birds: eagles, penguins  3 features, coherence 0.50, in 12.5% of")
    assert [line[: line.index("#")] for line in lines[1:4]] == ["└── ", "    └── ", "        └── "]
    assert "#8 penguins" in lines[3]
    assert [line for line in lines if "(weak)" in line] == [line for line in lines if "debt" in line][1:]


def test_a_phrase_finds_matching_families(space_folder: str) -> None:
    for phrase, first in (("hawks", 0), ("interest rates", 1)):
        found = called(space_folder, phrase)["families"]
        assert [family["id"] for family in found] == [first, 1 - first]
        assert found[0]["match"] > 0.7 > found[1]["match"]
        assert f"match {found[0]['match']:.2f}, 3 features" in call(space_folder, phrase).splitlines()[0]


def test_a_space_without_families_gives_no_result(tmp_path: Path, space: FeatureSpace) -> None:
    bare = str(replace(space, families=()).save(tmp_path / "bare"))
    assert called(bare, code=1)["families"] == []
    assert called(bare, "hawks", code=1)["families"] == []
    assert call(bare, code=1) == ""
