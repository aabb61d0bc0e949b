"""Getting records in: sources, passages, points, the pipeline and the manifest."""
