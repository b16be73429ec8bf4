"""Every word for a difference is really said, where it happened, and no other in its place."""

from __future__ import annotations

import asyncio
import importlib
import json
import socket
import sys
import textwrap
from typing import get_args

import msgspec
import order_agents
import pytest
import replay_agents as agents
from shelf import Shelf

import workbench as wb
from workbench import hashing
from workbench.capture import RecordingWarning
from workbench.replay.divergence import Divergence, DivergenceKind

CASES = {}


def case(kind, *, seq="call"):
    """Keep what makes a difference of one kind; ``seq`` says where it is to be told."""

    def keep(make):
        CASES[kind] = (make, seq)
        return make

    return keep


class Desk:
    """An agent that asks what is said to it, and may be told otherwise for its replay."""

    def __init__(self, *said, name="ask"):
        self.said, self.name, self.end = list(said), name, None

    def __call__(self, _):
        ask = wb.call(name=self.name, effect="read")(agents.ask.__wrapped__)
        got = [ask(what) for what in self.said]
        return self.end() if self.end else [one["what"] for one in got]


def recorded(agent):
    return wb.record(Shelf(), agent, "x")


def replayed(run, agent, **options):
    return wb.replay(run, agent, into=Shelf(), **options)


def changed_desk(*said, into=(), mode="exact", **options):
    """Record a desk, and replay one that says something else."""
    desk = Desk(*said)
    run = recorded(desk)
    desk.said = list(into)
    return run, replayed(run, desk, mode=mode, **options)


def forged(run, event_type, change):
    """Return the run with the body of its first event of a type changed."""
    log = run.event_log()
    number = next(n for n, event in enumerate(log) if event.event_type == event_type)
    body = msgspec.json.decode(log[number].payload)
    fields = change(body) or {}
    log[number] = msgspec.structs.replace(
        log[number], payload=msgspec.Raw(hashing.dumps(body)), **fields
    )
    return Shelf().forged(run, log)


@case("request_changed")
def _(_folders):
    return changed_desk("a", into=["b"])


@case("extra_call", seq=None)
def _(_folders):
    return changed_desk("a", into=["a", "b"])


@case("missing_call")
def _(_folders):
    return changed_desk("a", "b", into=["b"])


@case("reordered")
def _(_folders):
    return changed_desk("a", "b", "c", into=["c", "b", "a"])


@case("name_changed")
def _(_folders):
    desk = Desk("a")
    run = recorded(desk)
    desk.name = "tell"
    return run, replayed(run, desk)


@case("lane_shape_changed", seq=None)
def _(_folders):
    wide = [2]

    async def agent(_):
        await asyncio.gather(*(agents.aask("same") for _ in range(wide[0])))

    run = recorded(agent)
    wide[0] = 3
    return run, replayed(run, agent)


@case("nondeterminism")
def _(_folders):
    return changed_desk("it is 2026-01-01", into=["it is 2026-01-02"])


@case("code_changed", seq=1)
def _(_folders):
    agent = module("return ask('one')")
    run = recorded(agent)
    return run, replayed(run, module("return ask('one')  # as before"))


@case("dependency_changed", seq=1)
def _(_folders):
    desk = Desk("a")

    def older(body):
        name = next(iter(body["code"]["distributions"]))
        body["code"]["distributions"][name] = "0.0.1"

    run = forged(recorded(desk), "run_started", older)
    return run, replayed(run, desk)


@case("own_value", seq=None)
def _(_folders):
    def agent(_):
        return len(wb.env("DESK_API_KEY")) > 0

    run = recorded(agent)
    return run, replayed(run, agent)


@case("normaliser_failed", seq=None)
def _(_folders):
    def broken(request):
        raise ZeroDivisionError

    return changed_desk("a", into=["b"], mode="cached", normalise={"ask": broken})


@case("outcome_mismatch", seq="last")
def _(_folders):
    desk = Desk("a")
    run = recorded(desk)
    desk.end = lambda: "another end"
    return run, replayed(run, desk)


