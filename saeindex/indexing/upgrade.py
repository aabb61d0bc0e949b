"""Upgrade of an index to another feature space of its encoder, in place, from its stored vectors.

It has three steps, each a single durable write or safe to repeat:

1. *Mark*: the new space is saved beside the old one, and the manifest says that it is being written. From
here on the index can only be opened to finish the upgrade.
2. *Rewrite*: each point gets the code of its stored dense vector and its level codes, page by page. Texts,
metadata and dense vectors are not changed, and no text is encoded.
3. *Settle*: the new space becomes the index's space, then the manifest says so. It keeps what is needed to
undo the upgrade, which is the same with the old space, until points change.

What refers to features by number is mapped where the new space has a counterpart, and named where it has
none: edits of saved profiles and labels given by hand here, queries and baselines by what is kept in
``upgrade.json``.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from saeindex.config import CONCEPTS, DENSE, LEVEL_STRIDE, LEVELS, SAE, SPACE_FOLDER, suffixed
from saeindex.errors import InvalidInputError, MismatchError, NotFoundError
from saeindex.features import FeatureSpace
from saeindex.features.labels import MANUAL
from saeindex.features.mapping import SpaceMapping, carry_manual_labels, map_spaces
from saeindex.files import replacing, replacing_folder
from saeindex.indexing.manifest import Manifest, SpaceReference, Upgrade
from saeindex.indexing.names import NameEdits
from saeindex.indexing.pipeline import progress_bar
from saeindex.indexing.points import Coded
from saeindex.indexing.recalibration import rewrite_levels
from saeindex.protocols import Point, SparseVector
from saeindex.stores.base import PAGE, pages

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.protocols import Vector, VectorStore
    from saeindex.types import FloatArray

# Folders beside that of the index's space: the one that is being written, and the one before the upgrade.
NEXT_SPACE, FORMER_SPACE = f"{SPACE_FOLDER}.next", f"{SPACE_FOLDER}.former"
MAP_FILE = "upgrade.json"
# Records whose activations match the features of both spaces.
MATCHED_RECORDS = 20_000
# Records that a feature needs at each level to say how much commoner its counterpart is.
FEW = 20


@dataclass(frozen=True, slots=True)
class FeatureTranslation:
    """What became of each feature: the new number by the old one, or its label if it is ``gone``.

    ``ratios`` say how many records have the new feature for one that has the old, by level; only of those
    that are not rare.
    """

    features: Mapping[int, int]
    gone: Mapping[int, str]
    ratios: Mapping[int, Sequence[float]]

    @classmethod
    def of(
        cls, mapping: SpaceMapping, old: FeatureSpace, new: FeatureSpace, vectors: FloatArray
    ) -> FeatureTranslation:
        """Take the matches of two spaces, and count their features in embeddings (m, d)."""
        before, after = (_level_counts(space, vectors) for space in (old, new))
        features = {match.old: match.new for match in mapping.matches}
        ratios = {
            a: (after[:, b] / before[:, a]).round(4).tolist()
            for a, b in features.items()
            if before[:, a].min() >= FEW
        }
        return cls(features, {lost.id: lost.label for lost in mapping.lost}, ratios)

    def query(self, text: str) -> tuple[str, tuple[int | str, ...]]:
        """Return a where or steer text with the new numbers for ``#id``, and what has no counterpart."""
        from saeindex.language.renumbered import renumbered

        return renumbered(text, self.features)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {name: dict(getattr(self, name)) for name in self.__slots__}

    @classmethod
    def load(cls, folder: Path | None, name: str) -> FeatureTranslation:
        """Read that of the last upgrade of an index; NotFoundError if there is none."""
        path = None if folder is None else folder / MAP_FILE
        if path is None or not path.is_file():
            raise NotFoundError(
                f"the numbers of features of index {name} before its upgrade",
                "it was not upgraded here",
                "Give a path of an index that was upgraded.",
            )
        kept = json.loads(path.read_text())
        return cls(*({int(old): value for old, value in kept[part].items()} for part in cls.__slots__))


