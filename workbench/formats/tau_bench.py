"""tau-bench: a list of runs, each a task's trial with its messages in OpenAI's form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workbench.errors import MalformedFile
from workbench.formats.reading import call, labels, message, number, objects, rest
from workbench.formats.reading import text_or_none as text
from workbench.formats.shapes import looks_like, refuse
from workbench.formats.slices import Slice, of_list
from workbench.formats.trace import Call, Message, Trace
from workbench.formats.values import decode

if TYPE_CHECKING:
    from pathlib import PurePath

NAME = "tau-bench"
_KEYS = frozenset({"role", "content", "tool_calls", "tool_call_id", "name"})
_PASSED = 1e-6


def records(data: bytes, *, where: str | None = None) -> tuple[None, list[Slice]]:
    """Return each run's slice of the file."""
    if data.lstrip()[:1] != b"[":
        raise refuse(expected=NAME, found=looks_like(decode(data, where=where)), where=where)
    pieces = of_list(data, where=where)
    if pieces and not any(b'"traj"' in piece.data for piece in pieces):
        raise refuse(expected=NAME, found=looks_like(decode(data, where=where)), where=where)
    return None, pieces


def trace(piece: Slice, *, context: None, path: PurePath, where: str | None = None) -> Trace:
    """Read a run; the file says neither what it cost in dollars nor which answers are errors."""
    del context
    record = decode(piece.data, where=where, line=piece.line)
    if not isinstance(record, dict) or "task_id" not in record or "traj" not in record:
        raise MalformedFile("a record has no task_id or no traj", found=type(record).__name__)
    task, trial, info = record["task_id"], record.get("trial", 0), record.get("info")
    info = info if isinstance(info, dict) else {}
    reward, failure = number(record.get("reward")), text(info.get("error"))
    return Trace(
        key=f"task={task},trial={trial}",
        item=True,
        name=f"task {task}, trial {trial}",
        agent=path.stem,
        labels=labels(
            task=task,
            trial=trial,
            reward=reward,
            passed=passed(reward),
            user_cost=number(info.get("user_cost")),
        ),
        messages=[_message(i, said) for i, said in objects(record["traj"] or [], name="traj")],
        config={"task": info["task"]} if info.get("task") else {},
        remarks=[("reward_info", info["reward_info"])] if info.get("reward_info") else [],
        status="done" if failure is None else "failed",
        failure=failure,
    )


def passed(reward: float | None) -> bool | None:
    """Say whether a reward is a full one; null where there is none."""
    return None if reward is None else abs(1 - reward) <= _PASSED


def _message(index: int, said: dict[str, Any]) -> Message:
    read = message(index, said)
    read.calls = [
        _call(asked, place=f"message {index}, call {i}")
        for i, asked in objects(said.get("tool_calls") or [], name=f"message {index}: tool_calls")
    ]
    read.reply_to = text(said.get("tool_call_id"))
    read.name = text(said.get("name"))
    read.extra = rest(said, _KEYS)
    return read


def _call(said: dict[str, Any], *, place: str) -> Call:
    function = said.get("function")
    if not isinstance(function, dict):
        raise MalformedFile(f"{place} has no function", found=type(function).__name__)
    read = call(function, name="name", arguments="arguments", place=place)
    read.id = text(said.get("id"))
    return read
