"""The rulings of the hard cases: each has a check, which goes red where the ruling is another one.

Those of parallel calls are in tests/workbench/replay/test_turns.py (the recorded order of answers)
and in C1 to C3 (a lane each).
"""

import itertools
import operator
import time
from pathlib import Path
from typing import Annotated, TypedDict

import msgspec
import pytest
import replay_agents as agents
from conformance_agents import tries_again
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt
from shelf import Shelf

import workbench as wb
from workbench import errors, hashing, recording
from workbench.capture import exceptions, humans
from workbench.replay import normal, sleeps
from workbench.replay.engine import Engine, Match
from workbench.replay.session import ReplaySession

README = Path(__file__).parents[2] / "README.md"


def replayed(run, agent, **options):
    agents.world.poisoned = True
    return wb.replay(run, agent, into=Shelf(), **options)


# ---- the same call twice with different answers


@wb.call(effect="write")
def ready(what):
    return {"what": what, "answer": agents.world.live("ready")}


def polls(_):
    """Poll three times, behind another call; once more where the world is changed, without it."""
    first = [] if agents.world.extra_call else [ready("first")["answer"]]
    times = 4 if agents.world.extra_call else 3
    return first + [ready("ready?")["answer"] for _ in range(times)]


def check_polling():
    """Each poll gets its own answer, first in first out; past the last there is none."""
    run = wb.record(Shelf(), polls, None)
    agents.world.extra_call = True
    result = replayed(run, polls, mode="cached")
    served = result.matches["source_seq"].to_list()
    assert served == [*run.calls["seq"][1:], None]
    assert result.matches["match_level"].to_list() == ["lane", "lane", "lane", "miss"]


def last_in_first_out(patch):
    def last(self, waiting):
        while waiting and self._used[waiting[0]]:
            waiting.pop(0)
        return self._calls[waiting[0]] if waiting else None

    patch.setattr(Engine, "_first", last)


def all_polls_alike(patch):
    def used(_, call, level, *, renamed=None):
        return Match(call=call, level=level, renamed=renamed)

    patch.setattr(Engine, "_use", used)


# ---- attempts


def check_attempts():
    """Each attempt is a call of its own, and fails again as it failed."""
    run = wb.record(Shelf(), tries_again, None)
    result = replayed(run, tries_again)
    assert result.identical
    assert result.run.calls["status"].to_list() == ["error", "error", "ok"]
    assert result.output == run.output


def attempts_are_one(patch):
    found = recording.Calls.number_at

    def last_attempt(self, lane, ordinal):
        here = found(self, lane, ordinal)
        signature = None if here is None else self.signature(here)
        same = [number for number in self.in_lane(lane) if self.signature(number) == signature]
        return same[-1] if same else None

    patch.setattr(recording.Calls, "number_at", last_attempt)


def check_sleeps():
    """Nobody waits for what has long come."""
    slept = []
    with pytest.MonkeyPatch.context() as patch:
        run = wb.record(Shelf(), tries_again, None)
        patch.setattr(time, "sleep", slept.append)
        patch.setattr(sleeps, "_sleep", slept.append)
        assert replayed(run, tries_again).identical
    assert slept == [0, 0]


def sleeps_are_slept(patch):
    patch.setattr(ReplaySession, "skips_sleeps", False)


# ---- ids of providers


def renames():
    """Return an agent whose model gives other ids to the same calls every time."""
    ids = itertools.count(1)

    def agent(_):
        calls = [{"id": f"made-up-{next(ids)}", "name": "look_up", "args": {}} for _ in range(2)]
        answers = [ToolMessage("found", tool_call_id=call["id"]) for call in calls]
        talk = [HumanMessage("q"), AIMessage("", tool_calls=calls), *answers]
        return agents.DeskModel(lookups=0).invoke(talk).content

    return agent


def check_provider_ids():
    """They are renamed in order of first use, and what was taken for what is kept."""
    agent = renames()
    run = wb.record(Shelf(), agent, None)
    result = replayed(run, agent, mode="cached")
    assert result.matches["match_level"].to_list() == ["normalised"]
    pairs = [("made-up-3", "made-up-1"), ("made-up-4", "made-up-2")]
    kept = [(pair["asked"], pair["recorded"]) for pair in result.certificate["renamed"]]
    assert kept == pairs


