"""What a model, a person or a tool says to a loop, as a pooled message."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from langchain_core.messages import BaseMessage

from workbench import hashing
from workbench.capture import exceptions, outcomes, values
from workbench.capture.outcomes import Came
from workbench.errors import UsageError
from workbench.formats.values import arguments_of

if TYPE_CHECKING:
    from workbench.capture.asked import MessagePool

_ROLES = {"human": "user", "ai": "assistant"}


def came(answer: Any, *, role: str, pool: MessagePool) -> Came:
    """Return what was said in stored form; None is said by nobody.

    Raises
    ------
    UsageError
        It is neither text nor a message.
    """
    if answer is None:
        return Came(parsed={"value": None})
    if isinstance(answer, BaseMessage):
        return outcomes.frozen(answer, pool=pool)
    if isinstance(answer, str):
        answer = {"content": answer}
    if not isinstance(answer, Mapping):
        raise UsageError(
            f"the {role} answered with no message",
            expected='text, a LangChain message or {"content": …, "tool_calls": […]}',
            found=type(answer).__name__,
        )
    body = {**answer, "role": role, "content": answer.get("content")}
    calls = body.pop("tool_calls", None) or []
    if calls:
        body["tool_calls"] = [_call(call) for call in calls]
    return _pooled(body)


def _call(asked: Any) -> dict[str, Any]:
    """Return a tool call as it is stored; OpenAI's form of it is read too."""
    inner = asked.get("function") if isinstance(asked, Mapping) else None
    told = inner if isinstance(inner, Mapping) else asked
    if not isinstance(told, Mapping) or not isinstance(told.get("name"), str):
        raise UsageError(
            "a tool call names no tool", expected='{"name": …, "arguments": {…}}', found=repr(asked)
        )
    arguments = told.get("arguments")
    if isinstance(arguments, str):  # as providers send them
        arguments = values.thaw(arguments_of(arguments))
    call = {"name": told["name"], "arguments": arguments}
    return {"id": str(asked["id"]), **call} if asked.get("id") else call


def tool_came(value: Any, call: Mapping[str, Any], *, pool: MessagePool) -> Came:
    """Return what a tool gave back as the message that answers a call: as text, or as JSON."""
    if isinstance(value, BaseMessage):
        return outcomes.frozen(value, pool=pool)
    written = None if isinstance(value, str) else hashing.dumps_plain_in_order(value)
    return _pooled(_reply(call, content=str(value) if written is None else written.decode()))


def failed(error: BaseException, call: Mapping[str, Any]) -> Came:
    """Return the message that a tool's error is, beside the error itself."""
    freezer = values.Freezer()
    record = exceptions.to_record(error, freezer)
    text = f"{type(error).__name__}: {record['message']}"
    made = _pooled(_reply(call, content=text, error=text))
    return Came(written=made.written, bodies=made.bodies, exception=record, lossy=freezer.lossy)


def _reply(call: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    told = {"tool_call_id": call.get("id"), "name": call.get("name"), **more}
    return {"role": "tool", **{key: value for key, value in told.items() if value is not None}}


def _pooled(body: Mapping[str, Any]) -> Came:
    form, lossy = values.freeze(dict(body))
    return stored(form, lossy=lossy)


def stored(body: dict[str, Any], *, lossy: bool = False) -> Came:
    """Return a body that is in stored form as something that was said."""
    digest = hashing.digest_of(body)
    return Came(parsed={"message": digest}, bodies={digest: body}, lossy=lossy)


# ---- what a conversation begins with


def plan_in(given: Any) -> Mapping[str, Any] | None:
    """Return the plan that a loop is to go by, if it was given one."""
    found = given.get("plan") if isinstance(given, Mapping) else None
    return found if isinstance(found, Mapping) else None


def beginning(given: Any, *, pool: MessagePool, stored: bool) -> Iterator[Came]:
    """Yield the messages that a loop is given; ``stored`` are in stored form already.

    Raises
    ------
    UsageError
        They are no messages.
    """
    listed = given.get("messages") if isinstance(given, Mapping) else given
    if isinstance(listed, (str, BaseMessage)):
        listed = [listed]
    if not isinstance(listed, (list, tuple)):
        raise UsageError(
            "a loop is called with messages",
            expected='{"messages": [("user", "…")]}',
            found=type(given).__name__,
        )
    for one in listed:
        yield _stored(one) if stored else _begun(one, pool)


def _begun(one: Any, pool: MessagePool) -> Came:
    role, said = "user", one
    if isinstance(one, (list, tuple)) and len(one) == 2:  # noqa: PLR2004 - role and text
        role, said = one
    elif isinstance(one, Mapping):
        role = one.get("role", role)
    return came(said, role=_ROLES.get(str(role), str(role)), pool=pool)


_stored = stored
