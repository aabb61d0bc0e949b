"""Fidelity of the default space on unseen texts, and our training compared with saerch's on equal terms."""

from benchmarks.suites.fidelity.suite import run as run
