"""A feature space in sentence-transformers: its encoder, and after it its autoencoder, as a SparseEncoder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from sentence_transformers import SentenceTransformer, SparseEncoder
from sentence_transformers.base.modules.module import Module

from saeindex.config import DEFAULT_SPACE
from saeindex.encoders.sentence_transformers import find_model, place_of
from saeindex.errors import InvalidInputError, NotFoundError
from saeindex.features import FeatureSpace

if TYPE_CHECKING:
    from saeindex.sae.autoencoder import SparseAutoencoder


class SaeModule(Module):  # type: ignore[misc]
    """The module after those of an encoder: embeddings (m, d) become activations (m, n), mostly 0.

    They are those of ``space.encode`` in float32: an index stores the same, up to the rounding of its
    encoder, which may turn a weak feature into another. It is not trained; ``FeatureSpace.fit`` is for that.
    """

    forward_kwargs = {"max_active_dims"}  # noqa: RUF012  (as the class has it)

    def __init__(self, space: FeatureSpace) -> None:
        """``space`` has been fitted on the encoder before this."""
        super().__init__()
        self.space = space
        self._on: dict[str, SparseAutoencoder] = {"cpu": space.sae}

    def forward(
        self, features: dict[str, torch.Tensor], max_active_dims: int | None = None
    ) -> dict[str, torch.Tensor]:
        """Replace the embeddings by activations, of which ``max_active_dims`` are kept, the largest."""
        x = torch.nn.functional.normalize(features["sentence_embedding"].float(), dim=1)
        device = str(x.device)
        if device not in self._on:
            self._on[device] = self.space.sae.to(device)
        support, amplitudes = self._on[device].encode_dense(x)
        if max_active_dims is not None and max_active_dims < amplitudes.shape[1]:
            amplitudes, kept = amplitudes.topk(max_active_dims, dim=1)
            support = support.gather(1, kept)
        empty = torch.zeros(len(x), self.get_embedding_dimension(), device=x.device)
        features["sentence_embedding"] = empty.scatter(1, support, amplitudes)
        return features

    def get_embedding_dimension(self) -> int:
        """Return the number of features of the autoencoder, n."""
        return self.space.sae.n_features

    def save(self, output_path: str, *args: Any, safe_serialization: bool = True, **kwargs: Any) -> None:
        """Save the space in the folder; it is always safetensors and JSON."""
        self.space.save(output_path)

    @classmethod
    def load(cls, model_name_or_path: str, subfolder: str = "", **options: Any) -> Self:
        """Return the module that :meth:`save` wrote."""
        known = ("token", "cache_folder", "revision", "local_files_only")
        given = {name: options[name] for name in known if name in options}
        folder = cls.load_dir_path(model_name_or_path, subfolder, **given)
        if folder is None:
            found, do = "no such folder", "Save the model again."
            raise NotFoundError(f"the space in {model_name_or_path}/{subfolder}", found, do)
        return cls(FeatureSpace.load(folder))


class SaeSparseEncoder(SparseEncoder):  # type: ignore[misc]
    """A ``SparseEncoder`` whose dimensions are the features of a space: ``decode`` names concepts.

    ``SaeSparseEncoder.of(space)`` makes one, ``save`` writes it and ``SaeSparseEncoder(path)`` reads it.
    sentence-transformers' own evaluators take it. A plain ``SparseEncoder(path)`` reads it, too, where
    ``trust_remote_code=True`` allows it a class of this package; its ``decode`` knows no concepts.
    """

    @classmethod
    def of(cls, space: FeatureSpace | str | Path = DEFAULT_SPACE, device: str | None = None) -> Self:
        """Return the encoder of a space with its autoencoder; InvalidInputError if it is of another kind."""
        read = space if isinstance(space, FeatureSpace) else FeatureSpace.load(space)
        read.check_concepts("a SparseEncoder")
        own = read.encoder
        if own.kind != "sentence-transformers":
            do = "Use a space that was fitted on a model of sentence-transformers."
            raise InvalidInputError(f"the encoder of space {read.name!r}", f"it is of {own.kind}", do)
        folder, _ = find_model(place_of(own), None)
        before = SentenceTransformer(str(folder), device=device, truncate_dim=own.dimension)
        before.max_seq_length = own.max_length
        prompts = {"query": own.query_prompt, "document": own.document_prompt}
        return cls(modules=[*before, SaeModule(read)], device=device, prompts=prompts)

    def _load_module_class_from_ref(self, class_ref: str, *given: Any, **options: Any) -> Any:
        # sentence-transformers asks to trust the code of a class that is not its own; this one is ours.
        if class_ref == f"{SaeModule.__module__}.{SaeModule.__qualname__}":
            return SaeModule
        return super()._load_module_class_from_ref(class_ref, *given, **options)

    def decode(
        self, embeddings: torch.Tensor, top_k: int | None = None
    ) -> list[tuple[str, float]] | list[list[tuple[str, float]]]:
        """Return (concept, activation) of each feature of an embedding (n,), or of each of (m, n).

        The largest come first, ``top_k`` at most; a feature without a name is "#" and its number.
        """
        if top_k is not None and top_k < 1:
            raise InvalidInputError(f"top_k={top_k}", "out of range", "Use 1 or more, or leave it out.")
        if embeddings.ndim == 1:
            return self._decoded(embeddings, top_k)
        return [self._decoded(one, top_k) for one in embeddings]

    def _decoded(self, row: torch.Tensor, top_k: int | None) -> list[tuple[str, float]]:
        dense = row.to_dense()
        active = dense.nonzero().flatten()
        order = dense[active].argsort(descending=True)[:top_k]
        (space,) = (one.space for one in self if isinstance(one, SaeModule))
        return [
            (space.labels[one].text if space.is_named[one] else f"#{one}", float(dense[one]))
            for one in active[order].tolist()
        ]
