"""Whatever differs from the recording is said, at the right call, and nothing is called outside."""

import asyncio
import importlib
import socket
import subprocess
import sys
import textwrap
import time
import urllib.request
import uuid
from dataclasses import replace

import msgspec
import pytest
import replay_agents as agents
from langgraph.checkpoint.memory import InMemorySaver

import workbench as wb
from workbench import errors, hashing, recording
from workbench.replay.engine import Engine
from workbench.store import export


def record(folders, agent=agents.desk_graph, given=None):
    return wb.record(folders, agent, agents.question() if given is None else given)


def first(result):
    assert not result.identical
    assert result.run.status == "diverged"
    return result.divergences[0]


def call_at(run, lane, ordinal=1):
    rows = run.calls.filter((run.calls["lane"] == lane) & (run.calls["ordinal"] == ordinal))
    return rows["seq"].item()


def test_c4_an_extra_call_in_front_is_named_and_gets_no_answer(folders, world):
    run = record(folders)
    world.extra_call = world.poisoned = True
    found = first(wb.replay(run, agents.desk_graph))
    assert (found.kind, found.seq, found.lane) == (
        "extra_call",
        call_at(run, "root/agent"),
        "root/agent",
    )
    assert found.nearest


@pytest.mark.parametrize(
    ("field", "value", "pointer"),
    [
        ("system", "You are a thief.", "/messages/0/content"),
        ("model_name", "desk-2", "/model"),
        ("temperature", 0.0, "/params/temperature"),
    ],
)
def test_c5_a_changed_prompt_model_or_temperature_is_never_served(
    folders, world, field, value, pointer
):
    run = record(folders)
    setattr(world, field, value)
    world.poisoned = True
    result = wb.replay(run, agents.desk_graph)
    found = first(result)
    assert (found.kind, found.seq) == ("request_changed", call_at(run, "root/agent"))
    assert [change["pointer"] for change in found.changes] == [pointer]
    assert result.certificate["calls"]["consumed"] == 0


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (lambda: f"it is {time.strftime('%Y-%m-%d')} {uuid.uuid4()}", "uuid"),
        (lambda: f"now {time.time_ns() / 1e9:.6f}", "time"),
    ],
)
def test_c6_a_volatile_prompt_is_nondeterminism_with_a_fix(folders, world, value, word):
    def agent(_):
        return agents.DeskModel(lookups=0).invoke(value()).content

    run = record(folders, agent, "x")
    found = first(wb.replay(run, agent))
    assert found.kind == "nondeterminism"
    assert word in found.cause
    assert "/messages/0/content" in found.fix


def test_c11_c19_a_replay_opens_no_socket_starts_no_process_and_touches_nothing(folders, world):
    run = record(folders)
    before = world.side_effects.read_text()
    world.poisoned = True
    result = wb.replay(run, agents.desk_graph)
    assert result.identical
    assert world.side_effects.read_text() == before
    counts = result.certificate["calls"]
    assert counts["recorded"] == counts["asked"] == counts["consumed"] == result.run.calls.height


OUTSIDE = {
    "connect": lambda: socket.create_connection(("127.0.0.1", 9), timeout=1),
    "resolve": lambda: socket.getaddrinfo("localhost", 80),
    "http": lambda: urllib.request.urlopen("http://127.0.0.1:9/", timeout=1),
    "process": lambda: subprocess.run([sys.executable, "-c", "0"], check=True),
    "bind": lambda: socket.socket().bind(("127.0.0.1", 0)),
}


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("way", OUTSIDE)
def test_c11_the_guard_refuses_what_the_agent_tries_outside_a_call(folders, world, way):
    tried = []

    def agent(_):
        agents.ask("one")
        if world.poisoned:
            try:
                OUTSIDE[way]()
            except Exception:  # noqa: BLE001 - an agent that swallows everything
                tried.append("swallowed")
            tried.append("went on")

    run = record(folders, agent, "x")
    world.poisoned = True
    found = first(wb.replay(run, agent))
    assert found.kind == "capture_gap"
    assert tried == []
    OUTSIDE["process"]()  # allowed again


