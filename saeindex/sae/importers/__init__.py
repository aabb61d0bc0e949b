"""Import and export of autoencoders of SAELens, sparsify, saerch and sentence-transformers (CSR)."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType, ModuleType

from saeindex.errors import InvalidInputError, NotFoundError
from saeindex.sae.autoencoder import SparseAutoencoder
from saeindex.sae.importers import csr, saelens, saerch, sparsify
from saeindex.sae.importers.foreign import ImportedAutoencoder, to_ours

__all__ = [
    "EXPORT_FORMATS",
    "FORMATS",
    "ImportedAutoencoder",
    "export_autoencoder",
    "import_autoencoder",
    "read_autoencoder",
]

_FORMATS = MappingProxyType[str, ModuleType](
    {"saelens": saelens, "sparsify": sparsify, "saerch": saerch, "sentence-transformers": csr}
)
FORMATS = tuple(_FORMATS)
EXPORT_FORMATS = ("saelens", "sparsify")


def import_autoencoder(path: str | Path, format: str = "auto", *, k: int | None = None) -> SparseAutoencoder:
    """Convert a foreign autoencoder to ours; its activations are the same, times the decoder's norms.

    ``format`` is one of ``FORMATS``, or "auto" to detect it from the files. ``k``, the maximum number of
    active features, is needed if the file has none (ReLU, JumpReLU), and overrides that of the file.
    Amplitudes are not refined (``refine_steps=0``). Raises NotFoundError, and InvalidInputError for an
    autoencoder that ours cannot represent.
    """
    return read_autoencoder(path, format, k=k).autoencoder


def read_autoencoder(path: str | Path, format: str = "auto", *, k: int | None = None) -> ImportedAutoencoder:
    """Return the result of :func:`import_autoencoder` together with notes about the file."""
    found = Path(path)
    if not found.exists():
        raise NotFoundError(f"import {path}", "no file or folder has that name", "Check the path.")
    if k is not None and k < 1:
        raise InvalidInputError(f"import {path} with k={k}", "not a number of features", "Give at least 1.")
    reader = _reader(found, format)
    return to_ours(reader.read(found), k)


def export_autoencoder(autoencoder: SparseAutoencoder, folder: Path, format: str) -> list[str]:
    """Write into an existing folder in one of ``EXPORT_FORMATS``; return notes on what is lost.

    No other format has two budgets: InvalidInputError for an autoencoder with named features.
    """
    if format not in EXPORT_FORMATS:
        raise InvalidInputError(
            f"export to {format!r}", "no such format", f"Use one of {', '.join(EXPORT_FORMATS)}."
        )
    if autoencoder.n_named:
        raise InvalidInputError(
            f"export to {format}",
            "an autoencoder with named features, which have a budget and a gate of their own",
            "Export the space itself (the format saeindex), or fit one without named features.",
        )
    notes: list[str] = _FORMATS[format].write(autoencoder, folder)
    if autoencoder.refine_steps:
        notes.append("amplitudes are those of the encoder: the format has no refinement on the support")
    return notes


def _reader(path: Path, format: str) -> ModuleType:
    if format in _FORMATS:
        return _FORMATS[format]
    if format != "auto":
        raise InvalidInputError(
            f"import {path} as {format!r}", "no such format", f"Use auto, {', '.join(FORMATS)}."
        )
    for module in _FORMATS.values():
        if module.is_format(path):
            return module
    raise InvalidInputError(
        f"import {path}",
        "no format that can be detected from its files",
        f"Give a folder or file of {', '.join(FORMATS)}.",
    )
