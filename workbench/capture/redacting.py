"""What a journal's events go through before they are numbered and sealed, and whose rules that is.

It is the one way from an agent to its store, so nothing that is recorded passes beside it. It costs
the agent's thread nothing: all of it happens on the journal's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import orjson

from workbench import hashing
from workbench.redaction import Layer, Wanted
from workbench.redaction.events import EventRedaction
from workbench.store.redacting import redacted_header
from workbench.store.rules import local_key

if TYPE_CHECKING:
    from collections.abc import Iterable

    from workbench.capture.asked import Asked
    from workbench.capture.written import Written
    from workbench.redaction import Redaction
    from workbench.schema import RunHeader
    from workbench.store.protocol import RunWriter, Store


class JournalRedaction:
    """Redacts events by what was wished for, and by the rules of their store as they are then."""

    def __init__(self, sink: RunWriter, wanted: Wanted | None) -> None:
        self._sink = sink
        self._wanted = wanted or Wanted()
        self._layer: Layer | None = None
        self._asked = False
        self._events: EventRedaction | None = None
        self._begun = False

    @property
    def withheld(self) -> int:
        """How many values were not recorded, since a hook raised."""
        return 0 if self._events is None else self._events.redaction.withheld

    @property
    def wanted(self) -> Wanted:
        """What was wished for."""
        return self._wanted

    def wants(self, wanted: Wanted | None) -> None:
        """Redact by other wishes; to be said before the first event comes."""
        self._wanted = wanted or Wanted()

    def take(self, at: int, written: Written) -> Iterable[tuple[int, Written]]:
        """Return what may be stored now of an event that came, and of those before it."""
        layer: Layer | None = getattr(self._sink, "rules", None)
        if layer is not self._layer or not self._asked:
            self._asked = True
            self._adopt(layer)
        self._begun = self._begun or written[0]["event_type"] == "run_started"
        return ((at, written),) if self._events is None else self._events.take(at, written)

    def rest(self) -> Iterable[tuple[int, Written]]:
        """Return what was kept back of streams that have not ended."""
        return () if self._events is None else self._events.rest()

    def _adopt(self, layer: Layer | None) -> None:
        """Go on by other rules; what was numbered by the old ones stays as it is."""
        same = self._layer is not None and layer is not None and self._layer == layer
        self._layer = layer
        if same:
            return
        redaction = redaction_by(self._wanted, layer)
        if self._events is not None:
            self._events.by(redaction)
        elif redaction:
            self._events = EventRedaction(redaction, begun=self._begun)


class AskedRedaction:
    """Redacts requests as those of a recording were, so that they can be found in it."""

    def __init__(self, redaction: Redaction) -> None:
        self._events = EventRedaction(redaction)

    def asked(self, asked: Asked) -> Asked:
        """Return a request as it would have been recorded."""
        fields = {"event_type": "call_started", "kind": asked.kind, "name": asked.name}
        payload = b'{"request":%b}' % asked.written
        _, made, bodies = self._events.one((fields, payload, asked.bodies))
        if made == payload:
            return asked
        return asked.redacted_as(orjson.loads(made)["request"], bodies)

    def body(self, event_type: str, body: dict[str, Any]) -> dict[str, Any]:
        """Return an event's body as it would have been recorded."""
        _, made, _ = self._events.one(({"event_type": event_type}, hashing.dumps(body), {}))
        return dict(orjson.loads(made))


def redaction_by(wanted: Wanted, layer: Layer | None) -> Redaction:
    """Return what is wished for beside a store's rules; one without any has this machine's key."""
    if layer is None:
        is_idle = not (wanted.rules or wanted.hook or wanted.layers)
        layer = Layer(key=b"" if is_idle else local_key())
    return wanted.beside(layer)


def writer_of(store: Store, header: RunHeader, wanted: Wanted | None) -> RunWriter:
    """Open a run in a store; what is said of it is redacted as its events will be."""
    if wanted is None:
        return store.writer(header)
    if isinstance(store, _Ruled):
        return store.writer(header, redact=wanted)
    return store.writer(redacted_header(header, redaction_by(wanted, None)))


@runtime_checkable
class _Ruled(Protocol):
    """A store whose workspace has rules of its own."""

    def redaction(self) -> Layer | None:
        """Return them, with the key of their placeholders."""

    def writer(self, header: RunHeader, *, redact: Wanted | None = None) -> RunWriter:
        """Open a run."""


def rules_of(store: object) -> Layer | None:
    """Return the rules of a store's workspace, with its key; None where there are none to know."""
    return store.redaction() if isinstance(store, _Ruled) else None