def test_a_call_by_code_that_lost_its_session_is_refused(folders, world):
    import queue
    import threading

    jobs, answers = queue.SimpleQueue(), queue.SimpleQueue()

    def worker():
        for job in iter(jobs.get, None):
            try:
                answers.put(agents.ask(job))
            except errors.LiveCallBlocked as error:
                answers.put(error)

    thread = threading.Thread(target=worker)
    thread.start()

    def agent(_):
        agents.ask("mine")
        jobs.put("not mine")
        return str(type(answers.get(timeout=5)))

    run = record(folders, agent, "x")
    before = world.calls
    result = wb.replay(run, agent)
    jobs.put(None)
    thread.join()
    assert world.calls == before
    assert "capture_gap" in {found.kind for found in result.divergences}


# ---- C17


def module(folder, name, line="return [ask('one'), ask('two')]"):
    source = f"""
    from replay_agents import ask

    def agent(given):
        {line}
    """
    (folder / f"{name}.py").write_text(textwrap.dedent(source))
    sys.modules.pop(name, None)
    importlib.invalidate_caches()
    return f"{name}:agent"


@pytest.fixture
def agent_folder(tmp_path, monkeypatch):
    folder = tmp_path / "agents"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    yield folder
    sys.modules.pop("an_agent", None)


def test_c17_a_changed_line_is_code_changed_and_request_changed_where_it_matters(
    folders, world, agent_folder
):
    run = record(folders, module(agent_folder, "an_agent"), "x")
    assert wb.replay(run).identical
    changed = module(agent_folder, "an_agent", "return [ask('one'), ask('three')]")
    result = wb.replay(run, changed)
    assert [found.kind for found in result.divergences] == ["code_changed", "request_changed"]
    assert result.divergences[1].seq == run.calls["seq"][1]
    assert not result.identical


def test_c17_a_changed_line_that_alters_no_request_is_still_said(folders, world, agent_folder):
    run = record(folders, module(agent_folder, "an_agent"), "x")
    same = module(agent_folder, "an_agent", "return [ask('one'), ask('two')]  # the same")
    result = wb.replay(run, same)
    assert [found.kind for found in result.divergences] == ["code_changed"]
    assert not result.identical


# ---- mutations of the recording


def mutated(folders, run, change):
    """Store a copy of a run whose calls were changed, everything digested and numbered anew."""
    events = [e for e in run.event_log() if e.event_type in ("call_started", "call_ended")]
    pairs = {}
    for event in events:
        pairs.setdefault(event.step_id, []).append(event)
    calls = change([tuple(pair) for pair in pairs.values()])
    log = run.event_log()
    whole = [log[0], *(event for pair in calls for event in pair), log[-1]]
    writer = folders.writer(header(run))
    sent = [
        hashing.sealed(
            msgspec.structs.replace(event, seq=None, digest=None, writer="m", writer_seq=n)
        )
        for n, event in enumerate(whole, 1)
    ]
    writer.append(sent, run.bodies())
    writer.close()
    return folders.run(writer.run_id)


def header(run):
    from workbench.schema import RunHeader

    return RunHeader(name=run.name)


def renumbered(calls):
    """Number the calls of each lane in the order they stand in."""
    counts, found = {}, []
    for start, end in calls:
        counts[start.lane] = counts.get(start.lane, 0) + 1
        found.append(
            tuple(msgspec.structs.replace(e, ordinal=counts[e.lane]) for e in (start, end))
        )
    return found


def renamed(pair, step_id):
    return tuple(msgspec.structs.replace(event, step_id=step_id) for event in pair)


def payload_of(start, end):
    return start, msgspec.structs.replace(start, payload=end.payload)


def swap_outcomes(calls, i, j):
    (a, b), (c, d) = calls[i], calls[j]
    calls[i] = (a, msgspec.structs.replace(b, payload=d.payload))
    calls[j] = (c, msgspec.structs.replace(d, payload=b.payload))
    return calls


def test_unmutated_copies_replay_identically(folders, world):
    run = record(folders, agents.sequence, "x")
    assert wb.replay(mutated(folders, run, lambda calls: calls), agents.sequence).identical