@dataclass(frozen=True, slots=True)
class UpgradeReport:
    """What an upgrade did, or would do.

    ``concepts`` are the commonest old concepts of the index: label, records, and the label of the counterpart
    (None without one). ``profiles`` has for each profile the edits that were mapped and those that were lost;
    ``lost_labels`` are labels given by hand whose feature has no counterpart. Of an undone upgrade, these are
    the edits and labels that were made after it, and nothing is counted as matched or lost.
    """

    before: str
    after: str
    points: int
    changed: int
    matched: int
    lost: int
    concepts: tuple[tuple[str, int, str | None], ...]
    profiles: Mapping[str, tuple[dict[int, int], dict[int, str]]] = field(default_factory=dict)
    lost_labels: tuple[str, ...] = ()
    is_dry_run: bool = False
    is_undo: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            "before": self.before,
            "after": self.after,
            "points": self.points,
            "changed": self.changed,
            "matched": self.matched,
            "lost": self.lost,
            "concepts": [
                {"label": label, "records": records, "becomes": new} for label, records, new in self.concepts
            ],
            "profiles": {
                name: {"mapped": mapped, "lost": lost} for name, (mapped, lost) in self.profiles.items()
            },
            "lost_labels": list(self.lost_labels),
            "dry_run": self.is_dry_run,
            "undo": self.is_undo,
        }

    @classmethod
    def of_json(cls, kept: Mapping[str, Any]) -> UpgradeReport:
        """Read what :meth:`to_json` returned, also after it was written as JSON."""
        rest = {name: kept[name] for name in ("before", "after", "points", "changed", "matched", "lost")}
        edits = {
            name: (
                {int(feature): new for feature, new in edited["mapped"].items()},
                {int(feature): label for feature, label in edited["lost"].items()},
            )
            for name, edited in kept["profiles"].items()
        }
        return cls(
            **rest,
            concepts=tuple((each["label"], each["records"], each["becomes"]) for each in kept["concepts"]),
            profiles=edits,
            lost_labels=tuple(kept["lost_labels"]),
            is_dry_run=kept["dry_run"],
            is_undo=kept["undo"],
        )


@dataclass(frozen=True, slots=True)
class PlannedUpgrade:
    """An upgrade before anything is written: the new space, and what refers to features."""

    new: FeatureSpace
    translation: FeatureTranslation
    profiles: dict[str, dict[str, Any]]
    edits: NameEdits
    report: UpgradeReport


def check_baseline(fingerprint: str, manifest: Manifest) -> None:
    """Raise InvalidInputError if a baseline of this space is not of the space before the upgrade."""
    last = manifest.upgraded
    if fingerprint == manifest.space.fingerprint:
        raise InvalidInputError(
            f"upgrade a baseline of the feature space {fingerprint[:12]}",
            "the index has that space",
            "Use the baseline as it is.",
        )
    if last is not None and fingerprint != last.former.fingerprint:
        raise InvalidInputError(
            f"upgrade a baseline of the feature space {fingerprint[:12]}",
            f"the index was upgraded from {last.former.fingerprint[:12]}",
            "Save the baseline again.",
        )


def upgraded(
    store: VectorStore,
    manifest: Manifest,
    old: FeatureSpace,
    new: FeatureSpace,
    folder: Path | None,
    *,
    is_dry_run: bool,
    progress: bool,
) -> tuple[FeatureSpace, Manifest, UpgradeReport]:
    """Upgrade an index, or only report; return its space, its manifest and the report."""
    plan = planned(store, manifest, old, new)
    if is_dry_run or plan.new.fingerprint == old.fingerprint:
        return old, manifest, plan.report
    marked = mark(store, manifest, plan, folder)
    settled, changed = _written(store, marked, plan.new, folder, progress)
    return plan.new, settled, replace(plan.report, changed=changed, is_dry_run=False)


def upgrade_undone(
    store: VectorStore,
    manifest: Manifest,
    space: FeatureSpace,
    folder: Path | None,
    name: str,
    progress: bool,
) -> tuple[FeatureSpace, Manifest, UpgradeReport]:
    """Undo the last upgrade; return the space and the manifest of the index, and what was lost."""
    marked = mark_undo(store, manifest, space, folder, name)
    former = target_space(marked, folder, name)
    settled, changed = _written(store, marked, former, folder, progress)
    return former, settled, _finished_report(marked, changed)


