"""A feature space on disk: one directory of safetensors and JSON, replaced as a whole."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from importlib import resources
from itertools import islice
from pathlib import Path
from typing import cast
from weakref import WeakKeyDictionary, WeakValueDictionary

import numpy as np

from saeindex import files
from saeindex.config import DEFAULT_SPACE, SPACE_FORMAT
from saeindex.encoders import open_encoder, opened_as
from saeindex.errors import MismatchError, NotFoundError
from saeindex.features.calibration import Calibration
from saeindex.features.evidence import Evidence
from saeindex.features.families import load_families, save_families
from saeindex.features.labels import FeatureLabel
from saeindex.features.space import Space, SpaceT
from saeindex.protocols import EncoderIdentity, TextEncoder
from saeindex.sae.autoencoder import SparseAutoencoder
from saeindex.schema import check_kind

# The indexes beside a new one that are looked at for files of the same space.
MOST_BESIDE = 100
# Exceptions from reading files that are missing, or not what was written.
DAMAGED = (OSError, KeyError, TypeError, AttributeError, ValueError, RecursionError)
# The spaces that are in use, by kind and by the checksums of their files: indexes of one space share it.
_IN_USE: WeakValueDictionary[tuple[object, ...], Space] = WeakValueDictionary()
# The folders of those that are there as they were written, and the checksums of their files.
_READ: WeakKeyDictionary[Space, tuple[Path, Mapping[str, int]]] = WeakKeyDictionary()


def save_space(space: Space, target: Path, is_own: bool = False) -> Path:
    """Write the directory under a temporary name, then rename it over ``target``.

    The terms of a collection stay in its index, and a reader is saved by itself. An index's own copy
    (``is_own``) has the same files as the space that was read, so that indexes of one space share it in
    memory; on disk, those of one folder do.
    """
    space = space.with_reader(None)
    with files.replacing_folder(target, durable=True) as draft:
        if not (is_own and _copied(space, target, draft)):
            _write(space, draft)
        for file in draft.iterdir():
            if file.stat().st_nlink == 1:
                file.chmod(0o644)  # safetensors lets only the owner read; a packaged space is read by others
    return target


def _copied(space: Space, target: Path, draft: Path) -> bool:
    """Take the files that a space was read from; return whether they were still as they had been written.

    They are linked to those of an index beside this one, else copied: nobody edits an index's own copy.
    """
    if space not in _READ:
        return False
    folder, known = _READ[space]
    beside = islice(target.parent.parent.glob(f"*/{target.name}"), MOST_BESIDE)
    for place, is_beside in (*((one, True) for one in beside), (folder, False)):
        with suppress(OSError):
            for name, checksum in known.items():
                if is_beside:
                    os.link(place / name, draft / name)
                else:
                    shutil.copyfile(place / name, draft / name)
                if files.changed_files(draft, {name: checksum}):
                    break
            else:
                return True
        for file in draft.iterdir():
            file.unlink()
    return False


def _write(space: Space, draft: Path) -> None:
    from safetensors.numpy import save_file

    described = {
        "format_version": SPACE_FORMAT,
        "name": space.name,
        "fingerprint": space.fingerprint,
        "encoder": asdict(space.encoder),
        "n_features": space.n_features,
        "k": space.sae.k,
        "report": space.report,
        **{name: getattr(space, name) for name in space.SETTINGS},
    }
    space.sae.save(draft / "sae.safetensors")
    space.calibration.save(draft / "calibration.safetensors")
    save_file({"label_vectors": space.label_vectors.astype(np.float16)}, draft / "labels.safetensors")
    lines = [json.dumps({"id": i, **label.to_json()}) for i, label in enumerate(space.labels)]
    (draft / "labels.jsonl").write_text("\n".join(lines) + "\n")
    save_families(space.families, draft / "families.json")
    if space.evidence is not None:
        space.evidence.save(draft)
    described["files"] = files.checksums_of_files(draft, without="space.json")
    (draft / "space.json").write_text(json.dumps(files.with_checksum(described), indent=2) + "\n")


def load_space(name_or_path: str | Path, kind: type[SpaceT], is_own: bool = False) -> SpaceT:
    """Load a packaged space by name, or a directory; raise MismatchError if its files are damaged.

    A space that is in use is not loaded again. One that ``is_own``, an index's own copy, is edited by nobody:
    MismatchError unless its files are what was written.
    """
    from safetensors import SafetensorError

    folder = find_space(name_or_path)
    try:
        checksums = files.checksums_of_files(folder, without="")
        written = _written(folder)
        changed = [name for name, known in written.items() if checksums.get(name) != known]
        if is_own and changed:
            found = f"{changed[0]} is missing, or not what was written"
            raise MismatchError(f"feature space {folder}", found, "Restore the directory from its source.")
        key = (kind, *checksums.items())
        if (space := _IN_USE.get(key)) is None:
            space = _IN_USE[key] = _read(folder, kind, is_sound=is_own and bool(written))
            if written and not changed:
                _READ[space] = folder, {**written, "space.json": checksums["space.json"]}
        return cast(SpaceT, space)
    except (SafetensorError, *DAMAGED) as error:
        found = f"its files are damaged or missing ({type(error).__name__}: {error})"
        do = "Restore the directory from its source, or fit the space again."
        raise MismatchError(f"feature space {folder}", found, do) from error


def _written(folder: Path) -> Mapping[str, int]:
    """Return the checksums of a space's files as they were written; of none if those are damaged."""
    with suppress(*DAMAGED):
        described = json.loads((folder / "space.json").read_text())
        if files.without_checksum(described) is not None:
            return dict(described.get("files", {}))
    return {"space.json": -1}


