"""The precision that "auto" stands for: named, or what is faster on a processor by its flags."""

from __future__ import annotations

import pytest
import torch

from saeindex.devices import PRECISION_VARIABLE, choose_dtype
from saeindex.errors import InvalidInputError


def test_the_environment_names_the_precision_of_auto(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PRECISION_VARIABLE, "fp32")
    assert choose_dtype("auto", "cpu") == torch.float32
    assert choose_dtype("bf16", "cpu") == torch.bfloat16
    monkeypatch.setenv(PRECISION_VARIABLE, "bf16")
    assert choose_dtype("auto", "cpu") == torch.bfloat16
    monkeypatch.setenv(PRECISION_VARIABLE, "int8")
    with pytest.raises(InvalidInputError, match="int8"):
        choose_dtype("auto", "cpu")


@pytest.mark.parametrize(
    ("flags", "chosen"),
    [
        ("GenuineIntel flags : avx512f amx_bf16", torch.bfloat16),
        ("GenuineIntel flags : avx512f avx512_bf16", torch.float32),
        ("AuthenticAMD flags : avx512f avx512_bf16", torch.bfloat16),
        ("AuthenticAMD flags : avx512f", torch.float32),
        ("", torch.float32),
    ],
)
def test_a_processor_is_faster_in_bf16_where_that_was_measured(
    monkeypatch: pytest.MonkeyPatch, flags: str, chosen: torch.dtype
) -> None:
    monkeypatch.delenv(PRECISION_VARIABLE, raising=False)
    monkeypatch.setattr("pathlib.Path.is_file", lambda _: True)
    monkeypatch.setattr("pathlib.Path.read_text", lambda _: f"vendor_id : {flags}")
    assert choose_dtype("auto", "cpu") == chosen
    assert choose_dtype("auto", "mps") == torch.float32
