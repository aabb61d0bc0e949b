"""Differences: false findings, power on planted and real differences, and speed."""

from benchmarks.suites.diff.suite import run as run
