"""Property retrieval: 199 fixed descriptions on the ``test`` parts of 14 corpora; few-shot too."""

from benchmarks.suites.property.suite import run as run
