"""A simulated call is answered by the operator, a rule or the nearest recorded call, or not at all."""

import json

import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st
from langchain_core.messages import AIMessage

from workbench import hashing
from workbench.errors import Unavailable, UsageError
from workbench.replay import rules, simulate
from workbench.replay.distance import distance
from workbench.replay.engine import Question
from workbench.replay.rules import Rule
from workbench.replay.simulate import Abstained, Candidate, Simulated, Simulator

FOUR = {"order": "A1", "desk": "billing", "notify": True, "amount": 12.5}


def asked(name="track", *, kind="tool", lane="root", ordinal=1, tool_call_id=None, **arguments):
    request = {"arguments": arguments or FOUR}
    signature = hashing.signature_of(kind=kind, name=name, request=request)
    return Question(
        kind=kind,
        name=name,
        lane=lane,
        ordinal=ordinal,
        signature=signature,
        request=request,
        tool_call_id=tool_call_id,
    )


def recorded(
    outcome, *, seq=1, run="r1", rank=1, lane="root", ordinal=1, failed=False, **arguments
):
    raised = {"class": "builtins:TimeoutError", "message": "late", "args": ["late"]}
    return Candidate(
        run_id=run,
        seq=seq,
        lane=lane,
        ordinal=ordinal,
        rank=rank,
        failed=failed,
        request={"arguments": arguments or FOUR},
        outcome=None if failed else {"value": outcome},
        exception=raised if failed else None,
    )


def lake(*candidates):
    def find(kind, name):
        return candidates

    return find


def value(answer):
    assert isinstance(answer, Simulated), answer
    return answer.outcome["value"]


# ---- the order of the three


TRACKED = Rule(name="tracked", match={"/name": "track"}, outcome="by the rule")


def test_a_payload_comes_before_a_rule_and_a_rule_before_the_nearest():
    near = lake(recorded("recorded"))
    assert value(Simulator({"track": "given"}, [TRACKED], lake=near)(asked())) == "given"
    assert value(Simulator({"other": "given"}, [TRACKED], lake=near)(asked())) == "by the rule"
    assert value(Simulator({"other": "given"}, [], lake=near)(asked())) == "recorded"
    assert isinstance(Simulator()(asked()), Abstained)


def test_a_payload_may_be_a_function_of_the_question_that_knows_no_answer():
    def payload(question):
        return f"{question.name} {question.ordinal}" if question.ordinal == 1 else None

    simulator = Simulator(payload, [TRACKED])
    assert value(simulator(asked())) == "track 1"
    assert value(simulator(asked(ordinal=2))) == "by the rule"


def test_a_payload_that_raises_answers_nothing_and_is_told():
    def payload(question):
        raise KeyError("lost")

    found = Simulator(payload, [TRACKED])(asked())
    assert isinstance(found, Abstained)
    assert "the payload raised KeyError('lost')" in found.reason


def test_null_is_an_outcome_of_a_mapping_and_of_a_rule():
    assert value(Simulator({"track": None}, [TRACKED])(asked())) is None
    assert value(Simulator(rules=[{"name": "n", "match": {"/name": "track"}, "outcome": None}])(
        asked()
    )) is None  # fmt: skip


def test_the_first_rule_that_matches_answers():
    first = Rule(name="first", match={"/request/arguments/amount": 12.5}, outcome=1)
    assert value(Simulator(rules=[first, TRACKED])(asked())) == 1
    assert value(Simulator(rules=[TRACKED, first])(asked())) == "by the rule"


def test_what_a_payload_raises_is_stored_as_an_exception():
    for given in (
        TimeoutError("late"),
        {"exception": {"class": "TimeoutError", "message": "late"}},
    ):
        found = Simulator({"track": given})(asked())
        assert found.outcome is None
        assert (found.exception["class"], found.exception["message"]) == (
            "builtins:TimeoutError",
            "late",
        )


# ---- the nearest


