"""`saeindex sae fit` on a small corpus, and an index over what it made."""

from __future__ import annotations

import json
from pathlib import Path

from saeindex import FeatureSpace
from saeindex.indexing.docstrings import DocstringSource
from tests.cli.test_cli import call, called


def corpus(path: Path, limit: int) -> Path:
    lines = [json.dumps({"id": r.id, "text": r.text[:200]}) for r in DocstringSource(limit)]
    path.write_text("\n".join(lines))
    return path


def test_a_fitted_space_is_saved_reported_and_usable_for_an_index(tmp_path: Path) -> None:
    source, space, index = corpus(tmp_path / "docs.jsonl", 300), tmp_path / "mine", str(tmp_path / "mine.idx")
    report = called(
        "sae", "fit", str(source), "--into", str(space), "--features", "64", "--k", "8", "--steps", "200"
    )
    assert (report["n_features"], report["k"]) == (64, 8)
    assert 0 < report["held_out"]["nmse"] < 1
    assert FeatureSpace.load(space).fingerprint == report["fingerprint"]
    called("index", str(source), "--into", index, "--space", str(space))
    assert called("info", index)["space"]["fingerprint"] == report["fingerprint"]
    assert called("search", index, "sorted list", "--limit", "1")["hits"]


def test_too_few_texts_are_refused_before_anything_is_encoded(tmp_path: Path) -> None:
    source = corpus(tmp_path / "docs.jsonl", 50)
    done = call("sae", "fit", str(source), "--into", str(tmp_path / "mine"), "--features", "64")
    assert done.returncode == 2
    assert "fewer features" in done.stderr
    assert not (tmp_path / "mine").exists()
