"""The architecture page is correct, and the package follows its rules."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "saeindex"
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
FILES = [path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py"]
SERVER = ROOT / "server" / "saeindex_server"
SERVER_FILES = [path for path in SERVER.rglob("*.py") if path.name != "__init__.py"]
# Every analysis has these files; a command is named like its subject.
ROOMS = {"options.py", "results.py", "report.py", "charts.py"}


def named_files(text: str) -> set[str]:
    return set(re.findall(r"`([\w/]+\.py)`", text))


def test_every_file_named_in_the_architecture_page_exists() -> None:
    folders = ("", "indexing/sources", "analysis", "cli", "report", "search")
    places = [ROOT, *(PACKAGE / folder for folder in folders), SERVER, SERVER.parent]
    files = named_files(PAGE) - ROOMS
    assert len(files) > 50
    assert not [name for name in files if not any((place / name).is_file() for place in places)]


def test_the_two_walks_name_functions_of_their_files() -> None:
    walks = PAGE.split("## One search")[1].split("## Where to add")[0]
    rows = [row.split("|")[2:4] for row in walks.splitlines() if row.startswith("| ") and "`" in row]
    assert len(rows) > 15
    for files, functions in rows:
        source = "".join((PACKAGE / name).read_text(encoding="utf-8") for name in named_files(files))
        for function in re.findall(r"`([\w.]+)`", functions):
            assert re.search(rf"(def|class) {function.rpartition('.')[2]}\b", source), (files, function)


def test_the_layers_of_the_page_are_those_of_the_import_contract() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = settings["tool"]["importlinter"]["contracts"][0]["layers"]
    checked = [set(re.split(r" \| ", layer)) for layer in layers]
    table = PAGE.split("## The path of a record")[0]
    named_layers = [
        {name.removesuffix(".py").rstrip("/") for name in re.findall(r"`([\w./]+)`", row.split("|")[1])}
        for row in table.splitlines()
        if row.startswith("| `")
    ]
    flat = [name for names in named_layers for name in sorted(names)]
    assert set(flat) | {"_version"} == set().union(*checked)
    order = {name: place for place, names in enumerate(checked) for name in names}
    assert [min(order[name] for name in names) for names in named_layers] == sorted(
        min(order[name] for name in names) for names in named_layers
    )


def test_no_private_name_is_used_in_another_file() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {alias.name}"
        for path in (*FILES, *SERVER_FILES)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("saeindex")
        for alias in node.names
        if alias.name.startswith("_") and not alias.name.endswith("__")
    ]
    assert not found
