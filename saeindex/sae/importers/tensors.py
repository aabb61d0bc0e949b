"""Reading of files of other programs: JSON and tensors, checked, and never unpickled."""

from __future__ import annotations

import json
import pickle
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor

from saeindex.errors import InvalidInputError

MAX_BYTES = 16 * 2**30


def refuse(
    path: Path, found: str, do: str = "Check the program that wrote it, or import another file."
) -> NoReturn:
    """Raise InvalidInputError for a file that cannot be imported."""
    raise InvalidInputError(f"import {path}", found, do)


def json_object(path: Path) -> dict[str, Any]:
    """Read a JSON object."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        refuse(path, f"not readable JSON ({type(error).__name__})")
    if not isinstance(found, dict):
        refuse(path, f"a JSON {type(found).__name__}, not an object")
    return found


def read_count(path: Path, config: Mapping[str, Any], key: str) -> int:
    """Return a whole number of at least 1 from a configuration."""
    value = config.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        refuse(path, f"{key} is {value!r}, not a whole number of at least 1")
    return value


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Read every tensor of a safetensors file."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    _check_size(path)
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        refuse(path, f"not a safetensors file ({error})")
    return tensors


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read tensors by name from a ``torch.save`` file; refuse any content that needs unpickling."""
    _check_size(path)
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        refuse(
            path,
            f"not a file of plain tensors ({type(error).__name__})",
            "Save the state dict, or safetensors: files with Python objects are never loaded.",
        )
    if not isinstance(found, Mapping) or not all(isinstance(v, Tensor) for v in found.values()):
        refuse(path, "not a mapping of names to tensors", "Save only the state dict.")
    return dict(found)


def take(path: Path, tensors: Mapping[str, Tensor], name: str, shape: tuple[int, ...]) -> Tensor:
    """Return a tensor of this shape in float32; a transposed tensor of the file is transposed."""
    if name not in tensors:
        refuse(path, f"no tensor {name!r} among {', '.join(sorted(tensors)) or 'none'}")
    tensor = tensors[name]
    if tuple(tensor.shape) != shape and tuple(tensor.shape) == shape[::-1]:
        tensor = tensor.T
    if tuple(tensor.shape) != shape or not tensor.is_floating_point():
        refuse(path, f"{name} is {tensor.dtype} of shape {tuple(tensor.shape)}, expected floats of {shape}")
    return tensor.float().contiguous()


def check_names(path: Path, tensors: Mapping[str, Tensor], known: Collection[str]) -> None:
    """Refuse a file with tensors that the known format does not have: they could change results."""
    unknown = sorted(tensors.keys() - set(known))
    if unknown:
        refuse(path, f"tensors that this importer does not know: {', '.join(unknown)}")


def _check_size(path: Path) -> None:
    if not path.is_file():
        refuse(path, "no such file")
    if path.stat().st_size > MAX_BYTES:
        refuse(path, f"{path.stat().st_size:,} bytes", f"Import files of at most {MAX_BYTES:,} bytes.")
