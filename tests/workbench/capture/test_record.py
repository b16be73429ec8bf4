"""Recording keeps everything at the boundary, changes nothing for the agent, and never breaks it."""

import asyncio
import logging
import time
import warnings
from datetime import UTC, datetime
from itertools import pairwise
from typing import Annotated

import msgspec
import pytest
import replay_agents as agents
from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.tools import BaseTool, InjectedToolCallId, tool
from langgraph.prebuilt import InjectedState
from langgraph.types import Command, Send

import workbench as wb
from workbench import errors, hashing
from workbench.capture import RecordingWarning, messages, values
from workbench.capture.effects import Effects
from workbench.schema import parse_body

# ---- values


MESSAGES = [
    HumanMessage("hi", id="h1"),
    HumanMessage(
        [{"type": "text", "text": "see"}, {"type": "image_url", "image_url": {"url": "x"}}]
    ),
    SystemMessage("be kind", name="boss"),
    AIMessage(
        "",
        id="a1",
        tool_calls=[{"id": "c1", "name": "t", "args": {"x": [1, {"y": None}]}}],
        usage_metadata={"input_tokens": 3, "output_tokens": 1, "total_tokens": 4},
        response_metadata={"model": "m", "when": 1.5},
        additional_kwargs={"reasoning": "because"},
    ),
    AIMessage(
        "oops",
        invalid_tool_calls=[
            {"id": "c2", "name": "t", "args": "{", "error": "e", "type": "invalid_tool_call"}
        ],
    ),
    ToolMessage("gone", tool_call_id="c1", name="t", status="error", artifact={"raw": b"\x00"}),
    ToolMessage(["a", {"type": "json", "json": {}}], tool_call_id="c1"),
    RemoveMessage(id="a1"),
    AIMessageChunk(
        "par",
        id="run-1",
        tool_call_chunks=[{"id": "c1", "name": "t", "args": '{"x": 1}', "index": 0}],
    ),
    HumanMessage("é\ud800", additional_kwargs={"t": (1, 2)}),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: m.type)
def test_a_message_comes_back_as_it_was_and_its_digest_has_no_id(message):
    freeze = values.Freezer()
    body = messages.to_body(message, freeze)
    assert not freeze.lossy
    assert "id" not in body
    stored = hashing.dumps(body)
    back = messages.from_body(msgspec.json.decode(stored), values.thaw, id=message.id)
    assert back == message
    assert type(back) is type(message)
    other = message.model_copy(update={"id": "another"})
    assert hashing.dumps(messages.to_body(other, values.Freezer())) == stored


@pytest.mark.parametrize(
    "value",
    [
        {"a": (1, 2.0, None), "b": {3, 4}, 5: b"x"},
        datetime(2026, 1, 2, tzinfo=UTC),
        Document("page", metadata={"n": 1}, id="d"),
        Command(update={"messages": [AIMessage("x", id="1")]}, goto=[Send("n", {"i": 1})]),
        [HumanMessage("hi", id="1"), float("inf"), 2**70],
    ],
)
def test_values_of_an_agent_come_back_equal(value):
    form, lossy = values.freeze(value)
    assert not lossy
    assert values.thaw(msgspec.json.decode(hashing.dumps(form))) == value


def test_an_object_nobody_can_restore_is_lossy():
    assert values.freeze({"x": object()})[1]
    assert values.freeze(lambda: 1)[1]


# ---- requests


def requests_of(run):
    return [parse_body(e).request for e in run.event_log() if e.event_type == "call_started"]


