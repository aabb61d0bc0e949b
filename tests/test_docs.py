"""The docs are correct: their Python blocks run, their commands exist, their tables equal the results."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from benchmarks import tables
from saeindex.cli.app import make_app
from tests import shown_outputs

ROOT = Path(__file__).parents[1]
PAGES = {path.name: path.read_text() for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]}
SHOWN = [shown for page in shown_outputs.PAGES for shown in shown_outputs.shown_commands(page)]
COMMANDS = sorted(
    {line for text in PAGES.values() for line in re.findall(r"^\$ saeindex (.*)$", text, re.MULTILINE)}
)


@pytest.mark.parametrize("path", shown_outputs.PAGES, ids=lambda path: path.name)
def test_the_python_blocks_of_a_page_run_and_print_what_is_shown(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n", PAGES[path.name])
    assert len(blocks) >= {"README.md": 1, "howto_search.md": 6, "spaces.md": 1}.get(path.name, 0)
    outputs = list(shown_outputs.printed_by(path))
    assert len(outputs) == PAGES[path.name].count("```text\n")
    for shown, printed in outputs:
        assert not shown_outputs.differences(shown, printed)


@pytest.mark.parametrize("shown", SHOWN, ids=lambda shown: f"{shown.page}: {shown.line}")
def test_a_shown_output_is_that_of_its_command(shown: shown_outputs.Shown) -> None:
    folder = Path(os.environ.get(shown_outputs.FOLDER_VARIABLE, ""))
    if not (shown_outputs.FOLDER_VARIABLE in os.environ and (folder / shown.index).is_dir()):
        pytest.skip(
            f"set {shown_outputs.FOLDER_VARIABLE} to a folder with {shown.index}; "
            "python -m tests.shown_outputs builds it"
        )
    assert not shown_outputs.differences(shown.output, shown_outputs.made_again(shown, folder))


def test_every_command_that_is_shown_with_its_output_is_marked() -> None:
    marked = {(shown.page, shown.line) for shown in SHOWN}
    assert len(marked) >= 5
    for name, text in PAGES.items():
        for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
            for command in shown_outputs.COMMAND.finditer(block):
                assert not command["shown"].strip() or (name, command["line"]) in marked


def test_an_output_is_shortened_by_paragraphs_or_by_lines() -> None:
    output = "first\nsecond\nthird\n\nWords: 3\n  one\n  two\n\nRest\n" + 200 * "x"
    assert shown_outputs.shortened(output, {"": 2, "Words": 3}) == (
        "first\nsecond\n  …\n\nWords: 3\n  one\n  two"
    )
    assert shown_outputs.shortened(output, {"Rest": 2}) == "Rest\n" + 144 * "x" + "…"
    assert shown_outputs.shortened(output, {"lines": "^ +t|^f"}) == "first\n  two"


def test_outputs_may_differ_by_what_rounding_changes_and_by_nothing_else() -> None:
    shown = "1991-20 0.3303 crime: 274 of 1,200\n1994-53 0.3247 law, 63%\n1994-54 0.2900 law\n"
    alike = (
        "1991-20 0.3297 crime: 272 of 1,210\n1994-53 0.3251 law, 62%\n1994-54 0.2950 law\n",
        "1994-53 0.3251 law, 62%\n1991-20 0.3249 crime: 274 of 1,200\n1994-54 0.2900 law\n",
    )
    for printed in (shown, *alike):
        assert shown_outputs.differences(shown, printed) == []
    changed = {"crime": "crimes", "274": "280", "0.3303": "0.3503", "63%": "66%", "1991": "1992"}
    for before, after in (changed | {"law\n": "law\nx\n"}).items():
        assert shown_outputs.differences(shown, shown.replace(before, after)), after
    first, second, third = shown.splitlines()
    assert shown_outputs.differences(shown, "\n".join([first, third, second]))
    assert shown_outputs.differences("a\nb", "a")


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
