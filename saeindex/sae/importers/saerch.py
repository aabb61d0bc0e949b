"""saerch (O'Neill et al. 2024, arXiv 2408.00657): a ``.pth`` state dict of its FastAutoencoder.

TopK of relu(encoder(x - pre_bias) + latent_bias), decoder rows of norm 1. The file holds no k: it is read
from the name that saerch gives its files, ``{k}_{n}_{auxk}_auxk…_epoch_{e}.pth``. https://github.com/Christine8888/saerch
"""

from __future__ import annotations

import re
from pathlib import Path

from saeindex.sae.importers.foreign import ForeignAutoencoder
from saeindex.sae.importers.tensors import check_names, read_state_dict, refuse, take

SUFFIXES = (".pth", ".pt")
TENSORS = ("encoder.weight", "decoder.weight", "pre_bias", "latent_bias")
NAME = re.compile(r"^(\d+)_(\d+)_\d+_auxk")


def is_format(path: Path) -> bool:
    """Return whether ``path`` is a file that torch.save may have written."""
    return path.is_file() and path.suffix in SUFFIXES


def read(path: Path) -> ForeignAutoencoder:
    """Read a checkpoint; ``k`` is None if the file's name does not contain it."""
    tensors = read_state_dict(path)
    check_names(path, tensors, TENSORS)
    for name in ("pre_bias", "latent_bias"):
        if name not in tensors or tensors[name].ndim != 1:
            refuse(path, f"no vector {name!r}", f"A saerch checkpoint has {', '.join(TENSORS)}.")
    d, n = len(tensors["pre_bias"]), len(tensors["latent_bias"])
    return ForeignAutoencoder(
        format="saerch",
        activation="topk",
        encoder=take(path, tensors, "encoder.weight", (n, d)),
        encoder_bias=take(path, tensors, "latent_bias", (n,)),
        decoder=take(path, tensors, "decoder.weight", (d, n)).T.contiguous(),
        bias=take(path, tensors, "pre_bias", (d,)),
        k=_k_of_name(path, n),
    )


def _k_of_name(path: Path, n: int) -> int | None:
    match = NAME.match(path.name)
    return int(match[1]) if match and int(match[2]) == n else None
