"""tau2: one file with the set-up and many simulations; times and costs are on the messages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from workbench.errors import MalformedFile
from workbench.formats.reading import (
    call,
    labels,
    message,
    milliseconds,
    number,
    objects,
    rest,
)
from workbench.formats.reading import text_or_none as text
from workbench.formats.shapes import looks_like, refuse
from workbench.formats.slices import Slice, of_simulations
from workbench.formats.tau_bench import passed
from workbench.formats.trace import Message, Trace
from workbench.formats.values import decode, time_of

if TYPE_CHECKING:
    from pathlib import PurePath

NAME = "tau2"
_KEYS = frozenset(
    {
        *("role", "content", "tool_calls", "id", "requestor", "error"),
        *("turn_idx", "timestamp", "cost", "usage", "raw_data"),
    }
)
_LOCAL = frozenset(
    {
        *("docker_model_runner", "hosted_vllm", "lemonade", "llamafile", "lm_studio", "local"),
        *("ollama", "ollama_chat", "oobabooga", "petals", "vllm", "xinference"),
    }
)
_HERE = ("localhost", "127.0.0.1", "0.0.0.0", "[::1]")  # noqa: S104 - an address to compare with


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What the file says once for all its simulations."""

    domain: str | None
    agent: str | None
    agent_params: dict[str, Any]
    agent_is_local: bool
    user: str | None
    user_is_local: bool


def records(data: bytes, *, where: str | None = None) -> tuple[Setup, list[Slice]]:
    """Return the file's set-up and each simulation's slice."""
    try:
        file = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        whole = decode(data, where=where)
        file = {}
        info = whole.get("info") if looks_like(whole) == NAME else None
    else:
        info = decode(file["info"], where=where) if {"info", "simulations"} <= file.keys() else None
    if not isinstance(info, dict):
        raise refuse(expected=NAME, found=looks_like(decode(data, where=where)), where=where)
    return _setup(info), of_simulations(data, where=where)


def trace(piece: Slice, *, context: Setup, path: PurePath, where: str | None = None) -> Trace:
    """Read a simulation.

    A cost is unknown where it is null, or 0 although tokens were used, unless the model's provider
    is a local one. The totals that the file states are labels; the run's cost is the sum of its
    messages'. Times without a zone are taken as UTC. ``raw_data``, the provider's copy of each
    message, is left out.
    """
    del path
    record = decode(piece.data, where=where, line=piece.line)
    if not isinstance(record, dict) or not text(record.get("id")):
        raise MalformedFile("a simulation has no id", found=type(record).__name__)
    info = record.get("reward_info")
    info = info if isinstance(info, dict) else {}
    reward, reason = number(info.get("reward")), text(record.get("termination_reason"))
    task, trial = record.get("task_id"), record.get("trial")
    return Trace(
        key=str(record["id"]),
        item=True,
        name=f"task {task}" if trial is None else f"task {task}, trial {trial}",
        agent=context.agent,
        labels=labels(
            task=task,
            trial=trial,
            reward=reward,
            passed=passed(reward),
            domain=context.domain,
            user_model=context.user,
            seed=record.get("seed"),
            termination_reason=reason,
            cost_local=context.agent_is_local or context.user_is_local or None,
            agent_cost=number(record.get("agent_cost")),
            user_cost=number(record.get("user_cost")),
        ),
        messages=[
            _message(i, said, context=context)
            for i, said in objects(record.get("messages") or [], name="messages")
        ],
        remarks=[("reward_info", info)] if info else [],
        status="failed" if reason and "error" in reason else "done",
        failure=reason if reason and "error" in reason else None,
        duration_ms=milliseconds(record.get("duration")),
        started_at=time_of(record.get("start_time")),
        ended_at=time_of(record.get("end_time")),
        model=context.agent,
        model_params=context.agent_params,
        has_error_flag=True,
        has_costs=True,
    )


def _setup(info: dict[str, Any]) -> Setup:
    agent, user, world = (
        part if isinstance(part := info.get(name), dict) else {}
        for name in ("agent_info", "user_info", "environment_info")
    )
    params = agent.get("llm_args")
    return Setup(
        domain=text(world.get("domain_name")),
        agent=text(agent.get("llm")),
        agent_params=params if isinstance(params, dict) else {},
        agent_is_local=_is_local(agent),
        user=text(user.get("llm")),
        user_is_local=_is_local(user),
    )


def _is_local(info: dict[str, Any]) -> bool:
    """Say whether the file itself declares the model's provider a local one."""
    provider = str(info.get("llm") or "").partition("/")[0].lower()
    params = info.get("llm_args")
    address = params.get("api_base") or params.get("base_url") if isinstance(params, dict) else None
    return provider in _LOCAL or any(here in str(address or "") for here in _HERE)


def _message(index: int, said: dict[str, Any], *, context: Setup) -> Message:
    read = message(index, said)
    read.calls = [
        call(asked, name="name", arguments="arguments", place=f"message {index}, call {i}")
        for i, asked in objects(said.get("tool_calls") or [], name=f"message {index}: tool_calls")
    ]
    read.at = time_of(said.get("timestamp"))
    read.extra = rest(said, _KEYS)
    if read.role == "tool":
        read.reply_to = text(said.get("id"))
        read.error = True if said.get("error") else None
        return read
    usage = said.get("usage")
    read.usage = usage if isinstance(usage, dict) and usage else None
    local = context.user_is_local if read.role == "user" else context.agent_is_local
    read.cost_usd = _cost(said.get("cost"), usage=read.usage, local=local)
    return read


def _cost(said: Any, *, usage: dict[str, Any] | None, local: bool) -> float | None:
    cost = number(said)
    if cost == 0 and not local and _used_tokens(usage):
        return None
    return None if cost is None else float(cost)


def _used_tokens(usage: dict[str, Any] | None) -> bool:
    return any((number(value) or 0) > 0 for value in (usage or {}).values())
