"""What an agent says is redacted before it is hashed, signed and on the disk; replays know how."""

import contextlib
import re
import warnings
from uuid import uuid4

import msgspec
import orjson
import pytest
import replay_agents as agents
from langchain_core.messages import HumanMessage, SystemMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, interrupt
from strengths import isolated

import workbench as wb
from workbench import errors, hashing, recording
from workbench.capture import RecordingWarning
from workbench.schema import Event, RunHeader, parse_body
from workbench.spool import Delivery, Header, Line, SpoolFolder
from workbench.store import connect

EMAIL = wb.Rule(name="email", pattern=r"[\w.+-]+@[\w-]+\.[\w.]*\w")
NAMES = wb.Rule(name="name", pattern="[A]nn|[B]ob")
LITERAL = wb.Rule(name="name", pattern="Ann|Bob")
ANN, BOB = "ann@example.org", "bob@example.org"
PLACEHOLDER = re.compile(r"⟨email:[0-9a-f]{8}⟩")


@pytest.fixture(autouse=True)
def _own_folders(tmp_path, monkeypatch, world):
    monkeypatch.setenv("WORKBENCH_SPOOL", str(tmp_path / "spool"))
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "home"))
    yield
    world.reset(None)


@pytest.fixture
def ruled(store):
    store.administration.change_redaction([EMAIL])
    return store


@pytest.fixture
def on_disk(tmp_path):
    """What lies in the spool's folder, as one text."""

    def read():
        paths = sorted((tmp_path / "spool").glob("*"))
        return b"".join(path.read_bytes() for path in paths).decode()

    return read


@wb.call(kind="model", effect="read")
def ask(prompt):
    return f"{agents.world.live('ask')}: mail {BOB} about {prompt}"


@wb.call(effect="write")
def send(to, *, body=None):
    agents.world.live("send")
    return {"sent": [to], BOB: body}


@wb.call(kind="model", effect="read")
def spell(prompt):
    agents.world.live("spell")
    yield from ("write to ", "ann@", "exam", "ple.org", ", ", "soon")


@wb.call(effect="read")
def refuse(who):
    agents.world.live("refuse")
    raise ValueError(f"nobody is called {who}")


def desk(given):
    """An agent that holds an address itself, and gets others in its input and from its calls."""
    answer = ask(f"You are the desk of {ANN}. {given['question']}")
    spelled = "".join(spell({"of": given["who"]}))
    sent = send(given["who"], body=answer)
    with contextlib.suppress(ValueError):
        refuse(given["who"])
    return {"answer": answer, "spelled": spelled, "to": given["who"], "sent": len(sent)}


GIVEN = {"question": f"Who is {BOB}?", "who": ANN}


def stored(run):
    """Everything a server has of a run, as one text."""
    events = b"".join(msgspec.json.encode(event) for event in run.event_log())
    return events.decode() + str(run.bodies()) + str(run.info)


def proved(run):
    """Read a run as a replay does: every digest and signature is that of what is stored."""
    for event in run.event_log():
        assert event.digest == hashing.event_digest(event)
    for digest, body in run.bodies().items():
        assert digest == hashing.digest_of(body)
    found = recording.read(run.event_log(), run.bodies())
    assert found.problems == ()
    return found


# ---- recording


def test_nothing_that_leaves_the_agent_holds_what_a_rule_hides(ruled):
    run = wb.record(ruled, desk, GIVEN, name=f"for {ANN}", labels={"who": BOB})
    text = stored(run)
    assert "example" not in text
    assert "exam" not in text
    assert len(set(PLACEHOLDER.findall(text))) == 2
    found = proved(run)
    assert {call.name: call.quality for call in found.calls} == dict.fromkeys(
        ("ask", "spell", "send", "refuse"), "redacted"
    )
    kinds = {e.event_type: e.quality for e in run.event_log() if e.event_type.startswith("run_")}
    assert kinds == {"run_started": "redacted", "run_ended": "redacted"}


