"""Restoration of an index's own files: manifest, layout and space, each from what is left of the others."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from saeindex.config import SAE, SPACE_FOLDER
from saeindex.errors import DamageError, MismatchError, NotFoundError, SaeIndexError
from saeindex.features import FeatureSpace
from saeindex.features.space_io import check_files
from saeindex.indexing.manifest import Manifest, OwnCalibration
from saeindex.protocols import Layout
from saeindex.stores.directory import IndexDirectory, read_checked_json, read_json
from saeindex.stores.edge_engine import layout_of_engine
from saeindex.stores.layouts import layout_from_json


@dataclass(frozen=True, slots=True)
class RestoredFiles:
    """The files of an index besides the engine's, restored where they were damaged or missing."""

    layout: Layout
    manifest: Manifest
    space: FeatureSpace
    has_checksums: bool
    restored: list[str]

    @classmethod
    def of(cls, directory: IndexDirectory) -> RestoredFiles:
        """Read the files of an index, and restore those that cannot be read."""
        name, restored = str(directory.root), []
        manifest = _parsed(directory.manifest, name)
        if manifest is None and (manifest := _parsed(directory.manifest_copy, name)) is not None:
            restored.append("manifest.json from its copy")
        layout, has_checksums = None, True
        with suppress(SaeIndexError, KeyError, TypeError):
            kept = read_checked_json(directory.layout)
            layout, has_checksums = layout_from_json(kept, name), kept.get("checksums") is True
        if layout is None:
            layout = manifest.layout if manifest is not None else layout_of_engine(directory.points)
            restored.append(f"layout.json from {'the manifest' if manifest else 'the engine'}")
        space = _space_in(directory, manifest, restored)
        if manifest is None:
            manifest = _manifest_of(layout, space)
            restored.append("manifest.json from the layout and the space, without saved profiles")
        return cls(layout, manifest, space, has_checksums, restored)


def _parsed(path: Path, name: str) -> Manifest | None:
    with suppress(SaeIndexError):
        return Manifest.parse(read_json(path), name)
    return None


def _space_in(directory: IndexDirectory, manifest: Manifest | None, restored: list[str]) -> FeatureSpace:
    """Return the index's space; a damaged one is restored from the space of this name that is installed."""
    folder, name = directory.root / SPACE_FOLDER, str(directory.root)
    try:
        check_files(folder)
        space = FeatureSpace.load(folder)
        return space if manifest is None else manifest.with_own_levels(space, name)
    except (MismatchError, NotFoundError) as damage:
        try:
            if manifest is None:
                raise damage
            space = manifest.with_own_levels(FeatureSpace.load(manifest.space.name), name)
        except SaeIndexError as error:
            do = f"Restore the folder {str(folder)!r} from a backup, or copy the space there again."
            raise DamageError(damage.asked, damage.found, do) from error
    space.save(folder)
    restored.append(f"space from the installed space {space.name}")
    return space


def _manifest_of(layout: Layout, space: FeatureSpace) -> Manifest:
    """Return a manifest for an index of which only the layout and the space are left."""
    fields = [name[len(SAE) + 1 :] for name in layout.sparse if name.startswith(f"{SAE}_")]
    made = Manifest.describe(space, None, {}, fields)
    known = {"payload_indexes": dict(layout.payload_indexes), "dense": dict(layout.dense)}
    own = OwnCalibration.keep(space.calibration) if "calibrated_on_passages" in space.report else None
    return made.model_copy(update={**known, "calibration": own})
