"""How a loop replays an imported run: the turns its conversation took, without what was said.

What was said comes from the recorded calls; the plan tells only whose turn it was and where each
answer stands, since sources have them late, shuffled, or not at all.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import orjson

from workbench import hashing
from workbench.capture.agents import RootCall
from workbench.capture.loop import Loop
from workbench.errors import NotReplayable, RecordingIncomplete

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workbench.capture.agents import Agent
    from workbench.recording import RecordedCall, Recording

_ROOT = "root"


def require_loop(recording: Recording, agent: Agent) -> None:
    """Refuse to replay an imported run by anything but a loop, or without its messages.

    Raises
    ------
    NotReplayable
        The run was imported, and the agent is no loop.
    RecordingIncomplete
        It was, and a message that no call gave is not there.
    """
    if not recording.imported:
        return
    if not isinstance(agent.target, Loop):
        raise NotReplayable(
            "the run was imported: it has no code of its own that could be called again",
            found=agent.entry_point or type(agent.target).__name__,
            hint='wb.replay(run, wb.loop(model, tools), mode="cached") replays it',
        )
    for digest in (*_leading(recording), *(digest for _, digest in recording.remarks)):
        if digest not in recording.bodies:
            raise RecordingIncomplete("a message of the run is not in the recording", wanted=digest)


def root_call(recording: Recording, agent: Agent) -> RootCall:
    """Return the call that a run was made by; for an imported one that of a loop.

    A loop's input then has the ``messages`` the run began with and a ``plan``: ``later`` are the
    turns in their order, each with its message's ``index`` (``turn`` of the model or of the human,
    ``say`` for a message nobody was asked for, ``ask`` for a call that no message holds).
    ``replies`` are the indexes of the answers to each position's tool calls by their number, None
    where there is none; ``named`` says whether these name their tool, and ``model`` has what each
    request to it holds.

    Raises
    ------
    NotReplayable
        The run was imported, and the agent is no loop.
    RecordingIncomplete
        It was, and a message that no call gave is not there.
    """
    require_loop(recording, agent)
    if not recording.imported:
        return RootCall.restored(recording.started, recording.bodies)
    leading = [recording.bodies[digest] for digest in _leading(recording)]
    plan = {
        "model": _model(recording),
        "later": sorted(_later(recording), key=lambda step: step["index"]),
        "replies": _replies(recording),
        "named": any("name" in body for body in _answers(recording)),
    }
    return RootCall(method="call", input={"messages": leading, "plan": plan})


def _leading(recording: Recording) -> list[str]:
    """Return the messages that the run began with."""
    begun = (recording.started.input or {}) if recording.started else {}
    return list(begun.get("messages") or ())


def _model(recording: Recording) -> dict[str, Any]:
    """Return the name and parameters that the requests to the model have; of several the usual."""
    told = Counter(
        hashing.dumps({"name": call.name, "request": _rest(call)})
        for call in recording.calls
        if call.kind == "model"
    )
    found: dict[str, Any] = orjson.loads(told.most_common(1)[0][0]) if told else {}
    return found


def _rest(call: RecordedCall) -> dict[str, Any]:
    return {key: value for key, value in call.request.items() if key != "messages"}


def _later(recording: Recording) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = [
        {"index": index, "say": recording.bodies[digest]} for index, digest in recording.remarks
    ]
    for call in recording.calls:
        if call.index is None:
            continue
        if call.lane == _ROOT:
            turn = "human" if call.kind == "human" else "model"
            steps.append({"index": call.index, "turn": turn})
        elif _segment(call).startswith("?"):
            asked = {"name": call.name, "arguments": call.request.get("arguments")}
            steps.append({"index": call.index, "ask": asked})
    return steps


def _replies(recording: Recording) -> dict[str, dict[str, int | None]]:
    found: dict[str, dict[str, int | None]] = defaultdict(dict)
    for call in recording.calls:
        segment = _segment(call)
        if call.lane != _ROOT and not segment.startswith("?"):
            found[segment].setdefault(str(call.ordinal), call.index)
    return dict(found)


def _answers(recording: Recording) -> Iterator[dict[str, Any]]:
    """Yield the messages that answer tool calls."""
    for call in recording.calls:
        digest = (call.outcome or {}).get("message")
        if call.lane != _ROOT and digest is not None and digest in recording.bodies:
            yield recording.bodies[digest]


def _segment(call: RecordedCall) -> str:
    return call.lane.rpartition("/")[2]
