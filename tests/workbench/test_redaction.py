from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench import hashing
from workbench.errors import UsageError
from workbench.redaction import Layer, Rule, Wanted, check_rules, key_id, redact
from workbench.redaction.events import EventRedaction, rule_for_body, rule_for_event
from workbench.redaction.lines import LinesRedaction
from workbench.redaction.values import redact_pieces
from workbench.schema import Event

EMAIL = Rule(name="email", pattern=r"[\w.]+@[\w.]+")
HEX = Rule(name="hex", pattern="[0-9a-f]{8,}")
RULES = [EMAIL]
KEY = b"key"


def by(*rules):
    return Wanted().beside(Layer(rules=rules, key=KEY))


def test_equal_texts_get_equal_placeholders_under_one_key():
    value = {"a": ["to x@y.org", {"x@y.org": 1}], "n": 3}
    once = redact(value, RULES, b"key")
    assert once == redact(value, RULES, b"key")
    assert "x@y.org" not in str(once)
    assert once["a"][0].split()[1] in once["a"][1]


def test_another_key_gives_another_placeholder():
    assert redact("x@y.org", RULES, b"1") != redact("x@y.org", RULES, b"2")


def test_redacting_twice_changes_nothing_more():
    once = redact("x@y.org", RULES, b"key")
    assert redact(once, RULES, b"key") == once


ANY_RULES = st.lists(
    st.sampled_from([
        EMAIL, HEX, Rule(name="word", pattern=r"\b\w+\b"), Rule(name="end", pattern="b$"),
        Rule(name="start", pattern="^a"), Rule(name="behind", pattern="(?<=a)b"),
        Rule(name="all", pattern=".+"), Rule(name="sign", pattern="[⟨⟩:]"),
    ]),
    max_size=4,
)  # fmt: skip


@given(st.text("ab@.⟨⟩:0 é", max_size=30), ANY_RULES)
def test_whatever_the_rules_what_was_redacted_is_not_changed_again(text, rules):
    once = redact(text, rules, KEY)
    assert redact(once, rules, KEY) == once


@given(st.text("ab@.⟨:0 ", max_size=30), st.lists(st.integers(0, 30), max_size=5), ANY_RULES)
def test_the_pieces_of_a_text_come_to_what_the_text_comes_to(text, cuts, rules):
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [text[a:b] for a, b in pairwise(edges)]
    assert "".join(redact_pieces(pieces, rules, KEY)) == redact(text, rules, KEY)


def test_pieces_are_read_together_place_by_place():
    pieces = [{"text": "a@", "n": 1}, ["a@"], {"text": "b.c d", "n": 2}, ["x"]]
    made = redact_pieces(pieces, RULES, KEY)
    assert made[0]["text"] == redact("a@b.c", RULES, KEY)
    assert made[2] == {"text": " d", "n": 2}
    assert made[1:4:2] == [[redact("a@x", RULES, KEY)], [""]]


@pytest.mark.parametrize(
    "value",
    [b"mail a@b.c", "mail a@b.c \ud800", {"k": ("a@b.c",)}, {("a@b.c", 1): 2}, {"$type": "a@b.c"}],
    ids=["bytes", "broken text", "tuple", "other keys", "a key like ours"],
)
def test_what_json_has_not_is_looked_into_and_keeps_its_type(value):
    form, _ = hashing.freeze(value)
    made = redact(form, RULES, KEY)
    back = hashing.thaw(made)
    assert type(back) is type(value)
    assert made != form
    assert redact(made, RULES, KEY) == made
    assert "a@b.c" not in repr(back)


def test_a_date_that_a_rule_matches_is_a_text_from_then_on():
    form = {"$type": "date", "$value": "2026-01-31"}
    day = [Rule(name="day", pattern=r"\d{4}-\d\d-\d\d")]
    assert redact(form, day, KEY).startswith("⟨day:")
    assert redact(form, RULES, KEY) == form


def test_digests_that_name_messages_are_left_alone_and_follow_their_bodies():
    events = EventRedaction(by(EMAIL, HEX))
    body = {"role": "user", "content": "to a@b.c", "extra": {"type": "human"}}
    digest = hashing.digest_of(body)
    request = {"messages": [digest], "model": "m", "id": "0123456789abcdef"}
    fields = {"event_type": "call_started", "step_id": "s", "kind": "model", "name": "m"}
    fields |= {"signature": "0" * 64, "quality": "full"}
    new, payload, bodies = events.one((fields, hashing.dumps({"request": request}), {digest: body}))
    ((renamed, kept),) = bodies.items()
    stored = msgspec.json.decode(payload)["request"]
    assert renamed == hashing.digest_of(kept) != digest
    assert stored["messages"] == [renamed]
    assert stored["id"].startswith("⟨hex:")
    assert new["signature"] == hashing.signature_of(kind="model", name="m", request=stored)
    assert new["quality"] == "redacted"
    assert (kept["role"], kept["extra"]) == ("user", {"type": "human"})
    assert rule_for_event("call_started", {"request": stored}, [EMAIL, HEX]) is None
    assert rule_for_body(kept, [EMAIL, HEX]) is None
    assert rule_for_body(body, [EMAIL, HEX]) == "email"


def test_the_end_of_a_call_is_hashed_over_what_is_stored_of_its_request():
    events = EventRedaction(by(EMAIL))
    same = {"step_id": "s", "kind": "tool", "name": "f", "quality": "full"}
    asked = {"request": {"arguments": {"to": "a@b.c"}}}
    _, started, _ = events.one(({"event_type": "call_started", **same}, hashing.dumps(asked), {}))
    ended = {"event_type": "call_ended", **same, "content_hash": 1}
    fields, payload, _ = events.one((ended, b'{"outcome":{"value":1}}', {}))
    request = msgspec.json.decode(started)["request"]
    wanted = hashing.content_hash(kind="tool", name="f", request=request, outcome={"value": 1})
    assert (fields["content_hash"], fields["quality"]) == (wanted, "redacted")
    assert payload == b'{"outcome":{"value":1}}'


