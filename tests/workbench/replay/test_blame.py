"""Where one call of a run differs, a cached replay names that call first: in any program.

The seed of every program is printed; ``WORKBENCH_BLAME_SEED`` repeats one.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import secrets
from contextvars import ContextVar

import msgspec
import pytest
from shelf import Shelf

import workbench as wb
from workbench import hashing

SEED = int(os.environ.get("WORKBENCH_BLAME_SEED") or secrets.randbelow(10**6))
PROGRAMS = 4
WORDS = ("a", "b", "c")

_at = ContextVar("_at", default=())


class World:
    """Answers live while it is recorded: each answer has a number of its own."""

    def __init__(self):
        self.numbers = itertools.count(1)
        self.made = {}
        self.left = {}
        self.live = True


world = World()


def answered():
    assert world.live, "a call was made live"
    number = next(world.numbers)
    world.made[number] = _at.get()
    return number


@wb.call(effect="read")
async def look(what):
    return {"number": answered()}


@wb.call(effect="read")
async def poll(what):
    number = answered()
    at = _at.get()[:-1]
    world.left[at] = world.left.get(at, 2) - 1
    return {"number": number, "done": world.left[at] < 0}


def drawn(rng, depth=2):
    """Draw a program: calls, polls until done, uses of what came before, and branches."""
    steps = []
    for _ in range(rng.randint(2, 4)):
        kind = rng.choice(("look", "look", "poll", "use", "branches" if depth else "look"))
        if kind == "branches":
            steps.append((kind, [drawn(rng, depth - 1) for _ in range(rng.randint(2, 3))]))
        else:
            steps.append((kind, rng.choice(WORDS)))
    return steps


async def run_program(steps, changed=(), at=()):
    """Run a program; the calls at the paths in ``changed`` ask for something else."""
    got = []

    async def asked(call, path, what):
        _at.set(path)
        return await call(changed.get(path, what) if changed else what)

    for number, (kind, what) in enumerate(steps):
        path = (*at, number)
        if kind == "look":
            got.append((await asked(look, path, what))["number"])
        elif kind == "use":
            got.append((await asked(look, path, [what, got[-1:]]))["number"])
        elif kind == "poll":
            for turn in itertools.count():
                found = await asked(poll, (*path, turn), what)
                got.append(found["number"])
                if found["done"]:
                    break
        else:
            branches = [
                run_program(branch, changed, (*path, index)) for index, branch in enumerate(what)
            ]
            got.append(await asyncio.gather(*branches))
    return got


def recorded(steps, changed=None):
    """Return (run, path of each call by its seq) of a program, recorded."""
    world.__init__()

    async def agent(_):
        return await run_program(steps, changed or {})

    run = wb.record(Shelf(), agent, "x")
    started = {e.step_id: e for e in run.event_log() if e.event_type == "call_started"}
    paths = {
        started[e.step_id].seq: world.made[
            msgspec.json.decode(e.payload)["outcome"]["value"]["number"]
        ]
        for e in run.event_log()
        if e.event_type == "call_ended"
    }
    world.live = False
    return run, paths


def replayed(run, steps, changed=None, **options):
    async def agent(_):
        return await run_program(steps, changed or {})

    result = wb.replay(run, agent, mode="cached", into=Shelf(), **options)
    return [found for found in result.divergences if found.kind != "code_changed"], result


def resigned(run, seq, what):
    """Return the run with another argument in one call, signed, digested and numbered anew."""
    log = run.event_log()
    number = next(n for n, event in enumerate(log) if event.seq == seq)
    start = log[number]
    body = msgspec.json.decode(start.payload)
    body["request"]["arguments"]["what"] = what
    log[number] = msgspec.structs.replace(
        start,
        payload=msgspec.Raw(hashing.dumps(body)),
        signature=hashing.signature_of(kind=start.kind, name=start.name, request=body["request"]),
    )
    return Shelf().forged(run, log)


def argument(run, seq):
    [event] = [event for event in run.event_log() if event.seq == seq]
    return msgspec.json.decode(event.payload)["request"]["arguments"]["what"]


@pytest.fixture(params=range(PROGRAMS))
def program(request):
    print(f"WORKBENCH_BLAME_SEED={SEED}")
    return drawn(random.Random(f"{SEED} {request.param}"))


def others(run, seq):
    """Return arguments that a call does not have: a new one, and those of its neighbours."""
    return ["new", *(word for word in WORDS if word != argument(run, seq))]


def test_an_unchanged_program_is_answered_at_every_position(program):
    run, _ = recorded(program)
    found, result = replayed(run, program)
    assert (result.identical, found) == (True, [])
    assert set(result.matches["match_level"]) == {"exact"}


def test_a_changed_argument_of_a_recorded_call_is_named_first(program):
    run, paths = recorded(program)
    for seq in paths:
        for what in others(run, seq):
            found, result = replayed(resigned(run, seq, what), program)
            assert not result.identical
            assert (seq, "/arguments/what") == (found[0].seq, first_pointer(found[0])), found[0]


def test_a_changed_argument_of_the_program_is_named_first(program):
    run, paths = recorded(program)
    for seq, path in paths.items():
        for what in others(run, seq):
            found, result = replayed(run, program, {path: what})
            assert not result.identical
            assert (seq, "/arguments/what") == (found[0].seq, first_pointer(found[0])), found[0]


def first_pointer(found):
    return found.changes[0]["pointer"][: len("/arguments/what")] if found.changes else None
