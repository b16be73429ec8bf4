"""What a call asks, frozen on the caller's thread: its request, and what signs it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from workbench import hashing
from workbench.capture import messages, values

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from langchain_core.messages import BaseMessage

    from workbench.capture.functions import Normalise
    from workbench.schema import Effect, Kind

_NONE: Mapping[str, Any] = {}


class Asked:
    """A request at the agent's boundary, as bytes: made before the agent can change anything.

    ``written`` are the canonical bytes of ``request``, given instead of it where they were made
    already (never of a request that names pooled messages); ``bodies`` the pooled messages it
    names; ``tool_call_id`` whom a tool's answer is addressed to; ``normalise`` what of it may
    differ in a cached replay; ``redacted`` says that its outcome stands for another.
    """

    __slots__ = (
        "_request",
        "_signature",
        "bodies",
        "effect",
        "kind",
        "lossy",
        "name",
        "normalise",
        "redacted",
        "tool_call_id",
        "written",
    )

    def __init__(
        self,
        *,
        kind: Kind,
        name: str,
        request: dict[str, Any] | None = None,
        written: bytes | None = None,
        bodies: Mapping[str, dict[str, Any]] = _NONE,
        effect: Effect = "unknown",
        lossy: bool = False,
        tool_call_id: str | None = None,
        normalise: Normalise | None = None,
        redacted: bool = False,
    ) -> None:
        self.kind = kind
        self.name = name
        self.written = hashing.dumps(request) if written is None else written
        self.bodies = bodies
        self.effect = effect
        self.lossy = lossy
        self.tool_call_id = tool_call_id
        self.normalise = normalise
        self.redacted = redacted
        self._request = request
        self._signature: str | None = None

    @property
    def request(self) -> dict[str, Any]:
        """The request as JSON."""
        if self._request is None:
            self._request = orjson.loads(self.written)
        return self._request

    @property
    def signature(self) -> str:
        """The exact signature."""
        if self._signature is None:
            if self._request is not None and "messages" in self._request:
                self._signature = hashing.signature_of(
                    kind=self.kind, name=self.name, request=self._request
                )
            else:
                self._signature = hashing.signature_of_written(self.kind, self.name, self.written)
        return self._signature


class MessagePool:
    """Digests of messages, each computed once while the message stays as it was."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[BaseMessage, dict[str, Any], str, dict[str, Any], bool]] = {}

    def pooled(self, asked: Iterable[BaseMessage]) -> tuple[list[str], dict[str, Any], bool]:
        """Return the digests of messages in order, their bodies, and whether any lost something."""
        digests, bodies, lossy = [], {}, False
        for message in asked:
            digest, body, lost = self.one(message)
            digests.append(digest)
            bodies[digest] = body
            lossy = lossy or lost
        return digests, bodies, lossy

    def one(self, message: BaseMessage) -> tuple[str, dict[str, Any], bool]:
        """Return a message's digest, its body, and whether it lost something."""
        known = self._known.get(id(message))
        if known is not None and known[0] is message and known[1] == _fingerprint(message):
            return known[2:]
        freezer = values.Freezer()
        body = messages.to_body(message, freezer)
        digest = hashing.digest_of(body)
        self._known[id(message)] = (message, _kept(message), digest, body, freezer.lossy)
        return digest, body, freezer.lossy


def _fingerprint(message: BaseMessage) -> dict[str, Any]:
    fields = vars(message)
    extra = message.__pydantic_extra__
    return {**fields, "id": None, **extra} if extra else {**fields, "id": None}


def _kept(message: BaseMessage) -> dict[str, Any]:
    return {key: _copied(value) for key, value in _fingerprint(message).items()}


def _copied(value: Any) -> Any:
    """Copy the containers an agent could change in place; what lies in them else stays itself."""
    if type(value) is dict:
        return {key: _copied(item) for key, item in value.items()}
    if type(value) is list:
        return [_copied(item) for item in value]
    return value
