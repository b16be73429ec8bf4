"""Whether a replay ended as its recording did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workbench import hashing
from workbench.capture import exceptions, values
from workbench.replay import divergence as d

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from workbench.capture.running import Ended
    from workbench.recording import Recording
    from workbench.replay.divergence import Divergence

    Stored = Callable[[str, dict[str, Any]], dict[str, Any]]

_PER_TOKEN = ("messages", "custom", "debug", "checkpoints", "tasks")


def compare(recording: Recording, ended: Ended, *, stored: Stored) -> Iterator[Divergence]:
    """Give the differences of the final output, exception and streamed chunks.

    ``stored`` returns a run's end as it would have been recorded.
    """
    recorded = recording.ended
    # what an imported run says of its own failure was raised by no code that runs again
    was_raised = recorded.exception if recorded and not recording.imported else None
    raised = exceptions.to_record(ended.error, values.Freezer()) if ended.error else None
    if raised is not None:
        raised = stored("run_ended", {"exception": raised})["exception"]
    seq = _last_seq(recording)
    if (was_raised is None) != (raised is None) or (
        was_raised and shown(was_raised) != shown(raised)
    ):
        yield d.Divergence(
            kind="exception_mismatch",
            seq=seq,
            lane="root",
            expected=shown(was_raised),
            actual=shown(raised),
            cause="the run raised" if was_raised is None else "the recorded exception did not come",
            fix="look at the last calls: something between them and the end changed",
        )
        return
    if raised is None and _is_only_streamed(recording):
        pieces = [values.freeze(chunk)[0] for chunk in ended.chunks]
        now = stored("chunk", {"index": 0, "pieces": pieces})["pieces"]
        yield from _outputs(_told(p for chunk in recording.chunks for p in chunk), _told(now), seq)
    elif raised is None:
        now = None if ended.output is None else values.freeze(ended.output)[0]
        now = stored("run_ended", {"output": now})["output"]
        yield from _outputs(recorded.output if recorded else None, now, seq)


def _is_only_streamed(recording: Recording) -> bool:
    """Say whether the agent's own code read the stream, so that only its chunks are known."""
    started, ended = recording.started, recording.ended
    method = started.entry.get("method", "") if started else ""
    return "stream" in method and ended is not None and ended.output is None


def _told(pieces: Iterable[Any]) -> list[Any]:
    """Return the chunks that are the same in equal runs, in an order that is: branches race."""
    forms = (hashing.comparable(piece) for piece in pieces)
    return sorted((form for form in forms if not _per_token(form)), key=hashing.dumps)


def _per_token(form: Any) -> bool:
    pair = form.get("$value") if isinstance(form, dict) and form.get("$type") == "tuple" else form
    if not isinstance(pair, list) or not pair:
        return False
    return not isinstance(pair[0], str) or pair[0] in _PER_TOKEN


def _outputs(recorded: Any, output: Any, seq: int | None) -> Iterator[Divergence]:
    was, now = hashing.comparable(recorded), hashing.comparable(output)
    if hashing.dumps(was) == hashing.dumps(now):
        return
    changes = d.pointer_diff(was, now)
    guesses = [d.volatile(c["expected"], c["actual"]) for c in changes]
    where = changes[0]["pointer"] if changes else "its form"
    moving = bool(guesses) and all(guesses)
    yield d.Divergence(
        kind="nondeterminism" if moving else "outcome_mismatch",
        seq=seq,
        lane="root",
        expected=hashing.digest_of(was),
        actual=hashing.digest_of(now),
        cause=f"the final output differs by a {guesses[0]}"
        if moving
        else f"the final output differs first at {where or '/'}",
        fix="read it in a tool, or pass it in as input"
        if moving
        else "all requests were the same, so the code after the last call, or an outcome, changed",
        changes=tuple(changes),
    )


def shown(record: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return by what a recorded exception is compared: its class and message."""
    return None if record is None else {k: record.get(k) for k in ("class", "message")}


def _last_seq(recording: Recording) -> int | None:
    return recording.last_seq