def _read(folder: Path, kind: type[SpaceT], is_sound: bool) -> SpaceT:
    """Read a space; one ``is_sound``, an index's own copy as it was written, is not checked again."""
    from safetensors.numpy import load_file

    described = json.loads((folder / "space.json").read_text())
    if described.get("format_version") != SPACE_FORMAT:
        asked = f"feature space {folder}"
        found = f"format version {described.get('format_version')}, this saeindex reads {SPACE_FORMAT}"
        raise MismatchError(asked, found, "Install the saeindex version that wrote it, or fit it again.")
    if ("pool" in described) != ("pool" in kind.SETTINGS):
        found, do = f"it is no {kind.__name__}", "Give a reader as `reader`, and a space of texts as `space`."
        raise MismatchError(f"feature space {folder}", found, do)
    lines = (folder / "labels.jsonl").read_text("utf-8").strip().split("\n")
    entries = json.loads(f"[{','.join(lines)}]")
    if [entry["id"] for entry in entries] != list(range(len(entries))):
        raise ValueError("labels.jsonl is not in the order of the features")
    sae = SparseAutoencoder.load(folder / "sae.safetensors")
    space = kind(
        name=described["name"],
        encoder=EncoderIdentity(**described["encoder"]),
        sae=sae,
        calibration=Calibration.load(folder / "calibration.safetensors"),
        labels=tuple(FeatureLabel.from_json(entry) for entry in entries),
        label_vectors=load_file(folder / "labels.safetensors")["label_vectors"].astype(np.float32),
        report=described["report"],
        families=load_families(folder / "families.json", len(entries)),
        evidence=Evidence.load(folder),
        **{name: described[name] for name in kind.SETTINGS},
    )
    if is_sound:
        vars(space)["fingerprint"] = described["fingerprint"]
        return space
    beside = 0 if space.evidence is None else int((space.evidence.features >= sae.n_features).sum())
    parts = space.labels, space.label_vectors, space.calibration.median, range(sae.n_features + beside)
    if len({len(part) for part in parts}) > 1 or space.fingerprint != described["fingerprint"]:
        asked = f"feature space {folder}"
        found = "its files do not fit together (sizes or fingerprint differ)"
        raise MismatchError(asked, found, "Restore the directory from its source, or fit the space again.")
    return space


def place_for(encoder: EncoderIdentity, texts: str) -> Path:
    """Return where in the cache a space that is made for an encoder is to be; ``texts`` tells its texts."""
    return files.cache_folder() / "spaces" / f"{encoder.digest}-{texts}"


def space_for(encoder: TextEncoder | None) -> str | Path:
    """Return the default space, or for another encoder the latest that was made for it.

    MismatchError if none was.
    """
    if encoder is None or not hasattr(encoder, "identity"):
        return DEFAULT_SPACE
    identity = encoder.identity
    default = json.loads((find_space(DEFAULT_SPACE) / "space.json").read_text())["encoder"]
    if EncoderIdentity(**default).digest == identity.digest:
        return DEFAULT_SPACE
    if there := _made(f"{identity.digest}-*"):
        return there[0]
    asked, found = f"an index with encoder {identity.model!r:.80}", "no space was made for it"
    do = (
        "Make one, which takes minutes: `saeindex space make ENCODER`, or space=FeatureSpace.make(encoder). "
        "Without concepts, space=FeatureSpace.dense(encoder) searches by vectors and words, and filters."
    )
    raise MismatchError(asked, found, do)


def encoder_named(name: str) -> TextEncoder:
    """Open an encoder by its name; that of a service as the latest space was made for it, if one was.

    A space knows what a name does not say: prompts, kinds of input, lengths and dimensions.
    """
    for folder in _made("*") if name.startswith("openai:") else ():
        try:
            identity = EncoderIdentity(**json.loads((folder / "space.json").read_text())["encoder"])
        except DAMAGED:
            continue
        if identity.kind == "openai" and name == f"openai:{identity.model}":
            return opened_as(identity)
    return open_encoder(name)


def _made(names: str) -> list[Path]:
    """Return the folders of spaces in the cache with such names, the latest first."""
    found = (one.parent for one in (files.cache_folder() / "spaces").glob(f"{names}/space.json"))
    return sorted(found, key=lambda one: one.stat().st_mtime, reverse=True)


def find_space(name_or_path: str | Path) -> Path:
    """Return the folder of a packaged space or a path; NotFoundError lists the packaged spaces."""
    asked = f"feature space {name_or_path!r:.80}"
    check_kind(asked, name_or_path, (str, os.PathLike), "Give its name, or the path of its folder.")
    folder = Path(name_or_path)
    if (folder / "space.json").is_file():
        return folder
    if folder.name and (files.former(folder) / "space.json").is_file():
        return files.former(folder)  # a save was killed between its two renames
    packaged = Path(str(resources.files("saeindex"))) / "spaces"
    names = sorted(path.parent.name for path in packaged.glob("*/space.json"))
    if str(name_or_path) in names:
        return packaged / str(name_or_path)
    asked, do = f"feature space {str(name_or_path)!r}", f"Packaged: {', '.join(names) or 'none'}."
    raise NotFoundError(asked, "neither a directory with space.json nor a packaged space", do)
