"""A replay draws what was drawn, and is about as late: chance, clock and zone of the recording."""

import asyncio
import datetime as dt
import logging
import os
import random
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from strengths import isolated

import workbench as wb
from workbench import recording as recordings
from workbench.capture import world
from workbench.replay import frozen

legacy = np.random.mtrand._rand  # the generator that the module's own functions draw from
LONG_AGO = 1_600_000_000.0
# bound before any replay: these stay what they are
bound_time = time.time


@wb.call(effect="read")
def ask(what):
    return what


@wb.call(effect="read")
def slow():
    time.sleep(0.2)
    return "slow"


def read(run):
    return recordings.read(run.event_log(), run.bodies())


# ---- chance


def drawing(_):
    return [
        ask(random.random()),
        ask(random.randint(1, 10**9)),
        ask(random.gauss(0, 1)),
        ask(random.sample(range(1000), 5)),
        ask(float(legacy.random())),
        ask(float(legacy.standard_normal())),
        random.getrandbits(64),
    ]


def test_what_was_drawn_is_drawn_again(folders):
    random.gauss(0, 1)
    legacy.standard_normal()  # so that both have one half of a pair left
    run = wb.record(folders, drawing, None)
    random.seed(5)
    legacy.seed(5)
    result = wb.replay(run, drawing)
    assert result.identical, result.divergences
    assert result.output == run.output


def test_without_the_recorded_state_the_same_replay_goes_red(folders, monkeypatch):
    run = wb.record(folders, drawing, None)
    monkeypatch.setattr(world, "python_state", lambda _: None)
    [found] = wb.replay(run, drawing).divergences
    assert found.kind == "nondeterminism"


def test_without_numpy_s_state_too(folders, monkeypatch):
    run = wb.record(folders, drawing, None)
    monkeypatch.setattr(world, "numpy_state", lambda _: None)
    [found] = wb.replay(run, drawing).divergences
    assert found.seq == run.calls["seq"][4]


def test_recording_reads_and_replaying_puts_back(folders):
    before = random.getstate(), legacy.get_state()[1].tolist()
    run = wb.record(folders, lambda _: ask("x"), None)
    assert (random.getstate(), legacy.get_state()[1].tolist()) == before
    run = wb.record(folders, drawing, None)
    after = random.getstate(), legacy.get_state()[1].tolist()
    wb.replay(run, drawing)
    assert (random.getstate(), legacy.get_state()[1].tolist()) == after


def test_a_block_begins_where_its_root_does(folders):
    @wb.root
    def agent(given):
        return ask(random.random())

    with wb.record(folders, name="block") as run:
        random.random()
        agent(1)
    result = wb.replay(run, agent)
    assert result.identical, result.divergences


def test_a_replay_of_a_replay_draws_the_same(folders):
    run = wb.record(folders, drawing, None)
    again = wb.replay(run, drawing).run
    assert read(again).world == read(run).world
    assert wb.replay(again, drawing).identical


def test_a_state_that_was_changed_is_not_taken(folders):
    run = wb.record(folders, drawing, None)
    found = read(run).world
    words = {**found["random"]["words"], "$value": "AAAA" + found["random"]["words"]["$value"][4:]}
    assert world.python_state(found) is not None
    assert world.python_state({**found, "random": {**found["random"], "words": words}}) is None
    assert world.python_state({**found, "random": None}) is None
    assert world.numpy_state({**found, "numpy": {"name": "MT19937"}}) is None


def test_redaction_leaves_the_state_whole(folders):
    rules = [
        wb.Rule(name="digits", pattern=r"\d{4,}"),
        wb.Rule(name="word", pattern=r"[A-Za-z0-9+/]{20,}"),
    ]
    run = wb.record(folders, drawing, None, redact=rules)
    assert world.python_state(read(run).world) is not None
    assert world.numpy_state(read(run).world) is not None


def test_a_hook_that_changes_everything_ends_no_recording(folders):
    run = wb.record(folders, lambda _: ask("x"), None, redact=lambda _: "gone")
    assert run.status == "done"
    assert read(run).world is None


# ---- what else is known


def test_the_world_says_where_and_when(folders, monkeypatch):
    before = time.time()
    run = wb.record(folders, lambda _: 1, None)
    found = read(run).world
    assert before <= world.started_at(found) <= time.time()
    assert found["hash_seed"] == world.hash_seed()
    assert found["zone"] == world.zone()
    assert set(found) == {"started_at", "hash_seed", "zone", "locale", "random", "numpy"}