def upgrade_finished(
    store: VectorStore, marked: Manifest, folder: Path | None, name: str
) -> tuple[Manifest, UpgradeReport]:
    """Finish an interrupted upgrade, or its interrupted undoing; return the manifest and the report."""
    settled, changed = finished(store, marked, target_space(marked, folder, name), folder)
    return settled, _finished_report(marked, changed)


def _finished_report(marked: Manifest, changed: int) -> UpgradeReport:
    """Return what was to be said of a marked upgrade, now that it is done."""
    upgrade = marked.upgrade
    assert upgrade is not None  # noqa: S101
    report = UpgradeReport.of_json(upgrade.report)
    return replace(report, changed=changed, is_dry_run=False)


def _written(
    store: VectorStore, marked: Manifest, space: FeatureSpace, folder: Path | None, progress: bool
) -> tuple[Manifest, int]:
    try:
        with progress_bar("concepts", "points", store.count(), progress) as bar:
            return finished(store, marked, space, folder, bar.update)
    except BaseException:
        store.close()  # its points may have old and new codes
        raise


def planned(store: VectorStore, manifest: Manifest, old: FeatureSpace, new: FeatureSpace) -> PlannedUpgrade:
    """Match the spaces on the stored vectors; MismatchError for a space of another encoder."""
    if differing := old.encoder.differences(new.encoder):
        raise MismatchError(
            f"upgrade to feature space {new.name!r}",
            f"it is for vectors of another encoder (another {', '.join(differing)})",
            "Choose a space of the same encoder, or index the records again.",
        )
    vectors = _sampled(store)
    mapping = map_spaces(old, new, vectors if len(vectors) else None)
    carried = carry_manual_labels(old, new, vectors)
    translation = FeatureTranslation.of(mapping, old, new, vectors)
    profiles, edits = {}, {}
    for name, profile in manifest.profiles.items():
        own = {int(feature): weight for feature, weight in profile["edits"].items()}
        mapped = {
            feature: translation.features[feature] for feature in own if feature in translation.features
        }
        edits[name] = (mapped, {f: old.labels[f].text for f in own if f not in mapped})
        profiles[name] = {**profile, "edits": {str(to): own[f] for f, to in mapped.items()}}
    own_names, lost_names = manifest.edits.moved(translation.features)
    lost_manual = [lost["label"] for lost in carried.report.get("labels", {}).get("lost_manual", [])]
    report = UpgradeReport(
        before=old.name,
        after=new.name,
        points=store.count(),
        changed=0,
        matched=len(mapping.matches),
        lost=len(mapping.lost),
        concepts=_commonest(store, old, new, translation),
        profiles={name: edited for name, edited in edits.items() if any(edited)},
        lost_labels=(*lost_manual, *lost_names),
        is_dry_run=True,
    )
    return PlannedUpgrade(carried, translation, profiles, own_names, report)


def _level_counts(space: FeatureSpace, vectors: FloatArray) -> NDArray[np.int64]:
    """Return how many of the embeddings have each feature (3, n), by level."""
    code = space.sae.encode(vectors)
    levels = space.calibration.levels(code.indices, code.values)
    n = space.n_features
    return np.stack([np.bincount(code.indices[levels >= level], minlength=n) for level in range(LEVELS)])


def _sampled(store: VectorStore) -> FloatArray:
    """Return the dense vectors of the first points by their ids, which are random."""
    found: list[FloatArray] = []
    for page in pages(store, None, PAGE, False, [DENSE]):
        found += [np.asarray(point.vectors[DENSE]) for point in page.points if DENSE in point.vectors]
        if len(found) >= MATCHED_RECORDS:
            break
    return np.stack(found) if found else np.zeros((0, store.layout.dense[DENSE]), np.float32)


def _commonest(
    store: VectorStore, old: FeatureSpace, new: FeatureSpace, translation: FeatureTranslation, count: int = 20
) -> tuple[tuple[str, int, str | None], ...]:
    """Return the trusted concepts that are typical in most points, and what becomes of them."""
    counts = dict(store.facet(CONCEPTS, None, LEVELS * old.n_features))
    typical = {
        feature: counts[code]
        for feature, label in enumerate(old.labels)
        if not label.is_weak and (code := feature * LEVEL_STRIDE + 1) in counts
    }
    found = sorted(typical, key=lambda feature: -typical[feature])[:count]
    after = {f: new.labels[translation.features[f]].text for f in found if f in translation.features}
    return tuple((old.labels[f].text, typical[f], after.get(f)) for f in found)


