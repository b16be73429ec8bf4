"""What the web process counts, in Prometheus' form; it names no workspace and no run."""

from __future__ import annotations

import math
import platform
from functools import partial
from typing import TYPE_CHECKING

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

import workbench

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from workbench_server.database import Pool

MEDIA_TYPE = CONTENT_TYPE_PLAIN_0_0_4

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_EVENTS = (1, 10, 50, 100, 500, 1_000, 5_000, 10_000)


class Metrics:
    """The counters of one app; each has a registry of its own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._requests = Counter(
            "workbench_http_requests",
            "Requests answered.",
            ["method", "route", "status"],
            registry=registry,
        )
        self._seconds = Histogram(
            "workbench_http_request_seconds",
            "From a request's first byte to its answer's last; live streams are left out.",
            ["method", "route"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.in_flight = _gauge(registry, "http_requests_in_flight", "Requests being answered.")
        self.streams = _gauge(registry, "streams_open", "Live streams being followed.")
        self._problems = Counter(
            "workbench_problems", "Answers that were errors, by code.", ["code"], registry=registry
        )
        self._refused = Counter(
            "workbench_events_refused", "Events refused, by code.", ["code"], registry=registry
        )
        self._events = Counter("workbench_events_stored", "Events stored.", registry=registry)
        self._bytes = Counter(
            "workbench_bytes_stored", "Bytes of JSON stored: events and bodies.", registry=registry
        )
        self._batches = Histogram(
            "workbench_batch_events",
            "Events stored by one request.",
            buckets=_EVENTS,
            registry=registry,
        )
        self._behind = {
            "jobs_waiting": _gauge(registry, "jobs_waiting", "Jobs that no worker has begun."),
            "worker_seen_s": _gauge(
                registry, "worker_seen_seconds", "Since a worker was last heard of."
            ),
            "runs_due": _gauge(registry, "snapshot_runs_due", "Ended runs the lake lacks."),
            "oldest_due_s": _gauge(
                registry, "snapshot_lag_seconds", "How long the oldest of them has waited."
            ),
        }
        self._writing: set[UUID | str] = set()
        _gauge(
            registry, "workspaces_writing", "Workspaces that stored anything since the start."
        ).set_function(lambda: len(self._writing))
        self._say_build()

    def _say_build(self) -> None:
        names = ["version", "python"]
        build = Gauge("workbench_build_info", "What runs.", names, registry=self.registry)
        build.labels(workbench.__version__, platform.python_version()).set(1)

    def watch(self, pool: Pool) -> None:
        """Read the pool's numbers whenever somebody asks."""
        numbers = {
            "pool_connections": ("pool_size", "Connections to the database."),
            "pool_idle": ("pool_available", "Connections that nobody uses."),
            "pool_waiting": ("requests_waiting", "Requests that wait for a connection."),
        }
        for name, (key, text) in numbers.items():
            _gauge(self.registry, name, text).set_function(partial(_number, pool, key))

    def stored(self, workspace: UUID | str, events: int, bytes: int) -> None:  # noqa: A002 - its name
        """Count one committed batch."""
        self._events.inc(events)
        self._bytes.inc(bytes)
        self._batches.observe(events)
        self._writing.add(workspace)

    def refused(self, code: str) -> None:
        """Count one event that was not stored."""
        self._refused.labels(code).inc()

    def problem(self, code: str) -> None:
        """Count one answer that is an error."""
        self._problems.labels(code).inc()

    def answered(self, method: str, route: str, *, status: int, seconds: float | None) -> None:
        """Count one request; a stream has no time of its own."""
        self._requests.labels(method, route, str(status)).inc()
        if seconds is not None:
            self._seconds.labels(method, route).observe(seconds)

    def behind(self, backlog: Mapping[str, float | None] | None) -> None:
        """Note how far behind the worker is; what could not be asked is no number."""
        for name, gauge in self._behind.items():
            number = (backlog or {}).get(name)
            gauge.set(math.nan if number is None else number)

    def text(self) -> bytes:
        """Return everything as Prometheus reads it."""
        return generate_latest(self.registry)


def _gauge(registry: CollectorRegistry, name: str, text: str) -> Gauge:
    return Gauge(f"workbench_{name}", text, registry=registry)


def _number(pool: Pool, key: str) -> float:
    return float(pool.get_stats().get(key, 0))
