"""Record the example agent under seeded variations and write the runs as an exported folder.

``python datasets/make.py --seed 11 [--out DIR] [--start 2026-11-16T00:00] [--runs 200]``

A run is recorded as anybody's would be, by ``workbench.record``. What is special here is the time:
it is taken from a clock that starts at the planned moment of each run and moves only while the
model and the tools work, so two days fit into a minute. What went wrong in which run is written
to ``causes.json``, which no part of the product reads.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from clock import Clock, turn
from plan import RUNS, Planned, plan
from tqdm.auto import tqdm

import workbench as wb
from workbench import frames, hashing
from workbench.examples.support_desk import EFFECTS
from workbench.store import export

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import polars as pl

    from workbench.schema import Event, RunHeader

AGENT = "workbench.examples.support_desk:agent"
HERE = Path(__file__).parent
START = "2026-11-16T00:00"
ATTEMPTS = 25
NAMESPACE = uuid.UUID("5d0b4a4e-8f0c-5c0e-9a63-1f2f7a1f6f11")


@dataclass(kw_only=True)
class Recorded:
    """One run in memory; also what `workbench.record` writes it with."""

    run_id: str
    header: RunHeader
    events: list[Event] = field(default_factory=list)
    bodies: dict[str, Any] = field(default_factory=dict)

    def append(self, events: Sequence[Event], bodies: Mapping[str, Any] | None = None) -> None:
        """Take a batch."""
        self.bodies.update(bodies or {})
        for event in events:
            seq = len(self.events) + 1
            self.events.append(msgspec.structs.replace(hashing.sealed(event), seq=seq))

    def close(self) -> None:
        """Nothing is open."""

    @property
    def frame(self) -> pl.DataFrame:
        """The run's events."""
        return frames.from_events(self.events)

    @property
    def calls(self) -> list[dict[str, Any]]:
        """The run's calls, what they asked and what came back as values."""
        shown = ("request", "outcome", "exception")
        rows = frames.calls(self.frame).to_dicts()
        return [row | {name: json.loads(row[name] or "null") for name in shown} for row in rows]


class Shelf:
    """A store for one run at a time."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id

    def writer(self, header: RunHeader) -> Recorded:
        """Return what takes the run's events."""
        self.recorded = Recorded(run_id=self.run_id, header=header)
        return self.recorded

    def run(self, run_id: str) -> Recorded:
        """Return the run."""
        assert run_id == self.run_id  # noqa: S101 - it holds no other
        return self.recorded


