"""An agent is killed -9 while it is recorded; what it did is in the store all the same.

The agent writes a line to a file of its own after each call, and before each that may change the
world: that is what it did, whatever its recording says.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from machines import until
from proof import Known, check, snapshot
from running import make_workspace

from workbench.spool import SpoolFolder
from workbench.store import connect
from workbench.store.leftovers import flush

if TYPE_CHECKING:
    from pathlib import Path

OLD_S = 0.05
AGENT = r"""
import json, os, sys, time
import workbench as wb
from workbench.store import connect

side = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)

def note(what, number):
    os.write(side, json.dumps([what, number, time.time()]).encode() + b"\n")

def changing(effect):
    @wb.call(effect=effect)
    def change(number):
        note("began", number)
        return {"number": number, "text": "y" * 500}
    return change

@wb.call(effect="read")
def look(number):
    return {"number": number, "text": "x" * 200}

calls = [look, look, changing("write"), look, changing("irreversible"), look, changing("unknown")]

@wb.root
def agent(many):
    for number in range(1, many):
        calls[number % len(calls)](number)
        note("ended", number)
        if number % 50 == 0:
            time.sleep(0.02)

with connect(sys.argv[2], os.environ["WORKBENCH_API_KEY"]) as store:
    with wb.record(store, name="killed"):
        agent(1_000_000)
"""


@dataclass(frozen=True, kw_only=True)
class Did:
    """What the agent's own file says, and when it was killed."""

    lines: list[tuple[str, int, float]]
    killed_at: float

    def lost(self, found: dict[int, list[str]]) -> list[str]:
        """Say what the agent did that the store does not know of."""
        return [*self._changes(found), *self._calls(found)]

    def _changes(self, found):
        for what, number, _ in self.lines:
            if what == "began" and found.get(number, [None])[0] != "call_started":
                yield f"call {number} may have changed the world, and is not stored"

    def _calls(self, found):
        for what, number, at in self.lines:
            old = at < self.killed_at - OLD_S
            if what == "ended" and old and found.get(number) != ["call_started", "call_ended"]:
                age = self.killed_at - at
                yield f"call {number} had ended {age:.3f} s before: {found.get(number)}"


@pytest.fixture(scope="module")
def server(stack):
    return stack.server()


def killed(url: str, key: str, folder: Path, *, after_s: float, agent: str = AGENT) -> Did:
    """Run the agent, kill it in the middle; return what its own file says it did."""
    side = folder / "side"
    environment = os.environ | {"WORKBENCH_SPOOL": str(folder / "spool"), "WORKBENCH_API_KEY": key}
    with subprocess.Popen(
        [sys.executable, "-c", agent, str(side), url], env=environment
    ) as process:
        until(
            lambda: process.poll() is not None or (side.exists() and side.stat().st_size), "calls"
        )
        time.sleep(after_s)
        # Where it stands still its clock is read: what it had done by then is what counts.
        process.send_signal(signal.SIGSTOP)
        at = time.time()
        process.kill()
    assert process.returncode == -signal.SIGKILL
    return Did(lines=[json.loads(line) for line in side.read_bytes().splitlines()], killed_at=at)


def stored(owner_url: str, workspace) -> tuple[dict[int, list[str]], list[str]]:
    """Return each call's events as the tables have them, and what is wrong with the log."""
    with snapshot(owner_url) as connection:
        rows = connection.execute(
            "select run_id, event_type, ordinal, writer, writer_seq, digest from events"
            " where workspace_id = %s order by seq",
            [workspace.workspace_id],
        ).fetchall()
        if not rows:
            return {}, []  # it was killed before anything had to be written
        sent = {(row["writer"], row["writer_seq"]): row["digest"].hex() for row in rows}
        (run_id,) = {row["run_id"] for row in rows}
        faults = check(
            connection, workspace.workspace_id, run_id, known=Known(sent=sent), complete=False
        )
    calls = [row for row in rows if row["ordinal"] is not None]
    found: dict[int, list[str]] = {}
    for row in calls:
        found.setdefault(row["ordinal"], []).append(row["event_type"])
    return found, [*faults, *_out_of_order(rows, calls)]


def _out_of_order(rows, calls):
    if [row["writer_seq"] for row in rows] != list(range(1, len(rows) + 1)):
        yield "the log is not one writer's events in their order"
    ordinals = [row["ordinal"] for row in calls if row["event_type"] == "call_started"]
    if ordinals != list(range(1, len(ordinals) + 1)):
        yield "calls are missing, twice or out of order"


def test_a_killed_agent_has_left_what_it_did(stack, server, rng, turn, tmp_path):
    workspace = make_workspace(stack.database, f"killed-{secrets.token_hex(4)}")
    did = killed(server.url, workspace.api_key, tmp_path, after_s=rng.uniform(0.0, 0.8))
    spool = SpoolFolder(tmp_path / "spool")
    with connect(server.url, workspace.api_key) as store:
        told = flush(store.outlet(), spool)
    found, faults = stored(stack.owner_url, workspace)
    print(f"{len(did.lines)} lines, {len(found)} calls stored, {told.events} events flushed")
    assert did.lost(found) == []
    assert faults == []
    assert (told.left, told.unread, told.stubs, told.lost) == ({}, [], 0, 0)
    assert spool.paths() == []


_NO_ROOT = AGENT.replace("@wb.root\n", "")


def test_a_killed_block_without_a_root_has_left_what_may_have_changed(stack, server, rng, tmp_path):
    """Its events wait for the run's first one: not those that have to be written first."""
    assert _NO_ROOT != AGENT
    workspace = make_workspace(stack.database, f"killed-{secrets.token_hex(4)}")
    did = killed(server.url, workspace.api_key, tmp_path, after_s=0.2, agent=_NO_ROOT)
    with connect(server.url, workspace.api_key) as store:
        flush(store.outlet(), SpoolFolder(tmp_path / "spool"))
    found, faults = stored(stack.owner_url, workspace)
    assert did.lost(found) == []
    assert faults == []