def ids_stay(patch):
    patch.setattr(normal, "_renamed", lambda own, _: own)


def mapping_is_dropped(patch):
    patch.setattr(normal, "renamed", lambda *_: {})


# ---- people


class State(TypedDict):
    found: Annotated[list, operator.add]


def approving(asked):
    def review(_):
        asked.append("reviewed")
        return {"found": [interrupt("refund?"), agents.ask("pay")["answer"]]}

    graph = StateGraph(State)
    graph.add_node("review", review)
    graph.add_edge(START, "review")
    return graph.compile(checkpointer=InMemorySaver())


def check_people():
    """The recorded answer is served, and nobody is asked again."""
    shelf, graph = Shelf(), approving([])
    thread = {"configurable": {"thread_id": "t"}}
    with wb.record(shelf) as made:
        graph.invoke({"found": []}, thread)
        graph.invoke(Command(resume="yes"), thread)
    run = shelf.run(made.run_id)
    result = replayed(run, approving([]))
    assert result.identical
    assert result.output["found"][0] == "yes"


def people_are_not_resumed(patch):
    patch.setattr(humans, "again", lambda *_: None)


def people_answer_anew(patch):
    def anew(opened, answer):
        opened.session.ended(opened, "no")
        return "no"

    patch.setattr(humans, "_answered", anew)


# ---- tools of a provider


def check_server_side_tools():
    """They are a part of the model's call, and the README says that nothing else sees them."""
    said = " ".join(README.read_text("utf-8").split())
    hidden = said.partition("What a recording cannot see")[2]
    assert "tools that run at the provider, and its caches" in hidden


def readme_is_silent(patch):
    text = README.read_text("utf-8").replace("tools that run at the\nprovider, and its caches;", "")
    patch.setattr(Path, "read_text", lambda *_: text)


# ---- other processes


def check_other_processes():
    """What another process called is not replayed exactly: nothing here could ask it again."""
    shelf = Shelf()
    run = wb.record(shelf, agents.sequence, None)
    log = shelf._sinks[run.run_id].log
    for number, event in enumerate(log):
        if event.step_id == log[3].step_id:
            moved = msgspec.structs.replace(event, writer="elsewhere", digest=None)
            log[number] = hashing.sealed(moved)
    with pytest.raises(errors.RecordingIncomplete, match="another process"):
        replayed(shelf.run(run.run_id), agents.sequence)


def other_processes_are_ours(patch):
    patch.setattr(recording.Reader, "_judge_writer", lambda *_: None)


# ---- exceptions


class Declined(Exception):
    def __init__(self, code, *, reason):
        super().__init__(code)
        self.reason = reason


@wb.call(effect="read")
def declines():
    agents.world.live("declines")
    raise Declined(7, reason="expired")


def check_exceptions():
    """What was raised is raised again in its own class, with what it carried."""
    caught = []

    def agent(_):
        try:
            declines()
        except Exception as error:
            caught.append((type(error), error.args, vars(error).get("reason")))
            raise

    run = wb.record(Shelf(), agent, None)
    assert run.exception["class"].endswith(":Declined")
    assert replayed(run, agent).identical
    assert caught == [(Declined, (7,), "expired")] * 2


def exceptions_are_general(patch):
    patch.setattr(exceptions, "from_record", lambda record: RuntimeError(record["message"]))


RULINGS = {
    check_polling: [last_in_first_out, all_polls_alike],
    check_attempts: [attempts_are_one],
    check_sleeps: [sleeps_are_slept],
    check_provider_ids: [ids_stay, mapping_is_dropped],
    check_people: [people_are_not_resumed, people_answer_anew],
    check_server_side_tools: [readme_is_silent],
    check_other_processes: [other_processes_are_ours],
    check_exceptions: [exceptions_are_general],
}
CHANGED = [(check, change) for check, changes in RULINGS.items() for change in changes]


@pytest.mark.parametrize("check", RULINGS, ids=lambda check: check.__name__)
def test_the_ruling_holds(world, check):
    check()


@pytest.mark.parametrize(("check", "change"), CHANGED, ids=lambda one: one.__name__)
def test_with_another_ruling_the_check_goes_red(world, monkeypatch, check, change):
    change(monkeypatch)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        check()
