"""Replays that a server's workers play: asked for, watched, cancelled."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from workbench.errors import NotReplayable, Unavailable, WorkbenchError
from workbench.store import manage

if TYPE_CHECKING:
    from collections.abc import Callable

    from workbench.store.run import Run
    from workbench.store.wire import Wire

_OVER = ("done", "failed", "cancelled")
_LOOK_S = 0.2
_LONGEST_LOOK_S = 2.0


class Replays:
    """The replays of a workspace, each as the row that ``GET /v1/replays/{job_id}`` answers.

    ``status`` is ``queued running done failed cancelled``, ``progress`` says how many calls are
    ``done`` of the ``total``, ``run_id`` is the run that is made, ``asked`` what was asked for.
    """

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def agents(self) -> list[dict[str, Any]]:
        """Return the registered agents: ``name``, and whether they may call outside (``live``)."""
        return list(self._wire.get_json("/v1/agents")["agents"])

    def submit(self, run: Run | str, *, key: str | None = None, **options: Any) -> dict[str, Any]:
        """Ask for a replay of a run, and return its row; it is not waited for.

        Parameters
        ----------
        run
            The recorded run, or its id.
        key
            A name of your own: the same again finds the same replay. By default each is a new one.
        options
            ``agent``, a registered name (default: the run's own agent), and, as `workbench.replay`
            takes them, ``mode overrides on_miss budget collect order``.

        Raises
        ------
        RunNotFound
            The workspace has no such run.
        UsageError
            No agent of this name is registered, or it may not be replayed so.
        Conflict
            Something else was asked by this key.
        """
        run_id = run if isinstance(run, str) else run.run_id
        body = {"run_id": run_id, "key": key, **options}
        said = {name: value for name, value in body.items() if value is not None}
        return self._wire.send_json("POST", "/v1/replays", said)

    def get(self, job_id: str) -> dict[str, Any]:
        """Return how a replay stands."""
        return self._wire.get_json(f"/v1/replays/{quote(job_id)}")

    def list(
        self, *, run_id: str | None = None, status: str | None = None, limit: int | None = None
    ) -> list[dict[str, Any]]:
        """Return replays, newest first: of one run, or of one status."""
        query = {"run_id": run_id, "status": status}
        return [*manage.pages(self._wire, "replays", query, limit)]

    def cancel(self, job_id: str) -> dict[str, Any]:
        """Ask for the end of a replay, and return its row.

        Raises
        ------
        Conflict
            It is over.
        """
        return self._wire.send_json("POST", f"/v1/replays/{quote(job_id)}/cancel", {})

    def wait(
        self,
        job_id: str,
        *,
        timeout: float | None = None,
        progress: Callable[[int, int], object] | None = None,
    ) -> dict[str, Any]:
        """Wait until a replay is done, and return its row.

        Parameters
        ----------
        job_id
            The replay.
        timeout
            Seconds after which nobody waits any longer; the replay goes on.
        progress
            Called with the number of calls that are done and of all calls, when they change.

        Raises
        ------
        WorkbenchError
            It failed, with its own error; or it was cancelled.
        Unavailable
            It is not done in time.
        """
        until = None if timeout is None else time.monotonic() + timeout
        pause, told = _LOOK_S, None
        while (row := self.get(job_id))["status"] not in _OVER:
            now = (row["progress"].get("done"), row["progress"].get("total"))
            if progress is not None and None not in now and now != told:
                progress(*now)
                told = now
            if until is not None and time.monotonic() > until:
                raise Unavailable(
                    "the replay is not done yet",
                    where=f"replay {job_id}",
                    found=row["status"],
                    hint="it goes on; store.replays.wait(job_id) waits for it again",
                )
            time.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_LOOK_S)
        return _done(row)


def _done(row: dict[str, Any]) -> dict[str, Any]:
    if row["status"] == "failed":
        raise WorkbenchError.from_problem(row["error"])
    if row["status"] == "cancelled":
        raise NotReplayable("the replay was cancelled", where=f"replay {row['job_id']}")
    return row
