"""First screens: whether a stranger understands the names that results begin with, as blind readers judge."""

from benchmarks.suites.screens.suite import run as run
