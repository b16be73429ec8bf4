"""Agents that read time, chance and the environment through us."""

import datetime as dt
import os
import random
import statistics
from zoneinfo import ZoneInfo

from replay_agents import POISONED, bitten

import workbench as wb
from workbench.capture import shims

BERLIN = ZoneInfo("Europe/Berlin")
COLOURS = [object(), object(), object()]


def clocks():
    return [
        wb.clock.now().isoformat(),
        wb.clock.now(dt.UTC).isoformat(),
        wb.clock.now(BERLIN).isoformat(),
        wb.clock.today().isoformat(),
        wb.clock.time(),
        wb.clock.time_ns(),
        wb.clock.monotonic(),
        wb.clock.monotonic_ns(),
        wb.clock.perf_counter(),
        wb.clock.perf_counter_ns(),
    ]


def draws():
    shuffled = list("abcdef")
    wb.random.shuffle(shuffled)
    return [
        wb.random.random(),
        wb.random.uniform(1, b=2),
        wb.random.triangular(),
        wb.random.randint(1, 6),
        wb.random.randrange(10),
        wb.random.randrange(0, 10, step=2),
        wb.random.getrandbits(8),
        wb.random.randbytes(4).hex(),
        wb.random.gauss(),
        wb.random.normalvariate(0, 2),
        wb.random.lognormvariate(0, 1),
        wb.random.expovariate(1.5),
        wb.random.vonmisesvariate(0, 1),
        wb.random.gammavariate(1, 1),
        wb.random.betavariate(1, 1),
        wb.random.paretovariate(3),
        wb.random.weibullvariate(1, 2),
        COLOURS.index(wb.random.choice(COLOURS)),
        [COLOURS.index(one) for one in wb.random.choices(COLOURS, [1, 2, 3], k=4)],
        wb.random.choices("ab", cum_weights=[1, 4], k=3),
        [COLOURS.index(one) for one in wb.random.sample(COLOURS, 2)],
        wb.random.sample("ab", 3, counts=[2, 2]),
        shuffled,
        str(wb.uuid4()),
    ]


def surroundings():
    return [
        wb.env("DESK_TEST_PLACE"),
        wb.env("DESK_TEST_NOWHERE"),
        wb.env("DESK_TEST_NOWHERE", "else"),
    ]


def agent(_):
    return [clocks(), draws(), surroundings()]


def deals(_):
    """What draws by itself, from a generator that stands for Python's."""
    model = statistics.NormalDist()
    return [model.mean, wb.random._randbelow(1000), random.Random.betavariate(wb.random, 2, 3)]


def draws_the_impossible(_):
    said = []
    for wrong in (
        lambda: wb.random.sample([1], 2),
        lambda: wb.random.randint(6, 1),
    ):
        try:
            wrong()
        except ValueError as error:
            said.append(type(error).__name__)
    return said


class Poisoned:
    """Stands for a module that must not be used."""

    def __init__(self, name):
        self.name = name

    def __getattr__(self, attribute):
        if attribute in ("UTC", "environ"):
            return self
        return bitten(f"{self.name}.{attribute}")


def poison(put):
    """Put what must not be used in the place of clock and dice, by ``put(owner, name, value)``."""
    for name in ("dt", "times", "chance", "uuids"):
        put(shims, name, Poisoned(name))


if POISONED in os.environ:
    poison(setattr)
