"""What records say of named concepts: precision, recall and exclusions, as blind readers judge."""

from benchmarks.suites.mentions.suite import run as run
