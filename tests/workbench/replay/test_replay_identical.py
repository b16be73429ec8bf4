"""Unmutated runs replay identically while the world is poisoned, on every path a client can take."""

import random
import time
import uuid

import pytest
import replay_agents as agents
from langgraph.checkpoint.memory import InMemorySaver
from path_agents import CLIENTS

import workbench as wb
from workbench.capture import intercept

ENTRIES = ["invoke", "ainvoke", "stream", "astream"]
PLAIN = [
    agents.identical_gather,
    agents.chains_in_a_gather,
    agents.different_in_threads,
    agents.identical_in_bare_threads,
    agents.everything_at_once,
    agents.polling,
    agents.retrying,
    agents.sequence,
]
TIMES = 20


@pytest.fixture
def poison(world, monkeypatch):
    """Everything live raises from now on; clock, dice and ids are others."""

    def poisoned():
        world.poisoned = True
        monkeypatch.setattr(time, "time", lambda: 5.0)
        monkeypatch.setattr(random, "random", lambda: 0.5)
        monkeypatch.setattr(uuid, "uuid4", lambda: uuid.UUID(bytes=random.randbytes(16)))

    return poisoned


def replayed(run, agent):
    result = wb.replay(run, agent)
    assert result.divergences == []
    assert result.identical
    assert result.run.status == run.status
    assert set(result.matches["match_level"]) == {"exact"}
    assert result.run.content_root == run.content_root
    return result


@pytest.mark.parametrize("entry", ENTRIES)
def test_c1_identical_parallel_calls_of_a_graph_are_answered_each_with_its_own(
    folders, world, poison, entry
):
    runs = [
        wb.record(folders, agents.desk_graph, agents.question(), entry=entry) for _ in range(TIMES)
    ]
    poison()
    for run in runs:
        replayed(run, agents.desk_graph)


@pytest.mark.parametrize("agent", PLAIN, ids=lambda agent: agent.__name__)
def test_c1_c2_c3_calls_chains_and_threads_of_plain_python(folders, world, poison, agent):
    runs = [wb.record(folders, agent, None) for _ in range(TIMES)]
    poison()
    for run in runs:
        replayed(run, agent)


def test_a_job_that_began_when_it_was_recorded_is_not_cancelled_in_the_queue(
    folders, world, poison
):
    run = wb.record(folders, agents.cancelled_while_queued, None)
    poison()
    replayed(run, agents.cancelled_while_queued)


def test_with_the_interception_off_the_same_replay_goes_red(folders, world, poison, monkeypatch):
    run = wb.record(folders, agents.desk_graph, agents.question())
    poison()
    monkeypatch.setattr(intercept._installed, "_entries", {})
    result = wb.replay(run, agents.desk_graph)
    assert not result.identical
    assert {found.kind for found in result.divergences} == {"capture_gap"}, "the witness saw it"
    assert result.certificate["calls"]["consumed"] == 0


# ---- C10: read back (every client path is in tests/conformance/shapes.py)


def test_c10_a_run_on_the_live_server_replays_there(store, world):
    run = wb.record(store, agents.desk_graph, agents.question(), name="desk", labels={"k": 1})
    assert (run.status, run.name, run.labels) == ("done", "desk", {"k": 1})
    again = store.run(run.run_id)
    world.poisoned = True
    result = wb.replay(again, agents.desk_graph)
    assert result.identical
    assert result.run.info["mode"] == "exact"
    assert result.run.info["parent_run_id"] == run.run_id
    assert store.run(result.run.run_id).status == "done"


def test_a_streamed_answer_keeps_its_chunks_and_is_streamed_again(folders, world):
    agent = CLIENTS["stream"]
    run = wb.record(folders, agent, "hello")
    chunks = run.events.filter(run.events["event_type"] == "chunk")
    assert chunks.height >= 1
    result = replayed(run, agent)
    assert result.output[:2] == ["one ", "two "]


# ---- C13, C15


def test_c13_every_attempt_is_a_call_and_a_failure_keeps_its_class(folders, world):
    seen = []

    def agent(_):
        for _attempt in range(3):
            try:
                return agents.flaky("gateway")
            except TimeoutError as error:
                seen.append((type(error), str(error)))
                time.sleep(30 if world.poisoned else 0)
        return None

    run = wb.record(folders, agent, None)
    assert run.calls["status"].to_list() == ["error", "error", "ok"]
    recorded, world.poisoned = list(seen), True
    began = time.monotonic()
    replayed(run, agent)
    assert time.monotonic() - began < 20, "sleeps are skipped"
    assert seen == recorded * 2


class OwnError(Exception):
    def __init__(self, code, *, text):
        super().__init__(code)
        self.text = text


def test_an_exception_with_a_constructor_of_its_own_comes_back_as_its_class(folders, world):
    @wb.call()
    def fail():
        raise OwnError(7, text="seven")

    def agent(_):
        try:
            fail()
        except OwnError as error:
            return list(error.args)

    replayed(wb.record(folders, agent, None), agent)


def test_a_run_whose_agent_raises_fails_and_is_replayed_to_the_same_exception(folders, world):
    def agent(_):
        agents.ask("one")
        raise ValueError("no such order")

    run = wb.record(folders, agent, None)
    assert run.status == "failed"
    assert run.exception["class"] == "builtins:ValueError"
    result = wb.replay(run, agent)
    assert result.identical
    assert result.run.status == "failed"


def test_c15_the_recording_is_the_same_before_and_after(folders, world):
    run = wb.record(folders, agents.desk_graph, agents.question())
    folder = next(iter(folders.root.iterdir()))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    digest = run.digest
    result = wb.replay(run, agents.desk_graph)
    wb.fork(run, at=run.calls["seq"][0], edits={"outcome": "x"}, agent=agents.desk_graph).run()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert run.refresh().digest == digest == result.certificate["source"]["log_root"]


def test_a_graph_with_a_saver_replays_on_a_fresh_one(folders, world):
    saver = InMemorySaver()
    graph = agents.desk().copy({"checkpointer": saver})
    config = {"configurable": {"thread_id": "t"}}
    run = wb.record(folders, graph, agents.question(), config=config)
    before = len(list(saver.list(None)))
    replayed(run, graph)
    assert len(list(saver.list(None))) == before


def test_every_event_of_a_replay_says_its_mode_and_match_level(folders, world):
    run = wb.record(folders, agents.desk_graph, agents.question())
    made = wb.replay(run, agents.desk_graph).run
    calls = made.events.filter(made.events["event_type"].is_in(["call_started", "call_ended"]))
    assert set(calls["mode"]) == {"exact"}
    assert set(calls["match_level"]) == {"exact"}


def test_a_read_only_store_gets_the_new_run_in_a_folder_of_its_own(folders, world, capsys):
    run = wb.record(folders, agents.sequence, None)
    from workbench import store as stores

    folder = next(iter(folders.root.iterdir()))
    read_only = stores.read(str(folder)).run(run.run_id)
    result = wb.replay(read_only, agents.sequence)
    said = capsys.readouterr().err.strip()
    assert result.identical
    assert result.run.run_id in stores.read(said.rpartition(" ")[2]).runs()["run_id"].to_list()


@pytest.mark.parametrize("given", [{}, [], 0, False, ""])
def test_an_empty_input_is_an_input(folders, world, given):
    def agent(one):
        return [type(one).__name__, one]

    run = wb.record(folders, agent, given)
    result = wb.replay(run, agent)
    assert result.identical
    assert result.output == [type(given).__name__, given]
