"""Programs for `laws.programs`, and JSON of which one byte was changed, as hypothesis draws them."""

import json

from hypothesis import strategies as st
from laws.programs import HOWS, KINDS, TRIES

from workbench import hashing

_ANSWERS_WITH_A_COUNT = ("tool", "planner", "validator", "safety")


def _leaf(do, *, kinds=KINDS, **more):
    return st.fixed_dictionaries(
        {
            "do": st.just(do),
            "kind": st.sampled_from(kinds),
            "says": st.sampled_from("ab"),
            "uses": st.lists(st.integers(0, 5), max_size=2),
            "shown": st.booleans(),
            **more,
        }
    )


leaves = st.one_of(
    _leaf("call"),
    _leaf("fail"),
    _leaf("retry", fails=st.integers(0, TRIES), tells=st.booleans()),
    _leaf("poll", kinds=_ANSWERS_WITH_A_COUNT, times=st.integers(1, TRIES)),
    _leaf("stream", pieces=st.integers(1, 3), take=st.integers(1, 4), breaks=st.booleans()),
)


def _twins(parts):
    return st.builds(lambda part, times: [part] * times, parts, st.integers(2, 4))


def _side_by_side(several):
    return st.builds(
        lambda how, inner: {"do": "par", "how": how, "parts": inner}, st.sampled_from(HOWS), several
    )


def _composed(parts):
    several = st.lists(parts, min_size=2, max_size=3)
    one_by_one = st.builds(lambda inner: {"do": "seq", "parts": inner}, several)
    return one_by_one | _side_by_side(several | _twins(parts))


parts = st.recursive(leaves, _composed, max_leaves=5)
programs = st.fixed_dictionaries(
    {"parts": st.lists(parts, min_size=1, max_size=4), "raises": st.booleans()}
)
programs_with_twins = st.builds(
    lambda program, twins: {**program, "parts": [twins, *program["parts"]]},
    programs,
    _side_by_side(_twins(leaves)),
)
programs_with_a_message = st.builds(
    lambda program, asked: {**program, "parts": [*program["parts"], asked]},
    programs,
    _leaf("call", kinds=("model",)),
)
entries = st.sampled_from(["run", "arun"])
seeds = st.integers(0, 99)

_OTHERS = b"x7 "
_PICKS = st.integers(0, 2**14)


def one_of(data, items):
    """Draw one of several items, however many a recording has: two of one program may differ."""
    items = list(items)
    return items[data.draw(_PICKS) % len(items)]


def with_another_byte(data, value, *, within=None):
    """Draw a JSON value of which one byte was changed: still JSON, and not the same.

    ``within`` is a text of the value that the byte has to lie in.
    """
    written = hashing.dumps(value)
    part = written if within is None else within.encode()
    begin, first = written.index(part), data.draw(_PICKS)
    places = (begin + (first + step) % len(part) for step in range(len(part)))
    return next(made for at in places for made in _changed_at(written, at))


def _changed_at(written, at):
    for other in _OTHERS:
        made = written[:at] + bytes([other]) + written[at + 1 :]
        try:
            value = json.loads(made)
            is_other = hashing.dumps(value) != written
        except (ValueError, TypeError):  # no JSON, or a number too large for it
            continue
        if is_other:
            yield value
