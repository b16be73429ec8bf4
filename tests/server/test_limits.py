"""Rates as token buckets, and sizes refused before they cost anything."""

from uuid import uuid4

import msgspec
import pytest
from workbench_server.access import Caller
from workbench_server.limits import DEFAULT
from workbench_server.rates import BURST_S, Rates

from workbench.errors import RateLimited


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def rates(clock):
    return Rates(clock=clock)


def caller(**limits):
    return Caller(
        workspace_id=uuid4(),
        name="w",
        role="writer",
        limits=msgspec.structs.replace(DEFAULT, **limits),
    )


def admitted(rates, who, *, times, **taken):
    """How often the same goes through before it is refused, and the refusal."""
    for done in range(times):
        try:
            rates.admit(who, **taken)
        except RateLimited as error:
            return done, error
    return times, None


@pytest.mark.parametrize("unit", ["requests", "events", "bytes"])
def test_a_burst_goes_through_and_then_the_rate_holds(rates, clock, unit):
    who = caller(**{f"{unit}_per_s": 8})
    burst, refused = admitted(rates, who, times=1000, **{unit: 1})
    assert burst == 8 * BURST_S + 1
    assert refused.facts == {"limit": f"{unit}_per_s", "retry_after": 1}
    clock.now += 1
    assert admitted(rates, who, times=1000, **{unit: 1})[0] == 8
    clock.now += 1000
    assert admitted(rates, who, times=1000, **{unit: 1})[0] == burst


def test_a_batch_larger_than_the_bucket_goes_through_and_is_made_up_for(rates, clock):
    who = caller(events_per_s=10)
    rates.admit(who, events=1000)
    _, refused = admitted(rates, who, times=1, events=1)
    assert refused.facts["retry_after"] == 95
    with pytest.raises(RateLimited):
        rates.check(who)
    clock.now += 95
    rates.check(who)
    rates.admit(who, events=1)


def test_what_is_refused_takes_nothing(rates, clock):
    who = caller(events_per_s=1, bytes_per_s=1)
    rates.admit(who, events=100)
    assert admitted(rates, who, times=1, events=1, bytes=1000)[0] == 0
    rates.admit(who, bytes=1)


def test_one_workspace_does_not_slow_another(rates):
    first, second = caller(requests_per_s=1), caller(requests_per_s=1)
    admitted(rates, first, times=100, requests=1)
    rates.admit(second, requests=1)


def test_a_closed_stream_makes_room(rates):
    who = caller(streams=1)
    with rates.stream(who):
        with pytest.raises(RateLimited) as refused, rates.stream(who):
            pass
        assert refused.value.facts["limit"] == "streams"
    with rates.stream(who):
        pass
