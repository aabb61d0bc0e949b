"""The feature space: encoder identity, autoencoder, calibration and labels in one directory."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from saeindex.config import FORMAT_VERSION
from saeindex.encoders import open_encoder
from saeindex.errors import InvalidInputError, MismatchError, NotFoundError, UnknownConceptError
from saeindex.features.calibration import Calibration
from saeindex.features.families import Family, find_families, load_families, save_families
from saeindex.features.labels import FeatureLabel, trust_scores
from saeindex.features.lexical import lexical_labels
from saeindex.protocols import EncoderIdentity, TextEncoder
from saeindex.sae.metrics import fidelity
from saeindex.sae.model import SparseAutoencoder
from saeindex.sae.train import TrainingConfig, suitable_steps, train

if TYPE_CHECKING:
    from saeindex.types import FloatArray

HELD_OUT_SHARE = 0.1
LABELLED_SHARE = 0.7


@dataclass(frozen=True, eq=False)
class FeatureSpace:
    """A lens: how texts become features, and what the features mean.

    ``labels[i]`` names feature i, ``label_vectors`` (n, d) are the labels' embeddings, ``report`` holds what
    was measured on held-out texts. Saved as safetensors and JSON; never pickled.
    """

    name: str
    encoder: EncoderIdentity
    sae: SparseAutoencoder
    calibration: Calibration
    labels: tuple[FeatureLabel, ...]
    label_vectors: FloatArray
    report: dict[str, Any]
    families: tuple[Family, ...] = ()

    @cached_property
    def fingerprint(self) -> str:
        """The hash of everything that changes activations or levels (labels do not)."""
        # Nor do families: they group features for a query, and nothing that an index keeps depends on them.
        parts = [FORMAT_VERSION, self.encoder.signature(), self.sae.digest(), self.calibration.digest()]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    @property
    def n_features(self) -> int:
        """Number of features."""
        return self.sae.n_features

    def label(self, feature: int) -> FeatureLabel:
        """Return a feature's label; UnknownConceptError outside 0 … n - 1."""
        if not 0 <= feature < self.n_features:
            raise UnknownConceptError(
                f"feature #{feature}",
                f"space {self.name!r} has features #0 to #{self.n_features - 1}",
                "Run `saeindex features INDEX PHRASE` to find one.",
            )
        return self.labels[feature]

    def open_encoder(self, **options: Any) -> TextEncoder:
        """Open the encoder that this space was fitted on; MismatchError where the weights differ."""
        wanted = self.encoder
        prefix = "openai:" if wanted.kind == "openai" else ""
        encoder = open_encoder(
            prefix + wanted.model,
            max_length=wanted.max_length,
            query_prompt=wanted.query_prompt,
            document_prompt=wanted.document_prompt,
            **options,
        )
        self.check_encoder(encoder)
        return encoder

    def check_encoder(self, encoder: TextEncoder) -> None:
        """Raise MismatchError unless ``encoder`` makes the vectors that this space was fitted on."""
        differing = self.encoder.differences(encoder.identity)
        if differing:
            raise MismatchError(
                f"space {self.name!r} with encoder {encoder.identity.model!r}",
                "; ".join(
                    f"{key}: the space has {wanted!r}, the encoder {found!r}"
                    for key, (wanted, found) in differing.items()
                ),
                "Use the space's own encoder, or fit a space on this one.",
            )

    @classmethod
    def fit(
        cls,
        texts: Sequence[str],
        *,
        n_features: int = 4_096,
        k: int = 32,
        encoder: TextEncoder | None = None,
        embeddings: FloatArray | None = None,
        config: TrainingConfig | None = None,
        name: str = "fitted",
        progress: Callable[[int, float], None] | None = None,
    ) -> FeatureSpace:
        """Fit a space on ``texts``: train, calibrate, label, and measure on a held-out tenth.

        ``embeddings`` (m, d) spares the encoding where they are at hand; ``config`` overrides
        ``n_features`` and ``k``.
        """
        encoder = encoder or open_encoder()
        x = encoder.encode_document(texts) if embeddings is None else embeddings
        if x.shape != (len(texts), encoder.identity.dimension):
            raise InvalidInputError(
                f"fit on {len(texts)} texts", f"embeddings of shape {x.shape}", "Give one row for each text."
            )
        config = config or TrainingConfig(n_features=n_features, k=k, steps=suitable_steps(len(x)))
        order = np.random.default_rng(config.seed).permutation(len(x))
        held, kept = np.split(order, [int(len(x) * HELD_OUT_SHARE)])
        sae = train(x[kept], config, progress)
        report = {"training": asdict(config), "texts": len(kept), "held_out_texts": len(held)}
        report["held_out"] = fidelity(sae.half(), x[held], x[kept].mean(0)) if len(held) else {}
        return cls.annotate(sae, texts, x, encoder, name=name, report=report, seed=config.seed)

    @classmethod
    def annotate(
        cls,
        sae: SparseAutoencoder,
        texts: Sequence[str],
        x: FloatArray,
        encoder: TextEncoder,
        *,
        name: str,
        report: dict[str, Any],
        seed: int = 0,
    ) -> FeatureSpace:
        """Make a space of a trained autoencoder: calibrate and label it on texts and their embeddings.

        Labels are made on 70 % of the texts, and their trust is measured on the others.
        """
        sae = sae.half()  # what a save keeps: calibrate what will be used
        code = sae.encode(x)
        calibration = Calibration.measure(code)
        order = np.random.default_rng(seed).permutation(len(x))
        labelled, tested = np.split(order, [int(len(x) * LABELLED_SHARE)])
        words = [texts[i] for i in labelled]
        phrases = lexical_labels(
            words, x[labelled], code.take(labelled), calibration, encoder.encode_query, seed
        )
        label_vectors = encoder.encode_query(phrases).astype(np.float16).astype(np.float32)
        trust = trust_scores(label_vectors, x[tested], code.take(tested), calibration, seed)
        labels = tuple(FeatureLabel(p, "lexical", t) for p, t in zip(phrases, trust, strict=True))
        families = find_families(code, labels)
        return cls(name, encoder.identity, sae, calibration, labels, label_vectors, report, families)

    def save(self, path: str | Path) -> Path:
        """Write the directory under a temporary name, then rename it over ``path``."""
        from safetensors.numpy import save_file

        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        building = target.with_name(f".{target.name}.draft")
        shutil.rmtree(building, ignore_errors=True)  # what an interrupted save left
        building.mkdir()
        described = {
            "format_version": FORMAT_VERSION,
            "name": self.name,
            "fingerprint": self.fingerprint,
            "encoder": asdict(self.encoder),
            "n_features": self.n_features,
            "k": self.sae.k,
            "report": self.report,
        }
        (building / "space.json").write_text(json.dumps(described, indent=2) + "\n")
        self.sae.save(building / "sae.safetensors")
        self.calibration.save(building / "calibration.safetensors")
        save_file({"label_vectors": self.label_vectors.astype(np.float16)}, building / "labels.safetensors")
        lines = [json.dumps({"id": i, **label.to_json()}) for i, label in enumerate(self.labels)]
        (building / "labels.jsonl").write_text("\n".join(lines) + "\n")
        save_families(self.families, building / "families.json")
        for file in building.iterdir():
            file.chmod(0o644)  # safetensors writes for the owner alone; a package is read by others
        _swap(building, target)
        return target

    @classmethod
    def load(cls, name_or_path: str | Path) -> FeatureSpace:
        """Load a space that comes with the package, by name, or one from a directory."""
        from safetensors import SafetensorError

        folder = find_space(name_or_path)
        try:
            return cls._read(folder)
        except (SafetensorError, OSError, KeyError, TypeError, AttributeError, ValueError) as error:
            raise MismatchError(
                f"feature space {folder}",
                f"its files are damaged or missing ({type(error).__name__}: {error})",
                "Restore the directory from where it came, or fit the space again.",
            ) from error

    @classmethod
    def _read(cls, folder: Path) -> FeatureSpace:
        from safetensors.numpy import load_file

        described = json.loads((folder / "space.json").read_text())
        if described.get("format_version") != FORMAT_VERSION:
            raise MismatchError(
                f"feature space {folder}",
                f"format version {described.get('format_version')}, this saeindex reads {FORMAT_VERSION}",
                "Install the saeindex version that wrote it, or fit it again.",
            )
        entries = [json.loads(line) for line in (folder / "labels.jsonl").read_text().splitlines()]
        if [entry["id"] for entry in entries] != list(range(len(entries))):
            raise ValueError("labels.jsonl is not in the order of the features")
        space = cls(
            name=described["name"],
            encoder=EncoderIdentity(**described["encoder"]),
            sae=SparseAutoencoder.load(folder / "sae.safetensors"),
            calibration=Calibration.load(folder / "calibration.safetensors"),
            labels=tuple(FeatureLabel.from_json(entry) for entry in entries),
            label_vectors=load_file(folder / "labels.safetensors")["label_vectors"].astype(np.float32),
            report=described["report"],
            families=load_families(folder / "families.json", len(entries)),
        )
        space._check_loaded(folder, described["fingerprint"])
        return space

    def push_to_hub(self, repo_id: str, **options: Any) -> str:
        """Upload with a model card; see :func:`saeindex.features.hub.push_to_hub`."""
        from saeindex.features.hub import push_to_hub

        return push_to_hub(self, repo_id, **options)

    @classmethod
    def from_pretrained(cls, name_or_path: str | Path, **options: Any) -> FeatureSpace:
        """Load a folder, a packaged space or a hub repository."""
        from saeindex.features.hub import from_pretrained

        return from_pretrained(name_or_path, **options)

    def _check_loaded(self, folder: Path, fingerprint: str) -> None:
        sizes = {len(self.labels), len(self.label_vectors), len(self.calibration.median), self.n_features}
        if len(sizes) > 1 or self.fingerprint != fingerprint:
            raise MismatchError(
                f"feature space {folder}",
                "its files do not belong together (sizes or fingerprint differ)",
                "Restore the directory from where it came, or fit the space again.",
            )


def find_space(name_or_path: str | Path) -> Path:
    """Return the folder of a packaged space or of a path; NotFoundError lists the packaged ones."""
    folder = Path(name_or_path)
    if (folder / "space.json").is_file():
        return folder
    packaged = Path(str(resources.files("saeindex"))) / "spaces"
    names = sorted(path.parent.name for path in packaged.glob("*/space.json"))
    if str(name_or_path) in names:
        return packaged / str(name_or_path)
    raise NotFoundError(
        f"feature space {str(name_or_path)!r}",
        "neither a directory with space.json nor a packaged space",
        f"Packaged: {', '.join(names) or 'none'}.",
    )


def _swap(building: Path, target: Path) -> None:
    """Put ``building`` in the place of ``target``; where that fails, ``target`` is as it was."""
    if not target.exists():
        building.rename(target)
        return
    old = target.with_name(f".{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    target.rename(old)
    try:
        building.rename(target)
    except OSError:
        old.rename(target)
        raise
    shutil.rmtree(old)
