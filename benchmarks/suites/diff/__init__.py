"""Differences: what is found where there is nothing, and of what there is; how fast."""

from benchmarks.suites.diff.suite import run as run
