"""Processes told apart from later ones of the same number, and ended."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import psutil

_SAME_START_S = 2.0


def mark(pid: int) -> dict[str, Any]:
    """Return what tells this process from another one that gets its number later."""
    try:
        return {"pid": pid, "started": psutil.Process(pid).create_time()}
    except psutil.Error:
        return {"pid": pid, "started": 0.0}


def is_alive(marked: dict[str, Any]) -> bool:
    """Say whether the marked process still runs."""
    try:
        found = psutil.Process(int(marked["pid"]))
        same = abs(found.create_time() - float(marked["started"])) < _SAME_START_S
        return same and bool(found.status() != psutil.STATUS_ZOMBIE)
    except (psutil.Error, KeyError, ValueError):
        return False


def program_of(pid: int) -> str | None:
    """Return the name of a process, or nothing where there is none."""
    try:
        return str(psutil.Process(pid).name())
    except psutil.Error:
        return None


def end(marked: dict[str, Any], *, politely: signal.Signals, patience_s: float) -> None:
    """Ask the marked process to end, wait, and kill it if it stays."""
    for number in (politely, signal.SIGKILL):
        if not is_alive(marked):
            return
        try:
            os.kill(int(marked["pid"]), number)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + patience_s
        while is_alive(marked) and time.monotonic() < deadline:
            time.sleep(0.02)


def holder_of(port: int) -> str | None:
    """Return who listens on a port of this machine, where that can be seen."""
    try:
        for found in psutil.net_connections(kind="tcp"):
            if found.status == psutil.CONN_LISTEN and found.laddr.port == port and found.pid:
                return f"{psutil.Process(found.pid).name()} (process {found.pid})"
    except psutil.Error:
        return None
    return None
