"""Stores of points: Qdrant Edge in a directory, or a Qdrant server or cluster."""

from saeindex.stores.open import create_store, open_store

__all__ = ["create_store", "open_store"]
