"""``saeindex upgrade``: what it says, and what moves along."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from saeindex import FeatureIndex, FeatureSpace
from saeindex.indexing import upgrade as upgrading
from saeindex.sae import SparseAutoencoder
from tests.cli.test_cli import call, called
from tests.samples import sample_records, write_records


@pytest.fixture(scope="module")
def target(space: FeatureSpace, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A space of the first half of the features of the default space."""
    n = space.n_features // 2
    parts = ("density", "median", "p90")
    half = replace(
        space,
        name="half",
        sae=space.sae.prefix(n),
        calibration=replace(
            space.calibration, **{name: getattr(space.calibration, name)[:n] for name in parts}
        ),
        labels=space.labels[:n],
        label_vectors=space.label_vectors[:n],
        families=(),
    )
    assert isinstance(half.sae, SparseAutoencoder)
    return str(half.save(tmp_path_factory.mktemp("spaces") / "half"))


@pytest.fixture
def index(tmp_path: Path) -> str:
    source = write_records(tmp_path / "notes.jsonl", sample_records(40))
    into = str(tmp_path / "notes.idx")
    called("index", str(source), "--into", into)
    return into


def test_an_upgrade_is_shown_done_and_undone(index: str, target: str, space: FeatureSpace) -> None:
    n = space.n_features // 2
    planned = called("upgrade", index, "--space", target, "--dry-run")
    assert (planned["before"], planned["after"], planned["dry_run"]) == (space.name, "half", True)
    assert planned["matched"] >= 0.95 * n
    shown = call("upgrade", index, "--space", target, "--dry-run").stdout
    assert f"{space.name} → half, 40 points; nothing is written" in shown
    assert "Concept before" in shown
    assert called("info", index)["space"]["name"] == space.name
    said = call("upgrade", index, "--space", target).stdout
    assert "40 of 40 points have concepts of half now" in said
    assert called("info", index)["space"]["name"] == "half"
    assert called("upgrade", index, "--query", f"#5 AND NOT #{n + 3}") == {
        "query": f"#5 AND NOT #{n + 3}",
        "gone": [n + 3],
    }
    assert "already" in call("upgrade", index, "--space", target).stdout
    assert call("upgrade", index, "--undo").stdout.strip().endswith(f"back to {space.name}")
    assert called("info", index)["space"]["name"] == space.name


def test_a_baseline_is_rewritten_and_kept(index: str, target: str, tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    called("monitor", index, "--reference", "metadata.year >= 2000", "--save-baseline", str(path))
    before = json.loads(path.read_text())
    called("upgrade", index, "--space", target)
    written = called("upgrade", index, "--baseline", str(path))
    assert written["written"] == [str(path), f"{path}.former"]
    assert written["lost"]
    after = json.loads(path.read_text())
    assert after["counts"]["words"] == before["counts"]["words"]
    assert after["fingerprint"] != before["fingerprint"]
    assert json.loads(Path(f"{path}.former").read_text()) == before
    assert "the index has that space" in call("upgrade", index, "--baseline", str(path)).stderr
    assert json.loads(path.read_text()) == after
    assert json.loads(Path(f"{path}.former").read_text()) == before


class Stop(Exception):
    """Stands for the end of the process."""


def interrupted(index: str, monkeypatch: pytest.MonkeyPatch, space: str | None) -> None:
    """Begin to upgrade an index, or to undo that, and stop before it is settled."""

    def stopping(*_: object) -> int:
        raise Stop

    with monkeypatch.context() as patched, FeatureIndex.open(index) as opened:
        patched.setattr(upgrading, "rewrite_levels", stopping)
        with suppress(Stop):
            opened.undo_upgrade() if space is None else opened.upgrade(space)


@pytest.mark.parametrize("given", [(), ("--undo",)])
def test_an_interrupted_undo_is_only_finished(
    index: str, target: str, space: FeatureSpace, monkeypatch: pytest.MonkeyPatch, given: tuple[str, ...]
) -> None:
    called("upgrade", index, "--space", target)
    interrupted(index, monkeypatch, None)
    refused = call("info", index)
    assert f"`saeindex upgrade {index}`" in refused.stderr
    done = call("upgrade", index, *given)
    assert done.returncode == 0, done.stderr
    assert "nothing else was done" in done.stdout
    assert f"back to {space.name}" in done.stdout
    assert called("info", index)["space"]["name"] == space.name


def test_an_interrupted_upgrade_is_only_finished_and_says_what_was_lost(
    index: str, target: str, space: FeatureSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = space.n_features // 2 + 3
    with FeatureIndex.open(index) as opened:
        profile = opened.fit_profile("liked", like=[record.id for record in sample_records(2)])
        opened.save_profile(profile.edited({gone: 0.5}))
    interrupted(index, monkeypatch, target)
    refused = call("upgrade", index, "--space", target, "--dry-run")
    assert refused.returncode != 0
    assert "interrupted" in refused.stderr
    assert call("info", index).returncode != 0  # nothing was written
    done = call("upgrade", index)
    assert "nothing else was done" in done.stdout
    assert f"profile liked: edits moved: none; lost: #{gone}" in done.stdout
    assert called("info", index)["space"]["name"] == "half"


def test_another_upgrade_than_the_interrupted_one_must_be_asked_for_again(
    index: str, target: str, space: FeatureSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(index, monkeypatch, target)
    refused = call("upgrade", index, "--undo")
    assert refused.returncode != 0
    assert f"Run it once more: `saeindex upgrade {index} --undo`" in refused.stderr
    assert called("upgrade", index, "--undo")["space"] == space.name
    interrupted(index, monkeypatch, target)
    assert called("upgrade", index, "--space", target)["resumed"]
