"""Runs benchmark suites: `python -m benchmarks.run SUITE… [--quick] [--out DIR]`."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path

from benchmarks.outcome import Outcome

SUITES = (
    "indexing",
    "throughput",
    "scale",
    "fidelity",
    "labels",
    "families",
    "boolean",
    "explain",
    "property",
    "resolution",
    "steering",
    "latency",
    "diff",
    "correlate",
    "cluster",
    "drift",
    "calibration",
    "audit",
    "faults",
    "taxonomy",
    "recipes",
    "legibility",
    "screens",
    "mentions",
    "server",
    "rag",
    "words",
    "exclusions",
    "daily",
    "encoders",
)
RESULTS = Path(__file__).parent / "results"


def main() -> int:
    """Run the named suites; return 1 if a figure misses its goal."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("suites", nargs="+", choices=SUITES, metavar="SUITE", help=", ".join(SUITES))
    parser.add_argument(
        "--quick", action="store_true", help="a short run of a minute or two, to check that the suite works"
    )
    parser.add_argument("--out", type=Path, help="folder of the JSON (benchmarks/results unless --quick)")
    arguments = parser.parse_args()
    is_met = True
    for name in arguments.suites:
        outcome: Outcome = import_module(f"benchmarks.suites.{name}").run(arguments.quick)
        outcome.show()
        if arguments.out or not arguments.quick:
            print(outcome.save(arguments.out or RESULTS))
        is_met &= all(figure.holds is not False for figure in outcome.figures.values())
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main())
