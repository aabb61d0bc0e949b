"""The device, the precision and the number of threads that a model runs with."""

from __future__ import annotations

import os
import threading
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from saeindex.errors import InvalidInputError

if TYPE_CHECKING:
    import torch

PRECISIONS = ("auto", "fp32", "bf16")
PRECISION_OF = {"torch.float32": "fp32", "torch.bfloat16": "bf16"}
# Names the precision that "auto" stands for; fp32 gives the same digits on every machine.
PRECISION_VARIABLE = "SAEINDEX_PRECISION"


def choose_device(device: str) -> str:
    """Return ``device``, or for ``"auto"`` the first available of cuda, mps and cpu."""
    if device != "auto":
        return device
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def choose_dtype(precision: str, device: str) -> torch.dtype:
    """Return the dtype of ``precision``; ``"auto"`` is the faster of bf16 and fp32 on this hardware.

    ``$SAEINDEX_PRECISION`` says what ``"auto"`` is. Measured on short and long texts, a processor with AMX is
    2 to 3 times as fast in bf16; one with AVX512_BF16 alone is 1.8 to 2 times as fast if it is AMD's, and
    slower (.7 to .85) if it is Intel's. The vectors have a cosine of .9999 to fp32's.
    """
    if precision == "auto":
        precision = os.environ.get(PRECISION_VARIABLE) or "auto"
    if precision not in PRECISIONS:
        raise no_such_precision(precision)
    import torch

    if precision == "auto":
        precision = "bf16" if _is_faster_in_bf16(device) else "fp32"
    return torch.bfloat16 if precision == "bf16" else torch.float32


def precision_of(encoder: object) -> str:
    """Return the precision of an encoder's vectors, or "" where it does not say so."""
    return PRECISION_OF.get(str(getattr(encoder, "dtype", "")), "")


def no_such_precision(precision: str) -> InvalidInputError:
    """Return the error for an unknown precision."""
    return InvalidInputError(f"precision={precision!r}", "no such precision", f"Use one of {PRECISIONS}.")


def _is_faster_in_bf16(device: str) -> bool:
    import torch

    if device.startswith("cuda"):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device != "cpu" or not (cpuinfo := Path("/proc/cpuinfo")).is_file():
        return False
    known = set(cpuinfo.read_text().split())
    return "amx_bf16" in known or {"AuthenticAMD", "avx512_bf16"} <= known


class OneBlasThread:
    """While it is entered, by one thread or several, numpy's matrix products have one thread each.

    The products of a single text are small: on a busy machine the threads of a product wait for each other
    a hundred times as long as they work.
    """

    def __init__(self) -> None:
        """Find the BLAS libraries that are loaded."""
        from threadpoolctl import ThreadpoolController

        self._controller = ThreadpoolController()
        self._lock, self._users = threading.Lock(), 0

    def __enter__(self) -> None:
        with self._lock:
            self._users += 1
            if self._users == 1:
                self._limiter = self._controller.limit(limits=1, user_api="blas")

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                self._limiter.restore_original_limits()


@cache
def one_blas_thread() -> OneBlasThread:
    """Return the limit that all threads of this process share."""
    return OneBlasThread()
