"""Drift: what is found where nothing drifts, of what rises or jumps, and of what is known to have changed."""

from benchmarks.suites.drift.suite import run as run