def test_a_model_call_is_signed_by_what_matters_and_by_nothing_else(folders, world):
    def agent(given):
        chat = agents.DeskModel(lookups=0, temperature=given.get("t", 0.5))
        bound = chat.bind_tools([agents.look_up], tool_choice="any")
        config = {"tags": [given["tag"]], "metadata": {"m": given["tag"]}, "run_name": given["tag"]}
        return bound.invoke([HumanMessage("hi", id=given["tag"])], config, stop=["x"]).content

    one, two, three = (
        wb.record(folders, agent, given)
        for given in ({"tag": "a"}, {"tag": "b"}, {"tag": "a", "t": 0.9})
    )
    assert one.calls["signature"].to_list() == two.calls["signature"].to_list()
    assert one.calls["signature"].to_list() != three.calls["signature"].to_list()
    [request] = requests_of(one)
    assert set(request) == {"messages", "model", "tools", "tool_choice", "stop", "params"}
    assert request["tools"][0]["function"]["name"] == "look_up"


def test_a_tool_call_is_signed_without_what_its_framework_injects(folders, world):
    @tool
    def injected(
        order: str,
        state: Annotated[dict, InjectedState],
        call_id: Annotated[str, InjectedToolCallId],
    ) -> str:
        """Look."""
        return order

    def agent(_):
        args = {"order": "A1", "state": {"messages": [1, 2]}}
        call = {"type": "tool_call", "id": "c9", "name": "injected", "args": args}
        return injected.invoke(call).content

    run = wb.record(folders, agent, "x")
    assert requests_of(run) == [{"arguments": {"order": "A1"}}]


def test_a_request_is_frozen_before_the_agent_changes_its_list(folders, world):
    def agent(_):
        history = [HumanMessage("one")]
        for _turn in range(2):
            history.append(agents.DeskModel(lookups=0).invoke(history))
            history[0].content = "changed"
        return len(history)

    run = wb.record(folders, agent, "x")
    first, second = requests_of(run)
    bodies = run.bodies()
    assert bodies[first["messages"][0]]["content"] == "one"
    assert bodies[second["messages"][0]]["content"] == "changed"


def test_usage_becomes_tokens_and_unknown_cost_stays_null(folders, world):
    run = wb.record(folders, lambda _: agents.DeskModel(lookups=0).invoke("x").content, "x")
    [row] = run.steps.filter(run.steps["kind"] == "model").to_dicts()
    assert (row["input_tokens"], row["output_tokens"], row["cost_usd"]) == (12, 3, None)


def test_effects_are_declared_by_name_or_on_the_tool():
    @tool
    @wb.tool_effects("read")
    def declared(x: str) -> str:
        """Read."""
        return x

    assert Effects().of("declared", declared) == "read"
    assert Effects({"declared": "write"}).of("declared", declared) == "write"
    assert Effects().of("other", agents.look_up) == "unknown"
    assert Effects().of("look_up", wb.tool_effects("pure")(agents.Shelf())) == "pure"
    with pytest.raises(errors.UsageError, match="no such effect"):
        Effects({"x": "harmless"})
    with pytest.raises(errors.UsageError, match="no such kind"):
        wb.call(kind="wish")


# ---- interception


def test_overrides_in_present_and_future_subclasses_are_seen(folders, world):
    class Own(agents.DeskModel):
        def invoke(self, *_, **kwargs):
            return AIMessage(f"own {world.live('own')}")

    def agent(_):
        class Later(BaseTool):
            name: str = "later"
            description: str = "Later."

            def run(self, tool_input, **kwargs):
                return f"later {world.live('later')}"

            def _run(self, **kwargs):
                raise AssertionError

        return [Own().invoke("x").content, Later().run("y")]

    run = wb.record(folders, agent, "x")
    assert run.calls["name"].to_list() == ["desk-1", "later"]
    world.poisoned = True
    assert wb.replay(run, agent).identical


def test_the_outermost_entry_wins(folders, world):
    @tool
    def outer(x: str) -> str:
        """Call the rest."""
        return agents.look_up.invoke({"order": agents.DeskModel(lookups=0).invoke(x).content})

    run = wb.record(folders, lambda _: outer.invoke({"x": "y"}), "x")
    assert run.calls["name"].to_list() == ["outer"]


