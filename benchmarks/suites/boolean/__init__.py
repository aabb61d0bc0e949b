"""Where expressions on every engine: random ones over real records, each result set against brute force."""

from benchmarks.suites.boolean.suite import run as run
