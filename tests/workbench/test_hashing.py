import hashlib
import json
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import PurePath
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.hashing import (
    content_hash,
    content_root,
    dumps,
    dumps_in_order,
    event_digest,
    freeze,
    log_root,
    merkle_root,
    sealed,
    signature_of,
    thaw,
)
from workbench.schema import Event, now

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)
odd_values = st.recursive(
    json_values
    | st.integers()
    | st.binary()
    | st.dates()
    | st.times()
    | st.timedeltas()
    | st.uuids()
    | st.text(st.characters(categories=["Cs", "Lu"])),
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(st.integers() | st.text() | st.just("$type"), inner)
    ),
    max_leaves=8,
)


@given(odd_values)
def test_what_json_has_not_comes_back(value):
    frozen, lossy = freeze(value)
    back = thaw(json.loads(dumps(frozen)))
    assert not lossy
    assert told(back) == told(value)


def told(value):
    """A value as it is told apart from others: by types and content, whatever the order of keys."""
    if isinstance(value, dict):
        return sorted((told(key), told(item)) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return type(value).__name__, [told(item) for item in value]
    if isinstance(value, time):
        return repr(value.replace(fold=0))  # without a day there is nothing to fold
    return repr(value)


@given(odd_values)
def test_a_value_is_frozen_alike_wherever_it_stands(value):
    alone, within = freeze(value)[0], freeze((value,))[0]["$value"][0]
    assert dumps_in_order(alone) == dumps_in_order(within)


def test_what_is_frozen_is_a_copy():
    value = {"plain": [{"a": 1}], "none": None}
    frozen = freeze(value)[0]
    value["plain"][0]["a"] = 2
    assert frozen == {"plain": [{"a": 1}], "none": None}


@given(json_values)
def test_canonical_bytes_do_not_depend_on_the_order_of_keys(value):
    def backwards(v):
        if isinstance(v, dict):
            return OrderedDict((k, backwards(v[k])) for k in reversed(v))
        return [backwards(i) for i in v] if isinstance(v, list) else v

    frozen, _ = freeze(value)
    assert dumps(frozen) == dumps(dict(backwards(frozen)) if isinstance(frozen, dict) else frozen)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (1, b"1"),
        (1.0, b"1.0"),
        (-0.0, b"-0.0"),
        (float("nan"), b'{"$type":"float","$value":"nan"}'),
        ((1,), b'{"$type":"tuple","$value":[1]}'),
        ({"$type": 1}, b'{"$type":"dict","$value":[["$type",1]]}'),
        (date(2026, 1, 2), b'{"$type":"date","$value":"2026-01-02"}'),
        ({2, 1}, b'{"$type":"set","$value":[1,2]}'),
    ],
)
def test_the_canonical_form_is_fixed(value, written):
    assert dumps(freeze(value)[0]) == written


@pytest.mark.parametrize(
    "value",
    [Decimal("1.10"), PurePath("a/b"), UUID(int=3), time(1, 2), timedelta(days=-1), 3 + 4j,
     datetime(2026, 1, 1, tzinfo=UTC), frozenset({1})],
)  # fmt: skip
def test_common_python_values_are_restored(value):
    assert thaw(freeze(value)[0]) == value


def test_an_unknown_object_is_kept_by_type_and_repr_and_called_lossy():
    @dataclass
    class Strange:
        x: int = 1

    frozen, lossy = freeze({"a": Strange()})
    assert lossy
    assert frozen["a"]["$value"]["repr"].endswith("Strange(x=1)")


def test_a_cycle_and_a_broken_repr_do_not_stop_it():
    class Broken:
        def __repr__(self):
            raise RuntimeError

    loop = [Broken()]
    loop.append(loop)
    assert freeze(loop)[1]


def test_the_digest_leaves_out_what_the_server_adds_and_nothing_else():
    event = sealed(Event(event_type="chunk", writer="w", writer_seq=3, payload=msgspec.Raw(b"{}")))
    same = msgspec.structs.replace(event, seq=9, received_at=now())
    assert event_digest(same) == event.digest
    for change in ({"writer_seq": 4}, {"lane": "a"}, {"payload": msgspec.Raw(b"[]")}):
        assert event_digest(msgspec.structs.replace(event, **change)) != event.digest


def test_the_digest_can_be_recomputed_by_hand():
    event = Event(event_type="chunk", writer="w", writer_seq=3, payload=msgspec.Raw(b'{"index":0}'))
    by_hand = b'{"event_type":"chunk","writer":"w","writer_seq":3}\n{"index":0}'
    assert event_digest(event) == hashlib.sha256(by_hand).hexdigest()


def test_the_signature_tells_apart_messages_name_and_parameters():
    base = {"messages": ["a", "b"], "temperature": 1}
    signatures = {
        signature_of(kind="model", name="m", request=request)
        for request in (
            base,
            {**base, "messages": ["b", "a"]},
            {**base, "temperature": 1.0},
            {**base, "stop": None},
        )
    }
    assert len(signatures) == 4
    assert signature_of(kind="tool", name="m", request=base) not in signatures


def test_the_content_hash_is_a_signed_64_bit_integer():
    found = content_hash(kind="tool", name="t", request={"arguments": {}}, outcome={"value": 1})
    assert -(2**63) <= found < 2**63


@given(st.lists(st.binary(), max_size=9))
def test_a_merkle_root_changes_with_any_leaf(leaves):
    root = merkle_root(leaves)
    for i in range(len(leaves)):
        assert merkle_root([*leaves[:i], leaves[i] + b"!", *leaves[i + 1 :]]) != root


def tree_head(leaves):
    """RFC 6962, 2.1, as it is written there."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    left = 1 << (len(leaves) - 1).bit_length() - 1
    both = tree_head(leaves[:left]) + tree_head(leaves[left:])
    return hashlib.sha256(b"\1" + both).digest()


@pytest.mark.parametrize("count", [0, 1, 2, 3, 5, 1023, 1024, 1025, 2047, 2048, 2049, 3000, 4097])
def test_a_merkle_root_is_that_of_the_standard(count):
    leaves = [str(number).encode() for number in range(count)]
    assert merkle_root(iter(leaves)) == tree_head(leaves).hex()


def test_roots_do_not_depend_on_the_order_they_are_given_in():
    digest = "00" * 32
    events = [("b", 1, digest), ("a", 2, "11" * 32), ("a", 1, "22" * 32)]
    assert log_root(events) == log_root(reversed(events))
    lanes = {"x": [("s", "o")], "y": []}
    assert content_root(lanes) == content_root(dict(reversed(lanes.items())))
    assert content_root({"x": [("s", "o")]}) != content_root({"y": [("s", "o")]})