@pytest.mark.parametrize("beside", [-1e-9, 0.0, 1e-9])
def test_it_abstains_beyond_the_threshold_and_not_at_it(beside):
    """One of four arguments differs, so the nearest is at a quarter exactly."""
    near = lake(recorded("other", **{**FOUR, "order": "A2"}))
    found = Simulator(lake=near, threshold=0.25 + beside)(asked())
    if beside < 0:
        assert isinstance(found, Abstained)
        assert found.distance == 0.25
        assert "at distance 0.25 (run r1, seq 1), above 0.25" in found.reason
    else:
        assert value(found) == "other"
        assert found.provenance["distance"] == 0.25


def test_without_any_threshold_the_same_question_is_answered():
    near = lake(recorded("other", text="nothing in common"))
    assert isinstance(Simulator(lake=near)(asked()), Abstained)
    assert value(Simulator(lake=near, threshold=1)(asked())) == "other"


def test_provenance_tells_where_an_answer_is_from():
    nothing = {"run_id": None, "seq": None, "distance": None, "rule": None}
    near = lake(recorded("recorded", run="r7", seq=41))
    assert Simulator({"track": 1})(asked()).provenance == {**nothing, "source": "payload"}
    assert Simulator(rules=[TRACKED])(asked()).provenance == {
        **nothing,
        "source": "rule",
        "rule": "tracked",
    }
    assert Simulator(lake=near)(asked()).provenance == {
        "source": "nearest",
        "run_id": "r7",
        "seq": 41,
        "distance": 0.0,
        "rule": None,
    }


ORDERED = [
    recorded("own, same place", run="own", rank=0, lane="root/2", ordinal=3, seq=9),
    recorded("own, same lane", run="own", rank=0, lane="root/2", ordinal=1, seq=2),
    recorded("own, elsewhere", run="own", rank=0, lane="root", ordinal=3, seq=3),
    recorded("newest, same place", run="n", rank=1, lane="root/2", ordinal=3, seq=4),
    recorded("older, same place", run="o", rank=2, lane="root/2", ordinal=3, seq=4),
    recorded("newest, same lane", run="n", rank=1, lane="root/2", ordinal=5, seq=8),
    recorded("newest, elsewhere, earlier", run="n", rank=1, lane="root", ordinal=4, seq=5),
    recorded("newest, elsewhere, later", run="n", rank=1, lane="root", ordinal=4, seq=6),
    recorded("farther", run="own", rank=0, lane="root/2", ordinal=3, **{**FOUR, "amount": 1}),
]


@pytest.mark.parametrize("first", range(len(ORDERED)))
def test_of_equally_near_calls_the_same_one_answers_however_they_are_listed(first):
    left = ORDERED[first:]
    question = asked(lane="root/2", ordinal=3)
    for listed in (left, left[::-1], [*left[1::2], *left[::2]]):
        assert value(Simulator(lake=lake(*listed))(question)) == left[0].outcome["value"]


def test_a_poll_gets_again_what_it_got_call_by_call():
    polls = [recorded(s, seq=n, ordinal=n) for n, s in enumerate(["no", "no", "yes"], start=1)]
    simulator = Simulator(lake=lake(*polls))
    assert [value(simulator(asked(ordinal=n))) for n in (1, 2, 3, 4)] == ["no", "no", "yes", "yes"]
    assert value(simulator(asked(ordinal=1))) == "no", "an answer is not used up"


def test_a_failed_call_answers_only_the_very_same_question_where_nothing_else_does():
    came, failed = recorded("came back", **{**FOUR, "amount": 1}), recorded(None, failed=True)
    found = Simulator(lake=lake(failed, came))(asked())
    assert value(found) == "came back", "it is farther, and came back"
    found = Simulator(lake=lake(failed, came), threshold=0.1)(asked())
    assert found.exception["class"] == "builtins:TimeoutError"
    assert found.provenance["distance"] == 0
    found = Simulator(lake=lake(failed))(asked(**{**FOUR, "amount": 1}))
    assert isinstance(found, Abstained)
    assert "every recorded call of tool track failed" in found.reason


def test_a_store_that_cannot_be_read_is_no_miss():
    def unreachable(kind, name):
        raise Unavailable("the store is away")

    with pytest.raises(Unavailable, match="is away"):
        Simulator(lake=unreachable)(asked())


