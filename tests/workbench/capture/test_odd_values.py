"""Whatever an agent passes around is recorded or labelled: never a crash, never a silent hole."""

import gc
import math
import threading
import warnings

import numpy as np
import odd
import odd_agents as agents
import orjson
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult

import workbench as wb
from workbench import hashing
from workbench.capture import RecordingWarning, asked, callables, exceptions, messages, values
from workbench.schema import parse_body

# ---- values by themselves


def stored_and_read(form):
    return orjson.loads(hashing.dumps_in_order(form))


@pytest.mark.parametrize("name", odd.KEPT)
def test_an_odd_value_comes_back_equal_and_of_the_same_type(name):
    form, lossy = values.freeze(odd.KEPT[name]())
    assert not lossy
    assert odd.same(odd.KEPT[name](), values.thaw(stored_and_read(form)))


@pytest.mark.parametrize("name", odd.LOST)
def test_what_cannot_come_back_is_called_lossy_and_looks_the_same_each_time(name):
    form, lossy = values.freeze(odd.LOST[name]())
    assert lossy
    assert hashing.dumps(form) == hashing.dumps(values.freeze(odd.LOST[name]())[0])
    values.thaw(stored_and_read(form))


leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(st.characters())
    | st.text(st.characters(categories=["Cs", "Lu"]))
    | st.binary()
    | st.dates()
    | st.datetimes(timezones=st.none() | st.timezones())
    | st.decimals(allow_nan=False)
    | st.fractions()
    | st.uuids()
    | st.complex_numbers()
    | st.sampled_from([odd.Colour.RED, odd.Word.YES, odd.UserId("u"), odd.Money(2), int, len])
    | st.sampled_from([np.float32(0.5), np.int64(3), np.bool_(False)])
)
hashable = st.recursive(
    leaves, lambda inner: st.tuples(inner) | st.frozensets(inner, max_size=3), max_leaves=3
)
anything = st.recursive(
    leaves | st.binary().map(bytearray),
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(hashable | st.just("$type"), inner, max_size=4)
        | st.sets(hashable, max_size=3)
        | st.builds(odd.Point, inner, inner)
        | st.builds(odd.Basket, st.lists(inner), st.text())
        | st.builds(odd.Rows, st.lists(inner))
        | st.builds(odd.Plain.model_construct, a=inner)
    ),
    max_leaves=10,
)


@settings(deadline=None)
@given(anything)
def test_whatever_is_not_called_lossy_comes_back(value):
    form, lossy = values.freeze(value)
    back = values.thaw(stored_and_read(form))
    assert not lossy
    # what is no number equals nothing, not even itself: it is the same when it is written again
    assert values.freeze(back) == (form, False)
    assert type(back) is type(value)


@settings(deadline=None)
@given(anything)
@example({"$type": 1})
@example([{"a": {"$type": "set", "$value": []}}])
@example({"a": (1,)})
@example([math.nan, -math.inf])
@example([2**64 - 1, -(2**63)])
@example({"a": 2**64})
@example([-(2**63) - 1])
@example({"k\ud800": 1})
@example([odd.UserId("u")])
@example({1: 2})
@example([odd.Word.YES])
@example([odd.KEPT["uuid"](), odd.KEPT["dates"]()])
def test_the_fast_path_writes_what_the_slow_one_does_or_nothing(value):
    form, lossy = values.freeze(value)
    is_plain = not lossy and same_json(value, form)
    assert hashing.dumps_plain(value) == (hashing.dumps(form) if is_plain else None)
    ordered = hashing.dumps_plain_in_order(value)
    assert ordered == (orjson.dumps(form) if is_plain else None)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.just("$type"), inner),
    max_leaves=30,
)  # fmt: skip


