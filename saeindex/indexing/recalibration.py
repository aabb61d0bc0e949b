"""Recalibration of an index to its own corpus, in place; safe to kill at any moment.

It has three steps, each a single durable write or safe to repeat:

1. *Mark*: the new levels are written to the manifest. From here on the index can only be opened to finish
the recalibration, and a run that is still adding records stops.
2. *Rewrite*: the level codes of each point are computed again from its stored sparse vector, page by page,
and replaced where they differ. This is repeated until a pass finds no difference. Vectors, texts and
metadata are not changed.
3. *Settle*: the space folder is replaced, then the manifest, which now has the new fingerprint.

The levels stay in the manifest, so that an index without its own space folder can be opened with the space
that it was built with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from saeindex.config import CONCEPTS, DENSE, LEVELS, PASSAGES, RECORD_CONCEPTS, SAE, SPACE_FOLDER, suffixed
from saeindex.errors import InvalidInputError, MismatchError
from saeindex.features.calibration import Calibration, CalibrationMeter
from saeindex.features.level_drift import LevelDrift, counts_by_level, level_drift
from saeindex.indexing.manifest import Manifest, OwnCalibration, Recalibration, SpaceReference
from saeindex.indexing.pipeline import progress_bar
from saeindex.indexing.points import code_of, codes_of, point_id
from saeindex.stores.base import PAGE, pages

if TYPE_CHECKING:
    from pathlib import Path

    from saeindex.features import FeatureSpace
    from saeindex.protocols import Point, PointId, VectorStore


@dataclass(frozen=True, slots=True)
class RecalibrationReport:
    """The result of a recalibration: ``changed`` of the ``points`` got different level codes."""

    points: int
    changed: int
    fingerprint: str
    before: LevelDrift
    after: LevelDrift


def measure_index(store: VectorStore, n_features: int) -> Calibration:
    """Measure the main texts of a store, or their passages if they are split, in one scroll."""
    meter = CalibrationMeter(n_features)
    for page in pages(store, None, PAGE, False, [SAE, DENSE]):
        dense = [point.vectors[DENSE] for point in page.points if DENSE in point.vectors]
        vectors = np.stack([np.asarray(vector) for vector in dense]) if dense else None
        meter.add(codes_of(page.points, n_features), vectors)
    return meter.measured()


def index_drift(store: VectorStore, calibration: Calibration) -> LevelDrift:
    """Compare a store with its space's calibration, using the engine's counts."""
    n_features = len(calibration.density)
    counts = counts_by_level(store.facet(CONCEPTS, limit=LEVELS * n_features), n_features)
    return level_drift(calibration, counts, store.count())


def releveled(space: FeatureSpace, own: Calibration, name: str) -> FeatureSpace:
    """Return ``space`` with the levels of an index's own corpus; InvalidInputError for an empty one.

    A feature that is active too rarely there keeps its levels.
    """
    if not own.records:
        raise InvalidInputError(f"calibrate index {name}", "it holds no records", "Add records first.")
    return _with_calibration(space, own.with_rare_levels_of(space.calibration))


def _with_calibration(space: FeatureSpace, calibration: Calibration) -> FeatureSpace:
    report = {**space.report, "calibrated_on_passages": calibration.records}
    return replace(space, calibration=calibration, report=report)


def take_own_levels(
    store: VectorStore,
    manifest: Manifest,
    space: FeatureSpace,
    folder: Path | None,
    name: str,
    progress: bool,
) -> tuple[FeatureSpace, Manifest, RecalibrationReport]:
    """Recalibrate an index to its own corpus; return its new space, its manifest and a report."""
    before, points = index_drift(store, space.calibration), store.count()
    own, changed = releveled(space, measure_index(store, space.n_features), name), 0
    if own.fingerprint != space.fingerprint:
        try:
            with progress_bar("levels", "points", points, progress) as bar:
                manifest, changed = recalibrate(store, manifest, own, folder, name, bar.update)
        except BaseException:
            store.close()  # its points may have old and new levels
            raise
    after = index_drift(store, own.calibration)
    return own, manifest, RecalibrationReport(points, changed, own.fingerprint, before, after)


def recalibrate(
    store: VectorStore,
    manifest: Manifest,
    space: FeatureSpace,
    folder: Path | None,
    name: str,
    on_points: Callable[[int], object] = lambda _: None,
) -> tuple[Manifest, int]:
    """Write the levels of ``space`` into an index; return its manifest and the number of changed points."""
    mark = Recalibration(fingerprint=space.fingerprint, calibration=OwnCalibration.keep(space.calibration))
    marked = manifest.model_copy(update={"recalibration": mark})
    store.write_manifest(marked.to_json())
    hold = partial(_hold, store, marked, name)
    changed = rewrite_levels(store, manifest.fields, space.calibration, hold, on_points)
    return _settle(store, marked, space, folder), changed


def finish_recalibration(
    store: VectorStore, marked: Manifest, space: FeatureSpace, folder: Path | None, name: str
) -> Manifest:
    """Finish a killed :func:`recalibrate`; ``space`` may have the old or the new levels."""
    mark = marked.recalibration
    if mark is None:
        return marked
    recalibrated = space
    if space.fingerprint != mark.fingerprint:
        recalibrated = _with_calibration(space, mark.calibration.calibration())
    if recalibrated.fingerprint != mark.fingerprint:
        raise MismatchError(
            f"finish calibrating index {name} with feature space {space.name!r}",
            f"it was built with {marked.space.name!r} ({marked.space.fingerprint[:12]})",
            "Open it with that space.",
        )
    return recalibrate(store, marked, recalibrated, folder, name)[0]


def _settle(store: VectorStore, marked: Manifest, space: FeatureSpace, folder: Path | None) -> Manifest:
    store.flush()
    if folder is not None:
        space.save(folder / SPACE_FOLDER)
    reference = SpaceReference.of(space).model_copy(update={"name": marked.space.name})
    kept = OwnCalibration.keep(space.calibration)
    settled = {"space": reference, "calibration": kept, "recalibration": None}
    manifest = marked.renewed().model_copy(update=settled)
    store.write_manifest(manifest.to_json())
    return manifest


def _hold(store: VectorStore, marked: Manifest, name: str) -> None:
    """Restore the mark if a run that was ending overwrote it with an older manifest."""
    found = store.read_manifest().get("recalibration")
    if found is None:
        store.write_manifest(marked.to_json())
    elif marked.recalibration is not None and found["fingerprint"] != marked.recalibration.fingerprint:
        raise MismatchError(
            f"calibrate index {name}",
            "another process began to calibrate it too",
            f"Wait until that process ends; if it fails, run `saeindex sae calibrate {name}` again.",
        )


def rewrite_levels(
    store: VectorStore,
    fields: Sequence[str],
    calibration: Calibration,
    before_page: Callable[[], object] = lambda: None,
    on_points: Callable[[int], object] = lambda _: None,
) -> int:
    """Replace level codes that are not those of ``calibration``; return the number of changed points.

    The last pass finds no difference, which shows that no writer still used the old levels.
    """
    codes, vectors = ([suffixed(base, name) for name in ("", *fields)] for base in (CONCEPTS, SAE))
    keys = ["record_id", PASSAGES, RECORD_CONCEPTS, *codes]
    changed, is_first = 0, True
    while True:
        found = 0
        for page in pages(store, None, PAGE, keys, vectors):
            before_page()
            differing = _differing(store, page.points, fields, calibration)
            store.set_payload(differing)
            found += len(differing)
            on_points(len(page.points) if is_first else 0)
        changed, is_first = changed + found, False
        if not found:
            return changed


def _differing(
    store: VectorStore, points: Sequence[Point], fields: Sequence[str], calibration: Calibration
) -> dict[PointId, dict[str, Any]]:
    """Return the payload fields of points that must change."""
    unions = _record_concepts(store, [p for p in points if PASSAGES in p.payload], calibration)
    changes = {}
    for point in points:
        # Only the first passage can have a further text, and not every record has it.
        has = [name for name in ("", *fields) if not name or suffixed(CONCEPTS, name) in point.payload]
        wanted = {suffixed(CONCEPTS, name): _concepts(point, calibration, name) for name in has}
        if point.id in unions:
            wanted[RECORD_CONCEPTS] = sorted(unions[point.id])
        wanted = {key: codes for key, codes in wanted.items() if point.payload.get(key) != codes}
        if wanted:
            changes[point.id] = wanted
    return changes


def _record_concepts(
    store: VectorStore, firsts: Sequence[Point], calibration: Calibration
) -> dict[PointId, set[int]]:
    """Return the union of the level codes of all passages, by the id of each record's first passage."""
    unions: dict[PointId, set[int]] = {point.id: set() for point in firsts}
    owners: dict[PointId, PointId] = {
        point_id(point.payload["record_id"], number): point.id
        for point in firsts
        for number in range(point.payload[PASSAGES])
    }
    ids = list(owners)
    for start in range(0, len(ids), PAGE):
        for passage in store.get(ids[start : start + PAGE], with_payload=False, with_vectors=[SAE]):
            unions[owners[passage.id]].update(_concepts(passage, calibration))
    return unions


def _concepts(point: Point, calibration: Calibration, field: str = "") -> list[int]:
    code = code_of(point, field)
    concepts: list[int] = calibration.concept_codes(code.indices, code.values).tolist()
    return concepts
