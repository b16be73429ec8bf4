"""Decide which events of a batch are new, known, or out of order. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from workbench.errors import (
    InvalidEvent,
    MissingBodies,
    RunClosed,
    SequenceConflict,
    SequenceGap,
    WorkbenchError,
)
from workbench_server.limits import check_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from workbench_server.ingest.checking import Checked

_LAST = 2**63 - 1


@dataclass(slots=True, kw_only=True)
class Writer:
    """How far a writer has delivered, and the last number announced for it."""

    last: int = 0
    final: int | None = None


@dataclass(slots=True, kw_only=True)
class Log:
    """What is known of a run's log under its lock, moved on by each admitted event."""

    closed: bool
    writers: dict[str, Writer]
    digests: dict[tuple[str, int], str] = field(default_factory=dict)
    missing: frozenset[str] = frozenset()

    def writer(self, name: str) -> Writer:
        return self.writers.setdefault(name, Writer())


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """The new events in order, how many were known, and those refused."""

    accepted: list[Checked]
    duplicates: int
    rejected: list[tuple[int, WorkbenchError]]


def known_already(checked: Iterable[Checked], writers: dict[str, Writer]) -> list[tuple[str, int]]:
    """Return (writer, writer_seq) of events whose number was used: their digests are wanted."""
    keys = ((c.event.writer, c.event.writer_seq) for c in checked)
    return [(w, n) for w, n in keys if w in writers and n <= writers[w].last]


def admit(checked: Iterable[Checked], log: Log) -> Admission:
    """Go through the batch in its order; `log` is moved on by what is accepted."""
    accepted: list[Checked] = []
    rejected: list[tuple[int, WorkbenchError]] = []
    duplicates = 0
    for one in checked:
        try:
            if _is_duplicate(one, log):
                duplicates += 1
                continue
            _check_place(one, log)
            _check_bodies(one, log)
            _move_on(one, log)
        except WorkbenchError as error:
            rejected.append((one.index, error))
        else:
            accepted.append(one)
    return Admission(accepted=accepted, duplicates=duplicates, rejected=rejected)


def _where(one: Checked) -> str:
    return f"events[{one.index}]"


def _is_duplicate(one: Checked, log: Log) -> bool:
    event = one.event
    if event.writer_seq > log.writer(event.writer).last:
        return False
    stored = log.digests[event.writer, event.writer_seq]
    if stored != one.digest.decode():
        raise SequenceConflict(
            "the number was used before for another event",
            where=_where(one),
            expected=stored,
            found=one.digest.decode(),
            writer=event.writer,
            writer_seq=event.writer_seq,
        )
    return True


def _check_place(one: Checked, log: Log) -> None:
    event, writer = one.event, log.writer(one.event.writer)
    if log.closed and (event.event_type == "run_ended" or event.writer_seq > (writer.final or 0)):
        raise RunClosed(
            "the run has ended, and this event lies beyond what was announced",
            where=_where(one),
            expected=f"at most {writer.final or writer.last}",
            found=event.writer_seq,
            writer=event.writer,
        )
    if event.writer_seq != writer.last + 1:
        raise SequenceGap(
            "the batch skips numbers of its writer",
            where=_where(one),
            expected=writer.last + 1,
            found=event.writer_seq,
            hint=f"Send again from writer_seq {writer.last + 1}.",
            writer=event.writer,
        )


def _check_bodies(one: Checked, log: Log) -> None:
    missing = [digest for digest in one.refers if digest in log.missing]
    if missing:
        raise MissingBodies(
            "the event names messages whose bodies were never sent",
            where=_where(one),
            found=f"{len(missing)} unknown digests",
            hint="Send them in the batch's bodies.",
            digests=missing,
        )


def _move_on(one: Checked, log: Log) -> None:
    event = one.event
    if event.event_type == "run_ended":
        _close(one, log)
    log.writer(event.writer).last = event.writer_seq
    log.digests[event.writer, event.writer_seq] = one.digest.decode()


def _close(one: Checked, log: Log) -> None:
    event = one.event
    announced = {event.writer: event.writer_seq} | one.body.writers
    for name, final in announced.items():
        _check_announced(name, final, where=f"{_where(one)}.payload.writers")
        delivered = event.writer_seq if name == event.writer else log.writer(name).last
        if final < delivered:
            raise InvalidEvent(
                "run_ended announces less than was delivered",
                where=_where(one),
                expected=f"at least {delivered}",
                found=final,
                writer=name,
            )
    for name, final in announced.items():
        log.writer(name).final = final
    log.closed = True


def _check_announced(name: str, final: int, *, where: str) -> None:
    check_text(name, where=where, most=256)
    if not name or final > _LAST:
        raise InvalidEvent(
            "run_ended announces what no writer can deliver",
            where=where,
            expected=f"a writer's name, and at most {_LAST}",
            found=f"{final} of {name!r}",
        )


def refusal(admission: Admission, error: WorkbenchError) -> WorkbenchError:
    """Return why none of a batch is stored; whoever resends from what a gap expects loses none."""
    if not isinstance(error, SequenceGap):
        return error
    writer = error.facts["writer"]
    numbers = (c.event.writer_seq for c in admission.accepted if c.event.writer == writer)
    first = next(numbers, None)
    if first is None:
        return error
    return SequenceGap(
        error.what,
        where=error.where,
        expected=first,
        found=error.found,
        hint=f"Nothing of the batch was stored: send again from writer_seq {first}.",
        **error.facts,
    )
