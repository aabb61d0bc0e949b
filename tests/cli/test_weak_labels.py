"""A label below the trust floor is marked as weak wherever labels are shown, in text and in JSON."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from saeindex import FeatureIndex, FeatureSpace
from saeindex.errors import UnknownConceptError
from saeindex.types import shown_label
from tests.cli.test_cli import call, called
from tests.samples import RecordingEncoder, sample_records


@pytest.fixture(scope="module")
def index_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("weak")


@pytest.fixture(scope="module")
def half_weak(space: FeatureSpace) -> FeatureSpace:
    """The default space with weak labels on even features and trusted ones on odd features."""
    labels = tuple(
        replace(label, trust=0.6 + 0.3 * (i % 2), sure=None, kind="meaning")
        for i, label in enumerate(space.labels)
    )
    return replace(space, labels=labels)


@pytest.fixture(scope="module")
def index(index_folder: Path, half_weak: FeatureSpace, session_encoder: RecordingEncoder) -> str:
    path = index_folder / "weak.idx"
    with FeatureIndex.create(path, half_weak, encoder=session_encoder) as made:
        made.upsert(sample_records(40))
    half_weak.save(index_folder / "space")
    return str(path)


def marks(text: str) -> list[tuple[int, bool]]:
    """Return every feature that a line names by #id and label, and whether it is marked as weak."""
    found = []
    for line in text.splitlines():
        for part in re.split(r"(?=#\d+ )", line)[1:]:
            if "…" not in part:  # a narrow terminal may cut off the mark together with the label
                found.append((int(part[1 : part.index(" ")]), "(weak)" in part))
    return found


def assert_marked(text: str, min_count: int = 1) -> None:
    shown = marks(text)
    assert len(shown) >= min_count, text
    assert all(is_marked == (feature % 2 == 0) for feature, is_marked in shown), text


def test_one_function_formats_labels() -> None:
    assert shown_label("dark matter", True) == "dark matter (weak)"
    assert shown_label("dark matter", False) == "dark matter"


def test_hits_explanations_and_plans_mark_weak_labels(index: str) -> None:
    assert_marked(call("search", index, "galaxies", "--limit", "20", "--unnamed").stdout, 20)
    assert_marked(call("search", index, "galaxies", "--explain", "--limit", "5", "--unnamed").stdout, 20)
    described = called(
        "search", index, "galaxies", "--explain", "--limit", "5", "--unnamed", "--where", "#4 OR #5 OR NOT #6"
    )
    for hit in described["hits"]:
        parts = [part for part in hit["explanation"]["parts"] if part["kind"] == "feature"]
        assert all(part["is_weak"] == (part["feature"] % 2 == 0) for part in parts)
        assert all(entry["is_weak"] == (entry["id"] % 2 == 0) for entry in hit["features"])
        assert parts
        assert hit["features"]


def test_steering_and_filters_mark_the_labels_that_they_resolved_to(
    index: str, half_weak: FeatureSpace
) -> None:
    printed = call("search", index, "galaxies", "--steer", "+#4:0.2 +#5:0.2", "--limit", "1", "--plan").stdout
    steps = "\n".join(line for line in printed.splitlines() if "along" in line)
    assert_marked(re.sub(r"Steer '#\d+' by ", "", steps), 2)
    plan = called("search", index, "galaxies", "--steer", "+#4:0.2 +#5:0.2", "--limit", "1")["plan"]
    assert [step["parts"][0]["is_weak"] for step in plan["steer"]] == [True, False]
    where = f'"{half_weak.labels[4].text}"'  # a label selects its feature where labels alone count
    plan = call("search", index, "galaxies", "--where", where, "--where-resolve", "strict", "--plan").stdout
    assert_marked(plan)


def test_the_features_and_feature_commands_mark_weak_labels(index: str) -> None:
    assert_marked(call("features", index, "galaxies").stdout, 10)
    assert all(m["is_weak"] == (m["id"] % 2 == 0) for m in called("features", index, "galaxies")["features"])
    for feature in ("4", "5"):
        assert_marked(call("feature", index, feature).stdout, 5)
        card = called("feature", index, feature)
        assert card["is_weak"] == (card["id"] % 2 == 0)
        assert all(other["is_weak"] == (other["id"] % 2 == 0) for other in card["similar"])
        assert "f1" in card


def test_errors_that_list_labels_mark_weak_ones(index: str, session_encoder: RecordingEncoder) -> None:
    with (
        FeatureIndex.open(index, encoder=session_encoder) as opened,
        pytest.raises(UnknownConceptError) as unknown,
    ):
        opened.concepts.resolve("zzyzx qwfp")
    assert_marked(str(unknown.value), 5)


def test_families_mark_weak_labels_and_families_with_only_weak_labels(index_folder: Path, index: str) -> None:
    space = FeatureSpace.load(index_folder / "space")
    trees = call("sae", "families", str(index_folder / "space"), "--limit", "3").stdout
    assert_marked(re.sub(r"family:#\d+ .*", "", trees), 6)
    weak = tuple(replace(label, trust=0.5) for label in space.labels)
    replace(space, labels=weak).save(index_folder / "all-weak")
    titles = [
        line
        for line in call("sae", "families", str(index_folder / "all-weak")).stdout.splitlines()
        if "family:" in line
    ]
    assert titles
    assert all("(weak)" in title for title in titles)
    families: list[Any] = called("sae", "families", str(index_folder / "all-weak"))["families"]
    assert all(family["is_weak"] for family in families)
