"""Can a person read the features? Detection by a blind reader, conceptuality, spelling and coverage."""

from benchmarks.suites.legibility.suite import run as run