@settings(deadline=None)
@given(st.dictionaries(st.text(), json_values))
def test_plain_arguments_have_one_signature_on_both_paths(arguments):
    if hashing.dumps_plain(arguments) is None:
        assert any(map(_has_tag, [arguments]))
        return
    request = {"arguments": values.freeze(arguments)[0]}
    fast = asked.Asked(kind="tool", name="t", written=hashing.dumps_plain({"arguments": arguments}))
    slow = asked.Asked(kind="tool", name="t", parsed=request)
    assert (fast.written, fast.signature) == (slow.written, slow.signature)
    assert fast.signature == hashing.signature_of(kind="tool", name="t", request=request)


def _has_tag(value):
    if isinstance(value, dict):
        return "$type" in value or any(map(_has_tag, value.values()))
    return isinstance(value, list) and any(map(_has_tag, value))


def same_json(value, form):
    """Say whether a value is its own form, type by type: the slow path had nothing to add."""
    if type(value) is not type(form):
        return False
    if type(value) is dict:
        return value.keys() == form.keys() and all(same_json(value[k], form[k]) for k in value)
    if type(value) is list:
        return len(value) == len(form) and all(map(same_json, value, form))
    return value is form or value == form


@pytest.mark.parametrize("levels", [1, hashing.DEEPEST - 1, hashing.DEEPEST, 254, 1000, 100_000])
@pytest.mark.parametrize("kind", [list, dict])
def test_the_fast_path_takes_nothing_deeper_than_a_server_does(levels, kind):
    value = odd.deep(levels, kind=kind)
    form, lossy = values.freeze(value)
    fast = hashing.dumps_plain(value)
    assert fast in (None, hashing.dumps(form))
    assert (fast is not None) == (levels <= hashing.DEEPEST)
    assert lossy == (levels > hashing.DEEPEST + 1)
    # as part of the deepest place a value can have in an event
    nested = hashing.dumps({"request": {"params": {"a": [form]}}})
    assert max_nesting(nested) <= 63


def max_nesting(raw):
    depth = most = 0
    for byte in raw:
        depth += (byte in b"{[") - (byte in b"}]")
        most = max(most, depth)
    return most


# ---- arguments

names = st.lists(st.sampled_from("abcde"), unique=True, max_size=5)


@st.composite
def functions(draw):
    """A function of random parameters, and arguments that it may or may not take."""
    found = draw(names)
    only, keywords = draw(st.integers(0, len(found))), draw(st.integers(0, len(found)))
    optional = draw(st.integers(0, len(found)))
    parts = []
    for index, name in enumerate(found):
        text = f"{name}={index}" if index >= optional or index >= len(found) - keywords else name
        if index == len(found) - keywords:
            parts.append("*rest" if draw(st.booleans()) else "*")
        parts.append(text)
        if index + 1 == min(only, len(found) - keywords):
            parts.append("/")
    if draw(st.booleans()):
        parts.append("**more")
    space = {}
    try:
        exec(f"def made({', '.join(parts)}): return dict(locals())", space)
    except SyntaxError:
        exec("def made(a, b=1, *, c=2): return dict(locals())", space)
    args = draw(st.lists(st.integers(), max_size=5))
    kwargs = draw(st.dictionaries(st.sampled_from("abcdef"), st.integers(), max_size=4))
    return space["made"], args, kwargs


@settings(deadline=None, max_examples=300)
@given(functions())
def test_arguments_are_named_as_python_names_them(case):
    function, args, kwargs = case
    bind = callables.binder(function)
    try:
        expected = function(*args, **kwargs)
    except TypeError:
        with pytest.raises(TypeError):
            bind(*args, **kwargs)
    else:
        assert bind(*args, **kwargs) == expected


# ---- recorded, read back and replayed


def test_outcomes_are_replayed_as_equal_objects_of_the_same_type(folders):
    agents.given_back.clear()
    same_repr = [name for name in odd.KEPT if name not in ("set", "memoryview")]
    run = wb.record(folders, agents.giving, same_repr)
    assert run.calls["quality"].unique().to_list() == ["full"]
    result = wb.replay(run, agents.giving, mode="exact")
    assert (result.identical, result.divergences) == (True, [])
    live, replayed = agents.given_back["found"]
    assert [
        name for name, a, b in zip(same_repr, live, replayed, strict=True) if not odd.same(a, b)
    ] == []
    assert [*replayed[same_repr.index("order of keys")]] == ["zeta", "alpha"]


