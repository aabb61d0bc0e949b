"""``saeindex doctor``: check the installation and an index."""

from __future__ import annotations

import platform
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from saeindex.cli.output import Json, Url, console, print_json, say
from saeindex.config import CONCEPTS, DEFAULT_SPACE, DENSE, SAE
from saeindex.errors import InvalidInputError, SaeIndexError, repair_of
from saeindex.protocols import SparseVector
from saeindex.report.numbers import counted
from saeindex.types import visible

if TYPE_CHECKING:
    from saeindex.index import FeatureIndex
    from saeindex.indexing.examination import Examination
    from saeindex.indexing.repair import RepairReport

SAMPLE = 32
NAMED = 3
# Minimum cosine of a stored and a new vector: bf16 against fp32 gives .9999, another model far less.
MIN_COSINE = 0.999
PACKAGES = ("numpy", "torch", "tokenizers", "qdrant-client", "qdrant-edge-py")


@dataclass(frozen=True, slots=True)
class Check:
    """One check: its name, whether it passed, and its result in words."""

    name: str
    is_well: bool
    seen: str


def doctor(
    index: Annotated[str | None, typer.Argument(help="An index to check, too.")] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Repair the index first, if it is damaged.")
    ] = False,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Check this installation and, if given, every record of an index. Exits with 1 if anything is wrong."""
    report = _repaired(index, url, as_json) if repair else None
    checks = list(_installation())
    if index is not None:
        checks += _index(index, url)
    if as_json:
        made = {} if report is None else {"repair": asdict(report)}
        print_json({"well": all(c.is_well for c in checks), **made, "checks": [asdict(c) for c in checks]})
    else:
        out = console()
        for check in checks:
            out.print("[green]ok[/]  " if check.is_well else "[red]BAD[/] ", end="")
            out.print(f"{check.name:<10} {check.seen}", markup=False)
    if not all(check.is_well for check in checks) or (report is not None and report.lost):
        raise typer.Exit(1)


def _repaired(index: str | None, url: str | None, as_json: bool) -> RepairReport:
    from saeindex.index import FeatureIndex

    if index is None:
        raise InvalidInputError("--repair", "no index", "Name the index to repair.")
    report = FeatureIndex.repair(index, url=url, progress=not as_json)
    if not as_json:
        for line in _described(report):
            say(line)
    return report


def _described(report: RepairReport) -> Iterator[str]:
    yield from (f"Restored {one}." for one in report.restored)
    if report.is_rebuilt:
        yield f"Wrote the engine's files anew, with {counted(report.points, 'passage')}."
    if again := report.encoded_again:
        yield f"Encoded {counted(len(again), 'record')} again from the stored text: {_named(again)}."
    cure = "Run your `saeindex index` command again: it brings back what is missing"
    if lost := report.lost:
        count = counted(len(lost), "record")
        file = visible(str(report.damaged_file))
        yield f"Took out {count} whose text is damaged: {_named(lost)}. {cure}. See also {file}."
    if report.missing:
        count = counted(report.missing, "record")
        yield f"Not found, not even damaged: {count} of the last finished run. {cure}."
    if not (report.restored or report.is_rebuilt or report.encoded_again or report.lost):
        yield "There was nothing to repair."


def _named(records: Sequence[str]) -> str:
    more = f" and {len(records) - NAMED:,} more" if len(records) > NAMED else ""
    return ", ".join(repr(one) for one in records[:NAMED]) + more


def _installation() -> Iterator[Check]:
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    yield Check("packages", True, f"Python {platform.python_version()}, {versions}")
    yield from _guarded("encoder", _check_encoder)
    yield from _guarded("store", _check_store)


def _index(name: str, url: str | None) -> list[Check]:
    from saeindex.index import FeatureIndex

    try:
        with FeatureIndex.open(name, url=url, isolated=url is None) as index:
            return [
                check
                for part, examine in (
                    ("counts", _check_counts),
                    ("records", _check_records),
                    ("facets", _check_facets),
                    ("codes", _check_codes),
                    ("drift", _check_drift),
                )
                for check in _guarded(part, lambda examine=examine: examine(index))  # type: ignore[misc]
            ]
    except SaeIndexError as error:
        return [Check("index", False, str(error))]


def _guarded(name: str, examine: Callable[[], tuple[bool, str]]) -> Iterator[Check]:
    try:
        yield Check(name, *examine())
    except SaeIndexError as error:
        yield Check(name, False, str(error))


def _check_encoder() -> tuple[bool, str]:
    from saeindex.devices import choose_device, choose_dtype
    from saeindex.features import FeatureSpace

    space = FeatureSpace.load(DEFAULT_SPACE)
    vector = space.open_encoder().encode_document(["Is anything wrong here?"])
    active = len(space.sae.encode(vector).indices)
    device = choose_device("auto")
    dtype = str(choose_dtype("auto", device)).removeprefix("torch.")
    seen = f"{space.encoder.model} on {device} in {dtype}; space {space.name}: {active} active features"
    return 1 <= active <= space.sae.k, seen


def _check_store() -> tuple[bool, str]:
    import numpy as np

    from saeindex.protocols import Layout, Point, SearchRequest
    from saeindex.stores import create_store, open_store

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "doctor.idx"
        store = create_store(path, Layout({DENSE: 2}))
        store.upsert([Point(1, {DENSE: np.array([0.6, 0.8], np.float32)})])
        store.close()
        store = open_store(path)
        found = store.search(SearchRequest(np.array([0.6, 0.8], np.float32)))
        store.close()
    is_well = len(found) == 1 and abs((found[0].score or 0) - 1) < 1e-5
    return is_well, "Qdrant Edge writes, reopens and finds"


def _check_counts(index: FeatureIndex) -> tuple[bool, str]:
    records, points = index.count(), index.store.count()
    kept = index.manifest.counts
    if (records, points) == (kept.records, kept.points):
        return True, f"{records:,} records, {points:,} points"
    seen = f"{records:,} records found, {kept.records:,} at the end of the last finished run"
    return False, f"{seen}: a run was interrupted. Run the same `saeindex index` command again."


def _check_records(index: FeatureIndex) -> tuple[bool, str]:
    """Read every record: each must be what was written, and complete."""
    found, cure = _examination(index), f"Run {repair_of(index.name, index.folder is None)}."
    if damaged := found.damaged:
        first = "; ".join(map(str, damaged[:NAMED]))
        return False, f"{len(damaged):,} of {found.points:,} passages are damaged: {first}. {cure}"
    if incomplete := found.incomplete:
        count = counted(len(incomplete), "record")
        return False, f"{count} without all passages: {_named(incomplete)}. {cure}"
    return True, f"all {counted(found.points, 'passage')} are what was written"


def _check_facets(index: FeatureIndex) -> tuple[bool, str]:
    """Compare the engine's counts of all concepts with what is stored."""
    found = _examination(index)
    if found.damaged:
        return True, "not compared: the counts of damaged passages are not known"
    if wrong := found.wrong_facets(index.store):
        cure = f"Run {repair_of(index.name, index.folder is None)}."
        return False, f"the engine counts {counted(wrong, 'level code')} otherwise than stored. {cure}"
    return True, "the engine counts all concepts as they are stored"


