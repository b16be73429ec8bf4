"""A recorded run as an index for replay: lanes of calls, what each asked and what came back.

Pure: events and bodies in, records out.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from workbench import hashing, schema, sharing
from workbench.errors import NotReplayable, RecordingIncomplete

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from workbench.schema import Event


class RecordedCall(Struct, frozen=True, kw_only=True, gc=False):  # it holds no circles
    """One call of a recording.

    ``pieces`` are those of a stream, chunk by chunk, and None where the call did not stream.
    ``index`` is the place of what came back in the conversation an imported run was made of,
    ``ended_at`` in seconds since 1970.
    """

    seq: int
    ended_seq: int | None
    step_id: str
    kind: str
    name: str
    lane: str
    ordinal: int
    signature: str
    effect: str
    quality: str
    order: str
    status: str
    request: dict[str, Any]
    outcome: dict[str, Any] | None
    exception: dict[str, Any] | None
    usage: dict[str, Any] | None
    message_id: str | None
    pieces: tuple[list[Any], ...] | None
    tokens: dict[str, float]
    index: int | None = None
    ended_at: float | None = None

    @property
    def outcome_hash(self) -> str:
        """The hex sha-256 of what came of it: see `workbench.hashing.outcome_hash`."""
        pieces = None if self.pieces is None else [one for chunk in self.pieces for one in chunk]
        return hashing.outcome_hash(
            status=self.status, outcome=self.outcome, exception=self.exception, pieces=pieces
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why a recording cannot be replayed exactly: a code of its own, where, and a sentence."""

    kind: str
    seq: int | None
    lane: str | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """How the root went on after an interrupt, and the human calls whose answers it brought."""

    seq: int
    started: schema.RunStarted
    answers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A run, read for replay.

    ``lanes`` maps a lane to its calls by ordinal. ``redaction`` tells by what the run was redacted,
    a layer each; the last ``redacted_later`` of them came in force while it ran. ``digests`` are
    those of the events by ``seq``, ``writers`` the last number of each writer. ``remarks`` are the
    messages of an imported run that no call gave: their places and digests. ``world`` is what it
    began in: states of generators, hash seed, zone, locale and time.
    """

    calls: tuple[RecordedCall, ...]
    lanes: dict[str, dict[int, RecordedCall]]
    started: schema.RunStarted | None
    ended: schema.RunEnded | None
    status: str | None
    bodies: Mapping[str, dict[str, Any]]
    log_root: str
    problems: tuple[Problem, ...] = ()
    chunks: tuple[Any, ...] = ()
    digests: dict[int, str] = field(default_factory=dict)
    writers: dict[str, int] = field(default_factory=dict)
    roots: int = 1
    redaction: tuple[dict[str, Any], ...] = ()
    redacted_later: int = 0
    resumes: tuple[Resume, ...] = ()
    earlier: tuple[dict[str, Any], ...] = ()
    remarks: tuple[tuple[int, str], ...] = ()
    world: dict[str, Any] | None = None

    def at(self, lane: str, ordinal: int) -> RecordedCall | None:
        """Return the call at a position."""
        return self.lanes.get(lane, {}).get(ordinal)

    @property
    def content_root(self) -> str:
        """The root over requests and outcomes, lane by lane."""
        return hashing.content_root(content_lanes(self.calls))

    @property
    def imported(self) -> bool:
        """Whether it was made of the conversation that another tool wrote down."""
        return self.started is not None and not self.started.entry and self.started.pooled

    def require_replayable(self) -> None:
        """Refuse a run whose root cannot be called again; an imported one can, by a loop.

        Raises
        ------
        NotReplayable
            There is no recorded root, or it never ended.
        """
        started = self.started
        if not self.imported and (started is None or not started.entry.get("method")):
            raise NotReplayable(
                "the run has no recorded root",
                hint="record it with wb.record(store, agent, input)",
            )
        if self.roots > 1:
            raise NotReplayable(
                f"the run has {self.roots} roots: only one can be called again",
                hint="record each root as a run of its own",
            )
        if self.ended is None:
            raise NotReplayable("the run has not ended", found="no run_ended event")

    def require_complete(self) -> None:
        """Refuse a recording that lacks what an exact replay needs.

        Raises
        ------
        RecordingIncomplete
            Calls in flight, unrecorded calls, calls that lost something or ran side by side in
            one lane; the first is named, all are in the error's facts.
        """
        if self.imported:
            raise RecordingIncomplete(
                "the recording cannot be replayed exactly: an imported run is reconstructed",
                hint='mode="cached" answers what it can',
                problems=[f"{p.kind} at seq {p.seq}: {p.reason}" for p in self.problems],
            )
        if not self.problems:
            return
        first = self.problems[0]
        raise RecordingIncomplete(
            f"the recording cannot be replayed exactly: {first.reason}",
            where=f"seq {first.seq}, lane {first.lane}",
            hint='mode="cached" answers what it can',
            problems=[f"{p.kind} at seq {p.seq}: {p.reason}" for p in self.problems],
        )


def content_lanes(calls: Iterable[RecordedCall]) -> dict[str, list[tuple[str, str]]]:
    """Return lane → (signature, hash of what came of it), in order of ordinal."""
    lanes: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for call in sorted(calls, key=lambda c: (c.ordinal, c.seq)):
        lanes[call.lane].append((call.signature, call.outcome_hash))
    return dict(lanes)


def read(events: Iterable[Event], bodies: Mapping[str, dict[str, Any]]) -> Recording:
    """Index a run's events, in order of ``seq``."""
    reader = _Reader()
    for event in events:
        reader.take(event)
    return reader.recording(bodies)


