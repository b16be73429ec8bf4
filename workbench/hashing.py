"""Canonical JSON and every hash of the product.

Canonical JSON "wb1" has sorted keys, no white space and the shortest numbers that read back the
same. What JSON has not is written ``{"$type": …, "$value": …}`` and never dropped. All hashes are
sha-256 over stored bytes, so anyone can recompute them offline.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import islice
from pathlib import Path, PosixPath, PurePosixPath, PureWindowsPath, WindowsPath
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import orjson

from workbench.schema import EMPTY, Event

SIGNATURE_VERSION = 1
ROOTS_VERSION = 2
"""Of what the roots of a run are over; a certificate names it."""
DEEPEST = 50
"""How many levels of JSON below a recorded value a container may lie: a server takes 64 in all."""

_SMALLEST, _LARGEST = -(2**63), 2**64 - 1
_fits_sha256 = re.compile(r"[0-9a-f]{64}").fullmatch
_event_encoder = msgspec.json.Encoder()
_NOTHING = hashlib.sha256()  # copied: to begin anew costs more than to hash a little

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
    return _plain(value, orjson.OPT_SORT_KEYS)


def dumps_plain_in_order(value: Any) -> bytes | None:
    """Return what `dumps_plain` does, with the keys of objects in the order they have."""
    return _plain(value, 0)


def dumps_in_order(value: Any) -> bytes:
    """Return a JSON value's bytes with the keys of objects in the order they have.

    No hash is over these: they are for values that an agent gets again, and may go through.
    """
    return orjson.dumps(value)


def _plain(value: Any, option: int) -> bytes | None:
    try:
        if _is_plain(value, DEEPEST):
            return orjson.dumps(value, option=option)
    except (TypeError, RuntimeError):
        pass  # too large a number, no UTF-8, or changed by another thread meanwhile
    return None


_PLAIN = frozenset((str, int, bool, type(None)))


def _is_plain(value: Any, levels: int) -> bool:  # noqa: PLR0911 - the usual ones first
    kind = type(value)
    if kind in _PLAIN:
        return True
    if kind is float:
        return math.isfinite(value)
    if levels == 0:
        return False  # too deep, or without end
    if kind is dict:
        for key, item in value.items():
            if type(key) is not str or (
                type(item) not in _PLAIN and not _is_plain(item, levels - 1)
            ):
                return False
        return "$type" not in value
    if kind is list:
        for item in value:
            if type(item) not in _PLAIN and not _is_plain(item, levels - 1):
                return False
        return True
    return False


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


def freeze(value: Any) -> tuple[Any, bool]:
    """Turn any value into JSON, and say whether something of it was lost.

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
    freezer = Freezer()
    return freezer(value), freezer.lossy


