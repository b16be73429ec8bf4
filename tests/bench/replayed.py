"""Agents that a bench records and replays: calls one after the other, plainly and in a graph."""

from __future__ import annotations

import time

import workbench as wb

TEXT = "what the tool was asked and what it said of it ".ljust(50) * 4  # 200 bytes


def found(question: str, turn: int) -> dict[str, object]:
    """Stands for a tool: it is the replay that is timed."""
    return {"text": question, "turn": turn}


tool = wb.call(kind="tool", effect="read")(found)


def calls(count: int) -> float:
    """Make some calls, and return the seconds they took."""
    return _made(tool, count)


def bare(count: int) -> float:
    """As `calls`, with nothing in between."""
    return _made(found, count)


def _made(call, count: int) -> float:
    began = now()
    for turn in range(count):
        call(TEXT, turn)
    return now() - began


def first(count: int) -> float:
    """Make some calls, and return when the first of them came back."""
    tool(TEXT, 0)
    at = now()
    for turn in range(1, count):
        tool(TEXT, turn)
    return at


def now() -> float:
    """Return the real time in seconds: a replay has the recorded one for `time.monotonic`."""
    return time.clock_gettime(time.CLOCK_MONOTONIC)
