"""A server in a process of its own, over indexes of a folder."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import numpy as np

COMMAND = (sys.executable, "-m", "saeindex", "serve")


@dataclass(frozen=True, slots=True)
class Running:
    """A server that runs."""

    process: subprocess.Popen[bytes]
    client: httpx2.Client
    port: int

    def resident_mib(self) -> float:
        """Return the resident memory of the server's own process."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) / 1_024


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers to searches at a rate."""

    seconds: tuple[float, ...]
    statuses: dict[str, int]

    def p99_ms(self) -> float:
        """Return the 99th percentile of the answered."""
        return 1_000 * float(np.quantile(self.seconds, 0.99)) if self.seconds else float("inf")

    def unexpected(self) -> int:
        """Return the number of answers that are neither results nor a polite refusal."""
        return sum(count for status, count in self.statuses.items() if status not in ("200", "429", "503"))


@contextmanager
def serving(index: Path, state: Path) -> Iterator[Running]:
    """Serve an index until the end of the block, then kill the server."""
    log = state.with_suffix(".log")  # a pipe that nobody reads would fill, and stop the server
    with log.open("wb") as file:
        process = subprocess.Popen([*COMMAND, str(index), "--port", "0", "--state", str(state)], stderr=file)
    try:
        while "Listening on " not in (said := log.read_text()):
            if process.poll() is not None:
                raise RuntimeError(f"the server ended: {said[-2_000:]}")
            time.sleep(0.05)
        url = json.loads(next(line for line in said.splitlines() if "Listening on " in line))["url"]
        with httpx2.Client(base_url=url, timeout=60) as client:
            yield Running(process, client, int(url.rsplit(":", 1)[1]))
    finally:
        process.kill()
        process.wait()


def searched(
    server: Running, index: str, rate: float, seconds: float, seed: int, words: list[str]
) -> Answers:
    """Search at a rate for some seconds."""
    given = {
        "port": server.port,
        "index": index,
        "rate": rate,
        "seconds": seconds,
        "seed": seed,
        "words": words,
    }
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks.suites.server.calls"],
        input=json.dumps(given), capture_output=True, text=True, check=True,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(ran.stdout)
    return Answers(tuple(found["seconds"]), found["statuses"])