def test_everything_is_put_back_and_code_outside_is_untouched(folders, world):
    import threading
    from concurrent.futures import ThreadPoolExecutor

    watched = [
        (BaseChatModel, "invoke"),
        (BaseTool, "run"),
        (threading.Thread, "start"),
        (ThreadPoolExecutor, "submit"),
        (asyncio.BaseEventLoop, "create_task"),
        (time, "sleep"),
        (asyncio, "sleep"),
    ]
    before = [getattr(owner, name) for owner, name in watched]
    seen = []

    def outside():
        seen.append(agents.ask("outside"))

    def agent(_):
        beside = threading.Thread(target=outside)
        beside_us.append(beside)
        return agents.ask("inside")["what"]

    beside_us = []
    run = wb.record(folders, agent, "x")
    beside_us[0].start()
    beside_us[0].join()
    assert len(seen) == 1
    assert run.calls.height == 1
    wb.replay(run, agent)
    assert [getattr(owner, name) for owner, name in watched] == before
    assert "__init_subclass__" not in vars(BaseChatModel)


def test_a_stream_writes_at_most_one_chunk_in_fifty_ms(folders, world):
    @wb.call()
    def drip():
        for number in range(30):
            time.sleep(0.004)
            yield number

    run = wb.record(folders, lambda _: list(drip()), "x")
    chunks = [parse_body(e) for e in run.event_log() if e.event_type == "chunk"]
    assert [piece for chunk in chunks for piece in chunk.pieces] == list(range(30))
    assert 2 <= len(chunks) <= 1 + 1 + (30 * 40) // 50
    gaps = [b.at_ms - a.at_ms for a, b in pairwise(chunks[:-1])]
    assert all(gap >= 49 for gap in gaps)


def test_a_cancelled_task_is_a_cancelled_call(folders, world):
    @wb.call()
    async def forever():
        await asyncio.sleep(60)

    async def agent(_):
        try:
            await asyncio.wait_for(forever(), 0.02)
        except TimeoutError:
            return "gave up"

    run = wb.record(folders, agent, "x")
    assert run.calls["status"].to_list() == ["cancelled"]


# ---- the run


def test_the_first_and_last_event_say_how_the_root_was_called_and_what_it_gave(folders, world):
    config = {"configurable": {"seed": 7}, "recursion_limit": 50}
    run = wb.record(folders, agents.desk_graph, agents.question(), config=config, entry="stream")
    log = run.event_log()
    started, ended = parse_body(log[0]), parse_body(log[-1])
    assert (log[0].event_type, log[-1].event_type) == ("run_started", "run_ended")
    assert started.entry["method"] == "stream"
    assert started.entry["configurable"] == {"seed": 7}
    assert started.pooled
    assert started.entry_point == "replay_agents:desk_graph"
    assert "replay_agents" in started.code["modules"]
    assert started.code["distributions"]["langgraph"]
    assert ended.writers == {log[0].writer: len(log)}
    assert len(ended.output["found"]) > 0
    assert run.messages["role"].to_list()[:2] == ["user", "assistant"]


def test_the_with_form_records_the_outermost_runnable(folders, world):
    with wb.record(folders, name="block") as run:
        output = agents.desk_graph.invoke(agents.question())
    assert run.status == "done"
    assert run.name == "block"
    assert wb.replay(folders.run(run.run_id), agents.desk_graph).identical
    assert len(run.output["messages"]) == len(output["messages"])
    function_form = wb.record(folders, agents.desk_graph, agents.question())
    assert set(function_form.calls["lane"]) == set(run.calls["lane"])


def test_the_with_form_knows_decorated_functions_and_several_roots(folders, world):
    @wb.root
    def agent(given):
        return agents.ask(given)["what"]

    with wb.record(folders) as run:
        agent("one")
        agent("two")
    assert run.calls["lane"].to_list() == ["root", "root[1]"]
    with pytest.raises(errors.NotReplayable, match="2 roots"):
        wb.replay(folders.run(run.run_id), agent)
    assert agent("outside") == "outside"


