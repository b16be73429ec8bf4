"""Clocks that step back, of the database, the server and the client, change no order.

The clock is real to the programs: libfaketime stands before the C library of Postgres and the
server, and reads the step from a file each time it is asked.
"""

from __future__ import annotations

import random
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from machines import postgres_machine, stack_on
from plays import Play, end_all
from writers import Maker, batch_of

_STEPS = ("-1d", "-3600", "-5", "+0", "+3600", "-0.5")


@pytest.fixture(scope="module")
def clock(place):
    """Environment of a program under the clock, and the file that sets it."""
    found = sorted(Path("/usr/lib").glob("**/faketime/libfaketime.so.1"))
    if not found:
        pytest.skip("libfaketime is not installed; tests/install-faketime.sh does it")
    file = place / "clock"
    step(file, "+0")
    return file, {
        "LD_PRELOAD": str(found[0]),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_DISABLE_SHM": "1",
        # the remedy for an old C library makes threads that wait for a moment spin
        "FAKETIME_FORCE_MONOTONIC_FIX": "0",
    }


def step(file, by):
    """Set the clock; nobody reads half a file."""
    part = file.with_name("clock.new")
    part.write_text(by)
    part.chmod(0o644)
    part.replace(file)


@pytest.fixture(scope="module")
def rig(clock, place, tmp_path_factory):
    file, environment = clock
    home = place / "stepping"
    home.mkdir(mode=0o755)
    with (
        postgres_machine(home, environment=environment) as machine,
        stack_on(machine, tmp_path_factory.mktemp("stepping")) as stack,
    ):
        yield file, stack, stack.server(**environment)


class SteppingMaker(Maker):
    """The client's own clock steps as well: `started_at` goes back from event to event."""

    def at(self, number):
        return super().at(number) - timedelta(seconds=self.rng.randrange(100_000))


def received(stack, run_id):
    with psycopg.connect(stack.owner_url) as owner:
        rows = owner.execute(
            "select received_at from events where run_id = %s order by seq", [run_id]
        )
        return [row[0] for row in rows]


def test_clocks_that_step_back_change_no_order(rig, rng, turn):
    file, stack, server = rig
    play = Play(stack=stack, servers=[server], rng=rng)
    for name in ("w0", "w1", "w2"):
        writer = play.add(name)
        writer.maker = SteppingMaker(name, random.Random(rng.getrandbits(64)))
    play.start(0)
    for share in sorted(rng.random() * 0.9 for _ in range(3)):
        play.reach(share)
        step(file, rng.choice(_STEPS))
        assert heard(play) == (200, "running")
    end_all(play)
    assert pages(play, rng) == list(range(1, len(play.known.sent) + 1))


@pytest.mark.parametrize("in_one_batch", [True, False])
def test_a_run_that_ended_before_it_began_has_no_duration(rig, rng, in_one_batch):
    _, stack, server = rig
    play = Play(stack=stack, servers=[server], rng=rng)
    maker = Maker("w", rng)
    began = maker.made("run_started", 1, {"input": 1}, fields={})
    maker.at = lambda number: Maker.at(maker, number) - timedelta(days=1)
    ended = maker.end(2, {"w": 2})
    line = play.line()
    for batch in [[began, ended]] if in_one_batch else [[began], [began, ended]]:
        status, answer = line.send("POST", f"/runs/{play.run_id}/events", batch_of(batch))
        assert status == 200, answer
    _, row = line.send("GET", f"/runs/{play.run_id}")
    line.close()
    assert (row["status"], row["ended_at"] < row["started_at"]) == ("done", True)
    assert row["duration_ms"] is None


def heard(play):
    line = play.line()
    status, answer = line.send("POST", f"/runs/{play.run_id}/heartbeat")
    line.close()
    return status, answer["status"]


def pages(play, rng):
    """Read the run by cursor, and return the numbers in the order they came."""
    line, read, after = play.line(), [], 0
    while True:
        path = f"/runs/{play.run_id}/events?after={after}&limit={rng.randint(1, 80)}"
        status, answer = line.send("GET", path)
        assert status == 200, answer
        if not answer["events"]:
            line.close()
            return read
        read += [event["seq"] for event in answer["events"]]
        after = read[-1]


def test_the_clock_really_stepped_back(rig, rng):
    file, stack, server = rig
    step(file, "+0")
    play = Play(stack=stack, servers=[server], rng=rng)
    play.start(1, total=200, most=3)
    play.reach(0.3)
    step(file, "-1d")
    end_all(play)
    times = received(stack, play.run_id)
    assert times != sorted(times)


def test_runs_are_paged_without_gap_or_repeat_when_the_clock_steps_back(rig, rng, turn):
    file, stack, server = rig
    play = Play(stack=stack, servers=[server], rng=rng)
    made = set()
    for _ in range(12):
        step(file, rng.choice(_STEPS))
        made.add(play.create())
    line, read, cursor = play.line(), [], ""
    while True:
        status, answer = line.send("GET", f"/runs?limit={rng.randint(1, 50)}{cursor}")
        assert status == 200, answer
        read += [row["run_id"] for row in answer["runs"]]
        if not answer["next_cursor"]:
            break
        cursor = f"&cursor={answer['next_cursor']}"
    line.close()
    assert len(read) == len(set(read))
    assert made <= set(read)