class Freezer:
    """Turns values into JSON, and remembers whether any of them lost something.

    Whatever a value is and does, it is never raised from here. Containers are copied before they
    are read, since other threads may change them meanwhile.

    Attributes
    ----------
    lossy
        Whether something was kept only by its type and repr.
    deepest
        How many levels of JSON a container may lie below the value; what lies deeper is lost.
    """

    deepest = 200

    def __init__(self) -> None:
        self.lossy = False
        self._depth = 0
        self._open: set[int] = set()

    def __call__(self, value: Any) -> Any:
        """Return a value as JSON."""
        kind = type(value)
        if value is None or kind is bool:
            return value
        if kind is str:
            return value if _is_utf8(value) else _tagged("str", _b64(_surrogates(value)))
        if kind is int:
            return value if _SMALLEST <= value <= _LARGEST else _tagged("int", _digits(value))
        if kind is float:
            return value if math.isfinite(value) else _tagged("float", repr(value))
        return self._deeper(value, kind)

    def encode(self, value: Any, kind: type) -> Any:  # noqa: ARG002 - of a subclass
        """Return the form of an object of no known type, or NotImplemented."""
        return NotImplemented

    def unknown(self, value: Any) -> dict[str, Any]:
        """Return what is left of an object that cannot be restored: its type and repr."""
        self.lossy = True
        return _tagged("object", {"class": type_name(type(value)), "repr": repr_of(value)})

    def _deeper(self, value: Any, kind: type) -> Any:
        if not self._depth and (kind is dict or kind is list):
            written = dumps_plain_in_order(value)
            if written is not None:  # as a rule it is JSON already, and this the fastest copy
                return orjson.loads(written)
        if id(value) in self._open or self._depth > self.deepest:
            self.lossy = True
            return _tagged("cycle" if id(value) in self._open else "deep", type_name(kind))
        depth, self._depth = self._depth, self._depth + (1 if kind is list or kind is dict else 3)
        self._open.add(id(value))
        try:
            return self._form(value, kind)
        except Exception:  # noqa: BLE001 - a stranger's object may raise whatever is asked of it
            return self.unknown(value)
        finally:
            self._depth = depth
            self._open.discard(id(value))

    def _form(self, value: Any, kind: type) -> Any:
        if kind is dict:
            return self._dict(value.copy())
        if kind is list:
            return [self(item) for item in value.copy()]
        if kind is tuple:
            return _tagged("tuple", [self(item) for item in value])
        if kind is set or kind is frozenset:
            items = [self(item) for item in value.copy()]
            return _tagged(kind.__name__, sorted(items, key=dumps))
        known = _KNOWN.get(kind)
        if known is not None:
            return _tagged(known[0], self(known[1](value)))
        form = self.encode(value, kind)
        return self.unknown(value) if form is NotImplemented else form

    def _dict(self, value: dict[Any, Any]) -> Any:
        if "$type" not in value and all(type(k) is str and _is_utf8(k) for k in value):
            return {k: self(v) for k, v in value.items()}
        self._depth += 2
        return _tagged("dict", [[self(k), self(v)] for k, v in value.items()])


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes_of(value: memoryview) -> str:
    if value.format != "B" or value.ndim != 1:
        raise TypeError("bytes alone do not tell what they are")
    return _b64(value.tobytes())


def _moment(value: datetime) -> str | list[Any]:
    """Return a time as text; where it has a named zone, by the clock there, the zone and fold."""
    zone = value.tzinfo
    if type(zone) is ZoneInfo and zone.key:
        return [value.replace(tzinfo=None).isoformat(), zone.key, value.fold]
    return value.isoformat()


def _time_of_day(value: time) -> str:
    if value.tzinfo is not None and value.utcoffset() is None:
        raise TypeError("a time of day alone has no offset in this zone")
    return value.isoformat()


_KNOWN: dict[type, tuple[str, Callable[[Any], Any]]] = {
    bytes: ("bytes", _b64),
    bytearray: ("bytearray", lambda v: _b64(bytes(v))),
    memoryview: ("memoryview", _bytes_of),
    datetime: ("datetime", _moment),
    date: ("date", lambda v: v.isoformat()),
    time: ("time", _time_of_day),
    timedelta: ("timedelta", lambda v: [v.days, v.seconds, v.microseconds]),
    Decimal: ("decimal", str),
    Fraction: ("fraction", str),
    UUID: ("uuid", str),
    PosixPath: ("path", str),
    WindowsPath: ("path", str),
    PurePosixPath: ("posix_path", str),
    PureWindowsPath: ("windows_path", str),
    complex: ("complex", lambda v: [repr(v.real), repr(v.imag)]),
    range: ("range", lambda v: [v.start, v.stop, v.step]),
}


def _restored_moment(value: Any) -> datetime:
    if type(value) is str:
        return datetime.fromisoformat(value)
    at, zone, fold = value
    return datetime.fromisoformat(at).replace(tzinfo=ZoneInfo(zone), fold=fold)


