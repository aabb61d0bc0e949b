"""Correlations: named and open pairs compared with labels, ranks of planted pairs, triggers, cost."""

from benchmarks.suites.correlate.suite import run as run
