"""Spaces made for encoders beside the packaged one, on `test` parts; and reranking of MedQuAD's questions."""

from benchmarks.suites.encoders.suite import run as run
