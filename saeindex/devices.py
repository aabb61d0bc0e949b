"""The device, the precision and the number of threads that a model runs with."""

from __future__ import annotations

import json
import os
import threading
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from saeindex.errors import InvalidInputError
from saeindex.files import cache_folder, replacing

if TYPE_CHECKING:
    import torch

PRECISIONS = ("auto", "fp32", "bf16")
# Names the precision that "auto" stands for; fp32 gives the same digits on every machine.
PRECISION_VARIABLE = "SAEINDEX_PRECISION"
# How much faster bf16 must be to be chosen, and how often a layer is timed.
WORTH, TIMED = 1.1, 6


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

    ``$SAEINDEX_PRECISION`` says what ``"auto"`` is. On a processor that multiplies bf16 (AVX512_BF16, AMX) it
    is measured once, and the answer is kept: some are 2.4 times as fast in it, some slower. Its vectors have
    a cosine of .9999 to those of fp32.
    """
    if precision == "auto":
        precision = os.environ.get(PRECISION_VARIABLE) or "auto"
    if precision not in PRECISIONS:
        raise no_such_precision(precision)
    import torch

    if precision == "auto":
        is_faster = _multiplies_bf16(device) and (device != "cpu" or _gain_of_bf16() >= WORTH)
        precision = "bf16" if is_faster else "fp32"
    return torch.bfloat16 if precision == "bf16" else torch.float32


def no_such_precision(precision: str) -> InvalidInputError:
    """Return the error for an unknown precision."""
    return InvalidInputError(f"precision={precision!r}", "no such precision", f"Use one of {PRECISIONS}.")


def _multiplies_bf16(device: str) -> bool:
    import torch

    if device.startswith("cuda"):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device == "cpu" and not {"avx512_bf16", "amx_bf16"}.isdisjoint(_of_processor("flags").split())


@cache
def _of_processor(name: str) -> str:
    """Return what Linux says of the processor under a name; "" elsewhere."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    found = next((line for line in lines if line.startswith(name)), "")
    return found.partition(":")[2].strip()


@cache
def _gain_of_bf16() -> float:
    """Return how many times as fast as fp32 this processor computes bf16: as it is kept, or measured."""
    import torch

    place = f"{_of_processor('model name')}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    file = cache_folder() / "bf16.json"
    known: dict[str, float] = {}
    with suppress(OSError, ValueError, TypeError):
        known = dict(json.loads(file.read_text()))
    if not isinstance(known.get(place), float):
        known[place] = _layer_seconds(torch.float32) / _layer_seconds(torch.bfloat16)
        with suppress(OSError, InvalidInputError), replacing(file) as draft:  # else it is measured again
            draft.write_text(json.dumps(known))
    return known[place]


def _layer_seconds(dtype: torch.dtype) -> float:
    """Return the least time of a transformer's layer (d = 384) over short and long texts."""
    import torch

    seconds = 0.0
    with torch.inference_mode(), torch.random.fork_rng(devices=[]):  # the caller's seed stays
        layer = torch.nn.TransformerEncoderLayer(384, 12, 1_536, activation="gelu", batch_first=True)
        layer = layer.to(dtype).eval()
        for shape in ((32, 16), (8, 128)):
            texts = torch.randn(*shape, 384).to(dtype)
            times = []
            for _ in range(TIMED):
                started = time.perf_counter()
                layer(texts)
                times.append(time.perf_counter() - started)
            seconds += min(times)
    return seconds


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