def test_a_rule_that_says_what_it_hides_does_not_say_it_in_a_run():
    redaction = by(Rule(name="codename", pattern="Falcon"))
    (told,) = redaction.told()
    assert "Falcon" not in str(told)
    assert told["key"] == key_id(KEY)


# ---- lines that are sealed already


def line(number, event_type, payload, **fields):
    event = Event(
        event_type=event_type, writer="w", writer_seq=number,
        payload=msgspec.Raw(hashing.dumps(payload)), **fields,
    )  # fmt: skip
    return msgspec.json.encode(hashing.sealed(event)) + b"\n"


def test_sealed_lines_are_redacted_and_sealed_again_and_keep_their_numbers():
    body = {"role": "user", "content": "a@b.c"}
    digest = hashing.digest_of(body)
    call = {"step_id": "s", "kind": "model", "name": "m"}
    raw = b"".join([
        line(1, "run_started", {"input": "x"}),
        b'{"bodies":{"%b":%b}}\n' % (digest.encode(), hashing.dumps(body)),
        line(2, "call_started", {"request": {"messages": [digest]}}, **call),
        line(3, "chunk", {"index": 0, "pieces": ["to a@"]}, step_id="s"),
        line(4, "chunk", {"index": 1, "pieces": ["b.c"]}, step_id="s"),
        line(5, "call_ended", {"outcome": {"value": "to a@b.c"}}, content_hash=1, **call),
        line(6, "step_started", {}),
    ])  # fmt: skip
    made = LinesRedaction(by(EMAIL)).lines(raw).splitlines()
    assert b"@" not in b"".join(made[1:])
    events = [msgspec.json.decode(one, type=Event) for one in made if b'"bodies"' not in one]
    assert [event.writer_seq for event in events] == [1, 2, 3, 4, 5, 6]
    assert all(event.digest == hashing.event_digest(event) for event in events)
    (bodies,) = [msgspec.json.decode(one)["bodies"] for one in made if b'"bodies"' in one]
    ((renamed, kept),) = bodies.items()
    assert renamed == hashing.digest_of(kept)
    assert msgspec.json.decode(events[1].payload)["request"]["messages"] == [renamed]
    started = msgspec.json.decode(events[0].payload)
    assert started["redaction"][0]["rules"] == [{"name": "email", "pattern": EMAIL.pattern}]
    assert made[-1] + b"\n" == line(6, "step_started", {})


def asked(number, call, request):
    same = {"step_id": call, "kind": "model", "name": "m"}
    whole = {"messages": [DIGESTS[name] for name in call], "model": "m"}
    signature = hashing.signature_of(kind="model", name="m", request=whole)
    return line(number, "call_started", {"request": request}, signature=signature, **same)


BODIES = {name: {"role": "user", "content": f"{name}@b.c"} for name in "xyz"}
DIGESTS = {name: hashing.digest_of(body) for name, body in BODIES.items()}


def named(*names):
    said = {DIGESTS[name]: BODIES[name] for name in names}
    return msgspec.json.encode({"bodies": said}) + b"\n"


def test_a_request_that_names_an_earlier_one_is_signed_over_what_that_became():
    first = {"messages": [DIGESTS["x"], DIGESTS["y"]], "model": "m"}
    again = {"messages": [{"call": "xy", "first": 2}], "model": "m"}
    raw = named("x", "y") + asked(1, "xy", first) + asked(2, "xy", again)
    made = LinesRedaction(by(EMAIL)).lines(raw).splitlines()
    one, two = [msgspec.json.decode(m, type=Event) for m in made if b'"bodies"' not in m]
    assert one.signature == two.signature
    whole = msgspec.json.decode(one.payload)["request"]
    assert one.signature == hashing.signature_of(kind="model", name="m", request=whole)
    assert msgspec.json.decode(two.payload)["request"] == again


def test_a_request_that_names_one_that_is_stored_already_is_signed_by_who_reads_it():
    again = {"messages": [{"call": "before", "first": 2}, DIGESTS["z"]], "model": "m"}
    kept = {"messages": [{"call": "before", "first": 2}], "model": "m"}
    raw = named("z") + asked(1, "z", again) + asked(2, "x", kept)
    made = LinesRedaction(by(EMAIL)).lines(raw).splitlines()
    one, two = [msgspec.json.decode(m, type=Event) for m in made if b'"bodies"' not in m]
    assert one.signature is None
    assert msgspec.json.encode(two) + b"\n" == asked(2, "x", kept)


def test_a_message_that_is_sent_ahead_of_who_names_it_is_redacted_then():
    raw = named("x") + line(1, "step_started", {}) + asked(2, "x", {"messages": [DIGESTS["x"]]})
    made = LinesRedaction(by(EMAIL)).lines(raw)
    assert b"b.c" not in made
    assert made.count(b'"bodies"') == 1


def test_without_its_request_the_end_of_a_call_keeps_no_hash_of_what_it_was():
    raw = line(1, "call_ended", {"outcome": {"value": "a@b.c"}}, content_hash=7, step_id="s")
    (made,) = LinesRedaction(by(EMAIL)).lines(raw).splitlines()
    assert msgspec.json.decode(made, type=Event).content_hash is None


@pytest.mark.parametrize("name", ["", "a b", "a:b", "1", "⟨"])
def test_a_rule_has_a_name_that_can_stand_in_a_placeholder(name):
    with pytest.raises(UsageError, match="name is no word"):
        check_rules([Rule(name=name, pattern="x")])