class _Reader:
    def __init__(self) -> None:
        self.started: schema.RunStarted | None = None
        self.writer: str | None = None
        self.ended: schema.RunEnded | None = None
        self.status: str | None = None
        self.starts: dict[str, Event] = {}
        self.ends: dict[str, Event] = {}
        self.pieces: dict[str, list[tuple[int, list[Any]]]] = defaultdict(list)
        self.problems: list[Problem] = []
        self.digests: list[tuple[str, int, str]] = []
        self.by_seq: dict[int, str] = {}
        self.chunks: list[tuple[int, Any]] = []
        self.roots = 1
        self.redaction: list[dict[str, Any]] = []
        self.redacted_later = 0
        self.resumes: list[Resume] = []
        self.earlier: list[dict[str, Any]] = []
        self.remarks: list[tuple[int, str]] = []
        self.world: dict[str, Any] | None = None

    def take(self, event: Event) -> None:
        seq = event.seq or 0
        digest = event.digest or hashing.event_digest(event)
        self.digests.append((event.writer, event.writer_seq, digest))
        self.by_seq[seq] = digest
        match event.event_type:
            case "run_started":
                self._only(event, self.started is None)
                self._root_lost(event, "input")
                self.started = schema.parse_body(event)
                self.writer = event.writer
                self.redaction[:0] = self.started.redaction
            case "run_ended":
                self._only(event, self.ended is None)
                self._root_lost(event, "output")
                self.status = event.status
                self.ended = schema.parse_body(event)
                self._redacted_later(self.ended.redaction)
            case "call_started":
                self._only(event, self.starts.setdefault(_step_of(event), event) is event)
            case "call_ended":
                self._only(event, self.ends.setdefault(_step_of(event), event) is event)
            case "chunk":
                self._chunk(event)
            case "step_started" if (event.name or "").startswith(
                "root["
            ) and event.name == event.lane:
                self.roots += 1
            case "resumed":
                self._resumed(event)
            case "annotated":
                self._annotated(event)
            case _:
                pass

    def _only(self, event: Event, is_first: bool) -> None:  # noqa: FBT001 - a fact of the event
        if not is_first:
            what = f"{event.event_type} of {event.kind} {event.name}" if event.kind else None
            self._problem("doubled", event, f"{what or event.event_type} is written twice")

    def _root_lost(self, event: Event, what: str) -> None:
        if event.quality not in (None, "full", "redacted"):
            reason = f"the run's {what} is {event.quality}: it cannot be restored"
            self._problem("capture_quality", event, reason)

    def _chunk(self, event: Event) -> None:
        body: schema.Chunk = schema.parse_body(event)
        if event.step_id is None:
            self.chunks.append((body.index, body.pieces))
        else:
            self.pieces[event.step_id].append((body.index, body.pieces))

    def _resumed(self, event: Event) -> None:
        body: schema.Resumed = schema.parse_body(event)
        if not isinstance(body.value, dict) or "entry" not in body.value:
            return  # by the agent's own code, which a replay runs again
        self._root_lost(event, "resume")
        said = {key: body.value.get(key) for key in ("entry", "input", "config")}
        self.resumes.append(
            Resume(
                seq=event.seq or 0,
                started=schema.RunStarted(**{k: v for k, v in said.items() if v is not None}),
                answers=tuple(body.value.get("answers") or ()),
            )
        )

    def _redacted_later(self, layers: list[Any]) -> None:
        self.redaction += layers
        self.redacted_later += len(layers)

    def _annotated(self, event: Event) -> None:
        body: schema.Annotated = schema.parse_body(event)
        if body.message is not None and body.index is not None:
            self.remarks.append((body.index, body.message))
        if body.label == "earlier_state":
            self._root_lost(event, "thread's earlier state")
            self.earlier.append(body.value)
        if body.label == "world" and isinstance(body.value, dict):
            self.world = self.world or body.value
        if body.label == "redaction" and isinstance(body.value, list):
            self._redacted_later(body.value)
        if body.label == "capture_gap":
            gap = body.value if isinstance(body.value, dict) else {}
            reason = f"{gap.get('kind')} {gap.get('name')} was not recorded: {gap.get('reason')}"
            self._problem("capture_gap", event, reason)

    def _problem(self, kind: str, event: Event, reason: str) -> None:
        self.problems.append(Problem(kind=kind, seq=event.seq, lane=event.lane, reason=reason))

    def recording(self, bodies: Mapping[str, dict[str, Any]]) -> Recording:
        whole = sharing.Unfolding().whole
        calls = tuple(self._call(step_id, event, whole) for step_id, event in self.starts.items())
        lanes: dict[str, dict[int, RecordedCall]] = defaultdict(dict)
        for call in calls:
            # of two calls with one number the first answers; the other is never consumed
            lanes[call.lane].setdefault(call.ordinal, call)
        for call, start in zip(calls, self.starts.values(), strict=True):
            self._judge(call, start, bodies)
        self._judge_writers()
        self._judge_order()
        return Recording(
            calls=calls,
            lanes={lane: dict(sorted(found.items())) for lane, found in lanes.items()},
            started=self.started,
            ended=self._ended(bodies),
            status=self.status,
            bodies=bodies,
            log_root=hashing.log_root(self.digests),
            problems=tuple(sorted(self.problems, key=lambda p: p.seq or 0)),
            chunks=tuple(pieces for _, pieces in sorted(self.chunks, key=lambda c: c[0])),
            digests=self.by_seq,
            writers=self._last_numbers(),
            roots=self.roots,
            redaction=tuple(one for one in self.redaction if isinstance(one, dict)),
            redacted_later=self.redacted_later,
            resumes=tuple(self.resumes),
            earlier=tuple(self.earlier),
            remarks=tuple(self.remarks),
            world=self.world,
        )

    def _last_numbers(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for writer, number, _ in self.digests:
            found[writer] = max(number, found.get(writer, 0))
        return found

    def _ended(self, bodies: Mapping[str, dict[str, Any]]) -> schema.RunEnded | None:
        if self.ended is None:
            return None
        output = sharing.with_bodies(self.ended.output, lambda: bodies)
        return replace(self.ended, output=output)

    def _call(
        self, step_id: str, start: Event, whole: Callable[[str, dict[str, Any]], dict[str, Any]]
    ) -> RecordedCall:
        end = self.ends.get(step_id)
        came: schema.CallEnded = schema.parse_body(end) if end else schema.CallEnded()
        request = dict(whole(step_id, schema.parse_body(start).request))
        kind, name = start.kind or "tool", start.name or ""
        pieces = self.pieces.get(step_id)
        return RecordedCall(
            seq=start.seq or 0,
            ended_seq=end.seq if end else None,
            step_id=step_id,
            kind=kind,
            name=name,
            lane=start.lane or "root",
            ordinal=start.ordinal or 1,
            signature=start.signature
            or hashing.signature_of(kind=kind, name=name, request=request),
            effect=start.effect or "unknown",
            quality=(end.quality if end else None) or start.quality or "full",
            order=start.order or "declared",
            status=str((end and end.status) or "running"),
            request=request,
            outcome=came.outcome,
            exception=came.exception,
            usage=came.usage,
            message_id=came.message_id,
            pieces=tuple(p for _, p in sorted(pieces, key=lambda p: p[0])) if pieces else None,
            tokens=_tokens(end),
            index=came.index,
            ended_at=end.started_at.timestamp() if end and end.started_at else None,
        )

    def _judge_writers(self) -> None:
        """Find the calls of other processes: a replay has none that could ask again."""
        seen = {self.writer}
        for event in self.starts.values():
            if self.writer is not None and event.writer not in seen:
                seen.add(event.writer)
                reason = f"{event.kind} {event.name} was called by another process of the agent"
                self._problem("other_process", event, reason)

    def _judge_order(self) -> None:
        """Find calls that did not begin in the order of their numbers in their lane."""
        last: dict[tuple[str, str | None], int] = {}
        for event in self.starts.values():
            if event.order not in (None, "declared"):
                continue
            before = last.get((event.writer, event.lane), 0)
            number = last[event.writer, event.lane] = event.ordinal or 1
            if number < before:
                reason = f"{event.kind} {event.name} is number {number}, and stands behind {before}"
                self._problem("order", event, reason)

    def _judge(self, call: RecordedCall, start: Event, bodies: Mapping[str, Any]) -> None:
        kind, reason = "capture_quality", None
        if call.ended_seq is None:
            reason = f"{call.kind} {call.name} never came back"
        elif call.quality not in ("full", "redacted"):
            reason = f"{call.kind} {call.name} is {call.quality}: it cannot be restored"
        elif call.order != "declared":
            reason = f"{call.kind} {call.name} ran beside another call of its lane"
        elif call.outcome and call.outcome.get("message") not in (None, *bodies):
            reason = f"the answer of {call.kind} {call.name} is not in the recording"
        elif not _is_signed(call, start):
            reason = f"the signature of {call.kind} {call.name} is not that of its request"
        if reason is not None:
            self.problems.append(Problem(kind=kind, seq=call.seq, lane=call.lane, reason=reason))


def _step_of(event: Event) -> str:
    return event.step_id or f"#{event.seq or 0}"


def _is_signed(call: RecordedCall, start: Event) -> bool:
    """Say whether a call's signature is that of its request, as far as that is known.

    As a rule the request is written as it was signed, and need not be written again.
    """
    written = bytes(start.payload)
    if written.startswith(_REQUEST) and b'"messages"' not in written:
        request = written[len(_REQUEST) : -1]
        if hashing.signature_of_written(call.kind, call.name, request) == call.signature:
            return True
    if sharing.lacks_beginning(call.request):
        return True
    signed = hashing.signature_of(kind=call.kind, name=call.name, request=call.request)
    return signed == call.signature


_REQUEST = b'{"request":'
_TOKENS = (
    "input_tokens",
    "input_uncached",
    "cache_read",
    "cache_write",
    "output_tokens",
    "reasoning_tokens",
    "cost_usd",
)


def _tokens(end: Event | None) -> dict[str, float]:
    if end is None:
        return {}
    return {name: value for name in _TOKENS if (value := getattr(end, name)) is not None}