def remarks(run):
    return [parse_body(e).label for e in run.event_log() if e.event_type == "annotated"]


def test_what_cannot_be_kept_is_recorded_and_called_lossy(folders):
    with pytest.warns(RecordingWarning, match="lossy"):
        run = wb.record(folders, agents.taking, list(odd.LOST))
    assert (run.output, run.status) == (len(odd.LOST), "done")
    assert run.calls["quality"].to_list() == ["lossy"] * len(odd.LOST)
    assert "capture_gap" not in remarks(run)
    notes = [
        parse_body(e).request["arguments"]["note"]
        for e in run.event_log()
        if e.event_type == "call_started"
    ]
    assert notes == list(odd.LOST)


def test_a_stream_that_gives_the_same_object_again_and_again_is_recorded_as_it_was(folders):
    run = wb.record(folders, agents.stepping, None)
    [end] = [parse_body(e) for e in run.event_log() if e.event_type == "call_ended"]
    assert [piece["n"] for piece in end.outcome["value"]] == [0, 1, 2]
    assert [piece["seen"] for piece in end.outcome["value"]] == [[0], [0, 1], [0, 1, 2]]
    assert [piece["n"] for piece in run.output] == [0, 1, 2]


# ---- what changes meanwhile


def test_what_the_agent_changes_during_and_after_a_call_is_recorded_as_it_was(folders):
    run = wb.record(folders, agents.changing, None)
    start, end = (parse_body(e) for e in run.event_log() if e.event_type.startswith("call_"))
    asked_then = values.thaw(start.request["arguments"]["given"])
    assert asked_then == {"items": [1], "inner": {"a": (1, 2)}}
    assert end.outcome["value"] == {"items": [1, "during"], "inner": {}}


