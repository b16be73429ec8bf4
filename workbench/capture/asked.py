"""What a call asks, frozen on the caller's thread: its request, and what signs it."""

from __future__ import annotations

import enum
import weakref
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import msgspec
import orjson

from workbench import hashing
from workbench.capture import messages, values
from workbench.hashing import DEEPEST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from langchain_core.messages import BaseMessage

    from workbench.capture.normalise import Normalise
    from workbench.schema import Effect, Kind

    # a message's digest, its body, and whether it lost something
    Pooled = tuple[str, dict[str, Any], bool]

_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Asked(msgspec.Struct, kw_only=True, eq=False, gc=False):  # it holds no circles
    """A request at the agent's boundary, as bytes: made before the agent can change anything.

    ``written`` are the canonical bytes of ``parsed``, given instead of it where they were made
    already (never of a request that names pooled messages); ``bodies`` the pooled messages it
    names; ``tool_call_id`` whom a tool's answer is addressed to; ``normalise`` what of it may
    differ in a cached replay; ``redacted`` says that its outcome stands for another.
    """

    kind: Kind
    name: str
    written: bytes = b""
    parsed: dict[str, Any] | None = None
    bodies: Mapping[str, dict[str, Any]] = _NOTHING
    effect: Effect = "unknown"
    lossy: bool = False
    tool_call_id: str | None = None
    normalise: Normalise | None = None
    redacted: bool = False
    signed: str | None = None

    def __post_init__(self) -> None:
        if not self.written:
            self.written = hashing.dumps(self.parsed)
        if not self.name.isascii():
            self.name = hashing.as_text(self.name)

    def redacted_as(self, request: dict[str, Any], bodies: Mapping[str, Any]) -> Asked:
        """Return the same call with another request in the place of this one."""
        return Asked(
            kind=self.kind,
            name=self.name,
            parsed=request,
            bodies=bodies,
            effect=self.effect,
            lossy=self.lossy,
            tool_call_id=self.tool_call_id,
            normalise=self.normalise,
            redacted=True,
        )

    @property
    def request(self) -> dict[str, Any]:
        """The request as JSON."""
        if self.parsed is None:
            self.parsed = orjson.loads(self.written)
        return self.parsed

    @property
    def signature(self) -> str:
        """The exact signature."""
        if self.signed is None:
            if self.parsed is not None and "messages" in self.parsed:
                self.signed = hashing.signature_of(
                    kind=self.kind, name=self.name, request=self.parsed
                )
            else:
                self.signed = hashing.signature_of_written(self.kind, self.name, self.written)
        return self.signed


class MessagePool:
    """Digests of messages, each computed once while the message lives and stays as it was.

    A message that holds what could change unseen (an object of a class of somebody's own) is read
    anew each time.
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[weakref.ref[BaseMessage], Any, Pooled]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def pooled(self, asked: Iterable[BaseMessage]) -> tuple[list[str], dict[str, Any], bool]:
        """Return the digests of messages in order, their bodies, and whether any lost something."""
        digests, bodies, lossy = [], {}, False
        for message in asked:
            digest, body, lost = self.one(message)
            digests.append(digest)
            bodies[digest] = body
            lossy = lossy or lost
        return digests, bodies, lossy

    def one(self, message: BaseMessage) -> Pooled:
        """Return a message's digest, its body, and whether it lost something."""
        own = id(message)
        known = self._known.get(own)
        if known is not None and known[0]() is message and _is_as(known[1], message):
            return known[2]
        kept = _kept(message)  # before it is read: what changes meanwhile is noticed the next time
        freezer = values.Freezer()
        body = messages.to_body(message, freezer)
        made = hashing.digest_of(body), body, freezer.lossy
        if kept is not None:
            self._known[own] = (weakref.ref(message, self._forgetting(own)), kept, made)
        return made

    def _forgetting(self, own: int) -> Callable[[weakref.ref[BaseMessage]], None]:
        """Return what drops a message that is gone, unless another has its place by now."""
        known = self._known

        def forget(gone: weakref.ref[BaseMessage]) -> None:
            found = known.get(own)
            if found is not None and found[0] is gone:
                known.pop(own, None)

        return forget


def _content(message: BaseMessage) -> dict[str, Any]:
    fields = vars(message)
    extra = message.__pydantic_extra__
    return {**fields, "id": None, **extra} if extra else {**fields, "id": None}


def _is_as(kept: Any, message: BaseMessage) -> bool:
    try:
        return bool(kept == _content(message))
    except Exception:  # noqa: BLE001 - what took the place of a text may raise when it is compared
        return False


def _kept(message: BaseMessage) -> dict[str, Any] | None:
    """Return what tells whether a message has changed, or None where nothing could."""
    try:
        return {key: _unchanged(value, DEEPEST) for key, value in _content(message).items()}
    except (_MayChange, RuntimeError):  # another thread may be changing it right now
        return None


class _MayChange(Exception):
    """Something is neither JSON nor unchangeable."""


class _Number:
    """Equal to the same number of the same type only: 1 is neither 1.0 nor True here."""

    __slots__ = ("_value",)
    __hash__ = None  # type: ignore[assignment] # it is only ever compared

    def __init__(self, value: float) -> None:
        self._value = value

    def __eq__(self, other: object) -> bool:
        value = self._value
        return value is other or (type(value) is type(other) and repr(value) == repr(other))


_FIXED = frozenset((str, type(None), bytes))


def _unchanged(value: Any, levels: int) -> Any:
    """Copy the containers that an agent could change in place."""
    kind = type(value)
    if kind in _FIXED or issubclass(kind, enum.Enum):
        return value
    if kind is int or kind is float or kind is bool:
        return _Number(value)
    if levels == 0:
        raise _MayChange
    if kind is dict:
        return {key: _unchanged(item, levels - 1) for key, item in value.items()}
    if kind is list:
        return [_unchanged(item, levels - 1) for item in value]
    raise _MayChange
