"""Canonical JSON and every hash of the product.

Canonical JSON "wb1" has sorted keys, no white space and the shortest numbers that read back the
same. What JSON has not is written ``{"$type": …, "$value": …}`` and never dropped. All hashes are
sha-256 over stored bytes, so anyone can recompute them offline.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import PurePath
from typing import Any
from uuid import UUID

import msgspec
import orjson

from workbench.schema import EMPTY, Event

SIGNATURE_VERSION = 1

_SMALLEST, _LARGEST = -(2**63), 2**64 - 1
_fits_sha256 = re.compile(r"[0-9a-f]{64}").fullmatch
_event_encoder = msgspec.json.Encoder()

Encode = Callable[[Any], Any]
Decode = Callable[[str, Any], Any]


def dumps(value: Any) -> bytes:
    """Return the canonical bytes of a value that is already JSON (see `freeze`)."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def dumps_plain(value: Any) -> bytes | None:
    r"""Return the canonical bytes of a value that is JSON as it stands, or None where it is not.

    What `freeze` would change (a tuple, a NaN, a text that is no UTF-8, an object, …) is not.

    Examples
    --------
    >>> dumps_plain({"b": 1, "a": [None, 0.5]}), dumps_plain({"a": (1,)}), dumps_plain("\ud800")
    (b'{"a":[null,0.5],"b":1}', None, None)
    """
    try:
        if _is_plain(value):
            return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except (TypeError, RecursionError):
        pass  # too large a number, no UTF-8, too deep or without end
    return None


_PLAIN = frozenset((str, int, bool, type(None)))


def _is_plain(value: Any) -> bool:
    kind = type(value)
    if kind in _PLAIN:
        return True
    if kind is dict:
        for key, item in value.items():
            if type(key) is not str or (type(item) not in _PLAIN and not _is_plain(item)):
                return False
        return "$type" not in value
    if kind is list:
        for item in value:  # noqa: SIM110 - a generator takes twice as long
            if type(item) not in _PLAIN and not _is_plain(item):
                return False
        return True
    return kind is float and math.isfinite(value)


def digest_of(value: Any) -> str:
    """Return the hex sha-256 of a JSON value's canonical bytes."""
    return hashlib.sha256(dumps(value)).hexdigest()


def sha256_hex(data: bytes) -> str:
    """Return the hex sha-256 of bytes."""
    return hashlib.sha256(data).hexdigest()


def is_sha256(text: str) -> bool:
    """Say whether a text is a sha-256 in lower-case hex."""
    return _fits_sha256(text) is not None


# ---- values that JSON has not


def freeze(value: Any, *, encode: Encode | None = None) -> tuple[Any, bool]:
    """Turn any value into JSON, and say whether something of it was lost.

    Parameters
    ----------
    value
        Anything an agent passes around.
    encode
        Called with an object that is not of the known types; returns its ``{"$type": …, "$value":
        …}`` form with a JSON value, or ``NotImplemented``.

    Returns
    -------
    tuple
        The JSON value, and whether an unknown object was kept only by type and repr.

    Examples
    --------
    >>> freeze({"when": (1, 2), "big": 2**70})
    ({'when': {'$type': 'tuple', '$value': [1, 2]}, \
'big': {'$type': 'int', '$value': '1180591620717411303424'}}, False)
    """
    freezer = _Freezer(encode)
    return freezer.freeze(value), freezer.lossy


class _Freezer:
    def __init__(self, encode: Encode | None) -> None:
        self.encode = encode
        self.lossy = False
        self._open: set[int] = set()

    def freeze(self, value: Any) -> Any:
        kind = type(value)
        if value is None or kind is bool:
            return value
        if kind is str:
            return value if _is_utf8(value) else _tagged("str", _b64(_surrogates(value)))
        if kind is int:
            return value if _SMALLEST <= value <= _LARGEST else _tagged("int", str(value))
        if kind is float:
            return value if math.isfinite(value) else _tagged("float", repr(value))
        if kind in (list, tuple, dict, set, frozenset):
            return self._container(value)
        return self._other(value)

    def _container(self, value: Any) -> Any:
        if id(value) in self._open:
            self.lossy = True
            return _tagged("cycle", type(value).__name__)
        self._open.add(id(value))
        try:
            return self._open_container(value)
        finally:
            self._open.discard(id(value))

    def _open_container(self, value: Any) -> Any:
        if type(value) is dict:
            plain = all(type(k) is str and _is_utf8(k) for k in value) and "$type" not in value
            if plain:
                return {k: self.freeze(v) for k, v in value.items()}
            return _tagged("dict", [[self.freeze(k), self.freeze(v)] for k, v in value.items()])
        items = [self.freeze(item) for item in value]
        if type(value) is list:
            return items
        if type(value) is tuple:
            return _tagged("tuple", items)
        return _tagged(type(value).__name__, sorted(items, key=dumps))

    def _other(self, value: Any) -> Any:
        if self.encode is not None:
            form = self.encode(value)
            if form is not NotImplemented:
                return form
        known = _known_form(value)
        if known is not None:
            return known
        self.lossy = True
        return _tagged("object", {"class": type_name(type(value)), "repr": _safe_repr(value)})