def test_equal_texts_have_equal_placeholders_wherever_they_stand(ruled):
    run = wb.record(ruled, desk, GIVEN)
    found = proved(run)
    asked = {call.name: call for call in found.calls}
    to = asked["send"].request["arguments"]["to"]
    assert PLACEHOLDER.fullmatch(to)
    assert found.started.input["who"] == found.ended.output["to"] == to
    assert "".join(p for some in asked["spell"].pieces for p in some) == f"write to {to}, soon"
    assert asked["refuse"].exception["message"] == f"nobody is called {to}"
    assert asked["refuse"].exception["class"] == "builtins:ValueError"


def test_a_run_tells_by_which_rules_it_was_redacted_and_how_often(ruled):
    run = wb.record(ruled, desk, GIVEN)
    told = recording.read(run.event_log(), run.bodies()).redaction
    assert [layer["rules"] for layer in told] == [[{"name": "email", "pattern": EMAIL.pattern}]]
    (summary,) = [
        parse_body(e).value for e in run.event_log()
        if e.event_type == "annotated" and parse_body(e).label == "redacted"
    ]  # fmt: skip
    changed = [e for e in run.event_log() if e.quality == "redacted"]
    assert summary["events"] == len(changed)
    assert summary["matches"]["email"] >= len(changed)


def test_pooled_messages_are_redacted_and_named_by_their_digests_of_then(ruled):
    def agent(question):
        model = agents.DeskModel(lookups=0)
        system = SystemMessage(f"You write to {ANN}.")
        first = model.invoke([system, HumanMessage(question)])
        return model.invoke([system, HumanMessage(question), first, HumanMessage("and?")])

    run = wb.record(ruled, agent, f"Who is {BOB}?")
    assert "example" not in stored(run)
    found = proved(run)
    requests = [call.request["messages"] for call in found.calls]
    assert requests[1][:2] == requests[0]
    assert len(run.bodies()) == len({*requests[0], *requests[1]}) + 1


def test_what_people_answer_and_what_steps_take_is_redacted_and_replays(ruled):
    @wb.step
    def prepare(given):
        return ask(f"prepare {given}")

    def review(state):
        prepare(ANN)
        answer = interrupt({"may I write to": ANN})
        return {"messages": [("ai", send(answer["to"], body=answer)["sent"][0])]}

    graph = StateGraph(MessagesState).add_node(review).add_edge(START, "review")
    agent = graph.compile(checkpointer=InMemorySaver())
    thread = {"configurable": {"thread_id": f"of {BOB}"}}
    with wb.record(ruled) as opened:
        agent.invoke({"messages": [("user", f"I am {BOB}")]}, thread)
        agent.invoke(Command(resume={"to": BOB}), thread)
    run = ruled.run(opened.run_id)
    assert "example" not in stored(run)
    assert "human" in {call.kind for call in proved(run).calls}
    agents.world.poisoned = True
    result = wb.replay(run, agent)
    assert result.divergences == []
    assert result.identical


def test_without_rules_nothing_is_changed_and_nothing_is_told(store):
    run = wb.record(store, desk, GIVEN)
    assert ANN in stored(run)
    found = proved(run)
    assert found.redaction == ()
    assert {call.quality for call in found.calls} == {"full"}
    remarks = [e for e in run.event_log() if e.event_type == "annotated"]
    assert [parse_body(e).label for e in remarks] == ["world"]


# ---- redact=


def test_rules_given_with_a_recording_come_beside_the_workspace_s(ruled):
    run = wb.record(ruled, desk, {**GIVEN, "question": "Is it Ann?"}, redact=NAMES)
    text = stored(run)
    assert "example" not in text
    assert "Is it ⟨name:" in text


def test_a_function_sees_every_value_and_what_it_returns_is_stored(folders):
    def hide(value):
        return replaced(value, ANN, "<ann>")

    run = wb.record(folders, desk, GIVEN, labels={"who": ANN}, redact=hide)
    text = stored(run)
    assert ANN not in text
    assert "ann@" not in text
    assert BOB in text
    found = proved(run)
    assert found.started.input["who"] == "<ann>"
    assert {call.name: call.quality for call in found.calls}["spell"] == "redacted"


