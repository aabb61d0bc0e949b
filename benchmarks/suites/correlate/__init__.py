"""Correlations: named and open pairs beside the labels' own, planted pairs by rank, triggers, cost."""

from benchmarks.suites.correlate.suite import run as run