# ---- the distance


def test_an_identifier_is_the_same_or_another_one():
    near = lake(recorded("of another order", order="LF-20612"))
    assert isinstance(Simulator(lake=near)(asked(order="LF-20613")), Abstained)
    assert value(Simulator(lake=near)(asked(order="LF-20612"))) == "of another order"


@pytest.mark.parametrize(
    ("one", "other", "far"),
    [
        ({"a": 1}, {"a": 1.0}, 0.0),
        ({"a": 1}, {"a": True}, 1.0),
        ({"a": 1}, {"a": "1"}, 1.0),
        ({"a": None}, {}, 1.0),
        ({"a": []}, {"a": []}, 0.0),
        ({"a": [1, 2, 3, 4]}, {"a": [1, 2, 3, 5]}, 0.25),
        ({"a": [1, 2]}, {"a": [1, 2, 3, 4]}, 0.5),
        ({"a": {"b": 1, "c": "x y"}}, {"a": {"b": 1, "c": "x z"}}, 0.25),
        ({"a": "one  two\nthree"}, {"a": "one two three"}, 0.0),
        ({"a": {"$type": "tuple", "$value": [1, 2]}}, {"a": {"$type": "tuple", "$value": [1, 3]}}, 0.5),
        ({"a": {"$type": "tuple", "$value": [1]}}, {"a": {"$type": "set", "$value": [1]}}, 1.0),
    ],
)  # fmt: skip
def test_the_distance_of_two_requests(one, other, far):
    assert distance(one, other, bodies={}) == far
    assert distance(other, one, bodies={}) == far


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@drawn(
    st.dictionaries(st.text(), values, max_size=4), st.dictionaries(st.text(), values, max_size=4)
)
def test_a_distance_is_between_0_and_1_from_both_sides_and_0_to_itself(one, other):
    one.pop("messages", None)
    far = distance(one, other, bodies={})
    assert 0 <= far <= 1
    assert distance(other, one, bodies={}) == pytest.approx(far)
    assert distance(one, json.loads(json.dumps(one)), bodies={}) == 0


def said(*messages, system="be kind", **more):
    bodies = {hashing.digest_of(body): body for body in [{"role": "system", "content": system}]}
    bodies |= {hashing.digest_of(body): body for body in messages}
    return {"messages": list(bodies), "model": "m", **more}, bodies


def user(text):
    return {"role": "user", "content": text}


def calling(call_id, **arguments):
    call = {"id": call_id, "name": "track", "arguments": arguments}
    return {"role": "assistant", "content": "", "tool_calls": [call], "extra": {"type": "ai"}}


def apart(one, other):
    return distance(one[0], other[0], bodies={**one[1], **other[1]})


def test_of_a_conversation_the_last_message_counts_most_and_ids_do_not():
    whole = said(user("hello there"), calling("c1", id=1), user("and now please"))
    assert apart(whole, whole) == 0
    assert apart(whole, said(user("hello there"), calling("z9", id=1), user("and now please"))) == 0
    late = apart(whole, said(user("hello there"), calling("c1", id=1), user("and then what")))
    early = apart(whole, said(user("good morning"), calling("c1", id=1), user("and now please")))
    assert late > early > 0
    assert apart(whole, said(user("something else entirely"))) > simulate.THRESHOLD


@pytest.mark.parametrize(
    "other",
    [
        said(user("hello"), system="be rude"),
        said(user("hello"), temperature=0.5),
        said(user("hello"), tools=[{"name": "track"}]),
        said(user("hello"), user("hello again")),
    ],
)
def test_prompt_parameters_tools_and_length_of_a_models_request_count(other):
    assert 0 < apart(said(user("hello")), other) <= simulate.THRESHOLD


def test_another_entry_of_a_model_gives_back_another_form():
    assert apart(said(user("hello")), said(user("hello"), entry="generate", batches=[2])) == 1


# ---- what is given, in stored form


