"""Several runs in one request: each is stored whole, or left out whole."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import psycopg
from msgspec import Raw, Struct

from workbench.errors import InvalidEvent, LimitExceeded, Unavailable, WorkbenchError
from workbench.schema import Event
from workbench_server.database import transaction
from workbench_server.ingest import writing
from workbench_server.ingest.checking import check_bodies, check_events
from workbench_server.ingest.committing import parameters_of
from workbench_server.ingest.plain import summary_of
from workbench_server.ingest.preparing import pack
from workbench_server.ingest.writing import Prepared, Receipt
from workbench_server.queries import queries
from workbench_server.redacting import check_header
from workbench_server.runs import another_has_the_source, create_within, facts_of, parse_header

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from uuid import UUID

    from starlette.datastructures import State

    from workbench.redaction import Rule
    from workbench_server.access import Caller
    from workbench_server.limits import Limits

MOST_RUNS = 1_000


class Entry(Struct, frozen=True, forbid_unknown_fields=True):
    """A run's header and its events, as they came."""

    header: Raw
    events: Raw = Raw(b"[]")


class Several(Struct, frozen=True, forbid_unknown_fields=True):
    """Runs, and the bodies of the messages that any of them names."""

    runs: list[Entry]
    bodies: dict[str, Raw] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """A run that is sound by itself: its facts, and its events as one batch."""

    facts: dict[str, Any]
    batch: Prepared

    @property
    def run_id(self) -> UUID:
        return self.batch.run_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What became of a run."""

    created: bool
    receipt: Receipt


Outcome = Stored | WorkbenchError
_decoder = msgspec.json.Decoder(Several)
_event_decoder = msgspec.json.Decoder(list[Event])
_raw_decoder = msgspec.json.Decoder(list[Raw])


async def store_runs(state: State, caller: Caller, *, data: bytes) -> list[dict[str, Any]]:
    """Store runs with their events, and say in their order what became of each."""
    wanted = await asyncio.to_thread(
        prepare_runs, caller.workspace_id, data, caller.limits, rules=caller.rules
    )
    whole = {place: one for place, one in enumerate(wanted) if isinstance(one, Whole)}
    state.rates.admit(
        caller,
        events=sum(len(one.batch.checked) for one in whole.values()),
        bytes=sum(one.batch.bytes for one in whole.values()),
    )
    outcomes: dict[int, Outcome] = {
        place: one for place, one in enumerate(wanted) if isinstance(one, WorkbenchError)
    }
    outcomes |= await _store_together(state, caller.workspace_id, whole)
    for place in sorted(whole.keys() - outcomes.keys()):
        outcomes[place] = await _store_alone(state, whole[place])
    for place, one in whole.items():
        _tell(state, one, outcomes[place])
    for outcome in outcomes.values():
        if isinstance(outcome, WorkbenchError):
            state.metrics.refused(outcome.code)
    return [_answer(wanted[place], outcomes[place]) for place in range(len(wanted))]


# ---- what needs no database


def prepare_runs(
    workspace_id: UUID, data: bytes, limits: Limits, *, rules: Sequence[Rule] = ()
) -> list[Whole | WorkbenchError]:
    """Check all that can be checked without a look at the log, each run by itself."""
    asked = _parsed(data)
    bodies = check_bodies(asked.bodies, nesting=limits.nesting, rules=rules)
    sizes = {digest: len(bytes(raw)) for digest, raw in asked.bodies.items()}
    found: list[Whole | WorkbenchError] = []
    for entry in asked.runs:
        try:
            found.append(
                _whole(workspace_id, entry, bodies, sizes=sizes, limits=limits, rules=rules)
            )
        except WorkbenchError as error:
            found.append(error)
    pack([one for run in found if isinstance(run, Whole) for one in run.batch.checked])
    return found


def _parsed(data: bytes) -> Several:
    try:
        asked = _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidEvent(
            "the request is malformed",
            expected='{"runs": [{"header": {…}, "events": […]}, …], "bodies": {…}}',
            found=str(error),
        ) from error
    except RecursionError as error:
        raise LimitExceeded("the JSON is nested too deep") from error
    if len(asked.runs) > MOST_RUNS:
        raise LimitExceeded(
            "the request has too many runs",
            expected=f"at most {MOST_RUNS}",
            found=len(asked.runs),
            hint="Send fewer of them at once.",
        )
    return asked


def _whole(
    workspace_id: UUID,
    entry: Entry,
    bodies: Mapping[str, bytes],
    *,
    sizes: Mapping[str, int],
    limits: Limits,
    rules: Sequence[Rule],
) -> Whole:
    header = parse_header(bytes(entry.header))
    check_header(header, rules)
    facts = facts_of(header, workspace_id)
    checked, unsound = check_events(_events(entry, limits), nesting=limits.nesting, rules=rules)
    if unsound:
        raise unsound[0][1]
    named = dict.fromkeys(digest for one in checked for digest in one.refers)
    own = {digest: bodies[digest] for digest in named if digest in bodies}
    size = sum(one.size for one in checked) + sum(sizes[digest] for digest in own)
    run_id = facts["run_id"]
    batch = Prepared(
        workspace_id=workspace_id,
        run_id=run_id,
        atomic=True,
        checked=checked,
        unsound=[],
        bodies=own,
        bytes=size,
        summary=summary_of(checked, run_id=run_id, bodies=own, size=size),
    )
    return Whole(facts=facts, batch=batch)


def _events(entry: Entry, limits: Limits) -> list[Event] | list[Raw]:
    """Return the events, read all at once where all can be; else each has to be tried."""
    try:
        events: list[Event] | list[Raw] = _event_decoder.decode(entry.events)
    except (msgspec.MsgspecError, UnicodeDecodeError, OverflowError):
        events = _raw_events(entry)
    if len(events) > limits.batch_events:
        raise LimitExceeded(
            "the run has too many events for one request",
            expected=f"at most {limits.batch_events}",
            found=len(events),
            hint="Make the run, and append its events in batches.",
        )
    return events


def _raw_events(entry: Entry) -> list[Raw]:
    try:
        return _raw_decoder.decode(entry.events)
    except msgspec.MsgspecError as error:
        raise InvalidEvent("the run's events are no list", found=str(error)) from error


# ---- the transactions


async def _store_together(
    state: State, workspace_id: UUID, whole: Mapping[int, Whole]
) -> dict[int, Outcome]:
    """Store in one transaction what is new and plain; what is not is not in the answer."""
    plain = {place: one for place, one in _once_each(whole) if _is_plain(one)}
    if not plain:
        return {}
    try:
        firsts = await _store_plain(state, workspace_id, list(plain.values()))
    except (psycopg.IntegrityError, psycopg.DataError):
        return {}  # one of them is at fault; by itself each is told what
    return {
        place: Stored(created=True, receipt=writing.all_of(one.batch, first_seq=first))
        for (place, one), first in zip(plain.items(), firsts, strict=True)
        if first is not None
    }


def _once_each(whole: Mapping[int, Whole]) -> Sequence[tuple[int, Whole]]:
    seen = {one.run_id: place for place, one in reversed(list(whole.items()))}
    # In one order, so that two requests never wait for each other in a circle.
    return sorted(
        ((place, whole[place]) for place in seen.values()), key=lambda pair: pair[1].run_id
    )


def _is_plain(one: Whole) -> bool:
    return one.batch.summary is not None and one.facts["supersedes"] is None


async def _store_plain(
    state: State, workspace_id: UUID, plain: Sequence[Whole]
) -> list[int | None]:
    """Store each run whole, or leave it out; say where each begins, or None."""
    rows = await asyncio.to_thread(parameters_of, [one.batch for one in plain])
    async with transaction(state.pool, workspace_id) as connection:
        stored = await connection.execute(
            queries("ingest")["store_runs"], rows | {"headers": _headers(plain)}
        )
        row = await stored.fetchone()
    return list(row["firsts"]) if row else [None] * len(plain)


def _headers(runs: Iterable[Whole]) -> str:
    return msgspec.json.encode([_header(one.facts) for one in runs]).decode()


def _header(facts: dict[str, Any]) -> dict[str, Any]:
    labels, header_hash = Raw(facts["labels"].encode()), facts["header_hash"].hex()
    return facts | {"labels": labels, "header_hash": header_hash}


async def _store_alone(state: State, one: Whole) -> Outcome:
    """Make a run, or find it, and store its events as one batch."""
    try:
        async with transaction(state.pool, one.batch.workspace_id) as connection:
            created = await create_within(connection, one.facts)
            receipt = await writing.store_within(connection, one.batch)
    except Unavailable:
        raise
    except WorkbenchError as error:
        return error
    except psycopg.errors.UniqueViolation:
        return another_has_the_source(one.facts["source"])
    except psycopg.DataError as error:
        return InvalidEvent("a value does not fit its column", found=str(error).partition("\n")[0])
    return Stored(created=created, receipt=receipt)


# ---- what became of them


def _tell(state: State, one: Whole, outcome: Outcome) -> None:
    if isinstance(outcome, Stored) and outcome.receipt.accepted:
        place = one.batch.workspace_id, one.run_id
        state.hub.announce(*place)
        state.metrics.stored(str(place[0]), outcome.receipt.accepted, one.batch.bytes)


def _answer(one: Whole | WorkbenchError, outcome: Outcome) -> dict[str, Any]:
    if isinstance(outcome, WorkbenchError):
        run_id = one.run_id if isinstance(one, Whole) else None
        return {"run_id": run_id, "error": outcome.as_problem()}
    assert isinstance(one, Whole)  # noqa: S101 - only such a run is stored
    return {
        "run_id": one.run_id,
        "created": outcome.created,
        "accepted": outcome.receipt.accepted,
        "duplicates": outcome.receipt.duplicates,
        "first_seq": outcome.receipt.first_seq,
        "last_seq": outcome.receipt.last_seq,
    }
