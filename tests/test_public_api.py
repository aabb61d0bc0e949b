"""The cost and the names of ``import saeindex``."""

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


@pytest.fixture(scope="module")
def small_index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("small") / "one.idx"
    with saeindex.FeatureIndex.create(path) as index:
        index.upsert([{"id": "a", "text": "Stars and dust in a spiral galaxy", "year": 2001}])
    return path


USES = {
    "the info": "index.info()",
    "a feature": "index.concepts.card(12)",
    "features": "index.concepts.find('galaxies')",
    "a search": "assert len(index.search('galaxies', explain=True, using='fused')) == 1",
    "many searches": "assert len(index.search_many(['galaxies', 'dust'])) == 2",
    "a picture of the index": "index._repr_html_()",
}


@pytest.mark.parametrize("use", USES)
def test_operations_without_encoding_import_neither_torch_nor_a_client(use: str, small_index: Path) -> None:
    asked = (
        "import sys; from saeindex import FeatureIndex\n"
        f"with FeatureIndex.open(sys.argv[1]) as index: {USES[use]}\n"
        "print(*sys.modules)"
    )
    command = [sys.executable, "-c", asked, str(small_index)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert {"torch", "qdrant_client", "transformers", "sklearn"}.isdisjoint(done.stdout.split())


@pytest.mark.parametrize(
    "command", [["--help"], ["info", "INDEX"], ["feature", "INDEX", "12"], ["features", "INDEX", "dust"]]
)
def test_read_only_commands_import_nothing_slow(command: list[str], small_index: Path) -> None:
    program = (
        "import sys; from saeindex.cli import main\n"
        "try: main()\n"
        "finally: print(*sys.modules, file=sys.stderr)"
    )
    given = [str(small_index) if part == "INDEX" else part for part in command]
    done = subprocess.run([sys.executable, "-c", program, *given], capture_output=True, text=True, check=True)
    imported = done.stderr.split()
    assert {*SLOW, "lark"}.difference({"qdrant_edge"}).isdisjoint(imported)


def test_every_public_name_resolves_and_is_documented() -> None:
    for name in saeindex.__all__:
        value = getattr(saeindex, name)
        assert name.startswith("__") or value.__doc__, name


def test_completion_lists_the_public_names_before_any_is_used() -> None:
    program = "import saeindex; print(*dir(saeindex))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert set(saeindex.__all__) <= set(done.stdout.split())


def test_a_star_import_gives_the_public_names() -> None:
    names: dict[str, object] = {}
    exec("from saeindex import *", names)
    assert set(saeindex.__all__) <= set(names)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'FeatureIndx'"):
        saeindex.FeatureIndx  # noqa: B018