def test_containers_that_other_threads_change_are_written_without_an_error():
    shared = {str(i): {"n": i} for i in range(50)} | {"odd": (1, 2)}
    ordered, numbers, stop = list(range(50)), set(range(50)), threading.Event()

    def change():
        for n in range(10**9):
            shared[f"new{n % 20}"] = {"n": n}
            shared.pop(f"new{(n + 7) % 20}", None)
            numbers.symmetric_difference_update({n % 70})
            ordered.append(n)
            del ordered[:1]
            if stop.is_set():
                return

    threads = [threading.Thread(target=change) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(300):
            for value in (shared, [ordered, numbers], {"a": shared}):
                form, lossy = values.freeze(value)
                assert not lossy
                hashing.dumps(form)
                hashing.dumps_plain(value)
    finally:
        stop.set()
        for thread in threads:
            thread.join()


# ---- exceptions


@pytest.mark.parametrize("name", agents.ERRORS)
def test_an_exception_comes_back_as_its_class_with_what_it_carries(name):
    error = agents.ERRORS[name]()
    freeze = values.Freezer()
    record = stored_and_read(exceptions.to_record(error, freeze))
    back = exceptions.from_record(record)
    assert not freeze.lossy
    assert type(back) is type(error)
    assert exceptions.to_record(back, values.Freezer()) | {"cut": None} == record | {"cut": None}
    if name == "other arguments":
        assert (back.status, record["cut"]) == (429, ["response"])
    if name == "chained":
        assert (type(back.__cause__), back.__cause__.status) == (agents.Status, 500)
    if name == "group":
        assert [type(e) for e in back.exceptions] == [ValueError, ExceptionGroup]
    if name == "file":
        assert (back.errno, back.filename) == (2, "/x")


@pytest.mark.parametrize(
    "error", [agents.Unprintable(threading.Lock()), agents.OwnArgs("a"), *odd.cyclic_error()]
)
def test_an_exception_that_raises_when_it_is_looked_at_is_recorded(error):
    freeze = values.Freezer()
    record = stored_and_read(exceptions.to_record(error, freeze))
    assert issubclass(type(exceptions.from_record(record)), Exception)


def test_a_recording_from_elsewhere_calls_nothing_but_what_its_tags_stand_for(tmp_path):
    target = str(tmp_path / "made")
    for tag in ("enum", "namedtuple", "model", "dataclass", "slots", "subclass"):
        form = {"$type": tag, "$value": {"class": "os:mkdir", "value": target}}
        assert values.thaw(form) == form
        for value in (["mkdir", target], [["mkdir", target]]):
            form = {"$type": tag, "$value": {"class": "subprocess:Popen", "value": value}}
            assert values.thaw(form) == form
    record = {"class": "os:mkdir", "message": "m", "args": [target]}
    assert type(exceptions.from_record(record)) is exceptions.RecordedError
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("agent", [agents.failing, agents.afailing])
def test_every_exception_reaches_the_agent_as_it_is(folders, agent):
    run = wb.record(folders, agent, list(agents.ERRORS))
    assert run.status == "done"
    assert "capture_gap" not in remarks(run)


def test_cancelled_tasks_and_timeouts_are_calls_that_were_cancelled(folders):
    run = wb.record(folders, agents.cancelling, None)
    assert run.calls["status"].to_list() == ["cancelled", "cancelled"]
    assert run.output == "late"


# ---- names


def test_broken_and_long_names_are_recorded(folders):
    run = wb.record(folders, agents.naming, ["\ud800", "x" * 20_000, "a\x00b", "é"])
    assert run.calls["name"].to_list() == ["\\ud800", "x" * 20_000, "a\x00b", "é"]


def test_a_name_that_the_server_refuses_costs_its_own_call_only(store):
    names = ["first", "a\x00b", "x" * 20_000, "é" * 9_000, "last"]
    with pytest.warns(RecordingWarning):
        run = wb.record(store, agents.naming, names)
    kept = run.calls.select("name", "quality", "status").rows()
    assert [kept[0], kept[-1]] == [("first", "full", "ok"), ("last", "full", "ok")]
    assert [quality for _, quality, _ in kept[1:-1]] == ["truncated"] * 3
    assert [len(name) <= 200 for name, _, _ in kept[1:-1]] == [True] * 3
    assert run.output == len(names)


# ---- large


def test_ten_megabytes_are_recorded(folders):
    run = wb.record(folders, agents.large, 10_000_000)
    assert run.calls["quality"].to_list() == ["full", "full"]


def test_a_value_that_no_server_takes_costs_its_own_event_only(store):
    with pytest.warns(RecordingWarning, match="events are stored without their contents"):
        run = wb.record(store, lambda size: len(agents.take("x" * size)), 2**25)
    assert (run.status, run.output) == ("done", 2**25)
    assert run.calls.select("name", "quality", "status").row(0) == ("take", "truncated", "ok")


# ---- messages


def test_a_message_of_odd_parts_comes_back():
    message = ToolMessage(
        "x",
        tool_call_id="c",
        artifact={"frame": np.arange(3), "set": {1}, "$type": 1},
        additional_kwargs={"rude": None, "nan": math.nan},
    )
    freeze = values.Freezer()
    body = stored_and_read(messages.to_body(message, freeze))
    back = messages.from_body(body, values.thaw)
    assert not freeze.lossy
    assert odd.same(back.artifact["frame"], message.artifact["frame"])
    assert (back.artifact["set"], back.artifact["$type"]) == ({1}, 1)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda m: setattr(m, "tool_calls", [{"name": 3, "args": [1], "id": "\ud800"}]),
        lambda m: setattr(m, "tool_calls", ["no call"]),
        lambda m: setattr(m, "content", {"no": {"text"}}),
        lambda m: setattr(m, "name", "\ud800"),
        lambda m: setattr(m, "additional_kwargs", {"\ud800": odd.Rude(), "frame": pl.DataFrame()}),
        lambda m: setattr(m, "response_metadata", odd.Rude()),
        lambda m: setattr(m, "usage_metadata", {"input_tokens": -1, "output_tokens": math.nan}),
        lambda m: setattr(m, "usage_metadata", 3),
        lambda m: m.additional_kwargs.update(again=m.additional_kwargs),
        lambda m: m.additional_kwargs.update(deep=odd.deep()),
    ],
)
def test_a_message_that_was_changed_past_all_checks_is_recorded(folders, spoil):
    message = AIMessage("x", id="1")
    spoil(message)

    class Broken(BaseChatModel):
        @property
        def _llm_type(self):
            return "broken"

        def _generate(self, given, stop=None, run_manager=None, **kwargs):
            answer = AIMessage(
                "fine", usage_metadata={"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
            )
            spoil(answer)
            return ChatResult(generations=[ChatGeneration.model_construct(message=answer, text="")])

    def agent(_):
        Broken(cache=False).generate([[message]])
        return "on it went"

    try:
        bare = agent(None)
    except Exception as error:  # noqa: BLE001
        bare = repr(error)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RecordingWarning)
        run = wb.record(folders, agent, None)
    assert (run.output or run.exception["message"]) in bare
    assert run.calls.height + run.events.filter(pl.col("event_type") == "annotated").height >= 2
    run.messages  # noqa: B018 - reading it does not fail


