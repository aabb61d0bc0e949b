"""Nothing sharp: random conditions are answered or refused, and damage to an artefact is seen."""

from benchmarks.suites.faults.suite import run

__all__ = ["run"]