def replaced(value, text, by):
    return orjson.loads(orjson.dumps(value).replace(text.encode(), by.encode()))


def raising(value):
    raise RuntimeError(f"no {value}")


def exiting(value):
    raise SystemExit


def no_json(value):
    return object()


@pytest.mark.parametrize("hook", [raising, exiting, no_json], ids=lambda hook: hook.__name__)
def test_what_a_function_cannot_redact_is_withheld_and_the_agent_goes_on(folders, hook):
    with pytest.warns(RecordingWarning, match="values were withheld"):
        run = wb.record(folders, desk, GIVEN, name="n", labels={"who": ANN}, redact=hook)
    assert run.info["status"] == "done"
    text = stored(run)
    assert "example" not in text
    assert "desk of" not in text
    assert "⟨withheld:" in text
    assert {call.quality for call in proved(run).calls} == {"redacted"}


def test_a_function_may_change_its_own_copy_and_no_agent_notices(folders):
    def agent(given):
        model = agents.DeskModel(lookups=0)
        messages = [SystemMessage("a"), HumanMessage(given)]
        model.invoke(messages)
        model.invoke(messages)
        return [message.content for message in messages]

    def grabbing(value):
        if isinstance(value, dict):
            value.clear()
        return {}

    run = wb.record(folders, agent, ANN, redact=grabbing)
    assert "example" not in stored(run)
    assert agents.world.calls == 2


def test_a_block_is_redacted_as_a_single_call_is(ruled):
    root = wb.root(desk)
    with wb.record(ruled, name=ANN, redact=NAMES) as run:
        root({**GIVEN, "question": "Is it Ann?"})
        root({**GIVEN, "question": "Is it Bob?"})
    text = stored(run)
    assert "example" not in text
    assert "Is it ⟨name:" in text
    assert "Is it Bob" not in text


@pytest.mark.parametrize("wrong", [3, "email", [EMAIL, 3]])
def test_what_is_neither_rule_nor_function_is_refused_before_the_agent_runs(folders, wrong):
    with pytest.raises(errors.UsageError, match="redact="):
        wb.record(folders, desk, GIVEN, redact=wrong)
    assert agents.world.calls == 0


# ---- the disk


def test_no_segment_file_ever_holds_what_a_rule_hides(ruled, on_disk):
    seen = []

    @wb.call(effect="write")
    def look(text):
        seen.append(on_disk())
        return text

    def agent(given):
        for number in range(5):
            look(f"{number} {given}")
        return given

    wb.record(ruled, agent, ANN, labels={"who": ANN})
    assert any(PLACEHOLDER.search(text) for text in seen)
    assert not any("example" in text for text in seen)


def test_rules_last_seen_hold_where_the_server_is_away(own_server, on_disk, tmp_path):
    with connect(own_server.url, own_server.api_key) as store:
        store.administration.change_redaction([EMAIL])
        wb.record(store, desk, GIVEN)
    kept = list((tmp_path / "home" / "redaction").glob("*.json"))
    assert [path.stat().st_mode & 0o777 for path in kept] == [0o600]
    own_server.process.terminate()
    own_server.process.wait()
    # of a server that is away nothing is known but its address and the key
    with connect(own_server.url, own_server.api_key, check=False) as store:
        text = recorded_away(store, on_disk)
    assert "example" not in text
    assert PLACEHOLDER.search(text)
    assert '"name":"email"' in text
    assert '"name":"card"' not in text


def test_the_built_in_rules_hold_where_the_workspace_s_were_never_seen(on_disk):
    with connect("http://127.0.0.1:9", "a-key-of-no-workspace", check=False) as store:
        text = recorded_away(store, on_disk)
    assert "example" not in text
    assert PLACEHOLDER.search(text)
    assert '"name":"card"' in text


def recorded_away(store, on_disk):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RecordingWarning)
        wb.record(store, desk, GIVEN, labels={"who": ANN})
    return on_disk()


