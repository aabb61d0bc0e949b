"""Damage to the artefacts of an index: its manifest, layout and space, and the snapshots in its cache.

Each trial damages one file of a copy of an index. A child process then asks it the same questions as it asked
the whole index. A trial is *silent* if an answer is another one and no error was raised.
"""

from __future__ import annotations

import json
import multiprocessing
import random
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saeindex import FeatureIndex
from saeindex.config import CONCEPTS
from saeindex.errors import SaeIndexError

QUERIES = ("a film about war", "cheap and broken", "a book for children", "the staff was friendly")
SET = 'metadata.polarity = "positive"'
WHERE = ('"price"', SET, 'NOT "book"')
SECONDS = 120
# Shares of the kinds of damage: a bit in a part of a file that holds data, a bit anywhere, the end cut off.
KINDS = (("flip in data", 0.6), ("flip anywhere", 0.15), ("cut", 0.25))
PIECE = 4_096
# What is not damaged: the engine's files, and the lock, which is not read.
ENGINE = ("points", "lock")
# Sums of products depend on the order of points in the engine.
SCORE = 1e-5
# Children are forked from a server that has imported everything, and has never opened an index.
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["benchmarks.suites.faults.damage", "torch", "qdrant_edge"])


@dataclass(frozen=True, slots=True)
class Trial:
    """One damaged file, and what became of it."""

    file: str
    kind: str
    seen: str
    detail: str


def trials(index: Path, folder: Path, count: int, seed: int) -> Iterator[Trial]:
    """Yield ``count`` trials over the artefacts of a closed index in random order, one after the other."""
    chance = random.Random(seed)
    files = artefacts(index)
    expected = _asked(index, folder, None)
    assert expected["seen"] == "nothing", expected
    chance.shuffle(files)
    order = [files[n % len(files)] for n in range(count)]
    for name in order:
        kind = chance.choices([k for k, _ in KINDS], [w for _, w in KINDS])[0]
        copy = folder / "damaged.idx"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(index, copy)
        detail = _damage(copy / name, kind, chance)
        found = _asked(copy, folder, expected["answers"])
        yield Trial(name, kind, found["seen"], f"{detail}: {found['detail']}"[:400])
        shutil.rmtree(copy, ignore_errors=True)


def artefacts(index: Path) -> list[str]:
    """Return the files of an index that are not the engine's, which has its own checks."""
    files = (path.relative_to(index) for path in index.rglob("*") if path.is_file())
    return sorted(one.as_posix() for one in files if one.parts[0] not in ENGINE)


def _damage(path: Path, kind: str, chance: random.Random) -> str:
    content = bytearray(path.read_bytes())
    if kind == "cut" or not content:
        size = chance.randrange(len(content) or 1)
        with path.open("r+b") as file:
            file.truncate(size)
        return f"cut to {size:,} of {len(content):,} bytes"
    pieces = [at for at in range(0, len(content), PIECE) if any(content[at : at + PIECE])]
    start = chance.choice(pieces) if kind == "flip in data" and pieces else 0
    piece = content[start : start + PIECE] if kind == "flip in data" else content
    used = [n for n, byte in enumerate(piece) if byte] if kind == "flip in data" else []
    at = start + (chance.choice(used) if used else chance.randrange(len(piece)))
    bit = chance.randrange(8)
    content[at] ^= 1 << bit
    with path.open("r+b") as file:
        file.seek(at)
        file.write(content[at : at + 1])
    return f"bit {bit} of byte {at:,}"


def _asked(index: Path, folder: Path, expected: Any) -> dict[str, Any]:
    """Ask an index in a child process; say who saw the damage."""
    (folder / "expected.json").write_text(json.dumps(expected))
    output = folder / "found.json"
    output.unlink(missing_ok=True)
    child = _PROCESSES.Process(target=_child, args=(index, folder))
    child.start()
    child.join(SECONDS)
    if child.is_alive():
        child.kill()
        return {"seen": "HUNG", "detail": f"no answer in {SECONDS} s", "answers": None}
    how = signal.Signals(-child.exitcode).name if child.exitcode and child.exitcode < 0 else ""
    if not output.exists():
        return {"seen": "DIED", "detail": how, "answers": None}
    found: dict[str, Any] = json.loads(output.read_text())
    return found | ({"seen": "DIED", "detail": how} if how else {})


# In the child -----------------------------------------------------------------------------------------


QUESTIONS: dict[str, Callable[[FeatureIndex], Any]] = {
    "search": lambda index: [_hits(index.search(one, explain=True)) for one in QUERIES],
    "search by features": lambda index: [_hits(index.search(one, using="sae")) for one in QUERIES],
    "search of both": lambda index: [_hits(index.search(one, using="fused")) for one in QUERIES],
    "where": lambda index: [_hits(index.search(QUERIES[0], where=one)) for one in WHERE],
    "count": lambda index: [index.count(), *(index.count(where=one) for one in WHERE[1:])],
    "get": lambda index: [one.to_json() for one in index.get([f"r{n}" for n in range(0, 300, 30)])],
    "facets": lambda index: sorted(index.state.store.facet(CONCEPTS, limit=10**6)),
    "features": lambda index: [[one.id, one.label] for one in index.concepts.find("price")],
    "profile": lambda index: _distinctive(index),  # noqa: PLW0108  (defined below)
    "metadata": lambda index: [str(one) for one in index.metadata_fields()],
}


RANKINGS = ("search", "search by features", "search of both", "where")


def _hits(hits: Any) -> dict[str, Any]:
    return {
        hit.id: [hit.score, hit.text, dict(hit.metadata), [[f.id, f.label] for f in hit.features]]
        for hit in hits
    }


def _distinctive(index: FeatureIndex) -> Any:
    found = index.describe(SET).to_json()
    return {key: value for key, value in found.items() if "second" not in key}


def answer(index: Path, folder: Path) -> dict[str, Any]:
    """Ask all questions, up to the first answer that is wrong."""
    expected = json.loads((folder / "expected.json").read_text())
    answers: dict[str, Any] = {}
    seen, detail = "nothing", ""
    try:
        with FeatureIndex.open(index) as opened:
            for name, ask in QUESTIONS.items():
                try:
                    answers[name] = json.loads(json.dumps(ask(opened)))
                except SaeIndexError as error:
                    if seen == "nothing":
                        seen, detail = f"{name}: {type(error).__name__}", str(error)
                if expected and name in answers and _is_wrong(name, answers[name], expected[name]):
                    return {"seen": f"SILENT: {name}", "detail": "", "answers": answers}
    except SaeIndexError as error:
        seen, detail = f"opening: {type(error).__name__}", str(error)
    except Exception as error:
        seen, detail = f"UNTYPED: {type(error).__name__}", str(error)
    return {"seen": seen, "detail": detail, "answers": answers}


def _is_wrong(name: str, found: Any, expected: Any) -> bool:
    """Return whether an answer is another one; scores may differ by their rounding."""
    if name not in RANKINGS:
        return bool(found != expected)
    if [list(hits) for hits in found] != [list(hits) for hits in expected]:
        return True
    pairs = [(hit, true[one]) for hits, true in zip(found, expected, strict=True)
             for one, hit in hits.items()]  # fmt: skip
    return any(hit[1:] != true[1:] or abs(hit[0] - true[0]) > SCORE for hit, true in pairs)


def _child(index: Path, folder: Path) -> None:
    """Answer for one index, in a process of its own."""
    (folder / "found.json").write_text(json.dumps(answer(index, folder)))
