"""Clusters along an axis: agreement with what was asked for, leakage onto other axes, failure foreseen."""

from benchmarks.suites.cluster.suite import run as run