_RESTORE: dict[str, Callable[[Any], Any]] = {
    "str": lambda v: base64.b64decode(v).decode("utf-8", "surrogatepass"),
    "int": lambda v: int(v, 16) if "x" in v else int(v),
    "float": float,
    "bytes": base64.b64decode,
    "bytearray": lambda v: bytearray(base64.b64decode(v)),
    "memoryview": lambda v: memoryview(base64.b64decode(v)),
    "datetime": _restored_moment,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "timedelta": lambda v: timedelta(*v),
    "decimal": Decimal,
    "fraction": Fraction,
    "uuid": UUID,
    "path": Path,
    "posix_path": PurePosixPath,
    "windows_path": PureWindowsPath,
    "complex": lambda v: complex(float(v[0]), float(v[1])),
    "range": lambda v: range(*v),
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "dict": dict,
}


def thaw(value: Any, *, decode: Decode | None = None) -> Any:
    """Restore what `Freezer` wrote; ``decode(tag, value)`` restores the tags of its `encode`.

    A tag that nobody knows, or whose value cannot be restored, stays as it is written.
    """
    if type(value) is list:
        return [thaw(item, decode=decode) for item in value]
    if type(value) is not dict:
        return value
    tag = value.get("$type")
    if type(tag) is not str or value.keys() != {"$type", "$value"}:
        return {k: thaw(v, decode=decode) for k, v in value.items()}
    try:
        restored = _restored(tag, value["$value"], decode)
    except Exception:  # noqa: BLE001 - a class that changed, or a form that nobody wrote
        return value
    return value if restored is NotImplemented else restored


def _restored(tag: str, inner: Any, decode: Decode | None) -> Any:
    restore = _RESTORE.get(tag)
    if restore is not None:
        return restore(thaw(inner, decode=decode))
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
    try:
        return as_text(f"{kind.__module__}:{kind.__qualname__}")
    except Exception:  # noqa: BLE001 - a stranger's metaclass
        return "?:?"


_LONGEST_REPR = 2000
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def repr_of(value: Any) -> str:
    """Return the beginning of a value's repr, without addresses, whatever asking for it does.

    Examples
    --------
    >>> repr_of(object())
    '<object object>'
    """
    try:
        text = str.__getitem__(repr(value), slice(_LONGEST_REPR))
        return _ADDRESS.sub("", as_text(text))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - a stranger's __repr__ must not stop a recording
        return f"<repr raised {type_name(type(error))}>"


def as_text(text: str) -> str:
    r"""Return a text with halves of surrogate pairs, which no JSON may hold, as escapes.

    Examples
    --------
    >>> as_text("caf\u00e9 \ud800")
    'café \\ud800'
    """
    return text if _is_utf8(text) else text.encode("utf-8", "backslashreplace").decode()


_MANY_BITS = 2**13  # Python writes no decimal numbers of many thousand digits


def _digits(value: int) -> str:
    return str(value) if value.bit_length() < _MANY_BITS else hex(value)


def _tagged(tag: str, value: Any) -> dict[str, Any]:
    return {"$type": tag, "$value": value}


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
    return _sha256(envelope, b"\n", payload).hexdigest()


def _sha256(*parts: bytes) -> hashlib._Hash:
    """Hash parts one after the other: none is copied, and small ones keep the interpreter.

    To let go of it for two kilobytes would cost a thread that works behind an agent its turn.
    """
    hashed = _NOTHING.copy()
    for part in parts:
        hashed.update(part)
    return hashed


def sealed(event: Event) -> Event:
    """Return the event with its digest."""
    return msgspec.structs.replace(event, digest=event_digest(event))


def sealed_with(envelope: Event, payload: bytes) -> Event:
    """Return an event of an envelope that has neither digest nor payload yet, with both."""
    digest = digest_of_parts(_event_encoder.encode(envelope), payload)
    # Nobody has seen it yet: it is not copied.
    msgspec.structs.force_setattr(envelope, "digest", digest)
    msgspec.structs.force_setattr(envelope, "payload", msgspec.Raw(payload))
    return envelope


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
    hashed = _begun(SIGNATURE_VERSION, kind, name).copy()
    hashed.update(request)
    hashed.update(b",[]]")
    return hashed.hexdigest()


