"""What comes back from a call, as it is stored, and as the agent gets it again."""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import msgspec
import orjson
from langchain_core.documents import Document
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    message_chunk_to_message,
)
from langchain_core.outputs import ChatResult, LLMResult

from workbench import hashing
from workbench.capture import messages, values

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workbench.capture.asked import Asked, MessagePool

_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Came(msgspec.Struct, kw_only=True, eq=False, gc=False):  # it holds no circles
    """What a call gave back or raised, in stored form.

    ``written`` are the bytes of ``parsed``, given instead of it where they were made already. They
    keep the order of its keys: an agent may go through them.
    """

    written: bytes | None = None
    parsed: dict[str, Any] | None = None
    exception: dict[str, Any] | None = None
    usage: dict[str, Any] | None = None
    message_id: str | None = None
    bodies: Mapping[str, dict[str, Any]] = _NOTHING
    tokens: Mapping[str, float] = _NOTHING
    lossy: bool = False

    def __post_init__(self) -> None:
        if self.written is None and self.parsed:
            self.written = hashing.dumps_in_order(self.parsed)

    @property
    def outcome(self) -> dict[str, Any] | None:
        """The outcome as JSON; None where the call raised, or nothing came."""
        if self.parsed is None and self.written is not None:
            self.parsed = orjson.loads(self.written)
        return self.parsed

    @property
    def payload(self) -> bytes:
        """The body of the call's end."""
        if self.exception is None and self.usage is None and self.message_id is None:
            return b"{}" if self.written is None else b'{"outcome":%b}' % self.written
        body = {
            "outcome": None if self.written is None else orjson.Fragment(self.written),
            "exception": self.exception,
            "usage": self.usage,
            "message_id": self.message_id,
        }
        return hashing.dumps_in_order({key: v for key, v in body.items() if v is not None})

    @property
    def content(self) -> bytes:
        """What of it tells equal calls from others: the outcome, else the exception."""
        if self.written is None:
            return hashing.dumps(self.exception)
        if self.written.find(b"{", 1) < 0 and b'"returned"' not in self.written:
            return self.written  # one key, in any order
        return hashing.dumps(self.outcome)


def frozen(value: Any, *, pool: MessagePool) -> Came:
    """Return the stored form of what a model, tool or function gave back."""
    written = hashing.dumps_plain_in_order({"value": value})
    if written is not None:
        return Came(written=written)
    # by its type: a stranger's object may raise when it is asked for its class
    if issubclass(type(value), BaseMessage):
        digest, body, lossy = pool.one(value)
        usage = getattr(value, "usage_metadata", None)
        return Came(
            parsed={"message": digest},
            bodies={digest: body},
            message_id=None if value.id is None else hashing.as_text(str(value.id)),
            lossy=lossy,
            usage=_kept_usage(usage),
            tokens=tokens_of(usage) | cost_of(value),
        )
    form, lossy = values.freeze(value)
    usage = _usage_within(value)
    return Came(
        parsed={"value": form}, lossy=lossy, usage=_kept_usage(usage), tokens=tokens_of(usage)
    )


def returning(came: Came, returned: Any) -> Came:
    """Return what a generator gave, with what it returned at its end."""
    form, lossy = values.freeze(returned)
    return Came(
        parsed={**(came.outcome or {}), "returned": form},
        usage=came.usage,
        message_id=came.message_id,
        bodies=came.bodies,
        tokens=came.tokens,
        lossy=came.lossy or lossy,
    )


def frozen_documents(documents: Any) -> Came:
    """Return the stored form of what a retriever found."""
    freeze = values.Freezer()
    if type(documents) is list and all(type(one) is Document for one in documents):
        outcome = {"documents": [freeze.document(one) for one in documents]}
    else:  # of classes of somebody's own, which have more than a document has
        outcome = {"value": freeze(documents)}
    return Came(parsed=outcome, lossy=freeze.lossy)


