"""AgentDojo: one file is one run of a pipeline on a task, clean or with an injection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workbench.formats.reading import call, labels, message, milliseconds, objects, rest
from workbench.formats.reading import text_or_none as text
from workbench.formats.shapes import looks_like, refuse
from workbench.formats.slices import Slice
from workbench.formats.trace import Call, Message, Trace
from workbench.formats.values import decode

if TYPE_CHECKING:
    from pathlib import PurePath

NAME = "agentdojo"
_KEYS = frozenset(
    {"role", "content", "tool_calls", "tool_call", "tool_call_id", "error"},
)
_DEPTH = 5


def records(data: bytes, *, where: str | None = None) -> tuple[None, list[Slice]]:
    """Return the file's one record: all its bytes."""
    del where
    return None, [Slice(data, 1)]


def trace(piece: Slice, *, context: None, path: PurePath, where: str | None = None) -> Trace:
    """Read a run.

    The pipeline is the folder's name: the file's own ``pipeline_name`` can lie (several pipelines
    call themselves "local") and is kept as a label of that name.
    """
    del context
    record = decode(piece.data, where=where, line=piece.line)
    found = looks_like(record)
    if found != NAME:
        raise refuse(expected=NAME, found=found, where=where)
    pipeline = _pipeline(record, path)
    failure = text(record.get("error"))
    return Trace(
        key=key(path),
        name=_name(record),
        agent=pipeline,
        labels=labels(
            suite=record.get("suite_name"),
            user_task=record.get("user_task_id"),
            injection_task=record.get("injection_task_id"),
            attack=record.get("attack_type"),
            pipeline=pipeline,
            pipeline_name=record.get("pipeline_name"),
            utility=record.get("utility"),
            security=record.get("security"),
        ),
        messages=[
            _message(i, said) for i, said in objects(record["messages"] or [], name="messages")
        ],
        config=_config(record),
        status="done" if failure is None else "failed",
        failure=failure,
        duration_ms=milliseconds(record.get("duration")),
        has_error_flag=True,
    )


def key(path: PurePath) -> str:
    """Return the run's own name: pipeline/suite/task/attack/file, as far as the path goes."""
    return "/".join(path.parts[-_DEPTH:])


def _pipeline(record: dict[str, Any], path: PurePath) -> str | None:
    parts = path.parts[-_DEPTH:]
    if len(parts) == _DEPTH and parts[1] == record["suite_name"]:
        return parts[0]
    return text(record.get("pipeline_name"))


def _name(record: dict[str, Any]) -> str:
    task = f"{record['suite_name']}/{record['user_task_id']}"
    attack = record.get("attack_type")
    return f"{task} · {attack}/{record.get('injection_task_id')}" if attack else task


def _config(record: dict[str, Any]) -> dict[str, Any]:
    names = (
        "injections",
        "benchmark_version",
        "agentdojo_package_version",
        "evaluation_timestamp",
    )
    return {name: record[name] for name in names if record.get(name)}


def _message(index: int, said: dict[str, Any]) -> Message:
    read = message(index, said)
    read.calls = [
        _call(asked, place=f"message {index}, call {i}")
        for i, asked in objects(said.get("tool_calls") or [], name=f"message {index}: tool_calls")
    ]
    read.extra = rest(said, _KEYS)
    if read.role == "tool":
        _answer(read, said)
    return read


def _answer(read: Message, said: dict[str, Any]) -> None:
    asked = said.get("tool_call")
    if isinstance(asked, dict) and isinstance(asked.get("function"), str):
        read.replied = _call(asked, place="tool_call")
        read.name = read.replied.name
    read.reply_to = text(said.get("tool_call_id"))
    if read.reply_to is None and read.replied is not None:
        read.reply_to = read.replied.id
    read.error = text(said.get("error"))


def _call(said: dict[str, Any], *, place: str) -> Call:
    return call(said, name="function", arguments="args", place=place)
