"""The outcome of a suite: figures against goals, printed as a table and written as JSON."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

PACKAGES = ("saeindex", "torch", "numpy", "qdrant-client", "qdrant-edge-py", "sentence-transformers")


@dataclass(frozen=True, slots=True)
class Figure:
    """A number, its goal (None if it is only informative), and the number of measured items."""

    value: float
    unit: str
    goal: str | None = None
    holds: bool | None = None
    n: int | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """The figures of one run of a suite."""

    suite: str
    quick: bool
    seed: int = 0
    figures: dict[str, Figure] = field(default_factory=dict)
    tables: dict[str, Any] = field(default_factory=dict)

    def show(self) -> None:
        """Print the figures."""
        table = Table("figure", "value", "unit", "goal", "holds", "n", title=self.suite, box=None)
        for name, figure in self.figures.items():
            holds = {None: "", True: "yes", False: "NO"}[figure.holds]
            n = "" if figure.n is None else f"{figure.n:,}"
            table.add_row(name, f"{figure.value:.4g}", figure.unit, figure.goal or "", holds, n)
        Console(width=110).print(table)

    def save(self, folder: Path) -> Path:
        """Write ``SUITE.json``."""
        folder.mkdir(parents=True, exist_ok=True)
        described = {
            "suite": self.suite,
            "command": f"python -m benchmarks.run {self.suite}{' --quick' if self.quick else ''}",
            "date": datetime.now(UTC).date().isoformat(),
            "seed": self.seed,
            "machine": _machine(),
            "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
            "quick": self.quick,
            "figures": {name: asdict(figure) for name, figure in self.figures.items()},
            "tables": self.tables,
        }
        path = folder / f"{self.suite}.json"
        path.write_text(json.dumps(described, indent=2) + "\n")
        return path


def at_most(value: float, goal: float, unit: str, n: int | None = None) -> Figure:
    """Return a figure that meets its goal if it is at most ``goal``."""
    return Figure(value, unit, f"<= {goal:g}", value <= goal, n)


def at_least(value: float, goal: float, unit: str, n: int | None = None) -> Figure:
    """Return a figure that meets its goal if it is at least ``goal``."""
    return Figure(value, unit, f">= {goal:g}", value >= goal, n)


def _machine() -> dict[str, Any]:
    import psutil

    cpuinfo = Path("/proc/cpuinfo")
    names = (
        [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        if cpuinfo.is_file()
        else []
    )
    return {
        "processor": names[0].partition(":")[2].strip() if names else platform.processor(),
        "cores": psutil.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "system": platform.system(),
    }
