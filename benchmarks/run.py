"""Runs benchmark suites: `python -m benchmarks.run SUITE… [--quick] [--out DIR]`."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path

from benchmarks.outcome import Outcome

SUITES = (
    "indexing",
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
)
RESULTS = Path(__file__).parent / "results"


def main() -> int:
    """Run the suites named; exit 1 if a figure with a goal does not hold."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("suites", nargs="+", choices=SUITES, metavar="SUITE", help=", ".join(SUITES))
    parser.add_argument(
        "--quick", action="store_true", help="a minute or two: does it run, is the order right"
    )
    parser.add_argument("--out", type=Path, help="where the JSON goes (benchmarks/results unless --quick)")
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
