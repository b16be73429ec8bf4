"""What the service is told by its environment."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import psycopg
from psycopg.conninfo import conninfo_to_dict

from workbench.errors import UsageError
from workbench.settings import Settings
from workbench_server.agents import Agent, registered

if TYPE_CHECKING:
    from collections.abc import Mapping

LOG_LEVELS = ("debug", "info", "warning", "error", "critical")
ROLES = ("workbench_app", "workbench_worker", "workbench_bench")

_LONGEST_DRAIN_S = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """Addresses; secrets stay out of its repr."""

    database_url: str | None = field(repr=False)
    app_database_url: str | None = field(repr=False)
    worker_database_url: str | None = field(repr=False)
    bench_database_url: str | None = field(repr=False)
    storage_url: str | None
    log_level: str = "info"
    drain_s: float = 0.0
    url: str | None = None
    agents: Mapping[str, Agent] = field(default_factory=dict)

    @classmethod
    def from_environment(cls) -> Self:
        settings = Settings.from_environment()
        return cls(
            database_url=settings.database_url,
            app_database_url=settings.app_database_url,
            worker_database_url=os.environ.get("WORKBENCH_WORKER_DATABASE_URL") or None,
            bench_database_url=os.environ.get("WORKBENCH_BENCH_DATABASE_URL") or None,
            storage_url=settings.storage_url,
            log_level=_log_level(),
            drain_s=_drain_s(),
            url=settings.url,
            agents=registered(),
        )

    def need(self, name: str) -> str:
        """Return a setting, or say which variable is missing."""
        value = getattr(self, name)
        if not value:
            variable = f"WORKBENCH_{name.upper()}"
            raise UsageError(
                f"{variable} is not set",
                hint=f"Set {variable}; `workbench up` sets it for the local stack.",
            )
        if name.endswith("database_url"):
            _check_address(f"WORKBENCH_{name.upper()}", value)
        return str(value)


def _check_address(variable: str, value: str) -> None:
    """Refuse what is no address of a database, without the words of the driver: it repeats it."""
    try:
        conninfo_to_dict(value)
    except psycopg.ProgrammingError:
        raise UsageError(
            f"{variable} is no address of a database",
            expected="postgresql://user:password@host:port/database",
        ) from None


def _log_level() -> str:
    level = (os.environ.get("WORKBENCH_LOG_LEVEL") or "info").lower()
    if level not in LOG_LEVELS:
        raise UsageError(
            "WORKBENCH_LOG_LEVEL is no level", expected=", ".join(LOG_LEVELS), found=level
        )
    return level


def _drain_s() -> float:
    """Return how long a stopping server still answers, so that a load balancer turns away first."""
    text = os.environ.get("WORKBENCH_DRAIN_S") or "0"
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= _LONGEST_DRAIN_S:
        raise UsageError(
            "WORKBENCH_DRAIN_S is no such time",
            expected=f"seconds from 0 to {_LONGEST_DRAIN_S:.0f}",
            found=text,
        )
    return seconds
