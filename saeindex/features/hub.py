"""Feature spaces on the Hugging Face hub, by its conventions: ``push_to_hub`` and ``from_pretrained``.

Only the files of a space are uploaded or downloaded, whatever else is in the folder. Tokens are passed to
huggingface_hub and not stored; no message of ours contains a token or the text of the original error.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Protocol

from saeindex.errors import InvalidInputError, NotFoundError, SaeIndexError, StorageError
from saeindex.features.card import model_card
from saeindex.features.space import Space, SpaceT
from saeindex.features.space_io import find_space, load_space, save_space

if TYPE_CHECKING:
    from collections.abc import Callable

CARD = "README.md"
FILES = (
    "space.json",
    "sae.safetensors",
    "calibration.safetensors",
    "labels.jsonl",
    "labels.safetensors",
    "families.json",
    "evidence.safetensors",
    "words.txt",
    CARD,
)


class HubApi(Protocol):
    """The part of ``huggingface_hub.HfApi`` that uploads."""

    def create_repo(self, repo_id: str, *, private: bool, repo_type: str, exist_ok: bool) -> Any:
        """Create the repository, if there is none."""

    def upload_folder(
        self,
        *,
        repo_id: str,
        folder_path: str,
        repo_type: str,
        revision: str | None,
        commit_message: str,
        allow_patterns: list[str],
    ) -> Any:
        """Upload files as one commit; the result has its address as ``commit_url``."""


def push_to_hub(
    space: Space,
    repo_id: str,
    *,
    private: bool = False,
    token: str | None = None,
    revision: str | None = None,
    commit_message: str | None = None,
    api: HubApi | None = None,
) -> str:
    """Upload a space with its model card to ``repo_id`` as one commit; return the commit's address.

    The repository is created if there is none. ``token`` defaults to that of huggingface_hub. Raises
    InvalidInputError for an invalid name, StorageError where the hub refuses.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    hub: HubApi = HfApi(token=token) if api is None else api
    message = commit_message or f"Feature space {space.name}"
    asked = f"push to {repo_id!r}"
    problem: SaeIndexError
    try:
        return _upload(space, repo_id, hub, private, revision, message)
    except HFValidationError:
        problem = InvalidInputError(asked, "not the name of a repository", "Give USER/NAME.")
    except (HfHubHTTPError, OSError) as error:
        problem = StorageError(asked, _reason(error), "Check the name, the token's rights and the network.")
    raise problem  # outside the except block: the hub's own error could quote the request


def from_pretrained(
    name_or_path: str | Path,
    kind: type[SpaceT],
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    force_download: bool = False,
    local_files_only: bool = False,
    download: Callable[..., str] | None = None,
) -> SpaceT:
    """Load a space from a folder, from the package by name, or from a repository of the hub.

    The options are those of huggingface_hub's ``from_pretrained``; ``download`` replaces its
    ``snapshot_download``. Raises NotFoundError where there is no such folder or repository, MismatchError for
    files that are damaged or do not fit together.
    """
    if revision is None:
        try:
            return load_space(find_space(name_or_path), kind)
        except NotFoundError:
            if Path(name_or_path).is_dir() or "/" not in str(name_or_path):
                raise
    folder = _download(
        str(name_or_path),
        download,
        revision=revision,
        token=token,
        cache_dir=cache_dir,
        force_download=force_download,
        local_files_only=local_files_only,
    )
    return load_space(folder, kind)


def write_with_card(space: Space, path: str | Path, repo_id: str | None = None) -> Path:
    """Save a space with its model card, in the layout that is uploaded to the hub."""
    folder = save_space(space, Path(path))
    (folder / CARD).write_text(model_card(space, repo_id))
    return folder


def _upload(
    space: Space, repo_id: str, hub: HubApi, private: bool, revision: str | None, message: str
) -> str:
    with TemporaryDirectory() as scratch:
        folder = write_with_card(space, Path(scratch) / "space", repo_id)
        hub.create_repo(repo_id, private=private, repo_type="model", exist_ok=True)
        commit = hub.upload_folder(
            repo_id=repo_id,
            folder_path=str(folder),
            repo_type="model",
            revision=revision,
            commit_message=message,
            allow_patterns=list(FILES),
        )
    return str(getattr(commit, "commit_url", commit))


def _download(repo_id: str, download: Callable[..., str] | None, **options: Any) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    fetch = download or snapshot_download
    try:
        folder = Path(fetch(repo_id, repo_type="model", allow_patterns=list(FILES), **options))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        found = _reason(error)
    else:
        if (folder / "space.json").is_file():
            return folder
        found = "a repository without space.json"
    raise NotFoundError(
        f"feature space {repo_id!r}", found, "Give a folder with space.json, or USER/NAME on the hub."
    )


def _reason(error: Exception) -> str:
    """Return the kind of an error, not its text: the hub's text could quote the request."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    return f"{type(error).__name__}{f', HTTP {status}' if status else ''}"
