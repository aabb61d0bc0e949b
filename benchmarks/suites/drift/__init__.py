"""Drift: findings where nothing drifts, where classes rise or jump, and where changes are known."""

from benchmarks.suites.drift.suite import run as run