def test_a_text_becomes_what_the_call_gives_back():
    message = Simulator({"track": "late"})(asked(tool_call_id="c7"))
    body = message.bodies[message.outcome["message"]]
    assert (body["role"], body["content"], body["tool_call_id"], body["name"]) == (
        *("tool", "late", "c7"),
        "track",
    )
    request, bodies = said(user("hello"))
    model = Question(
        kind="model", name="m", lane="root", ordinal=1, signature="", request=request, bodies=bodies
    )
    found = Simulator({"m": "hi"})(model)
    assert found.bodies[found.outcome["message"]]["role"] == "assistant"
    found = Simulator({"m": AIMessage("hi")})(model)
    assert found.bodies[found.outcome["message"]]["content"] == "hi"
    found = Simulator({"kb": ["a page"]})(asked("kb", kind="retriever"))
    assert [one["page_content"] for one in found.outcome["documents"]] == ["a page"]


def test_a_recorded_answer_takes_the_form_that_is_asked_for():
    plain = Simulator(lake=lake(recorded("late")))(asked(tool_call_id="c7"))
    body = plain.bodies[plain.outcome["message"]]
    assert (body["content"], body["tool_call_id"]) == ("late", "c7")
    held = {"role": "tool", "content": "late", "tool_call_id": "old", "name": "track"}
    digest = hashing.digest_of(held)
    one = recorded("")
    one = Candidate(**{**{f: getattr(one, f) for f in one.__slots__}, "outcome": {"message": digest},
                       "bodies": {digest: held}})  # fmt: skip
    found = Simulator(lake=lake(one))(asked(tool_call_id="c8"))
    assert found.bodies[found.outcome["message"]] == {**held, "tool_call_id": "c8"}
    assert value(Simulator(lake=lake(one))(asked())) == "late", "asked for by no message"


# ---- rules


CALL = {
    "kind": "tool",
    "name": "track",
    "lane": "root/2",
    "ordinal": 3,
    "request": {"arguments": {"id": "P-7", "n": 1, "a/b": [1, {"c": None}]}},
}


@pytest.mark.parametrize(
    ("pointer", "expected", "matches"),
    [
        ("/name", "track", True),
        ("/name", "tra", False),
        ("/ordinal", 3, True),
        ("/request/arguments/n", 1.0, True),
        ("/request/arguments/n", True, False),
        ("/request/arguments/n", {"one_of": [2, 1]}, True),
        ("/request/arguments/n", {"one_of": [True]}, False),
        ("/request/arguments/id", {"regex": r"^P-\d+$"}, True),
        ("/request/arguments/id", {"regex": "^7"}, False),
        ("/request/arguments/n", {"regex": "1"}, False),
        ("/request/arguments/a~1b/1/c", None, True),
        ("/request/arguments/a~1b/-1/c", None, True),
        ("/request/arguments/a~1b/2", None, False),
        ("/request/arguments/a~1b/2", {"present": False}, True),
        ("/request/arguments/a~1b/1/c", {"present": True}, True),
        ("/request/arguments/gone", None, False),
        ("/request/arguments", {"equals": {"n": 1}}, False),
        ("/request/arguments/a~1b/1", {"equals": {"c": None}}, True),
        ("/request/arguments/a~1b/1", {"c": None}, True),
    ],
)
def test_what_a_rule_expects_at_a_pointer(pointer, expected, matches):
    assert Rule(name="r", match={pointer: expected}, outcome=1).matches(CALL) is matches


def test_a_rule_reads_a_models_last_message():
    request, bodies = said(user("hello"), user("refund please"))
    model = Question(
        kind="model", name="m", lane="root", ordinal=1, signature="", request=request, bodies=bodies
    )
    rule = Rule(
        name="r", match={"/request/messages/-1/content": {"regex": "refund"}}, outcome="certainly"
    )
    found = Simulator(rules=[rule])(model)
    assert found.bodies[found.outcome["message"]]["content"] == "certainly"


