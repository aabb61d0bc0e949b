"""Fakes and conformance suites for stores, encoders, labelers and sources; the suites need pytest."""

from saeindex.testing.reference_store import ReferenceStore

__all__ = ["ReferenceStore"]
