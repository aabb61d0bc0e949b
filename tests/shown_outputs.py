"""Outputs that the pages show: `python -m tests.shown_outputs` runs their commands and rewrites them.

Two kinds of block are generated. A ```` ```text ```` block below a Python block is what that block prints. A
```` ```console ```` block below a mark is the output of its commands, shortened as the mark says:

    <!-- shown {"": 4, "Words": 3} -->   the first 4 lines, and 3 of the paragraph that begins with "Words"
    <!-- shown {"lines": "^ +[0-9]"} -->   the lines that match

Commands run in a folder with their indexes: `--indexes` or SHOWN_INDEXES. The command builds a missing one,
which takes a minute: the demo's.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import chdir, redirect_stdout
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any
from unittest.mock import patch

from saeindex.cli import main as saeindex

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FOLDER_VARIABLE = "SHOWN_INDEXES"
# Columns of a terminal that wraps no line, and of a page.
TERMINAL, WIDTH, CUT = 1_000, 145, "…"
MARKED = re.compile(r"(<!-- shown (?P<mark>\{.*?\}) -->\n```console\n)(?P<body>.*?)(?=```)", re.DOTALL)
PYTHON = re.compile(r"```python\n(?P<code>.*?)```(?:\n\n```text\n(?P<shown>.*?)```)?", re.DOTALL)
COMMAND = re.compile(r"^\$ saeindex (?P<line>.*)\n(?P<shown>(?:(?!\$ ).*\n)*)", re.MULTILINE)
INDEX = re.compile(r"\S+\.idx")
# A number that was counted or measured: no id, no year.
NUMBER = re.compile(r"(?<![\w.#-])(?!(?:19|20)\d\d\b)[+\-−]?\d[\d,]*(\.\d+)?(?![\w.-]*\w)")
# How far numbers may be from those shown, on another processor or in another precision: a number with
# decimals (a score, an effect), as a share, and a whole one (a count, a percentage), or that share of it.
DECIMALS, WHOLE, SHARE = 0.01, 2.0, 0.02


@dataclass(frozen=True)
class Shown:
    """A command of a page, the mark of its block, and the output that the page shows."""

    page: str
    line: str
    mark: Mapping[str, Any]
    output: str

    @property
    def index(self) -> str:
        """The directory of the index that the command reads."""
        return next(word for word in shlex.split(self.line) if INDEX.fullmatch(word))


def shown_commands(page: Path) -> Iterator[Shown]:
    """Yield the commands of the marked blocks of a page."""
    for block in MARKED.finditer(page.read_text()):
        for command in COMMAND.finditer(block["body"]):
            yield Shown(page.name, command["line"], json.loads(block["mark"]), command["shown"].strip("\n"))


def made_again(shown: Shown, folder: Path) -> str:
    """Run a command in ``folder``, and return its output as the mark shortens it."""
    out = io.StringIO()
    arguments = ["saeindex", *shlex.split(shown.line)]
    with (
        chdir(folder),
        patch.object(sys, "argv", arguments),
        patch.dict(os.environ, {"COLUMNS": str(TERMINAL)}),
        redirect_stdout(out),
    ):
        try:
            saeindex()
        except SystemExit as stopped:
            if stopped.code:
                raise RuntimeError(f"{shown.line}: exit code {stopped.code}") from stopped
    return shortened(out.getvalue(), shown.mark)


def differences(shown: str, printed: str) -> list[tuple[str, str]]:
    """Return the lines, as shown and as printed, that a reader would call different.

    Words are equal, numbers within their bounds. A line may stand one place later if the scores (the first
    numbers with decimals) of the two lines are as near as such numbers may be.
    """
    expected, found = shown.splitlines(), printed.splitlines()
    for i in range(min(len(expected), len(found)) - 1):
        is_tied = _are_near(_score(found[i]), _score(found[i + 1]))
        if is_tied and not _are_alike(expected[i], found[i]) and _are_alike(expected[i], found[i + 1]):
            found[i : i + 2] = found[i + 1], found[i]
    pairs = zip_longest(expected, found, fillvalue="")
    return [(one, other) for one, other in pairs if not _are_alike(one, other)]


def _score(line: str) -> float | None:
    return next((_value(one) for one in NUMBER.finditer(line) if one[1]), None)


def _are_near(one: float | None, other: float | None) -> bool:
    return one is not None and other is not None and abs(one - other) <= DECIMALS


def _are_alike(one: str, other: str) -> bool:
    if NUMBER.sub("0", one) != NUMBER.sub("0", other):
        return False
    for a, b in zip(NUMBER.finditer(one), NUMBER.finditer(other), strict=True):
        bound = DECIMALS if a[1] and b[1] else WHOLE
        if abs(_value(a) - _value(b)) > max(bound, SHARE * abs(_value(a))) + 1e-9:
            return False
    return True


def _value(number: re.Match[str]) -> float:
    return float(number[0].replace(",", "").replace("−", "-"))


def shortened(output: str, mark: Mapping[str, Any]) -> str:
    """Return the part of an output that is shown, without the ends of long lines."""
    if "lines" in mark:
        kept = [line for line in output.splitlines() if re.search(mark["lines"], line)]
    else:
        kept = []
        paragraphs = [text.splitlines() for text in output.strip("\n").split("\n\n")]
        for start, count in mark.items():
            lines = next(text for text in paragraphs if text[0].startswith(start))
            kept += ["", *lines[:count], *(["  …"] if len(lines) > count else [])]
    cut = [line if len(line) <= WIDTH else line[: WIDTH - 1].rstrip() + CUT for line in kept]
    return "\n".join(line.rstrip() for line in cut).strip("\n")


def printed_by(page: Path) -> Iterator[tuple[str, str]]:
    """Run the Python blocks of a page here; yield what is shown and what is printed, where it is shown."""
    names: dict[str, object] = {}
    for block in PYTHON.finditer(page.read_text()):
        out = io.StringIO()
        with redirect_stdout(out):
            exec(compile(block["code"], page.name, "exec"), names)
        if block["shown"] is not None:
            yield block["shown"], out.getvalue()


def build(index: str, folder: Path) -> None:
    """Create the index of a shown command if it is missing."""
    if not (folder / index).exists():
        made_again(Shown("", f"demo --into {index}", {"lines": "^$"}, ""), folder)


def rewritten(page: Path, made: Callable[[Shown], str]) -> str:
    """Return a page with its marked outputs made again, and what its Python blocks print."""
    text = page.read_text()
    for shown in shown_commands(page):
        command = f"$ saeindex {shown.line}\n"
        text = text.replace(command + shown.output, command + made(shown))
    if "```text" in text:
        with tempfile.TemporaryDirectory() as folder, chdir(folder):
            for before, printed in list(printed_by(page)):
                text = text.replace(f"```text\n{before}```", f"```text\n{printed}```")
    return text


def main() -> None:
    """Rewrite the pages."""
    parser = argparse.ArgumentParser(prog="python -m tests.shown_outputs", description=__doc__)
    given = os.environ.get(FOLDER_VARIABLE)
    parser.add_argument("--indexes", type=Path, default=given, required=given is None, help="their folder")
    folder = Path(parser.parse_args().indexes).resolve()
    folder.mkdir(parents=True, exist_ok=True)

    def made(shown: Shown) -> str:
        build(shown.index, folder)
        return made_again(shown, folder)

    for page in PAGES:
        page.write_text(rewritten(page, made))


if __name__ == "__main__":
    main()