def mark(store: VectorStore, manifest: Manifest, plan: PlannedUpgrade, folder: Path | None) -> Manifest:
    """Save the new space, what becomes of features, and the intention; return the marked manifest."""
    reference = SpaceReference.of(plan.new)
    if folder is not None:
        plan.new.save(folder / NEXT_SPACE)
        with replacing(folder / MAP_FILE) as draft:
            kept = plan.translation.to_json() | {"manual_labels": _manual_labels(plan.new)}
            draft.write_text(json.dumps(kept))
    upgrade = Upgrade(
        space=reference,
        profiles=plan.profiles,
        edits=plan.edits,
        former=manifest.space,
        former_calibration=manifest.calibration,
        former_profiles=manifest.profiles,
        former_edits=manifest.edits,
        report=plan.report.to_json(),
    )
    marked = manifest.model_copy(update={"upgrade": upgrade})
    store.write_manifest(marked.to_json())
    return marked


def mark_undo(
    store: VectorStore, manifest: Manifest, space: FeatureSpace, folder: Path | None, name: str
) -> Manifest:
    """Write that the former space is to be written again; MismatchError after points changed."""
    last = manifest.upgraded
    if last is None:
        raise InvalidInputError(
            f"undo the upgrade of index {name}", "it was not upgraded", "Nothing needs to be undone."
        )
    if last.revision != manifest.revision:
        raise MismatchError(
            f"undo the upgrade of index {name}",
            "its levels were measured anew since"
            if manifest.space != last.space
            else "its points changed since: records were added or deleted, or it was repaired",
            f"Upgrade it to the other space: `saeindex upgrade {name} --space {last.former.name}`.",
        )
    if folder is not None:
        with replacing_folder(folder / NEXT_SPACE) as target:
            shutil.copytree(folder / FORMER_SPACE, target, dirs_exist_ok=True)
    profiles, edits = _profiles_before(last, manifest)
    report = UpgradeReport(
        before=manifest.space.name,
        after=last.former.name,
        points=store.count(),
        changed=0,
        matched=0,
        lost=0,
        concepts=(),
        profiles={n: ({}, {f: space.labels[f].text for f in since}) for n, since in edits.items() if since},
        lost_labels=(*_labels_since(space, folder), *manifest.edits.names_not_in(last.edits)),
        is_undo=True,
    )
    back = Upgrade(
        space=last.former,
        calibration=last.former_calibration,
        profiles=profiles,
        edits=last.former_edits,
        former=manifest.space,
        is_undo=True,
        report=report.to_json(),
    )
    marked = manifest.model_copy(update={"upgrade": back})
    store.write_manifest(marked.to_json())
    return marked


def _profiles_before(
    last: Upgrade, manifest: Manifest
) -> tuple[dict[str, dict[str, Any]], dict[str, list[int]]]:
    """Return the profiles with their edits of before the upgrade, and the features edited since, by profile.

    A profile that was fitted since has no edits of before.
    """
    profiles: dict[str, dict[str, Any]] = {}
    since: dict[str, list[int]] = {}
    for name, kept in manifest.profiles.items():
        after = last.profiles.get(name)
        is_same = after is not None and after["unit"] == kept["unit"]
        edits = last.former_profiles[name]["edits"] if is_same else {}
        profiles[name] = {**kept, "edits": edits}
        carried = after["edits"] if after is not None and is_same else {}
        since[name] = [int(f) for f, weight in kept["edits"].items() if carried.get(f) != weight]
    return profiles, since


def _manual_labels(space: FeatureSpace) -> list[tuple[int, str]]:
    return [(i, label.text) for i, label in enumerate(space.labels) if label.method == MANUAL]


def _labels_since(space: FeatureSpace, folder: Path | None) -> tuple[str, ...]:
    """Return labels given by hand after the upgrade; an index on a server has none."""
    path = None if folder is None else folder / MAP_FILE
    if path is None or not path.is_file():
        return ()
    kept = {(i, text) for i, text in json.loads(path.read_text()).get("manual_labels", [])}
    return tuple(text for i, text in _manual_labels(space) if (i, text) not in kept)


