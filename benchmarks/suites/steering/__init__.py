"""Steering: how much of a concept a step brings (or takes) for how much of the topic, on ``test`` parts."""

from benchmarks.suites.steering.suite import run as run
