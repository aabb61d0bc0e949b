"""Searches at a fixed rate, from a process of its own: `python -m benchmarks.suites.server.calls`.

Reads one JSON line (port, index, rate, seconds, seed, words) and prints one: the seconds from when each
search was due to its answer, and how many answers had which status. A search is due at a fixed time, whether
or not the ones before it were answered.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from typing import Any

import numpy as np

# Connections at most; a search for which none is free is counted as "no connection".
CONNECTIONS = 1_000


class Caller:
    """Searches one index over connections that are kept."""

    def __init__(self, given: dict[str, Any]) -> None:
        """Take what was read."""
        self._given, self._rng = given, np.random.default_rng(given["seed"])
        self._free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._opened = 0
        self.seconds: list[float] = []
        self.statuses: Counter[str] = Counter()

    async def run(self) -> None:
        """Send what is due until the time is over, and wait for the answers."""
        rate, count = self._given["rate"], round(self._given["rate"] * self._given["seconds"])
        started, tasks = time.perf_counter(), []
        for number in range(count):
            due = started + number / rate
            if (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            tasks.append(asyncio.create_task(self._search(due)))
        await asyncio.gather(*tasks)

    async def _search(self, due: float) -> None:
        if not self._free and self._opened >= CONNECTIONS:
            self.statuses["no connection"] += 1
            return
        try:
            reader, writer = self._free.pop() if self._free else await self._open()
            status = await self._asked(reader, writer)
        except (OSError, EOFError):
            self.statuses["broken"] += 1
            return
        self._free.append((reader, writer))
        self.statuses[status] += 1
        if status == "200":
            self.seconds.append(time.perf_counter() - due)

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        self._opened += 1
        return await asyncio.open_connection("127.0.0.1", self._given["port"])

    async def _asked(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        body = json.dumps({"text": self._query(), "limit": 10}).encode()
        path = f"/v1/indexes/{self._given['index']}/search"
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
        length = next(int(line.split(":")[1]) for line in lines if line.startswith("content-length"))
        await reader.readexactly(length)
        return lines[0].split()[1]

    def _query(self) -> str:
        words = self._given["words"]
        chosen = self._rng.integers(0, len(words), int(self._rng.integers(3, 10)))
        return " ".join(words[i] for i in chosen)


def main() -> None:
    """Read, search, print."""
    caller = Caller(json.loads(sys.stdin.readline()))
    asyncio.run(caller.run())
    print(json.dumps({"seconds": caller.seconds, "statuses": caller.statuses}))


if __name__ == "__main__":
    main()
