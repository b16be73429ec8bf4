"""Redact a writer's events before they are sealed: body, pooled messages, signature and hashes.

Events are taken in their order. The pieces of a stream are kept back until it ends, since what is
to be hidden may come in several of them. Pure but for the hook.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import msgspec
import orjson

from workbench import hashing
from workbench.redaction.parts import with_parts
from workbench.redaction.text import first_match
from workbench.redaction.values import changed, changed_body
from workbench.schema import EMPTY
from workbench.sharing import Unfolding, is_folded

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from workbench.redaction.layers import Redaction
    from workbench.redaction.text import Rule
    from workbench.schema import Event

    Fields = dict[str, Any]
    # an event's envelope without its writer's own fields, its payload, and the bodies it names
    Written = tuple[Fields, bytes, Mapping[str, Any]]

_WORSE = frozenset(("lossy", "truncated", "reconstructed"))
_ENDS_STREAM = frozenset(("call_ended", "step_ended"))


class EventRedaction:
    """Redacts one writer's events by what is in force when each of them comes.

    Attributes
    ----------
    changed
        How many events came out of it other than they went in.
    """

    def __init__(self, redaction: Redaction, *, begun: bool = False, stored: bool = False) -> None:
        self.redaction = redaction
        # of events as they are stored a model's request may name an earlier one
        self._unfolding = Unfolding() if stored else None
        self._met: set[str | None] = set()
        self.changed = 0
        self._begun = begun  # the run's start is away already
        self._untold = begun
        # a message's own digest → as it is stored, and as it came
        self._renamed: dict[str, tuple[str, dict[str, Any]]] = {}
        self._originals: dict[str, dict[str, Any]] = {}
        self._late: dict[str, Any] = {}
        # of the calls that are open: their request as it is stored, and if it was changed
        self._requests: dict[str, tuple[bytes, bool]] = {}
        self._streams: defaultdict[Any, list[tuple[Any, Fields, bytes]]] = defaultdict(list)

    def by(self, redaction: Redaction) -> None:
        """Redact what comes from now on by other rules."""
        redaction.counts.update(self.redaction.counts)
        redaction.withheld += self.redaction.withheld
        self.redaction = redaction
        self._renamed.clear()  # they are redacted anew when they are named next
        self._untold = self._begun

    def take(self, at: Any, written: Written) -> Iterator[tuple[Any, Written]]:
        """Yield what may be stored of an event now, and of those that waited for it.

        ``at`` is whatever belongs to the event, and comes back with it.
        """
        fields, payload, _ = written
        event_type = fields["event_type"]
        if self._untold:
            self._untold = False
            yield at, self._remark("redaction", self.redaction.told())
        if event_type == "chunk":
            self._streams[fields.get("step_id")].append((at, fields, payload))
            return
        if event_type == "run_ended":
            yield from self.rest()
        elif event_type in _ENDS_STREAM:
            yield from self._stream(fields.get("step_id"))
        made = self.one(written)
        if event_type == "run_started":
            self._begun = True
            made = made[0], self.announced(made[1]), made[2]
        elif event_type == "run_ended" and self.changed:
            yield at, self._remark("redacted", self._summary())
        yield at, made

    def rest(self) -> Iterator[tuple[Any, Written]]:
        """Yield the pieces of streams that are open."""
        for step_id in [*self._streams]:
            yield from self._stream(step_id)

    def announced(self, payload: bytes) -> bytes:
        """Return the body of a run's start or end with what is redacted by told in it."""
        body = orjson.loads(payload)
        return hashing.dumps(
            {**body, "redaction": [*body.get("redaction", []), *self.redaction.told()]}
        )

    def _remark(self, label: str, value: Any) -> Written:
        return {"event_type": "annotated"}, hashing.dumps({"label": label, "value": value}), {}

    def _summary(self) -> dict[str, Any]:
        """Return how much was redacted: events, matches of each rule, and what was withheld."""
        found = {"events": self.changed, "matches": dict(self.redaction.counts)}
        withheld = self.redaction.withheld
        return {**found, "withheld": withheld} if withheld else found

    def one(self, written: Written) -> Written:
        """Return an event that is no piece of a stream as it may be stored."""
        fields, payload, bodies = written
        event_type = fields["event_type"]
        kept = self._bodies(bodies)
        body = orjson.loads(payload)
        made = with_parts(event_type, body, part=self._part, rename=self._rename)
        if self._late:
            kept = {**kept, **self._late}
            self._late = {}
        differs = made != body
        # a request is canonical; all else keeps the order that an agent may go through it in
        dumps = hashing.dumps if event_type == "call_started" else hashing.dumps_in_order
        new = dumps(made) if differs else payload
        if event_type == "call_started":
            started = self._started(fields, made, differs=differs)
            fields, differs = started, differs or started is not fields
        elif event_type == "call_ended":
            fields, differs = self._ended(fields, made, differs=differs)
        if not differs:
            return fields, payload, kept
        self.changed += 1
        return _marked(fields), new, kept

    def _part(self, value: Any) -> Any:
        return self.redaction.value(value, self._rename if self._originals else None)

    def _rename(self, digest: str) -> str:
        if digest not in self._renamed:
            if digest not in self._originals:
                return digest
            new, made = self._redacted(digest, self._originals[digest])
            self._late[new] = made
        return self._renamed[digest][0]

    def _redacted(self, digest: str, body: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        if digest not in self._renamed:
            self._originals[digest] = body
            made = self.redaction.body(body)
            self._renamed[digest] = (hashing.digest_of(made), made)
        return self._renamed[digest]

    def _bodies(self, bodies: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the bodies by the digests they have now; the same mapping where none changed."""
        found = dict(self._redacted(digest, body) for digest, body in bodies.items())
        return bodies if found.keys() == bodies.keys() else found

    def _started(self, fields: Fields, body: dict[str, Any], *, differs: bool) -> Fields:
        step_id, request = fields.get("step_id"), self._whole(fields, body["request"])
        if request is None:
            # the earlier one is stored already: whoever reads this one whole signs it again
            return {**fields, "signature": None} if differs else fields
        signature = fields.get("signature")
        if signature is not None and (differs or request is not body["request"]):
            signature = hashing.signature_of(
                kind=fields.get("kind") or "tool", name=fields.get("name") or "", request=request
            )
        moved = signature != fields.get("signature")
        if step_id is not None:
            self._requests[step_id] = (hashing.dumps(request), differs or moved)
        return {**fields, "signature": signature} if moved else fields

    def _whole(self, fields: Fields, request: dict[str, Any]) -> dict[str, Any] | None:
        """Return a request written out; None where the one that it names is not here."""
        if self._unfolding is None or fields.get("kind") != "model":
            return request
        said = [*(request.get("messages") or [])[:1], request.get("tools")]
        named = (
            {one.get("call") for one in said if isinstance(one, dict)} if is_folded(request) else ()
        )
        if any(call not in self._met for call in named):
            return None
        self._met.add(fields.get("step_id"))
        return self._unfolding.whole(fields.get("step_id"), request)

    def _ended(self, fields: Fields, body: dict[str, Any], *, differs: bool) -> tuple[Fields, bool]:
        """Return a call's end as redacted where its request is, whatever came of it."""
        request, asked_differs = self._requests.pop(fields.get("step_id", ""), (None, False))
        if not (differs or asked_differs) or fields.get("content_hash") is None:
            return fields, differs or asked_differs
        outcome = body.get("outcome")
        found = None
        if request is not None:
            came = hashing.dumps(body.get("exception") if outcome is None else outcome)
            found = hashing.content_hash_of_written(
                fields.get("kind") or "tool", fields.get("name") or "", request, came
            )
        # without its request there is nothing to hash but what was said before: better no hash
        return {**fields, "content_hash": found}, True

    # ---- streams

    def pieces(self, chunks: Sequence[Event]) -> dict[int, Event]:
        """Return the chunks of sealed streams that have to change, by their number."""
        found: dict[int, Event] = {}
        streams: defaultdict[Any, list[Event]] = defaultdict(list)
        for chunk in chunks:
            streams[chunk.step_id].append(chunk)
        for held in streams.values():
            fields = [({"quality": chunk.quality}, bytes(chunk.payload)) for chunk in held]
            for chunk, (new, payload) in zip(held, self._joined(fields), strict=True):
                if payload != bytes(chunk.payload):
                    envelope = msgspec.structs.replace(
                        chunk, payload=EMPTY, digest=None, quality=new["quality"]
                    )
                    found[chunk.writer_seq] = hashing.sealed_with(envelope, payload)
        return found

    def _stream(self, step_id: str | None) -> Iterator[tuple[Any, Written]]:
        held = self._streams.pop(step_id, [])
        made = self._joined([(fields, payload) for _, fields, payload in held])
        for (at, _, _), (fields, payload) in zip(held, made, strict=True):
            yield at, (fields, payload, {})

    def _joined(self, chunks: Sequence[tuple[Fields, bytes]]) -> list[tuple[Fields, bytes]]:
        """Redact the chunks of a stream as what they are together."""
        bodies = [orjson.loads(payload) for _, payload in chunks]
        counts = [len(body.get("pieces") or []) for body in bodies]
        made = iter(self.redaction.pieces([p for body in bodies for p in body.get("pieces") or []]))
        found: list[tuple[Fields, bytes]] = []
        for (fields, payload), body, count in zip(chunks, bodies, counts, strict=True):
            mine = list(itertools.islice(made, count))
            if mine == (body.get("pieces") or []):
                found.append((fields, payload))
            else:
                self.changed += 1
                found.append((_marked(fields), hashing.dumps_in_order({**body, "pieces": mine})))
        return found


def _marked(fields: Fields) -> Fields:
    return fields if fields.get("quality") in _WORSE else {**fields, "quality": "redacted"}


# ---- what a server asks


def rule_for_event(event_type: str, body: dict[str, Any], rules: Sequence[Rule]) -> str | None:
    """Return the name of a rule that would change an event's body, or None where none would."""
    found: list[str] = []
    look = _looking(rules, found)
    with_parts(
        event_type, body, part=lambda part: changed(part, look), rename=lambda digest: digest
    )
    return found[0] if found else None


def rule_for_body(body: dict[str, Any], rules: Sequence[Rule]) -> str | None:
    """Return the name of a rule that would change a pooled message, or None."""
    found: list[str] = []
    changed_body(body, _looking(rules, found))
    return found[0] if found else None


def rule_for_value(value: Any, rules: Sequence[Rule]) -> str | None:
    """Return the name of a rule that would change a JSON value, or None."""
    found: list[str] = []
    changed(value, _looking(rules, found))
    return found[0] if found else None


def _looking(rules: Sequence[Rule], found: list[str]) -> Any:
    def look(text: str) -> str:
        if not found and (name := first_match(text, rules)) is not None:
            found.append(name)
        return text

    return look