def test_two_swapped_outcomes_are_reported_at_the_first_request_that_depends_on_them(
    folders, world
):
    run = record(folders, agents.sequence, "x")
    made = mutated(folders, run, lambda calls: swap_outcomes(calls, 0, 2))
    found = first(wb.replay(made, agents.sequence))
    assert (found.kind, found.seq) == ("request_changed", made.calls["seq"][1])


def test_two_swapped_outcomes_that_only_the_output_shows_are_an_outcome_mismatch(folders, world):
    run = record(folders, agents.identical_gather, "x")
    made = mutated(folders, run, lambda calls: swap_outcomes(calls, 0, 3))
    found = first(wb.replay(made, agents.identical_gather))
    assert found.kind == "outcome_mismatch"
    assert found.changes[0]["pointer"].startswith("/0/")


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_dropped_call_is_reported_where_it_was(folders, world, number):
    run = record(folders, agents.sequence, "x")
    for change in (
        lambda calls: renumbered(calls[:number] + calls[number + 1 :]),
        lambda calls: calls[:number] + calls[number + 1 :],
    ):
        made = mutated(folders, run, change)
        found = first(wb.replay(made, agents.sequence))
        assert found.kind in ("extra_call", "request_changed")
        assert (found.lane, found.actual["ordinal"]) == ("root", number + 1)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_repeated_call_is_reported_where_it_is(folders, world, number):
    run = record(folders, agents.sequence, "x")

    def repeat(calls):
        twice = [*calls[: number + 1], renamed(calls[number], "again"), *calls[number + 1 :]]
        return renumbered(twice)

    made = mutated(folders, run, repeat)
    found = first(wb.replay(made, agents.sequence))
    assert (found.kind, found.seq) == ("missing_call", made.calls["seq"][number + 1])


@pytest.mark.parametrize("number", [0, 1])
def test_two_reordered_calls_are_reported_at_the_first_of_them(folders, world, number):
    run = record(folders, agents.sequence, "x")

    def reorder(calls):
        calls[number], calls[number + 1] = calls[number + 1], calls[number]
        return renumbered(calls)

    made = mutated(folders, run, reorder)
    found = first(wb.replay(made, agents.sequence))
    assert found.seq == made.calls["seq"][number]
    assert found.kind in ("missing_call", "reordered")


def test_every_difference_is_collected_on_request(folders, world, agent_folder):
    run = record(folders, module(agent_folder, "an_agent"), "x")
    changed = module(agent_folder, "an_agent", "return [ask('1'), ask('2')]")
    world.poisoned = True
    result = wb.replay(run, changed, collect=True)
    kinds = [found.kind for found in result.divergences]
    changed_calls = ["request_changed", "request_changed"]
    assert kinds == ["code_changed", *changed_calls, "mode_downgraded"]


# ---- what cannot be replayed


def test_c10_what_cannot_be_restored_is_lossy_and_refused_in_exact(folders, world):
    @wb.call()
    def handle():
        return object()

    def agent(_):
        handle()

    with pytest.warns(wb_warning(), match="1 calls are lossy"):
        run = record(folders, agent, "x")
    assert run.calls["quality"].to_list() == ["lossy"]
    with pytest.raises(errors.RecordingIncomplete, match="lossy") as caught:
        wb.replay(run, agent)
    assert len(caught.value.facts["problems"]) == 1


def test_a_start_that_no_call_recorded_is_a_gap_told_at_once_and_refused(folders, world):
    from langchain_core.language_models.fake import FakeListLLM

    def agent(_):
        return FakeListLLM(responses=["hello"]).invoke("hi")

    with pytest.warns(wb_warning(), match="1 calls were not recorded"):
        run = record(folders, agent, "x")
    with pytest.raises(errors.RecordingIncomplete, match="was not recorded"):
        wb.replay(run, agent)


def wb_warning():
    from workbench.capture import RecordingWarning

    return RecordingWarning


def test_a_call_in_flight_is_refused(folders, world):
    run = record(folders, agents.sequence, "x")
    made = mutated(folders, run, lambda calls: [*calls[:2], calls[2][:1]])
    with pytest.raises(errors.RecordingIncomplete, match="never came back"):
        wb.replay(made, agents.sequence)