def _usage_within(value: Any) -> Any:
    """Return the usage of a result that holds exactly one message."""
    if not issubclass(type(value), (LLMResult, ChatResult)):
        return None
    flat = [g for group in value.generations for g in (group if type(group) is list else [group])]
    found = [getattr(getattr(g, "message", None), "usage_metadata", None) for g in flat]
    return found[0] if len(found) == 1 else None


def _kept_usage(usage: Any) -> dict[str, Any] | None:
    """Return a source's own usage record as JSON."""
    form = values.freeze(usage)[0] if usage else None
    return form if type(form) is dict and "$type" not in form else None


def tokens_of(usage: Any) -> dict[str, float]:
    """Return the envelope's token columns of LangChain's usage record."""
    if type(usage) is not dict:
        return {}
    given, made = (
        details if type(details := usage.get(name)) is dict else {}
        for name in ("input_token_details", "output_token_details")
    )
    named = {
        "input_tokens": usage.get("input_tokens"),
        "output_tokens": usage.get("output_tokens"),
        "cache_read": given.get("cache_read"),
        "cache_write": given.get("cache_creation"),
        "reasoning_tokens": made.get("reasoning"),
    }
    # what a provider says may be anything; what no column can hold is in its usage record alone
    found: dict[str, float] = {
        key: value for key, value in named.items() if type(value) is int and 0 <= value < 2**63
    }
    if "input_tokens" in found and ("cache_read" in found or "cache_write" in found):
        cached = found.get("cache_read", 0) + found.get("cache_write", 0)
        found["input_uncached"] = max(0, found["input_tokens"] - cached)
    return found


def cost_of(message: BaseMessage) -> dict[str, float]:
    """Return the cost in US dollars where the model reports it itself."""
    told = getattr(message, "response_metadata", None)
    if type(told) is not dict:
        return {}
    usage = told.get("token_usage")
    cost = told.get("cost_usd", usage.get("cost") if type(usage) is dict else None)
    if isinstance(cost, (int, float)) and 0 <= cost < math.inf:
        return {"cost_usd": float(cost)}
    return {}


def restored(came: Came, *, asked: Asked) -> Any:
    """Return what the agent gets for a stored outcome, all of it its own.

    A tool's answer is addressed to the call that asks now.
    """
    written = came.written
    if written is not None and written.startswith(b'{"value":') and b'"$type"' not in written:
        return orjson.loads(written)["value"]  # JSON as it stands, which is copied so the soonest
    outcome = came.outcome or {"value": None}
    if "message" in outcome:
        body = came.bodies[outcome["message"]]
        if asked.tool_call_id is not None and body.get("role") == "tool":
            body = {**body, "tool_call_id": asked.tool_call_id}
        return messages.from_body(body, values.thaw, id=came.message_id)
    if "documents" in outcome:
        return [values.restored_document(form) for form in outcome["documents"]]
    return values.thaw(outcome.get("value"))


def folded(pieces: list[Any]) -> Any:
    """Return the pieces of a stream as one value: their sum where they add up, else a list."""
    if not pieces:
        return None
    total = pieces[0]
    try:
        if len(pieces) > 1 and all(type(piece) is AIMessageChunk for piece in pieces):
            return total + pieces[1:]  # all at once: one by one takes a time that grows as a square
        for piece in pieces[1:]:
            total = total + piece
    except Exception:  # noqa: BLE001 - what adding them up does is up to whoever made them
        return list(pieces)
    return total


def as_message(value: Any) -> Any:
    """Return a folded chunk as the whole message a call that does not stream gives back."""
    return message_chunk_to_message(value) if isinstance(value, AIMessageChunk) else value


def as_chunk(message: Any) -> Any:
    """Return a whole message as the only chunk of a stream."""
    if not isinstance(message, AIMessage) or isinstance(message, AIMessageChunk):
        return message
    return AIMessageChunk(**{**message.model_dump(exclude={"type"}), "type": "AIMessageChunk"})
