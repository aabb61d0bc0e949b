"""Stores of points: Qdrant Edge in a directory, or a Qdrant server or cluster."""

from saeindex.stores.edge import EdgeStore
from saeindex.stores.open import create_store, open_store
from saeindex.stores.qdrant import QdrantStore

__all__ = ["EdgeStore", "QdrantStore", "create_store", "open_store"]