def content_hash_of_written(kind: str, name: str, request: bytes, outcome: bytes) -> int:
    """Return `content_hash` of a request and an outcome whose canonical bytes are there."""
    hashed = _begun(kind, name).copy()
    for part in (request, b",", outcome, b"]"):
        hashed.update(part)
    return int.from_bytes(hashed.digest()[:8], "big", signed=True)


@functools.lru_cache(1024)
def _begun(*first: str | int) -> hashlib._Hash:
    """Return the hash of a list's beginning, to be copied: an agent asks the same of the same."""
    return hashlib.sha256(orjson.dumps(first)[:-1] + b",")


def content_hash(
    *, kind: str, name: str, request: Mapping[str, Any], outcome: Mapping[str, Any] | None
) -> int:
    """Return the first 8 bytes of a call's content as a signed integer, for aligning runs."""
    head = hashlib.sha256(dumps([kind, name, request, outcome])).digest()[:8]
    return int.from_bytes(head, "big", signed=True)


def merkle_root(leaves: Iterable[bytes]) -> str:
    """Return the hex root of an RFC 6962 tree over the leaves; of no leaves, sha-256 of nothing."""
    return _root_over(_gone_on(_LEAF, leaf) for leaf in leaves)


# copied for each hash: to begin anew costs more than to hash so little
_LEAF, _NODE = hashlib.sha256(b"\0"), hashlib.sha256(b"\1")
_TOGETHER = 1024  # hashed leaves, of which only the root is held: a power of two, so a whole tree


def _root_over(hashed: Iterable[bytes]) -> str:
    """Return the root over hashed leaves."""
    rest, tops = iter(hashed), []
    while some := list(islice(rest, _TOGETHER)):
        tops.append(_top(some))
    return _top(tops).hex() if tops else hashlib.sha256(b"").hexdigest()


def _top(level: list[bytes]) -> bytes:
    while len(level) > 1:
        pairs = zip(level[::2], level[1::2], strict=False)
        odd = level[-1:] if len(level) % 2 else []
        level = [_gone_on(_NODE, left + right) for left, right in pairs] + odd
    return level[0]


def _gone_on(begun: hashlib._Hash, data: bytes) -> bytes:
    hashed = begun.copy()
    hashed.update(data)
    return hashed.digest()


def log_root(digests: Iterable[tuple[str, int, str]]) -> str:
    """Return the root over all event digests, given as (writer, writer_seq, digest)."""
    return merkle_root(bytes.fromhex(digest) for _, _, digest in sorted(digests))


def outcome_hash(
    *,
    status: str,
    outcome: Mapping[str, Any] | None,
    exception: Mapping[str, Any] | None,
    pieces: Sequence[Any] | None,
) -> str:
    """Return the hex sha-256 of what came of a call.

    ``status`` tells a call in flight (``running``) from one that gave null. ``pieces`` are those of
    a stream, one by one, whenever they came; None is a call that did not stream.

    Examples
    --------
    >>> nothing = {"outcome": None, "exception": None, "pieces": None}
    >>> outcome_hash(status="running", **nothing) == outcome_hash(status="ok", **nothing)
    False
    """
    return digest_of([status, outcome, exception, comparable(pieces)])


def content_root(lanes: Mapping[str, Iterable[tuple[str, str]]]) -> str:
    """Return the root over lanes: lane → (signature, `outcome_hash`) in ordinal order.

    It holds no time, writer, id or mode, so equal runs have equal roots. A leaf is the canonical
    JSON ``[lane, [[signature, outcome hash], …]]``.
    """
    return _root_over(_hashed_lane(lane, lanes[lane]) for lane in sorted(lanes))


def _hashed_lane(lane: str, pairs: Iterable[tuple[str, str]]) -> bytes:
    """Return the hash of a lane's leaf, which is never held whole."""
    hashed = hashlib.sha256(b"\0[%b,[" % dumps(lane))
    for number, pair in enumerate(pairs):
        hashed.update(b"," + dumps(pair) if number else dumps(pair))
    hashed.update(b"]]")
    return hashed.digest()