def main() -> None:
    """Make a data set."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, required=True, help="what is drawn, and for whom")
    parser.add_argument("--out", type=Path, default=HERE, help="the folder to write (this one)")
    parser.add_argument("--start", default=START, help="when the two days begin, UTC")
    parser.add_argument("--runs", type=int, default=RUNS)
    options = parser.parse_args()
    start = datetime.fromisoformat(options.start).replace(tzinfo=UTC)
    made = make(options.out, seed=options.seed, start=start, runs=options.runs)
    print(f"{made} runs in {options.out}, their causes in {options.out / 'causes.json'}")


def make(out: Path, *, seed: int, start: datetime, runs: int) -> int:
    """Record the runs and put the files in place."""
    rng = random.Random(seed)
    clock = Clock(rng)
    turn(clock)
    planned = plan(rng, start=start, runs=runs)
    recorded = list(_all(planned, clock, seed=seed))
    causes = {"seed": seed, "incidents": [_incident(p, r, seed) for p, r in recorded if p.cause]}
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as building:
        folder = _write(Path(building) / "export", [run for _, run in recorded])
        for path in folder.iterdir():
            shutil.move(path, out / path.name)
    (out / "causes.json").write_text(json.dumps(causes, indent=1) + "\n")
    (out / "SHA256SUMS").write_text(_checksums(out))
    return len(recorded)


def _checksums(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir() if path.suffix in (".parquet", ".json"))
    return "".join(f"{hashing.sha256_hex((folder / n).read_bytes())}  {n}\n" for n in names)


def _all(planned: list[Planned], clock: Clock, *, seed: int) -> Iterator[tuple[Planned, Recorded]]:
    for entry in tqdm(planned, file=sys.stderr, unit="run"):
        yield entry, _record(entry, clock, seed=seed)


def _record(entry: Planned, clock: Clock, *, seed: int) -> Recorded:
    """Record one run; an incident again and again until the customer felt it."""
    for attempt in range(ATTEMPTS):
        clock.set(entry.at)
        settings = entry.settings | {"seed": entry.settings["seed"] + attempt}
        recorded = wb.record(
            Shelf(run_id(seed, entry.number)),
            AGENT,
            entry.case.input,
            config={"configurable": settings},
            name=entry.case.title,
            labels={"intent": entry.case.intent, "channel": entry.case.channel},
            effects=EFFECTS,
        )
        if (_culprit(entry, recorded) is None) == (entry.cause is None):
            return _labelled(entry, recorded, clock.rng)
    raise SystemExit(f"run {entry.number}: {entry.cause} did not show in {ATTEMPTS} attempts")


def run_id(seed: int, number: int) -> str:
    """Return the id of a run: the same for the same seed and number."""
    return str(uuid.uuid5(NAMESPACE, f"{seed}/{number}"))


# ---- what a human would note, and what only the maker knows


def _labelled(entry: Planned, recorded: Recorded, rng: random.Random) -> Recorded:
    chances = (9, 1, 0) if entry.cause else (2, 68, 30)
    labels = recorded.header.labels | {
        "outcome": _outcome(recorded),
        "feedback": rng.choices(("complaint", "none", "thanks"), chances)[0],
    }
    recorded.header = msgspec.structs.replace(recorded.header, labels=labels)
    return recorded


def _outcome(recorded: Recorded) -> str:
    if recorded.events[-1].status != "done":
        return "failed"
    used = {call["name"] for call in recorded.calls if call["status"] == "ok"}
    named = {"issue_refund": "refunded", "open_ticket": "escalated", "update_address": "changed"}
    return next((outcome for tool, outcome in named.items() if tool in used), "answered")


def _incident(entry: Planned, recorded: Recorded, seed: int) -> dict[str, Any]:
    cause, culprit = entry.cause, _culprit(entry, recorded)
    assert cause is not None  # noqa: S101 - asked for incidents only
    assert culprit is not None  # noqa: S101 - `_record` made sure
    assert entry.twin is not None  # noqa: S101 - every incident has one
    return {
        "run_id": recorded.run_id,
        "cause": cause.name,
        "setting": cause.settings,
        "seq": culprit["seq"],
        "call": culprit["name"],
        "baseline": run_id(seed, entry.twin),
    }


def _culprit(entry: Planned, recorded: Recorded) -> dict[str, Any] | None:
    """Return the first call in which the cause shows, if the run ended wrong because of it."""
    if entry.cause is None or (entry.fails and recorded.events[-1].status != "failed"):
        return None
    return SHOWS[entry.cause.name](recorded.calls)


def _poisoned(calls: list[dict[str, Any]]) -> dict[str, Any] | None:
    paid = _named(calls, "issue_refund")
    found = [c for c in _of_kind(calls, "retriever") if "365 days" in json.dumps(c["outcome"])]
    return found[0] if paid and found else None


def _wrong_amount(calls: list[dict[str, Any]]) -> dict[str, Any] | None:
    return next(iter(c for c in _named(calls, "issue_refund") if c["status"] == "ok"), None)


def _lost_rule(calls: list[dict[str, Any]]) -> dict[str, Any] | None:
    refused = any("no rule" in json.dumps(c["request"]) for c in _named(calls, "open_ticket"))
    return _of_kind(calls, "retriever")[0] if refused else None


def _timed_out(calls: list[dict[str, Any]]) -> dict[str, Any] | None:
    late = [c for c in calls if "TimeoutError" in (c["exception"] or {}).get("class", "")]
    last = calls[-1]["exception"] or _named(calls, "open_ticket")
    return late[0] if late and last else None


def _paid_unseen(calls: list[dict[str, Any]]) -> dict[str, Any] | None:
    paid, looked = _named(calls, "issue_refund"), _named(calls, "payment_history")
    thought = [c for c in _of_kind(calls, "model") if "billing" in c["lane"]]
    return thought[0] if paid and not looked and thought else None


def _named(calls: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [call for call in calls if call["name"] == name]


def _of_kind(calls: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [call for call in calls if call["kind"] == kind]


SHOWS = {
    "poisoned_document": _poisoned,
    "wrong_refund_amount": _wrong_amount,
    "retrieval_regression": _lost_rule,
    "tool_times_out": _timed_out,
    "prompt_change": _paid_unseen,
}


def _write(folder: Path, runs: list[Recorded]) -> Path:
    with export.new_folder(folder, overwrite=False) as (target, parts):
        for run in sorted(runs, key=lambda run: run.run_id):
            header = msgspec.structs.replace(run.header, run_id=run.run_id)
            parts.put_events(run.run_id, run.frame)
            parts.put_run(frames.run_row(header, run.frame), run.bodies)
    return target


if __name__ == "__main__":
    main()
