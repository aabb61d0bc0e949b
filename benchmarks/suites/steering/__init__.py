"""Steering: the gain (or loss) of a concept at a given loss of the topic, on ``test`` parts."""

from benchmarks.suites.steering.suite import run as run
