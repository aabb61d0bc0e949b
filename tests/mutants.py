"""How many small mistakes the tests notice: `python -m tests.mutants` changes a line, tests it, and so on.

The sample is fixed by the code and the seed, and spread over the parts of the package by lines. A change
is made in a copy of the tree. Its tests are those with the name of the module, those in the folder of its
package (or of the package above), and those that import the module or its package, in this order; the first
failure ends the run. A change that no test notices survives: ask whether a user would miss what it breaks.
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parents[1]
PASSED, NO_TESTS = 0, 5  # exit codes of pytest
SEED, COUNT, CPU_LIMIT_S = 72, 72, 65
PYTEST = (
    sys.executable,
    "-m",
    "pytest",
    "-x",
    "-q",
    "-rfE",
    "-p",
    "no:cacheprovider",
    "--tb=no",
    "-m",
    "not slow",
)
NOT_COPIED = shutil.ignore_patterns(".*", "__pycache__", "build", "*.idx")
OTHER_SIGNS: dict[type[ast.AST], tuple[str, str]] = {
    ast.Lt: ("<", "<="), ast.LtE: ("<=", "<"), ast.Gt: (">", ">="), ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="), ast.NotEq: ("!=", "=="), ast.Is: ("is", "is not"), ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"), ast.NotIn: ("not in", "in"), ast.Add: ("+", "-"), ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"), ast.Div: ("/", "*"), ast.And: ("and", "or"), ast.Or: ("or", "and"),
}  # fmt: skip
OTHER_NAMES = {"min": "max", "max": "min", "any": "all", "all": "any"}


@dataclass(frozen=True)
class Mutant:
    """A change of one line; columns count bytes, as those of ``ast`` do."""

    path: str
    line: int
    start: int
    end: int
    new: str

    def applied(self, source: str) -> str:
        """Return the changed source."""
        lines = source.splitlines(keepends=True)
        row = lines[self.line - 1].encode()
        lines[self.line - 1] = (row[: self.start] + self.new.encode() + row[self.end :]).decode()
        return "".join(lines)


def mutants_of(path: str, source: str) -> list[Mutant]:
    """Return every change that is possible in a file."""
    lines = [line.encode() for line in source.splitlines()]
    found = []
    for node in _code(ast.parse(source)):
        for first, last, old, new in _changes(node):
            row, start, stop = first[0], first[1], last[1]
            if row != last[0]:
                continue
            text = lines[row - 1][start:stop].decode()
            if place := re.search(rf"(?<![\w<>=!]){re.escape(old)}(?![\w<>=!])" if old else ".*", text):
                begin, end = (len(text[:at].encode()) + start for at in place.span())
                found.append(Mutant(path, row, begin, end, new))
    return sorted(set(found), key=lambda one: (one.line, one.start))


def _code(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes that run: neither annotations nor what only type checkers read."""
    yield node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
                continue
            if isinstance(child, ast.AST):
                yield from _code(child)


Place = tuple[int, int]


def _changes(node: ast.AST) -> Iterator[tuple[Place, Place, str, str]]:
    """Yield for each change where the old text is between, the old text ("" for all) and the new one."""
    match node:
        case ast.Compare(left=left, ops=ops, comparators=others):
            for before, sign, after in zip([left, *others], ops, others, strict=False):
                yield _end(before), _start(after), *OTHER_SIGNS[type(sign)]
        case ast.BinOp(left=left, op=sign, right=right) if type(sign) in OTHER_SIGNS:
            yield _end(left), _start(right), *OTHER_SIGNS[type(sign)]
        case ast.BoolOp(op=sign, values=values):
            for before, after in pairwise(values):
                yield _end(before), _start(after), *OTHER_SIGNS[type(sign)]
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield _start(node), _start(operand), "", ""
        case ast.Constant(value=bool(value)):
            yield _start(node), _end(node), "", str(not value)
        case ast.Constant(value=int() | float() as number):
            yield _start(node), _end(node), "", repr(number + 1)
        case ast.Call(func=ast.Name(id=name) as function) if name in OTHER_NAMES:
            yield _start(function), _end(function), "", OTHER_NAMES[name]
        case ast.Return(value=ast.expr() as value) if not isinstance(value, ast.Constant):
            yield _start(value), _end(value), "", "None"


def _start(node: ast.expr) -> Place:
    return node.lineno, node.col_offset


