"""What ``import saeindex`` costs and gives."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import saeindex

SLOW = ["torch", "transformers", "qdrant_client", "qdrant_edge", "sentence_transformers", "sklearn", "scipy"]
REPORT = """
import json, sys, time
started = time.perf_counter()
import saeindex
seconds = time.perf_counter() - started
print(json.dumps({"seconds": seconds, "modules": sorted(sys.modules)}))
"""


def test_importing_the_package_imports_nothing_slow() -> None:
    done = subprocess.run([sys.executable, "-c", REPORT], capture_output=True, text=True, check=True)
    report = json.loads(done.stdout)
    assert set(SLOW).isdisjoint(report["modules"])
    assert report["seconds"] < 0.3


def test_every_public_name_resolves_and_is_documented() -> None:
    for name in saeindex.__all__:
        value = getattr(saeindex, name)
        assert name.startswith("__") or value.__doc__, name


def test_completion_lists_the_public_names_before_any_is_used() -> None:
    told = "import saeindex; print(*dir(saeindex))"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert set(saeindex.__all__) <= set(done.stdout.split())


def test_a_star_import_gives_the_public_names() -> None:
    names: dict[str, object] = {}
    exec("from saeindex import *", names)
    assert set(saeindex.__all__) <= set(names)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'FeatureIndx'"):
        saeindex.FeatureIndx  # noqa: B018
