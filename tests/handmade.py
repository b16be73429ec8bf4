"""Events and runs made by hand, for tests that need a log but no agent."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec
from hypothesis import strategies as st

from workbench import hashing, schema
from workbench.schema import Event, RunHeader

if TYPE_CHECKING:
    from pathlib import Path

BEGIN = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


class Log:
    """A run's events, one writer, one event every 10 ms; all are sealed and numbered."""

    def __init__(self, *, writer: str = "w1") -> None:
        self.writer = writer
        self.events: list[Event] = []
        self.bodies: dict[str, dict[str, Any]] = {}
        self._ordinals: dict[str, int] = {}

    def add(self, event_type: str, body: msgspec.Struct | None = None, **columns: Any) -> Event:
        seq = len(self.events) + 1
        payload = hashing.dumps(msgspec.to_builtins(body if body is not None else {}))
        event = Event(
            event_type=event_type,
            writer=self.writer,
            writer_seq=seq,
            seq=seq,
            started_at=columns.pop("started_at", BEGIN + timedelta(milliseconds=10 * (seq - 1))),
            payload=msgspec.Raw(payload),
            **columns,
        )
        self.events.append(hashing.sealed(event))
        return self.events[-1]

    def begin(self, given: Any = None) -> Event:
        return self.add("run_started", schema.RunStarted(input=given))

    def finish(self, output: Any = None, *, status: str = "done", **body: Any) -> Event:
        writers = body.pop("writers", {self.writer: len(self.events) + 1})
        ended = schema.RunEnded(output=output, writers=writers, **body)
        return self.add("run_ended", ended, status=status)

    def start(
        self, kind: str, name: str, request: dict[str, Any], *, lane: str = "root", **columns: Any
    ) -> Event:
        self._ordinals[lane] = ordinal = self._ordinals.get(lane, 0) + 1
        return self.add(
            "call_started",
            schema.CallStarted(request=request),
            step_id=columns.pop("step_id", f"{lane}/{ordinal}"),
            kind=kind,
            name=name,
            lane=lane,
            ordinal=ordinal,
            status="running",
            signature=hashing.signature_of(kind=kind, name=name, request=request),
            **columns,
        )

    def end(
        self, started: Event, outcome: Any = None, *, raised: Any = None, **columns: Any
    ) -> Event:
        body = schema.CallEnded(outcome=outcome, exception=raised, usage=columns.pop("usage", None))
        return self.add(
            "call_ended",
            body,
            step_id=started.step_id,
            kind=started.kind,
            name=started.name,
            lane=started.lane,
            ordinal=started.ordinal,
            status=columns.pop("status", "ok" if raised is None else "error"),
            **columns,
        )

    def message(self, **body: Any) -> str:
        digest = hashing.digest_of(body)
        self.bodies[digest] = body
        return digest


def short_run() -> Log:
    """A model call, a tool that fails, a node around it, and a call still in flight."""
    log = Log()
    log.begin({"question": "why?"})
    asked = log.message(role="user", content="why?")
    answer = log.message(role="assistant", content="because")
    model = log.start("model", "desk", {"messages": [asked], "model": "m"}, quality="full")
    log.end(
        model,
        {"message": answer},
        duration_ms=7.5,
        input_tokens=10,
        output_tokens=3,
        cost_usd=0.25,
        quality="full",
    )
    node = log.add("step_started", schema.StepStarted(), step_id="node", name="tools", lane="tools")
    tool = log.start(
        "tool",
        "refund",
        {"arguments": {"amount": 1.0}},
        lane="tools",
        effect="write",
        parent_step_id=node.step_id,
    )
    log.end(tool, raised={"class": "builtins:TimeoutError", "message": "too late", "args": []})
    log.add("step_ended", schema.StepEnded(output=None), step_id="node", name="tools", status="ok")
    log.start("model", "desk", {"messages": [asked, answer], "model": "m"})
    log.finish({"answer": None}, status="failed")
    return log


def exported(folder: Path, *logs: Log, **facts: Any) -> Path:
    """Write logs as one exported folder of runs with ids 1, 2, …"""
    from workbench.store import read
    from workbench.store.export import export, writer

    runs = []
    for number, log in enumerate(logs, 1):
        one = folder.with_name(f"{folder.name}-{number}")
        header = RunHeader(run_id=str(UUID(int=number)), **({"name": f"run {number}"} | facts))
        single = writer(one, header)
        single.append(log.events, log.bodies)
        single.close()
        runs.append(read(one).run(single.run_id))
    return export(runs, folder)


# ---- any log at all

_texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
_numbers = st.integers(-(2**53), 2**53)
_floats = st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | _numbers | _floats | _texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3),
    max_leaves=8,
)
_times = st.integers(0, 4 * 10**15).map(lambda us: BEGIN + timedelta(microseconds=us - 10**15))
_kinds = st.sampled_from([None, *schema.KINDS])


@st.composite
def any_log(draw: Any) -> Log:
    """Draw calls that end, fail or stay open, in lanes of any name, with any JSON in them."""
    log = Log(writer=draw(_texts.filter(bool)))
    log.begin(draw(json_values))
    for _ in range(draw(st.integers(0, 6))):
        started = log.start(
            draw(st.sampled_from(schema.KINDS)),
            draw(_texts),
            draw(st.dictionaries(_texts, json_values, max_size=3)),
            lane=draw(_texts),
            started_at=draw(st.none() | _times),
            quality=draw(st.none() | st.just("full")),
        )
        how = draw(st.sampled_from(["value", "raised", "open"]))
        raised = {"class": "a.b:C", "message": draw(_texts), "args": [draw(json_values)]}
        if how != "open":
            log.end(
                started,
                {"value": draw(json_values)} if how == "value" else None,
                raised=raised if how == "raised" else None,
                started_at=draw(st.none() | _times),
                duration_ms=draw(st.none() | st.floats(0, 1e308)),
                input_tokens=draw(st.none() | st.integers(0, 2**40)),
                cost_usd=draw(st.none() | st.floats(0, 1e6)),
                content_hash=draw(st.none() | st.integers(-(2**63), 2**63 - 1)),
            )
        log.message(role="user", content=draw(json_values.map(str)), extra={"x": draw(json_values)})
    if draw(st.booleans()):
        log.finish(draw(json_values))
    return log


any_header = st.builds(
    RunHeader,
    run_id=st.uuids().map(str),
    name=st.none() | _texts,
    source=st.none() | _texts,
    labels=st.dictionaries(_texts, st.none() | st.booleans() | _numbers | _texts, max_size=3),
)
