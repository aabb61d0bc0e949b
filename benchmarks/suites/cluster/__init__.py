"""Clusters along an axis: agreement with known values, leakage onto other axes, predicted failure."""

from benchmarks.suites.cluster.suite import run as run
