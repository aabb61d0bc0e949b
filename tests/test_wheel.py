"""An installed wheel works from any folder: it contains the feature space and the grammars."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

ROOT = Path(__file__).parents[1]


def run(*arguments: str, cwd: Path, **environment: str) -> str:
    variables = os.environ | {"HF_HUB_OFFLINE": "1"} | environment
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, cwd=cwd, env=variables, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_demo_runs_from_an_installed_wheel_in_an_empty_folder(tmp_path: Path) -> None:
    wheels, site, elsewhere = tmp_path / "wheels", tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    # A copy, because building in place would include files of an earlier build.
    source = tmp_path / "source"
    for package in ("saeindex", "server"):
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    run("-m", "pip", "wheel", "-q", "--no-deps", "-w", str(wheels), str(source), cwd=tmp_path)
    (wheel,) = wheels.glob("saeindex-*.whl")
    assert wheel.stat().st_size < 24_000_000
    run("-m", "pip", "install", "-q", "--no-deps", "--target", str(site), str(wheel), cwd=tmp_path)
    assert (site / "saeindex" / "report" / "templates" / "page.html.j2").is_file()
    assert (site / "saeindex" / "spaces" / "dictionary.json.xz").is_file()
    program = "from saeindex.cli import main; main()"
    printed = run("-c", program, "demo", "--json", cwd=elsewhere, PYTHONPATH=str(site))
    shown = json.loads(printed)
    assert shown["records"] == 652
    assert len(shown["filtered"]["hits"]) == 3
    assert shown["steered"]["drift"] > 0
    assert shown["steered"]["hits"][1]["explanation"]["parts"]
    assert {one["label"] for one in shown["diff"]["results"]} >= {"war", "child"}
    where = run("-c", "import saeindex; print(saeindex.__file__)", cwd=elsewhere, PYTHONPATH=str(site))
    assert where.startswith(str(site))
    assert served(program, elsewhere, site) == {"status": "ready", "waits_for": None}


def served(program: str, folder: Path, site: Path) -> Any:
    """Serve a new index, and return what the server says of itself."""
    command = [sys.executable, "-c", program, "serve", "new.idx", "--create", "--port", "0"]
    variables = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(site)}
    process = subprocess.Popen(command, cwd=folder, env=variables, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        ready = next(line for line in process.stderr if "Listening on " in line)
        with urlopen(f"{json.loads(ready)['url']}/readyz", timeout=30) as answer:
            return json.load(answer)
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
