"""`saeindex sae fit` on a small corpus, and an index with the fitted space."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from saeindex import FeatureSpace
from saeindex.samples import speeches
from tests.cli.test_cli import call, called
from tests.samples import sample_records, write_records


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fit") / "docs.jsonl"
    path.write_text("\n".join(json.dumps({"id": r.id, "text": r.text[:200]}) for r in speeches()[:300]))
    return path


def test_a_fitted_space_is_saved_reported_and_usable_for_an_index(source: Path, tmp_path: Path) -> None:
    space, index = tmp_path / "mine", str(tmp_path / "mine.idx")
    report = called(
        "sae", "fit", str(source), "--into", str(space), "--features", "64", "--k", "8", "--steps", "200"
    )
    assert (report["n_features"], report["k"]) == (64, 8)
    assert 0 < report["fitted_nmse"] < report["held_out"]["nmse"] < 1
    assert FeatureSpace.load(space).fingerprint == report["fingerprint"]
    called("index", str(source), "--into", index, "--space", str(space))
    assert called("info", index)["space"]["fingerprint"] == report["fingerprint"]
    assert called("search", index, "peace", "--limit", "1")["hits"]


def test_a_fit_says_that_its_texts_are_too_few_where_the_error_on_others_is_much_larger(
    source: Path, tmp_path: Path
) -> None:
    options = "--features", "256", "--k", "8", "--steps", "200"
    done = call("sae", "fit", str(source), "--into", str(tmp_path / "mine"), *options)
    report = FeatureSpace.load(tmp_path / "mine").report
    assert report["fitted_nmse"] * 1.25 < report["held_out"]["nmse"]
    assert f"On texts that it was fitted on, NMSE is {report['fitted_nmse']:.3f}" in done.stdout


def test_too_few_texts_are_refused_before_anything_is_encoded(tmp_path: Path) -> None:
    source = write_records(tmp_path / "texts.jsonl", sample_records(50))
    done = call("sae", "fit", str(source), "--into", str(tmp_path / "mine"), "--features", "64")
    assert done.returncode == 2
    assert "fewer features" in done.stderr
    assert not (tmp_path / "mine").exists()


def test_a_space_fitted_on_embeddings_has_levels_but_no_labels(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(400, 384)).astype(np.float16)
    np.save(tmp_path / "x.npy", x / np.linalg.norm(x, axis=1, keepdims=True))
    report = called(
        "sae", "fit", str(tmp_path / "x.npy"), "--into", str(tmp_path / "mine"), "--features", "64",
        "--k", "8", "--steps", "40", "--prefixes", "16,32", "--selection", "batchtopk",
        "--contrastive", "0.1", "--faithful",
    )  # fmt: skip
    space = FeatureSpace.load(tmp_path / "mine")
    assert (report["trusted_labels"], space.labels[0].method) == (0, "none")
    assert np.isfinite(space.calibration.median).any()
    assert (space.sae.k, space.sae.refine_steps, space.sae.support_rounds) == (16, 2, 2)
    assert report["training"]["prefixes"] == [16, 32]


def test_concepts_and_views_are_fitted_and_a_second_fit_encodes_nothing(source: Path, tmp_path: Path) -> None:
    space = tmp_path / "mine"
    concepts = tmp_path / "concepts.csv"
    concepts.write_text(
        "name,description,examples\nexceptions,errors that are raised,it raises ValueError|it fails\n"
        "random numbers,,a random integer|the seed of a generator\nof random numbers,,a random integer|"
        "the seed of a generator\n"
    )
    options = (
        "sae", "fit", str(source), "--into", str(space), "--features", "64", "--k", "8", "--steps", "100",
        "--views", "whole,sentence", "--concept", "sorted lists", "--concepts", str(concepts),
    )  # fmt: skip
    report = called(*options)
    assert [(one["name"], one["feature"]) for one in report["concepts"]] == [
        ("exceptions", 0), ("random numbers", 1), ("sorted lists", 2), ("of random numbers", None),
    ]  # fmt: skip
    labels = FeatureSpace.load(space).labels
    assert [label.method for label in labels[:4]] == ["concept"] * 3 + ["lexical"]
    assert labels[0].description == "errors that are raised"
    named = FeatureSpace.load(space).with_labels({5: "my own name"})
    named.save(tmp_path / "named")
    shown = call(*options, "--labels-from", str(tmp_path / "named")).stdout
    assert "3 of 4 concepts are features by their names" in shown
    assert "of random numbers: the encoder reads it as “random numbers”" in shown
    assert "with examples are told apart" in shown
    assert report["texts"] + report["held_out_texts"] > 300
    assert FeatureSpace.load(space).fingerprint == report["fingerprint"]
    called(*options)  # at the same path they are kept without being named
    label = FeatureSpace.load(space).labels[5]
    assert (label.text, label.method, label.is_weak) == ("my own name", "manual", False)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--prefixes", "a,b", "256,1024"),
        ("--prefixes", "128", "ascending"),
        ("--views", "paragraph", "no such views"),
        ("--selection", "best", "topk or batchtopk"),
    ],
)
def test_options_out_of_range_are_refused_before_anything_is_encoded(
    tmp_path: Path, option: str, value: str, message: str
) -> None:
    source = write_records(tmp_path / "texts.jsonl", sample_records(100))
    done = call(
        "sae", "fit", str(source), "--into", str(tmp_path / "mine"), "--features", "64", option, value
    )
    assert done.returncode == 2
    assert message in " ".join(done.stderr.split())
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize(
    ("array", "message"), [(np.zeros(5), "one row per text"), (np.zeros((100, 3)), "has dimension 384")]
)
def test_embeddings_that_do_not_fit_are_refused(
    tmp_path: Path, array: NDArray[np.float64], message: str
) -> None:
    np.save(tmp_path / "x.npy", array)
    done = call("sae", "fit", str(tmp_path / "x.npy"), "--into", str(tmp_path / "mine"), "--features", "8")
    assert done.returncode == 2
    assert message in " ".join(done.stderr.split())
    np.save(tmp_path / "x.npy", np.array([{}]), allow_pickle=True)
    done = call("sae", "fit", str(tmp_path / "x.npy"), "--into", str(tmp_path / "mine"))
    assert done.returncode == 2