def test_a_refused_recording_is_redacted_by_the_rules_of_now_and_no_byte_of_it_stays(
    store, on_disk
):
    """The rules come while the agent runs, and nothing of it has been delivered yet."""
    told = []

    def agent(given):
        admin = store.administration
        ask(f"first {given}")
        admin.change_redaction([EMAIL])
        for number in range(20):
            send(given, body=str(number))
        told.append(on_disk())
        return given

    run = store.run(wb.record(store, agent, ANN).run_id)
    assert on_disk() == ""
    late = [e for e in run.event_log() if e.event_type == "call_ended" and e.name == "send"]
    assert late
    assert ANN not in str([bytes(e.payload) for e in late])
    found = proved(run)
    assert found.redaction
    assert found.status == "done"


def test_refused_lines_are_redacted_before_the_next_request_and_leave_nothing(
    store, tmp_path, on_disk
):
    wb.record(store, ask, "nobody")  # that there are no rules is known here from now on
    folder = SpoolFolder(tmp_path / "spool")
    header = RunHeader(run_id=str(uuid4()), name=f"for {ANN}", labels={"who": BOB})
    line = Line(
        folder,
        Header(run=header, writer="w", address=store.address, workspace=store.workspace_id),
    )
    for number in range(1, 4):
        line.append(sealed(number, {"label": "x", "value": ANN}), first=number, last=number)
    store.administration.change_redaction([EMAIL])
    delivery = Delivery(line, store.outlet())
    assert ANN in on_disk()
    assert BOB in on_disk()
    assert delivery.step()  # the run itself was refused
    assert "example" not in on_disk()
    line.append(sealed(4, {"label": "x", "value": BOB}), first=4, last=4)
    while delivery.step():
        assert delivery.error is None
    assert (line.waiting, delivery.stubs, delivery.over) == (0, 0, False)
    line.close()
    assert on_disk() == ""
    run = store.run(header.run_id)
    assert "example" not in stored(run)
    assert [event.quality for event in run.event_log()] == ["redacted"] * 4


def sealed(number, body):
    event = Event(event_type="annotated", writer="w", writer_seq=number)
    return msgspec.json.encode(hashing.sealed_with(event, hashing.dumps(body))) + b"\n"


def test_a_line_that_cannot_be_rewritten_stays_and_is_tried_again(store, tmp_path, on_disk):
    class Full(SpoolFolder):
        def segment(self, header):
            if header.number > 1 and not self.room:
                raise errors.SpoolFailed("the disk is full", full=True)
            return super().segment(header)

    folder = Full(tmp_path / "spool")
    Full.room = False
    header = RunHeader(run_id=str(uuid4()))
    line = Line(folder, Header(run=header, writer="w", address="a"))
    line.append(sealed(1, {"label": "x", "value": ANN}), first=1, last=1)
    store.administration.change_redaction([EMAIL])
    delivery = Delivery(line, store.outlet())
    assert not delivery.step()
    assert (line.waiting, delivery.over) == (1, False)
    Full.room = True
    while line.waiting and not delivery.over:
        delivery.step()
    assert line.waiting == 0
    line.close()
    assert on_disk() == ""


# ---- replay


def test_a_run_with_placeholders_replays_exactly_and_is_counted_apart(ruled):
    run = wb.record(ruled, desk, GIVEN)
    agents.world.poisoned = True
    result = wb.replay(run, desk)
    assert result.divergences == []
    assert result.identical
    assert set(result.matches["match_level"]) == {"exact_redacted"}
    assert result.certificate["match_levels"] == {"exact_redacted": 4}
    assert "example" not in stored(result.run)
    assert result.certificate["rules"] != hashing.digest_of([])


def test_the_agent_gets_placeholders_in_a_replay(ruled):
    got = []

    def agent(given):
        got.append((given, ask(given)))
        return given

    run = wb.record(ruled, agent, ANN)
    agents.world.poisoned = True
    assert wb.replay(run, agent).identical
    (live, recorded), (now, answered) = got[0], got[1]
    assert (live, BOB in recorded) == (ANN, True)
    assert PLACEHOLDER.fullmatch(now)
    assert PLACEHOLDER.search(answered)


