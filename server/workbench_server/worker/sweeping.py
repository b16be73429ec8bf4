"""What the worker looks for every few seconds: runs that fell silent, and ends nobody completed."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from workbench.errors import UsageError
from workbench_server.queries import queries

if TYPE_CHECKING:
    from workbench_server.worker.snapshot import Worker

_log = logging.getLogger("workbench.worker")

_LONGEST_S = 10 * 365 * 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """After how many seconds of silence a run is lost, and an end with a gap is incomplete."""

    lost_after_s: float = 60.0
    incomplete_after_s: float = 300.0

    @classmethod
    def from_environment(cls) -> Self:
        return cls(
            lost_after_s=seconds("WORKBENCH_LOST_AFTER_S", cls().lost_after_s),
            incomplete_after_s=seconds("WORKBENCH_INCOMPLETE_AFTER_S", cls().incomplete_after_s),
        )


def seconds(variable: str, usual: float) -> float:
    """Return the span of time that a variable says."""
    text = os.environ.get(variable) or f"{usual}"
    try:
        said = float(text)
    except ValueError:
        said = -1.0
    if not 0 < said <= _LONGEST_S:
        raise UsageError(
            f"{variable} is no span of time",
            expected=f"seconds, more than 0 and at most {_LONGEST_S:.0f}",
            found=text,
        )
    return said


def sweep(worker: Worker, deadlines: Deadlines) -> list[dict[str, Any]]:
    """Mark what is lost or incomplete in every workspace; return how those runs stand now."""
    spans = {
        "lost_after_s": deadlines.lost_after_s,
        "incomplete_after_s": deadlines.incomplete_after_s,
    }
    with worker.connect() as connection:
        swept = connection.execute(queries("worker")["sweep"], spans).fetchall()
    for run in swept:
        facts = {
            "workspace": str(run["workspace_id"]),
            "run_id": str(run["run_id"]),
            "status": run["status"],
            "health": run["health"],
        }
        _log.info("a run is %s, health %s", run["status"], run["health"], extra={"facts": facts})
    return swept
