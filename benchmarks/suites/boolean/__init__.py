"""Random where expressions over real records on every engine, compared with brute force."""

from benchmarks.suites.boolean.suite import run as run
