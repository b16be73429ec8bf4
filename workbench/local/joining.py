"""``wb.join``: a process becomes a part of the run that another one records."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from workbench.capture.context import VARIABLE, Handed, Joined, read
from workbench.redaction import Wanted
from workbench.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workbench.capture.session import OnError
    from workbench.schema import Effect
    from workbench.store import Store


def join(
    context: str | None = None,
    *,
    effects: Mapping[str, Effect] | None = None,
    on_error: OnError = "open",
    redact: Any = None,
) -> Joined:
    """Record what runs in the block as a part of the run that another process began.

    This process is a writer of its own of that run, in the lane that was handed over; the run's
    beginning and end are the other process's to write. What it records goes to the spool of this
    machine and from there to the same store, with this process's own key: ``WORKBENCH_API_KEY``,
    or that of the local stack in its home.

    Parameters
    ----------
    context
        What `workbench.context` returned in the other process; default the environment variable
        ``WORKBENCH_CONTEXT``. With an empty one nothing is recorded, and nothing else happens.
    effects, on_error, redact
        As of `workbench.record`. The workspace's own rules hold here too; what the other process
        wished for beside them has to be wished for again.

    Raises
    ------
    RecordingFailed
        As of `workbench.record`, with ``on_error="closed"``.

    Warns
    -----
    RecordingWarning
        The context cannot be read, or the store cannot be used: the process is not recorded.

    Examples
    --------
    >>> import workbench as wb
    >>> with wb.join(""):  # outside a recording: as if it were not there
    ...     pass
    """
    wanted = Wanted.of(redact)
    text = os.environ.get(VARIABLE) if context is None else context
    return Joined(read(text), _store, effects=effects, on_error=on_error, redact=wanted)


def _store(handed: Handed) -> Store:
    from workbench.store import connect

    settings = Settings.from_environment()
    if settings.api_key is None and (found := _local(handed)) is not None:
        return found
    return connect(handed.address, settings.api_key, check=False)


def _local(handed: Handed) -> Store | None:
    """Return the local stack's store where it is the one that was meant."""
    from workbench.local.client import status
    from workbench.local.home import home_at
    from workbench.local.opening import open as open_store

    running = status(home_at())
    if running is None or running.get("url") != handed.address:
        return None
    return open_store(workspace=handed.workspace)
