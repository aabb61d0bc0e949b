"""Feature spaces on the Hugging Face hub, by its conventions: ``push_to_hub`` and ``from_pretrained``.

Only the files of a space are uploaded or downloaded, whatever else is in the folder. Tokens are passed to
huggingface_hub and not stored; no message of ours contains a token or the text of the original error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from saeindex.errors import InvalidInputError, NotFoundError, SaeIndexError, StorageError
from saeindex.features.space_io import find_space, load_space, save_space

if TYPE_CHECKING:
    from saeindex.features.space import Space, SpaceT

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
HUB_NAME = re.compile(r"^[\w.-]+/[\w.-]+$")
LICENSE = "apache-2.0"


def push_to_hub(
    space: Space,
    repo_id: str,
    *,
    private: bool = False,
    token: str | None = None,
    revision: str | None = None,
    commit_message: str | None = None,
) -> str:
    """Upload a space with its model card to ``repo_id`` as one commit; return the commit's address.

    The repository is created if there is none. ``token`` defaults to that of huggingface_hub. Raises
    InvalidInputError for an invalid name, StorageError where the hub refuses.
    """
    from huggingface_hub import HfApi

    api, message = HfApi(token=token), commit_message or f"Feature space {space.name}"

    def upload() -> str:
        with TemporaryDirectory() as scratch:
            folder = save_space(space, Path(scratch) / "space")
            (folder / CARD).write_text(model_card(space, repo_id))
            api.create_repo(repo_id, private=private, repo_type="model", exist_ok=True)
            commit = api.upload_folder(
                repo_id=repo_id,
                folder_path=folder,
                repo_type="model",
                revision=revision,
                commit_message=message,
                allow_patterns=list(FILES),
            )
        return str(commit.commit_url)

    do = "Check the name, the token's rights and the network."
    return _asked_of_hub(upload, f"push to {repo_id!r}", StorageError, do)


def from_pretrained(
    name_or_path: str | Path,
    kind: type[SpaceT],
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    force_download: bool = False,
    local_files_only: bool = False,
) -> SpaceT:
    """Load a space from a folder, from the package by name, or from a repository of the hub.

    The options are those of huggingface_hub's ``from_pretrained``. Raises NotFoundError where there is no
    such folder or repository, MismatchError for files that are damaged or do not fit together.
    """
    if revision is None:
        try:
            return load_space(find_space(name_or_path), kind)
        except NotFoundError:
            if Path(name_or_path).is_dir() or "/" not in str(name_or_path):
                raise
    import huggingface_hub

    asked, do = f"feature space {str(name_or_path)!r}", "Give a folder with space.json, or USER/NAME."
    download = partial(
        huggingface_hub.snapshot_download,
        str(name_or_path),
        repo_type="model",
        revision=revision,
        token=token,
        cache_dir=cache_dir,
        force_download=force_download,
        local_files_only=local_files_only,
        allow_patterns=list(FILES),
    )
    folder = _asked_of_hub(download, asked, NotFoundError, do)
    if not (Path(folder) / "space.json").is_file():
        raise NotFoundError(asked, "a repository without space.json", do)
    return load_space(folder, kind)


def _asked_of_hub(call: Callable[[], str], asked: str, kind: type[SaeIndexError], do: str) -> str:
    """Return what a call of the hub does; its refusals are errors of ours, which do not quote the request."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    problem: SaeIndexError
    try:
        return call()
    except HFValidationError:
        problem = InvalidInputError(asked, "not the name of a repository", "Give USER/NAME.")
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        problem = kind(asked, f"{type(error).__name__}{f', HTTP {status}' if status else ''}", do)
    raise problem  # outside the except block: the hub's own error could quote the request


def model_card(space: Space, repo_id: str) -> str:
    """Return README.md of a space: what it is, how it is loaded, and the figures that were measured."""
    encoder, report = space.encoder, space.report
    base = [f"base_model: {encoder.model}"] if HUB_NAME.match(encoder.model) else []
    front = [f"license: {LICENSE}", "library_name: saeindex", "pipeline_tag: feature-extraction", *base]
    named = sum(not label.is_weak for label in space.labels)
    measured = {"held-out texts": report.get("held_out"), **(report.get("by_corpus") or {})}
    known = {name: values for name, values in measured.items() if isinstance(values, Mapping) and values}
    columns = list(dict.fromkeys(key for values in known.values() for key in values))
    rows = [["corpus", *columns], ["---"] * (len(columns) + 1)] if known else []
    rows += [[name, *(_figure(values.get(key)) for key in columns)] for name, values in known.items()]
    parts = [
        "\n".join(["---", *front, "tags: [saeindex, sparse-autoencoder, interpretability]", "---"]),
        f"# {_on_one_line(space.name)}",
        f"A feature space for saeindex over {encoder.model} ({encoder.dimension} dimensions, "
        f"{encoder.max_length} tokens): {space.n_features:,} features, at most {space.sae.k} active in a "
        f"text; {named:,} have a name that says what they mean. Fingerprint `{space.fingerprint}`.",
        "```python\nfrom saeindex import FeatureIndex, FeatureSpace\n\n"
        f'space = FeatureSpace.from_pretrained("{repo_id}")\n'
        'index = FeatureIndex.create("papers.idx", space=space)\n```',
        "\n".join(f"| {' | '.join(map(_on_one_line, row))} |" for row in rows),
        *map(_on_one_line, report.get("attribution", ())),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _figure(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value if value is not None else "")


def _on_one_line(text: str) -> str:
    """Return external text on one line, with the characters of Markdown and HTML escaped."""
    return re.sub(r"([\\`*_\[\]|<>#])", r"\\\1", " ".join(text.split()))