def _end(node: ast.expr) -> Place:
    assert node.end_lineno is not None and node.end_col_offset is not None
    return node.end_lineno, node.end_col_offset


def sample() -> list[Mutant]:
    """Return ``COUNT`` changes, spread over the parts of the package by their lines."""
    parts: dict[str, list[Path]] = defaultdict(list)
    for path in sorted((ROOT / "saeindex").rglob("*.py")):
        below = path.relative_to(ROOT / "saeindex").parts
        parts[below[0] if len(below) > 1 else ""].append(path)
    lines = {part: sum(len(path.read_text().splitlines()) for path in paths) for part, paths in parts.items()}
    shares = {part: COUNT * own / sum(lines.values()) for part, own in lines.items()}
    numbers = {part: int(share) for part, share in shares.items()}
    by_rest = sorted(shares, key=lambda part: numbers[part] - shares[part])
    for part in by_rest[: COUNT - sum(numbers.values())]:
        numbers[part] += 1
    rng = random.Random(SEED)
    chosen = []
    for part, paths in sorted(parts.items()):
        possible = [m for path in paths for m in mutants_of(str(path.relative_to(ROOT)), path.read_text())]
        chosen += rng.sample(possible, numbers[part])
    return chosen


def tests_of(path: str, tree: Path) -> list[str]:
    """Return the test files for a module of the package, the closest first."""
    names = Path(path).with_suffix("").parts
    names = names[:-1] if names[-1] == "__init__" else names
    module, package = ".".join(names), ".".join(names[:-1])
    imported = [re.escape(module), rf"{re.escape(package)}\s+import\b.*\b{names[-1]}"]
    if package != "saeindex":  # which every test imports
        imported.append(rf"{re.escape(package)} import")
    imports = re.compile(rf"^\s*(?:from|import)\s+(?:{'|'.join(imported)})\b", re.MULTILINE)
    below = Path(*Path(path).parts[1:-1])
    folder = next(found for one in (below, *below.parents) if (found := tree / "tests" / one).is_dir())
    ranked = []
    for test in sorted((tree / "tests").rglob("test_*.py")):
        if names[-1] in test.stem:
            rank = 0
        elif test.parent == folder:
            rank = 1
        elif imports.search(test.read_text()):
            rank = 2
        else:
            continue
        ranked.append((rank, test.parent != folder, str(test.relative_to(tree))))
    return [test for *_, test in sorted(ranked)]


def killed_by(mutant: Mutant, tree: Path) -> str | None:
    """Return the test that notices a change of a copied tree, None if none does in the time there is."""
    path = tree / mutant.path
    source = path.read_text()
    own = {"PYTHONPATH": f"{tree}:{tree / 'server'}", "PYTHONDONTWRITEBYTECODE": "1"}
    path.write_text(mutant.applied(source))
    try:
        done = subprocess.run(
            [*PYTEST, *tests_of(mutant.path, tree)],
            capture_output=True, text=True, errors="replace", check=False, cwd=tree, env=os.environ | own,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (CPU_LIMIT_S, CPU_LIMIT_S)),
        )  # fmt: skip
    finally:
        path.write_text(source)
    if done.returncode in (PASSED, NO_TESTS, -signal.SIGKILL, -signal.SIGXCPU):
        return None
    found = re.search(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    return found[1] if found else "import"


def main() -> None:
    """Print each change of the sample and what noticed it, and the share that was noticed."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--only", type=int, nargs="+", help="numbers of changes; all others are left out")
    asked, noticed = parser.parse_args().only or range(COUNT), 0
    chosen = sample()
    with tempfile.TemporaryDirectory(prefix="saeindex-mutants-") as folder:
        tree = shutil.copytree(ROOT, Path(folder) / "tree", ignore=NOT_COPIED)
        for number in asked:
            mutant = chosen[number]
            killer = killed_by(mutant, tree)
            noticed += killer is not None
            source = (tree / mutant.path).read_text()
            rows = [each.splitlines()[mutant.line - 1].strip() for each in (source, mutant.applied(source))]
            print(
                f"{number}: {mutant.path}:{mutant.line}: {killer or 'SURVIVED'}",
                *rows,
                sep="\n    ",
                flush=True,
            )
    print(f"{noticed} of {len(asked)} changes were noticed")


if __name__ == "__main__":
    main()
