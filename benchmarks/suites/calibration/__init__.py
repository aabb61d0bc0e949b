"""Calibration: how often each p-value of the product finds something where there is nothing."""

from benchmarks.suites.calibration.suite import run as run
