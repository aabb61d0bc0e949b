"""The README runs: its Python blocks in order, and its commands have the options that it shows."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

from saeindex.cli.app import app

README = (Path(__file__).parents[1] / "README.md").read_text()
PYTHON_BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
COMMANDS = re.findall(r"^\$ saeindex (.*)$", README, re.MULTILINE)


def test_the_python_blocks_of_the_readme_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    assert len(PYTHON_BLOCKS) >= 3
    for block in PYTHON_BLOCKS:
        exec(compile(block, "README.md", "exec"), names)


@pytest.mark.parametrize("line", sorted(set(COMMANDS)))
def test_the_commands_of_the_readme_have_the_options_it_shows(line: str) -> None:
    command, *arguments = shlex.split(line)
    group = typer.main.get_command(app)
    shown = {a.partition("=")[0] for a in arguments if a.startswith("--")}
    known = {name for p in group.commands[command].params for name in p.opts}  # type: ignore[attr-defined]
    assert shown <= known


def test_the_first_screen_of_the_readme_has_both_commands() -> None:
    first_screen = README.splitlines()[:30]
    assert any(line.startswith("make demo") for line in first_screen)
    assert any(line.startswith("make test") for line in first_screen)