@pytest.mark.parametrize(
    ("form", "told"),
    [
        (7, "a rule is a JSON object"),
        ({"match": {"/name": "x"}, "outcome": 1}, "a rule needs a name"),
        ({"name": "r", "outcome": 1}, "a rule needs a match — rule 'r'"),
        ({"name": "r", "match": {}, "outcome": 1}, "a rule needs a match — rule 'r'"),
        ({"name": "r", "match": {"/name": "x"}}, "an outcome or an error — rule 'r'"),
        ({"name": "r", "match": {"/name": "x"}, "outcome": 1, "error": {"class": "E"}},
         "found both"),
        ({"name": "r", "match": {"name": "x"}, "outcome": 1}, "rule 'r', name"),
        ({"name": "r", "match": {"/arguments/x": "x"}, "outcome": 1}, "rule 'r', /arguments/x"),
        ({"name": "r", "match": {"/name": {"regex": "("}}, "outcome": 1},
         "no regular expression — rule 'r', /name"),
        ({"name": "r", "match": {"/name": {"one_of": 1}}, "outcome": 1}, "rule 'r', /name"),
        ({"name": "r", "match": {"/name": {"present": 1}}, "outcome": 1}, "rule 'r', /name"),
        ({"name": "r", "match": {"/name": "x"}, "error": "boom"}, "needs its class — rule 'r'"),
        ({"name": "r", "match": {"/name": "x"}, "outcom": 1}, "no such key — rule 'r'"),
    ],
)  # fmt: skip
def test_an_unsound_rule_in_a_file_is_refused_by_its_name_and_pointer(tmp_path, form, told):
    file = tmp_path / "rules.json"
    file.write_text(json.dumps([form]))
    with pytest.raises(UsageError) as refused:
        rules.read(file)
    for part in told.split(" — "):
        assert part in str(refused.value)
    assert str(file) in str(refused.value)


def test_rules_of_a_file_answer(tmp_path):
    file = tmp_path / "rules.json"
    late = {"class": "TimeoutError", "message": "late"}
    file.write_text(json.dumps([
        {"name": "late", "match": {"/name": "track", "/ordinal": 2}, "error": late},
        {"name": "all", "match": {"/kind": "tool"}, "outcome": {"status": "ok"}},
    ]))  # fmt: skip
    simulator = Simulator(rules=rules.read(file))
    assert value(simulator(asked())) == {"status": "ok"}
    assert simulator(asked(ordinal=2)).exception["class"] == "builtins:TimeoutError"
    for broken in ("{", '{"name": "r"}'):
        file.write_text(broken)
        with pytest.raises(UsageError, match=r"rules\.json"):
            rules.read(file)
    with pytest.raises(UsageError, match="cannot be read"):
        rules.read(tmp_path / "none.json")


@pytest.mark.parametrize(
    "wrong",
    [
        {"threshold": 1.5},
        {"threshold": -0.1},
        {"threshold": "near"},
        {"threshold": True},
        {"threshold": float("nan")},
        {"payload": "late"},
        {"payload": {"track": lambda: 1}},
        {"rules": "late"},
        {"rules": [TRACKED, TRACKED]},
    ],
)
def test_an_unsound_simulator_is_refused(wrong):
    with pytest.raises(UsageError):
        Simulator(**wrong)


def test_a_simulator_sent_to_another_process_answers_the_same():
    rule = Rule(name="late", match={"/name": "slow"}, error=TimeoutError("late"))
    here = Simulator(
        {"given": (1, 2), "raised": KeyError("x")},
        [rule],
        lake=lake(*ORDERED),
        threshold=0.3,
    )
    form = json.loads(json.dumps(simulate.sent(here, [("tool", "track")])))
    there = simulate.received(form)
    for question in (
        *(asked(name) for name in ("given", "raised", "slow")),
        *(asked(lane=lane, ordinal=n) for lane in ("root", "root/2") for n in (1, 3, 7)),
        asked(**{**FOUR, "amount": 7}),
        asked(text="far away"),
    ):
        assert there(question) == here(question)
    assert isinstance(there(asked("never sent")), Abstained)
    with pytest.raises(UsageError, match="without isolate"):
        simulate.sent(Simulator(len), [])
