"""What ``import saeindex`` costs and gives."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

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


def test_a_search_in_a_directory_imports_no_client_of_servers(tmp_path: Path) -> None:
    with saeindex.FeatureIndex.create(tmp_path / "one.idx") as index:
        index.add([{"id": "a", "text": "Stars and dust in a spiral galaxy"}])
    asked = (
        "import sys; from saeindex import FeatureIndex\n"
        "with FeatureIndex.open(sys.argv[1]) as index: print(len(index.search('galaxies')))\n"
        "print('qdrant_client' in sys.modules)"
    )
    command = [sys.executable, "-c", asked, str(tmp_path / "one.idx")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "False"]


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
