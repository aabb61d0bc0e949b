"""``FeatureSpace``: a space with the operations fit, annotate, relabel, save, load and share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from saeindex.config import DEFAULT_SPACE
from saeindex.encoders import open_encoder
from saeindex.errors import NotFoundError, StorageError
from saeindex.features.calibration import Calibration
from saeindex.features.families import find_families
from saeindex.features.hub import CARD, FILES, asked_of_hub, model_card
from saeindex.features.labels import HIDDEN, MANUAL, FeatureLabel
from saeindex.features.space import Space
from saeindex.features.space_io import find_space, load_space, save_space
from saeindex.protocols import TextEncoder
from saeindex.sae.autoencoder import SparseAutoencoder
from saeindex.sae.training_config import TrainingConfig, suitable_steps

if TYPE_CHECKING:
    from saeindex.features.anchors import Anchors
    from saeindex.features.evidence import Evidence, LogOdds
    from saeindex.features.labelers import Labeler
    from saeindex.features.taxonomy import Concepts, DefinedConcept
    from saeindex.sae.train import TrainingStatus
    from saeindex.types import FloatArray, Ints, Record


@dataclass(frozen=True, eq=False)
class FeatureSpace(Space):
    """Turns texts into features, and says what the features mean.

    ``labels[i]`` names feature i, ``label_vectors`` (n, d) are the labels' embeddings, ``report`` has the
    figures measured on held-out texts. Saved as safetensors and JSON; never pickled.
    """

    @classmethod
    def fit(  # noqa: PLR0913  (all but the texts have defaults)
        cls,
        texts: Sequence[str | Record],
        *,
        n_features: int = 4_096,
        k: int = 32,
        encoder: TextEncoder | None = None,
        embeddings: FloatArray | None = None,
        config: TrainingConfig | None = None,
        groups: Ints | None = None,
        views: Sequence[str] = ("whole",),
        concepts: Concepts | None = None,
        faithful: bool = False,
        labeler: Labeler | None = None,
        labels_from: Space | None = None,
        checkpoint: Path | None = None,
        name: str = "fitted",
        progress: Callable[[TrainingStatus], None] | None = None,
    ) -> Self:
        """Fit a space on ``texts``: train, calibrate, label, and measure it on held-out documents.

        ``embeddings`` (m, d) of the texts, if given, save the encoding. ``config`` overrides ``n_features``
        and ``k``. ``views`` trains on several views of a text, see :func:`draw_views`; if ``texts`` are
        views already, ``groups`` (m,) numbers their documents. ``faithful`` codes are more accurate and less
        stable. ``concepts`` become the first features, each by its name: a file, or a list, or a mapping of
        what :func:`read_taxonomy` reads. By default half of the features are the concepts of the default
        space that the texts speak of; an empty list leaves all features free. ``report["concepts"]`` says of
        each how well the encoder tells it apart from the others; one that is not expressed loses its name,
        one that the encoder reads as another is left out.
        ``labeler`` names the features (default: lexically); manual labels of an earlier space,
        ``labels_from``, move to the corresponding features. With a ``checkpoint`` file a killed training
        can be resumed.
        """
        from saeindex.features import fitting

        encoder = encoder or open_encoder()
        drawn, owners = fitting.draw_views(texts, views, config.seed if config else 0)
        groups = owners if groups is None else groups[owners]
        x = fitting.training_embeddings(drawn, encoder, embeddings)
        config = config or TrainingConfig(n_features=n_features, k=k, steps=suitable_steps(len(x)))
        anchors = cls._anchors(concepts, encoder, x, config)
        if anchors is not None:
            config = anchors.within(config)
        sae, report = fitting.train_and_measure(
            x,
            config,
            groups=groups,
            anchors=anchors,
            faithful=faithful,
            checkpoint=checkpoint,
            progress=progress,
        )
        if anchors is not None:
            report["concepts"] = anchors.report(sae)
        space = cls.annotate(
            sae,
            drawn,
            x,
            encoder,
            name=name,
            report=report,
            seed=config.seed,
            labeler=labeler,
            groups=groups,
            concepts=None if anchors is None else anchors.expressed(report["concepts"]),
            meant=None if anchors is None else anchors.meant,
        )
        if labels_from is None:
            return space
        from saeindex.features.space_map import carry_manual_labels
        from saeindex.sae.batches import sample

        return carry_manual_labels(labels_from, space, sample(x, fitting.MAPPED_TEXTS, config.seed))

    @classmethod
    def make(
        cls,
        encoder: TextEncoder,
        texts: Sequence[str | Record] = (),
        *,
        config: TrainingConfig | None = None,
        name: str | None = None,
        checkpoint: Path | None = None,
        progress: Callable[[TrainingStatus], None] | None = None,
    ) -> Self:
        """Make a space with the named concepts of the default space for another encoder.

        It has their names, definitions and words; directions, evidence and an autoencoder are the encoder's,
        made of texts that come with the package, and of ``texts``: some thousands, such as those of an index,
        make the autoencoder better at them. Embeddings are cached, and with a ``checkpoint`` file a killed
        training can be resumed. ``report["made"]`` has the AUROC of its evidence on judged pairs that it was
        not fitted on, beside that of the default space; and of 20 texts or more the nDCG@10 of a sentence of
        each that searches the rest of it, by the vectors of both encoders.
        """
        from saeindex.encoders.cache import CachedEncoder
        from saeindex.features.encoder_space import Material, made_space

        cached = encoder if isinstance(encoder, CachedEncoder) else CachedEncoder(encoder)
        return made_space(
            cls.annotate, cls.load(DEFAULT_SPACE), cached, Material.of(texts), config, name, checkpoint,
            progress=progress,
        )  # fmt: skip

    @classmethod
    def dense(cls, encoder: TextEncoder) -> Self:
        """Return a space without concepts: an index over it ranks by the vectors of ``encoder`` alone.

        :meth:`fit` on the texts and vectors of such an index makes a space with concepts, and
        :meth:`saeindex.FeatureIndex.copy` an index over that.
        """
        row = np.eye(1, encoder.identity.dimension, dtype=np.float32)
        # An autoencoder has a feature. The bias keeps this one from being active.
        never = -np.ones(1, np.float32)
        sae = SparseAutoencoder(np.zeros_like(row), never, row, np.zeros_like(row[0]), k=1)
        space = cls.unlabelled(sae, encoder.identity, name="dense", report={})
        return replace(space, labels=(FeatureLabel("no concept", "none", kind=HIDDEN),))

    @classmethod
    def _anchors(
        cls, concepts: Concepts | None, encoder: TextEncoder, x: FloatArray, config: TrainingConfig
    ) -> Anchors | None:
        """Return the anchors of the concepts, or by default of the vocabulary; None of an empty list."""
        from saeindex.features.anchors import Anchors
        from saeindex.features.taxonomy import read_taxonomy

        if concepts is None and config.takes_anchors:
            return Anchors.of_vocabulary(cls.load(DEFAULT_SPACE), encoder, x, config.n_features // 2)
        if concepts is None or (isinstance(concepts, Sequence | Mapping) and not concepts):
            return None
        return Anchors.of(read_taxonomy(concepts), encoder, x)

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
        labeler: Labeler | None = None,
        groups: Ints | None = None,
        concepts: Mapping[int, DefinedConcept] | None = None,
        meant: LogOdds | None = None,
    ) -> Self:
        """Make a space from a trained autoencoder: calibrate and label it on texts and their embeddings.

        ``labeler`` (default: lexical) makes the labels on 70 % of the texts, and their trust is measured on
        the others. ``groups`` (m,) numbers the document of each text: no document is on both sides.
        ``concepts``, by feature, are what features were made for: they are their labels, and ``meant`` is how
        likely a text means one of them. Of more than 300,000 texts a sample is used.
        """
        from saeindex.features.fitting import ANNOTATED_TEXTS
        from saeindex.features.labelers import CodedTexts
        from saeindex.features.labelling import labeling_task, labelled, named_by_concepts

        sae = sae.half()  # saved in half precision: calibrate the weights that will be used
        if len(x) > ANNOTATED_TEXTS:
            chosen = np.random.default_rng(seed).choice(len(x), ANNOTATED_TEXTS, replace=False)
            texts, x = [texts[i] for i in chosen], x[chosen]
            groups = None if groups is None else groups[chosen]
        code = sae.encode(x)
        bare = cls.unlabelled(sae, encoder.identity, name=name, report=report)
        bare = replace(bare, calibration=Calibration.measure(code, x))
        concepts = concepts or {}
        free = [feature for feature in range(bare.n_features) if feature not in concepts]
        task = labeling_task(bare, texts, x, encoder, features=free, groups=groups, seed=seed, code=code)
        space, _ = labelled(bare, task, labeler)
        if concepts:
            # A name that was given before is measured on all texts: it was made from none of them.
            space = named_by_concepts(space, replace(task, unseen=CodedTexts(texts, x, code)), concepts)
            space = replace(space, evidence=cls._evidence(space, concepts, meant))
        return replace(space, families=find_families(code, space.labels))

    @classmethod
    def _evidence(
        cls, space: Space, concepts: Mapping[int, DefinedConcept], meant: LogOdds | None
    ) -> Evidence | None:
        """Return what speaks for a space's concepts; None if its encoder is not that of the default space."""
        default, mean = cls.load(DEFAULT_SPACE), space.calibration.mean
        is_alike = default.encoder.signature() == space.encoder.signature()
        if default.evidence is None or mean is None or not is_alike:
            return None
        features = default.evidence.features.tolist()
        labels = [default.labels[feature] for feature in features]
        known = {
            (label.text.lower(), said): row
            for row, label in enumerate(labels)
            for said in ("", label.description)
        }
        return default.evidence.of_concepts(known, concepts, space.sae.directions, mean, meant)

    def with_labels(self, names: Mapping[int, str], encoder: TextEncoder | None = None) -> Self:
        """Return a space with manual labels, by feature: they are never weak, and every refit keeps them.

        ``encoder``, if given, is used instead of opening the space's own. Their trust is measured by
        :func:`saeindex.features.labelling.relabel`, which needs texts.
        """
        from saeindex.features.labelers import ManualLabeler
        from saeindex.features.labelling import with_phrases

        for feature in names:
            self.label(feature)
        checked = ManualLabeler(names).names
        if not checked:
            return self
        return with_phrases(self, checked, MANUAL, (encoder or self.open_encoder()).encode_query)

    def save(self, path: str | Path) -> Path:
        """Write the directory under a temporary name, then rename it over ``path``."""
        return save_space(self, Path(path))

    @classmethod
    def load(cls, name_or_path: str | Path) -> Self:
        """Load a space that comes with the package, by name, or one from a directory."""
        return load_space(name_or_path, cls)

    def push_to_hub(
        self, repo_id: str, *, private: bool = False, token: str | None = None, **options: Any
    ) -> str:
        """Upload the space with its model card to ``repo_id`` as one commit; return the commit's address.

        The repository is created if there is none. ``token`` defaults to that of huggingface_hub; ``options``
        are those of its ``upload_folder``, such as ``revision``. Raises InvalidInputError for an invalid
        name, StorageError where the hub refuses.
        """
        from huggingface_hub import HfApi

        api = HfApi(token=token)

        def upload() -> str:
            with TemporaryDirectory() as scratch:
                folder = self.save(Path(scratch) / "space")
                (folder / CARD).write_text(model_card(self, repo_id))
                api.create_repo(repo_id, private=private, repo_type="model", exist_ok=True)
                commit = api.upload_folder(
                    repo_id=repo_id,
                    folder_path=folder,
                    repo_type="model",
                    allow_patterns=list(FILES),
                    **{"commit_message": f"Feature space {self.name}", **options},
                )
            return str(commit.commit_url)

        do = "Check the name, the token's rights and the network."
        return asked_of_hub(upload, f"push to {repo_id!r}", StorageError, do)

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        **options: Any,
    ) -> Self:
        """Load a space from a folder, from the package by name, or from a repository of the hub.

        ``options`` are those of huggingface_hub's ``snapshot_download``, such as ``cache_dir``. Raises
        NotFoundError where there is no such folder or repository, MismatchError for files that are damaged or
        do not fit together.
        """
        if revision is None:
            try:
                return load_space(find_space(name_or_path), cls)
            except NotFoundError:
                if Path(name_or_path).is_dir() or "/" not in str(name_or_path):
                    raise
        import huggingface_hub

        asked, do = f"feature space {str(name_or_path)!r}", "Give a folder with space.json, or USER/NAME."
        download = partial(
            huggingface_hub.snapshot_download,
            str(name_or_path),
            repo_type="model",
            revision=revision,
            token=token,
            allow_patterns=list(FILES),
            **options,
        )
        folder = asked_of_hub(download, asked, NotFoundError, do)
        if not (Path(folder) / "space.json").is_file():
            raise NotFoundError(asked, "a repository without space.json", do)
        return load_space(folder, cls)
