"""All errors that the package raises on purpose, read from its source, with their three parts.

``python -m tests.error_table`` writes docs/errors.md.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import inf
from pathlib import Path

from saeindex import errors
from saeindex.errors import copy_command

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "errors.md"
PACKAGES = (ROOT / "saeindex", ROOT / "server" / "saeindex_server")
KINDS = {name for name, kind in vars(errors).items() if isinstance(kind, type)}
ABOUT = """# Errors

Every error of saeindex is a `SaeIndexError` with three parts, which it prints in this order: what was asked
(`error.asked`), what was found (`error.found`), and what to do (`error.do`). The command line prints them
with `--json` as JSON. Names in ‹brackets› are filled in. Made by `python -m tests.error_table`.
"""
Function = ast.FunctionDef | ast.AsyncFunctionDef
Names = Mapping[str, ast.expr]


@dataclass(frozen=True, order=True)
class Message:
    """One place that raises an error, with its three parts as text."""

    file: str
    line: int
    kind: str
    parts: tuple[str, str, str]


def messages() -> list[Message]:
    """Return all errors of the package, by file and line."""
    paths = sorted(path for package in PACKAGES for path in package.rglob("*.py"))
    return sorted(one for path in paths for one in _of_file(path))


def _of_file(path: Path) -> Iterator[Message]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    module = _assigned(tree.body)
    makers = {
        node.name: made for node in ast.walk(tree) if isinstance(node, Function) and (made := _maker(node))
    }
    inside = {id(call) for _, _, call in makers.values()}
    for function in _functions(tree):
        for node in ast.walk(function):
            if not isinstance(node, ast.Call) or id(node) in inside:
                continue
            names = {**module, **_assigned(ast.walk(function), before=node.lineno)}
            called = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            if called in KINDS and len(node.args) == 3:
                yield _message(path, node, called, node.args, names)
            elif called in makers and len(node.args) >= len(makers[called][0]):
                parameters, own, call = makers[called]
                given = dict(zip(parameters, (_resolved(arg, names) for arg in node.args), strict=False))
                kind = call.func.id if isinstance(call.func, ast.Name) else ""
                yield _message(path, node, kind, call.args, {**names, **own, **given})


def _shown(path: Path) -> str:
    """Return the path of a file within the library, or from the name of the server's package on."""
    library, server = PACKAGES
    return str(path.relative_to(library if path.is_relative_to(library) else server.parent))


def _message(path: Path, node: ast.Call, kind: str, args: list[ast.expr], names: Names) -> Message:
    asked, found, do = (_text(arg, names) for arg in args)
    return Message(_shown(path), node.lineno, kind, (asked, found, do))


def _maker(node: Function) -> tuple[list[str], dict[str, ast.expr], ast.Call] | None:
    """Return the parameters, names and error of a function that only makes an error."""
    if not isinstance(node.body[-1], ast.Return):
        return None
    call = node.body[-1].value
    is_error = isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in KINDS
    if not is_error or not isinstance(call, ast.Call) or len(call.args) != 3:
        return None
    parameters = [one.arg for one in node.args.args if one.arg != "self"]
    return parameters, _assigned(node.body), call


def _functions(tree: ast.Module) -> Iterator[ast.AST]:
    """Return every outer function."""
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.ClassDef):
            waiting += node.body
        elif isinstance(node, Function):
            yield node


def _assigned(nodes: Iterable[ast.AST], before: float = inf) -> dict[str, ast.expr]:
    """Return what is assigned to names in lines ``before`` one, the last of each name; also to several."""
    found: dict[str, ast.expr] = {}
    assigned = [node for node in nodes if isinstance(node, ast.Assign) and node.lineno < before]
    for node in sorted(assigned, key=lambda one: one.lineno):
        target, value = node.targets[0], node.value
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            pairs = zip(target.elts, value.elts, strict=False)
        else:
            pairs = zip([target], [value], strict=True)
        found |= {name.id: given for name, given in pairs if isinstance(name, ast.Name)}
    return found


def _resolved(node: ast.expr, names: Names, depth: int = 4) -> ast.expr:
    shown = ast.Constant | ast.JoinedStr | ast.IfExp
    while isinstance(node, ast.Name) and isinstance(names.get(node.id), shown) and depth:
        node, depth = names[node.id], depth - 1
    return node


def _text(node: ast.expr, names: Names) -> str:
    """Return an expression of a message as readable text."""
    node = _resolved(node, names)
    match node:
        case ast.Constant(value=str() as text):
            return text
        case ast.JoinedStr():
            return "".join(_text(part, names) for part in node.values)
        case ast.FormattedValue():
            return _filled(node.value, names)
        case ast.BinOp(op=ast.Add()):
            return _text(node.left, names) + _text(node.right, names)
        case ast.IfExp():
            return f"{_text(node.body, names)} / {_text(node.orelse, names)}"
    return f"‹{_short(node)}›"


def _filled(value: ast.expr, names: Names) -> str:
    """Return a value that is filled in: its text where that is known."""
    inner = _resolved(value, names)
    if isinstance(inner, ast.Constant | ast.JoinedStr) and inner is not value:
        return _text(inner, names)
    if isinstance(value, ast.Call) and ast.unparse(value.func) == copy_command.__name__:
        return f"`saeindex copy ‹{_short(value.args[0])}› NEW`"
    return f"‹{_short(value)}›"


def _short(node: ast.expr) -> str:
    text = ast.unparse(node)
    return text if len(text) <= 40 else f"{text[:39]}…"


def page() -> str:
    """Return the table of all errors as Markdown, a section for each kind."""
    found = messages()
    parts = [ABOUT]
    for kind in sorted({one.kind for one in found}):
        doc = (getattr(errors, kind).__doc__ or "").splitlines()[0]
        rows = sorted({one.parts for one in found if one.kind == kind})
        parts.append(f"\n## {kind}\n\n{doc}\n\n| asked | found | do |\n| --- | --- | --- |")
        parts += [f"| {' | '.join(map(_cell, row))} |" for row in rows]
    return "\n".join(parts) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").replace("<", "&lt;").split())


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
