"""The product's own recorder: watched, in this process, or in one that is driven from here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec
from proof import Known, check, snapshot

import workbench as wb
from workbench.capture.journal import Journal
from workbench.capture.record import RecordingWarning
from workbench.schema import Event, RunHeader
from workbench.settings import Settings
from workbench.spool import SpoolFolder
from workbench.store.spooled import SpooledWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from running import Workspace

    from workbench.store.remote import RemoteStore


# ---- watched


class Watched:
    """Stands between a spool and its server, and keeps account."""

    def __init__(self, outlet: Any, known: Known) -> None:
        self._outlet = outlet
        self._known = known

    def append_lines(self, run_id: str, lines: bytes) -> Any:
        events = [
            msgspec.json.decode(line, type=Event)
            for line in lines.splitlines()
            if not line.startswith(b'{"bodies"')
        ]
        for event in events:
            self._known.sent[event.writer, event.writer_seq] = event.digest
        said = self._outlet.append_lines(run_id, lines)
        for event in events:
            self._known.acknowledged.setdefault((event.writer, event.writer_seq), None)
        return said

    def __getattr__(self, name: str) -> Any:
        return getattr(self._outlet, name)


class Recorder(threading.Thread):
    """Records remarks until it is told to end the run."""

    def __init__(self, store: RemoteStore) -> None:
        super().__init__(name="recorder", daemon=True)
        self.known = Known()
        settings = Settings.from_environment()
        folder = SpoolFolder(settings.spool, settings.spool_bytes)
        watched = Watched(store.outlet(), self.known)
        sink = SpooledWriter(watched, RunHeader(name="recorded"), folder=folder)
        self.run_id = sink.run_id
        self.journal = Journal(sink)
        self._enough = threading.Event()

    def run(self) -> None:
        self._put("run_started")
        number = 0
        while not self._enough.wait(0.002):
            number += 1
            self._put("annotated", payload=b'{"label":"l","value":{"token":"t%d"}}' % number)
        self._put("run_ended", status="done")
        self.journal.close()

    def _put(self, event_type: str, **more: Any) -> None:
        self.journal.put(event_type, **more)

    def end(self) -> None:
        """End the run; all of it is stored, or `journal.error` says what is not."""
        self._enough.set()
        self.join()


# ---- in this process


@wb.call(effect="read")
def look(number: int, text: str = "") -> dict[str, Any]:
    """Return what it was asked; nothing changes."""
    return {"number": number, "text": text}


@wb.call(effect="write")
def change(number: int, text: str = "") -> dict[str, Any]:
    """Stand for a call that changes the world."""
    return {"number": number, "text": text}


def agent(many: int, *, meanwhile: Callable[[int], Any] = lambda _: None, text: str = ""):
    """Return an agent that makes so many calls, and what it counts them in."""
    made: list[int] = []

    def work(_: Any) -> int:
        for number in range(1, many + 1):
            (look if number % 3 else change)(number, text)
            made.append(number)
            meanwhile(number)
        return many

    return work, made


@contextmanager
def told() -> Iterator[list[str]]:
    """Collect what recordings warn of."""
    said: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield said
        finally:
            said += [str(w.message) for w in caught if w.category is RecordingWarning]


def recorded(store: RemoteStore, work: Any, **options: Any) -> tuple[Any, list[str]]:
    """Record an agent; return the run and what was warned of."""
    with told() as said:
        run = wb.record(store, work, None, **options)
    return run, said


# ---- in another process

_DRIVEN = r"""
import json, os, signal, sys, warnings
import workbench as wb
from workbench.capture.record import RecordingWarning
from workbench.store import connect

def say(**facts):
    print(json.dumps(facts), flush=True)

@wb.call(effect="read")
def look(number):
    return {"number": number, "text": "x" * 1000}

@wb.call(effect="write")
def change(number):
    return {"number": number, "text": "x" * 1000}

@wb.root
def agent(_):
    made = 0
    say(made=0)
    for order in sys.stdin:
        if order == "interrupt\n":
            signal.raise_signal(signal.SIGINT)
        for _ in range(int(order)):
            made += 1
            (look if made % 3 else change)(made)
        say(made=made)

store = connect(sys.argv[1], os.environ["WORKBENCH_API_KEY"], check=False)
facts = {"error": None}
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    try:
        with wb.record(store, name="driven", on_error=sys.argv[2]):
            agent(None)
    except Exception as error:
        facts["error"] = type(error).__name__
say(**facts, warned=[str(w.message) for w in caught if w.category is RecordingWarning])
"""


class Driven:
    """An agent in a process of its own: it makes calls when it is told to."""

    def __init__(self, process: subprocess.Popen) -> None:
        self.process = process
        self.heard()

    def calls(self, many: int) -> dict[str, Any]:
        self.process.stdin.write(f"{many}\n")
        self.process.stdin.flush()
        return self.heard()

    def interrupt(self) -> int:
        """Let Ctrl-C come, and return how the process ended."""
        self.process.stdin.write("interrupt\n")
        self.process.stdin.flush()
        return self.process.wait(120)

    def end(self) -> dict[str, Any]:
        """Let the agent end, and return what became of its recording."""
        self.process.stdin.close()
        said = self.heard()
        assert self.process.wait(120) == 0
        return said

    def heard(self) -> dict[str, Any]:
        return json.loads(self.process.stdout.readline())


@contextmanager
def driven(
    url: str, key: str, spool: Path, *, on_error: str = "open", prefix: tuple[str, ...] = ()
) -> Iterator[Driven]:
    """Start an agent that is recorded; it is killed at the end if it still goes on."""
    environment = os.environ | {"WORKBENCH_SPOOL": str(spool), "WORKBENCH_API_KEY": key}
    with subprocess.Popen(
        [*prefix, sys.executable, "-c", _DRIVEN, url, on_error],
        env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            yield Driven(process)
        finally:
            process.kill()


# ---- what the tables have of it


def logs(owner_url: str, workspace: Workspace) -> dict[str, list[dict[str, Any]]]:
    """Return run id → its events by seq, as the tables have them."""
    found: dict[str, list[dict[str, Any]]] = {}
    with snapshot(owner_url) as connection:
        for row in connection.execute(
            "select run_id, event_type, ordinal, quality, status, writer, writer_seq, digest"
            " from events where workspace_id = %s order by run_id, seq",
            [workspace.workspace_id],
        ):
            found.setdefault(str(row["run_id"]), []).append(row)
    return found


def faults(owner_url: str, workspace: Workspace, run_id: str) -> list[str]:
    """Say what is wrong with a run that one writer wrote."""
    rows = logs(owner_url, workspace)[run_id]
    sent = {(row["writer"], row["writer_seq"]): row["digest"].hex() for row in rows}
    with snapshot(owner_url) as connection:
        found = check(
            connection, workspace.workspace_id, run_id, known=Known(sent=sent), complete=False
        )
    if [row["writer_seq"] for row in rows] != list(range(1, len(rows) + 1)):
        found.append("the log is not one writer's events in their order")
    return found


def calls(rows: list[dict[str, Any]]) -> dict[int, list[str]]:
    """Return each call's number in its lane → its events."""
    found: dict[int, list[str]] = {}
    for row in rows:
        if row["ordinal"] is not None:
            found.setdefault(row["ordinal"], []).append(row["event_type"])
    return found


def whole(many: int) -> dict[int, list[str]]:
    """Return `calls` of a run that lacks nothing."""
    return {number: ["call_started", "call_ended"] for number in range(1, many + 1)}
