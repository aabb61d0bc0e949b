"""Fakes and conformance suites for what stands below the seams; the suites need pytest."""

from saeindex.testing.reference_store import ReferenceStore

__all__ = ["ReferenceStore"]
