"""Measurements for Prometheus: requests, the encoder, the engine, what waits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """The measurements of one server."""

    def __init__(self) -> None:
        """Begin at zero."""
        self.registry = CollectorRegistry()
        own: dict[str, Any] = {"registry": self.registry, "namespace": "saeindex"}
        self._requests = Counter("requests", "Answered requests", ["method", "route", "status"], **own)
        self._seconds = Histogram(
            "request_seconds", "Seconds of a request", ["method", "route"], buckets=SECONDS, **own
        )
        self._shed = Counter("requests_shed", "Requests that were refused because too many waited", **own)
        self._batch = Histogram("encoder_batch", "Queries encoded together", buckets=SIZES, **own)
        self._encoding = Histogram("encoder_seconds", "Seconds of a batch", buckets=SECONDS, **own)
        self._stages = Histogram(
            "stage_seconds", "Seconds of a search's stage", ["stage"], buckets=SECONDS, **own
        )
        self._running = Gauge("requests_running", "Requests that are computed or wait", **own)
        self._encoder_waiting = Gauge("encoder_waiting", "Requests that wait for the encoder", **own)
        self._jobs = Gauge("jobs_waiting", "Jobs that wait or run", **own)
        self._deaths = Gauge("engine_deaths", "Engines that died since the start", ["index"], **own)

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(method, route, status).inc()
        self._seconds.labels(method, route).observe(seconds)

    def shed(self) -> None:
        """Count a request that was refused because too many wait."""
        self._shed.inc()

    def batch(self, size: int, seconds: float) -> None:
        """Count a batch of the encoder."""
        self._batch.observe(size)
        self._encoding.observe(seconds)

    def stages(self, timings_ms: Mapping[str, float]) -> None:
        """Count the stages of a search."""
        for stage, ms in timings_ms.items():
            self._stages.labels(stage).observe(ms / 1_000)

    def page(self, running: int, encoding: int, jobs: int, deaths: Mapping[str, int]) -> bytes:
        """Return all of them in Prometheus' text format, with what runs and waits at the moment."""
        self._running.set(running)
        self._encoder_waiting.set(encoding)
        self._jobs.set(jobs)
        for index, died in deaths.items():
            self._deaths.labels(index).set(died)
        return generate_latest(self.registry)
