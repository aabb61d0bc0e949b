"""How much the default space keeps of unseen texts, and our training beside saerch's on equal terms."""

from benchmarks.suites.fidelity.suite import run as run
