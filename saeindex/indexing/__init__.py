"""Indexing of records: sources, passages, points, the pipeline and the manifest."""
