"""Your own Python environment as a corpus: the docstrings of the standard library and installed packages.

No module is imported: source files are parsed with ``ast``, and only as many as the limit needs.
"""

from __future__ import annotations

import ast
import hashlib
import re
import sys
import sysconfig
import warnings
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import TypeAlias

from benchmarks.docstring_prose import readable_prose
from saeindex.errors import InvalidInputError, NotFoundError
from saeindex.types import Record

STANDARD_LIBRARY = "python"
MAX_FILE_BYTES = 1_000_000
MIN_RECORDS_PER_PACKAGE = 5
RECORDS_PER_FILE_FIRST = 8

# Records that a package gives per turn, more for well-known packages, which come first; 1 for all others.
_RECORDS_PER_TURN = {
    STANDARD_LIBRARY: 30,
    "scipy": 15,
    "torch": 12,
    "numpy": 10,
    "sklearn": 10,
    "pandas": 8,
    "matplotlib": 8,
    "networkx": 8,
    "sympy": 8,
    "transformers": 4,
    "sentence_transformers": 4,
    "qdrant_client": 4,
    "requests": 3,
    "pydantic": 3,
    "fastapi": 3,
}
_SKIPPED_PACKAGES = frozenset({"pip", "setuptools", "pkg_resources", "wheel", "mypy", "mypyc", "torchgen"})
# An architecture's files under transformers/models repeat each other's text.
_SKIPPED_FILES = re.compile(
    r"^(transformers/models|torch/testing|torch/distributed/elastic)/"
    r"|(^|/)(tests?|testing|benchmarks|examples|_?vendor|vendored|externs?|externals|third_party)/"
    r"|(^|/)(_?distutils|idlelib|lib2to3|turtledemo|ensurepip|pydoc_data|config|lib-dynload)/"
    r"|(^|/)(site-packages|dist-packages|node_modules|migrations|autogen|generated)/"
    r"|(^|/)(test_|conftest|__phello__)[^/]*$|(_test|_pb2|_pb2_grpc)\.py$"
)

_Definition: TypeAlias = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class _Package:
    """A top-level package: its import name, the folder that paths are relative to, and its location."""

    name: str
    root: Path
    location: Path


class DocstringSource:
    """Records from the docstrings of public modules, classes, functions and methods.

    ``id`` is ``module:qualname`` (``module`` for a module), ``text`` the qualified name and the prose below
    it, ``metadata`` has ``module``, ``kind`` (module, class, function or method), ``package`` (the standard
    library is ``python``) and ``name``. Packages take turns, the well-known with more records per turn; the
    same environment gives the same records in the same order.
    """

    def __init__(
        self,
        limit: int | None = 2500,
        packages: Collection[str] | None = None,
        exclude_packages: Collection[str] = (),
    ) -> None:
        """``limit`` is the maximum number of records (None: all), ``packages`` None means all installed.

        Raises ``InvalidInputError`` for a limit below 1 and ``NotFoundError`` for a package without source.
        """
        if limit is not None and limit < 1:
            raise InvalidInputError(
                "limit of a docstring source", str(limit), "Give a number above 0, or None."
            )
        found = {package.name: package for package in _installed_packages()}
        absent = sorted(set(packages or ()) - set(found))
        if absent:
            raise NotFoundError(
                f"docstrings of {', '.join(absent)}",
                f"no Python source among the {len(found)} installed packages",
                'Use import names, and "python" for the standard library.',
            )
        self._limit = limit
        self._packages = [
            found[name]
            for name in sorted(found, key=lambda name: (-_RECORDS_PER_TURN.get(name, 1), name))
            if name not in exclude_packages
            and (name in packages if packages is not None else name not in _SKIPPED_PACKAGES)
        ]

    @property
    def name(self) -> str:
        """The source's name in progress bars."""
        return "python docstrings"

    @property
    def total(self) -> int | None:
        """The limit; the actual number may be smaller, and is known only after parsing."""
        return self._limit

    def __iter__(self) -> Iterator[Record]:
        return islice(_without_repeats(_take_turns(self._packages)), self._limit)


def _take_turns(packages: list[_Package]) -> Iterator[Record]:
    streams: dict[str, Iterator[Record]] = {}
    for package in packages:
        stream = _package_records(package)
        first = list(islice(stream, MIN_RECORDS_PER_PACKAGE))
        if len(first) == MIN_RECORDS_PER_PACKAGE or len(packages) == 1:
            yield from first
            streams[package.name] = stream
    while streams:
        for name, stream in list(streams.items()):
            turn = list(islice(stream, _RECORDS_PER_TURN.get(name, 1)))
            yield from turn
            if not turn:
                del streams[name]


def _without_repeats(records: Iterator[Record]) -> Iterator[Record]:
    """Drop records with the same id, or nearly the same text below the first line, as an earlier record."""
    seen_ids: set[str] = set()
    seen_texts: set[str] = set()
    for record in records:
        body = record.text.partition("\n")[2]
        # Names and numbers are ignored: the texts of some families of functions differ only in these.
        words = " ".join(re.findall(r"\b[a-z]{2,}\b", body)[:25])
        if record.id not in seen_ids and words not in seen_texts:
            seen_ids.add(record.id)
            seen_texts.add(words)
            yield record