_KNOWN: tuple[tuple[tuple[type, ...], str, Callable[[Any], Any]], ...] = (
    ((bytes, bytearray, memoryview), "bytes", lambda v: _b64(bytes(v))),
    ((datetime,), "datetime", lambda v: v.isoformat()),
    ((date,), "date", lambda v: v.isoformat()),
    ((time,), "time", lambda v: v.isoformat()),
    ((timedelta,), "timedelta", lambda v: [v.days, v.seconds, v.microseconds]),
    ((Decimal,), "decimal", str),
    ((UUID,), "uuid", str),
    ((PurePath,), "path", str),
    ((complex,), "complex", lambda v: [repr(v.real), repr(v.imag)]),
)


def _known_form(value: Any) -> dict[str, Any] | None:
    for kinds, tag, write in _KNOWN:
        if isinstance(value, kinds):
            return _tagged(tag, write(value))
    return None


_RESTORE: dict[str, Callable[[Any], Any]] = {
    "str": lambda v: base64.b64decode(v).decode("utf-8", "surrogatepass"),
    "int": int,
    "float": float,
    "bytes": base64.b64decode,
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "timedelta": lambda v: timedelta(*v),
    "decimal": Decimal,
    "uuid": UUID,
    "path": PurePath,
    "complex": lambda v: complex(float(v[0]), float(v[1])),
}
_COLLECTIONS: dict[str, Callable[[Iterable[Any]], Any]] = {
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
}


def thaw(value: Any, *, decode: Decode | None = None) -> Any:
    """Restore what `freeze` wrote; ``decode(tag, value)`` restores the tags of an `encode` hook.

    A tag that nobody knows stays as it is written.
    """
    if type(value) is list:
        return [thaw(item, decode=decode) for item in value]
    if type(value) is not dict:
        return value
    tag = value.get("$type")
    if type(tag) is not str or value.keys() != {"$type", "$value"}:
        return {k: thaw(v, decode=decode) for k, v in value.items()}
    restored = _restored(tag, value["$value"], decode)
    return value if restored is NotImplemented else restored


def _restored(tag: str, inner: Any, decode: Decode | None) -> Any:
    if tag in _RESTORE:
        return _RESTORE[tag](inner)
    if tag == "dict":
        return {thaw(k, decode=decode): thaw(v, decode=decode) for k, v in inner}
    if tag in _COLLECTIONS:
        return _COLLECTIONS[tag](thaw(item, decode=decode) for item in inner)
    return NotImplemented if decode is None else decode(tag, inner)


_INTERRUPT = "langgraph.types:Interrupt"


def comparable(frozen: Any) -> Any:
    """Return a frozen value without the ids of its messages and interrupts, to compare outputs."""
    if type(frozen) is list:
        return [comparable(item) for item in frozen]
    if type(frozen) is not dict:
        return frozen
    value = frozen.get("$value")
    if isinstance(value, dict):
        if frozen.get("$type") == "message":
            return _tagged("message", {"body": comparable(value.get("body"))})
        if value.get("class") == _INTERRUPT and isinstance(value.get("value"), dict):
            # named by where in the graph's state it stands, which is new in every run
            value = {**value, "value": {**value["value"], "id": None}}
            frozen = {**frozen, "$value": value}
    return {key: comparable(value) for key, value in frozen.items()}


def type_name(kind: type) -> str:
    """Return ``module:qualified name`` of a class."""
    return f"{kind.__module__}:{kind.__qualname__}"


