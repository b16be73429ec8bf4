"""What comes back from a call, as it is stored, and as the agent gets it again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from langchain_core.messages import AIMessage, BaseMessage

from workbench import hashing
from workbench.capture import messages, values

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workbench.capture.asked import Asked, MessagePool


_NONE: Mapping[str, Any] = {}


class Came:
    """What a call gave back or raised, in stored form.

    ``written`` are the canonical bytes of ``outcome``, given instead of it where they were made
    already.
    """

    __slots__ = (
        "_outcome",
        "_written",
        "bodies",
        "exception",
        "lossy",
        "message_id",
        "tokens",
        "usage",
    )

    def __init__(
        self,
        *,
        outcome: dict[str, Any] | None = None,
        written: bytes | None = None,
        exception: dict[str, Any] | None = None,
        usage: dict[str, Any] | None = None,
        message_id: str | None = None,
        bodies: Mapping[str, dict[str, Any]] = _NONE,
        tokens: Mapping[str, float] = _NONE,
        lossy: bool = False,
    ) -> None:
        self._outcome = outcome
        self._written = hashing.dumps(outcome) if written is None and outcome else written
        self.exception = exception
        self.usage = usage
        self.message_id = message_id
        self.bodies = bodies
        self.tokens = tokens
        self.lossy = lossy

    @property
    def outcome(self) -> dict[str, Any] | None:
        """The outcome as JSON; None where the call raised, or nothing came."""
        if self._outcome is None and self._written is not None:
            self._outcome = orjson.loads(self._written)
        return self._outcome

    @property
    def payload(self) -> bytes:
        """The body of the call's end."""
        if self.exception is None and self.usage is None and self.message_id is None:
            return b"{}" if self._written is None else b'{"outcome":%b}' % self._written
        body = {
            "outcome": None if self._written is None else orjson.Fragment(self._written),
            "exception": self.exception,
            "usage": self.usage,
            "message_id": self.message_id,
        }
        return hashing.dumps({key: value for key, value in body.items() if value is not None})

    @property
    def content(self) -> bytes:
        """What of it tells equal calls from others: the outcome, else the exception."""
        return hashing.dumps(self.exception) if self._written is None else self._written


def frozen(value: Any, *, pool: MessagePool) -> Came:
    """Return the stored form of what a model, tool or function gave back."""
    written = hashing.dumps_plain({"value": value})
    if written is not None:
        return Came(written=written)
    if isinstance(value, BaseMessage):
        digest, body, lossy = pool.one(value)
        usage = getattr(value, "usage_metadata", None)
        return Came(
            outcome={"message": digest},
            bodies={digest: body},
            message_id=value.id,
            lossy=lossy,
            usage=dict(usage) if usage else None,
            tokens=tokens_of(usage) | cost_of(value),
        )
    form, lossy = values.freeze(value)
    usage = _usage_within(value)
    return Came(
        outcome={"value": form},
        lossy=lossy,
        usage=dict(usage) if usage else None,
        tokens=tokens_of(usage),
    )


def returning(came: Came, returned: Any) -> Came:
    """Return what a generator gave, with what it returned at its end."""
    form, lossy = values.freeze(returned)
    return Came(
        outcome={**(came.outcome or {}), "returned": form},
        usage=came.usage,
        message_id=came.message_id,
        bodies=came.bodies,
        tokens=came.tokens,
        lossy=came.lossy or lossy,
    )


def frozen_documents(documents: Any) -> Came:
    """Return the stored form of what a retriever found."""
    freeze = values.Freezer()
    return Came(outcome={"documents": [freeze.document(d) for d in documents]}, lossy=freeze.lossy)


def _usage_within(value: Any) -> Any:
    """Return the usage of a result that holds exactly one message."""
    generations = getattr(value, "generations", None) or []
    flat = [g for group in generations for g in (group if isinstance(group, list) else [group])]
    found = [getattr(getattr(g, "message", None), "usage_metadata", None) for g in flat]
    return found[0] if len(found) == 1 else None


def tokens_of(usage: Any) -> dict[str, float]:
    """Return the envelope's token columns of LangChain's usage record."""
    if not usage:
        return {}
    given, made = usage.get("input_token_details") or {}, usage.get("output_token_details") or {}
    named = {
        "input_tokens": usage.get("input_tokens"),
        "output_tokens": usage.get("output_tokens"),
        "cache_read": given.get("cache_read"),
        "cache_write": given.get("cache_creation"),
        "reasoning_tokens": made.get("reasoning"),
    }
    found: dict[str, float] = {key: int(value) for key, value in named.items() if value is not None}
    if "input_tokens" in found and ("cache_read" in found or "cache_write" in found):
        cached = found.get("cache_read", 0) + found.get("cache_write", 0)
        found["input_uncached"] = max(0, found["input_tokens"] - cached)
    return found


def cost_of(message: BaseMessage) -> dict[str, float]:
    """Return the cost in US dollars where the model reports it itself."""
    told = getattr(message, "response_metadata", None) or {}
    usage = told.get("token_usage")
    cost = told.get("cost_usd", usage.get("cost") if isinstance(usage, dict) else None)
    return {"cost_usd": float(cost)} if isinstance(cost, (int, float)) else {}


def restored(
    outcome: dict[str, Any], *, bodies: Mapping[str, Any], message_id: str | None, asked: Asked
) -> Any:
    """Return what the agent gets for a stored outcome.

    A tool's answer is addressed to the call that asks now.
    """
    if "message" in outcome:
        body = bodies[outcome["message"]]
        if asked.tool_call_id is not None and body.get("role") == "tool":
            body = {**body, "tool_call_id": asked.tool_call_id}
        return messages.from_body(body, values.thaw, id=message_id)
    if "documents" in outcome:
        return [values.restored_document(form) for form in outcome["documents"]]
    return values.thaw(outcome.get("value"))


def folded(pieces: list[Any]) -> Any:
    """Return the pieces of a stream as one value: their sum where they add up, else a list."""
    if not pieces:
        return None
    total = pieces[0]
    try:
        for piece in pieces[1:]:
            total = total + piece
    except TypeError:
        return list(pieces)
    return total


def as_message(value: Any) -> Any:
    """Return a folded chunk as the whole message a call that does not stream gives back."""
    from langchain_core.messages import AIMessageChunk, message_chunk_to_message

    return message_chunk_to_message(value) if isinstance(value, AIMessageChunk) else value


def as_chunk(message: Any) -> Any:
    """Return a whole message as the only chunk of a stream."""
    from langchain_core.messages import AIMessageChunk

    if not isinstance(message, AIMessage) or isinstance(message, AIMessageChunk):
        return message
    return AIMessageChunk(**{**message.model_dump(exclude={"type"}), "type": "AIMessageChunk"})
