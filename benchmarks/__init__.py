"""Benchmarks: `python -m benchmarks.run SUITE…`; results are committed under `benchmarks/results`."""
