"""The model card has all measured figures and no others, and is the same each time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from saeindex import FeatureSpace
from saeindex.features import Calibration, FeatureLabel
from saeindex.features.card import model_card


def section(card: str, title: str) -> str:
    return card.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]


def test_the_card_of_the_default_space_has_its_measured_figures(space: FeatureSpace) -> None:
    card = model_card(space, "someone/minilm-concepts")
    assert card == model_card(FeatureSpace.load("minilm-concepts"), "someone/minilm-concepts")
    front, body = card.removeprefix("---\n").split("\n---\n", 1)
    fields = dict(line.split(": ", 1) for line in front.splitlines() if ": " in line)
    assert fields["license"] == "apache-2.0"
    assert fields["library_name"] == "saeindex"
    assert fields["base_model"] == space.encoder.model
    assert 'from_pretrained("someone/minilm-concepts")' in body
    assert space.fingerprint in body
    fidelity = section(body, "Fidelity")
    for corpus, measured in space.report["by_corpus"].items():
        row = next(
            line for line in fidelity.splitlines() if line.replace("\\", "").startswith(f"| {corpus} |")
        )
        assert f"{measured['nmse']:.4g}" in row
    trusts = [label.trust for label in space.labels if label.trust is not None]
    assert f"| mean trust | {np.mean(trusts):.3f} |" in section(body, "Labels")
    for part, count in space.report["mixture"].items():
        assert f"| {count:,} |" in section(body, "Training"), part
    worst = max(space.report["by_corpus"].items(), key=lambda entry: entry[1]["nmse"])[0]
    assert f"Least faithful on {worst}" in section(body, "Limits").replace("\\", "")
    assert "apache-2.0" in section(body, "Licence")


def test_figures_that_were_not_measured_are_not_on_the_card(space: FeatureSpace) -> None:
    n = space.n_features
    never = np.full(n, np.inf, np.float32)
    bare = replace(
        space,
        report={},
        labels=(FeatureLabel("unlabelled", "none"),) * n,
        calibration=Calibration(0, np.zeros(n, np.float32), never, never),
        encoder=replace(space.encoder, model="/home/someone/encoder"),
    )
    card = model_card(bare)
    assert "Not measured." in section(card, "Fidelity")
    assert "mean trust" not in card
    assert "The most trusted" not in card
    assert "## Training" not in card
    assert "base_model" not in card
    assert "Not calibrated" in section(card, "Limits")
    assert "nan" not in card


def test_the_figures_of_the_labels_are_on_the_card_with_their_control(space: FeatureSpace) -> None:
    figures = {
        "mean_trust_above_floor": 0.8765,
        "share_above_floor": 0.7,
        "mean_f1": 0.66,
        "control_auroc": 0.496,
    }
    labels = section(model_card(replace(space, report={"labels": figures})), "Labels")
    for row in (
        "| mean trust of those above the floor | 0.876 |",
        "| share of live features above the floor | 0.700 |",
        "| mean F1 | 0.660 |",
        "| mean trust of shuffled labels | 0.496 |",
    ):
        assert row in labels
    assert "shuffled" not in section(
        model_card(replace(space, report={"labels": {"control_auroc": None}})), "Labels"
    )


@pytest.mark.parametrize("text", ["a\n## b", "<script>", "| x |", "[click](http://x)", "`code`"])
def test_labels_and_names_cannot_break_out_of_the_card(space: FeatureSpace, text: str) -> None:
    labels = (FeatureLabel(text, "lexical", 1.0), *space.labels[1:])
    card = model_card(replace(space, name=text, labels=labels, report={"mixture": {text: 3}}))
    titles = [line for line in card.splitlines() if line.startswith("## ")]
    assert titles == [
        "## How to use it",
        "## Fidelity",
        "## Labels",
        "## Training",
        "## Limits",
        "## Licence",
    ]
    assert text not in card.replace("apache-2.0", "")


def test_the_card_names_the_sources_of_names(space: FeatureSpace) -> None:
    assert "CC BY" not in model_card(replace(space, report={}))
    card = model_card(replace(space, report={"attribution": ["Names of A Wordnet, CC BY 4.0."]}))
    assert card.endswith(
        "## Licence\n\nThe weights and labels: apache-2.0.\n\nNames of A Wordnet, CC BY 4.0.\n"
    )


def test_the_licence_can_be_changed(space: FeatureSpace) -> None:
    card = model_card(space, license="cc-by-4.0")
    assert "license: cc-by-4.0" in card
    assert "apache" not in card


def test_the_figures_of_a_fidelity_report_are_on_the_card(space: FeatureSpace) -> None:
    held_out = {"nmse": 0.21, "cosine": 0.9, "active": 31.5, "overlap10": 0.7312, "ndcg_retained": 0.977}
    card = model_card(replace(space, report={"held_out": held_out, "calibrated_on": 5_000}))
    fidelity = section(card, "Fidelity")
    assert "| corpus | NMSE | cosine | active features | top-10 overlap | nDCG@10 retained |" in fidelity
    assert "| held-out texts | 0.21 | 0.9 | 31.5 | 0.7312 | 0.977 |" in fidelity
    assert "5,000 records of an index" in section(card, "Limits")