@pytest.mark.parametrize(
    ("environment", "seed"), [({"PYTHONHASHSEED": "0"}, "0"), ({"PYTHONHASHSEED": "42"}, "42")]
)
def test_a_hash_seed_that_was_set_is_known(environment, seed):
    said = subprocess.run(
        [sys.executable, "-c", "from workbench.capture import world; print(world.hash_seed())"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    assert said == seed


def test_it_is_one_small_remark(folders):
    run = wb.record(folders, lambda _: 1, None)
    remarks = [e for e in run.event_log() if e.event_type == "annotated"]
    assert len(remarks) == 1
    assert len(remarks[0].payload) < 8_000


# ---- the clock


def clocks(_):
    began = [time.time(), time.monotonic(), time.perf_counter(), time.time_ns() / 1e9]
    slow()
    now = [time.time(), time.monotonic(), time.perf_counter(), time.time_ns() / 1e9]
    return [began, now]


def test_an_agent_s_clock_goes_as_it_went(folders):
    run = wb.record(folders, clocks, None)
    time.sleep(0.3)
    began, now = wb.replay(run, clocks).output
    recorded_began, recorded_now = run.output
    assert abs(began[0] - recorded_began[0]) < 0.25, "it is the recorded time, not this one"
    assert abs(now[0] - recorded_now[0]) < 0.25
    for start, end in zip(began, now, strict=True):
        assert end - start > 0.15, "the call took as long as it took"


def test_a_sleep_that_is_skipped_passes(folders):
    def agent(_):
        until = time.monotonic() + 1000
        for _ in range(10):
            if time.monotonic() >= until:
                return ask("late")
            time.sleep(300)
        return "never"

    def quick(_):
        return ask("late")

    run = wb.record(folders, quick, None)
    assert wb.replay(run, agent).output == "late"


def test_who_sleeps_beside_others_does_not_take_their_time(folders):
    async def agent(_):
        began = time.time()
        await asyncio.gather(*(asyncio.sleep(1000) for _ in range(50)))
        ask("x")
        return time.time() - began

    async def quick(_):
        ask("x")

    run = wb.record(folders, quick, None)
    assert wb.replay(run, agent).output < 100


def test_everybody_else_has_the_real_clock(folders):
    seen = {}

    class Keeping(logging.Handler):
        def emit(self, record):
            seen["log"] = record.created

    logger = logging.getLogger("an.agent.of.test_frozen")
    logger.addHandler(Keeping())
    before = time.time()

    async def agent(_):
        loop = asyncio.get_running_loop()
        slow()
        seen["loop"] = loop.time()
        seen["date"] = dt.datetime.now(dt.UTC).timestamp()
        seen["bound"] = bound_time()
        seen["agent"] = time.time()
        logger.warning("now")
        done = threading.Event()
        loop.call_later(0.01, done.set)
        while not done.is_set():  # noqa: ASYNC110 - the loop's own timer is what is looked at
            await asyncio.sleep(0)
        return ask("x")

    run = wb.record(folders, agent, None)
    time.sleep(1)
    began = time.time()
    outside = {}
    thread = threading.Thread(target=lambda: (time.sleep(0.05), outside.update(now=time.time())))
    thread.start()
    assert wb.replay(run, agent).identical
    thread.join()
    for who in ("log", "date", "bound"):
        assert seen[who] >= began, who
    assert before <= seen["agent"] < began
    assert outside["now"] >= began
    assert abs(seen["loop"] - time.monotonic()) < 60


def test_a_bare_reading_in_a_request_is_still_told(folders):
    def agent(_):
        return ask({"at": time.time()})

    run = wb.record(folders, agent, None)
    [found] = wb.replay(run, agent).divergences
    assert found.kind == "nondeterminism"


def test_clocks_and_zone_are_put_back(folders, monkeypatch):
    names = [*frozen._CLOCKS, *(f"{name}_ns" for name in frozen._CLOCKS)]
    monkeypatch.setattr(time, "time", lambda: LONG_AGO)
    before = {name: getattr(time, name) for name in names}
    run = wb.record(folders, lambda _: ask(1), None)
    wb.replay(run, lambda _: ask(1))
    assert {name: getattr(time, name) for name in names} == before


def test_local_times_are_in_the_recorded_zone(folders, monkeypatch):
    def agent(_):
        return [time.strftime("%Z", time.localtime(LONG_AGO)), ask("x")]

    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        run = wb.record(folders, agent, None)
        monkeypatch.setenv("TZ", "America/New_York")
        time.tzset()
        result = wb.replay(run, agent)
        assert result.identical, result.divergences
        assert result.output == ["JST", "x"]
        assert time.tzname == ("EST", "EDT")
    finally:
        monkeypatch.undo()
        time.tzset()


# ---- isolated

AWAY = """
import random
import workbench as wb

@wb.tool(effect="read")
def note(what):
    return what

def agent(given):
    return [note(random.random()), note(random.sample(range(100), 3))]
"""


@isolated
def test_an_isolated_replay_draws_the_same(folders, tmp_path, monkeypatch):
    (tmp_path / "a_drawing_agent.py").write_text(AWAY)
    monkeypatch.syspath_prepend(str(tmp_path))
    run = wb.record(folders, "a_drawing_agent:agent", None)
    result = wb.replay(run, "a_drawing_agent:agent", isolate=True)
    assert result.identical, result.divergences
