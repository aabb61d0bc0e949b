"""The precision that "auto" stands for can be named; then it is not measured."""

from __future__ import annotations

import pytest
import torch

from saeindex.devices import PRECISION_VARIABLE, choose_dtype
from saeindex.errors import InvalidInputError


def test_the_environment_names_the_precision_of_auto(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("saeindex.devices._gain_of_bf16", lambda: pytest.fail("measured"))
    monkeypatch.setenv(PRECISION_VARIABLE, "fp32")
    assert choose_dtype("auto", "cpu") == torch.float32
    assert choose_dtype("bf16", "cpu") == torch.bfloat16
    monkeypatch.setenv(PRECISION_VARIABLE, "bf16")
    assert choose_dtype("auto", "cpu") == torch.bfloat16
    monkeypatch.setenv(PRECISION_VARIABLE, "int8")
    with pytest.raises(InvalidInputError, match="int8"):
        choose_dtype("auto", "cpu")