CHANGES = [
    lambda m: setattr(m, "content", "other"),
    lambda m: m.tool_calls[0]["args"].update(n=1.0),
    lambda m: m.tool_calls[0]["args"].update(n=True),
    lambda m: m.tool_calls[0]["args"]["deep"][0].append(1),
    lambda m: m.additional_kwargs.update(zero=-0.0),
    lambda m: m.additional_kwargs.pop("zero"),
    lambda m: m.additional_kwargs["set"].add(2),
    lambda m: setattr(m.additional_kwargs["basket"], "note", "changed"),
    lambda m: m.additional_kwargs.update(zero=odd.Rude()),
    lambda m: m.response_metadata.update(frame=np.arange(3)),
]


@pytest.mark.parametrize("number", range(len(CHANGES)))
@pytest.mark.parametrize("plain", [True, False])
def test_a_message_that_was_changed_in_place_has_a_new_digest(number, plain):
    args = {"n": 1, "deep": [[]]}
    message = AIMessage("x", tool_calls=[{"id": "c", "name": "t", "args": args}])
    message.additional_kwargs |= (
        {"zero": 0.0} if plain else {"zero": 0.0, "set": {1}, "basket": odd.Basket([])}
    )
    if plain and number in (6, 7):
        return
    pool = asked.MessagePool()
    before = pool.one(message)[0]
    assert pool.one(message)[0] == before
    CHANGES[number](message)
    fresh = asked.MessagePool().one(message)[0]
    assert pool.one(message)[0] == fresh != before


def test_a_pool_keeps_what_lives_and_nothing_else():
    pool, kept = asked.MessagePool(), [SystemMessage("s")]
    for n in range(5_000):
        pool.pooled([*kept, HumanMessage(f"message {n}")])
    gc.collect()
    assert len(pool) <= 2
    assert pool.one(kept[0])[0] == asked.MessagePool().one(SystemMessage("s"))[0]


def test_a_message_in_the_place_of_one_that_is_gone_is_not_taken_for_it():
    pool, digests = asked.MessagePool(), set()
    for n in range(2_000):  # the same memory is used again and again
        digests.add(pool.one(HumanMessage(str(n)))[0])
    assert len(digests) == 2_000


def test_a_message_that_stays_as_it_was_is_read_once():
    pool = asked.MessagePool()
    message = AIMessage("x", tool_calls=[{"id": "c", "name": "t", "args": {"a": [1, 0.5, True]}}])
    first = pool.one(message)
    assert all(pool.one(message)[1] is first[1] for _ in range(3))
