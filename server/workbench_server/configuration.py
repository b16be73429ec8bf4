"""What the service is told by its environment."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Self

from workbench.errors import UsageError
from workbench.settings import Settings

ROLES = ("workbench_app", "workbench_worker", "workbench_bench")


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """Addresses; secrets stay out of its repr."""

    database_url: str | None = field(repr=False)
    app_database_url: str | None = field(repr=False)
    worker_database_url: str | None = field(repr=False)
    bench_database_url: str | None = field(repr=False)
    storage_url: str | None

    @classmethod
    def from_environment(cls) -> Self:
        settings = Settings.from_environment()
        return cls(
            database_url=settings.database_url,
            app_database_url=settings.app_database_url,
            worker_database_url=os.environ.get("WORKBENCH_WORKER_DATABASE_URL") or None,
            bench_database_url=os.environ.get("WORKBENCH_BENCH_DATABASE_URL") or None,
            storage_url=settings.storage_url,
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
        return str(value)