def test_another_address_in_the_prompt_is_a_difference(ruled):
    def agent_of(address):
        return lambda given: ask(f"You are the desk of {address}. {given}")

    run = wb.record(ruled, agent_of(ANN), "hi")
    agents.world.poisoned = True
    result = wb.replay(run, agent_of(BOB))
    assert not result.identical
    assert "request_changed" in {found.kind for found in result.divergences}


def test_a_graph_whose_prompt_holds_an_address_replays_exactly(ruled):
    agents.world.system = f"You are the desk of {ANN}."
    graph = agents.desk()
    run = wb.record(ruled, graph, {"messages": [HumanMessage(f"Where is it? {BOB}")]})
    assert "example" not in stored(run)
    proved(run)
    agents.world.poisoned = True
    result = wb.replay(run, graph)
    assert result.divergences == []
    levels = result.matches["match_level"].to_list()
    assert "exact_redacted" in levels
    assert set(levels) <= {"exact", "exact_redacted"}


def test_a_streamed_async_agent_replays_exactly(ruled):
    async def agent(given):
        model = agents.StreamingModel()
        parts = [part.content async for part in model.astream(f"{given} and {ANN}")]
        return "".join(parts)

    run = wb.record(ruled, agent, BOB)
    agents.world.poisoned = True
    assert wb.replay(run, agent).identical


def test_a_run_redacted_by_a_function_replays_with_the_same_function(folders):
    def hide(value):
        return replaced(value, "example", "hidden")

    run = wb.record(folders, desk, GIVEN, redact=hide)
    agents.world.poisoned = True
    assert not wb.replay(run, desk).identical
    result = wb.replay(run, desk, redact=hide)
    assert result.divergences == []
    assert result.identical


def test_rules_of_a_recording_alone_are_enough_for_its_replay(folders):
    run = wb.record(folders, desk, GIVEN, redact=[EMAIL, NAMES])
    agents.world.poisoned = True
    result = wb.replay(run, desk)
    assert result.divergences == []
    assert result.identical


@isolated
def test_an_isolated_replay_redacts_as_its_recording_was(ruled, tmp_path, monkeypatch):
    code = f"from replay_agents import ask\n\ndef agent(given):\n    return ask('of {ANN}: ' + given)\n"
    (tmp_path / "an_addressed_agent.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    run = wb.record(ruled, "an_addressed_agent:agent", BOB)
    result = wb.replay(run, isolate=True)
    assert result.divergences == []
    assert result.certificate["match_levels"] == {"exact_redacted": 1}
    assert "example" not in stored(result.run)
    with pytest.raises(errors.UsageError, match="isolated"):
        wb.replay(run, isolate=True, redact=str)


def test_a_rule_that_hid_its_own_pattern_is_found_where_it_is_at_hand(ruled):
    def agent(given):
        return ask(f"You are Ann. {given}")

    run = wb.record(ruled, agent, "hi", redact=LITERAL)
    assert "Ann" not in stored(run)
    agents.world.poisoned = True
    assert not wb.replay(run, agent).identical
    assert wb.replay(run, agent, redact=LITERAL).identical
    ruled.administration.change_redaction([LITERAL])
    assert wb.replay(run, agent).identical


def test_a_fork_goes_on_from_a_redacted_run(ruled):
    run = wb.record(ruled, desk, GIVEN)
    agents.world.poisoned = True
    at = run.calls.filter(name="send")["seq"][0]
    result = wb.fork(run, at=at, edits={"outcome": {"sent": [BOB]}}, agent=desk).run()
    assert set(result.matches["match_level"]) == {"exact_redacted", "edited"}
    assert "example" not in stored(result.run)


def test_rules_that_come_while_an_agent_runs_are_known_to_its_replay(ruled):
    def agent(given):
        ask(f"first Ann, {ANN}")
        ruled.administration.change_redaction([EMAIL, NAMES])
        return given

    run = wb.record(ruled, agent, "x")
    ruled.administration.change_redaction([EMAIL])
    agents.world.poisoned = True

    def again(given):
        ask(f"first Ann, {ANN}")
        return given

    result = wb.replay(run, again)
    assert [d for d in result.divergences if d.kind != "code_changed"] == []
