"""The rulings of the hard cases: each has a check, which goes red where the ruling is another one.

In the order of the table; each case of it has at least one check.
"""

import itertools
import operator
import tempfile
import threading
import time
from pathlib import Path
from typing import Annotated, TypedDict

import human_agents
import msgspec
import order_agents
import pytest
import replay_agents as agents
from conformance_agents import tries_again
from graph_agents import given
from human_agents import block
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt
from shelf import Shelf

import workbench as wb
from workbench import errors, hashing
from workbench.capture import exceptions, humans
from workbench.capture.journal import Journal
from workbench.recording.calls import Calls
from workbench.recording.recording import Recording
from workbench.replay import normal, sleeps, turns
from workbench.replay.engine import Engine, Match
from workbench.replay.policy import Policy
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


# ---- parallel calls


def in_another_order(_):
    """Ask in four threads, the last one first; in a replay nobody sleeps."""
    found = {}

    def work(number):
        time.sleep(0.1 * (3 - number))
        found[number] = agents.ask("same")["answer"]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [found[number] for number in range(4)]


def check_lanes():
    """An answer goes where it went, whoever asks first: each of several at once has a lane."""
    run = wb.record(Shelf(), in_another_order, None)
    assert run.output == [4, 3, 2, 1]
    assert run.calls["lane"].to_list() == [f"root/{number}" for number in (4, 3, 2, 1)]
    result = replayed(run, in_another_order)
    assert (result.identical, result.output) == (True, run.output)


def first_come_first_served(patch):
    came = {}

    def next_one(self, lane, ordinal):
        number = came.setdefault(id(self), {}).setdefault((lane, ordinal), len(came[id(self)]))
        return number if number < len(self) else None

    patch.setattr(Calls, "number_at", next_one)


def check_recorded_order():
    """On request answers come back in the order in which they were recorded."""
    for _ in range(6):
        agents.world.poisoned = False
        run = wb.record(Shelf(), order_agents.into_a_list, None)
        result = replayed(run, order_agents.into_a_list, order="completed")
        assert (result.identical, result.output) == (True, run.output)


def answers_come_as_they_are_asked_for(patch):
    patch.setattr(turns.Marks, "reached", lambda *_: True)


def order_is_not_looked_at(patch):
    patch.setattr(turns, "Completed", turns.Declared)


# ---- attempts


def check_attempts():
    """Each attempt is a call of its own, and fails again as it failed."""
    run = wb.record(Shelf(), tries_again, None)
    result = replayed(run, tries_again)
    assert result.identical
    assert result.run.calls["status"].to_list() == ["error", "error", "ok"]
    assert result.output == run.output


def attempts_are_one(patch):
    found = Calls.number_at

    def last_attempt(self, lane, ordinal):
        here = found(self, lane, ordinal)
        if here is None:
            return None
        asked = self.signature(here)
        return [n for n in self.in_lane(lane) if self.signature(n) == asked][-1]

    patch.setattr(Calls, "number_at", last_attempt)


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


# ---- files behind a tool


@wb.call(effect="write")
def save(path, text):
    Path(path).write_text(text)
    return "saved"


def saves(given):
    return [save(given["path"], text) for text in ("draft", "final")]


def check_files():
    """An exact replay neither makes a file again nor looks at it: it claims the calls alone."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "letter"
        run = wb.record(Shelf(), saves, {"path": str(file)})
        assert file.read_text() == "final"
        file.write_text("changed since")
        result = replayed(run, saves)
        assert result.identical
        assert file.read_text() == "changed since"
    assert "files and databases behind a tool" in hidden()


def calls_are_made_again(patch):
    patch.setattr(ReplaySession, "answer", lambda *_: None)


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


@wb.call(effect="read", kind="human", name="approval")
def approval(question):
    return f"yes {agents.world.live('approval')}"


def asks_a_person(_):
    return [approval("refund?"), agents.ask("pay")["answer"]]


def check_people_live():
    """Live, a person is asked again, and nothing else is."""
    run = wb.record(Shelf(), asks_a_person, None)
    overrides = {"kind:human": "live"}
    result = wb.replay(run, asks_a_person, mode="cached", overrides=overrides, into=Shelf())
    assert result.matches["match_level"].to_list()[0] == "live"
    assert agents.world.calls == run.calls.height + 1


def people_answer_once_for_all(patch):
    patch.setattr(Policy, "mode_of", lambda policy, *_: policy.mode)


def check_where_an_answer_stands():
    """What was asked and answered is in the human call alone, and nowhere else in the run."""
    run = block(Shelf(), human_agents.approving(), given(), Command(resume={"sure": True}))
    told = [event for event in run.event_log() if event.event_type not in {"chunk", "run_ended"}]
    everything = b"".join(bytes(event.payload) for event in told)
    assert everything.count(b"approve") == everything.count(b'"sure"') == 1


def interrupts_tell_what_was_asked(patch):
    put = Journal.put

    def telling(self, event_type, *, payload=b"{}", **more):
        told = b'{"value":{"approve":"refund"}}' if event_type == "interrupted" else payload
        return put(self, event_type, payload=told, **more)

    patch.setattr(Journal, "put", telling)


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
    assert "tools that run at the provider, and its caches" in hidden()


def hidden():
    """Return what the README says that no recording sees."""
    said = " ".join(README.read_text("utf-8").split())
    return said.partition("What a recording cannot see")[2].partition("## ")[0]


def readme_is_silent(patch):
    text = README.read_text("utf-8").partition("What a recording cannot see")[0]
    read = Path.read_text
    patch.setattr(Path, "read_text", lambda p, *how: text if p == README else read(p, *how))


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
    patch.setattr(Recording, "require_complete", lambda _: None)


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
    check_lanes: [first_come_first_served],
    check_recorded_order: [answers_come_as_they_are_asked_for, order_is_not_looked_at],
    check_attempts: [attempts_are_one],
    check_sleeps: [sleeps_are_slept],
    check_provider_ids: [ids_stay, mapping_is_dropped],
    check_server_side_tools: [readme_is_silent],
    check_files: [calls_are_made_again, readme_is_silent],
    check_people: [people_are_not_resumed, people_answer_anew],
    check_people_live: [people_answer_once_for_all],
    check_where_an_answer_stands: [interrupts_tell_what_was_asked],
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