@lru_cache(maxsize=1)
def _examination(index: FeatureIndex) -> Examination:
    from saeindex.indexing.examination import Examination

    return Examination.of(index.store, index.space.n_features)


def _check_codes(index: FeatureIndex) -> tuple[bool, str]:
    """Encode some stored passages again: vectors, codes and levels must come out the same."""
    import numpy as np

    page = index.store.scroll(limit=SAMPLE, with_vectors=True)
    if not page.points:
        return True, "no records yet"
    stored = np.stack([np.asarray(point.vectors[DENSE]) for point in page.points])
    again = index.encoder.encode_document([point.payload["text"] for point in page.points])
    lowest = float((stored * again).sum(1).min())
    wrong = 0
    for point in page.points:
        code = point.vectors.get(SAE)
        expected: list[int] = []
        if isinstance(code, SparseVector):
            expected = index.space.calibration.concept_codes(code.indices, code.values).tolist()
        wrong += expected != list(point.payload[CONCEPTS])
    seen = f"{len(page.points)} encoded again: lowest cosine {lowest:.5f}, {wrong} with other levels"
    return lowest >= MIN_COSINE and wrong == 0, seen


def _check_drift(index: FeatureIndex) -> tuple[bool, str]:
    """Report how far the corpus is from the corpus of the levels; a difference is not a failure."""
    drift = index.level_drift()
    if drift.levels_are_off:
        return True, f"{drift.summary()}. Run `saeindex sae calibrate {index.name}` for its own levels."
    return True, drift.summary()
