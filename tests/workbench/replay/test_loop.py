"""A loop talks live, is replayed exactly, and goes by what an imported run tells of its turns."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from bare import BareShelf, with_request
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.tools import tool as as_tool

import workbench as wb
from workbench import errors, formats
from workbench import recording as recordings
from workbench.capture import transcripts
from workbench.formats.trace import Call, Message, Trace
from workbench.redaction import Layer, Rule
from workbench.replay import isolation
from workbench.replay.elsewhere import Elsewhere
from workbench.replay.session import ReplaySession
from workbench.store import export
from workbench.store.redacting import SpoolRedaction

QUESTION = {"messages": [("system", "Be brief."), ("user", "What is 1 + 2?")]}


class CalledLive(BaseException):
    """No loop takes it for a tool's error."""


def raising(*_, **__):
    raise CalledLive


def poisoned(*names, human=raising):
    """Return a loop whose parts raise."""
    return wb.loop(raising, dict.fromkeys(names, raising), human, name="model")


def asking(*calls, text=None):
    return {
        "content": text,
        "tool_calls": [dict(zip(("name", "arguments", "id"), c, strict=False)) for c in calls],
    }


class Script:
    """Says one thing after another, and keeps what it was told."""

    def __init__(self, *said):
        self.said, self.told = list(said), []

    def __call__(self, messages, tools=None):
        self.told.append(messages)
        return self.said.pop(0)


def add(a, b):
    return a + b


def fails(reason):
    raise ValueError(reason)


# ---- live, recorded and replayed


def test_a_live_loop_is_recorded_and_its_replay_is_identical(folders):
    model = Script(asking(("add", {"a": 1, "b": 2}, "c1")), "It is 3.")
    agent = wb.loop(model, [add], name="model")
    run = wb.record(folders, agent, QUESTION, effects={"add": "pure"})
    assert run.output == "It is 3."
    assert run.calls.select("lane", "kind", "name").rows() == [
        ("root", "model", "model"),
        ("root/tools[0]", "tool", "add"),
        ("root", "model", "model"),
    ]
    assert [m["role"] for m in model.told[1]] == ["system", "user", "assistant", "tool"]
    assert model.told[1][-1] == {
        "role": "tool",
        "content": "3",
        "tool_call_id": "c1",
        "name": "add",
    }

    result = wb.replay(run, poisoned("add", human=None))
    assert (result.identical, result.divergences) == (True, [])
    assert result.output == "It is 3."
    assert result.run.content_root == run.content_root


def test_a_chat_model_and_tools_of_langchain_are_bound_called_and_replayed(folders):
    @as_tool
    def look_up(order: str) -> str:
        """Look an order up."""
        return f"order {order} is on its way"

    class Model(GenericFakeChatModel):
        def bind_tools(self, tools, **_):
            assert [tool.name for tool in tools] == ["look_up"]
            return self

    def answers():
        asked = {"name": "look_up", "args": {"order": "A1"}, "id": "c1", "type": "tool_call"}
        yield AIMessage("", tool_calls=[asked])
        yield AIMessage("On its way.")

    given = {"messages": [SystemMessage("Help."), HumanMessage("A1?")]}
    run = wb.record(folders, wb.loop(Model(messages=answers()), [look_up]), given)
    assert run.output == "On its way."
    assert run.calls["kind"].to_list() == ["model", "tool", "model"], "none is recorded twice"
    assert run.calls["lane"].to_list() == ["root", "root/tools[0]", "root"]
    replayed = wb.replay(run, wb.loop(Model(messages=iter(())), [look_up]))
    assert (replayed.identical, replayed.divergences) == (True, [])
    assert replayed.output == "On its way."


def test_a_providers_own_form_of_calls_is_read(folders):
    function = {"name": "add", "arguments": f'{{"a": {10**30}, "b": 1}}'}
    asked = {"tool_calls": [{"id": "c1", "type": "function", "function": function}]}
    model = Script(asked, "Much.")
    run = wb.record(folders, wb.loop(model, [add], name="model"), "Add.")
    assert model.told[1][-1]["content"] == str(10**30 + 1)
    assert wb.replay(run, poisoned("add", human=None)).identical


