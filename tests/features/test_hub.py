"""Sharing a space: a local folder replaces the hub, and a fake api records the uploads."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import numpy as np
import pytest
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

from saeindex import FeatureSpace
from saeindex.errors import InvalidInputError, MismatchError, NotFoundError, StorageError
from saeindex.features import FeatureLabel
from saeindex.features.hub import CARD, FILES, model_card

SECRET = "hf_aSecretThatNobodyMaySee"


class RecordingApi:
    """Stores the uploaded files in a folder, like a commit on the hub."""

    def __init__(self, remote: Path) -> None:
        self.remote = remote
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def create_repo(self, repo_id: str, **options: Any) -> None:
        self.calls.append(("create_repo", {"repo_id": repo_id, **options}))

    def upload_folder(self, **options: Any) -> SimpleNamespace:
        self.calls.append(("upload_folder", options))
        for name in options["allow_patterns"]:
            if (Path(options["folder_path"]) / name).is_file():
                self.remote.mkdir(exist_ok=True)
                shutil.copy(Path(options["folder_path"]) / name, self.remote / name)
        return SimpleNamespace(commit_url="https://hub.example/commit/1")


class RefusingApi(RecordingApi):
    def create_repo(self, repo_id: str, **options: Any) -> None:
        raise refusal(HfHubHTTPError, 403)


def refusal(kind: type[HfHubHTTPError], status: int) -> HfHubHTTPError:
    response: Any = SimpleNamespace(status_code=status, headers={}, request=None)
    return kind(f"refused for token {SECRET}", response=response)


class Downloading:
    """Replaces ``snapshot_download``: copies the allowed files of a folder."""

    def __init__(self, remote: Path, cache: Path) -> None:
        self.remote, self.cache = remote, cache
        self.calls: list[dict[str, Any]] = []

    def __call__(self, repo_id: str, **options: Any) -> str:
        self.calls.append({"repo_id": repo_id, **options})
        self.cache.mkdir()
        for name in options["allow_patterns"]:
            if (self.remote / name).is_file():
                shutil.copy(self.remote / name, self.cache / name)
        return str(self.cache)


def test_a_pushed_space_is_loaded_unchanged(
    space: FeatureSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = RecordingApi(tmp_path / "remote")
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda token: api)
    address = space.push_to_hub("me/lens", private=True, token=SECRET)
    assert address == "https://hub.example/commit/1"
    (made, options), (sent, upload) = api.calls
    assert (made, sent) == ("create_repo", "upload_folder")
    assert options == {"repo_id": "me/lens", "private": True, "repo_type": "model", "exist_ok": True}
    assert upload["repo_id"] == "me/lens"
    assert SECRET not in str(api.calls)
    (api.remote / "stray.py").write_text("print('not ours')")
    assert (api.remote / "README.md").read_text().startswith("---\nlicense: apache-2.0")
    download = Downloading(api.remote, tmp_path / "cache")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    loaded = FeatureSpace.from_pretrained("me/lens", revision="v1", token=SECRET)
    assert loaded.fingerprint == space.fingerprint
    assert loaded.labels == space.labels
    np.testing.assert_array_equal(loaded.label_vectors, space.label_vectors)
    assert (download.calls[0]["revision"], download.calls[0]["token"]) == ("v1", SECRET)
    assert not (tmp_path / "cache" / "stray.py").exists()


def test_every_file_of_a_saved_space_is_allowed(space: FeatureSpace, tmp_path: Path) -> None:
    folder = space.save(tmp_path / "lens")
    assert {path.name for path in folder.iterdir()} == set(FILES) - {CARD}


def test_a_folder_and_a_packaged_name_need_no_hub(space: FeatureSpace, tmp_path: Path) -> None:
    folder = space.save(tmp_path / "lens")
    assert FeatureSpace.from_pretrained(folder).fingerprint == space.fingerprint
    assert FeatureSpace.from_pretrained("minilm-concepts").fingerprint == space.fingerprint
    (folder / "labels.jsonl").unlink()
    with pytest.raises(MismatchError, match="damaged or missing"):
        FeatureSpace.from_pretrained(folder)
    with pytest.raises(NotFoundError):
        FeatureSpace.from_pretrained(tmp_path)
    with pytest.raises(NotFoundError):
        FeatureSpace.from_pretrained("no-such-space")


def test_a_refusal_is_a_saeindex_error_without_the_token(
    space: FeatureSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda token: RefusingApi(tmp_path / "remote"))
    with pytest.raises(StorageError, match="HTTP 403") as pushed:
        space.push_to_hub("me/lens", token=SECRET)

    def missing(*_: object, **__: object) -> str:
        raise refusal(RepositoryNotFoundError, 404)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", missing)
    with pytest.raises(NotFoundError, match="HTTP 404") as pulled:
        FeatureSpace.from_pretrained("me/gone", token=SECRET)
    for caught in (pushed, pulled):
        assert SECRET not in str(caught.value)
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None


def test_invalid_names_and_repositories_without_a_space_are_reported(
    space: FeatureSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InvalidInputError, match="USER/NAME"):
        space.push_to_hub("me/../../lens", token="none")
    (tmp_path / "remote").mkdir()
    download = Downloading(tmp_path / "remote", tmp_path / "cache")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    with pytest.raises(NotFoundError, match=r"without space\.json"):
        FeatureSpace.from_pretrained("me/model")


def test_the_card_has_the_measured_figures_and_no_others(space: FeatureSpace) -> None:
    card = model_card(space, "me/lens")
    assert 'from_pretrained("me/lens")' in card and space.fingerprint in card
    assert f"base_model: {space.encoder.model}" in card
    for measured in space.report["by_corpus"].values():
        assert f"| {measured['nmse']:.3f} |" in card
    assert all(one[:40] in card for one in space.report["attribution"])
    bare = model_card(replace(space, report={}, encoder=replace(space.encoder, model="/home/me/e")), "a/b")
    assert "|" not in bare and "base_model" not in bare


@pytest.mark.parametrize("text", ["a\n## b", "<script>", "| x |", "[click](http://x)", "`code`"])
def test_names_cannot_break_out_of_the_card(space: FeatureSpace, text: str) -> None:
    labels = (FeatureLabel(text, "lexical", 1.0), *space.labels[1:])
    card = model_card(replace(space, name=text, labels=labels, report={"by_corpus": {text: {"a": 1}}}), "a/b")
    assert text not in card