def test_the_with_form_lets_an_exception_through_and_keeps_it(folders, world):
    def block():
        with wb.record(folders) as run:
            kept.append(run)
            agents.desk_graph.invoke(agents.question())
            raise ValueError("broken")

    kept = []
    with pytest.raises(ValueError, match="broken"):
        block()
    [run] = kept
    assert run.status == "failed"


def test_a_block_without_a_root_says_that_it_cannot_be_replayed(folders, world):
    with pytest.warns(RecordingWarning, match="not replayable"), wb.record(folders) as run:
        agents.ask("alone")
    with pytest.raises(errors.NotReplayable, match="no recorded root"):
        wb.replay(folders.run(run.run_id), agents.sequence)
    assert run.calls["lane"].to_list() == ["root"]


def test_recording_works_where_a_loop_already_runs(folders, world):
    async def notebook():
        return wb.record(folders, agents.identical_gather, "x")

    run = asyncio.run(notebook())
    assert run.status == "done"
    assert sorted(run.calls["lane"]) == ["root/1", "root/2", "root/3", "root/4"]


# ---- C16


def test_c16_an_agent_runs_where_its_store_cannot_be_reached(own_server, world, monkeypatch):
    from workbench.store import connect, spooled

    monkeypatch.setattr(spooled, "_LAST_TRY_S", 0.1)
    with connect(own_server.url, own_server.api_key) as store:
        own_server.process.kill()
        own_server.process.wait()
        with pytest.warns(RecordingWarning, match="events wait on this machine's disk"):
            run = wb.record(store, agents.sequence, "x", name="alone")
        assert world.calls == 3
        assert (run.status, run.name) == ("done", "alone")
        with pytest.raises(errors.Unavailable):
            run.events  # noqa: B018 - reading it is what fails
        with pytest.warns(RecordingWarning, match="events wait"), wb.record(store):
            assert agents.desk_graph.invoke(agents.question())["messages"]


def test_c16_whoever_wants_it_is_stopped_where_the_store_cannot_be_reached(
    own_server, world, monkeypatch
):
    from workbench.store import connect, spooled

    monkeypatch.setattr(spooled, "_LAST_TRY_S", 0.1)
    monkeypatch.setattr(spooled, "FAILING_S", 0.0)
    with connect(own_server.url, own_server.api_key) as store:
        own_server.process.kill()
        own_server.process.wait()
        with (
            pytest.warns(RecordingWarning, match="events wait"),
            pytest.raises(errors.RecordingFailed, match="cannot go on"),
        ):
            wb.record(store, agents.sequence, "x", on_error="closed")


class Breaking:
    """A store that goes away after its first batch."""

    read_only = False

    def __init__(self, folders):
        self.folders = folders

    def writer(self, header):
        made = self.folders.writer(header)

        def append(events, bodies=None):
            raise errors.Unavailable("the store went away")

        made.append = append
        return made

    def run(self, run_id):
        raise errors.Unavailable("the store went away")


def test_c16_a_store_that_goes_away_never_reaches_the_agent(folders, world, caplog, monkeypatch):
    from workbench.capture import journal

    monkeypatch.setattr(journal, "_LAST_TRY_S", 0.1)
    caplog.set_level(logging.CRITICAL)
    done = []

    def agent(_):
        done.append(agents.sequence("x"))

    with pytest.warns(RecordingWarning, match="incomplete"):
        run = wb.record(Breaking(folders), agent, "x")
    assert len(done) == 1
    assert run.status == "done"


def test_a_broken_description_never_breaks_the_agent(folders, world):
    class Odd(agents.DeskModel):
        lookups: int = 0

        @property
        def _identifying_params(self):
            raise RuntimeError("odd")

        def _get_invocation_params(self, stop=None, **kwargs):
            return {}

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        run = wb.record(folders, lambda _: Odd().invoke("x").content, "x")
    assert run.status == "done"
    assert any("were not recorded" in str(w.message) for w in told)
