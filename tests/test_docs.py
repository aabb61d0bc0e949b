"""The docs are correct: their Python blocks run, their commands exist, their tables equal the results."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from benchmarks import tables
from saeindex.cli.app import make_app

ROOT = Path(__file__).parents[1]
PAGES = {path.name: path.read_text() for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]}
COMMANDS = sorted(
    {line for text in PAGES.values() for line in re.findall(r"^\$ saeindex (.*)$", text, re.MULTILINE)}
)


@pytest.mark.parametrize("name", PAGES)
def test_the_python_blocks_of_a_page_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    blocks = re.findall(r"```python\n(.*?)```", PAGES[name], re.DOTALL)
    assert len(blocks) >= {"README.md": 3, "spaces.md": 1}.get(name, 0)
    for block in blocks:
        exec(compile(block, name, "exec"), names)


@pytest.mark.parametrize("line", COMMANDS)
def test_the_commands_of_the_docs_have_the_options_that_are_used(line: str) -> None:
    words = shlex.split(line)
    command: Any = typer.main.get_command(make_app())
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    shown = {word.partition("=")[0] for word in words if word.startswith("--")}
    assert shown <= {name for parameter in command.params for name in parameter.opts}


def test_the_first_screen_of_the_readme_has_both_commands() -> None:
    first_screen = PAGES["README.md"].splitlines()[:30]
    assert any(line.startswith("make demo") for line in first_screen)
    assert any(line.startswith("make test") for line in first_screen)


def test_the_table_of_benchmarks_equals_the_committed_results() -> None:
    assert PAGES["benchmarks.md"] == tables.page()