def target_space(marked: Manifest, folder: Path | None, name: str) -> FeatureSpace:
    """Return the space that an interrupted upgrade was writing."""
    upgrade = marked.upgrade
    assert upgrade is not None  # noqa: S101
    place: str | Path = upgrade.space.name
    if folder is not None:
        place = folder / (NEXT_SPACE if (folder / NEXT_SPACE).is_dir() else SPACE_FOLDER)
    wanted = marked.model_copy(update={"space": upgrade.space, "calibration": upgrade.calibration})
    return wanted.with_own_levels(FeatureSpace.load(place), name)


def finished(
    store: VectorStore,
    marked: Manifest,
    new: FeatureSpace,
    folder: Path | None,
    on_points: Callable[[int], object] = lambda _: None,
) -> tuple[Manifest, int]:
    """Rewrite the points and settle; return the manifest and the number of changed points."""
    upgrade = marked.upgrade
    assert upgrade is not None  # noqa: S101
    changed = _rewrite(store, marked.fields, new, on_points)
    rewrite_levels(store, marked.fields, new.calibration)  # those of split records, and a check of all
    store.flush()
    if folder is not None:
        _swap(folder, new)
    settled = marked.renewed()
    settled = settled.model_copy(
        update={
            "space": upgrade.space,
            "calibration": upgrade.calibration,
            "profiles": upgrade.profiles,
            "names": None,
            "edits": upgrade.edits,
            "upgrade": None,
            "upgraded": None
            if upgrade.is_undo
            else upgrade.model_copy(update={"revision": settled.revision, "report": {}}),
        }
    )
    store.write_manifest(settled.to_json())
    if folder is not None and upgrade.is_undo:
        shutil.rmtree(folder / FORMER_SPACE, ignore_errors=True)
        (folder / MAP_FILE).unlink(missing_ok=True)
    return settled, changed


def _swap(folder: Path, new: FeatureSpace) -> None:
    """Make the next space the space of the index, and keep the former one; repeating it changes nothing."""
    current, after, former = (folder / name for name in (SPACE_FOLDER, NEXT_SPACE, FORMER_SPACE))
    if not after.is_dir():
        return
    if current.is_dir() and FeatureSpace.load(current).fingerprint != new.fingerprint:
        shutil.rmtree(former, ignore_errors=True)
        current.rename(former)
    else:
        shutil.rmtree(current, ignore_errors=True)
    after.rename(current)


def _rewrite(
    store: VectorStore, fields: Sequence[str], space: FeatureSpace, on_points: Callable[[int], object]
) -> int:
    """Give every point the codes of its dense vectors; return the number of changed points."""
    changed = 0
    for page in pages(store, None, PAGE, True, True):
        points = [new for point in page.points if (new := _recoded(point, fields, space)) is not None]
        store.upsert(points)
        changed += len(points)
        on_points(len(page.points))
    return changed


def _recoded(point: Point, fields: Sequence[str], space: FeatureSpace) -> Point | None:
    """Return a point with the codes of ``space``, None if it has them."""
    names = [name for name in ("", *fields) if suffixed(DENSE, name) in point.vectors]
    dense = np.stack([np.asarray(point.vectors[suffixed(DENSE, name)]) for name in names])
    coded = Coded(dense, space.sae.encode(dense), space.calibration)
    vectors: dict[str, Vector] = dict(point.vectors)
    payload = dict(point.payload)
    for row, name in enumerate(names):
        vectors |= coded.vectors_of(row, name)
        payload[suffixed(CONCEPTS, name)] = coded.concepts(row)
    is_same = payload == point.payload and all(
        _equal(point.vectors.get(suffixed(SAE, name)), vectors[suffixed(SAE, name)]) for name in names
    )
    return None if is_same else Point(point.id, vectors, payload)


def _equal(stored: Vector | None, wanted: Vector) -> bool:
    """Return whether a stored code is the wanted one; an empty one may not be stored."""
    assert isinstance(wanted, SparseVector)  # noqa: S101
    if not isinstance(stored, SparseVector):
        return not len(wanted.indices)
    return np.array_equal(stored.indices, wanted.indices) and np.allclose(
        stored.values, wanted.values, rtol=1e-4
    )
