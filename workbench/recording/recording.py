"""A recorded run as a replay looks at it: its calls, its root, and what an exact replay lacks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench import hashing, schema
from workbench.errors import NotReplayable, RecordingIncomplete

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from workbench.recording.calls import Calls, RecordedCall


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

    ``redaction`` tells by what the run was redacted, a layer each; the last ``redacted_later`` of
    them came in force while it ran. ``events`` is their number, ``first_seq`` and ``last_seq`` are
    where they begin and end, ``writers`` the last number of each writer. ``remarks`` are the
    messages of an imported run that no call gave: their places and digests. ``world`` is what it
    began in: states of generators, hash seed, zone, locale and time.
    """

    calls: Calls
    started: schema.RunStarted | None
    ended: schema.RunEnded | None
    status: str | None
    bodies: Mapping[str, dict[str, Any]]
    log_root: str
    events: int
    first_seq: int | None
    last_seq: int | None
    writers: dict[str, int]
    problems: tuple[Problem, ...] = ()
    chunks: tuple[Any, ...] = ()
    roots: int = 1
    redaction: tuple[dict[str, Any], ...] = ()
    redacted_later: int = 0
    resumes: tuple[Resume, ...] = ()
    earlier: tuple[dict[str, Any], ...] = ()
    remarks: tuple[tuple[int, str], ...] = ()
    world: dict[str, Any] | None = None
    lacks_messages: bool = False

    def at(self, lane: str, ordinal: int) -> RecordedCall | None:
        """Return the call at a position."""
        return self.calls.at(lane, ordinal)

    @property
    def content_root(self) -> str:
        """The root over requests and outcomes, lane by lane."""
        lanes = self.calls.by_lane().items()
        return hashing.content_root({lane: self._pairs(numbers) for lane, numbers in lanes})

    def _pairs(self, numbers: Iterable[int]) -> Iterator[tuple[str, str]]:
        calls = self.calls
        return ((calls.signature(number), calls.outcome_hash(number)) for number in numbers)

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
