"""Every finding that an analysis prints, checked by permutations of whole units."""

from benchmarks.suites.audit.suite import run as run