# Which files ------------------------------------------------------------------------------------------


def _installed_packages() -> list[_Package]:
    roots = [Path(sysconfig.get_path(key)) for key in ("purelib", "platlib")]
    roots += [Path(entry) for entry in sys.path if entry.endswith(("site-packages", "dist-packages"))]
    library = Path(sysconfig.get_path("stdlib"))
    packages = [_Package(STANDARD_LIBRARY, library, library)]
    for root in dict.fromkeys(root.resolve() for root in roots if root.is_dir()):
        for entry in sorted(root.iterdir()):
            name = entry.name.removesuffix(".py")
            if name.startswith("_") or not name.isidentifier():
                continue
            if entry.suffix == ".py" or (entry / "__init__.py").is_file():
                packages.append(_Package(name, root, entry))
    return packages


def _source_files(package: _Package) -> list[PurePosixPath]:
    """Return the source files, relative to the root, in a fixed order that mixes subpackages."""
    paths = package.location.rglob("*.py") if package.location.is_dir() else [package.location]
    relative = [path.relative_to(package.root).as_posix() for path in paths]
    kept = [path for path in relative if not _SKIPPED_FILES.search(path)]
    kept.sort(key=lambda path: hashlib.sha256(path.encode()).digest())
    return [PurePosixPath(path) for path in kept]


# Which definitions ------------------------------------------------------------------------------------


def _package_records(package: _Package) -> Iterator[Record]:
    """Yield the first few records of every file, then the rest, so that no single file fills the corpus."""
    rest: list[Record] = []
    for file in _source_files(package):
        records = list(_file_records(package, file))
        yield from records[:RECORDS_PER_FILE_FIRST]
        rest.extend(records[RECORDS_PER_FILE_FIRST:])
    yield from rest


def _file_records(package: _Package, file: PurePosixPath) -> Iterator[Record]:
    parts = file.with_suffix("").parts
    parts = parts[:-1] if parts[-1] == "__init__" else parts
    depth = next((i for i, part in enumerate(parts) if part.startswith("_")), None)
    exports = None
    if depth is not None:
        exports = _exports(package.root / Path(*parts[:depth]) / "__init__.py") if depth else None
        if exports is None or parts[depth] not in exports.sources:
            return
    tree = _parse(package.root / file)
    if tree is None:
        return
    module = ".".join(parts[:depth])
    public = exports.names | (_listed_names(tree) if exports.has_star else frozenset()) if exports else None
    documented = [("module", "", ast.get_docstring(tree, clean=False))] if exports is None else []
    documented += sorted(_documented(tree, public), key=lambda found: found[0] == "method")
    for kind, qualname, docstring in documented:
        prose = readable_prose(docstring) if docstring else None
        if prose is not None:
            yield _record(package.name, module, kind, qualname, prose)


def _record(package: str, module: str, kind: str, qualname: str, prose: str) -> Record:
    full_name = f"{module}.{qualname}" if qualname else module
    name = full_name.rpartition(".")[2]
    metadata = {"module": module, "kind": kind, "package": package, "name": name}
    return Record(f"{module}:{qualname}" if qualname else module, f"{full_name}\n{prose}", metadata)


def _documented(tree: ast.Module, public: frozenset[str] | None) -> Iterator[tuple[str, str, str | None]]:
    """Yield (kind, qualname, docstring) of public classes, functions and methods, in source order."""
    for node in tree.body:
        if (
            not isinstance(node, _Definition)
            or not _is_public(node)
            or (public is not None and node.name not in public)
        ):
            continue
        is_class = isinstance(node, ast.ClassDef)
        yield "class" if is_class else "function", node.name, ast.get_docstring(node, clean=False)
        for member in node.body if is_class else ():
            if isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef) and _is_public(member):
                yield "method", f"{node.name}.{member.name}", ast.get_docstring(member, clean=False)


def _is_public(node: _Definition) -> bool:
    return not node.name.startswith("_") and not node.name.startswith("test")


@dataclass(frozen=True, slots=True)
class _Exports:
    """The imports of a package's ``__init__`` from its modules: names, modules, and star imports."""

    names: frozenset[str]
    sources: frozenset[str]
    has_star: bool


@lru_cache(maxsize=256)
def _exports(init: Path) -> _Exports | None:
    tree = _parse(init)
    if tree is None:
        return None
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    names = {alias.name for node in imports for alias in node.names}
    sources = {part for node in imports for part in (node.module or "").split(".")} | names
    return _Exports(frozenset(names) | _listed_names(tree), frozenset(sources), "*" in names)


def _listed_names(tree: ast.Module) -> frozenset[str]:
    """Return the strings that a module assigns or adds to ``__all__``."""
    names: set[str] = set()
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            names.update(
                part.value
                for part in ast.walk(node)
                if isinstance(part, ast.Constant) and isinstance(part.value, str)
            )
    return frozenset(names)


def _parse(path: Path) -> ast.Module | None:
    """Return the syntax tree, or None if the file is absent, too large or not Python of this version."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None
