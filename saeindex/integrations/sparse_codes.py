"""Sparse codes of texts, for stores of other frameworks that keep sparse vectors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from saeindex.config import DEFAULT_SPACE
from saeindex.features import FeatureSpace

if TYPE_CHECKING:
    from saeindex.protocols import TextEncoder
    from saeindex.types import SparseCode


class SparseCodes:
    """The codes of a space: the index of a number is that of a feature."""

    def __init__(
        self, space: FeatureSpace | str | Path = DEFAULT_SPACE, encoder: TextEncoder | None = None
    ) -> None:
        """MismatchError if ``encoder`` is not that of the space."""
        self.space = space if isinstance(space, FeatureSpace) else FeatureSpace.load(space)
        if encoder is not None:
            self.space.check_encoder(encoder)
        self._encoder = self.space.open_encoder() if encoder is None else encoder

    def of_documents(self, texts: Sequence[str]) -> SparseCode:
        """Return the code of each text that is stored."""
        return self.space.sae.encode(self._encoder.encode_document(texts))

    def of_queries(self, texts: Sequence[str]) -> SparseCode:
        """Return the code of each query."""
        return self.space.sae.encode(self._encoder.encode_query(texts))