def test_a_human_speaks_calls_tools_and_ends_the_talk(folders):
    own_call = asking(("add", {"a": 1, "b": 1}), text="Wait.")
    model = Script("Your name?", "Thank you, Ann.")
    human = Script("I want to pay.", own_call, "Ann.", None)
    run = wb.record(folders, wb.loop(model, [add], human, name="model"), {"messages": []})
    assert run.calls.select("lane", "kind").rows() == [
        ("root", "human"),
        ("root", "model"),
        ("root", "human"),
        ("root/user_tools[0]", "tool"),
        ("root", "human"),
        ("root", "model"),
        ("root", "human"),
    ]
    assert human.told[2][-1]["content"] == "2", "the human reads what its own call brought"
    assert run.output == "Thank you, Ann."
    result = wb.replay(run, poisoned("add"))
    assert (result.identical, result.divergences) == (True, [])


def test_a_tools_error_is_its_answer_and_a_models_ends_the_run(folders):
    model = Script(
        asking(("fails", {"reason": "no"}), ("gone", {}), ("fails", "not an object")), "Sorry."
    )
    run = wb.record(folders, wb.loop(model, [fails], name="model"), "go")
    assert run.output == "Sorry."
    assert [m["error"] for m in model.told[1][-3:]] == [
        "ValueError: no",
        "LookupError: there is no tool gone",
        "TypeError: the arguments of fails are no object",
    ]
    assert run.calls["status"].to_list() == ["ok", "error", "error", "error", "ok"]
    result = wb.replay(run, poisoned("fails", human=None))
    assert (result.identical, result.divergences) == (True, [])

    def broken(messages, tools):
        raise TimeoutError("slow")

    run = wb.record(folders, wb.loop(broken, [], name="model"), "go")
    assert run.status == "failed"
    result = wb.replay(run, poisoned(human=None))
    assert (result.identical, result.divergences) == (True, [])


def test_other_arguments_and_another_model_are_divergences(folders):
    model = Script(asking(("add", {"a": 1, "b": 2})), "3")
    run = wb.record(folders, wb.loop(model, [add], name="model"), QUESTION)
    assert not wb.replay(run, wb.loop(raising, [add], name="other")).identical
    fewer = wb.replay(run, wb.loop(raising, [], name="model"))
    assert fewer.divergences[0].changes[0]["pointer"].startswith("/tools")


def test_in_a_recorded_block_a_loop_is_the_root(folders):
    agent = wb.loop(Script(asking(("add", {"a": 1, "b": 2})), "3"), [add], name="model")
    with wb.record(folders) as block:
        assert agent(QUESTION) == "3"
    run = folders.run(block.run_id)
    assert run.output == "3"
    assert run.calls["lane"].to_list() == ["root", "root/tools[0]", "root"]
    result = wb.replay(run, poisoned("add", human=None))
    assert (result.identical, result.divergences) == (True, [])


def test_inside_a_call_a_loop_is_a_part_of_it(folders):
    agent = wb.loop(Script("3"), [], name="model")

    @wb.tool
    def ask(what):
        return agent(what)

    def outer(what):
        return ask(what)

    run = wb.record(folders, outer, "1 + 2?")
    assert run.calls.select("kind", "name").rows() == [("tool", "ask")]
    assert wb.replay(run, outer).identical


def test_without_a_recording_a_loop_just_runs():
    agent = wb.loop(Script(asking(("add", {"a": 1, "b": 2})), "3"), {"add": add})
    assert agent("What is 1 + 2?") == "3"


def test_what_cannot_be_called_or_read_is_refused():
    with pytest.raises(errors.UsageError, match="model cannot be called"):
        wb.loop("gpt", [])
    with pytest.raises(errors.UsageError, match="tool cannot be called"):
        wb.loop(raising, {"add": 1})
    with pytest.raises(errors.UsageError, match="two tools"):
        wb.loop(raising, [add, add])
    with pytest.raises(errors.UsageError, match="messages"):
        wb.loop(raising, [])(5)
    with pytest.raises(errors.UsageError, match="no message"):
        wb.loop(lambda *_: 5, [])("go")
    with pytest.raises(errors.UsageError, match="names no tool"):
        wb.loop(lambda *_: {"tool_calls": [{}]}, [])("go")


# ---- imported


