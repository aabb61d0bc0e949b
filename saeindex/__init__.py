"""Legible, steerable retrieval on Qdrant: sparse-autoencoder concepts beside every dense vector."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from saeindex._version import __version__

if TYPE_CHECKING:
    from saeindex.aio import AsyncFeatureIndex
    from saeindex.client import AsyncClient, Client
    from saeindex.collection.backup import restore_index
    from saeindex.encoders import open_encoder
    from saeindex.encoders.causal import CausalReader
    from saeindex.features import FeatureSpace
    from saeindex.features.reader_fitting import fit_reader
    from saeindex.features.reader_space import ReaderSpace
    from saeindex.index import FeatureIndex
    from saeindex.indexing.copy import CopyReport
    from saeindex.indexing.create_open import drop_index
    from saeindex.indexing.sources.columns import Columns
    from saeindex.operations.copies import copy_index
    from saeindex.sae import SparseAutoencoder
    from saeindex.search.context import Context, Passage
    from saeindex.search.hits import Hit, Hits
    from saeindex.search.query import Boost, GroupBy, Property, Query, Steering, Where
    from saeindex.types import Record, Steer

__all__ = [
    "AsyncClient",
    "AsyncFeatureIndex",
    "Boost",
    "CausalReader",
    "Client",
    "Columns",
    "Context",
    "CopyReport",
    "FeatureIndex",
    "FeatureSpace",
    "GroupBy",
    "Hit",
    "Hits",
    "Passage",
    "Property",
    "Query",
    "ReaderSpace",
    "Record",
    "SparseAutoencoder",
    "Steer",
    "Steering",
    "Where",
    "__version__",
    "copy_index",
    "drop_index",
    "fit_reader",
    "open_encoder",
    "restore_index",
]

_HOME = {
    "AsyncClient": "saeindex.client",
    "Client": "saeindex.client",
    "AsyncFeatureIndex": "saeindex.aio",
    "Columns": "saeindex.indexing.sources.columns",
    "Context": "saeindex.search.context",
    "CopyReport": "saeindex.indexing.copy",
    "FeatureIndex": "saeindex.index",
    "FeatureSpace": "saeindex.features",
    "Hit": "saeindex.search.hits",
    "Hits": "saeindex.search.hits",
    "Passage": "saeindex.search.context",
    **dict.fromkeys(("Boost", "GroupBy", "Property", "Query", "Steering", "Where"), "saeindex.search.query"),
    "CausalReader": "saeindex.encoders.causal",
    "ReaderSpace": "saeindex.features.reader_space",
    "Record": "saeindex.types",
    "SparseAutoencoder": "saeindex.sae",
    "Steer": "saeindex.types",
    "copy_index": "saeindex.operations.copies",
    "drop_index": "saeindex.indexing.create_open",
    "fit_reader": "saeindex.features.reader_fitting",
    "restore_index": "saeindex.collection.backup",
    "open_encoder": "saeindex.encoders",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that ``import saeindex`` does not import torch."""
    if name not in _HOME:
        raise AttributeError(f"module 'saeindex' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    """List the public names, including names that were not imported yet."""
    return sorted(__all__)