def _tagged(tag: str, value: Any) -> dict[str, Any]:
    return {"$type": tag, "$value": value}


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _is_utf8(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _surrogates(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _safe_repr(value: Any) -> str:
    try:
        return repr(value).encode("utf-8", "backslashreplace").decode()[:2000]
    except Exception as error:  # noqa: BLE001 - a stranger's __repr__ must not stop a recording
        return f"<repr raised {type(error).__name__}>"


# ---- hashes


def event_digest(event: Event) -> str:
    """Return the hex sha-256 of a stored event without its server fields.

    The bytes are the envelope's JSON, its fields in alphabetical order and without digest,
    payload, seq and received_at, then a newline, then the payload as stored.
    """
    return digest_of_parts(envelope_of(event), bytes(event.payload))


def envelope_of(event: Event) -> bytes:
    """Return the envelope's JSON as it is hashed: without digest, payload and server fields."""
    return _event_encoder.encode(
        msgspec.structs.replace(event, digest=None, payload=EMPTY, seq=None, received_at=None)
    )


def digest_of_parts(envelope: bytes, payload: bytes) -> str:
    """Return the digest of an event whose envelope is written already."""
    return hashlib.sha256(b"%b\n%b" % (envelope, payload)).hexdigest()


def sealed(event: Event) -> Event:
    """Return the event with its digest."""
    return msgspec.structs.replace(event, digest=event_digest(event))


def sealed_with(envelope: Event, payload: bytes) -> Event:
    """Return an event of an envelope that has neither digest nor payload yet, with both."""
    digest = digest_of_parts(_event_encoder.encode(envelope), payload)
    return msgspec.structs.replace(envelope, digest=digest, payload=msgspec.Raw(payload))


def signature_of(*, kind: str, name: str, request: Mapping[str, Any]) -> str:
    """Return the exact signature of a call: the hex sha-256 a replay matches by.

    ``request["messages"]`` are digests and are signed apart from the other parameters.
    """
    params = {key: value for key, value in request.items() if key != "messages"}
    messages = request.get("messages") or []
    return digest_of([SIGNATURE_VERSION, kind, name, params, messages])


def signature_of_written(kind: str, name: str, request: bytes) -> str:
    """Return the exact signature of a call that names no messages, of its canonical request.

    Examples
    --------
    >>> signature_of_written("tool", "f", b'{"arguments":{}}') == signature_of(
    ...     kind="tool", name="f", request={"arguments": {}}
    ... )
    True
    """
    head = orjson.dumps([SIGNATURE_VERSION, kind, name])[:-1]
    return hashlib.sha256(b"%b,%b,[]]" % (head, request)).hexdigest()


def content_hash_of_written(kind: str, name: str, request: bytes, outcome: bytes) -> int:
    """Return `content_hash` of a request and an outcome whose canonical bytes are there."""
    head = orjson.dumps([kind, name])[:-1]
    digest = hashlib.sha256(b"%b,%b,%b]" % (head, request, outcome)).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def content_hash(
    *, kind: str, name: str, request: Mapping[str, Any], outcome: Mapping[str, Any] | None
) -> int:
    """Return the first 8 bytes of a call's content as a signed integer, for aligning runs."""
    head = hashlib.sha256(dumps([kind, name, request, outcome])).digest()[:8]
    return int.from_bytes(head, "big", signed=True)


def merkle_root(leaves: Iterable[bytes]) -> str:
    """Return the hex root of an RFC 6962 tree over the leaves; of no leaves, sha-256 of nothing."""
    level = [hashlib.sha256(b"\0" + leaf).digest() for leaf in leaves]
    if not level:
        return hashlib.sha256(b"").hexdigest()
    while len(level) > 1:
        pairs = zip(level[::2], level[1::2], strict=False)
        odd = level[-1:] if len(level) % 2 else []
        level = [hashlib.sha256(b"\1" + left + right).digest() for left, right in pairs] + odd
    return level[0].hex()


def log_root(digests: Iterable[tuple[str, int, str]]) -> str:
    """Return the root over all event digests, given as (writer, writer_seq, digest)."""
    return merkle_root(bytes.fromhex(digest) for _, _, digest in sorted(digests))


def content_root(lanes: Mapping[str, Sequence[tuple[str, str]]]) -> str:
    """Return the root over lanes: lane → (signature, hash of what came back) in ordinal order.

    It holds no time, writer, id or mode, so equal runs have equal roots.
    """
    return merkle_root(
        dumps([lane, [list(pair) for pair in lanes[lane]]]) for lane in sorted(lanes)
    )