def messages(*said):
    return [Message(index=i, **one) for i, one in enumerate(said)]


def imported(*said, store=None, **trace):
    """Import a conversation into a store."""
    made = formats.imported(trace_of(*said, **trace))
    return (store or BareShelf()).put(made.header, made.events, made.bodies)


def trace_of(*said, **trace):
    told = messages(*said)
    return Trace(key="k", name="a talk", labels={}, messages=told, has_costs=True, **trace)


def user(text, *calls):
    return {"role": "user", "content": text, "calls": list(calls), "cost_usd": 0.1}


def assistant(text, *calls, cost=0.1):
    return {"role": "assistant", "content": text, "calls": list(calls), "cost_usd": cost}


def answer(text, **more):
    return {"role": "tool", "content": text, **more}


def system(text):
    return {"role": "system", "content": text}


def call(name, id=None, **arguments):  # noqa: A002 - a call's own word
    return Call(name=name, arguments=arguments, id=id)


GREETING = assistant("Hi! How can I help?", cost=0)
SHAPES = {
    "empty": ([], None),
    "only instructions": ([system("Be brief.")], None),
    "no assistant": ([system("Be brief."), user("Hello?")], None),
    "a greeting": ([GREETING, user("Hello"), assistant("Yes?")], "Yes?"),
    "instructions in the middle": (
        [system("Be brief."), user("Hello"), system("Be kind."), assistant("Dear you.")],
        "Dear you.",
    ),
    "nobody's turn": (
        [user("One."), user("Two."), assistant("Three."), assistant("Four.")],
        "Four.",
    ),
    "parallel calls": (
        [
            user("Go"),
            assistant(None, call("a"), call("b")),
            answer("1"),
            answer("2"),
            assistant("!"),
        ],
        "!",
    ),
    "shuffled answers": (
        [
            user("Go"),
            assistant(None, call("a", "x"), call("b", "y"), call("a", "z")),
            answer("3", reply_to="z", name="a"),
            answer("2", reply_to="y", name="b"),
            answer("1", reply_to="x", name="a"),
            assistant("!"),
        ],
        "!",
    ),
    "a late answer": (
        [
            user("Go"),
            assistant(None, call("a", "x")),
            user("Still there?"),
            assistant("One moment."),
            answer("1", reply_to="x"),
            assistant("!"),
        ],
        "!",
    ),
    "a call that stays open": (
        [user("Go"), assistant("", call("a"), call("b")), answer("1")],
        None,
    ),
    "an open call in the middle": (
        [user("Go"), assistant("", call("a")), user("Stop"), assistant("!")],
        "!",
    ),
    "an answer nobody asked for": (
        [user("Go"), answer("1", replied=call("a", n=1)), assistant("!")],
        "!",
    ),
    "repeated ids and polls": (
        [
            user("Go"),
            *([assistant("", call("a", "x", n=1)), answer("no", reply_to="x")] * 3),
            assistant("", call("a", "x", n=1)),
            answer("yes", reply_to="x"),
            assistant("!"),
        ],
        "!",
    ),
    "an error": (
        [user("Go"), assistant("", call("a")), answer("", error="KeyError: 'a'"), assistant("!")],
        "!",
    ),
    "a user's own calls": (
        [
            user("Go"),
            assistant("Switch it on."),
            user("", call("switch", on=True)),
            answer("it is on"),
            user("It is on."),
            assistant("", call("a")),
            answer("1"),
            assistant("!"),
        ],
        "!",
    ),
    "blocks, odd arguments and large numbers": (
        [
            user([{"type": "text", "text": "Go"}]),
            assistant("", Call(name="a", arguments='{"n":'), Call(name="a", arguments=None)),
            answer("1"),
            answer("2"),
            assistant([{"type": "text", "text": "!"}], Call(name="b", arguments={"n": 2.0})),
        ],
        "!",
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("params", [{}, {"model": "gpt", "model_params": {"temperature": 0.0}}])
def test_every_shape_of_a_conversation_replays_to_its_end(shape, params):
    said, output = SHAPES[shape]
    run = imported(*said, **params)
    result = wb.replay(run, wb.loop(raising, {}, raising), mode="cached", into=BareShelf())
    assert (result.identical, result.divergences) == (True, [])
    assert result.output == output
    recorded, made = (recordings.read(r.event_log(), r.bodies()) for r in (run, result.run))
    assert set(result.certificate["match_levels"]) <= {"exact"}
    assert made.content_root == recorded.content_root
    open_calls = [[c.seq for c in r.calls if c.ended_seq is None] for r in (recorded, made)]
    assert len(open_calls[0]) == len(open_calls[1])


def test_a_source_that_says_it_failed_is_replayed_to_where_it_stopped():
    run = imported(user("Go"), assistant("", call("a")), status="failed", failure="too_many_errors")
    result = wb.replay(run, poisoned_import(), mode="cached", into=BareShelf())
    assert (result.identical, result.divergences) == (True, [])


def poisoned_import():
    return wb.loop(raising, {}, raising)


def test_an_imported_run_is_refused_in_exact_and_by_other_agents():
    run = imported(*SHAPES["parallel calls"][0])
    with pytest.raises(errors.RecordingIncomplete, match="reconstructed"):
        wb.replay(run, poisoned_import())
    with pytest.raises(errors.NotReplayable, match="imported"):
        wb.replay(run, len, mode="cached")
    empty = imported()
    with pytest.raises(errors.RecordingIncomplete, match="reconstructed"):
        wb.replay(empty, poisoned_import())


def test_a_run_that_was_redacted_when_it_was_imported_replays():
    made = formats.imported(trace_of(*DESK))
    rules = Layer(rules=(Rule(name="order", pattern="A[0-9]"),), key=b"k" * 32)
    events, bodies = SpoolRedaction(rules).run(made.events, made.bodies)
    run = BareShelf().put(made.header, events, bodies)
    assert "A1" not in json.dumps(run.bodies())
    result = wb.replay(run, poisoned_import(), mode="cached", into=BareShelf())
    assert (result.identical, result.divergences) == (True, [])


def test_a_recording_without_one_of_its_messages_is_refused():
    made = formats.imported(trace_of(*SHAPES["instructions in the middle"][0]))
    for said in ("Be brief.", "Be kind."):
        bodies = {digest: body for digest, body in made.bodies.items() if body["content"] != said}
        run = BareShelf().put(made.header, made.events, bodies)
        with pytest.raises(errors.RecordingIncomplete, match="not in the recording"):
            wb.replay(run, poisoned_import(), mode="cached", into=BareShelf())


def test_the_replay_of_an_imported_run_can_itself_be_replayed_exactly(folders):
    shelf = BareShelf()
    run = imported(*SHAPES["shuffled answers"][0], store=shelf)
    first = wb.replay(run, poisoned_import(), mode="cached", into=shelf)
    second = wb.replay(first.run, poisoned_import(), into=BareShelf())
    assert (second.identical, second.divergences) == (True, [])
    assert second.output == "!"


def test_another_name_or_other_parameters_of_the_model_are_told():
    run = imported(*SHAPES["parallel calls"][0], model="gpt", model_params={"temperature": 0.0})
    for options, pointer in (({"name": "other"}, "/model"), ({"params": {"n": 1}}, "/params/n")):
        agent = wb.loop(raising, {}, raising, **options)
        result = wb.replay(run, agent, mode="cached", into=BareShelf())
        assert result.divergences[0].kind == "request_changed"
        assert pointer in [change["pointer"] for change in result.divergences[0].changes]


# ---- what must turn red


def test_with_answers_where_they_were_asked_for_shuffled_ones_differ(monkeypatch):
    """The plan's indexes matter: without them the conversation is another one."""
    monkeypatch.setattr(transcripts, "_replies", lambda _: {})
    for shape in ("shuffled answers", "a late answer"):
        run = imported(*SHAPES[shape][0])
        result = wb.replay(run, poisoned_import(), mode="cached", into=BareShelf())
        assert not result.identical, shape


def test_a_model_that_is_really_called_is_noticed(monkeypatch):
    run = imported(*SHAPES["parallel calls"][0])
    answer_all = ReplaySession.answer

    def answer_but_models(session, opened):
        if opened.asked.kind != "model":
            answer_all(session, opened)

    monkeypatch.setattr(ReplaySession, "answer", answer_but_models)
    result = wb.replay(run, poisoned_import(), mode="cached", into=BareShelf())
    assert not result.identical
    assert {"exception_mismatch", "unconsumed"} <= {found.kind for found in result.divergences}


def test_a_changed_call_is_named_also_where_an_equal_one_follows(monkeypatch):
    run = imported(*SHAPES["repeated ids and polls"][0])
    recorded = recordings.read(run.event_log(), run.bodies())
    polls = [call for call in recorded.calls if call.name == "a"]
    for poll in polls:
        changed = with_request(run, poll, {"arguments": {"n": 2}})
        result = wb.replay(changed, poisoned_import(), mode="cached", into=BareShelf())
        assert result.divergences[0].seq == poll.seq

    monkeypatch.setattr(Elsewhere, "note", lambda *_, **__: None)
    changed = with_request(run, polls[0], {"arguments": {"n": 2}})
    result = wb.replay(changed, poisoned_import(), mode="cached", into=BareShelf())
    assert result.divergences[0].seq != polls[0].seq, "else the blame of equal calls is not tried"


# ---- one tool live


def one_live(monkeypatch, name):
    """Let a session leave one tool's calls to be made."""
    answer_all = ReplaySession.answer

    def answer_others(session, opened):
        if opened.asked.name != name:
            answer_all(session, opened)

    monkeypatch.setattr(ReplaySession, "answer", answer_others)


DESK = [
    user("A1 and A2?"),
    assistant("", call("look_up", "x", order="A1"), call("note", "y", text="hm")),
    answer("ok", reply_to="y", name="note"),
    answer('{"order":"A1"}', reply_to="x", name="look_up"),
    assistant("One more.", call("look_up", "z", order="A2")),
    answer('{"order":"A2"}', reply_to="z", name="look_up"),
    assistant("Done."),
]


def test_a_tool_that_is_left_to_be_called_answers_in_the_recorded_place(monkeypatch):
    run, called = imported(*DESK), []

    def look_up(order):
        called.append(order)
        return {"order": order}

    one_live(monkeypatch, "look_up")
    agent = wb.loop(raising, {"look_up": look_up, "note": raising}, raising)
    result = wb.replay(run, agent, mode="cached", into=BareShelf())
    assert called == ["A1", "A2"]
    assert result.output == "Done."
    assert set(result.certificate["match_levels"]) == {"exact"}, (
        "the requests are the recorded ones"
    )
    left = [found.expected["name"] for found in result.divergences if found.kind == "unconsumed"]
    assert left == ["look_up", "look_up"]


def test_another_live_answer_stands_in_the_models_next_request(monkeypatch):
    run = imported(*(one | {"name": None} for one in DESK))
    one_live(monkeypatch, "look_up")
    agent = wb.loop(raising, {"look_up": lambda order: {"id": order}, "note": raising}, raising)
    result = wb.replay(run, agent, mode="cached", into=BareShelf())
    first = result.divergences[0]
    assert first.kind == "request_changed"
    assert first.changes == (
        {
            "pointer": "/messages/3/content",
            "expected": '{"order":"A1"}',
            "actual": '{"id":"A1"}',
        },
    )


# ---- at the command line and isolated


def test_the_command_replays_an_imported_run_by_a_named_loop(tmp_path):
    made = formats.imported(trace_of(*DESK))
    folder = tmp_path / "talk"
    writer = export.writer(folder, made.header)
    writer.append(made.events, made.bodies)
    writer.close()
    for isolated in (["--no-isolate"], ["--isolate"] if isolation.possible() else []):
        done = subprocess.run(
            [
                *(sys.executable, "-c", "from workbench.cli import main; main()"),
                *("replay", writer.run_id, "--agent", "loop_agents:poisoned", "--mode", "cached"),
                *("--store", str(folder), "--json", *isolated),
            ],
            capture_output=True,
            text=True,
            cwd=Path(__file__).parents[3],
            env={
                **os.environ,
                "PYTHONPATH": str(Path(__file__).parents[1]),
                "WORKBENCH_HOME": str(tmp_path / "home"),
            },
            check=False,
        )
        answered = json.loads(done.stdout)
        assert (done.returncode, answered["identical"]) == (0, True), answered
        assert answered["calls"]["consumed"] == 7