def test_bad_arguments_are_refused_before_anything_runs(folders, world):
    run = record(folders, agents.sequence, "x")
    with pytest.raises(errors.UsageError, match="no such replay mode"):
        wb.replay(run, agents.sequence, mode="perfect")
    with pytest.raises(errors.UsageError, match="cannot be imported"):
        wb.replay(run, "no_such_module:agent")
    with pytest.raises(errors.UsageError, match="callable"):
        wb.record(folders, 7, "x")


def test_a_lane_the_recording_does_not_have_is_a_changed_shape(folders, world):
    wide = 2

    async def agent(_):
        return await asyncio.gather(*(agents.aask("same") for _ in range(wide)))

    run = record(folders, agent, "x")
    wide = 3
    found = first(wb.replay(run, agent))
    assert (found.kind, found.lane) == ("lane_shape_changed", "root/3")


def test_a_renamed_tool_and_a_read_stream_are_told_apart(folders, world):
    name, whole = "first", True

    def agent(_):
        wb.call(name=name)(lambda x: x)("same")
        model = agents.StreamingModel()
        return model.invoke("q").content if whole else [c.content for c in model.stream("q")]

    run = record(folders, agent, "x")
    whole = False
    assert first(wb.replay(run, agent)).kind == "stream_shape"
    name = "second"
    assert first(wb.replay(run, agent)).kind == "name_changed"


def test_cached_finds_the_answers_of_calls_that_moved_and_says_from_where(folders, world):
    order = ["a", "b", "c"]

    def agent(_):
        return sorted(agents.ask(what)["what"] for what in order)

    run = record(folders, agent, "x")
    order.reverse()
    result = wb.replay(run, agent, mode="cached")
    assert result.identical
    assert result.matches["match_level"].to_list() == ["lane", "exact", "lane"]
    order.append("d")
    result = wb.replay(run, agent, mode="cached")
    assert first(result).seq == run.calls["seq"][0], "where the order began to be another one"
    assert [found.kind for found in result.divergences] == ["reordered", "extra_call"]


def test_the_engine_gives_each_recorded_call_once(folders, world):
    run = record(folders, agents.polling, "x")
    engine = Engine(recording.read(run.event_log(), run.bodies()))
    calls = engine.recording.calls
    from workbench.replay.engine import Question

    asked = Question(
        kind="tool",
        name="ask",
        lane="root",
        ordinal=1,
        signature=calls[0].signature,
        request=calls[0].request,
    )
    answers = [engine.cached(replace(asked, ordinal=n)).call.seq for n in (1, 2, 3)]
    assert answers == [call.seq for call in calls]
    assert engine.cached(replace(asked, ordinal=4)) is None


def test_the_exported_folder_of_a_replayed_run_is_exact_again(folders, world, tmp_path):
    run = record(folders, agents.desk_graph)
    made = wb.replay(run, agents.desk_graph).run
    export.export([made], tmp_path / "out")
    from workbench import store as stores

    again = stores.read(str(tmp_path / "out")).run(made.run_id)
    again.store = folders
    assert wb.replay(again, agents.desk_graph).identical


def test_a_thread_whose_earlier_state_cannot_be_read_is_told_and_refused(folders, world):
    class Locked(InMemorySaver):
        def get_tuple(self, config):
            if open_again:
                raise OSError("locked")
            return super().get_tuple(config)

    open_again = []
    graph = agents.desk().copy({"checkpointer": Locked()})
    config = {"configurable": {"thread_id": "t"}}

    def agent(given):
        open_again.append(1)
        try:
            return graph.stream(given, config)
        finally:
            open_again.clear()

    with pytest.warns(wb_warning(), match="state checkpoint"):
        run = wb.record(folders, lambda given: list(agent(given)), agents.question())
    with pytest.raises(errors.RecordingIncomplete, match="locked"):
        wb.replay(run, graph)


def test_a_method_that_was_taken_before_the_recording_is_a_gap(folders, world):
    with pytest.warns(wb_warning(), match="retriever Shelf"):
        run = record(folders, agents.Shelf().invoke, "x")
    with pytest.raises(errors.RecordingIncomplete, match="retriever Shelf was not recorded"):
        wb.replay(run, agents.Shelf().invoke)
