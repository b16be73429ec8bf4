"""The product's own server, sampled while it works: which part of it the processor is busy with.

Run by itself, as `serving` does: ``python tests/bench/sampled.py`` with the environment of a
server. SIGUSR1 begins to sample, SIGTERM ends it, and what was found goes to standard output.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from stack import Stack

_EVERY_S = 0.001  # of processor time, or as often as the kernel looks
_READY = " listening on "
_STAGES = (
    ("reading the events' JSON", ("ingest/batch.py",)),
    ("checking them", ("ingest/checking.py", "ingest/plain.py", "ingest/tally.py", "entities.py",
                       "workbench/schema.py", "workbench/hashing.py")),
    ("writing them for Postgres", ("ingest/rows.py",)),
    ("talking to Postgres", ("/psycopg/", "/psycopg_pool/", "workbench_server/database.py")),
    ("order, groups, answers, and freeing what was read", ("workbench_server/ingest/",
                                                          "routes/answers.py")),
    ("telling followers", ("workbench_server/live/",)),
    ("HTTP, routes and limits", ("/uvicorn/", "/starlette/", "/fastapi/", "workbench_server/")),
)  # fmt: skip
_REST = "the loop itself, or compressing beside it"
# What works for whoever called it, or only waits.
_PASSED = ("asyncio/", "workbench_server/limits.py", "serving.py", "command.py", "runpy",
           "sampled.py", "__main__.py")  # fmt: skip


@contextmanager
def serving(stack: Stack) -> Iterator[Sampled]:
    """Serve beside the stack's own server, from the same database."""
    environment = Path(f"/proc/{stack.server_pid}/environ").read_bytes().split(b"\0")
    given = dict(line.split(b"=", 1) for line in environment if b"=" in line)
    with subprocess.Popen(
        [sys.executable, __file__],
        env={name.decode(): value.decode() for name, value in given.items()},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Sampled(process)
        finally:
            process.terminate()


class Sampled:
    """A server that is sampled from `begin` on."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.pid = process.pid
        line = next(line for line in process.stderr if _READY in line)
        self.url = line.rpartition(_READY)[2].strip()
        # Whatever it still says must not fill the pipe.
        threading.Thread(target=process.stderr.read, daemon=True).start()

    def begin(self) -> None:
        os.kill(self.pid, signal.SIGUSR1)

    def end(self) -> dict[str, float]:
        """Stop the server; return the share of each stage in what was sampled."""
        self._process.terminate()
        counts = json.loads(self._process.stdout.read())
        return {stage: count / sum(counts.values()) for stage, count in counts.items()}


def main() -> int:
    from workbench_server.configuration import Configuration
    from workbench_server.serving import serve

    counts = Counter({stage: 0 for stage, _ in _STAGES} | {_REST: 0})

    def note(_: int, frame: FrameType | None) -> None:
        counts[_stage(frame)] += 1

    def begin(*_: object) -> None:
        signal.setitimer(signal.ITIMER_PROF, _EVERY_S, _EVERY_S)

    signal.signal(signal.SIGPROF, note)
    signal.signal(signal.SIGUSR1, begin)
    try:
        return serve(Configuration.from_environment(), host="127.0.0.1", port=0)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        print(json.dumps(counts), flush=True)


def _stage(frame: FrameType | None) -> str:
    """Return the stage of the innermost frame that belongs to one."""
    while frame is not None:
        path = frame.f_code.co_filename
        if not any(part in path for part in _PASSED):
            for stage, parts in _STAGES:
                if any(part in path for part in parts):
                    return stage
        frame = frame.f_back
    return _REST


if __name__ == "__main__":
    sys.exit(main())