@case("exception_mismatch", seq="last")
def _(_folders):
    desk = Desk("a")
    run = recorded(desk)
    desk.end = lambda: 1 / 0
    return run, replayed(run, desk)


@case("stream_shape")
def _(_folders):
    whole = [True]

    def agent(_):
        model = agents.StreamingModel()
        return model.invoke("q").content if whole[0] else [c.content for c in model.stream("q")]

    run = recorded(agent)
    whole[0] = False
    return run, replayed(run, agent)


@case("capture_gap", seq=None)
def _(_folders):
    desk = Desk("a")
    run = recorded(desk)
    desk.end = lambda: socket.getaddrinfo("localhost", 80)
    return run, replayed(run, desk)


@case("capture_quality")
def _(_folders):
    handle = wb.call(effect="read", name="handle")(object)

    def agent(_):
        handle()

    with pytest.warns(RecordingWarning, match="lossy"):
        run = recorded(agent)
    return run, replayed(run, agent, mode="cached")


@case("mode_downgraded")
def _(_folders):
    return changed_desk("a", into=["b"], collect=True)


@case("unconsumed")
def _(_folders):
    desk = Desk("a")
    run = recorded(desk)
    desk.said, desk.end = [], lambda: ["a"]
    return run, replayed(run, desk, mode="cached")


@case("refused", seq=None)
def _(folders):
    run = wb.record(folders, agents.sequence, "x")
    fork = wb.fork(
        run,
        at=run.calls["seq"][0],
        edits={"outcome": {"answer": 7}},
        agent=agents.sequence,
        rest="live",
        effects={"ask": "write"},
    )
    return run, fork.run()


@case("order_not_kept", seq=None)
def _(folders):
    run = wb.record(folders, order_agents.lock_after_a_sleep, "x")
    order_agents.world.poisoned = True
    return run, wb.replay(run, order_agents.lock_after_a_sleep, order="completed")


def module(line):
    """Return an agent from a module of its own, so that its code is known."""
    source = f"""
    from replay_agents import ask

    def agent(given):
        {line}
    """
    folder = module.folder
    (folder / "a_kind_of_agent.py").write_text(textwrap.dedent(source))
    sys.modules.pop("a_kind_of_agent", None)
    importlib.invalidate_caches()
    return "a_kind_of_agent:agent"


@pytest.fixture(autouse=True)
def agent_folder(tmp_path, monkeypatch):
    module.folder = tmp_path / "agents"
    module.folder.mkdir()
    monkeypatch.syspath_prepend(str(module.folder))
    monkeypatch.setenv("DESK_API_KEY", "sk-a-secret-of-the-desk")
    yield
    sys.modules.pop("a_kind_of_agent", None)


def test_there_is_a_case_for_every_kind():
    assert set(get_args(DivergenceKind)) == set(CASES)


@pytest.mark.parametrize("kind", get_args(DivergenceKind))
def test_every_kind_is_said_where_it_happened(kind, world, folders):
    make, where = CASES[kind]
    run, result = make(folders)
    found = [*result.divergences, *notices(result)]
    [first, *_] = [one for one in found if one.kind == kind]
    seqs = {"call": run.calls["seq"][0] if run.calls.height else None, "last": last_seq(run)}
    if where is not None:
        assert first.seq == seqs.get(where, where)
    assert first.cause
    assert first.fix
    place = "no recorded call" if first.seq is None else f"seq {first.seq}"
    assert str(first).startswith(f"{kind} at {place}")
    assert kind in [one["kind"] for one in told(result)]
    assert Divergence.from_dict(json.loads(json.dumps(first.as_dict()))) == first


def notices(result):
    return [Divergence.from_dict(one) for one in result.certificate["notices"]]


def told(result):
    return [*result.certificate["divergences"], *result.certificate["notices"]]


def last_seq(run):
    return run.event_log()[-1].seq
