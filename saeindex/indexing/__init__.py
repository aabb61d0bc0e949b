"""Indexing of records: sources, splitting, points, the pipeline and the manifest."""
