"""A replay that a worker ordered: a process of its own, which the worker can kill at any moment.

The order comes as one line of JSON by standard input, the API key in it; the answers go out as
lines of JSON: ``{"progress": …}`` while it plays, then ``{"done": …}`` or ``{"problem": …}``. When
the input ends, whoever ordered it is gone, and this process with all its children goes as well.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec

from workbench import ours
from workbench.errors import WorkbenchError
from workbench.replay import certificate as certificates
from workbench.replay import served
from workbench.replay.verb import replay
from workbench.store import connect
from workbench.store.aside import Aside

if TYPE_CHECKING:
    from workbench.replay.progress import Tell
    from workbench.store.protocol import Store


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be replayed, how, and where the new run goes."""

    url: str
    api_key: str
    source: str
    run_id: str
    agent: str
    options: dict[str, Any]
    cwd: str | None = None


def carry_out(order: Order, *, progress: Tell) -> dict[str, Any]:
    """Replay as ordered, keep run and result as artifacts, and say which."""
    with connect(order.url, order.api_key) as store, tempfile.TemporaryDirectory() as folder:
        aside = Aside(store, Path(folder) / "run", run_id=order.run_id, parent_run_id=order.source)
        result = replay(
            store.run(order.source),
            order.agent,
            into=cast("Store", aside),
            progress=progress,
            **_asked(order.options),
        )
        # As an artifact that the new run names, it is found again by whoever has the run alone.
        certificate = store.put_artifact(certificates.dumps(result.certificate))
        return {
            "staged": aside.keep(certificate=certificate),
            "result_artifact": store.put_artifact(served.told(result)),
            "result": served.summary(result),
        }


def _asked(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options that are not the usual ones."""
    usual: dict[str, Any] = {
        "overrides": {},
        "on_miss": "fail",
        "budget": None,
        "order": "declared",
    }
    return {name: value for name, value in options.items() if value != usual.get(name, ...)}


def main() -> None:
    """Carry out one order."""
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what the agent prints must not mix with the answers
    order = msgspec.json.decode(sys.stdin.buffer.readline(), type=Order)
    ours.started(_end_with_input, name="workbench-replay-order")
    if order.cwd is not None:
        sys.path.insert(0, order.cwd)

    def say(**said: Any) -> None:
        out.write(msgspec.json.encode(said, enc_hook=str) + b"\n")

    try:
        done = carry_out(
            order, progress=lambda done, total: say(progress={"done": done, "total": total})
        )
    except WorkbenchError as error:
        say(problem=error.as_problem())
    else:
        say(done=done)


def _end_with_input() -> None:
    while os.read(0, 1):
        pass
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
